"""Checkpoints and tokenizers that are broken, and folders of sentence-transformers."""

import io
import json
import struct
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import damage
from cases import DEEP, MANY_DIGITS, ROW, Case, copied, edit_json, generator, predicting

FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors")
Harm = Callable[[Path], object]


def cases() -> Iterator[Case]:
    yield from _files()
    yield from _texts()
    yield from _settings()
    yield from _tokenizers()
    yield from _weights()
    yield from _pooling()


def _broken(model: str, harm: Harm, verb: str, folder: Path, base: Path) -> list[object]:
    checkpoint = copied(base, model, folder)
    harm(checkpoint)
    if verb == "inspect":
        return ["inspect", checkpoint]
    if verb == "quantize":
        return ["quantize", checkpoint, "-o", folder / "out"]
    row = ROW if model == "checkpoint" else '{"text": "공원에서 놀고 있다"}\n'
    return predicting(folder, checkpoint, row)


def _case(family: str, name: str, harm: Harm, says: str, **settings: Any) -> Case:
    model, verb = settings.pop("model", "checkpoint"), settings.pop("verb", "predict")
    return Case(family, name, partial(_broken, model, harm, verb), says, **settings)


def _files() -> Iterator[Case]:
    for name in FILES:
        family = "tokenizer" if name.startswith("tokenizer") else "checkpoint"
        for harm in (*damage.BYTES, *damage.THINGS):

            def apply(folder: Path, name: str = name, harm: damage.Damage = harm) -> None:
                harm(folder / name, generator(name + harm.__name__))

            why, expect = "", "refused"
            if harm in {damage.turn_bit, damage.overwrite}:
                why, expect = "a checkpoint has no hashes: a changed letter or number is another checkpoint", "either"
            elif name == "tokenizer_config.json" and harm in {damage.remove, damage.point_nowhere, damage.add}:
                why, expect = "tokenizer.json alone is a tokenizer", "either"
            title = f"{name}, {harm.__name__.replace('_', ' ')}"
            fixed = harm in {damage.cut, damage.make_pipe} and name != "tokenizer_config.json"
            yield _case(family, title, apply, "checkpoint", expect=expect, why=why, fixed=fixed, verb="quantize"
                        if expect == "refused" else "predict")  # fmt: skip


def _write(name: str, text: str, folder: Path) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")


def _texts() -> Iterator[Case]:
    """Files of JSON that are none, too deep, or have numbers too long, in every file that is read."""
    texts = {
        "nested 100,000 deep": DEEP,
        "nested 900 deep": f'{{"a": {"[" * 900}{"]" * 900}}}',
        "5,000 digits": f'{{"a": {MANY_DIGITS}}}',
        "a list": "[1]",
        "a text": '"모델"',
        "cp949": "",
    }
    names = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
             "special_tokens_map.json", "added_tokens.json", "modules.json", "sentence_bert_config.json",
             "model.safetensors.index.json")  # fmt: skip
    for name in names:
        for kind, text in texts.items():

            def apply(folder: Path, name: str = name, text: str = text) -> None:
                if name == "model.safetensors.index.json":
                    (folder / "model.safetensors").unlink()
                (folder / name).write_bytes(text.encode() if text else '{"모델": 1}'.encode("cp949"))

            family = "tokenizer" if "token" in name else "checkpoint"
            unread = name in {"generation_config.json", "special_tokens_map.json", "added_tokens.json"}
            other = name == "modules.json" and kind == "a list"
            expect = "either" if unread else "refused"
            why = "this model does not read the file" if unread else ""
            fixed = kind == "nested 900 deep" or (kind == "nested 100,000 deep" and name != "config.json")
            yield _case(family, f"{name} is {kind}", apply, "not as|modules" if other else "checkpoint",
                        expect=expect, why=why, fixed=fixed and not unread)  # fmt: skip


def _set(key: str, value: Any, folder: Path) -> None:
    edit_json(folder / "config.json", lambda config: config.__setitem__(key, value))


def _drop(key: str, folder: Path) -> None:
    edit_json(folder / "config.json", lambda config: config.__delitem__(key))


