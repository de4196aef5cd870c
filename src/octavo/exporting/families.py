"""Where the parts of BERT and its kin are: a row for each family, a line for each head.

Module paths are those of the classes in transformers, and so the names of the weights. What the parts compute stands in
`builder.py`, what else a config may say in `checkpoint/encoders.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class First(NamedTuple):
    """The vector of the first token, taken by a module."""

    scope: str


class Linear(NamedTuple):
    """A Linear; `outputs` is the setting that tells its width, `labels` where that is their number."""

    path: str
    outputs: str = "hidden_size"


class Activation(NamedTuple):
    """An activation of a module; of the name that a setting has, where `kind` is one."""

    kind: str
    scope: str


class Norm(NamedTuple):
    """A layer normalization over the last axis."""

    path: str
    width: str = "hidden_size"


class Vocabulary(NamedTuple):
    """A Linear to words whose matrix is the embedding's; `bias` is the name of its bias."""

    path: str
    bias: str


class Spans(NamedTuple):
    """A Linear to two numbers for each token, which are two outputs."""

    path: str


Step = First | Linear | Activation | Norm | Vocabulary | Spans
Heads = Mapping[str, tuple[Step, ...]]


@dataclass(frozen=True)
class Layer:
    """The modules of one layer, below its path; `attention` and `after` are where the attention and its sum stand."""

    query: str
    key: str
    value: str
    attention: str
    output: str
    after: str
    norm: str
    up: str
    activation: str
    down: str
    residual: str
    last_norm: str


@dataclass(frozen=True)
class Family:
    """Encoders of one shape.

    `prefix` is the body's module path in a model with a head, `layers` the path of a layer below it. `behind_padding`:
    positions are counted from behind the padding id, of tokens only (`padding` is that id where the config does not
    count); `types`: there is a table of token types. `projection` leads from the width of the embeddings to that of the
    layers: a path, and whether it is there where both are equal. `settings` are other names of settings.
    """

    prefix: str
    layer: Layer
    heads: Heads
    layers: str = "encoder.layer.{index}"
    behind_padding: bool = False
    padding: int | None = None
    types: bool = True
    projection: tuple[str, bool] | None = None
    relative: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)


def _heads(pooled: tuple[Step, ...], classify: tuple[Step, ...], words: tuple[Step, ...]) -> Heads:
    return {
        "feature-extraction": (),
        "late-interaction": (),
        "text-classification": classify,
        "multiple-choice": (*pooled, Linear("classifier", "one")),
        "token-classification": (Linear("classifier", "labels"),),
        "question-answering": (Spans("qa_outputs"),),
        "fill-mask": words,
    }


def _pooler(prefix: str) -> tuple[Step, ...]:
    dense = f"{prefix}.pooler"
    return First(dense), Linear(f"{dense}.dense"), Activation("tanh", f"{dense}.activation")


def _dense_head(activation: Activation) -> tuple[Step, ...]:
    return First("classifier"), Linear("classifier.dense"), activation, Linear("classifier.out_proj", "labels")


