"""What a student is to learn of its teacher's answers to a batch: losses of torch tensors, differentiable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.nn.functional import (
    cross_entropy,
    kl_div,
    layer_norm,
    linear,
    log_softmax,
    mse_loss,
    normalize,
    softmax,
)

from octavo.engines import SPAN
from octavo.schema.signature import Signature, Step
from octavo.tasks import task_class

NEVER = -1e4  # a logit of what cannot be chosen: its probability is 0 in float32 and bfloat16
GOLD, OWNER = "gold", "owner"  # of a batch, beside the model's inputs: right labels, and whose choice a row is
UNKNOWN = -100  # a gold label that is not known


@dataclass(frozen=True)
class Lesson:
    """The losses of a task; see `loss`. `states`: of each student layer the number of the teacher's state it learns.

    `steps` are the weights of an embedder's steps, by their folders and names: see `engines.pooled.read_steps`.
    """

    signature: Signature
    states: tuple[int, ...]
    temperature: float
    use_labels: bool
    steps: Mapping[str, Mapping[str, Any]]

    def of_layers(self, chosen: Sequence[int], count: int) -> Lesson:
        """The lesson of a student with the `chosen` ones of `count` layers.

        Each of its layers stands for those up to the next chosen one, so it learns the state that this one read; the
        last one learns the last state.
        """
        return replace(self, states=(*chosen[1:], count))

    def loss(self, learnt: Any, taught: Any, batch: Mapping[str, Any]) -> Any:
        """The loss of the student's outputs, given the teacher's to the same batch, both with their hidden states.

        The answers' loss (`answer_loss`), that of the states of matched layers, and where labels are used their cross
        entropy. States: the mean square of the difference at all tokens over that of the teacher's state; after Jiao
        et al. 2019 (TinyBERT), who have no division, which lets models of any scale learn at one rate.
        """
        total = self.answer_loss(learnt, taught, batch)
        real = batch["attention_mask"].bool()
        for place, state in enumerate(self.states):
            mine, aim = learnt["hidden_states"][place + 1][real], taught["hidden_states"][state][real]
            total = total + mse_loss(mine.float(), aim.float()) / aim.float().var() / len(self.states)
        if self.use_labels:
            known = batch[GOLD] != UNKNOWN
            if known.any():
                total = total + cross_entropy(self.logits(learnt, batch)[known].float(), batch[GOLD][known])
        return total

    def answer_loss(self, learnt: Any, taught: Any, batch: Mapping[str, Any]) -> Any:
        """How far answers are from the teacher's.

        Of probabilities the divergence at a temperature T, times T^2 (Hinton et al. 2015); of numbers the square of
        the difference over that of the teacher's; of vectors 1 - cosine, and the square of the difference of all
        cosines within the batch (Park et al. 2019, relations between examples), and as of numbers where lengths count.
        """
        if self.signature.pooling is not None:
            vectors = [self.vectors(outputs[0].float(), batch) for outputs in (learnt, taught)]
            mine, aim = (normalize(side, dim=1) for side in vectors)
            angles = (1 - (mine * aim).sum(1)).mean() + mse_loss(mine @ mine.T, aim @ aim.T)
            if self.signature.pooling.similarity == "cosine":
                return angles
            return angles + mse_loss(*vectors) / vectors[1].square().mean()
        mine, aim = (self.logits(outputs, batch).float() for outputs in (learnt, taught))
        if not len(aim):
            return mine.sum()  # a batch without a mask
        if aim.shape[1] == 1 or self.signature.problem_type == "regression":
            return mse_loss(mine, aim) / aim.square().mean().clamp_min(1e-6)
        warmth = self.temperature
        told = softmax(aim / warmth, 1)
        return kl_div(log_softmax(mine / warmth, 1), told, reduction="batchmean") * warmth**2

    def logits(self, outputs: Any, batch: Mapping[str, Any]) -> Any:
        """The answers as rows [answers, k] with a distribution each; of numbers [answers, 1]."""
        signature, real = self.signature, batch["attention_mask"].bool()
        task = task_class(signature.task)
        if task.extracts:
            logits = torch.cat([outputs[name] for name in SPAN])
            return logits.masked_fill(~real.repeat(2, 1), NEVER)
        logits = outputs["logits"]
        if task.tags:
            return logits[real]
        if task.fills:
            return logits[batch["input_ids"] == signature.mask_token_id]
        if task.chooses:
            return _side_by_side(logits[:, 0], batch[OWNER])
        if signature.problem_type == "multi_label_classification":
            # A label is there or not: sigmoid(x) is that of x, 0
            return torch.stack([logits.flatten(), torch.zeros_like(logits.flatten())], 1)
        return logits

    def vectors(self, hidden: Any, batch: Mapping[str, Any]) -> Any:
        """One vector for each text, [batch, dimension]; `engines.pooled.embed` in torch."""
        pooling, mask = self.signature.pooling, batch["attention_mask"]
        assert pooling is not None
        vectors = torch.cat([_pool(hidden, mask, mode) for mode in pooling.modes], 1)
        for step in pooling.steps:
            weights = {name: weight.to(vectors.device) for name, weight in self.steps.get(step.folder, {}).items()}
            if step.kind == "normalize":
                vectors = normalize(vectors, dim=1)
            elif step.kind == "truncate":
                vectors = vectors[:, : step.dimension]
            elif step.kind == "layernorm":
                vectors = layer_norm(vectors, vectors.shape[1:], weights["norm.weight"], weights.get("norm.bias"))
            else:
                vectors = _dense(vectors, weights, step)
        return vectors


def make_lesson(signature: Signature, steps: Mapping[str, Any], *, temperature: float, use_labels: bool) -> Lesson:
    """The lesson of a model's answers alone; `steps` are the weights that `engines.pooled.read_steps` reads."""
    tensors = {
        folder: {name: torch.from_numpy(weight) for name, weight in weights.items()}
        for folder, weights in steps.items()
    }
    return Lesson(signature, (), temperature, use_labels, tensors)


def _dense(vectors: Any, weights: Mapping[str, Any], step: Step) -> Any:
    dense = getattr(torch.nn, step.activation)()(linear(vectors, weights["linear.weight"], weights.get("linear.bias")))
    if not step.residual:
        return dense
    return dense + (linear(vectors, weights["residual.weight"]) if "residual.weight" in weights else vectors)


def _side_by_side(logits: Any, owner: Any) -> Any:
    """The logits of choices [rows] as [examples, most choices]; `owner` counts the examples of the rows up from 0."""
    counts = torch.bincount(owner)
    starts = counts.cumsum(0) - counts
    places = torch.arange(len(owner), device=owner.device) - starts[owner]
    table = logits.new_full((len(counts), int(counts.max())), NEVER)
    return table.index_put((owner, places), logits)


def _pool(hidden: Any, mask: Any, mode: str) -> Any:
    if mode == "cls":
        return hidden[:, 0]
    if mode == "lasttoken":
        return hidden[torch.arange(len(hidden), device=hidden.device), mask.sum(1) - 1]
    if mode == "max":
        return hidden.masked_fill(mask[:, :, None] == 0, float("-inf")).amax(1)
    weights = mask.to(hidden.dtype)
    if mode == "weightedmean":
        weights = weights * torch.arange(1, mask.shape[1] + 1, device=mask.device)
    share = weights.sum(1, keepdim=True)
    return (hidden * weights[:, :, None]).sum(1) / (share.sqrt() if mode == "mean_sqrt_len_tokens" else share)
