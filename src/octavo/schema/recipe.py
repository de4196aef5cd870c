"""Recipes: what is to be done to a model, as data. It knows nothing of how a method works.

A recipe is frozen and hashable, and goes to TOML and back:

    method = "dynamic"

    [[layers]]
    match = "*.attention.output.dense"   # a glob on the module path
    keep = "float"                       # or "float16", "int8", "per-token", "int4"; the last rule that matches wins
"""

import fnmatch
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

import tomli_w
from pydantic import Field, ValidationError, model_validator

from octavo.errors import OctavoError, RecipeError, did_you_mean, raise_together
from octavo.schema import Record
from octavo.schema.layers import place_of

Method = Literal["float", "dynamic", "static", "weight-only", "qat"]
METHODS: tuple[str, ...] = get_args(Method)
BELONGS = {  # the methods that read a setting: given to another it would be ignored without a word
    "observer": ("static",),
    "percentile": ("static",),
    "smoothing": ("static", "dynamic", "qat"),
    "bias_correction": ("static", "dynamic"),
    "own_sentences": ("dynamic", "static"),
    "mixed": ("static",),
    "storage": ("float",),
    "bits": ("weight-only",),
    "block": ("weight-only",),
    "products": ("weight-only",),
    "embedding": ("dynamic", "static", "weight-only"),
}
_BY_TOKEN = {"out", "down"}  # of `mixed`: the Linears of a block whose outputs go into its residual sums
LEARNT = ("smoothing", "bias_correction")  # settings of what is learnt from examples
OF_ONNX = (  # a torch model has nothing to do with these
    *("opset", "optimize", "merge_qkv", "bits", "block", "products", "embedding", "own_sentences", "mixed"),
    *LEARNT,
)
FORMATS = {"onnx": METHODS, "torch": ("dynamic", "weight-only")}


class LayerRule(Record):
    """Layers whose module path matches the glob `match` are kept as `keep` says.

    `float16` stores a weight in 16 bits, and computes in float. `per-token` is int8 whose input has one scale for each
    token, as it comes: of a Linear, in static int8 and in dynamic int8 of the granularity `tensor`.
    """

    match: str
    keep: Literal["float", "float16", "int8", "per-token", "int4"]


class Recipe(Record):
    """A method, its settings, and rules for single layers.

    `format` is what is written: an ONNX graph, or a torch model with int8 layers, whose `weight-only` leaves
    activations as they are.

    For `dynamic`: `granularity` says how much of an activation shares one scale: one `"token"`, or the whole
    `"tensor"`, which is faster and makes an answer depend a little on what else is in its batch. By default a token in
    the format onnx, and the tensor in the format torch, whose kernels are far faster so.

    `opset` is the ONNX operator set to write, for older runtimes; by default the newest that runs. `optimize` rewrites
    the float graph by the passes of `octavo.graph.passes.order` first, `merge_qkv` is one more of them, off by default.

    For `static`: `observer` finds the range of an activation (its extremes, the middle `percentile` percent, the range
    of the smallest squared error, or the share of the extremes' range that leaves a layer's outputs nearest). `mixed`
    rounds per token, as it comes, what the attention's output and the second Linear of a feed-forward read, where a few
    tokens are many times as large as the others; ONNX Runtime runs that, and OpenVINO does not.

    For `static`, and `dynamic` with examples: `smoothing` is the strength of SmoothQuant
    (`octavo.arithmetic.smoothquant`), a number for all layers, `"auto"` to choose one for each; `bias_correction` keeps
    the mean outputs of layers. With `own_sentences` dynamic learns both from a few sentences that Octavo carries, where
    there are none of the user's, and the ranges of static hold for these too, beside the user's.

    For `weight-only`: `bits` of each weight of a Linear (a head's and embedding rows have 8 either way, unless a rule
    says `int4`), `block` is how many inputs of an output channel share one scale; by default 128 for 8 bits, and for 4
    bits 32, or 16 in layers of few inputs. Products round their input to 8 bits, or leave it as it is with `products =
    "float"`: then weights of 8 bits, one scale per output channel, are floats again when an engine has loaded them.

    `embedding`: the rows of the table of words have 8 bits and one scale each, or 4 bits in groups of 32
    (`octavo.arithmetic.blocks.quantize_rows`); other tables have 8. A rule says the same, or otherwise, of one table.

    For `float`: `storage` is the dtype of weights in the file; engines compute in float32, or in bf16 where they can.
    """

    method: Method = "dynamic"
    format: Literal["onnx", "torch"] = "onnx"
    granularity: Literal["token", "tensor"] = "token"
    opset: Literal[20, 21, 22, 23] | None = None
    optimize: bool = True
    merge_qkv: bool = False
    observer: Literal["minmax", "percentile", "mse", "output"] = "minmax"
    percentile: float = Field(default=99.99, gt=50, le=100)
    smoothing: Literal["auto", "none"] | Annotated[float, Field(ge=0, le=1)] = "auto"
    bias_correction: bool = True
    own_sentences: bool = False
    mixed: bool = False
    storage: Literal["float32", "float16"] = "float32"
    bits: Literal[4, 8] = 8
    block: Literal[16, 32, 64, 128, 256] | None = None
    products: Literal["int8", "float"] = "int8"
    embedding: Literal["int8", "int4"] = "int8"
    layers: tuple[LayerRule, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _granularity_of_the_format(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("format") == "torch":
            return {"granularity": "tensor"} | given
        return given

    @model_validator(mode="after")
    def _settings_belong_to_the_method(self) -> Self:
        for name, readers in BELONGS.items():
            if self.method not in readers and self.sets(name):
                raise ValueError(f"{name} is a setting of the method {', '.join(readers)}, and this is {self.method}")
        methods = FORMATS[self.format]
        if self.method not in methods:
            raise ValueError(
                f"the format {self.format} has the methods {', '.join(methods)}, and this is {self.method}"
            )
        for name in OF_ONNX if self.format != "onnx" else ():
            if self.sets(name):
                raise ValueError(f"{name} is a setting of the format onnx, and this is {self.format}")
        if self.format != "onnx" and any(rule.keep == "float16" for rule in self.layers):
            raise ValueError(f"layers are stored in 16 bits in the format onnx, and this is {self.format}")
        four = any(rule.keep == "int4" for rule in self.layers)
        if four and (self.method not in BELONGS["embedding"] or self.format != "onnx"):
            got = f"{self.method}, {self.format}"
            raise ValueError(f"int4 layers are made by dynamic, static and weight-only, format onnx; this is {got}")
        if self.by_token and (self.method not in ("dynamic", "static") or self.format != "onnx"):
            got = f"{self.method}, {self.format}"
            raise ValueError(f"layers are rounded per token by dynamic and static, format onnx; this is {got}")
        if self.products == "float" and (four or self.bits == 4 or self.block is not None):
            raise ValueError("products in float are of weights of 8 bits with one scale per output channel")
        return self

    def __repr_args__(self) -> list[tuple[str, Any]]:
        """The method, and what is not as it is by default."""
        return list(({"method": self.method} | self.model_dump(exclude_defaults=True)).items())

    def sets(self, name: str) -> bool:
        """Whether a setting is another than by default."""
        return bool(getattr(self, name) != type(self).model_fields[name].default)

    @property
    def calibrates(self) -> bool:
        """Whether examples change what is made: ranges of static int8, smoothing, the rounding of weights."""
        four = self.bits == 4 or any(rule.keep == "int4" for rule in self.layers)
        dynamic = self.method == "dynamic" and self.format == "onnx"
        return self.method == "static" or dynamic or (self.method == "weight-only" and four)

    def rounds_by_token(self, path: str) -> bool:
        """Whether the input of the Linear of this module path has one scale for each token, by a rule or by `mixed`."""
        rules = [rule.keep for rule in self.layers if fnmatch.fnmatch(path, rule.match)]
        place = place_of(path)
        return rules[-1] == "per-token" if rules else self.mixed and place is not None and bool(_BY_TOKEN & {*place[1]})

    @property
    def by_token(self) -> bool:
        """Whether layers are asked for whose input has one scale for each token, by a rule or by `mixed`."""
        return self.mixed or any(rule.keep == "per-token" for rule in self.layers)

    def to_toml(self) -> str:
        """The recipe as TOML, which `from_toml` reads back equal."""
        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))

    @classmethod
    def from_toml(cls, path: Path) -> "Recipe":
        """Read a recipe from a file.

        Raises:
            RecipeError: the file is not there, is not TOML, or does not describe a recipe; every problem has a line.
        """
        if path.exists() and not path.is_file():
            raise RecipeError("a recipe is a file, and this is a folder, a pipe or a device", got=path)
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise RecipeError("no such recipe file", where=path) from None
        except (OSError, ValueError, RecursionError) as error:
            raise RecipeError("the recipe is not readable as TOML", where=path, got=error) from None
        return recipe_from(table, where=path)


