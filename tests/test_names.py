"""Names in the code say what they hold and stay in their rooms, and mypy is told to look away in few places."""

import ast
from pathlib import Path

import octavo

SRC = Path(octavo.__file__).resolve().parent
ROOT = SRC.parents[1]
FILES = sorted(SRC.rglob("*.py"))
TREES = {
    ".".join(("octavo", *file.relative_to(SRC).with_suffix("").parts)): ast.parse(file.read_text(encoding="utf-8"))
    for file in FILES
}
PLACEHOLDERS = {"found", "one"}  # there is a noun for nearly all that is found, and for one of anything
MOST_PLACEHOLDERS = 6
MOST_IGNORED = 3


def bound(text):
    """The names that a module binds: what it assigns, loops over, and takes."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.arg):
            yield node.arg


def test_a_noun_stands_where_one_says_more():
    assert [*bound("found = [one for one in f(lambda x: x)]")] == ["found", "one", "x"]
    places = [
        f"{file.name}: {name}"
        for file in FILES
        for name in bound(file.read_text(encoding="utf-8"))
        if name in PLACEHOLDERS
    ]
    assert len(places) <= MOST_PLACEHOLDERS, places


def test_few_lines_are_hidden_from_mypy():
    ignored = [
        f"{file.name}: {line.strip()}"
        for file in FILES
        for line in file.read_text(encoding="utf-8").splitlines()
        if "type: ignore" in line
    ]
    assert len(ignored) <= MOST_IGNORED, ignored


# A task is an object: it is asked what it is, and not for its name

MEANT = {  # names of tasks that are compared, and why no attribute of a task answers
    "octavo.checkpoint.config: head_task(name) == 'text-classification'",  # what a class is called; it may be no task
    "octavo.exporting.numpy_reference: match self.task",  # each head has a formula of its own there
}


def is_task_name(node):
    """`task`, `x.task`, `task.name`, `x["task"]`, `task_name(x)` and the like; a tuple that has one."""
    match node:
        case ast.Tuple(elts=parts):
            return any(map(is_task_name, parts))
        case ast.Attribute(value=owner, attr="name"):
            return is_task_name(owner)
        case ast.Name(id=name) | ast.Attribute(attr=name) | ast.Subscript(slice=ast.Constant(value=str(name))):
            return name.endswith(("task", "task_name"))
        case ast.Call(func=function):
            return is_task_name(function)
    return False


def has_text(node):
    parts = node.elts if isinstance(node, ast.Set | ast.Tuple | ast.List) else [node]
    return any(isinstance(part, ast.Constant) and isinstance(part.value, str) for part in parts)


def compared_task_names(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            if any(map(is_task_name, sides)) and any(map(has_text, sides)):
                yield ast.unparse(node)
        elif isinstance(node, ast.Match) and is_task_name(node.subject):
            yield f"match {ast.unparse(node.subject)}"


def test_comparisons_of_task_names_are_seen():
    code = """
        task.name == 'a'; 'a' != signature.task; x.task in {'a', 'b'}; task not in ('a', b); spec['task'] == 'a'
        task_name(x) == 'a'; (x, task) == ('a', 'b')
        a.task == b.task; task in TASKS; name == 'a'; x.name == 'a'; task is None; x.kind == 'task'
    """.replace("\n        ", "\n")
    assert sum(1 for _ in compared_task_names(ast.parse(code))) == 7
    assert list(compared_task_names(ast.parse("match x.task:\n    case 'a':\n        pass"))) == ["match x.task"]


def test_no_room_asks_a_task_for_its_name():
    trees = {module: tree for module, tree in TREES.items() if not module.startswith("octavo.tasks")}
    assert {f"{module}: {name}" for module, tree in trees.items() for name in compared_task_names(tree)} == MEANT


def is_private(name):
    return name.startswith("_") and not name.startswith("__")


def private_names(tree):
    """The names with one underscore that a file has or gives `self`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            name = node.name
        elif isinstance(node, ast.Name):
            name = node.id if isinstance(node.ctx, ast.Store) else ""
        elif isinstance(node, ast.Attribute):
            name = node.attr if isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self" else ""
        else:
            continue
        if is_private(name):
            yield name


def private_doors(tree, private):
    """What a test takes of them: by import, as an attribute, or by its name, as `monkeypatch.setattr` does."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "octavo":
            yield from (alias.name for alias in node.names if is_private(alias.name))
        elif isinstance(node, ast.Attribute) and node.attr in private and ast.unparse(node.value) != "self":
            yield ast.unparse(node)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("attr"):
            texts = [part.value for part in node.args if isinstance(part, ast.Constant) and isinstance(part.value, str)]
            yield from (text for text in texts if text.rpartition(".")[2] in private)


def test_tests_know_no_private_name():
    private = {name for tree in TREES.values() for name in private_names(tree)} - {
        "_repr_html_"
    }  # that one is IPython's
    assert len(private) > 500
    planted = "import octavo\nfrom octavo.hardware import _ray_grant\nfrom torch.utils import _pytree\nlibrary._c\n"
    planted += "octavo._find\nself._find\nmonkeypatch.setattr('octavo._find', 1)\npatch.delattr(octavo, '_find')"
    assert list(private_doors(ast.parse(planted), private)) == ["_ray_grant", "octavo._find", "octavo._find", "_find"]
    files = [file for room in ("tests", "bench") for file in (ROOT / room).rglob("*.py") if "made-by-" not in str(file)]
    assert len(files) > 100
    doors = {file.name: [*private_doors(ast.parse(file.read_text("utf-8")), private)] for file in files}
    assert {name: taken for name, taken in doors.items() if taken} == {}
