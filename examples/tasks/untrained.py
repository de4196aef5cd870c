"""A checkpoint to try the examples on: the encoder of ../korean-nli with a random head, so that it knows nothing."""

from pathlib import Path

import torch
import transformers

HERE = Path(__file__).resolve().parent
HEADS = {
    "token-classification": transformers.BertForTokenClassification,
    "question-answering": transformers.BertForQuestionAnswering,
    "multiple-choice": transformers.BertForMultipleChoice,
    "fill-mask": transformers.BertForMaskedLM,
}


def untrained(task: str, folder: Path, labels: tuple[str, ...] = ()) -> Path:
    """Write the checkpoint to a folder, and return the folder."""
    source = HERE.parent / "korean-nli"
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.manual_seed(0)
    config = transformers.AutoConfig.from_pretrained(source)
    if labels:
        config.id2label, config.label2id = dict(enumerate(labels)), {name: index for index, name in enumerate(labels)}
    else:
        config.num_labels = 2
    config.problem_type = None
    model = HEADS[task].from_pretrained(source, config=config, ignore_mismatched_sizes=True)
    model.save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(source).save_pretrained(folder)
    return folder
