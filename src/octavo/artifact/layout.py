"""`octavo layout`: an artifact as the folder that another program expects.

The model is the artifact's, byte for byte, under the name that the program looks for. Settings that programs read of
`tokenizer_config.json` and of sentence-transformers' files are those of the artifact's signature.
"""

import re
import shutil
import warnings
from pathlib import Path
from typing import Any

from octavo.artifact.folder import Artifact, open_artifact
from octavo.artifact.programs import NAMES, PROGRAMS, Program, ProgramName
from octavo.artifact.writing import replace_folder
from octavo.data.json_text import read_json
from octavo.errors import InputError, OctavoWarning, did_you_mean
from octavo.files import sha256_of
from octavo.reporting.markdown import code
from octavo.schema.documents import json_text
from octavo.schema.manifest import CARD, MANIFEST
from octavo.schema.signature import Signature

_SAME_NAMES = {
    "dim": "hidden_size",
    "n_layers": "num_hidden_layers",
}  # what DistilBERT calls them; TEI needs the others
_FLAGS = {  # of sentence-transformers' Pooling
    "cls": "pooling_mode_cls_token",
    "mean": "pooling_mode_mean_tokens",
    "max": "pooling_mode_max_tokens",
    "mean_sqrt_len_tokens": "pooling_mode_mean_sqrt_len_tokens",
    "weightedmean": "pooling_mode_weightedmean_tokens",
    "lasttoken": "pooling_mode_lasttoken",
}


def layout(artifact: str | Path | Artifact, output: str | Path, *, program: ProgramName) -> Path:
    """Write the folder that a program expects; for `triton` a model's folder of a repository. Returns the folder.

    Args:
        artifact: its folder; its hashes are checked first.
        output: a folder that is not there yet, or empty.
        program: `tei`, `transformers.js`, `sentence-transformers`, `fastembed` or `triton`.

    Raises:
        InputError: there is no such program, or it does not run such a model: the message says what to make instead.
        ArtifactError: the artifact is damaged, or something is at `output`.
    """
    if program not in PROGRAMS:
        raise InputError("unknown program", got=program, allowed=did_you_mean(program, NAMES))
    given = artifact if isinstance(artifact, Artifact) else open_artifact(artifact)
    _require_readable(given, PROGRAMS[program])
    given.check_files()
    if note := _unsafe_elsewhere(given):
        warnings.warn(note, OctavoWarning, stacklevel=2)
    place = Path(output).resolve()
    with replace_folder(place, force=False) as folder:
        _write(folder, place.name, given, program)
    return place


def _write(folder: Path, name: str, artifact: Artifact, program: ProgramName) -> None:
    signature, home = artifact.manifest.signature, artifact.folder
    model = folder / _model_path(artifact, program)
    model.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(artifact.model_file, model)
    if (external := home / "model.onnx.data").exists():
        shutil.copyfile(external, model.parent / external.name)
    shutil.copyfile(home / "tokenizer.json", folder / "tokenizer.json")
    if program == "triton":
        (folder / "config.pbtxt").write_text(triton_config(name, artifact), encoding="utf-8")
    else:
        _write_json(folder / "tokenizer_config.json", _tokenizer_config(home, signature))
        _write_json(folder / "config.json", _config(home))
    if program in {"tei", "sentence-transformers"}:
        _write_sentence_files(folder, artifact)
    (folder / CARD).write_text(_readme(name, artifact, program), encoding="utf-8")


