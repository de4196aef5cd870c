"""Words behind masks. `python fill_mask.py [CHECKPOINT] [FILE]`, with yours, or with what lies here."""

from pathlib import Path

from example import run
from tokenizers import Tokenizer

import octavo


def ask(folder: Path) -> None:
    predictor = octavo.load(folder, task="fill-mask")
    mask = Tokenizer.from_file(str(folder / "tokenizer.json")).id_to_token(predictor.signature.mask_token_id)
    for word in predictor(f"오늘은 {mask} 많이 온다.", top_k=3):
        print(word["token_str"], f"{word['score']:.4f}", word["sequence"])


if __name__ == "__main__":
    run("fill-mask", "texts.txt", ask)
