"""Answers from a context. `python question_answering.py [CHECKPOINT] [FILE]`, with yours, or with what lies here."""

import sys
import tempfile
from pathlib import Path

import octavo

HERE = Path(__file__).resolve().parent


def main(checkpoint: str | None = None, data: str | Path = HERE / "questions.json") -> None:
    with tempfile.TemporaryDirectory() as work:
        if checkpoint is None:
            from untrained import untrained

            checkpoint = str(untrained("question-answering", Path(work) / "checkpoint"))
        artifact = octavo.quantize(checkpoint, Path(work) / "int8")
        predictor = octavo.load(artifact.folder, task="question-answering")
        row = {"question": "세종은 언제 즉위했나?", "context": "세종은 1418년에 즉위하여 1450년까지 다스렸다."}
        for answer in predictor(row, top_k=3):
            print(answer["answer"], answer["start"], answer["end"], f"{answer['score']:.4f}")
        found = octavo.compare(checkpoint, [artifact.folder], data=data)
        for one in found.rows:
            print(one.name, {name: f"{100 * value:.2f}" for name, value in one.quality.items()})


if __name__ == "__main__":
    main(*sys.argv[1:])
