"""The model card of an artifact: what it is, how its layers are stored, how to run it."""

import re
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from octavo.errors import InputError, OctavoWarning
from octavo.files import whole_file
from octavo.reporting.markdown import code, plain
from octavo.schema.comparison import ComparisonRecord
from octavo.schema.layers import Overflow
from octavo.schema.lineage import Distilling, Trimming
from octavo.schema.manifest import Manifest

OVERFLOW = (  # on a CPU without VNNI, with 8-bit weights and with these; a sentence without a full stop
    "Of {pairs:,} sums of two products, on its own activations, {before:,} would overflow 16 bits with 8-bit weights "
    "on a CPU without VNNI, and {now:,} do with these"
)
_OPEN, _CLOSE = "<!-- octavo compare -->", "<!-- end of octavo compare -->"
_CARD = """---
{front}
---
# {title}, {method}, for {target}

Made by Octavo {version} from {name} ({dtype}, {source_mib:.1f} MiB as it was stored).

{summary}

{safety}

```python
import octavo
predict = octavo.load("this folder")
{example}
```

{without}
"""
_PIPELINES = {  # what the Hub calls tasks, where it has them, or calls them otherwise
    "text-classification": "text-classification",
    "feature-extraction": "feature-extraction",
    "sparse-encoding": "feature-extraction",
    "late-interaction": "feature-extraction",
    "token-classification": "token-classification",
    "question-answering": "question-answering",
    "multiple-choice": "multiple-choice",
    "fill-mask": "fill-mask",
    "text-generation": "text-generation",
    "text2text-generation": "text-generation",
}
_READS = 'predict("...")                 # or a pair: predict(("...", "..."))'
_WRITES = 'predict("...", max_new_tokens=64)    # or piece by piece: for piece in predict.pieces("..."): ...'
_ENCODER = """Without Octavo: `model.onnx` takes {inputs} (int64, [batch, length], {padding}) and
returns {outputs} (float32); `tokenizer.json` is for the `tokenizers` library,
with truncation at {max_length} tokens."""
_LATE = """Without Octavo: `model.onnx` takes {inputs} (int64, [batch, length], {padding}) and
returns {outputs} (float32, a vector for each token). A query has its marker behind the first token and is filled up,
a document has another, and leaves out the vectors of tokens on its list: `token_vectors` in `octavo.json` has the
ids and lengths, and docs/tasks/late-interaction.md of Octavo says how. `tokenizer.json` is for `tokenizers`."""
_EMBEDS = 'predict.embed("...", prompt="query")    # or "document"; predict.rank("...", ["...", "..."])'
_UNPADDED = "texts of one length in a batch: padding changes the answers"
_DECODER = """Without Octavo: `model.onnx` takes `input_ids` and `position_ids` (int64, [batch, new tokens]),
`attention_mask` (int64, [batch, earlier and new tokens], padded on the left) and `past_key_values.<layer>.key` and
`.value` (float32, [batch, heads, earlier tokens, width], of no tokens in the beginning), and returns `logits` of the
last `logits_to_keep` tokens (int64, [1]) and `present.<layer>....`, which are the next step's `past_key_values`;
`tokenizer.json` is for the `tokenizers` library.
{max_length} tokens in all are the most."""
_PAIR = """Without Octavo: `encoder.onnx` takes `input_ids` and `attention_mask` (int64, [batch, length], padded on the
right with {pad}) and returns `present.<layer>.encoder.key` and `.value`, which `decoder.onnx` takes as
`past_key_values....`, with `encoder_attention_mask`, `input_ids` (int64, [batch, new tokens], {start} first) and its
own cache, `past_key_values.<layer>.decoder....` (of no tokens in the beginning); it returns `logits` of the last
`logits_to_keep` tokens (int64, [1]) and
`present.<layer>.decoder....`. `tokenizer.json` is for the `tokenizers` library."""
_TORCH = """Without Octavo: `AutoModel...from_pretrained("this folder")` of transformers opens it where torchao is
installed (but not GPT-2's layers, which are no Linear for torchao): the same int8 weights through torchao's
kernels, so answers agree and are not the same to the last bit;
`tokenizer.json` is for the `tokenizers` library, with truncation at {max_length} tokens."""


