"""One of several texts. `python multiple_choice.py [CHECKPOINT] [FILE]`, with yours, or with what lies here."""

from pathlib import Path

from example import run

import octavo

ROWS = [
    {"text": "비가 와서", "choices": ["우산을 썼다.", "해가 떴다."]},
    {"text": "배가 고파서", "choices": ["밥을 먹었다.", "잠을 잤다.", "책을 덮었다."]},
]


def ask(folder: Path) -> None:
    predictor = octavo.load(folder, task="multiple-choice")
    for answer in predictor(ROWS):
        print(answer["choice"], f"{answer['score']:.3f}")


if __name__ == "__main__":
    run("multiple-choice", "choices.jsonl", ask)
