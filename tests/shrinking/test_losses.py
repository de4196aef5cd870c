"""What is learnt, against the formulas in numpy and against the vectors that Octavo's own engines give."""

import numpy as np
import pytest
import torch
from transformers.modeling_outputs import BaseModelOutput, QuestionAnsweringModelOutput, SequenceClassifierOutput

from octavo.engines.pooled import embed
from octavo.metrics.scores import kl_rows
from octavo.schema.signature import Pooling, Signature, Step
from octavo.shrinking.losses import UNKNOWN, make_lesson
from octavo.tasks import find_task

RANDOM = np.random.default_rng(20)
MASK = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1], [1, 0, 0, 0]])


def signature(task, **more):
    names = ("input_ids", "attention_mask")
    return Signature(task=task, input_names=names, output_names=("logits",), max_length=8, pad_token_id=0, **more)


def lesson(task, *, weights=None, use_labels=False, temperature=2.0, **more):
    return make_lesson(signature(task, **more), weights or {}, temperature=temperature, use_labels=use_labels)


def drawn(*shape):
    return torch.from_numpy(RANDOM.normal(size=shape).astype(np.float32))


def outputs(logits, states=()):
    return SequenceClassifierOutput(logits=logits, hidden_states=tuple(states))


def divergence(one, other, temperature):
    return kl_rows((other / temperature).numpy(), (one / temperature).numpy()).mean() * temperature**2


def test_probabilities_diverge_at_a_temperature():
    one, other = drawn(3, 5), drawn(3, 5)
    found = lesson("text-classification", labels=tuple("가나다라마")).answer_loss(
        outputs(one), outputs(other), {"attention_mask": MASK}
    )
    assert found.item() == pytest.approx(divergence(one, other, 2.0), rel=1e-5)
    assert lesson("text-classification", labels=tuple("가나다라마")).answer_loss(
        outputs(other), outputs(other), {"attention_mask": MASK}
    ).item() == pytest.approx(0, abs=1e-6)


def test_only_what_is_answered_counts():
    tags, other = drawn(3, 4, 5), drawn(3, 4, 5)
    real = MASK.bool()
    found = lesson("token-classification", labels=tuple("가나다라마")).answer_loss(
        outputs(tags), outputs(other), {"attention_mask": MASK}
    )
    assert found.item() == pytest.approx(divergence(tags[real], other[real], 2.0), rel=1e-5)
    ids = torch.tensor([[5, 9, 6, 9], [9, 5, 5, 5], [5, 5, 5, 5]])
    found = lesson("fill-mask", mask_token_id=9).answer_loss(
        outputs(tags), outputs(other), {"attention_mask": MASK, "input_ids": ids}
    )
    assert found.item() == pytest.approx(divergence(tags[ids == 9], other[ids == 9], 2.0), rel=1e-5)


def test_spans_and_choices_are_distributions_of_their_own():
    start, end, other = drawn(3, 4), drawn(3, 4), drawn(3, 4)
    spans = [QuestionAnsweringModelOutput(start_logits=one, end_logits=end) for one in (start, other)]
    found = lesson("question-answering").answer_loss(*spans, {"attention_mask": MASK})
    lengths = (3, 4, 1)
    parts = [divergence(start[i : i + 1, :n], other[i : i + 1, :n], 2.0) for i, n in enumerate(lengths)]
    assert found.item() == pytest.approx(sum(parts) / 6, rel=1e-4)  # ends are the same

    one, aim, owner = drawn(5, 1), drawn(5, 1), torch.tensor([0, 0, 1, 1, 1])
    found = lesson("multiple-choice").answer_loss(
        outputs(one), outputs(aim), {"attention_mask": MASK[:1].repeat(5, 1), "owner": owner}
    )
    parts = [divergence(one[a:b].T, aim[a:b].T, 2.0) for a, b in ((0, 2), (2, 5))]
    assert found.item() == pytest.approx(sum(parts) / 2, rel=1e-4)


def test_several_labels_are_each_there_or_not_and_numbers_are_numbers():
    one, aim = drawn(3, 2), drawn(3, 2)
    task = lesson(
        "text-classification", labels=("비", "눈"), problem_type="multi_label_classification", temperature=1.0
    )
    found = task.answer_loss(outputs(one), outputs(aim), {"attention_mask": MASK}).item()
    p, q = torch.sigmoid(aim.double()), torch.sigmoid(one.double())
    assert found == pytest.approx((p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()).mean().item(), rel=1e-4)
    task = lesson("text-classification", labels=("점수",), problem_type="regression")
    found = task.answer_loss(outputs(one[:, :1]), outputs(aim[:, :1]), {"attention_mask": MASK}).item()
    assert found == pytest.approx(((one - aim)[:, 0].square().sum() / aim[:, 0].square().sum()).item(), rel=1e-5)


