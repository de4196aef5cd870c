"""A text, answered with a text. `python text2text_generation.py [CHECKPOINT] [FILE]`, with yours, or what lies here."""

import sys
import tempfile
from pathlib import Path

import octavo

HERE = Path(__file__).resolve().parent


def main(checkpoint: str | None = None, data: str | Path = HERE / "targets.jsonl") -> None:
    with tempfile.TemporaryDirectory() as work:
        if checkpoint is None:
            from untrained import untrained

            checkpoint = str(untrained("text2text-generation", Path(work) / "checkpoint"))
        artifact = octavo.quantize(checkpoint, Path(work) / "int8", recipe="dynamic")
        answer = octavo.load(artifact.folder, task="text2text-generation")
        for one in answer(["오늘은 비가 많이 온다.", "아이들이 공원에서 놀고 있다."], max_new_tokens=12, num_beams=3):
            print(one["generated_text"])
        found = octavo.compare(checkpoint, [artifact.folder], data=data)
        for row in found.rows:
            print(row.name, f"exact match {100 * row.quality['exact_match']:.1f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
