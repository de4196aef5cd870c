"""Words behind masks. `python fill_mask.py [CHECKPOINT] [FILE]`, with yours, or with what lies here."""

import sys
import tempfile
from pathlib import Path

from tokenizers import Tokenizer

import octavo

HERE = Path(__file__).resolve().parent


def main(checkpoint: str | None = None, data: str | Path = HERE / "texts.txt") -> None:
    with tempfile.TemporaryDirectory() as work:
        if checkpoint is None:
            from untrained import untrained

            checkpoint = str(untrained("fill-mask", Path(work) / "checkpoint"))
        artifact = octavo.quantize(checkpoint, Path(work) / "int8")
        predictor = octavo.load(artifact.folder, task="fill-mask")
        mask = Tokenizer.from_str(artifact.tokenizer_json).id_to_token(predictor.signature.mask_token_id)
        for word in predictor(f"오늘은 {mask} 많이 온다.", top_k=3):
            print(word["token_str"], f"{word['score']:.4f}", word["sequence"])
        found = octavo.compare(checkpoint, [artifact.folder], data=data)
        for row in found.rows:
            print(row.name, f"accuracy {100 * row.quality['accuracy']:.2f}", f"KL {row.fidelity['kl']:.2g}")


if __name__ == "__main__":
    main(*sys.argv[1:])