def _require_readable(artifact: Artifact, program: Program) -> None:
    """See that a program runs the model: its task, format and opset, and what is done to its vectors.

    Raises:
        InputError: it does not.
    """
    manifest, pooling = artifact.manifest, artifact.manifest.signature.pooling
    task, opset = manifest.signature.task, manifest.export.opset if manifest.export else 0
    where = artifact.folder
    if manifest.recipe.format != "onnx":
        then = "octavo quantize ... --format onnx"
        raise InputError(f"{program.title} runs ONNX models", where=where, got=manifest.recipe.format, then=then)
    if task not in program.tasks:
        allowed = ", ".join(program.tasks)
        raise InputError(f"{program.title} has no such task", where=where, got=task, allowed=allowed)
    if manifest.signature.exact_lengths:
        what = f"{program.title} pads texts to one length, which changes this model's answers"
        raise InputError(what, where=where, then="octavo.load runs texts of one length together")
    if opset > program.newest_opset:
        then = f"octavo quantize {manifest.source.name} ... --opset {program.newest_opset}"
        got, allowed = f"opset {opset}", f"up to {program.newest_opset}"
        raise InputError(f"{program.title} may not read that opset", where=where, got=got, allowed=allowed, then=then)
    if pooling is None or program.poolings is None:
        return
    modes, dense = pooling.modes, [step.folder or step.kind for step in pooling.steps if step.kind != "normalize"]
    if not program.dense and (len(modes) > 1 or modes[0] not in program.poolings):
        got, allowed = " and ".join(modes), "one of " + ", ".join(program.poolings)
        raise InputError(f"{program.title} does not pool so", where=where, got=got, allowed=allowed)
    if dense and not program.dense:
        raise InputError(
            f"{program.title} runs nothing but Normalize behind the pooling", where=where, got=", ".join(dense)
        )


def _unsafe_elsewhere(artifact: Artifact) -> str | None:
    """What nobody checks there: whether 8-bit products saturate on the CPU that runs it."""
    if not artifact.manifest.exact_u8s8:
        return None
    return (
        f"made for {artifact.manifest.target}, with 8-bit weights: on a CPU without VNNI its answers are wrong, and "
        "unlike Octavo no other program looks; next: take it to such CPUs only, or make one with --target any"
    )


def _model_path(artifact: Artifact, program: ProgramName) -> str:
    if program in {"triton", "fastembed"}:
        return "1/model.onnx" if program == "triton" else "model.onnx"
    if program != "transformers.js":
        return "onnx/model.onnx"
    suffix = {"q8": "_quantized", "q4": "_q4", "fp32": ""}[_dtype(artifact)]
    if suffix and (artifact.folder / "model.onnx.data").exists():  # its name is in the graph, and would be another one
        raise InputError("transformers.js reads no weights beside a renamed model", where=artifact.folder)
    return f"onnx/model{suffix}.onnx"


def _dtype(artifact: Artifact) -> str:
    """What transformers.js calls weights of so many bits."""
    recipe = artifact.manifest.recipe
    if recipe.method == "float":
        return "fp32"
    return "q4" if recipe.method == "weight-only" and recipe.bits == 4 else "q8"


def _tokenizer_config(folder: Path, signature: Signature) -> dict[str, Any]:
    """As it was, with the model's limit and sides: fastembed and transformers.js cut by these."""
    path = folder / "tokenizer_config.json"
    stored: dict[str, Any] = read_json(path) if path.exists() else {}
    side = {"truncation_side": signature.truncation_side, "padding_side": "right"}
    return stored | {"model_max_length": signature.max_length} | side


def _config(folder: Path) -> dict[str, Any]:
    stored: dict[str, Any] = read_json(folder / "config.json")
    return {new: stored[old] for old, new in _SAME_NAMES.items() if old in stored} | stored


_MODULES = {"dense": "Dense", "layernorm": "LayerNorm", "normalize": "Normalize"}


