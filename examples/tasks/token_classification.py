"""Tags and entities. `python token_classification.py [CHECKPOINT] [FILE]`, with yours, or with what lies here."""

import sys
import tempfile
from pathlib import Path

import octavo

HERE = Path(__file__).resolve().parent
LABELS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-ORG", "I-ORG")


def main(checkpoint: str | None = None, data: str | Path = HERE / "ner.tsv") -> None:
    with tempfile.TemporaryDirectory() as work:
        if checkpoint is None:
            from untrained import untrained

            checkpoint = str(untrained("token-classification", Path(work) / "checkpoint", LABELS))
        artifact = octavo.quantize(checkpoint, Path(work) / "int8")
        predictor = octavo.load(artifact.folder, task="token-classification")
        for entity in predictor("세종은 한양에서 태어났다.", aggregation_strategy="first"):
            print(entity["entity_group"], entity["word"], entity["start"], entity["end"], f"{entity['score']:.3f}")
        found = octavo.compare(checkpoint, [artifact.folder], data=data)
        for row in found.rows:
            print(row.name, f"F1 {100 * row.quality['entity_f1']:.2f}", f"agreement {row.fidelity['agreement']:.4f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
