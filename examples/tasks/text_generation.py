"""A text, continued. `python text_generation.py [CHECKPOINT] [FILE]`, with yours, or with what lies here."""

import sys
import tempfile
from pathlib import Path

import octavo

HERE = Path(__file__).resolve().parent


def main(checkpoint: str | None = None, data: str | Path = HERE / "texts.txt") -> None:
    with tempfile.TemporaryDirectory() as work:
        if checkpoint is None:
            from untrained import untrained

            checkpoint = str(untrained("text-generation", Path(work) / "checkpoint"))
        artifact = octavo.quantize(checkpoint, Path(work) / "int8", recipe="weight-only")
        write = octavo.load(artifact.folder, task="text-generation")
        print(write("오늘은 비가", max_new_tokens=12)[0]["generated_text"])  # the likeliest text
        for piece in write.pieces("오늘은 비가", max_new_tokens=12, temperature=0.8, top_p=0.9, seed=1, stop="\n"):
            print(piece, end="", flush=True)  # a sample, as it comes
        print()
        found = octavo.compare(checkpoint, [artifact.folder], data=data)
        for row in found.rows:
            print(row.name, f"perplexity {row.quality['perplexity']:.2f}", f"KL {row.fidelity['kl']:.2g}")


if __name__ == "__main__":
    main(*sys.argv[1:])