def write_card(manifest: Manifest, source_folder: Path) -> str:
    """The card as Markdown, from the manifest and the licence that the checkpoint's own card names."""
    signature, recipe = manifest.signature, manifest.recipe
    counts = Counter((layer.dtype, layer.reason) for layer in manifest.layers)
    summary = "\n".join(
        f"- {count} layer{'s' if count > 1 else ''} {plain(f'{dtype}: {reason}')}"
        for (dtype, reason), count in counts.items()
    )
    if recipe.method == "weight-only":
        products = "integers whose sums fit" if recipe.format == "onnx" else "floats"
        safety = f"It multiplies {products}, so nothing of it can saturate."
    elif manifest.exact_u8s8:
        safety = "Its weights have 8 bits: it needs a CPU with VNNI (or ARM), and Octavo refuses to load it on others."
    else:
        safety = "No integer product of it can saturate on any CPU."
        if manifest.overflow:
            safety += f" {OVERFLOW.format(**overflow_fields(manifest.overflow))}."
    if manifest.source.ignored_weights:
        safety += f"\n\n{ignored_note(manifest.source.ignored_weights)}"
    for step in manifest.lineage or ():
        safety += f"\n\n{trimming_note(step) if step.kind == 'trim' else distilling_note(step)}"
    usages = {"text-generation": _DECODER, "text2text-generation": _PAIR, "late-interaction": _LATE}
    usage = usages.get(signature.task, _ENCODER)
    usage = _TORCH if recipe.format == "torch" else usage
    return _CARD.format(
        front=_front_matter(source_folder, [recipe.format, recipe.method, "cpu"]),
        title=plain(manifest.source.name),
        name=code(manifest.source.name),
        method=recipe.method,
        target=manifest.target,
        version=manifest.version,
        dtype=plain(manifest.source.dtype),
        source_mib=manifest.source.bytes / 2**20,
        summary=summary,
        safety=safety,
        example=_WRITES if signature.generation else _EMBEDS if signature.token_vectors else _READS,
        without=usage.format(
            inputs=", ".join(map(code, signature.input_names)),
            outputs=", ".join(map(code, signature.output_names)),
            pad=signature.pad_token_id,
            padding=_UNPADDED if signature.exact_lengths else f"padded on the right with {signature.pad_token_id}",
            max_length=signature.max_length,
            start=signature.generation.decoder_start_token_id if signature.generation else None,
        ),
    )


def add_comparison(folder: Path, summary: str) -> None:
    """Put a comparison's summary on the card, in the place of an earlier one; the card is outside the hashes."""
    path = folder / "README.md"
    card = path.read_text(encoding="utf-8") if path.exists() else ""
    before, opened, rest = card.partition(_OPEN)
    after = rest.partition(_CLOSE)[2] if opened else ""
    with whole_file(path) as stream:
        stream.write(f"{before.rstrip()}\n\n{_OPEN}\n{summary.strip()}\n{_CLOSE}\n{after.lstrip()}")


def hub_card(
    card: str, manifest: Manifest, base_model: str | None = None, comparison: ComparisonRecord | None = None
) -> str:
    """A card with the front matter that the Hub reads: what it was made from, for what, and scores that were measured.

    What the card's front matter says already, its licence among it, stays. `base_model` is a hub id; by default that
    which the checkpoint was given by. The scores are those of the artifact in a comparison, of which it is a row.

    Raises:
        InputError: the comparison has no row of this artifact, or no scores.
    """
    from huggingface_hub import ModelCard

    made = ModelCard(card, ignore_metadata_errors=True)
    name = manifest.source.name
    base = base_model or (name if re.fullmatch(r"[\w.-]+/[\w.-]+", name) else None)
    facts: dict[str, Any] = {"library_name": "octavo", "pipeline_tag": _PIPELINES.get(manifest.signature.task)}
    facts |= {"base_model": base, "base_model_relation": "quantized" if base else None}
    if comparison is not None:
        facts |= _model_index(manifest, comparison)
    for field, value in facts.items():
        if value is not None:
            setattr(made.data, field, value)
    return str(made)


