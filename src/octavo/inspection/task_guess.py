"""The task that the inputs and outputs of a graph tell."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from octavo.checkpoint.config import architectures
from octavo.schema.inspection import Port


def main_output(outputs: tuple[Port, ...]) -> Port:
    """The output that a session returns: `logits`, or the first."""
    return next((port for port in outputs if port.name == "logits"), outputs[0] if outputs else Port("", "", ()))


def guess_task(
    inputs: tuple[Port, ...], outputs: tuple[Port, ...], config: Mapping[str, Any], vocabulary: int
) -> tuple[str, str]:
    """The task that inputs and outputs tell, and why; `vocabulary` is the number of rows of the largest embedding."""
    names = {port.name for port in outputs}
    ids = next((port for port in inputs if port.name == "input_ids"), None)
    first = main_output(outputs)
    read = ("encoder_hidden_states", "decoder_input_ids", "encoder_attention_mask")
    decoder = any(name in port.name for port in inputs for name in read)
    caches = [
        port.name for port in (*inputs, *outputs) if re.search(r"(^|[_./])(past|present|cache)([_./]|$)", port.name)
    ]
    pooled = sorted(names & {"last_hidden_state", "sentence_embedding", "token_embeddings", "pooler_output"})
    task, reason = "unknown", "inputs and outputs are of no task that is known"
    if caches:
        task, reason = ("text2text-generation" if decoder else "text-generation"), f"it has a cache: {caches[0]}"
    elif {"start_logits", "end_logits"} <= names:
        task, reason = "question-answering", "outputs start_logits and end_logits"
    elif ids is not None and len(ids.shape) == 3:
        task, reason = "multiple-choice", "input_ids has three dimensions"
    elif pooled:
        task, reason = "feature-extraction", f"output {pooled[0]}"
    elif len(first.shape) == 2:
        task, reason = "text-classification", f"output {first.name} is [batch, {first.shape[1]}]"
    elif len(first.shape) == 3:
        last = first.shape[2]
        stated = config.get("vocab_size")
        size = stated if isinstance(stated, int) else vocabulary
        described = f"output {first.name} is [batch, length, {last}]"
        if isinstance(last, int) and last >= size:
            task, told = _language_model(config, decoder=decoder)
            reason = f"{described}, the vocabulary; {told}"
        elif first.name != "logits" and last == config.get("hidden_size", config.get("dim")):
            task, reason = "feature-extraction", f"{described}, the hidden size"
        else:
            task, reason = "token-classification", described
    return task, reason


def _language_model(config: Mapping[str, Any], *, decoder: bool) -> tuple[str, str]:
    """Which kind of language model it is, which a graph without a cache does not tell."""
    endings = {
        "ForMaskedLM": "fill-mask",
        "ForPreTraining": "fill-mask",
        "ForCausalLM": "text-generation",
        "LMHeadModel": "text-generation",
        "ForConditionalGeneration": "text2text-generation",
    }
    if decoder:
        return "text2text-generation", "it has a decoder's inputs"
    names = architectures(config)
    found = [(task, f"config.json: {name}") for name in names for end, task in endings.items() if name.endswith(end)]
    return found[0] if found else ("language model", "no config.json says of which kind")
