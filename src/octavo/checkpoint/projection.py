"""A torch encoder that answers with the vectors of its tokens: projected and of length 1, as its signature says.

It imports torch and transformers, and is imported where a model is loaded.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers.utils import ModelOutput

from octavo.checkpoint.pooling import Weights, read_steps
from octavo.checkpoint.token_vectors import STANFORD_WEIGHT
from octavo.checkpoint.weights import load_state
from octavo.schema.signature import Step, TokenVectors


@dataclass
class TokenEmbeddings(ModelOutput):
    """What such a model answers: [batch, length, dimension]."""

    token_embeddings: torch.Tensor | None = None


class Dense(torch.nn.Module):
    """A Dense of sentence-transformers."""

    def __init__(self, step: Step, weights: Weights) -> None:
        super().__init__()
        self.linear = make_linear(weights["linear.weight"], weights.get("linear.bias"))
        self.activation = getattr(torch.nn, step.activation)()
        self.adds = step.residual
        if "residual.weight" in weights:
            self.residual = make_linear(weights["residual.weight"])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[..., inputs] -> [..., outputs]."""
        projected: torch.Tensor = self.activation(self.linear(x))
        return projected + (self.residual(x) if hasattr(self, "residual") else x) if self.adds else projected


def make_linear(weight: Any, bias: Any = None) -> torch.nn.Linear:
    """A Linear of these weights, [outputs, inputs] and [outputs]."""
    linear = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    linear.weight = torch.nn.Parameter(torch.as_tensor(weight, dtype=torch.float32))
    if bias is not None:
        linear.bias = torch.nn.Parameter(torch.as_tensor(bias, dtype=torch.float32))
    return linear


def add_token_vectors(model: Any, how: TokenVectors, folder: Path, files: Iterable[Path]) -> None:
    """Let a model answer with `TokenEmbeddings`, in place; `files` are the weights of the checkpoint in the folder.

    Tokens that fill a query up and are not attended are found by their place: they stand behind all others, so that the
    mask, as for every model here, says which tokens have an answer. Each module is called by its folder.
    """
    weights, forward, modules = read_steps(folder, how), model.forward, list[Any]()
    for step in how.steps:
        module = Dense(step, weights[step.folder]) if step.folder else make_linear(_stanford_weight(files))
        model.add_module(step.folder or STANFORD_WEIGHT.partition(".")[0], module)
        modules.append(module)

    def vectors(input_ids: Any, attention_mask: Any, token_type_ids: Any = None, **more: Any) -> TokenEmbeddings:
        types = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        if how.unseen is not None:
            places = torch.arange(input_ids.shape[1], device=input_ids.device)
            told = (input_ids != how.unseen).to(places.dtype) * attention_mask
            attention_mask = (places <= (places * told).amax(dim=1, keepdim=True)).to(attention_mask.dtype)
        hidden = forward(input_ids=input_ids, attention_mask=attention_mask, **types, **more).last_hidden_state
        for module in modules:
            hidden = module(hidden)
        return TokenEmbeddings(token_embeddings=torch.nn.functional.normalize(hidden, p=2, dim=-1))

    model.forward = vectors


def _stanford_weight(files: Iterable[Path]) -> torch.Tensor:
    for file in files:
        if file.suffix == ".bin":
            stored = load_state(file)
            if STANFORD_WEIGHT in stored:
                return torch.as_tensor(stored[STANFORD_WEIGHT])
        else:
            from safetensors import safe_open

            with safe_open(file, "pt") as tensors:
                if STANFORD_WEIGHT in tensors.keys():  # noqa: SIM118 - not a mapping
                    return torch.as_tensor(tensors.get_tensor(STANFORD_WEIGHT))
    raise KeyError(STANFORD_WEIGHT)  # its shape was read before
