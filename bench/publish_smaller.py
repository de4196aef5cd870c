"""Renders what smaller checkpoints give and cost: tables of `smaller.py` and `old_guide_chain.py` for `publish.py`."""

from __future__ import annotations

from publish_words import MIB, machine_note, machine_notes, table


def trims(result: dict, words: dict) -> str:
    """What is left of checkpoints whose vocabulary was trimmed, and what that does to texts that were not counted."""
    named = {"all-MiniLM-L6-v2": result["minilm"], **_of_models(result["ko"])}
    named |= {"XLM-R base's shape": result["xlm-r"]["trim"]} if "xlm-r" in result else {}
    cells = [words["trims"]]
    for name, row in named.items():
        texts, tokens = (row["held_out"][f"changed_{what}"] for what in ("texts", "tokens"))
        rows, mib = (
            f"{row[f'{what}_before'] / size:,.0f} -> {row[what] / size:,.0f}"
            for what, size in (("rows", 1), ("bytes", MIB))
        )
        same = "yes" if row["logits"]["difference"] == 0 else f"{row['logits']['difference']:.1g}"
        shares = [
            f"{100 * one['value']:.2f} ({100 * one['low']:.2f} to {100 * one['high']:.2f})" for one in (texts, tokens)
        ]
        cells.append([name, rows, mib, *shares, same, f"{row['seconds']:.0f}"])
    parts = {name: result[name] for name in ("minilm", "ko", "xlm-r") if name in result}
    return f"{table(cells)}\n\n{machine_notes(parts, words)} Other work ran meanwhile."


def _of_models(result: dict) -> dict:
    """The rows of a part that has one for each model."""
    return {name: row for name, row in result.items() if name != "machine"}


def xlm_r(result: dict, words: dict) -> str:
    """Whole artifacts of XLM-R base's shape against the float checkpoint."""
    before = result["trim"]["bytes_before"]
    cells = [words["xlm-r"], ["float checkpoint", f"{before / MIB:.0f}", "100 %"]]
    names = ("int8", "trimmed int8", "trimmed int8, rows of 4 bits")
    sizes = {name: result[name]["bytes"] for name in names if name in result}
    cells += [[name, f"{size / MIB:.0f}", f"{100 * size / before:.1f} %"] for name, size in sizes.items()]
    return f"{table(cells)}\n\n{machine_note(result, words)}"


def four_bit_rows(result: dict, words: dict) -> str:
    """Tables of words in 8 and in 4 bits."""
    cells = [words["rows"]]
    for name, row in _of_models(result).items():
        score, value = next(iter(row["quality"].items()))
        like = next(iter(row["fidelity"].items()))
        share = row["bytes"] / result[name.partition(",")[0] + ", float"]["bytes"]
        cells.append(
            [
                name,
                f"{100 * share:.1f} %",
                "" if row["db"] is None else f"{row['db']:.1f}",
                f"{score} {100 * value:.2f}",
                f"{like[0]} {100 * like[1]:.2f} %",
            ]
        )
    counts = {name.partition(",")[0]: f"{row['rows']:,}" for name, row in _of_models(result).items()}
    return f"{table(cells)}\n\nRows: {', '.join(map(' '.join, counts.items()))}. {machine_note(result, words)}"


def chain(result: dict, words: dict) -> str:
    """All steps on the old guides' job."""
    first, cells = result["rows"][0], [words["chain"]]
    for row in result["rows"]:
        times = f"{first['seconds'] / row['seconds']:.1f}x"
        cells.append(
            [
                row["name"],
                row["engine"],
                f"{row['mib']:.0f}",
                f"{100 * row['size']:.1f} %",
                f"{row['seconds']:.1f}",
                times,
            ]
        )
    return f"{table(cells)}\n\n5,010 pairs. {machine_note(result, words)}"


def students(result: dict, words: dict) -> str:
    """Fewer layers of ko-sentiment: by the teacher's answers, by these and labels, and without a teacher."""
    first, int8 = result["runs"]["labels unused"], result["int8"]
    told = words["student"].format(
        rows=first["rows"], teacher=first["teacher"], layers=", ".join(map(str, first["lineage"]["layers"]))
    )
    (faster, low, high), points = int8["speedup"], int8["difference"][0]
    told += "\n" + words["student int8"].format(
        faster=faster, low=low, high=high, size=100 * int8["size"], points=points, agreement=int8["agreement"]
    )
    told += " The machine was busy." if int8["busy"] else ""
    return f"{_by_teaching(result, words['students'])}\n\n{told} {machine_note(result, words)}"


def taught(result: dict, words: dict) -> str:
    """Three layers of ko-nli: by the teacher's answers, by these and labels, and without a teacher."""
    first = result["runs"]["labels unused"]
    told = words["judged"].format(rows=first["rows"], teacher=first["teacher"])
    told += "\n" + words["stayed"].format(layers=", ".join(map(str, first["lineage"]["layers"])))
    return f"{_by_teaching(result, words['taught'])}\n\n{told} {machine_note(result, words)}"


def _by_teaching(result: dict, head: list[str]) -> str:
    """A table of students by what taught them."""
    cells = [head]
    for name, row in result["runs"].items():
        minutes = f"{row['minutes']:.1f}" if "minutes" in row else ""
        cells.append([name, minutes, f"{row['score']:.2f}", *_drop(row)])
    return table(cells)


def frontier(result: dict, words: dict) -> str:
    """Layers, minutes and drop of ko-nli's students."""
    runs = result["runs"]
    cells = [words["frontier"]]
    for name, row in runs.items():
        stayed = ", ".join(map(str, row["lineage"]["layers"]))
        cells.append([name, stayed, f"{row['minutes']:.1f}", f"{row['score']:.2f}", *_drop(row)])
    one = next(iter(runs.values()))
    told = words["judged"].format(rows=one["rows"], teacher=one["teacher"])
    return f"{table(cells)}\n\n{told} {machine_note(result, words)}"


def _drop(row: dict) -> list[str]:
    half = 1.96 * row["drop_se"]
    return [f"{row['drop']:.2f} ({row['drop'] - half:.2f} to {row['drop'] + half:.2f})", f"{row['agreement']:.4f}"]
