"""A prepared model as a checkpoint: plain float weights, the ranges beside them, and what it answers as a proof."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

from octavo.artifact.selftest import flat, self_test_inputs
from octavo.checkpoint.ranges import vocabulary_hash
from octavo.checkpoint.source import Checkpoint, read_source
from octavo.engines.torch import TorchSession
from octavo.errors import InputError
from octavo.files import sha256_of, whole_file
from octavo.qat.model import float_weights, held
from octavo.schema.documents import json_text
from octavo.schema.ranges import RANGES, Probe, Ranges
from octavo.tasks import find_task


def save(model: Any, folder: str | Path, tokenizer: Any = None) -> None:
    """Write a prepared model as a checkpoint: `model` stays as it is, and can be trained on.

    The folder is as transformers writes it, weights in float, with `quantization_ranges.json`, and `octavo quantize`
    makes static int8 of it without examples.

    Args:
        model: what `prepare` has made of a model of transformers.
        folder: where to write.
        tokenizer: the model's; None where the folder has it already.

    Raises:
        InputError: the model is not prepared, or writes texts.
    """
    held(model)
    model.save_pretrained(folder, state_dict=float_weights(model))
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)
    write_ranges(model, folder)


def write_ranges(model: Any, checkpoint: str | Path | Checkpoint) -> Ranges:
    """Write `quantization_ranges.json` into the folder of a checkpoint that holds the weights of a prepared model."""
    learnt, source = held(model), read_source(checkpoint)
    if find_task(source.signature).writes:
        raise InputError("models that write are not trained for int8", got=source.signature.task)
    inputs = self_test_inputs(source.tokenizer.json, source.signature)
    training, device = model.training, model.device
    outputs = TorchSession(model.eval().cpu()).run(inputs)
    ranges = Ranges(
        version=version("octavo"),
        saturates=learnt.saturates,
        inputs=learnt.records(),
        embeddings=learnt.embeddings,
        weights=sha256_of(*source.weights.files),
        vocabulary=vocabulary_hash(source),
        probe=Probe(
            inputs={name: array.tolist() for name, array in inputs.items()},
            outputs=flat(outputs, inputs).tolist(),
        ),
    )
    model.to(device).train(training)
    with whole_file(source.folder / RANGES) as stream:
        stream.write(json_text(ranges.model_dump(mode="json"), indent=1) + "\n")
    return ranges
