"""The house: imports run downhill, running an artifact needs little, and names mean what they say."""

import ast
import importlib
import inspect
import json
import re
import sys
from pathlib import Path

import pytest

import forked_worker
import octavo

SRC = Path(octavo.__file__).resolve().parent
ROOT = SRC.parents[1]
FILES = {
    ".".join(("octavo", *file.relative_to(SRC).with_suffix("").parts)).removesuffix(".__init__"): file
    for file in sorted(SRC.rglob("*.py"))
}
LEVELS = (  # a room may import from those before its own level, and from itself: so there is no circle
    {"errors", "progress", "arithmetic", "metrics"},
    {"hardware", "files", "data"},
    {"schema"},
    {"encoding", "generation", "graph", "reporting"},
    {"tasks"},
    {"checkpoint"},
    {"engines", "source"},
    {"artifact", "exporting", "methods"},
    {"qat"},
    {"inference", "inspection", "pipeline", "shrinking"},
    {"evaluation", "ray"},
    {"tuning"},
    {"cli"},
    {"__main__"},
)
LEVEL_OF = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}
TOP_FLOOR = {"__main__", "errors", "files", "hardware", "progress"}  # the only files beside `__init__`
TORCH = {  # who may import torch or transformers, and for what
    "octavo.checkpoint.libraries": {"torch", "transformers"},  # require_torch
    "octavo.checkpoint.model": {"torch"},  # which weights are finite
    "octavo.checkpoint.projection": {"torch", "transformers"},  # ModelOutput
    "octavo.checkpoint.weights": {"torch"},  # to read pytorch_model.bin
    "octavo.checkpoint.tokenizer": {"transformers"},  # AutoTokenizer
    "octavo.exporting.exporter": {"torch", "transformers"},  # OnnxExporterError
    "octavo.exporting.unread_nodes": {"torch", "transformers"},  # what stands in the exporter's place
    "octavo.exporting.cached": {"torch"},
    "octavo.exporting.proof": {"torch"},  # torch.from_numpy
    "octavo.exporting.tracing": {"torch", "transformers"},  # SequenceClassifierOutput
    "octavo.engines.torch": {"torch"},
    "octavo.engines.torch_gpu": {"torch"},
    "octavo.engines.torch_int8": {"torch"},
    "octavo.engines.torch_saved": {"torch", "transformers"},
    "octavo.engines.torch_writer": {"torch"},
    "octavo.methods.torch_modules": {"torch", "transformers"},
    "octavo.methods.torch_rescue": {"torch"},
    "octavo.qat.calibration": {"torch"},
    "octavo.qat.fake": {"torch"},
    "octavo.qat.model": {"torch"},
    "octavo.qat.proof": {"torch"},
    "octavo.qat.trainer": {"transformers"},  # TrainerCallback
    "octavo.shrinking.batches": {"torch"},
    "octavo.shrinking.distilling": {"torch"},  # its threads
    "octavo.shrinking.layers": {"torch"},  # ModuleList
    "octavo.shrinking.losses": {"torch"},
    "octavo.shrinking.widths": {"torch"},
    "octavo.shrinking.training": {"torch", "transformers"},  # Trainer
}
COMMAND_LINE = """
from octavo.cli.main import run
try:
    run()
except SystemExit as end:
    assert not end.code
"""
HOLDS_STATEMENTS = (ast.stmt, ast.ExceptHandler, ast.match_case)
HEAVY = ("torch", "transformers", "onnx_ir", "onnx", "onnxscript", "safetensors", "huggingface_hub")


def room_of(module):
    return module.split(".")[1]


def imported(tree):
    """The modules that a file imports, wherever in it; `from octavo import x` is octavo.x."""
    left = [tree]
    while left:  # expressions hold no statements: they are not walked
        node = left.pop()
        left += (part for part in ast.iter_child_nodes(node) if isinstance(part, HOLDS_STATEMENTS))
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            if node.module == "octavo":
                yield from (f"octavo.{alias.name}" for alias in node.names)
            else:
                yield node.module


