"""BERT and its kin in numpy, float64: what a written graph is held against where torch is not installed.

It is written from the papers and the names in the weight files, and shares nothing with `builder.py` but these weights:
other formulas for the same things (integers for MPNet's buckets, no folded biases, the mask as a choice of tokens).
Several batches go through the layers together, so that each matrix is taken to float64 once. It computes in one thread:
between products BLAS lets the others spin, which cost more than the products.

Sources: Devlin et al. 2019 (BERT), Liu et al. 2019 (RoBERTa), Sanh et al. 2019 (DistilBERT), Clark et al. 2020
(ELECTRA), Song et al. 2020 (MPNet), Lan et al. 2020 (ALBERT); Hendrycks and Gimpel 2016 (GELU).
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from octavo.errors import ExportError
from octavo.schema.signature import TokenVectors
from octavo.tasks import task_class

Array = NDArray[np.float64]
Weights = Mapping[str, NDArray[np.float32]]
Ids = NDArray[np.int64]
Masks = Sequence[NDArray[np.bool_]]

_FINE = 1 << 15  # steps of the table of erf in 1; it is 1 in float64 from 5.93 on
_ERF = np.array([math.erf(step / _FINE) for step in range(6 * _FINE + 2)])
_RISE = np.diff(_ERF)
_BLOCK = 1 << 15  # numbers whose GELU is computed at a time: its steps stay in the cache


class NumpyReference:
    """A session of one of these models; `run` gives float32 of what was computed in float64."""

    name = "numpy"
    threads = 1
    streams = 1

    def __init__(
        self, task: str, config: Mapping[str, Any], weights: Weights, token_vectors: TokenVectors | None = None
    ) -> None:
        """A model for a task, of a config with all settings that its class has; `weights` are by module path.

        `token_vectors`: how tokens get vectors, where these are the answer.
        """
        self.token_vectors = token_vectors
        self.task, self.config, self.weights, self.kind = task, config, weights, str(config["model_type"])
        roberta = self.kind in {"roberta", "xlm-roberta", "camembert"}
        asked = task_class(task)
        self.summarizes = self.kind == "electra" and asked.chooses
        self.body = "" if asked.pools or asked.late else f"{'roberta' if roberta else self.kind}."

    def run(self, inputs: dict[str, Ids]) -> NDArray[np.float32]:
        """The model's answer to one batch of int64 [rows, length]: [rows, labels], or a vector of each token."""
        return self.run_all([inputs])[0]

    def run_all(self, batches: Sequence[dict[str, Ids]]) -> list[NDArray[np.float32]]:
        """The answer to each batch, of any shapes."""
        with threadpool_limits(1, "blas"):
            return [self._answer(states).astype(np.float32) for states in self._encode(batches)]

    def _answer(self, states: Array) -> Array:
        match self.task:
            case "feature-extraction":
                return states
            case "late-interaction":
                return self._project(states)
            case "token-classification":
                return self._linear("classifier", states)
            case "question-answering":
                return self._linear("qa_outputs", states)
            case "fill-mask":
                return self._words(states)
            case _:
                return self._classify(states[:, 0])

    # The body: the tokens of all batches, [tokens, width]; `masks` are which of each batch are seen, [rows, length]

    def _encode(self, batches: Sequence[dict[str, Ids]]) -> list[Array]:
        """The vectors of each batch's tokens, [rows, length, width]."""
        masks, config = [self._seen(inputs) for inputs in batches], self.config
        embedded = [self._embed(inputs["input_ids"], inputs.get("token_type_ids")) for inputs in batches]
        x = np.concatenate([part.reshape(-1, part.shape[-1]) for part in embedded])
        if self.kind == "albert":
            x = self._linear(f"{self.body}encoder.embedding_hidden_mapping_in", x)
        if self.kind == "electra" and f"{self.body}embeddings_project.weight" in self.weights:
            x = self._linear(f"{self.body}embeddings_project", x)
        biases = [self._relative(mask.shape[1]) if self.kind == "mpnet" else None for mask in masks]
        for index in range(config["n_layers" if self.kind == "distilbert" else "num_hidden_layers"]):
            if self.kind == "albert":
                group = index * config["num_hidden_groups"] // config["num_hidden_layers"]
                x = self._albert_layer(f"{self.body}encoder.albert_layer_groups.{group}.albert_layers.0", x, masks)
            elif self.kind == "distilbert":
                x = self._distilbert_layer(f"{self.body}transformer.layer.{index}", x, masks)
            else:
                x = self._bert_layer(f"{self.body}encoder.layer.{index}", x, masks, biases)
        return [part.reshape(*mask.shape, -1) for part, mask in zip(_parts(x, masks), masks, strict=True)]

    def _seen(self, inputs: dict[str, Ids]) -> NDArray[np.bool_]:
        """Which tokens are attended to: not the run of tokens at the end of a query that only fill it up."""
        mask, filling = inputs["attention_mask"].astype(bool), self.token_vectors and self.token_vectors.unseen
        if filling is not None:
            for row, ids in zip(mask, inputs["input_ids"], strict=True):
                end = int(row.sum())
                while end > 1 and ids[end - 1] == filling:
                    end -= 1
                row[end:] = False
        return mask

    def _embed(self, ids: Ids, types: Ids | None) -> Array:
        place = f"{self.body}embeddings"
        positions = np.arange(ids.shape[1])[None]
        if self.kind in {"roberta", "xlm-roberta", "camembert", "mpnet"}:
            padding = 1 if self.kind == "mpnet" else self.config["pad_token_id"]
            token = ids != padding
            positions = np.where(token, padding + np.cumsum(token, axis=1), padding)
        x = self._rows(f"{place}.word_embeddings", ids) + self._rows(f"{place}.position_embeddings", positions)
        if self.kind not in {"distilbert", "mpnet"}:
            x = x + self._rows(f"{place}.token_type_embeddings", np.zeros_like(ids) if types is None else types)
        return self._normalize(f"{place}.LayerNorm", x)

    def _bert_layer(self, place: str, x: Array, masks: Masks, biases: Sequence[Array | None]) -> Array:
        if self.kind == "mpnet":
            names = [f"{place}.attention.attn.{name}" for name in "qkvo"]
            after = f"{place}.attention.LayerNorm"
        else:
            names = [f"{place}.attention.self.{name}" for name in ("query", "key", "value")]
            names.append(f"{place}.attention.output.dense")
            after = f"{place}.attention.output.LayerNorm"
        x = self._normalize(after, x + self._attend(names, x, masks, self.config["num_attention_heads"], biases))
        inner = _activate(self.config["hidden_act"], self._linear(f"{place}.intermediate.dense", x))
        return self._normalize(f"{place}.output.LayerNorm", x + self._linear(f"{place}.output.dense", inner))

    def _albert_layer(self, place: str, x: Array, masks: Masks) -> Array:
        names = [f"{place}.attention.{name}" for name in ("query", "key", "value", "dense")]
        attended = self._attend(names, x, masks, self.config["num_attention_heads"])
        x = self._normalize(f"{place}.attention.LayerNorm", x + attended)
        inner = _activate(self.config["hidden_act"], self._linear(f"{place}.ffn", x))
        return self._normalize(f"{place}.full_layer_layer_norm", x + self._linear(f"{place}.ffn_output", inner))

    def _distilbert_layer(self, place: str, x: Array, masks: Masks) -> Array:
        names = [f"{place}.attention.{name}_lin" for name in ("q", "k", "v", "out")]
        x = self._normalize(f"{place}.sa_layer_norm", x + self._attend(names, x, masks, self.config["n_heads"]))
        inner = _activate(self.config["activation"], self._linear(f"{place}.ffn.lin1", x))
        return self._normalize(f"{place}.output_layer_norm", x + self._linear(f"{place}.ffn.lin2", inner))

    def _attend(
        self, names: list[str], x: Array, masks: Masks, heads: int, biases: Sequence[Array | None] = ()
    ) -> Array:
        """softmax(q k^T / sqrt(width) + bias) v over the tokens that are seen, and what leads out of it."""
        projected = [_parts(self._linear(name, x), masks) for name in names[:3]]
        attended = [
            _softmax_products(q, k, v, mask, heads, bias)
            for q, k, v, mask, bias in zip(*projected, masks, biases or [None] * len(masks), strict=True)
        ]
        return self._linear(names[3], np.concatenate(attended))

    def _relative(self, length: int) -> Array:
        """MPNet's bias of a distance d, [heads, length, length]: bucket d below 8, above by d / 8 in powers of √2."""
        ahead = np.arange(length)[None, :] - np.arange(length)[:, None]
        far = np.abs(ahead)
        powers = sum((far**2 >= 64 * 2**power).astype(np.int64) for power in range(1, 8))
        buckets = np.where(far < 8, far, 8 + powers) + np.where(ahead > 0, 16, 0)
        return self._rows(f"{self.body}encoder.relative_attention_bias", buckets).transpose(2, 0, 1)

    # Heads

    def _project(self, x: Array) -> Array:
        """Vectors of length 1, behind the projections."""
        assert self.token_vectors is not None
        for step in self.token_vectors.steps:
            place = f"{step.folder}.linear".lstrip(".")
            x = x @ self.weights[f"{place}.weight"].astype(np.float64).T
            if f"{place}.bias" in self.weights:
                x = x + self.weights[f"{place}.bias"]
        unit: Array = x / np.sqrt((x**2).sum(axis=-1, keepdims=True))
        return unit

    def _classify(self, first: Array) -> Array:
        """Logits of a text from the vectors of first tokens, [rows, width]."""
        if self.kind == "distilbert":
            hidden = np.maximum(self._linear("pre_classifier", first), 0)
        elif self.summarizes:
            hidden = _activate(self.config["summary_activation"], self._linear("sequence_summary.summary", first))
        elif "classifier.out_proj.weight" in self.weights:
            dense = self._linear("classifier.dense", first)
            return self._linear(
                "classifier.out_proj", _activate("gelu", dense) if self.kind == "electra" else np.tanh(dense)
            )
        else:
            hidden = np.tanh(self._linear(f"{self.body}pooler" + (".dense" if self.kind != "albert" else ""), first))
        return self._linear("classifier", hidden)

    def _words(self, states: Array) -> Array:
        """Logits of every word for each token."""
        act = self.config.get("hidden_act", self.config.get("activation"))
        places = {
            "bert": (
                "cls.predictions.transform.dense",
                "cls.predictions.transform.LayerNorm",
                "cls.predictions.decoder",
            ),
            "albert": ("predictions.dense", "predictions.LayerNorm", "predictions.decoder"),
            "distilbert": ("vocab_transform", "vocab_layer_norm", "vocab_projector"),
            "electra": ("generator_predictions.dense", "generator_predictions.LayerNorm", "generator_lm_head"),
        }
        dense, norm, decoder = places.get(self.kind, ("lm_head.dense", "lm_head.layer_norm", "lm_head.decoder"))
        act = act if self.kind in {"bert", "albert", "distilbert"} else "gelu"
        hidden = self._normalize(norm, _activate(str(act), self._linear(dense, states)))
        tied = self.config["tie_word_embeddings"]
        matrix = self.weights[f"{self.body}embeddings.word_embeddings.weight" if tied else f"{decoder}.weight"]
        beside = f"{decoder.rpartition('.')[0]}.bias"
        bias = self.weights[beside if tied and beside in self.weights else f"{decoder}.bias"]
        logits: Array = hidden @ matrix.astype(np.float64).T + bias
        return logits

    # Their parts

    def _rows(self, place: str, ids: Ids) -> Array:
        return self.weights[f"{place}.weight"][ids].astype(np.float64)

    def _linear(self, place: str, x: Array) -> Array:
        product: Array = x @ self.weights[f"{place}.weight"].astype(np.float64).T + self.weights[f"{place}.bias"]
        return product

    def _normalize(self, place: str, x: Array) -> Array:
        """(x - mean) / sqrt(variance + epsilon), scaled and moved (Ba et al. 2016)."""
        centred = x - x.mean(axis=-1, keepdims=True)
        spread = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + self.config.get("layer_norm_eps", 1e-12))
        scaled: Array = centred / spread * self.weights[f"{place}.weight"] + self.weights[f"{place}.bias"]
        return scaled


