"""Renders how near models stay to their float selves: tables of the scripts that score them, for `publish.py`."""

from __future__ import annotations

import re

from publish_words import MIB, machine_note, machine_notes, table


def coverage(result: dict, words: dict) -> str:  # noqa: ARG001 - said in English only
    """How often intervals hold the truth, a table for each kind of rows, one line per score and number of rows."""
    shares = list(dict.fromkeys(row["share"] for row in result["rows"]))
    parts = []
    for kind in dict.fromkeys(row["rows"] for row in result["rows"]):
        found = {(row["metric"], row["n"], row["share"]): row for row in result["rows"] if row["rows"] == kind}
        cells = [[f"{kind} rows", "n", *(f"{100 * share:.0f} % changed" for share in shares)]]
        for metric, n in dict.fromkeys((metric, n) for metric, n, _ in found):
            held = [[found[metric, n, share][name] for name in ("coverage", "lower", "upper")] for share in shares]
            told = ["{:.1f} ({:.1f}, {:.1f})".format(*(100 * one for one in cell)) for cell in held]
            cells.append([metric, f"{n:,}", *told])
        parts.append(table(cells))
    return "\n\n".join([*parts, f"{result['repetitions']:,} repetitions."])


def noise(result: dict, words: dict) -> str:  # noqa: ARG001 - said in English only
    """The least that is held in any kind of rows, and half the mean width over all of them, in points."""
    rows = [row for row in result["rows"] if "jumps" not in row["rows"]]
    noises = sorted({row["noise"] for row in rows})
    cells = [["score", "n", *(f"noise {noise:g}" for noise in noises)]]
    for score, n in dict.fromkeys((row["score"], row["n"]) for row in rows):
        cell = [score, f"{n:,}"]
        for noise in noises:
            of = [row for row in rows if (row["score"], row["n"], row["noise"]) == (score, n, noise)]
            least = [100 * min(row[side] for row in of) for side in ("coverage", "lower", "upper")] if of else []
            wide = 50 * sum(row["width"] for row in of) / len(of) if of else 0
            cell.append("{:.0f} ({:.0f}, {:.0f}) +-{:.2g}".format(*least, wide) if of else "")
        cells.append(cell)
    jumps = [["3 of 100 rows jump", "n", "one is in the sample", "held", "held where one is"]]
    for row in result["rows"]:
        if "jumps" in row["rows"]:
            shares = [row["seen"], row["coverage"], (row["coverage_if_seen"] or [0])[0]]
            jumps.append([row["score"], f"{row['n']:,}", *(f"{100 * share:.0f} %" for share in shares)])
    return f"{table(cells)}\n\n{table(jumps)}"


SCORES = {"entity_f1": "entity F1", "perplexity": "perplexity", "exact_match": "exact match"}


def task_scores(result: dict, words: dict) -> str:
    """A real model of a newer task: what each method makes of it."""
    score = next(iter(result["rows"][0]["quality"]))
    relative = score == "perplexity"
    unit = "change, % (95 %)" if relative else "points (95 %)"
    cells = [["", "engine", "MiB", "faster", SCORES[score], unit, "agreement"]]
    for row in result["rows"]:
        value, low, high = (100 * end for end in row["differences"].get(score, (0, 0, 0)))
        if relative:  # the difference of a score is negative where it got worse; a perplexity rises then
            value, low, high = -value, -high, -low
        cells.append(
            [
                row["name"],
                row["engine"],
                f"{row['bytes'] / MIB:.1f}",
                f"{row['speedup']:.2f}x",
                f"{row['quality'][score]:.3f}" if relative else f"{100 * row['quality'][score]:.2f}",
                "" if row is result["rows"][0] else f"{value:+.2f} ({low:+.2f} to {high:+.2f})",
                "" if row is result["rows"][0] else f"{100 * row['fidelity']['agreement']:.2f} %",
            ]
        )
    what = {"entity_f1": "sentences", "perplexity": "windows of 256 tokens", "exact_match": "words"}[score]
    return f"{table(cells)}\n\n{result['n']:,} {what}. {machine_note(result, words)}"


