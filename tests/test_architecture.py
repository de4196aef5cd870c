"""The house: imports run downhill, running an artifact needs little, and names mean what they say."""

import ast
import json
from pathlib import Path

import pytest

import octavo

SRC = Path(octavo.__file__).resolve().parent
FILES = {
    ".".join(("octavo", *file.relative_to(SRC).with_suffix("").parts)).removesuffix(".__init__"): file
    for file in sorted(SRC.rglob("*.py"))
}
LEVELS = (  # a room may import from its own level and from those before it
    {"errors", "hardware", "output", "recipe", "progress", "signature"},
    {
        "quant",
        "rows",
        "data",
        "tags",
        "tagged",
        "squad",
        "choices",
        "batching",
        "tokenizer",
        "weights",
        "pooling",
        "config",
        "source",
        "sentences",
        "sampling",
    },
    {"graph", "tasks", "generation"},
    {"engines"},
    {"methods", "selftest", "artifact"},
    {
        "card",
        "calibration",
        "exporting",
        "exporting_writers",
        "build",
        "making",
        "generator",
        "predictor",
        "inspection",
        "diagnosis",
    },
    {"evaluation"},
    {"tuning"},
    {"reporting"},
    {"cli"},
)
UPHILL = {"octavo.schema.comparison": {"octavo.reporting.page"}}  # so that a notebook shows a comparison as its report
LEVEL_OF = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}
TORCH = {  # who may import torch or transformers, and for what
    "octavo.checkpoint.config": {"torch", "transformers"},  # require_torch
    "octavo.checkpoint.weights": {"torch"},  # to read pytorch_model.bin
    "octavo.checkpoint.tokenizer": {"transformers"},  # AutoTokenizer
    "octavo.exporting.exporter": {"transformers"},
    "octavo.exporting.cached": {"torch"},
    "octavo.engines.torch": {"torch"},
    "octavo.engines.torch_int8": {"torch"},
    "octavo.engines.torch_saved": {"torch", "transformers"},
    "octavo.methods.torch_modules": {"torch", "transformers"},
    "octavo.methods.torch_rescue": {"torch"},
    "octavo.engines.torch_writer": {"torch"},
    "octavo.exporting.proof": {"torch"},  # torch.from_numpy
}
COMMAND_LINE = """
from octavo.cli.main import run
try:
    run()
except SystemExit as end:
    assert not end.code
"""
HEAVY = ("torch", "transformers", "onnx_ir", "onnx", "onnxscript", "safetensors", "huggingface_hub")


def room_of(module):
    return module.split(".")[1]


