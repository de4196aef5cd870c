"""A text, answered with a text. `python text2text_generation.py [CHECKPOINT] [FILE]`, with yours, or what lies here."""

from pathlib import Path

from example import run

import octavo


def ask(folder: Path) -> None:
    answer = octavo.load(folder, task="text2text-generation")
    for one in answer(["오늘은 비가 많이 온다.", "아이들이 공원에서 놀고 있다."], max_new_tokens=12, num_beams=3):
        print(one["generated_text"])


if __name__ == "__main__":
    run("text2text-generation", "targets.jsonl", ask)