TREES = {module: ast.parse(file.read_text(encoding="utf-8")) for module, file in FILES.items()}
IMPORTS = {module: set(imported(tree)) for module, tree in TREES.items()}


def roots(module):
    return {name.partition(".")[0] for name in IMPORTS[module]}


def test_the_rooms_are_those_of_the_plan():
    assert len(FILES) > 100
    assert {room_of(module) for module in FILES if module != "octavo"} == LEVEL_OF.keys()
    assert {file.stem for file in SRC.glob("*.py")} == {"__init__", *TOP_FLOOR}


def test_imports_are_found_wherever_they_are():
    code = (
        "import a.b\ndef f():\n    from c import d\nif T:\n    from octavo import e\nclass C:\n    import octavo.f\n"
        "try:\n    import g\nexcept E:\n    with h:\n        import i\nmatch j:\n    case 1:\n        import k"
    )
    assert set(imported(ast.parse(code))) == {"a.b", "c", "octavo.e", "octavo.f", "g", "i", "k"}


def test_imports_run_downhill():
    pairs = {
        (module, name)
        for module in FILES
        for name in IMPORTS[module]
        if module != "octavo" and name.startswith("octavo.") and room_of(name) != room_of(module)
    }
    assert len(pairs) > 300
    uphill = {pair for pair in pairs if LEVEL_OF[room_of(pair[1])] >= LEVEL_OF[room_of(pair[0])]}
    assert uphill == set()


def test_no_file_imports_itself_by_way_of_others():
    """Inside a room too; the names that `__init__` hands on are no way."""
    edges = {module: {name for name in IMPORTS[module] if name in FILES and name != module} for module in FILES}
    left = {module: edges[module] for module in FILES if module != "octavo"}
    while ground := [module for module, names in left.items() if not names & left.keys()]:
        for module in ground:
            del left[module]
    assert left == {}


def test_torch_and_transformers_are_imported_only_where_they_must():
    found = {module: roots(module) & {"torch", "transformers"} for module in FILES}
    assert {module: names for module, names in found.items() if names} == TORCH


@pytest.mark.parametrize("library", ["typer", "rich"])
def test_the_terminal_is_the_business_of_the_command_line(library):
    assert {room_of(module) for module in FILES if library in roots(module)} == {"cli"}


def test_scores_and_arithmetic_know_no_other_room():
    for room in ("metrics", "arithmetic"):
        own = {name for module in FILES if f".{room}." in f"{module}." for name in IMPORTS[module]}
        assert {room_of(name) for name in own if name.startswith("octavo.")} == {room}


def doc_lines(node):
    doc = ast.get_docstring(node)
    return doc.count("\n") + 2 if doc else 0


def test_files_and_functions_are_short():
    lengths = {module: len(file.read_text(encoding="utf-8").splitlines()) for module, file in FILES.items()}
    assert {module: length for module, length in lengths.items() if length > 400} == {}
    functions = {
        f"{module}.{node.name}": node.end_lineno - node.lineno + 1 - doc_lines(node)
        for module, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
    }
    assert len(functions) > 800
    assert {name: length for name, length in functions.items() if length > 50} == {}


