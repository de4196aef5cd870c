"""The reference of the manual, made from the code: docs/reference/. A test holds that it is what the code says.

.venv/bin/python bench/reference.py
"""

import inspect
import json
import re
from pathlib import Path
from typing import Literal, get_args, get_origin

import typer

import octavo
from octavo.cli.main import app
from octavo.schema.manifest import SCHEMA, Manifest
from octavo.schema.recipe import LayerRule, Recipe

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "reference"
MADE = "Made from the code by `bench/reference.py`."


def pages():
    """Name of each file and its text."""
    return {
        "cli.md": cli(),
        "api.md": api(),
        "README.md": front(),
        "recipe.md": recipe(),
        "recipe.schema.json": schema(Recipe.model_json_schema(mode="validation")),
        "octavo.schema.json": schema(Manifest.model_json_schema(mode="serialization")),
    }


def front():
    return f"""# Reference

{MADE} It says what there is; what it is for is in [the manual](../index.md).

- [The command line](cli.md): every verb and option.
- [The Python API](api.md): every public name.
- [Recipes](recipe.md), and their [JSON Schema](recipe.schema.json).
- `octavo.json`, which is in every artifact: its [JSON Schema](octavo.schema.json), version {SCHEMA}.
- The JSON of a comparison: its [JSON Schema](../comparison.schema.json), and [what its fields mean](../comparison.md).
"""


def recipe():
    """The settings of a recipe and of its rules, with what they allow and what they are by default."""
    parts = ["# Recipes", f"{MADE} A recipe is a TOML file for `octavo quantize --recipe`, or `octavo.Recipe`."]
    for title, model in (("Settings", Recipe), ("`[[layers]]`: rules for layers", LayerRule)):
        parts += [f"## {title}", plain(inspect.getdoc(model))]
        rows = []
        for name, field in model.model_fields.items():
            allowed = ", ".join(f"`{one}`" for one in choices(field.annotation))
            allowed += " or a number" if allowed and float in get_args(field.annotation) else ""
            value = "required" if field.is_required() else f"`{json.dumps(field.default)}`"
            rows.append((f"`{name}`", allowed or bare(inspect.formatannotation(field.annotation)), value))
        parts.append(table(("setting", "allowed", "default"), rows))
    return "\n\n".join(parts) + "\n"


def choices(annotation):
    """The values of a Literal, inside others too."""
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    return [one for inner in get_args(annotation) for one in choices(inner)]


def cli():
    group = typer.main.get_command(app)
    parts = ["# The command line", f"{MADE} What each is for: [the manual](../index.md)."]
    parts += ["Exit codes: 0 done; 1 done and the answer is no; 2 your input; 3 the run failed; 130 interrupted."]
    for name, command in group.commands.items():
        arguments = [one for one in command.params if one.param_type_name == "argument"]
        usage = " ".join([one.make_metavar(typer.Context(command)) if False else metavar(one) for one in arguments])
        parts += [
            f"## octavo {name}",
            plain(command.help or ""),
            f"```text\noctavo {name} {usage} [OPTIONS]\n```".replace("  ", " "),
        ]
        rows = [(f"`{metavar(one)}`", one.help or "", "") for one in arguments]
        rows += [(option(one), one.help or "", default(one)) for one in command.params if shown(one)]
        parts.append(table(("", "", "default"), rows))
    return "\n\n".join(parts) + "\n"


def shown(one):
    return one.param_type_name == "option" and not one.hidden and "--help" not in one.opts


def metavar(argument):
    name = (argument.metavar or argument.name.upper()).strip("[]")
    name += "..." if argument.nargs == -1 else ""
    return name if argument.required else f"[{name}]"


def option(one):
    names = ", ".join(f"`{name}`" for name in (*one.opts, *one.secondary_opts))
    return names + (", several times" if one.multiple else "") + (", required" if one.required else "")


def default(one):
    value = one.default
    return "" if value is None or value is False or value == () or callable(value) or one.required else f"`{value}`"


def api():
    """The public names, each with its signature and docstring."""
    parts = ["# The Python API", f"{MADE} `import octavo` has these names; each is imported on first use."]
    functions = [name for name in octavo.__all__ if inspect.isfunction(getattr(octavo, name))]
    classes = [name for name in octavo.__all__ if name not in functions]
    for title, names in (("Functions", functions), ("Classes", classes)):
        parts.append(f"## {title}")
        for name in names:
            parts += entry(f"octavo.{name}", getattr(octavo, name), 3)
            if title == "Classes":
                parts += members(name, getattr(octavo, name))
    return "\n\n".join(parts) + "\n"


def members(name, owner):
    """The public methods and properties that a class of ours defines."""
    for attribute, value in vars(owner).items():
        method = getattr(value, "__func__", value)
        if attribute.startswith(("_", "model_")) or not (inspect.isfunction(method) or isinstance(method, property)):
            continue
        if inspect.getdoc(method):
            yield from entry(f"{name}.{attribute}", method, 4)


def entry(name, value, level):
    parts = [f"{'#' * level} {name}"]
    if not isinstance(value, property) and not (isinstance(value, type) and issubclass(value, BaseException | Warning)):
        parts.append(f"```text\n{name}{signature(value)}\n```")
    return [*parts, plain(inspect.getdoc(value) or "")]


def signature(value):
    """The signature, a line for each parameter where it is long; types by their names alone."""
    try:
        found = inspect.signature(value)
    except (TypeError, ValueError):  # what its class hides
        return "(...)"
    shown = [one for one in found.parameters.values() if one.name != "self"]
    parameters, kinds = [bare(str(one)) for one in shown], [one.kind for one in shown]
    if inspect.Parameter.KEYWORD_ONLY in kinds and inspect.Parameter.VAR_POSITIONAL not in kinds:
        parameters.insert(kinds.index(inspect.Parameter.KEYWORD_ONLY), "*")
    back = "" if found.return_annotation is found.empty else f" -> {inspect.formatannotation(found.return_annotation)}"
    line = f"({', '.join(parameters)}){bare(back)}"
    return line if len(line) < 90 else "(\n    " + ",\n    ".join(parameters) + f",\n){bare(back)}"


def bare(text):
    """An annotation without modules and quotes."""
    name, equals, value = text.partition(" = ")
    return re.sub(r"(?<![\w.])(?:[A-Za-z_]\w*\.)+(?=[A-Za-z])", "", name.replace("'", "")) + equals + value


def plain(docstring):
    """A docstring as Markdown: its sections in bold, their entries as a list."""
    text = re.sub(r"(?m)^(Args|Returns|Raises|Attributes|Yields):\n", r"**\1**\n\n", docstring.strip())
    text = re.sub(r"(?m)^ {4}(\w[\w, *]*):[ \n]", r"- `\1`: ", text)
    text = re.sub(r"(?m)^ {8,}(?=\S)", "  ", text)
    text = re.sub(r"(?m)^ {4}(?=\S)", "", text)
    return text.replace("<", "&lt;") if "`" not in text else text


def table(head, rows):
    cells = [head, ("---",) * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in row) + " |" for row in cells
    )


def schema(document):
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
        print(FOLDER / name, len(text.splitlines()))
