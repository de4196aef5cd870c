"""Answers from a context. `python question_answering.py [CHECKPOINT] [FILE]`, with yours, or with what lies here."""

from pathlib import Path

from example import run

import octavo


def ask(folder: Path) -> None:
    predictor = octavo.load(folder, task="question-answering")
    row = {"question": "세종은 언제 즉위했나?", "context": "세종은 1418년에 즉위하여 1450년까지 다스렸다."}
    for answer in predictor(row, top_k=3):
        print(answer["answer"], answer["start"], answer["end"], f"{answer['score']:.4f}")


if __name__ == "__main__":
    run("question-answering", "questions.json", ask)
