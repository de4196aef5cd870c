"""Quantize a language model's weights and let it write: python examples/write.py CHECKPOINT "Once upon a time"."""

import sys
import tempfile
from pathlib import Path

import octavo

checkpoint, prompt = sys.argv[1], sys.argv[2]
with tempfile.TemporaryDirectory() as place:
    artifact = octavo.quantize(checkpoint, Path(place) / "int8", recipe="weight-only")
    write = octavo.load(artifact.folder)

    print(write(prompt, max_new_tokens=60)[0]["generated_text"], end="\n\n")  # the most likely text

    for piece in write.pieces(prompt, max_new_tokens=60, temperature=0.8, top_p=0.9, seed=1, stop="\n"):
        print(piece, end="", flush=True)  # a sample, as it comes
    print()
