"""Writes the tables of the documents from bench/results: what stands between `<!-- bench: NAME -->` and the end mark.

.venv/bin/python bench/publish.py
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from statistics import median

from octavo.schema.comparison import json_schema
from publish_serving import large, peers, retrieval, scale, serving
from publish_smaller import chain, four_bit_rows, frontier, students, trims, xlm_r
from publish_words import ENGLISH, KOREAN, MIB, machine_note, machine_notes, table

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = (
    "README.md",
    "README.ko.md",
    "docs/benchmarks.md",
    "docs/benchmarks.ko.md",
    "docs/comparison.md",
    "docs/from-the-old-guide.md",
    "docs/from-the-old-guide.ko.md",
    "docs/torch.md",
    "docs/generation.md",
    "docs/smaller.md",
    "docs/scale.md",
    "docs/serving.md",
    "docs/search.md",
    "docs/search.ko.md",
    "docs/design/dynamic.md",
    "docs/tasks/token-classification.md",
    "docs/tasks/ranking.md",
)
SATURATION = {
    "nncf": "NNCF, openvino",
    "floats": "NNCF, openvino-emulated",
    "stock": "stock dynamic, onnxruntime",
    "dynamic": "octavo dynamic, onnxruntime",
}
WHOLE = ("generation", "search", "fidelity", "large", "serving", "peers")  # files that are one table
WRONG = 0.8  # an agreement below which a model is not that model any more


def compared(result: dict, words: dict) -> str:
    cells, texts = [words["model"]], result["rows"][0]["text_rows_per_second"]
    for row in result["rows"]:
        stock = row["name"].partition(", ")
        name = f"{words['stock']}, {stock[2]}" if stock[0] == "stock" else None
        name = name or (words["tensor"] if row["name"].endswith("per tensor") else None)
        name = name or words["torch" if row["engine"] == "torch" else "float" if row["method"] == "float" else "int8"]
        faster = row["speedup"]["value"] if isinstance(row["speedup"], dict) else row["speedup"]
        points = row["difference"] if "difference" in row else row["differences"]["accuracy"]["value"]
        cells.append(
            [
                name,
                f"{row['bytes'] / MIB:.1f}",
                f"{row['smaller']:.2f}x",
                f"{row['seconds']:.2f}",
                f"{faster:.2f}x",
                f"{row['text_rows_per_second'] / texts:.2f}x",
                f"{row['latency_ms']['p50']:.1f}",
                f"{100 * row['quality']['accuracy']:.2f}",
                f"{100 * points:+.2f}",
                f"{100 * row['fidelity']['agreement']:.2f} %",
                f"{1e5 * row['fidelity']['kl']:.1f}",
                f"{row['batch_effect']:.1g}" if "batch_effect" in row else "",
            ]
        )
    return f"{table(cells)}\n\n{words['note'].format(n=result['n'], machine=machine_note(result, words))}"


def base(result: dict, words: dict) -> str:
    names = dict.fromkeys(row["name"] for row in result["rows"])
    ms = {(row["name"], row["shape"]): row["ms"] for row in result["rows"]}
    cells = [words["shape"]]
    for name in names:
        size = f"{result['bytes'][name] / MIB:.0f}"
        cells.append([name, f"{ms[name, '32 x 128']:.0f}", f"{ms[name, '1 x 32']:.1f}", size])
    return f"{table(cells)}\n\n{machine_note(result, words)}"


def first(result: dict, words: dict) -> str:
    cells = [words["first"]]
    cells += [["import torch, transformers", f"{result['torch']['median']:.2f}"]]
    cells += [["octavo.load", f"{result['octavo']['median']:.2f}"]]
    return f"{table(cells)}\n\n{machine_note(result, words)}"


def weights(result: dict, words: dict) -> str:
    ms = {(row["name"], row["shape"]): row["ms"] for row in result["base"]}
    scores = {row["name"]: row["fidelity"] for row in result.get("kornli", {"rows": []})["rows"]}
    cells = [words["weights"]]
    for name in dict.fromkeys(row["name"] for row in result["base"]):
        score = scores.get(name)
        fidelity = [f"{1e5 * score['kl']:.1f}", f"{100 * score['agreement']:.2f} %"] if score else ["", ""]
        cells.append([name, f"{ms[name, '32 x 128']:.0f}", f"{ms[name, '1 x 32']:.1f}", *fidelity])
    return f"{table(cells)}\n\n{machine_note(result, words)}"


def oldguide(result: dict, words: dict) -> str:
    agreement = {row["name"]: f"{100 * row['agreement']:.2f} %" for row in result["fidelity"]}
    lines = []
    for shape, rows in result["models"].items():
        seconds = {row["name"]: row["seconds"] for row in rows}
        cells = [[shape, *words["oldguide"]]]
        cells += [
            [
                f"**{row['name']}**" if row["name"] == "Octavo int8" else row["name"],
                f"{row['mib']:.0f}",
                f"{row['seconds']:.0f}",
                f"{seconds['torch fp32'] / row['seconds']:.1f}x",
                agreement.get(row["name"], ""),
            ]
            for row in rows
        ]
        shares = {
            "padding": seconds["torch fp32"] / seconds["torch fp32, not padded"],
            "engine": seconds["torch fp32, not padded"] / seconds["Octavo float"],
            "int8": seconds["Octavo float"] / seconds["Octavo int8"],
        }
        old = result["guide_mib"][shape]
        lines += [table(cells), words["shares"].format(old=old[0], new=old[1], **shares)]
    return "\n\n".join([*lines, machine_note(result, words)])


def why(result: dict, words: dict) -> str:
    """The first table of the README files: one model by the usual tools and by Octavo."""
    cells, first = [words["why"]], result["rows"][0]
    for row in result["rows"]:
        name = words["why names"].get(row["name"], row["name"])
        agreement = row["fidelity"]["agreement"]
        cells.append(
            [
                f"**{name}**" if "Octavo" in name else name,
                f"{row['bytes'] / MIB:.0f}",
                f"{first['seconds'] / row['seconds']:.2f}x",
                f"{100 * agreement:.1f} %" + (f", {words['wrong']}" if agreement < WRONG else ""),
                f"{1e5 * row['fidelity']['kl']:.1f}",
                f"{row['batch_effect']:.1g}",
            ]
        )
    return f"{table(cells)}\n\n{words['note'].format(n=result['n'], machine=machine_note(result, words))}"


def saturation(result: dict, words: dict) -> str:
    """What the usual tools answer with on a CPU that saturates, in one sentence: agreement with torch on KorNLI."""
    kept = {row["name"]: f"{100 * row['fidelity']['agreement']:.1f} %" for row in result["scores"]}
    shown = {name: kept[row] for name, row in SATURATION.items()}
    machine = {name: result["machine"][name] for name in ("cpu", "kind", "date")}
    return words["saturation"].format(n=result["n"], **machine, **shown)


def engines(result: dict, words: dict) -> str:
    """BERT-base in every engine: milliseconds, with the range of the rounds, against torch in the same run."""
    shapes = list(dict.fromkeys(row["shape"] for row in result["rows"]))
    rounds = {(row["name"], row["shape"]): row["rounds"] for row in result["rows"]}
    cells = [[words["engines"], *(f"{shape}, ms" for shape in shapes), "x torch fp32, " + shapes[-1]]]
    for name in dict.fromkeys(row["name"] for row in result["rows"]):
        spread = [f"{median(rounds[name, shape]):.1f}" if (name, shape) in rounds else "" for shape in shapes]
        last = rounds.get((name, shapes[-1]))  # None: too slow to be run at each shape
        ratios = [a / b for a, b in zip(rounds["torch fp32", shapes[-1]], last, strict=True)] if last else []
        cells.append([name, *spread, f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})" if last else ""])
    return f"{table(cells)}\n\n{making(result, words)}" if "made" in result else table(cells)


def making(result: dict, words: dict) -> str:
    """What each tool's int8 took to make, and its bytes."""
    cells = [words["making"]]
    for name, made in result["made"].items():
        spent = (
            [f"{made['seconds']:.1f}", f"{made['peak_mib']:.0f}" if "peak_mib" in made else ""]
            if "seconds" in made
            else ["", ""]
        )
        cells.append([name, f"{made['bytes'] / MIB:.1f}", *spent])
    return f"{table(cells)}\n\n{machine_note(result, words)}"