def _settings() -> Iterator[Case]:
    values: dict[str, tuple[Any, ...]] = {
        "model_type": ("nothing", None, 3, "../bert", []),
        "architectures": ("BertModel", [], [3], ["Unknown"], {}),
        "vocab_size": (10**400, 2**40, -1, 0, "many", 7),
        "hidden_size": (10**400, 2**40, 0, 47, None, "48"),
        "num_attention_heads": (0, -4, 7, 2**40),
        "num_hidden_layers": (-1, 10**400, 3, "two"),
        "max_position_embeddings": (0, -1, 2**62, 10**400, "x", 8),
        "intermediate_size": (0, 2**40, "x"),
        "type_vocab_size": (0, -1, 2**40, "x"),
        "pad_token_id": (-1, 10**9, "x", 2**70),
        "hidden_act": ("magic", None, 3),
        "layer_norm_eps": (float("nan"), float("inf"), "x"),
        "id2label": ({}, {"0": "a"}, {"0": "a", "0.5": "b", "2": "c"}, {"0": "a", "1": "a", "2": "a"}, ["a", "b", "c"],
                     {"0": "a", "1": None, "2": "c"}, {"0": "a", "1": "b", "7": "c"}, {"0": "", "1": "", "2": ""},
                     {MANY_DIGITS: "a"}, {"²": "a", "1": "b", "2": "c"}, {"0": [[1]], "1": "b", "2": "c"}),
        "quantization_config": ({"quant_method": "gptq"}, "int8", 3),
        "auto_map": ({"AutoModelForSequenceClassification": "evil.py"},),
        "dtype": ("float99", 3, "int8"),
        "is_decoder": (True, "yes"),
        "problem_type": ("magic", 3),
        "position_embedding_type": ("relative_key",),
    }  # fmt: skip
    free = {
        "model_type": "the class is that of the architectures", "is_decoder": "transformers reads any value as yes or no",
        "dtype": "weights are read as float32 whatever it says", "pad_token_id": "the tokenizer's is taken",
        "type_vocab_size": "as transformers reads it", "max_position_embeddings": "as transformers reads it",
        "problem_type": "only regression and several labels are told from it", "auto_map": "no code of it is run",
        "num_hidden_layers": "as transformers reads it", "hidden_size": "as transformers reads it",
        "architectures": "as transformers reads it", "num_attention_heads": "as transformers reads it",
        "quantization_config": "", "id2label": "", "layer_norm_eps": "", "hidden_act": "",
    }  # fmt: skip
    sure = {("max_position_embeddings", 10**400), ("num_hidden_layers", -1), ("num_attention_heads", 0),
            ("hidden_size", 10**400), ("num_attention_heads", 7), ("hidden_size", 47), ("hidden_size", 0)}  # fmt: skip
    for key, wrong in values.items():
        for value in wrong:
            why = "" if not isinstance(value, list | dict) and (key, value) in sure else free.get(key, "")
            expect = "either" if why else "refused"
            title = f"{key} is {json.dumps(value, ensure_ascii=False):.30}"
            fixed = value == 10**400 or key in {"quantization_config", "hidden_act"}
            yield _case("checkpoint", title, partial(_set, key, value), f"checkpoint|{key}", expect=expect, why=why,
                        fixed=fixed and expect == "refused")  # fmt: skip
    for key in ("architectures", "model_type", "hidden_size", "vocab_size"):
        yield _case("checkpoint", f"no {key}", partial(_drop, key), f"checkpoint|{key}")


def _edit(name: str, change: Callable[[dict[str, Any]], object], folder: Path) -> None:
    edit_json(folder / name, change)


