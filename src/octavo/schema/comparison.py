"""A finished comparison: what `compare` returns, what the JSON holds, and what a report is made of."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Self

from octavo.data.json_text import read_json
from octavo.errors import DataError, InputError
from octavo.metrics.estimates import Estimate
from octavo.schema.budget import Budget, Facts, Judgement, Verdict, judge

FEWEST = 10  # examples of a group that a score is worth telling of


@dataclass(frozen=True)
class Group:
    """The first score over some of the examples: those of one gold label (`class`), or of some lengths (`length`).

    `difference` is from the baseline's score in this group to the candidate's.
    """

    kind: str
    name: str
    n: int
    baseline: float
    value: float
    difference: Estimate


@dataclass(frozen=True)
class Answer:
    """What a model says of an example: a label and its score, or a number that has no name (a cosine), or neither."""

    label: str | None
    score: float | None


@dataclass(frozen=True)
class Changed:
    """An example on which two models differ: `row` counts the examples that were compared, from 0.

    `before` and `after` are the two models' answers, `moved` how far they lie apart (the largest change of a
    probability; of embeddings that of the pair's cosine, or 1 - cosine of a single text's two vectors).
    """

    row: int
    text: str
    text_pair: str | None
    gold: str | float | None
    before: Answer
    after: Answer
    moved: float


PARTS = ("matrix products", "attention", "quantizing", "embeddings", "the rest")


@dataclass(frozen=True)
class Profile:
    """Seconds of a model by part, and the largest operators of the rest.

    `operations` a second in its integer matrix products (None for a float model), `peak` those of a large product
    on this machine, measured in the same minute. Products that quantize their input themselves
    (DynamicQuantizeMatMul) count as products.
    """

    name: str
    rows: int
    seconds: dict[str, float]
    largest_of_the_rest: dict[str, float]
    operations: float | None
    peak: float

    def to_dict(self) -> dict[str, Any]:
        """The profile as JSON takes it."""
        return asdict(self)


FORMAT: Literal["octavo-comparison-1"] = "octavo-comparison-1"  # what the fields mean; see docs/comparison.md


@dataclass(frozen=True)
class StoredVectors:
    """A search over vectors of which `dimensions` numbers are kept in a `precision`, in so many `bytes` each.

    `rescored`: the best passages are ordered again by the query in float32. `differences` of `quality` are from the
    baseline's whole vectors in float32; `top_10` is the share of its first ten passages that are among the ten.
    """

    dimensions: int
    precision: str
    rescored: bool
    bytes: int
    quality: dict[str, float]
    differences: dict[str, Estimate]
    top_10: float


@dataclass(frozen=True)
class Latency:
    """Milliseconds for one row alone: median and 95th percentile."""

    p50: float
    p95: float


@dataclass(frozen=True)
class McNemar:
    """Rows that one of two models alone has right; the exact p that this is chance (`metrics.estimates.mcnemar`)."""

    worse: int
    better: int
    p: float


@dataclass(frozen=True)
class Origin:
    """What a row's model is, to have it again: hashes of its weights and of the checkpoint's that it was made from.

    `target`, `recipe` (what differs from the defaults), `calibration_sha256` and `layers` are an artifact's; the last
    is the signal-to-noise ratio of each layer's output against float, in decibels (`methods.layer_errors`).
    """

    sha256: str
    source: str | None = None
    source_sha256: str | None = None
    target: str | None = None
    recipe: dict[str, Any] | None = None
    calibration_sha256: str | None = None
    layers: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class DataRecord:
    """The file of examples: its name, the hash of its bytes, and the sample that was drawn (None: all rows)."""

    name: str
    sha256: str
    limit: int | None
    seed: int


@dataclass(frozen=True)
class ComparedRow:
    """One model in the table.

    `bytes` is what inference needs; `peak_bytes` the most memory that its process held; `seconds` for all rows, loading
    and tokenizing apart; `speedup` and `smaller` against the baseline. `quality` are scores against labels, the one to
    decide by first, and `differences` theirs from the baseline's, with their intervals: empty without labels.
    `fidelity` says how near its outputs are to the baseline's: for classifiers the share of rows with the baseline's
    label (`agreement`), the mean Kullback-Leibler divergence from it in nats (`kl`) and what is left of the margins
    (`margin`, see `metrics.scores.median_margin`), for embeddings the cosine to the baseline's vector (mean, 1st
    percentile, smallest) and how many of the ten nearest neighbours are kept; `closeness` is the first of these with
    its interval.
    `batch_effect` is the largest change of an answer (a score; 1 - cosine) when a row runs in a batch with longer ones
    instead of alone. `turns` [parts][rounds] are all seconds that were measured, `singles_ms` those of single rows.
    `cold_start_seconds` from starting a process to its first answer. `groups` are the first score by class and by
    length, `changed` the examples that differ most from the baseline's, `mcnemar` the test of classifiers with labels.
    `modelled` is the difference of accuracies as margins and their movements tell it (`metrics.movement`): it decides
    nothing.
    `tokens` are those that the model reads of all examples, `truncated` how many rows are cut at the limit: by its own
    tokenizer. None in files of older versions.
    `text_rows_per_second` counts from texts to answers, tokenizing beside the model, where `rows_per_second` is the
    model's alone; None of models that write, and in files of older versions.
    `stored` are the scores of an embedder's vectors as they might be stored, where that was asked for.
    `not_finite` counts the answers with NaN or infinity in them; where there is one, its answers have no other figure.
    """

    name: str
    method: str
    engine: str
    bytes: int
    smaller: float
    seconds: float
    speedup: Estimate
    rows_per_second: float
    rounds: int
    spread: float
    load_seconds: float
    cold_start_seconds: float
    peak_bytes: int
    latency_ms: Latency
    quality: dict[str, float]
    differences: dict[str, Estimate]
    fidelity: dict[str, float]
    closeness: dict[str, Estimate]
    batch_effect: float | None
    turns: tuple[tuple[float, ...], ...]
    singles_ms: tuple[float, ...]
    groups: tuple[Group, ...] = ()
    changed: tuple[Changed, ...] = ()
    mcnemar: McNemar | None = None
    modelled: Estimate | None = None
    stored: tuple[StoredVectors, ...] = ()
    not_finite: int = 0
    origin: Origin | None = None
    tokens: int | None = None
    truncated: int | None = None
    text_rows_per_second: float | None = None
    judgement: Judgement | None = None

    def __repr__(self) -> str:
        score = "".join(f", {name} {value:.4f}" for name, value in list(self.quality.items())[:1])
        figures = f"{self.bytes / 2**20:.1f} MiB, {self.speedup.value:.2f}x as fast{score}"
        return f"<ComparedRow {self.name} ({self.method}), {self.engine}: {figures}>"


@dataclass(frozen=True)
class NotRun:
    """A candidate that could not be opened or run: it has a reason in the place of figures, and keeps no budget."""

    name: str
    method: str
    engine: str
    reason: str


@dataclass(frozen=True)
class MachineLoad:
    """How busy the machine was with other work while speeds were measured (`evaluation.machine_load`).

    `busy`: too busy for speeds to be believed; None where the system does not tell. The rest are shares, None where
    they are not counted: of the time in which the models' threads could have run, what they waited for a core
    (`waiting`); of the time of batches, what no thread of the model ran (`idle`); of the cores' time, what other
    processes took (`foreign`), and what other machines took (`stolen`).
    """

    busy: bool | None
    waiting: float | None = None
    idle: float | None = None
    foreign: float | None = None
    stolen: float | None = None


@dataclass(frozen=True)
class ComparisonRecord:
    """A finished comparison; the baseline is the first row.

    `n` are the examples, `texts` what the models read of them: two for a pair where each text has its own answer.
    `versions` are those of Octavo and the libraries that ran, `command` what was typed, where it was.
    `note` is what whoever made it wants a report to say; `profile` where the time of each ONNX model goes, if asked.
    `load` says whether the machine was busy with other work: then every verdict on a speed is UNSURE.
    `not_run` are the candidates that could not be run, with the reason.
    `own_tokenizers`: not all models have the same tokens. Then each reads the examples by its own tokenizer, in batches
    that have the same rows; `tokens`, `truncated` and `tokenize_seconds` are the baseline's.
    """

    task: str
    n: int
    texts: int
    truncated: int
    tokens: int
    tokenize_seconds: float
    threads: int
    cpu: str
    cpu_kind: str
    rows: tuple[ComparedRow, ...]
    data: DataRecord | None = None
    versions: dict[str, str] = field(default_factory=dict)
    command: str | None = None
    budget: Budget | None = None
    note: str | None = None
    load: MachineLoad | None = None
    profile: tuple[Profile, ...] = ()
    not_run: tuple[NotRun, ...] = ()
    own_tokenizers: bool = False

    def __repr__(self) -> str:
        models = ", ".join(f"{row.name} ({row.method}, {row.engine})" for row in self.rows)
        verdict = f", {self.verdict}" if self.verdict else ""
        failed = f", {len(self.not_run)} not run" if self.not_run else ""
        return f"<{type(self).__name__} of {models} on {self.n:,} rows{failed}{verdict}>"

    @property
    def was_busy(self) -> bool:
        """Whether other work took so much of the machine that no speed is to be believed."""
        return self.load is not None and self.load.busy is True

    def under(self, budget: Budget) -> Self:
        """The same comparison with a verdict on each candidate.

        Raises:
            InputError: there is none.
        """
        require_candidates(self.rows)
        rows = []
        for row in self.rows[1:]:
            figures = row.differences, row.closeness, row.speedup, 1 / row.smaller, row.not_finite
            facts = Facts(self.n, *figures, was_busy=self.was_busy)
            rows.append(replace(row, judgement=judge(budget, facts)))
        return replace(self, rows=(self.rows[0], *rows), budget=budget)

    @property
    def verdict(self) -> Verdict | None:
        """The worst of the candidates' verdicts, FAIL where one could not be run; None without a budget."""
        verdicts = [row.judgement.verdict for row in self.rows[1:] if row.judgement]
        verdicts += ["FAIL" for _ in self.not_run if self.budget]
        return next((verdict for verdict in ("FAIL", "UNSURE", "PASS") if verdict in verdicts), None)

    def to_dict(self) -> dict[str, Any]:
        """The comparison as JSON takes it."""
        fields = {"format": FORMAT} | asdict(self) | {"verdict": self.verdict}
        return fields if self.profile else {name: value for name, value in fields.items() if name != "profile"}