WITH_EXAMPLES = Recipe(method="static", mixed=True)  # the default where examples are given


def recipe_from(table: dict[str, Any], where: object = "the recipe") -> Recipe:
    """Check a table of settings and make the recipe of it.

    Raises:
        RecipeError: an unknown key, method or value; every problem has a line.
    """
    try:
        return Recipe.model_validate(table)
    except ValidationError as error:
        raise_together([_problem(detail, where) for detail in error.errors()])
        raise  # raise_together has raised: a ValidationError has at least one detail


def _problem(detail: Any, where: object) -> OctavoError:
    """An error of pydantic as Octavo reports it."""
    place, got = ".".join(str(part) for part in detail["loc"]), detail["input"]
    if not place and detail["type"] == "value_error":  # a check of the whole recipe
        return RecipeError(str(detail["ctx"]["error"]), where=where)
    if detail["type"] == "extra_forbidden":
        known = LayerRule.model_fields if len(detail["loc"]) > 1 else Recipe.model_fields
        return RecipeError("unknown key", where=where, got=place, allowed=did_you_mean(str(detail["loc"][-1]), known))
    if place == "method":
        return RecipeError("unknown method", where=where, got=got, allowed=did_you_mean(str(got), METHODS))
    if detail["type"] == "literal_error":
        return RecipeError(f"{place} has an unknown value", where=where, got=got, allowed=detail["ctx"]["expected"])
    return RecipeError(f"{place}: {detail['msg']}", where=where, got=got)


def kept_as(recipe: Recipe, paths: Sequence[str]) -> dict[str, LayerRule]:
    """The rule that decides each module path, for the paths that any rule matches; the last match wins.

    Raises:
        RecipeError: a pattern matches no layer.
    """
    decided: dict[str, LayerRule] = {}
    problems: list[OctavoError] = []
    for rule in recipe.layers:
        matched = fnmatch.filter(paths, rule.match)
        if not matched:
            problems.append(
                RecipeError("a layer rule matches nothing", got=rule.match, allowed=did_you_mean(rule.match, paths))
            )
        decided.update(dict.fromkeys(matched, rule))
    raise_together(problems)
    return decided


def rules_for(recipe: Recipe, paths: Sequence[str]) -> tuple[LayerRule, ...]:
    """The rules that match any of these module paths: a component of a model has some of its layers."""
    return tuple(rule for rule in recipe.layers if fnmatch.filter(paths, rule.match))