def imported(tree):
    """The modules that a file imports, wherever in it; `from octavo import x` is octavo.x."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            if node.module == "octavo":
                yield from (f"octavo.{alias.name}" for alias in node.names)
            else:
                yield node.module


def imports_of(module):
    return set(imported(ast.parse(FILES[module].read_text(encoding="utf-8"))))


def test_the_rooms_are_those_of_the_plan():
    assert len(FILES) > 20
    rooms = {room_of(module) for module in FILES if module != "octavo"}
    assert rooms - LEVEL_OF.keys() == set()


def test_imports_are_found_wherever_they_are():
    code = "import a.b\ndef f():\n    from c import d\nif T:\n    from octavo import e\nclass C:\n    import octavo.f"
    assert set(imported(ast.parse(code))) == {"a.b", "c", "octavo.e", "octavo.f"}


@pytest.mark.parametrize("module", [module for module in FILES if module != "octavo"])
def test_imports_run_downhill(module):
    own = [name for name in imports_of(module) if name.partition(".")[0] == "octavo"]
    uphill = [name for name in own if LEVEL_OF[room_of(name)] > LEVEL_OF[room_of(module)]]
    assert set(uphill) == UPHILL.get(module, set())


def test_torch_and_transformers_are_imported_only_where_they_must():
    found = {
        module: {name.partition(".")[0] for name in imports_of(module)} & {"torch", "transformers"} for module in FILES
    }
    assert {module: names for module, names in found.items() if names} == TORCH


@pytest.mark.parametrize("library", ["typer", "rich"])
def test_the_terminal_is_the_business_of_the_command_line(library):
    users = {module for module in FILES if library in {name.partition(".")[0] for name in imports_of(module)}}
    assert {room_of(module) for module in users} == {"cli"}


@pytest.mark.parametrize("module", FILES)
def test_files_are_short(module):
    assert len(FILES[module].read_text(encoding="utf-8").splitlines()) <= 400


@pytest.mark.parametrize("module", FILES)
def test_nothing_is_unpickled_and_no_code_of_a_checkpoint_is_run(module):
    tree = ast.parse(FILES[module].read_text(encoding="utf-8"))
    roots = {name.partition(".")[0] for name in imported(tree)}
    assert roots & {"pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"} == set()
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        settings = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        assert settings.get("trust_remote_code", "False") == "False"
        assert settings.get("allow_pickle", "False") == "False"
        called = ast.unparse(call.func)
        assert called not in {"eval", "exec"}
        if called == "torch.load":
            assert settings.get("weights_only") == "True"
        if called in {"np.load", "numpy.load"}:
            assert settings.get("allow_pickle") == "False"
        if called.endswith(".from_pretrained") and "Config" not in called:
            assert settings.get("trust_remote_code") == "False", called


# Lean imports, each in a process of its own


def heavy_after(fresh, code, *arguments):
    """The heavy modules that are imported once the code has run, and what it printed before."""
    *printed, last = fresh(f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))", *arguments).splitlines()
    return [name for name in HEAVY if name in json.loads(last)], printed


def test_heavy_imports_are_seen(fresh):
    heavy, printed = heavy_after(fresh, "import octavo.graph.layers\nprint('x')")
    assert "onnx_ir" in heavy
    assert printed == ["x"]


def test_importing_octavo_imports_nothing_heavy(fresh):
    heavy, _ = heavy_after(fresh, "import octavo\ndir(octavo)")
    assert heavy == []
    assert heavy_after(fresh, "import octavo, sys\nprint('numpy' in sys.modules, 'onnxruntime' in sys.modules)") == (
        [],
        ["False False"],
    )


@pytest.mark.parametrize("verb", [(), ("quantize",), ("compare",), ("predict",)])
def test_help_imports_nothing_heavy(fresh, verb):
    heavy, printed = heavy_after(fresh, COMMAND_LINE, *verb, "--help")
    assert heavy == []
    assert "Usage" in "".join(printed)


@pytest.mark.parametrize("method", ["float", "dynamic"])
def test_running_an_artifact_imports_nothing_heavy(fresh, artifact, method, tmp_path):
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"text": "공원에서 놀고 있다", "text_pair": "아무도 없다"}\n', encoding="utf-8")
    heavy, printed = heavy_after(fresh, COMMAND_LINE, "predict", artifact("bert", method).folder, rows)
    assert heavy == []
    assert json.loads(printed[0]).keys() == {"label", "score"}


def test_opening_and_verifying_an_artifact_imports_nothing_heavy(fresh, artifact):
    code = "import sys, octavo\noctavo.verify(octavo.open_artifact(sys.argv[1]))"
    assert heavy_after(fresh, code, artifact("bert", "float").folder) == ([], [])


# Public names


def test_every_public_name_is_there():
    assert list(octavo.__all__) == sorted(octavo.__all__)
    assert dir(octavo) == list(octavo.__all__)
    for name in octavo.__all__:
        assert getattr(octavo, name).__name__ == name
    with pytest.raises(AttributeError, match="module 'octavo' has no attribute 'quantise'"):
        octavo.quantise  # noqa: B018


def test_names_for_type_checkers_are_the_public_ones():
    tree = ast.parse(FILES["octavo"].read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    typed = {alias.name: node.module for node in block.body for alias in node.names if isinstance(node, ast.ImportFrom)}
    assert typed == octavo._HOME_OF
    assert set(typed) == set(octavo.__all__)


def test_no_public_name_is_that_of_a_module():
    stems = {part for module in FILES for part in module.split(".")[1:]}
    assert "predictor" in stems
    assert {name for name in octavo.__all__ if name[0].islower()} & stems == set()


def test_public_names_stay_what_they_are_after_everything_was_imported(fresh):
    """A submodule that is imported becomes an attribute of its package, over whatever has its name."""
    code = f"""
import importlib, inspect, json
modules = {list(FILES)!r}
import octavo
for module in modules:
    importlib.import_module(module)
kinds = {{}}
for name in octavo.__all__:
    value = getattr(octavo, name)
    kinds[name] = [inspect.ismodule(value), callable(value), value.__module__]
print(json.dumps(kinds))
for name, value in (("quantize", ("/nowhere/x", "/nowhere/y")), ("load", ("/nowhere/x",)),
                    ("open_artifact", ("/nowhere/x",)), ("predict", ("/nowhere/x",))):
    try:
        getattr(octavo, name)(*value)
    except octavo.OctavoError as error:
        print(type(error).__name__)
"""
    kinds, *raised = fresh(code).splitlines()
    kinds = json.loads(kinds)
    assert list(kinds) == list(octavo.__all__)
    assert {name: home for name, (_, _, home) in kinds.items()} == octavo._HOME_OF
    assert all(not is_module and is_callable for is_module, is_callable, _ in kinds.values())
    assert raised == ["CheckpointError", "ArtifactError", "ArtifactError", "ArtifactError"]