_LAYER = Layer(
    query="attention.self.query",
    key="attention.self.key",
    value="attention.self.value",
    attention="attention.self",
    output="attention.output.dense",
    after="attention.output",
    norm="attention.output.LayerNorm",
    up="intermediate.dense",
    activation="intermediate.intermediate_act_fn",
    down="output.dense",
    residual="output",
    last_norm="output.LayerNorm",
)
_CLASSIFIER = Linear("classifier", "labels")
_LM_HEAD = (
    Linear("lm_head.dense"),
    Activation("gelu", "lm_head"),
    Norm("lm_head.layer_norm"),
    Vocabulary("lm_head.decoder", "lm_head.bias"),
)
_BERT = Family(
    "bert",
    _LAYER,
    _heads(
        _pooler("bert"),
        (*_pooler("bert"), _CLASSIFIER),
        (
            Linear("cls.predictions.transform.dense"),
            Activation("hidden_act", "cls.predictions.transform.transform_act_fn"),
            Norm("cls.predictions.transform.LayerNorm"),
            Vocabulary("cls.predictions.decoder", "cls.predictions.bias"),
        ),
    ),
)
_ROBERTA = Family(
    "roberta",
    _LAYER,
    _heads(_pooler("roberta"), _dense_head(Activation("tanh", "classifier")), _LM_HEAD),
    behind_padding=True,
)
_SUMMARY = (
    First("sequence_summary"),
    Linear("sequence_summary.summary"),
    Activation("summary_activation", "sequence_summary.activation"),
)
_ELECTRA = Family(
    "electra",
    _LAYER,
    _heads(
        _SUMMARY,
        _dense_head(Activation("gelu", "classifier.activation")),
        (
            Linear("generator_predictions.dense", "embedding_size"),
            Activation("gelu", "generator_predictions.activation"),
            Norm("generator_predictions.LayerNorm", "embedding_size"),
            Vocabulary("generator_lm_head", "generator_lm_head.bias"),
        ),
    ),
    projection=("embeddings_project", False),
)
_MPNET = Family(
    "mpnet",
    Layer(
        query="attention.attn.q",
        key="attention.attn.k",
        value="attention.attn.v",
        attention="attention.attn",
        output="attention.attn.o",
        after="attention",
        norm="attention.LayerNorm",
        up="intermediate.dense",
        activation="intermediate.intermediate_act_fn",
        down="output.dense",
        residual="output",
        last_norm="output.LayerNorm",
    ),
    _heads(_pooler("mpnet"), _dense_head(Activation("tanh", "classifier")), _LM_HEAD),
    behind_padding=True,
    padding=1,
    types=False,
    relative="encoder.relative_attention_bias",
)
_ALBERT_POOLER = (First("albert"), Linear("albert.pooler"), Activation("tanh", "albert.pooler_activation"))
_ALBERT = Family(
    "albert",
    Layer(
        query="attention.query",
        key="attention.key",
        value="attention.value",
        attention="attention",
        output="attention.dense",
        after="attention",
        norm="attention.LayerNorm",
        up="ffn",
        activation="activation",
        down="ffn_output",
        residual="",
        last_norm="full_layer_layer_norm",
    ),
    _heads(
        _ALBERT_POOLER,
        (*_ALBERT_POOLER, _CLASSIFIER),
        (
            Linear("predictions.dense", "embedding_size"),
            Activation("hidden_act", "predictions.activation"),
            Norm("predictions.LayerNorm", "embedding_size"),
            Vocabulary("predictions.decoder", "predictions.bias"),
        ),
    ),
    layers="encoder.albert_layer_groups.{group}.albert_layers.{inner}",
    projection=("encoder.embedding_hidden_mapping_in", True),
)
_PRE_CLASSIFIER = (First(""), Linear("pre_classifier"), Activation("relu", ""))
_DISTILBERT = Family(
    "distilbert",
    Layer(
        query="attention.q_lin",
        key="attention.k_lin",
        value="attention.v_lin",
        attention="attention",
        output="attention.out_lin",
        after="",
        norm="sa_layer_norm",
        up="ffn.lin1",
        activation="ffn.activation",
        down="ffn.lin2",
        residual="",
        last_norm="output_layer_norm",
    ),
    _heads(
        _PRE_CLASSIFIER,
        (*_PRE_CLASSIFIER, _CLASSIFIER),
        (
            Linear("vocab_transform"),
            Activation("hidden_act", "activation"),
            Norm("vocab_layer_norm"),
            Vocabulary("vocab_projector", "vocab_projector.bias"),
        ),
    ),
    layers="transformer.layer.{index}",
    types=False,
    settings={
        "hidden_size": "dim",
        "num_hidden_layers": "n_layers",
        "num_attention_heads": "n_heads",
        "intermediate_size": "hidden_dim",
        "hidden_act": "activation",
    },
)
FAMILIES: Mapping[str, Family] = {
    "bert": _BERT, "roberta": _ROBERTA, "xlm-roberta": _ROBERTA, "camembert": _ROBERTA, "electra": _ELECTRA,
    "mpnet": _MPNET, "albert": _ALBERT, "distilbert": _DISTILBERT,
}  # fmt: skip