def _write_sentence_files(folder: Path, artifact: Artifact) -> None:
    """Of an embedder the limit, `modules.json`, its modules and its prompts, as sentence-transformers writes them."""
    signature, pooling = artifact.manifest.signature, artifact.manifest.signature.pooling
    if pooling is None:
        return
    _write_json(folder / "sentence_bert_config.json", {"max_seq_length": signature.max_length, "do_lower_case": False})
    dense = [step.folder for step in pooling.steps if step.folder]
    cut = next((step.dimension for step in pooling.steps if step.kind == "truncate"), None)
    modules = [("", "Transformer"), ("1_Pooling", "Pooling")]
    modules += [
        (step.folder or f"{number}_{_MODULES[step.kind]}", _MODULES[step.kind])
        for number, step in enumerate(pooling.steps, 2)
        if step.kind in _MODULES
    ]
    listed = [
        {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for number, (path, kind) in enumerate(modules)
    ]
    _write_json(folder / "modules.json", listed)
    width = (
        read_json(folder / "config.json")["hidden_size"] if dense or cut else pooling.dimension // len(pooling.modes)
    )
    flags = {name: mode in pooling.modes for mode, name in _FLAGS.items()}
    (folder / "1_Pooling").mkdir()
    _write_json(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": width} | flags)
    for name in dense:
        shutil.copytree(artifact.folder / name, folder / name)
    prompts = {"prompts": pooling.prompts, "default_prompt_name": pooling.default_prompt}
    settings = prompts | {"similarity_fn_name": pooling.similarity} | ({"truncate_dim": cut} if cut else {})
    _write_json(folder / "config_sentence_transformers.json", settings)


def triton_config(name: str, artifact: Artifact) -> str:
    """`config.pbtxt` (model_config.proto): what goes in and out, on the CPU, batches gathered for a millisecond."""
    import onnx

    graph = onnx.load(str(artifact.model_file), load_external_data=False).graph
    if not re.fullmatch(r"[\w.-]+", name, re.ASCII):
        raise InputError("Triton names a model by its folder", got=name, allowed="letters, digits, _ - .")

    def ports(values: Any, kind: str) -> str:
        listed = []
        for value in values:
            sizes = [size.dim_value or -1 for size in value.type.tensor_type.shape.dim][1:]
            dtype = "TYPE_" + onnx.TensorProto.DataType.Name(value.type.tensor_type.elem_type).replace("FLOAT", "FP32")
            listed.append(f'  {{ name: "{value.name}" data_type: {dtype} dims: {sizes} }}')
        return f"{kind} [\n" + ",\n".join(listed) + "\n]\n"

    return (
        f'name: "{name}"\nbackend: "onnxruntime"\nmax_batch_size: 64\n'
        + ports(graph.input, "input")
        + ports(graph.output, "output")
        + "dynamic_batching { max_queue_delay_microseconds: 1000 }\n"
        + "instance_group [ { count: 1 kind: KIND_CPU } ]\n"
    )


def _readme(name: str, artifact: Artifact, program: ProgramName) -> str:
    about, manifest = PROGRAMS[program], artifact.manifest
    signature, pooling = manifest.signature, manifest.signature.pooling
    normal = pooling is not None and any(step.kind == "normalize" for step in pooling.steps)
    words = about.poolings[pooling.modes[0]] if pooling and about.poolings else ""
    asked = f", {{ pooling: '{words}', normalize: {str(normal).lower()} }}" if words else ""
    opens = about.opens.format(
        folder=name,
        task=signature.task,
        dtype=_dtype(artifact),
        asked=asked,
        pooling=words,
        normalize=normal,
        dimension=pooling.dimension if pooling else "",
        max_length=signature.max_length,
        pad=signature.pad_token_id,
        opener="SentenceTransformer" if pooling else "CrossEncoder",
        **{"not": "" if normal else " not"},
    )
    notes = [note] if (note := _unsafe_elsewhere(artifact)) else []
    if pooling and pooling.default_prompt and not about.prompts:
        notes.append(f"Put {code(signature.prompt())} before every text: {about.title} does not.")
    if pooling and about.poolings is None:
        notes.append("What the model answers are the vectors of tokens: pooling is left to whoever asks.")
    made = f"Made by Octavo {manifest.version} from {code(manifest.source.name)}, as {about.title} reads it; "
    made += f"`{MANIFEST}` of the artifact has the sha256 {sha256_of(artifact.folder / MANIFEST)}."
    return "\n\n".join([f"# {code(name)}", made, opens, *notes]) + "\n"


def _write_json(path: Path, document: Any) -> None:
    path.write_text(json_text(document, indent=1) + "\n", encoding="utf-8")
