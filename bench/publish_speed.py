"""Renders how fast models are and what that costs: tables of the scripts that time engines, for `publish.py`."""

from __future__ import annotations

from statistics import median

from publish_words import MIB, machine_note, table

SATURATION = {
    "nncf": "NNCF, openvino",
    "floats": "NNCF, openvino-emulated",
    "stock": "stock dynamic, onnxruntime",
    "dynamic": "octavo dynamic, onnxruntime",
}
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
    return f"{table(cells)}\n\n{machine_note(result, words)}"


def making(result: dict, words: dict) -> str:
    """What each tool's int8 took to make, and its bytes."""
    cells = [words["making"]]
    for name, made in result["made"].items():
        spent = (
            [f"{made['seconds']:.1f}{_between(made)}", f"{made['peak_mib']:.0f}" if "peak_mib" in made else ""]
            if "seconds" in made
            else ["", ""]
        )
        cells.append([name, f"{made['bytes'] / MIB:.1f}", *spent])
    return f"{table(cells)}\n\n{machine_note(result, words)}"


def _between(made: dict) -> str:
    """The range of the rounds, where there were several."""
    return f" ({min(made['rounds']):.1f} to {max(made['rounds']):.1f})" if "rounds" in made else ""


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