def _tokenizers() -> Iterator[Case]:
    changes: dict[str, tuple[str, Callable[[dict[str, Any]], object], str, str]] = {
        "no model": ("tokenizer.json", lambda t: t.pop("model"), "", "tokenizer"),
        "no vocabulary": ("tokenizer.json", lambda t: t["model"].pop("vocab"), "", "tokenizer"),
        "an empty vocabulary": ("tokenizer.json", lambda t: t["model"].__setitem__("vocab", {}), "", "tokenizer"),
        "an id of 2^40": ("tokenizer.json", lambda t: t["model"]["vocab"].__setitem__("공원", 2**40), "", "tokenizer"),
        "an id below 0": ("tokenizer.json", lambda t: t["model"]["vocab"].__setitem__("공원", -1), "", "tokenizer"),
        "ids beyond the table": ("tokenizer.json", lambda t: t["model"]["vocab"].__setitem__("공원에서", 5_000_000), "",
                                 "tokenizer|table|vocab"),
        "two tokens of one id": ("tokenizer.json", lambda t: t["model"]["vocab"].__setitem__("새", 7),
                                 "a token that no text becomes changes nothing", "tokenizer"),
        "an unknown model": ("tokenizer.json", lambda t: t["model"].__setitem__("type", "Magic"), "", "tokenizer"),
        "a broken pattern": ("tokenizer.json", lambda t: t.__setitem__("pre_tokenizer", {
            "type": "Split", "pattern": {"Regex": "(((("}, "behavior": "Isolated", "invert": False}), "", "tokenizer"),
        "a version to come": ("tokenizer.json", lambda t: t.__setitem__("version", "9.0"), "", "tokenizer"),
        "an unknown class": ("tokenizer_config.json", lambda t: t.__setitem__("tokenizer_class", "MagicTokenizer"),
                             "tokenizer.json says all that is needed", "tokenizer"),
        "a class of its own": ("tokenizer_config.json", lambda t: t.__setitem__("auto_map", {
            "AutoTokenizer": ["evil.py", None]}), "no code of it is run", "checkpoint"),
        "a limit of 0": ("tokenizer_config.json", lambda t: t.__setitem__("model_max_length", 0),
                         "the model's own limit is taken", "max_length|limit"),
        "a limit below 0": ("tokenizer_config.json", lambda t: t.__setitem__("model_max_length", -3), "", "limit|max"),
        "a limit of 10^400": ("tokenizer_config.json", lambda t: t.__setitem__("model_max_length", 10**400),
                              "no limit is written as 1e30", "limit"),
        "a limit that is text": ("tokenizer_config.json", lambda t: t.__setitem__("model_max_length", "64"), "",
                                 "checkpoint"),
        "padding that is no token": ("tokenizer_config.json", lambda t: t.__setitem__("pad_token", 3), "",
                                     "tokenizer|checkpoint"),
    }  # fmt: skip
    for name, (file, change, why, says) in changes.items():
        expect = "either" if why else "refused"
        fixed = name in {"an unknown model", "no model"}
        yield _case("tokenizer", name, partial(_edit, file, change), says, expect=expect, why=why, fixed=fixed)


def _safetensors(header: dict[str, Any] | bytes, data: bytes, size: int | None, folder: Path) -> None:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text) if size is None else size) + text + data)


def _zipped(pickled: bytes, folder: Path, *, compression: int = zipfile.ZIP_STORED, more: int = 0) -> None:
    """A `.bin` as torch writes it, with other records than it would write."""
    (folder / "model.safetensors").unlink()
    with zipfile.ZipFile(folder / "pytorch_model.bin", "w", compression) as archive:
        with archive.open("archive/data.pkl", "w", force_zip64=True) as stream:
            stream.write(pickled)
            for _ in range(more):
                stream.write(bytes(1 << 20))
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/byteorder", "little")


def _stretched(folder: Path) -> None:
    """A tensor of 2^40 numbers that is a view of one."""
    import torch

    (folder / "model.safetensors").unlink()
    state = {"bert.embeddings.word_embeddings.weight": torch.zeros(1).expand(2**20, 2**20)}
    torch.save(state, folder / "pytorch_model.bin")