def _parts(x: Array, masks: Masks) -> list[Array]:
    """The tokens of each batch."""
    return np.split(x, np.cumsum([mask.size for mask in masks])[:-1])


def _softmax_products(q: Array, k: Array, v: Array, mask: NDArray[np.bool_], heads: int, bias: Array | None) -> Array:
    """What one batch attends to, [tokens, width]."""
    rows, length = mask.shape
    width = q.shape[-1] // heads
    q, k, v = (array.reshape(rows, length, heads, width).transpose(0, 2, 1, 3) for array in (q, k, v))
    scores = (q / math.sqrt(width)) @ k.transpose(0, 1, 3, 2)
    if bias is not None:
        scores += bias
    if not mask.all():
        scores = np.where(mask[:, None, None, :], scores, -np.inf)
    scores -= scores.max(axis=-1, keepdims=True)
    weights = np.exp(scores, out=scores)
    weights /= weights.sum(axis=-1, keepdims=True)
    return (weights @ v).transpose(0, 2, 1, 3).reshape(rows * length, heads * width)


def _activate(name: str, x: Array) -> Array:
    if name == "relu":
        return np.maximum(x, 0)
    if name in {"gelu", "gelu_python"}:
        flat, values = x.reshape(-1), np.empty(x.size)
        for start in range(0, x.size, _BLOCK):
            part = flat[start : start + _BLOCK]
            values[start : start + _BLOCK] = part / 2 * (1 + erf(part / math.sqrt(2)))
        return values.reshape(x.shape)
    if name not in {"gelu_new", "gelu_pytorch_tanh"}:
        raise ExportError("an activation function that the model in numpy does not have", got=name)
    share: Array = (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2
    return x * share


def erf(x: Array) -> Array:
    """The error function, by lines between values of `math.erf`: to 1.2e-10, a quarter of h^2 / 2 with h = 2^-15."""
    place = np.minimum(np.abs(x), 6)
    place *= _FINE
    index = place.astype(np.int32)
    place -= index
    place *= _RISE[index]
    place += _ERF[index]
    signed: Array = np.copysign(place, x)
    return signed