def _model_index(manifest: Manifest, comparison: ComparisonRecord) -> dict[str, Any]:
    """The scores of the row whose model is this one, known by the hash of its file."""
    from huggingface_hub import EvalResult

    known = {record.sha256 for record in manifest.files.values()}
    rows = [row for row in comparison.rows if row.origin is not None and row.origin.sha256 in known]
    if not rows or not rows[0].quality:
        got = ", ".join(row.name for row in comparison.rows)
        what = "the comparison has no scores" if rows else "the comparison has no row of this artifact"
        raise InputError(what, got=got, then="octavo compare ... --report FILE.json")
    data = comparison.data.name if comparison.data else "examples"
    task = _PIPELINES.get(comparison.task, comparison.task)
    results = [
        EvalResult(
            task_type=task,
            dataset_type=data,
            dataset_name=data,
            dataset_args={"rows": comparison.n, "sha256": comparison.data.sha256} if comparison.data else None,
            metric_type=name,
            metric_value=value,
        )
        for name, value in rows[0].quality.items()
    ]
    return {"model_name": f"{manifest.source.name}, {manifest.recipe.method}", "eval_results": results}


def overflow_fields(overflow: Overflow) -> dict[str, int]:
    """What `OVERFLOW` says."""
    return {"pairs": overflow.pairs, "before": overflow.with_8_bits, "now": overflow.with_7_bits}


def trimming_note(step: Trimming) -> str:
    """Which rows of the vocabulary the checkpoint has left, and how many texts that changed: sentences."""
    texts = (step.held_out or step.counted).changed_texts
    which = "that were not counted" if step.held_out else "that were counted"
    return (
        f"The checkpoint is {code(step.source.name)} with {step.rows:,} of {step.rows_before:,} rows of its table: "
        f"what {sum(file.rows for file in step.data):,} texts need. Of these texts, {texts.value:.2%} of those "
        f"{which} are split otherwise ({texts.low:.2%} to {texts.high:.2%})."
    )


def distilling_note(step: Distilling) -> str:
    """Which layers the checkpoint has left, and how near it is to the model before: sentences."""
    narrower = f", {step.ffn:,} of {step.ffn_before:,} units in the feed-forward part of each" if step.ffn else ""
    near = f"`{next(iter(step.fidelity))}` {next(iter(step.fidelity.values())):.4f}"
    if step.agreement:
        near = f"{step.agreement.value:.2%} ({step.agreement.low:.2%} to {step.agreement.high:.2%}) the same answer"
    bits = 8 if step.int8 else 4 if step.int4 else None
    rounded = f", with the rounding of int8 and weights of {bits} bits" if bits else ""
    return (
        f"The checkpoint is {code(step.source.name)} with {len(step.layers)} of {step.layers_before} layers "
        f"({', '.join(map(str, step.layers))}){narrower}, trained on {step.trained:,} texts, labels "
        f"{'used' if step.use_labels else 'unseen'}, to answer as that does{rounded}: to {step.judged:,} others {near}."
    )


def ignored_note(names: Sequence[str]) -> str:
    """Which weights of the checkpoint were left out: the first ten by name, and how many more there are."""
    listed = ", ".join(map(code, names[:10])) + (f" and {len(names) - 10} more" if names[10:] else "")
    return f"Weights of the checkpoint that no module of this model takes, left out because it was asked for: {listed}."


def _front_matter(source_folder: Path, tags: list[str]) -> str:
    """What the hub reads of a card, as YAML."""
    from huggingface_hub import ModelCardData

    return str(ModelCardData(library_name="octavo", tags=tags, **_licence(source_folder)).to_yaml()).strip()


def _licence(folder: Path) -> dict[str, Any]:
    """What the checkpoint's own card says of its licence: a quantized model is under its model's licence."""
    from huggingface_hub import RepoCard  # ModelCard refuses a card for fields that nothing here reads

    card = folder / "README.md"
    text = card.read_text(encoding="utf-8-sig", errors="replace") if card.exists() else ""
    if not re.match(r"\s*---\n.*?^---\s*$", text, re.MULTILINE | re.DOTALL):  # RepoCard would log that there is none
        return {}
    try:
        stored = RepoCard(text).data.to_dict()
    except Exception as error:  # PyYAML and huggingface_hub have several
        reason = " ".join(str(error).split())
        warnings.warn(f"{card}: no licence is taken from it, its front matter is damaged: {reason}", OctavoWarning, 2)
        return {}
    licence = {name: stored.get(name) for name in ("license", "license_name", "license_link")}
    return {name: value for name, value in licence.items() if value and isinstance(value, str | list)}