def scores(result: dict, words: dict) -> str:
    """Quality and fidelity of every engine and tool on one model."""
    first = result["scores"][0]
    names = [*first["quality"], *first["fidelity"]]
    twins = any("other_engine" in row for row in result["scores"])
    more = ["to ONNX Runtime's, mean", "min"] if twins else []
    cells = [["", *(name.replace("_", " ") for name in names), *more, "batch effect", "s"]]
    for row in result["scores"]:
        values = row["quality"] | row["fidelity"]
        shown = [f"{1e5 * values[name]:.1f}e-5" if name == "kl" else f"{values[name]:.4f}" for name in names]
        other = row.get("other_engine")
        shown += ([f"{other['mean']:.5f}", f"{other['min']:.4f}"] if other else ["", ""]) if twins else []
        cells.append([row["name"], *shown, f"{row['batch_effect']:.1g}", f"{row['seconds']:.2f}"])
    return f"{table(cells)}\n\n{making(result, words)}"


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


def torch_shapes(result: dict, words: dict) -> str:
    """BERT-base by each way of torch: milliseconds, and how many times as fast as its fp32 in the same run."""
    ms = {(row["name"], row["shape"]): row["ms"] for row in result["rows"]}
    shapes = list(dict.fromkeys(row["shape"] for row in result["rows"]))
    sizes = result.get("bytes", {})
    cells = [[words["engines"], *(f"{shape}, ms" for shape in shapes), "x torch fp32, " + shapes[0], "MiB"]]
    for name in dict.fromkeys(row["name"] for row in result["rows"]):
        faster = ms["torch fp32", shapes[0]] / ms[name, shapes[0]]
        size = f"{sizes[name] / MIB:.0f}" if name in sizes else ""
        cells.append([name, *(f"{ms[name, shape]:.1f}" for shape in shapes), f"{faster:.2f}", size])
    return f"{table(cells)}\n\n{machine_note(result, words)}"


