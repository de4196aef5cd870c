"""Many threads that ask one predictor: each answer is the one that a thread alone gets, and memory stays flat."""

import random
import threading
import time
from pathlib import Path

import numpy as np

THREADS = 8
WORDS = (
    "공원에서",
    "놀고",
    "있다",
    "아무도",
    "없다",
    "오늘",
    "날씨는",
    "춥지만",
    "하늘은",
    "맑다",
    "the",
    "quick",
    "fox",
)


def batches(number: int = 24) -> list[list[str]]:
    """Lists of texts of mixed lengths, the same in every run."""
    draw = random.Random(8)
    return [
        [" ".join(draw.choices(WORDS, k=draw.choice((1, 2, 5, 11, 30, 60)))) for _ in range(draw.randrange(1, 9))]
        for _ in range(number)
    ]


def resident() -> int:
    """Bytes of this process in memory."""
    fields = Path("/proc/self/statm").read_text(encoding="ascii").split()
    return int(fields[1]) * 4096


def ask_together(predictor, seconds: float) -> tuple[float, int, int]:
    """Ask from all threads for so long.

    Returns the largest difference from the answers of one thread, how many batches were asked, and the bytes that the
    process grew by in the second half of the time.
    """
    asked = batches()
    alone = [predictor.logits(texts) for texts in asked]
    found, end = [(0.0, 0)] * THREADS, time.monotonic() + seconds

    def ask(index: int) -> None:
        draw, largest, count = random.Random(index), 0.0, 0
        while time.monotonic() < end:
            at = draw.randrange(len(asked))
            answers = predictor.logits(asked[at])
            largest = max(largest, float(np.max(np.abs(answers - alone[at]))))
            count += 1
        found[index] = (largest, count)

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(THREADS)]
    for thread in threads:
        thread.start()
    time.sleep(seconds / 2)  # until each thread has what its largest batch needs
    before = resident()
    for thread in threads:
        thread.join()
    differences, counts = zip(*found, strict=True)
    assert min(counts) > 0
    return max(differences), sum(counts), resident() - before


def main() -> None:
    """Ask an artifact of each method for a minute and more, and write what came of it into docs/reliability.md."""
    import sys
    import tempfile

    import octavo

    root = Path(__file__).parents[2]
    page, checkpoint, wrong = root / "docs" / "reliability.md", root / "examples" / "korean-nli", False
    lines = ["| method | batches asked | largest difference from one thread | memory |", "|---|---:|---:|---:|"]
    with tempfile.TemporaryDirectory() as place:
        graphs = octavo.export(checkpoint)
        for method in ("float", "dynamic", "static", "weight-only"):
            examples = checkpoint / "pairs.tsv" if method == "static" else None
            artifact = octavo.quantize(graphs, Path(place) / method, recipe=method, calibration=examples)
            difference, asked, grown = ask_together(octavo.load(artifact.folder, threads=1), float(sys.argv[1]))
            lines.append(f"| {method} | {asked:,} | {difference:.2g} | {grown / 2**20:+.1f} MiB |")
            wrong |= difference > 0 or grown > 32 << 20
    table = "\n".join(lines)
    print(table)
    before, _, rest = page.read_text(encoding="utf-8").partition("<!-- threads -->")
    after = rest.partition("<!-- end -->")[2]
    page.write_text(f"{before}<!-- threads -->\n{table}\n<!-- end -->{after}", encoding="utf-8")
    sys.exit(wrong)


if __name__ == "__main__":
    main()
