"""Tags and entities. `python token_classification.py [CHECKPOINT] [FILE]`, with yours, or with what lies here."""

from pathlib import Path

from example import run

import octavo

LABELS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-ORG", "I-ORG")


def ask(folder: Path) -> None:
    predictor = octavo.load(folder, task="token-classification")
    for entity in predictor("세종은 한양에서 태어났다.", aggregation_strategy="first"):
        print(entity["entity_group"], entity["word"], entity["start"], entity["end"], f"{entity['score']:.3f}")


if __name__ == "__main__":
    run("token-classification", "ner.tsv", ask, LABELS)