def require_candidates(rows: Sequence[object]) -> None:
    """See that there is more than the baseline, which no budget judges.

    Raises:
        InputError: there is not.
    """
    if len(rows) < 2:
        raise InputError("a budget judges candidates, and there is only the baseline", then="name a candidate")


def read_comparison(path: str | Path) -> ComparisonRecord:
    """A comparison from the JSON that `compare` wrote.

    Raises:
        DataError: there is no such file, it is no comparison, or one of another format.
    """
    from pydantic import TypeAdapter, ValidationError

    path, then = Path(path), "octavo compare ... --report FILE.json writes one"
    if not path.exists():
        raise DataError("no such JSON file", got=path, then=then)
    try:
        stored = read_json(path)
    except (OSError, ValueError) as error:
        raise DataError("this is not a readable JSON file", where=path, got=error, then=then) from None
    form = stored.get("format") if isinstance(stored, dict) else None
    if form != FORMAT:
        keys = ", ".join(map(str, stored)) if isinstance(stored, dict) else ""
        got = form or (f"an object with {keys:.60}" if keys else type(stored).__name__)
        raise DataError("this is not a comparison that Octavo wrote", where=path, got=got, allowed=FORMAT, then=then)
    fields = {name: value for name, value in stored.items() if name not in {"format", "verdict"}}
    try:
        return TypeAdapter(ComparisonRecord).validate_python(fields)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise DataError("a field of the comparison is not valid", where=path, got=f"{place}: {first['msg']}") from None


def json_schema() -> dict[str, Any]:
    """The JSON Schema of what `ComparisonRecord.to_dict` gives; docs/comparison.schema.json is a copy."""
    from pydantic import TypeAdapter

    schema = TypeAdapter(ComparisonRecord).json_schema(mode="serialization")
    verdict = {"enum": ["PASS", "FAIL", "UNSURE", None]}
    profile = {"type": "array", "description": "With --profile: where the time of each ONNX model goes."}
    schema["title"] = "Comparison"
    schema["$defs"].pop("Profile")  # said in words below
    schema["properties"] |= {"format": {"const": FORMAT}, "verdict": verdict, "profile": profile}
    for part in (schema, *schema["$defs"].values()):
        if "properties" in part:
            known = part["properties"].keys() - {"profile"}
            part |= {"additionalProperties": False, "required": sorted(known)}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema
