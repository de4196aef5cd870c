"""Tables of clusters, servers, large models, searches, and other libraries that embed texts."""

from statistics import median

from publish_words import MIB, machine_note, table


def _versions(result: dict) -> str:
    return ", ".join(map(" ".join, result["machine"]["packages"].items()))


def _cores(result: dict) -> str:
    machine = result["machine"]
    return f"{machine['cpu']} ({machine['kind']}, {machine['cores']} cores), {_versions(result)}, {machine['date']}"


def scale(result: dict, _: dict) -> str:
    """Rows a second by CPUs and blocks, what a job lost and kept, and what 100 CPUs would take."""
    rows = [
        [
            "",
            "CPUs",
            "rows of a block",
            "rows a second",
            "CPU hours a million rows",
            "MiB of the actors, early and late",
        ]
    ]
    for count, speed in result["predict_processes"].items():
        hours = f"{int(count) * 1e6 / speed / 3600:.2f}"
        rows.append(["`octavo predict`, processes of one thread", count, "", f"{speed:,.0f}", hours, ""])
    for job in result["ray"]:
        speed, memory = job["rows_per_second"], job["mebibytes_in_the_second_and_the_last_quarter"]
        hours = f"{job['cpus'] * 1e6 / speed / 3600:.2f}"
        told = [str(job["cpus"]), f"{job['block_rows']:,}", f"{speed:,.0f}", hours]
        rows.append(["`--ray`, a node for each CPU", *told, ", ".join(f"{one:.0f}" for one in memory)])
    lost, two = result["lost"], result["ray"][-1]
    each = two["rows_per_second"] / two["cpus"]
    wrong = [job["missing_or_different"] + job["twice"] for job in (*result["ray"], lost)]
    return (
        f"{_cores(result)}; {result['row_count']:,} rows.\n\n{table(rows)}\n\n"
        f"Two nodes gave {result['share_of_two_processes']:.2f} of the rows a second of two processes. Rows that were "
        f"missing, there twice or other than those of `octavo predict`: {sum(wrong)} in {len(wrong)} jobs; in the last "
        f"an actor was killed at part {lost['actor_killed_at_part']} and a node taken away at part "
        f"{lost['node_removed_at_part']}.\n\n"
        f"A plan for 100 such CPUs, if each does as each of two: {100 * each:,.0f} rows a second, 40 million rows "
        f"in {40e6 / (100 * each) / 60:,.0f} minutes, {40e6 / each / 3600:,.0f} CPU hours."
    )


def large(result: dict, _: dict) -> str:
    """Seconds and memory of each step with a checkpoint above 2 GB."""
    rows = [["step", "seconds", "peak, MiB", "of the float weights"]]
    for step in result["steps"][1:]:
        share = f"{step['peak_mib'] / result['float_mib']:.2f}"
        rows.append([step["step"], f"{step['seconds']:.0f}", f"{step['peak_mib']:,.0f}", share])
    sizes = ", ".join(f"{name} {size:,.0f} MiB" for name, size in result["artifacts_mib"].items())
    return (
        f"{table(rows)}\n\nFloat weights {result['float_mib']:,.0f} MiB; artifacts: {sizes}. Files left on the disk: "
        f"{len(result['left_on_disk'])}. {_cores(result)}."
    )


def serving(result: dict, _: dict) -> str:
    """Rows a second, latencies, memory and answers of each server under load, and what a SIGTERM did."""
    rows = [["server", "rows a second", "p50, ms", "p95", "p99", "answers with other bytes", "MiB, from start to end"]]
    for name, runs in result["runs"].items():
        for run in runs:
            times = [f"{run['milliseconds'][part]:.0f}" for part in ("p50", "p95", "p99")]
            other = f"{run['bytes_differ']:,} of {run['requests']:,}"
            memory = ", ".join(f"{one:.0f}" for one in run["mebibytes"])
            rows.append([name, f"{run['rows_per_second']:.0f}", *times, other, memory])
    every = [run for runs in result["runs"].values() for run in runs]
    failed = sum(count for run in every for status, count in run["statuses"].items() if status not in {"200", "429"})
    ends = [run["sigterm"] for run in every if run["sigterm"]]
    answered = sum(end.get("200", 0) for end in ends)
    usual = {"exit_code", "200", "429", "refused"}
    reset = sum(count for end in ends for name, count in end.items() if name not in usual)
    return (
        f"{table(rows)}\n\n{result['clients']} clients on the server's own cores, "
        f"{result['seconds']:.0f} seconds each, FastAPI's in turns; memory is of all processes of a server, Ray's own "
        f"too. {_cores(result)}. Answers "
        f"that were neither 200 nor 429: {failed}. Around the SIGTERMs "
        f"{answered:,} requests were answered, {reset} ended without an answer and the others were refused."
    )


