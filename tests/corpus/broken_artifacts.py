"""Artifacts whose files or manifest are broken."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import damage
from cases import DEEP, MANY_DIGITS, Case, copied, edit_json, generator, predicting

FILES = ("model.onnx", "config.json", "tokenizer.json", "tokenizer_config.json", "octavo.json")
WRONG: tuple[Any, ...] = (None, "x", -1, [], {}, [[1], {}], 1.5, True, 10**400)
# A field that may be anything of its type: nothing else in the artifact says what it has to be.
FREE = {
    ("version",), ("target",), ("passes",), ("export",), ("host", "cpu"), ("host", "kind"), ("source", "name"),
    ("source", "dtype"), ("source", "sha256"), ("source", "bytes"), ("calibration",), ("overflow",), ("components",),
    ("recipe",), ("layers",), ("signature", "labels"), ("signature", "unk_token_id"), ("signature", "problem_type"),
    ("signature", "pooling"), ("signature", "generation"), ("signature", "mask_token_id"),
    ("signature", "truncation_side"), ("self_test", "range"), ("self_test", "distance"),
}  # fmt: skip


def cases() -> Iterator[Case]:
    yield from _files()
    yield from _removed()
    yield from _wrong_types()
    yield from _named()


def _files() -> Iterator[Case]:
    for name in FILES:
        for harm in (*damage.BYTES, *damage.THINGS):
            title = f"{name}, {harm.__name__.replace('_', ' ')}"

            def make(folder: Path, base: Path, name: str = name, harm: damage.Damage = harm) -> list[object]:
                artifact = copied(base, "artifact", folder)
                harm(artifact / name, generator(name + harm.__name__))
                return predicting(folder, artifact)

            says = "artifact" if harm in damage.THINGS or name == "octavo.json" else name.replace(".", r"\.")
            either = name == "octavo.json" and harm in {damage.turn_bit, damage.overwrite, damage.cut, damage.add}
            why = "what the manifest says of the rest can be changed and still be a manifest" if either else ""
            fixed = name in {"model.onnx", "octavo.json"} and harm in {damage.cut, damage.empty, *damage.THINGS}
            yield Case("artifact", title, make, says, "either" if either else "refused", why, fixed=fixed)


def _paths(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every field of nested objects, and the first of each list."""
    if isinstance(value, dict):
        for key in value:
            yield (*path, key)
            yield from _paths(value[key], (*path, key))