@pytest.mark.parametrize("mode", ["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"])
def test_vectors_are_those_of_the_engines(mode):
    sizes = {
        "2_Dense": {"linear.weight": (4, 6), "linear.bias": (4,), "residual.weight": (4, 6)},
        "3_Dense": {"linear.weight": (4, 4)},
        "4_LayerNorm": {"norm.weight": (4,), "norm.bias": (4,)},
    }
    weights = {
        folder: {name: RANDOM.normal(size=size).astype(np.float32) for name, size in parts.items()}
        for folder, parts in sizes.items()
    }
    steps = (
        Step(kind="dense", folder="2_Dense", activation="GELU", residual=True),
        Step(kind="dense", folder="3_Dense", activation="SiLU", residual=True),
        Step(kind="layernorm", folder="4_LayerNorm"),
        Step(kind="truncate", dimension=3),
        Step(kind="normalize"),
    )
    pooling, hidden = Pooling(modes=(mode,), dimension=3, steps=steps), drawn(3, 4, 6)
    found = lesson("feature-extraction", pooling=pooling, weights=weights).vectors(hidden, {"attention_mask": MASK})
    assert np.allclose(found.numpy(), embed(hidden.numpy(), MASK.numpy(), pooling, weights), atol=1e-6)


def test_lengths_of_vectors_count_where_they_are_compared_by_them():
    one = drawn(3, 4, 6)
    for similarity, expected in (("cosine", 0.0), ("dot", 1.0)):
        task = lesson("feature-extraction", pooling=Pooling(modes=("cls",), dimension=6, similarity=similarity))
        found = task.answer_loss(BaseModelOutput(2 * one), BaseModelOutput(one), {"attention_mask": MASK}).item()
        assert found == pytest.approx(expected, abs=1e-5)


def test_vectors_are_learnt_by_their_angles_and_by_those_between_them():
    task = lesson("feature-extraction", pooling=Pooling(modes=("cls",), dimension=6))
    one, aim = drawn(3, 4, 6), drawn(3, 4, 6)
    found = task.answer_loss(*(BaseModelOutput(part) for part in (one, aim)), {"attention_mask": MASK}).item()
    a, b = (part[:, 0].numpy() / np.linalg.norm(part[:, 0].numpy(), axis=1, keepdims=True) for part in (one, aim))
    assert found == pytest.approx((1 - (a * b).sum(1)).mean() + np.square(a @ a.T - b @ b.T).mean(), rel=1e-5)
    assert task.answer_loss(BaseModelOutput(2 * aim), BaseModelOutput(aim), {"attention_mask": MASK}).item() < 1e-6


def test_a_layer_learns_the_state_that_the_next_one_read():
    logits, states, aims = drawn(3, 2), [drawn(3, 4, 6) for _ in range(3)], [drawn(3, 4, 6) for _ in range(5)]
    task = lesson("text-classification", labels=("비", "눈")).of_layers((0, 2), 4)
    batch = {"attention_mask": MASK}
    found = task.loss(outputs(logits, states), outputs(logits, aims), batch).item()
    real = MASK.bool().numpy()
    pairs = [(states[1], aims[2]), (states[2], aims[4])]
    parts = [np.square(a.numpy()[real] - b.numpy()[real]).mean() / b.numpy()[real].var(ddof=1) for a, b in pairs]
    assert found == pytest.approx(np.mean(parts), rel=1e-4)


def test_labels_count_where_they_are_known():
    logits = drawn(3, 2)
    task = lesson("text-classification", labels=("비", "눈"), use_labels=True)
    batch = {"attention_mask": MASK, "gold": torch.tensor([1, UNKNOWN, 0])}
    found = task.loss(outputs(logits), outputs(logits), batch).item()
    shares = torch.log_softmax(logits, 1)
    assert found == pytest.approx(-(shares[0, 1] + shares[2, 0]).item() / 2, rel=1e-4)
    batch["gold"] = torch.full((3,), UNKNOWN)
    assert task.loss(outputs(logits), outputs(logits), batch).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("settings", "learnt"),
    [
        ({"labels": ("비", "눈")}, True),
        ({"labels": ("비", "눈"), "problem_type": "multi_label_classification"}, False),
        ({"labels": ("길이", "무게"), "problem_type": "regression"}, False),  # numbers, of which none is the right one
        ({"labels": ("점수",)}, False),
    ],
)
def test_labels_are_learnt_from_where_one_of_several_is_right(settings, learnt):
    assert find_task(signature("text-classification", **settings)).takes_labels == learnt