def generation(result: dict, words: dict) -> str:
    """Seconds per token of GPT-2."""
    cells = [["GPT-2 small, random weights", "ms a token", "x torch", "MiB", "tokens as torch's"]]
    names = {
        "torch": "torch fp32, generate",
        "float": "float",
        "int8": "weight-only, 8 bits",
        "int4": "weight-only, 4 bits",
    }
    cells += [
        [
            names.get(name, name),
            f"{row['ms_per_token']:.1f}",
            f"{row['speedup']:.2f}",
            f"{row['bytes'] / MIB:.0f}",
            f"{row['same_tokens']} of {result['new_tokens']}",
        ]
        for name, row in result["rows"].items()
    ]
    told = f"{result['new_tokens']} tokens behind {result['prompt_tokens']}"
    return f"{table(cells)}\n\n{told}. {machine_note(result, words)}"


def search(result: dict, words: dict) -> str:
    """What each search found beside the defaults, random recipes and NNCF, on examples that nothing was chosen by."""
    cells = [words["search"]]
    for name, found in result.items():
        own = found["search"]
        spent = {"search": own["seconds"], "best random": found["random"]["seconds"]}
        for title, row in found["check"]["models"].items():
            (score, (value, low, high)), (speed, *_) = _first(row), row["speedup"]
            short = title.rpartition(", ")[0]
            cells.append(
                [
                    name,
                    f"**{title}**" if short == "search" else title,
                    row["verdict"],
                    f"{score} {value:+.2f} ({low:+.2f} to {high:+.2f})",
                    f"{speed:.2f}x",
                    f"{100 * row['size']:.0f} %",
                    f"{spent[short] / 60:.1f}" if short in spent else "",
                ]
            )
        if nncf := found.get("nncf"):
            (value, low, high), speeds = nncf["accuracy"], nncf["speedup, row by row"]
            told = f"accuracy {value:+.2f} ({low:+.2f} to {high:+.2f})"
            speed = words["alone"].format(nncf=speeds["nncf"], octavo=speeds["octavo"])
            cells.append([name, "NNCF", "", told, speed, f"{100 * nncf['size']:.0f} %", f"{nncf['seconds'] / 60:.1f}"])
    told = [
        words["found"].format(name=name, **found["search"], layers=_layers(found)) for name, found in result.items()
    ]
    return "\n\n".join([table(cells), "\n".join(told), machine_notes(result, words)])


def _first(row: dict) -> tuple[str, list[float]]:
    """The first score of a row with its difference, in points."""
    return next((name, value) for name, value in row.items() if isinstance(value, list) and name != "speedup")


def _layers(found: dict) -> str:
    kept = [re.sub(r"^.*?(\d+)", r"\1", one) for one in found["search"]["float layers"]]
    return ", ".join(kept) or "-"


def fidelity(result: dict, words: dict) -> str:
    """How near to float each method comes."""
    parts = []
    for name, found in result.items():
        keys = list(next(iter(found["scores"].values())))[:-1]
        shapes = list(dict.fromkeys(row["shape"] for row in found["times"]))
        cells = [[f"{name}, {found['n']:,} rows", *(key.replace("_", " ") for key in keys), "MiB"]]
        cells[0] += [f"{shape}, ms" for shape in shapes]
        for title, row in found["scores"].items():
            ms = {one["shape"]: f"{one['ms']:.2f}" for one in found["times"] if one["name"] == title}
            shown = [f"{1e5 * row[key]:.1f}e-5" if key == "kl" else f"{row[key]:.5f}" for key in keys]
            cells.append([title, *shown, f"{row['bytes'] / MIB:.1f}", *(ms[shape] for shape in shapes)])
        parts.append(table(cells))
    one = next(iter(result.values()))
    return "\n\n".join([*parts, f"Weights for {one['target']}. {machine_notes(result, words)}"])