def _compressed(folder: Path) -> None:
    """Whole weights, whose zip was written anew with compression."""
    import torch
    from safetensors.torch import load_file

    state, stored = load_file(folder / "model.safetensors"), io.BytesIO()
    torch.save(state, stored)
    (folder / "model.safetensors").unlink()
    with (
        zipfile.ZipFile(stored) as whole,
        zipfile.ZipFile(folder / "pytorch_model.bin", "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for name in whole.namelist():
            archive.writestr(name, whole.read(name))


def _edit_weights(change: Callable[[dict[str, Any]], object], folder: Path) -> None:
    from safetensors.numpy import load_file, save_file

    state = load_file(folder / "model.safetensors")
    change(state)
    save_file(state, folder / "model.safetensors", {"format": "pt"})


def _fill(name: str, value: float, state: dict[str, Any]) -> None:
    state[name] = state[name] + value


def _weights() -> Iterator[Case]:
    declared = {"w": {"dtype": "F32", "shape": [2**31, 2**31], "data_offsets": [0, 4]}}
    overlap = {name: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} for name in ("a", "b")}
    evil = b"cos\nsystem\n(S'touch hacked'\ntR."
    lists = b"\x80\x02]q\x00" + b"".join(b"(h%ch%ce" % (0, 0) for _ in range(10)) + b"."
    harms: dict[str, Harm] = {
        "a header of 2^63 bytes": partial(_safetensors, b"{}", b"", 2**63),
        "a header of 90 MB in a file of 10": partial(_safetensors, b"{}", b"", 90_000_000),
        "a tensor of 2^62 numbers": partial(_safetensors, declared, bytes(4), None),
        "two tensors in one place": partial(_safetensors, overlap, bytes(4), None),
        "no tensor": partial(_safetensors, {}, b"", None),
        "a header nested 100,000 deep": partial(_safetensors, DEEP.encode(), b"", None),
        "a dtype that does not exist": partial(
            _safetensors, {"w": {"dtype": "Q9", "shape": [1], "data_offsets": [0, 4]}}, bytes(4), None
        ),
        "a zip bomb": partial(_zipped, b"\x80\x02}q\x00.", compression=zipfile.ZIP_DEFLATED, more=1500),
        "a pickle that runs a command": partial(_zipped, evil),
        "a pickle of lists in lists": partial(_zipped, lists),
        "an empty pickle": partial(_zipped, b""),
        "a number and no table": partial(_zipped, b"\x80\x02K\x05."),
        "a table of no tensors": partial(_zipped, b"\x80\x02}q\x00X\x01\x00\x00\x00aK\x05s."),
        "a long integer of a million digits": partial(
            _zipped, b"\x80\x02}X\x01\x00\x00\x00a\x8b" + struct.pack("<i", 500_000) + b"\x7f" * 500_000 + b"s."
        ),
        "a tensor of 2^40 numbers that is a view of one": _stretched,
        "a zip that was compressed again": _compressed,
    }
    for name, harm in harms.items():
        for verb in ("quantize", "inspect"):
            listed = verb == "inspect" and name == "a table of no tensors"
            expect, why = ("either", "inspect lists what is there") if listed else ("refused", "")
            yield _case("checkpoint", f"{name} ({verb})", harm, "checkpoint", verb=verb, expect=expect, why=why,
                        fixed="bomb" not in name)  # fmt: skip
    edits: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
        "NaN in a weight": (partial(_fill, "bert.encoder.layer.0.attention.self.query.weight", float("nan")), "query"),
        "infinity in a weight": (partial(_fill, "classifier.bias", float("inf")), "classifier"),
        "no head": (lambda state: state.pop("classifier.weight"), "classifier"),
        "a weight of another shape": (
            lambda state: state.update({"classifier.weight": state["classifier.weight"][:2]}),
            "classifier",
        ),
        "a weight that no module takes": (
            lambda state: state.update({"crf.transitions": state["classifier.weight"]}),
            "crf",
        ),
    }
    for name, (change, says) in edits.items():
        yield _case(
            "checkpoint", name, partial(_edit_weights, change), says, fixed=name != "a weight that no module takes"
        )


def _pooling() -> Iterator[Case]:
    def module(change: Callable[[Any], object], folder: Path) -> None:
        edit_json(folder / "modules.json", change)

    dense = Path("2_Dense") / "config.json"
    harms: dict[str, tuple[Harm, str]] = {
        "a module outside of the folder": (partial(module, lambda m: m[2].update(path="../2_Dense")), "modules"),
        "a module that does not exist": (partial(module, lambda m: m[1].update(type="x.Magic")), "Magic"),
        "a module without a type": (partial(module, lambda m: m[1].pop("type")), "modules"),
        "no pooling": (partial(module, lambda m: m.pop(1)), "modules|Dense"),
        "an activation that does not exist": (
            partial(_edit, str(dense), lambda c: c.update(activation_function="os.system")), "system",
        ),
        "a Dense of 10^400": (partial(_edit, str(dense), lambda c: c.update(out_features=10**400)), "Dense|embedder"),
        "a Dense without a size": (partial(_edit, str(dense), lambda c: c.pop("out_features")), "Dense|out_features"),
        "a Dense without weights": (lambda folder: (folder / "2_Dense" / "model.safetensors").unlink(), "Dense"),
        "a Dense that is a pipe": (
            lambda folder: damage.make_pipe(folder / "2_Dense" / "model.safetensors", generator("x")), "Dense",
        ),
        "a pooling mode that does not exist": (
            partial(_edit, "1_Pooling/config.json", lambda c: c.update(pooling_mode="magic")), "magic",
        ),
        "a pooling mode that is a list of lists": (
            partial(_edit, "1_Pooling/config.json", lambda c: c.update(pooling_mode=[["mean"]])), "mode",
        ),
        "a limit that is text": (
            partial(_edit, "sentence_bert_config.json", lambda c: c.update(max_seq_length="x")), "embedder",
        ),
        "a limit below 0": (
            partial(_edit, "sentence_bert_config.json", lambda c: c.update(max_seq_length=-7)), "limit|max_seq|embedder",
        ),
        "prompts that are a list": (
            lambda folder: _write("config_sentence_transformers.json", '{"prompts": ["a"]}', folder), "embedder|prompts",
        ),
    }  # fmt: skip
    for name, (harm, says) in harms.items():
        yield _case(
            "checkpoint",
            f"sentence-transformers, {name}",
            harm,
            says,
            model="embedder",
            fixed="mode" in name or name == "no pooling",
        )