def torch_scores(result: dict, words: dict) -> str:
    """KorNLI by each way of torch: what it takes and what it loses."""
    cells = [["KorNLI", "seconds", "x torch fp32", "accuracy", "points", "agreement", "KL, 1e-5", "batch effect"]]
    cells += [
        [
            row["name"],
            f"{row['seconds']:.2f}",
            f"{row['speedup']['value']:.2f}",
            f"{100 * row['quality']['accuracy']:.2f}",
            f"{100 * row['differences']['accuracy']['value']:+.2f}",
            f"{100 * row['fidelity']['agreement']:.2f} %",
            f"{1e5 * row['fidelity']['kl']:.1f}",
            f"{row['batch_effect']:.1g}",
        ]
        for row in result["rows"]
    ]
    return f"{table(cells)}\n\n{result['n']:,} rows. {machine_note(result, words)}"


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


RENDER = {
    "why": why,
    "saturation": saturation,
    "torch_base": torch_shapes,
    "torch_compile": torch_shapes,
    "torch_kornli": torch_scores,
    "tasks_ner": task_scores,
    "tasks_stories": task_scores,
    "tasks_spelling": task_scores,
    "generation": generation,
    "coverage": coverage,
    "heads": coverage,
    "noise": noise,
    "oldguide": oldguide,
    "chain": chain,
    "search": search,
    "fidelity": fidelity,
    "smaller": trims,
    "scale": scale,
    "large": large,
    "serving": serving,
    "peers": peers,
    "retrieval_minilm": retrieval,
    "retrieval_ko": retrieval,
    "retrieval_reranker": retrieval,
    "retrieval_labels": retrieval,
    "smaller_rows": four_bit_rows,
    "smaller_xlm": xlm_r,
    "smaller_sentiment": students,
    "smaller_nli": frontier,
    "demo": compared,
    "kornli": compared,
    "nsmc": compared,
    "base": base,
    "first": first,
    "weights": weights,
    "engines_base": engines,
    "engines_minilm": scores,
    "engines_ko_sts": scores,
    "engines_ko_nli": scores,
}


def stored_results(kind: str) -> dict:
    """Everything that was measured on a kind of CPU, by the names that marks have."""
    results: dict = {}
    for script in (
        "dynamic",
        "old-guide",
        "coverage",
        "why",
        "engines",
        "torch",
        "tasks",
        "generation",
        "old-guide-chain",
        "smaller",
        "scale",
        "large",
        "serving",
        "retrieval",
        "peers",
        "search",
        "fidelity",
    ):
        stored = ROOT / "bench" / "results" / f"{script}-{kind}.json"
        found = json.loads(stored.read_text(encoding="utf-8")) if stored.exists() else {}
        if script in {"engines", "torch", "tasks", "retrieval"}:
            found = {f"{script}_{name.replace('-', '_')}": value for name, value in found.items()}
        if script == "smaller" and found:
            parts = {f"smaller_{name.partition('-')[0]}": value for name, value in found.items()}
            found = {"smaller": found} | parts
        results |= {script: found} if script in WHOLE and found else found
    return results | ({"saturation": results["engines_ko_nli"]} if "engines_ko_nli" in results else {})


def filled(name: str) -> str:
    """A document with its marked places filled; `<!-- bench: kornli avx2 -->` is the part and the kind of CPU."""
    words = KOREAN if name.endswith(".ko.md") else ENGLISH

    def fill(match: re.Match) -> str:
        part, kind = match[2].split()
        results = stored_results(kind)
        return f"{match[1]}\n{RENDER[part](results[part], words)}\n{match[4]}" if part in results else match[0]

    text = (ROOT / name).read_text(encoding="utf-8")
    return re.sub(r"(<!-- bench: (\w+ \w+) -->)(.*?)(<!-- end -->)", fill, text, flags=re.DOTALL)


def publish() -> None:
    """Fill the marked places of all documents, and write the schema."""
    schema = json.dumps(json_schema(), ensure_ascii=False, indent=1)
    (ROOT / "docs" / "comparison.schema.json").write_text(schema + "\n", encoding="utf-8")
    for name in DOCUMENTS:
        (ROOT / name).write_text(filled(name), encoding="utf-8")


if __name__ == "__main__":
    publish()
