"""A text, continued. `python text_generation.py [CHECKPOINT] [FILE]`, with yours, or with what lies here."""

from pathlib import Path

from example import run

import octavo


def ask(folder: Path) -> None:
    write = octavo.load(folder, task="text-generation")
    print(write("오늘은 비가", max_new_tokens=12)[0]["generated_text"])  # the likeliest text
    for piece in write.pieces("오늘은 비가", max_new_tokens=12, temperature=0.8, top_p=0.9, seed=1, stop="\n"):
        print(piece, end="", flush=True)  # a sample, as it comes
    print()


if __name__ == "__main__":
    run("text-generation", "texts.txt", ask, recipe="weight-only")
