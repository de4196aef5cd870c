"""How a model is asked and how it answers: what a checkpoint, an artifact and a predictor have to agree on."""

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from octavo.errors import InputError, did_you_mean
from octavo.schema import Record

TASK_NAMES = (
    "text-classification",
    "feature-extraction",
    "sparse-encoding",
    "late-interaction",
    "token-classification",
    "question-answering",
    "multiple-choice",
    "fill-mask",
    "text-generation",
    "text2text-generation",
)
SYNONYMS = {
    "default": "feature-extraction",
    "colbert": "late-interaction",
    "sequence-classification": "text-classification",
    "sentiment-analysis": "text-classification",
    "ner": "token-classification",
    "masked-lm": "fill-mask",
    "causal-lm": "text-generation",
    "seq2seq-lm": "text2text-generation",
}
PoolingMode = Literal["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]

TextKind = Literal["query", "document"]
Activation = Literal["Identity", "Tanh", "ReLU", "Sigmoid", "GELU", "SiLU"]


class Step(Record):
    """What is done to a pooled vector.

    `dense`, with weights in `folder`, torch's activation, and perhaps the input added behind it (`residual`);
    `layernorm`, with weights there; `normalize`; `truncate`, to the first `dimension` numbers.
    """

    kind: Literal["dense", "normalize", "layernorm", "truncate"]
    folder: str = ""
    activation: Activation = "Identity"
    residual: bool = False
    dimension: int | None = None


class Pooling(Record):
    """How token vectors become one vector: `modes`, their results side by side, then `steps` in order.

    `dimension` is the vector's; `prompts` are names and what they put before a text, `default_prompt` is the name of
    the prompt that is used where none is asked for; `similarity` is what two vectors are compared by.
    """

    modes: tuple[PoolingMode, ...]
    dimension: int
    steps: tuple[Step, ...] = ()
    prompts: dict[str, str] = Field(default={})
    default_prompt: str | None = None
    similarity: Literal["cosine", "dot", "euclidean", "manhattan"] = "cosine"


class SparsePooling(Record):
    """How the logits of a masked-LM head become weights of words: log(1 + relu), twice for `log1p_relu`, the largest.

    Prompts and `similarity` as in `Pooling`.
    """

    activation: Literal["relu", "log1p_relu"] = "relu"
    prompts: dict[str, str] = Field(default={})
    default_prompt: str | None = None
    similarity: Literal["cosine", "dot", "euclidean", "manhattan"] = "dot"


class TokenVectors(Record):
    """How a text becomes a vector for each of its tokens: the encoder's, led through `steps`, brought to length 1.

    As ColBERT does it (Khattab and Zaharia 2020, arXiv:2004.12832, section 3.2). `dimension` is a vector's; `prompts`
    are what stands before a `query` and before a `document`, which a text is by default; `markers` are the ids of
    tokens behind a text's first one, and `lengths` the tokens that it is cut at. A query is filled up to `expansion`
    tokens with `expansion_token_id`; the other tokens see these only where they are `attended`. `skipped` are the ids
    of tokens of a document that are left out of the answer.
    """

    dimension: int
    steps: tuple[Step, ...] = ()
    prompts: dict[str, str] = Field(default={"query": "", "document": ""})
    default_prompt: TextKind = "document"
    markers: dict[TextKind, int] = Field(default={})
    lengths: dict[TextKind, Annotated[int, Field(ge=1)]] = Field(min_length=2)
    expansion: int = Field(default=0, ge=0)
    expansion_token_id: int | None = None
    attended: bool = True
    skipped: tuple[int, ...] = ()

    @property
    def unseen(self) -> int | None:
        """The token that the others do not see at the end of a text; None where all tokens see each other."""
        return self.expansion_token_id if self.expansion and not self.attended else None


class GenerationConfig(Record):
    """How text is generated, in the words and with the meaning of transformers' `GenerationConfig`.

    `stop` are strings: text ends before the first of them; `seed` makes samples repeatable.
    """

    max_new_tokens: int = Field(default=64, ge=1)
    min_new_tokens: int = Field(default=0, ge=0)
    do_sample: bool = False
    temperature: float = Field(default=1.0, gt=0)
    top_k: int = Field(default=50, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    repetition_penalty: float = Field(default=1.0, gt=0)
    no_repeat_ngram_size: int = Field(default=0, ge=0)
    num_beams: int = Field(default=1, ge=1)
    length_penalty: float = 1.0
    early_stopping: bool | Literal["never"] = False
    stop: tuple[str, ...] = ()
    seed: int | None = None


class Generation(Record):
    """What a model that writes has besides: how it writes by default, and the tokens with a meaning.

    `sampling` is what Hugging Face calls generation_config; artifacts have always stored it under this name.
    `suppress_token_ids` are never written; `decoder_start_token_id` begins an answer of text2text models, and
    `target_tokenizer`: answers are of another vocabulary, that of `target_tokenizer.json`.
    """

    sampling: GenerationConfig = GenerationConfig()
    eos_token_ids: tuple[int, ...] = ()
    decoder_start_token_id: int | None = None
    forced_bos_token_id: int | None = None
    forced_eos_token_id: int | None = None
    suppress_token_ids: tuple[int, ...] = ()
    target_tokenizer: bool = False


class Signature(Record):
    """How a model is asked and how it answers.

    `input_names` are the graph's inputs, int64 [batch, length]; `max_length` counts tokens, special ones included;
    `labels` are in id order; `problem_type` is the config's (`regression`, `single_label_classification`,
    `multi_label_classification`), None where it has none; `truncation_side` is the end of a text that is cut; `pooling`
    is there where the answer is one vector for a text, `sparse` where it is weights of words, `token_vectors` where it
    is a vector for each token, `mask_token_id` where it is the words behind masks, `generation` where it is text;
    `vocab_size` are the rows of the table of token vectors, None where the config does not tell; `exact_lengths`:
    padding changes the model's answers, so that texts of one length alone run together.
    """

    task: str
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    max_length: int
    pad_token_id: int = Field(strict=True)
    unk_token_id: int | None = None
    labels: tuple[str, ...] = ()
    problem_type: str | None = None
    truncation_side: Literal["left", "right"] = "right"
    pooling: Pooling | None = None
    sparse: SparsePooling | None = None
    token_vectors: TokenVectors | None = None
    mask_token_id: int | None = None
    generation: Generation | None = None
    vocab_size: int | None = None
    exact_lengths: bool = False

    def prompt(self, name: str | None = None) -> str:
        """What goes before every text: the prompt of that name, or the default one, which may be empty.

        Raises:
            InputError: the model has no such prompt.
        """
        asked = self.pooling or self.sparse or self.token_vectors
        prompts = asked.prompts if asked else {}
        name = name if name is not None or asked is None else asked.default_prompt
        if name is None:
            return ""
        if name not in prompts:
            allowed = did_you_mean(name, tuple(prompts)) if prompts else "none: the model has no prompts"
            raise InputError("no such prompt", got=name, allowed=allowed)
        return prompts[name]

    def prompt_before(self, kind: str) -> str:
        """What goes before a `query` or a `document`: the prompt of its name, else the default one.

        As sentence-transformers' `encode_query` and `encode_document`.
        """
        asked = self.pooling or self.sparse or self.token_vectors
        prompts = asked.prompts if asked else {}
        return self.prompt(next((name for name in PROMPTS_BEFORE[kind] if name in prompts), None))


PROMPTS_BEFORE = {"query": ("query",), "document": ("document", "passage", "corpus")}  # of sentence-transformers


def task_name(name: str) -> str:
    """The Hub's name of a task, for that name or an old export name.

    Raises:
        InputError: there is no such task.
    """
    name = SYNONYMS.get(name, name)
    if name not in TASK_NAMES:
        raise InputError("unknown task", got=name, allowed=did_you_mean(name, (*TASK_NAMES, *SYNONYMS)))
    return name


def require_task(task: str, asked: str | None, where: object) -> None:
    """See that a model is for the task that was asked for, where one was.

    Raises:
        InputError: it is for another one.
    """
    if asked is not None and task_name(asked) != task:
        raise InputError(
            f"this is a model for {task}, and not for {task_name(asked)}",
            where=where,
            then=f"load it as {task} (or without a task), or quantize a checkpoint that was trained for "
            f"{task_name(asked)}",
        )


def change_generation_config(config: GenerationConfig, given: dict[str, Any]) -> GenerationConfig:
    """The model's settings, replaced by those that are given (and not None).

    A temperature, `top_k` or `top_p` asks for samples unless `do_sample` is given; a temperature of 0 for none.

    Raises:
        InputError: an unknown setting, or a value out of its range.
    """
    given = {name: value for name, value in given.items() if value is not None}
    if given.get("temperature") == 0:
        given = {name: value for name, value in given.items() if name != "temperature"} | {"do_sample": False}
    elif {"temperature", "top_k", "top_p"} & given.keys():
        given = {"do_sample": True} | given
    if isinstance(given.get("stop"), str):
        given["stop"] = (given["stop"],)
    if isinstance(given.get("stop"), list | tuple) and "" in given["stop"]:
        raise InputError("a text ends before a stop string, and this one is empty", got="stop ''")
    try:
        return GenerationConfig.model_validate(config.model_dump() | given)
    except ValidationError as error:
        detail = error.errors()[0]
        name = ".".join(str(part) for part in detail["loc"][:1])
        if detail["type"] == "extra_forbidden":
            raise InputError(
                "unknown setting", got=name, allowed=did_you_mean(name, GenerationConfig.model_fields)
            ) from None
        raise InputError(f"{name}: {detail['msg']}", got=detail["input"]) from None


def lower_limit(signature: Signature, max_length: int | None) -> Signature:
    """The signature with a lower limit.

    Raises:
        InputError: the limit is above the model's.
    """
    if max_length is None:
        return signature
    if not 1 <= max_length <= signature.max_length:
        raise InputError("max_length can only be lowered", got=max_length, allowed=f"1 to {signature.max_length}")
    return signature.model_copy(update={"max_length": max_length})