SCORE_NAMES = {
    "ndcg_at_10": "nDCG@10",
    "mrr_at_10": "MRR@10",
    "map": "MAP",
    "recall_at_10": "recall@10",
    "mae": "MAE",
    "pearson": "Pearson",
    "spearman": "Spearman",
    "micro_f1": "micro F1",
    "macro_f1": "macro F1",
    "subset_accuracy": "exact match",
}
FIDELITY_NAMES = {"cosine_mean": "cosine", "agreement": "agreement", "top_10": "top 10 kept", "tau": "tau"}


def retrieval(result: dict, words: dict) -> str:
    """Scores of each method with the intervals of their differences, and those of shorter and smaller vectors."""

    def cell(quality: dict, differences: dict, score: str) -> str:
        value, estimate = quality[score], differences.get(score)
        if estimate is None:
            return f"{value:.4f}"
        low, high = estimate[1:] if isinstance(estimate, list) else (estimate["low"], estimate["high"])
        return f"{value:.4f} ({low:+.4f} to {high:+.4f})"

    first = result["rows"][0]
    scores = [name for name in first["quality"] if name in SCORE_NAMES]
    fidelity = [name for name in FIDELITY_NAMES if name in result["rows"][-1]["fidelity"]]
    head = ["", "MiB", "faster", *(SCORE_NAMES[name] for name in scores), *(FIDELITY_NAMES[name] for name in fidelity)]
    cells = [head]
    for row in result["rows"]:
        told = [cell(row["quality"], row["differences"], name) for name in scores]
        near = [f"{row['fidelity'][name]:.4f}" if name in row["fidelity"] else "" for name in fidelity]
        cells.append([row["name"], f"{row['bytes'] / MIB:.1f}", f"{row['speedup']:.2f}x", *told, *near])
    parts = [table(cells)]
    if first["stored"]:
        shown = ("ndcg_at_10", "recall_at_10")
        cells = [["", "vectors", "rescored", "bytes of one", *(SCORE_NAMES[name] for name in shown), "top 10 kept"]]
        for row in result["rows"]:
            for one in row["stored"]:
                told = [cell(one["quality"], one["differences"], name) for name in shown]
                kind, again = f"{one['dimensions']} {one['precision']}", "yes" if one["rescored"] else "no"
                cells.append([row["name"], kind, again, f"{one['bytes']:,}", *told, f"{one['top_10']:.3f}"])
        parts.append(table(cells))
    parts.append(f"{result['n']:,} rows. {machine_note(result, words)}")
    return "\n\n".join(parts)


def peers(result: dict, _: dict) -> str:
    """Texts a second of each library, and how near its vectors are to those of torch."""
    cells = [["from texts to vectors", "MiB", "texts a second", "faster", "spread", "cosine", "worst", "recall@10"]]
    first = median(result["rows"][0]["rounds"])
    for row in result["rows"]:
        near = [f"{row[name]:.4f}" if name in row else "" for name in ("cosine_mean", "cosine_min")]
        spread = f"{first / max(row['rounds']):.2f} to {first / min(row['rounds']):.2f}"
        speed = [f"{row['texts_per_second']:,.0f}", f"{row['faster']:.2f}x", spread]
        cells.append([row["name"], f"{row['mib']:.1f}", *speed, *near, f"{row['recall_at_10']:.3f}"])
    failed = "".join(f"\n\n{name}: not run; {reason}" for name, reason in result["failed"].items())
    machine = result["machine"]
    return (
        f"{table(cells)}\n\n{result['texts']:,} texts, {result['rounds']} rounds, {machine['threads']} threads each, "
        f"{machine['cpu']} ({machine['kind']}), {machine['date']}; {_versions(result)}.{failed}"
    )