def test_nothing_is_unpickled_and_no_code_of_a_checkpoint_is_run():
    calls = [(module, node) for module, tree in TREES.items() for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert len(calls) > 3000
    for module in FILES:
        assert roots(module) & {"pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"} == set(), module
    for module, call in calls:
        settings = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        assert settings.get("trust_remote_code", "False") == "False", module
        assert settings.get("allow_pickle", "False") == "False", module
        called = ast.unparse(call.func)
        assert called not in {"eval", "exec"}, module
        if called == "torch.load":
            assert settings.get("weights_only") == "True", module
        if called in {"np.load", "numpy.load"}:
            assert settings.get("allow_pickle") == "False", module
        if called.endswith(".from_pretrained") and "Config" not in called:
            assert settings.get("trust_remote_code") == "False", (module, called)


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


def test_a_prediction_without_a_terminal_waits_for_no_rich_tables(fresh, artifact):
    code = f"{COMMAND_LINE}\nimport sys\nprint([name for name in sys.modules if name in ('rich.progress', 'jinja2')])"
    *_, found = fresh(code, "predict", artifact("bert", "float").folder, "--text", "공원에서 놀고 있다").splitlines()
    assert found == "[]"


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


def test_a_first_answer_waits_for_no_cards(fresh, artifact):
    code = "import sys, octavo\noctavo.load(sys.argv[1])('공원에서 놀고 있다')\nprint(*sys.modules)"
    loaded = set(fresh(code, artifact("bert", "dynamic").folder).split())
    assert {"octavo.artifact.folder", "onnxruntime"} <= loaded
    assert {"octavo.artifact.hub", "octavo.reporting.card", "jinja2", "typer", "rich"}.isdisjoint(loaded)


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
    assert typed == {name: getattr(octavo, name).__module__ for name in octavo.__all__}


def test_no_public_name_is_that_of_a_room():
    """Importing a room makes it an attribute of the package, over whatever has its name."""
    assert {name for name in octavo.__all__ if name[0].islower()} & LEVEL_OF.keys() == set()


def import_everything(modules, told):
    """In a process that has torch but nothing of octavo: import it all, then ask for the public names."""
    for name in [name for name in sys.modules if name.split(".")[0] == "octavo"]:
        del sys.modules[name]
    whole = importlib.import_module("octavo")
    for module in modules:
        importlib.import_module(module)
    kinds, raised = {}, []
    for name in whole.__all__:
        value = getattr(whole, name)
        kinds[name] = [inspect.ismodule(value), callable(value), value.__module__]
    for name, arguments in (
        ("quantize", ("/nowhere/x", "/nowhere/y")),
        ("load", ("/nowhere/x",)),
        ("open_artifact", ("/nowhere/x",)),
        ("predict", ("/nowhere/x",)),
    ):
        try:
            getattr(whole, name)(*arguments)
        except whole.OctavoError as error:
            raised.append(type(error).__name__)
    told.write_text(json.dumps([kinds, raised]), encoding="utf-8")


def test_public_names_stay_what_they_are_after_everything_was_imported(tmp_path):
    """A submodule that is imported becomes an attribute of its package, over whatever has its name."""
    process = forked_worker.start(import_everything, list(FILES), tmp_path / "told.json")
    process.join(300)
    kinds, raised = json.loads((tmp_path / "told.json").read_text(encoding="utf-8"))
    assert list(kinds) == list(octavo.__all__)
    homes = {name: getattr(octavo, name).__module__ for name in octavo.__all__}
    assert {name: home for name, (_, _, home) in kinds.items()} == homes
    assert all(not is_module and is_callable for is_module, is_callable, _ in kinds.values())
    assert raised == ["CheckpointError", "ArtifactError", "ArtifactError", "ArtifactError"]


def test_the_design_names_who_imports_torch():
    text = (ROOT / "DESIGN.md").read_text(encoding="utf-8")
    told = re.search(r"- torch and transformers are imported only by (.*?)\n- ", text, re.DOTALL)[1]
    named = {
        f"octavo.{room}.{name}"
        for room, files in re.findall(r"`(\w+)`\s+\(([^)]*)\)", told)
        for name in re.findall(r"\w+", files)
    }
    assert "`qat` (all but saving)" in told
    qat = {name for name in FILES if name.startswith("octavo.qat.")} - {"octavo.qat.saving"}
    assert (named & FILES.keys()) - {"octavo.qat.saving"} | qat == set(TORCH)


def test_the_floors_of_the_design_are_these():
    text = (ROOT / "DESIGN.md").read_text(encoding="utf-8")
    floors, floor = {}, None
    for line in re.search(r"```\n(12  cli.*?)```", text, re.DOTALL)[1].splitlines():
        floor = int(line[:2]) if line[:2].strip() else floor
        named = re.findall(r"(?:^|(?<=  ))(\w+)(?= {2})", line[2:])
        floors.setdefault(floor, set()).update(name for name in named if name in LEVEL_OF)
    assert floors == {level: rooms - {"source"} for level, rooms in enumerate(LEVELS[:13])}
