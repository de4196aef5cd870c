"""A checkpoint to try the examples on: the encoder of ../korean-nli with a random head, so that it knows nothing.

A model that writes is small and random altogether, with the same tokenizer.
"""

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


def writer(task: str, tokenizer: transformers.PreTrainedTokenizerBase) -> transformers.PreTrainedModel:
    """A small GPT-2, or BART, with random weights."""
    begin, end, pad = tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id
    known = {"vocab_size": len(tokenizer), "bos_token_id": begin, "eos_token_id": end, "pad_token_id": pad}
    if task == "text-generation":
        size = {"n_embd": 64, "n_layer": 1, "n_head": 4, "n_positions": 128}
        return transformers.GPT2LMHeadModel(transformers.GPT2Config(**size, **known))
    size = {"d_model": 64, "max_position_embeddings": 128}
    for side in ("encoder", "decoder"):
        size |= {f"{side}_layers": 1, f"{side}_attention_heads": 4, f"{side}_ffn_dim": 128}
    config = transformers.BartConfig(**size, **known, decoder_start_token_id=begin, forced_eos_token_id=end)
    return transformers.BartForConditionalGeneration(config)


def untrained(task: str, folder: Path, labels: tuple[str, ...] = ()) -> Path:
    """Write the checkpoint to a folder, and return the folder."""
    source = HERE.parent / "korean-nli"
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.manual_seed(0)
    tokenizer = transformers.AutoTokenizer.from_pretrained(source)
    tokenizer.save_pretrained(folder)
    if task not in HEADS:
        model = writer(task, tokenizer)
        model.generation_config.max_new_tokens = 8
        model.save_pretrained(folder)
        return folder
    config = transformers.AutoConfig.from_pretrained(source)
    if labels:
        config.id2label, config.label2id = dict(enumerate(labels)), {name: index for index, name in enumerate(labels)}
    else:
        config.num_labels = 2
    config.problem_type = None
    model = HEADS[task].from_pretrained(source, config=config, ignore_mismatched_sizes=True)
    model.save_pretrained(folder)
    return folder