def _manifest() -> dict[str, Any]:
    file = Path(__file__).parents[1] / "artifact" / "made-by-0.1.0" / "octavo.json"
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def _at(value: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    for key in path[:-1]:
        value = value[key]
    return value


def _changed(path: tuple[str, ...], change: Any, folder: Path, base: Path) -> list[object]:
    artifact = copied(base, "artifact", folder)

    def apply(manifest: dict[str, Any]) -> None:
        owner = _at(manifest, path)
        if change is KeyError:
            del owner[path[-1]]
        else:
            owner[path[-1]] = change

    edit_json(artifact / "octavo.json", apply)
    return predicting(folder, artifact)


def _removed() -> Iterator[Case]:
    manifest = _manifest()
    for path in manifest:
        expect = "either" if (path,) in FREE else "refused"
        why = "it has a default" if expect == "either" else ""
        make = partial(_changed, (path,), KeyError)
        yield Case("manifest", f"without {path}", make, rf"octavo\.json.*{path}", expect, why)  # type: ignore[arg-type]


def _wrong_types() -> Iterator[Case]:
    """A value of another type in a field, drawn for each field."""
    paths = [path for path in _paths(_manifest()) if path[0] not in {"files", "layers"} and len(path) < 4]
    for path in paths:
        draw = generator(".".join(path))
        for value in draw.sample(WRONG, 2):
            free = any(path[: len(known)] == known for known in FREE) or path[:2] == ("host", "packages")
            title = f"{'.'.join(path)} is {value!r:.12}"
            says = rf"octavo\.json.*{path[0]}|{path[-1]}"
            why = "nothing else in the artifact says what it has to be" if free else ""
            make = partial(_changed, path, value)
            yield Case("manifest", title, make, says, "either" if free else "refused", why)


def _written(text: str, folder: Path, base: Path) -> list[object]:
    artifact = copied(base, "artifact", folder)
    (artifact / "octavo.json").write_text(text, encoding="utf-8")
    return predicting(folder, artifact)


def _named() -> Iterator[Case]:
    self_test = _manifest()["self_test"]
    ragged = {**self_test, "inputs": {name: [rows[0][:-1], *rows[1:]] for name, rows in self_test["inputs"].items()}}
    fields: dict[str, tuple[tuple[str, ...], Any, str]] = {
        "ragged inputs of the self-test": (("self_test",), ragged, "self_test"),
        "ragged answers of the self-test": (("self_test", "outputs"), [[1.0], [1.0, 2.0]], "self_test"),
        "no inputs in the self-test": (("self_test", "inputs"), {}, "self_test"),
        "a self-test of other inputs": (("self_test", "inputs"), {"pixel_values": [[1, 2]]}, "self_test|pixel"),
        "an id of 2^70 in the self-test": (("self_test", "inputs", "input_ids"), [[2**70]], "self_test"),
        "an infinite distance in the self-test": (("self_test", "distance"), float("inf"), "self_test"),
        "a distance of NaN in the self-test": (("self_test", "distance"), float("nan"), "self_test"),
        "NaN in the answers of the self-test": (("self_test", "outputs"), [[float("nan")] * 3] * 5, "self_test"),
        "too few labels": (("signature", "labels"), ["참"], "label"),
        "too many labels": (("signature", "labels"), list("가나다라마바"), "label"),
        "labels with one name": (("signature", "labels"), ["같다", "같다", "다르다"], "label"),
        "a limit beyond the positions": (("signature", "max_length"), 4096, "max_length|positions"),
        "a limit of 0": (("signature", "max_length"), 0, "max_length"),
        "a limit below 0": (("signature", "max_length"), -5, "max_length"),
        "an id for padding that is no row": (("signature", "pad_token_id"), 10**6, "pad_token_id"),
        "an id for padding of 2^70": (("signature", "pad_token_id"), 2**70, "pad_token_id"),
        "another task": (("signature", "task"), "question-answering", "task"),
        "a task that does not exist": (("signature", "task"), "번역", "task"),
        "an input that the graph has not": (
            ("signature", "input_names"),
            ["input_ids", "attention_mask", "x"],
            "input",
        ),
        "too few inputs": (("signature", "input_names"), ["input_ids"], "input"),
        "a file outside of the folder": (("components", "model"), "../rows.jsonl", r"\.\."),
        "a file by its whole path": (("components", "model"), "/etc/passwd", "passwd"),
        "a listed file outside of the folder": (("files", "../../x"), {"bytes": 0, "sha256": ""}, r"\.\."),
        "no component": (("components",), {}, "component"),
        "a component of another name": (("components",), {"vision": "model.onnx"}, "component|vision"),
        "a component that is not listed": (("files",), {}, "files|list|hash"),
        "a size below 0": (("files", "model.onnx", "bytes"), -1, r"model\.onnx"),
        "another hash": (("files", "model.onnx", "sha256"), "0" * 64, r"model\.onnx"),
        "a schema version to come": (("octavo",), 99, "schema version"),
        "an unknown field": (("colour",), "red", "colour"),
        "another format": (("recipe", "format"), "torch", "format|torch|model"),
        "a method that does not exist": (("recipe", "method"), "magic", "method"),
        "a target that does not exist": (("target",), "z80", "target"),
        "an escape in a label": (("signature", "labels"), ["\x1b[31m빨강", "b", "c"], "label|escape|control"),
        "an escape in a task": (("signature", "task"), "\x1b]0;제목\x07", "task"),
        "an escape in a file's name": (("files", "\x1b[2J"), {"bytes": 1, "sha256": ""}, "no such file"),
    }
    for name, (path, value, says) in fields.items():
        fixed = "self-test" in name or "version" in name or name in {"an unknown field", "a target that does not exist"}
        yield Case("manifest", name, partial(_changed, path, value), says, fixed=fixed)
    texts = {
        "no JSON": ("{", r"octavo\.json"),
        "a list": ("[]", r"octavo\.json"),
        "null": ("null", r"octavo\.json"),
        "nested 100,000 deep": (DEEP, r"octavo\.json"),
        "a number of 5,000 digits": (f'{{"octavo": {MANY_DIGITS}}}', r"octavo\.json"),
        "half of a surrogate pair": ('{"octavo": 1, "version": "\\ud800"}', r"octavo\.json"),
        "not UTF-8": ("\udcff{}", r"octavo\.json"),
    }
    for name, (text, says) in texts.items():
        if name == "not UTF-8":

            def make(folder: Path, base: Path) -> list[object]:
                artifact = copied(base, "artifact", folder)
                (artifact / "octavo.json").write_bytes("모델".encode("cp949"))
                return predicting(folder, artifact)

            yield Case("manifest", name, make, says, fixed=True)
        else:
            yield Case("manifest", name, partial(_written, text), says, fixed=True)
