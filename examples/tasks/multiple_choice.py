"""One of several texts. `python multiple_choice.py [CHECKPOINT] [FILE]`, with yours, or with what lies here."""

import sys
import tempfile
from pathlib import Path

import octavo

HERE = Path(__file__).resolve().parent


def main(checkpoint: str | None = None, data: str | Path = HERE / "choices.jsonl") -> None:
    with tempfile.TemporaryDirectory() as work:
        if checkpoint is None:
            from untrained import untrained

            checkpoint = str(untrained("multiple-choice", Path(work) / "checkpoint"))
        artifact = octavo.quantize(checkpoint, Path(work) / "int8")
        predictor = octavo.load(artifact.folder, task="multiple-choice")
        rows = [
            {"text": "비가 와서", "choices": ["우산을 썼다.", "해가 떴다."]},
            {"text": "배가 고파서", "choices": ["밥을 먹었다.", "잠을 잤다.", "책을 덮었다."]},
        ]
        for answer in predictor(rows):
            print(answer["choice"], f"{answer['score']:.3f}")
        found = octavo.compare(checkpoint, [artifact.folder], data=data)
        for row in found.rows:
            print(row.name, f"accuracy {100 * row.quality['accuracy']:.2f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
