"""README and docs against what is there: every command parses, every option has a page, every link goes somewhere."""

import re
import shlex
import sys
import tomllib
from functools import cache
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

import pytest
import typer
import yaml
from markdown_it import MarkdownIt

from octavo.cli.main import app
from octavo.data import json_text, rows
from octavo.data.sentences import SENTENCES
from octavo.exporting.families import FAMILIES
from octavo.exporting.opsets import OPSETS
from octavo.graph import limits
from octavo.hardware import TARGETS
from octavo.tasks import TASKS
from octavo.tuning import strategy

ROOT = Path(__file__).resolve().parents[1]
TOP = ["README.md", "README.ko.md", "DESIGN.md", "CONTRIBUTING.md"]
PAGES = [*TOP, *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))]
TWINS = [name for name in PAGES if name.endswith(".ko.md")]
OPTIONS_OF = {  # where a verb's options are told
    "quantize": "docs/quantize.md",
    "trim": "docs/smaller.md",
    "distill": "docs/smaller.md",
    "search": "docs/search.md",
    "compare": "docs/compare.md",
    "report": "docs/compare.md",
    "predict": "docs/predict.md",
    "inspect": "docs/inspect.md",
    "doctor": "docs/inspect.md",
    "layout": "docs/hub.md",
    "push": "docs/hub.md",
    "export": "docs/quantize.md",
}
GROUP = typer.main.get_command(app)
VERBS = {name: command for name, command in GROUP.commands.items() if not command.hidden}


@cache
def tokens(name):
    """A page's tokens, those inside of others too."""
    text = (ROOT / name).read_text(encoding="utf-8")
    blocks = MarkdownIt("commonmark").enable("table").parse(text)
    return [one for block in blocks for one in (block, *(block.children or ()))]


def commands(name):
    """What a page says to type: (words behind `octavo`, whether it is whole; a span may leave arguments out)."""
    for token in tokens(name):
        if token.type == "fence" and token.info.strip() in {"", "console", "bash", "sh"}:
            for line in token.content.replace("\\\n", " ").splitlines():
                if re.search(r"(^|[$|] *|from \S+ |convert )octavo ", line):
                    yield words(line), True
        elif token.type == "code_inline" and token.content.startswith("octavo "):
            yield words(token.content), False


def words(line):
    """The words behind `octavo`, of a pipe's part that runs it, up to where its output goes."""
    (part,) = [part for part in re.split(r" \| ", line) if re.search(r"\boctavo \S", part)]
    found = shlex.split(part, comments=True)
    return [word for word in "\0".join(found[found.index("octavo") + 1 :]).partition("\0>")[0].split("\0") if word]


def fault(arguments, *, whole):
    """What the command line has against these words; nothing is run."""
    if arguments[0].startswith("-"):  # these do what they say at once: --install-completion writes into a home
        return None if {*arguments} <= {*options(GROUP), "--help", "-h"} else f"unknown: {arguments}"
    try:
        context = GROUP.make_context("octavo", list(arguments))
        verb, command, rest = GROUP.resolve_command(context, [*context._protected_args, *context.args])
        command.make_context(verb, rest, parent=context)
    except typer.Exit:  # --help
        return None
    except Exception as error:
        left_out = type(error).__name__ == "MissingParameter" or "requires an argument" in str(error)
        return None if left_out and not whole else f"{type(error).__name__}: {error}"
    return None


def options(command):
    """The long names of a command's options, the hidden ones and --help left out."""
    shown = [one for one in command.params if one.param_type_name == "option" and not one.hidden]
    return {name for one in shown for name in (*one.opts, *one.secondary_opts) if name.startswith("--")} - {"--help"}


def named(name):
    """The options that a page's code names."""
    code = [one.content for one in tokens(name) if one.type in {"code_inline", "fence"}]
    return set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", "\n".join(code)))


def test_every_command_of_the_pages_parses():
    found = [(name, *one) for name in PAGES for one in commands(name)]
    assert len(found) > 60
    assert {verb for _, (verb, *_), whole in found if whole} >= set(OPTIONS_OF) - {"export"}
    faults = [(name, " ".join(said), why) for name, said, whole in found if (why := fault(said, whole=whole))]
    assert faults == []


@pytest.mark.parametrize(
    ("line", "whole"),
    [
        ("octavo quantise my-model -o out", True),
        ("octavo quantize my-model", True),
        ("octavo compare a b --data x.tsv --max-dorp 1", True),
        ("cat a | octavo predict int8 --seed many > b", True),
        ("octavo inspect --layer", False),
        ("octavo --versoin", False),
    ],
)
def test_a_command_that_does_not_parse_is_found(line, whole):
    assert fault(words(line), whole=whole)


def test_every_option_is_told_on_its_verb_s_page():
    assert set(VERBS) <= set(OPTIONS_OF), "give the verb a page"
    missing = {verb: options(command) - named(OPTIONS_OF[verb]) for verb, command in VERBS.items()}
    assert {verb: names for verb, names in missing.items() if names} == {}
    assert options(GROUP) <= set().union(*map(named, PAGES))


@pytest.mark.parametrize("name", sorted(set(OPTIONS_OF.values())))
def test_a_page_tells_of_no_option_that_is_not_there(name):
    known = set().union(options(GROUP), *(options(command) for command in VERBS.values()))
    assert named(name) - known == set()


@cache
def anchors(path):
    """The anchors of a page's headings, as GitHub makes them."""
    found = []
    blocks = MarkdownIt("commonmark").enable("table").parse(path.read_text(encoding="utf-8"))
    for block, inner in pairwise(blocks):
        if block.type == "heading_open":
            text = "".join(one.content for one in inner.children if one.type in {"text", "code_inline"})
            slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
            found.append(slug if slug not in found else f"{slug}-{found.count(slug)}")
    return set(found)


def links(name):
    """A page's links to places of this repository."""
    for token in tokens(name):
        href = token.attrGet("href" if token.type == "link_open" else "src")
        if href and not re.match(r"[a-z]+:", href):
            yield unquote(href)


def test_no_link_is_dead():
    found = [(name, link) for name in PAGES for link in links(name)]
    assert len(found) > 150
    dead = []
    for name, link in found:
        place, _, anchor = link.partition("#")
        path = (ROOT / name).parent / place if place else ROOT / name
        if not path.exists() or (anchor and anchor not in anchors(path)):
            dead.append((name, link))
    assert dead == []


def test_every_page_can_be_reached_from_the_readme():
    seen, waiting = set(), ["README.md"]
    while waiting:
        name = waiting.pop()
        seen.add(name)
        there = [((ROOT / name).parent / link.partition("#")[0]).resolve() for link in links(name)]
        reached = [str(path.relative_to(ROOT)) for path in there if path.suffix == ".md"]
        waiting += [one for one in reached if one in PAGES and one not in seen]
    assert set(PAGES) - seen == set()


def test_versions_and_counts_that_pages_name_are_those_of_the_code():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    changes = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert cited["version"] == changes[0] == project["version"]
    read = {name: (ROOT / name).read_text("utf-8") for name in PAGES}
    python = project["requires-python"].removeprefix(">=")
    assert {name for name in TOP[:2] if f"Python {python}" not in read[name]} == set()
    assert {found for text in read.values() for found in re.findall(r"Python (3\.\d+)", text)} <= {python, "3.14"}
    pairs = len((ROOT / "examples/korean-nli/pairs.tsv").read_text("utf-8").splitlines()) - 1
    told = [found for text in read.values() for found in re.findall(r"(\d+) sentence pairs|문장 쌍 (\d+)개", text)]
    assert {int(left or right) for left, right in told} == {pairs}
    carried = {found for text in read.values() for found in re.findall(r"(\d+) sentences that Octavo\s+carries", text)}
    assert carried == {str(len(SENTENCES))}


def test_names_and_limits_that_pages_tell_are_those_of_the_code(monkeypatch):
    read = {name: (ROOT / name).read_text("utf-8") for name in [*PAGES, "CHANGELOG.md"]}
    kin = r"BERT, RoBERTa, (?:[A-Za-z-]+, )+[A-Za-z-]+(?: and [A-Za-z-]+)?"
    found = [
        (name, one.replace(" and", ",").split(", ")) for name, text in read.items() for one in re.findall(kin, text)
    ]
    told = {name: {one.lower() for one in families} for name, families in found if "ALBERT" in families}
    assert told.pop("docs/design/qat.md", None)  # what was tried there
    assert {"README.md", "README.ko.md", "docs/quantize.md", "docs/quantize.ko.md"} <= told.keys()
    written = {{"xlm-roberta": "xlm-r"}.get(name, name) for name in FAMILIES}
    assert {name for name, families in told.items() if families != written} == set()
    targets = ", ".join(f"`{name}`" for name in TARGETS if name != "any")
    assert {name for name in ("DESIGN.md", "docs/quantize.md") if f"`any`, {targets}" not in read[name]} == set()
    assert {name for name in TASKS if f"[{name}](" not in read["docs/tasks/README.md"]} == set()
    assert f"opset {OPSETS[0]} ({OPSETS[-1]} to {OPSETS[1]} where" in read["DESIGN.md"]
    assert f"in full ({strategy.FULL:,} examples)" in read["docs/search.md"]
    monkeypatch.delenv("OCTAVO_MAX_LINE", raising=False)
    for limit in (
        f"| {rows.longest_line():,} bytes in UTF-8 |",
        f"| a data file | {rows.LINES_OF_A_FILE} such lines |",
        f"| brackets within brackets in JSON | {json_text.DEEPEST} |",
        f"functions in place of their calls | {limits.MOST_NODES:,} |",
        f"only its count ends | {limits.MOST_TURNS:,} |",
        f"| 2^{limits.MOST_NUMBERS.bit_length() - 1} numbers |",
    ):
        assert limit in read["docs/reliability.md"]
    most = {int(found) for found in re.findall(r"at most (\d+) lines", read["docs/serving.md"])}
    copied = [len(path.read_text("utf-8").splitlines()) for path in (ROOT / "examples/serving").glob("*.py")]
    assert len(most) == 1
    assert max(copied) <= max(most)


@pytest.mark.parametrize("job", ["github", "gitlab"])
def test_the_ready_jobs_run_the_commands_of_their_page(job):
    job = yaml.safe_load((ROOT / f"docs/ci/{job}.yml").read_text(encoding="utf-8"))
    job = job["jobs"]["gate"]["steps"] if "jobs" in job else [{"run": line} for line in job["int8-gate"]["script"]]
    run = [words(step["run"]) for step in job if step.get("run", "").startswith("octavo ")]
    assert run == [said for said, whole in commands("docs/ci.md") if whole]


@pytest.mark.parametrize("korean", TWINS)
def test_a_korean_page_keeps_step_with_the_english_one(korean):
    english = korean.replace(".ko.md", ".md")
    part = korean == "docs/benchmarks.ko.md"  # the English one has more tables
    for told in (named, lambda name: [said for said, whole in commands(name) if whole]):
        assert told(korean) == told(english) or part
    marks = [re.findall("<!-- bench: .*? -->", (ROOT / name).read_text(encoding="utf-8")) for name in (korean, english)]
    levels = [[one.tag for one in tokens(name) if one.type == "heading_open"] for name in (korean, english)]
    assert levels[0] == levels[1] or part
    assert set(marks[0]) <= set(marks[1])
    assert marks[0] == marks[1] or part


@pytest.mark.parametrize("name", ["README.md", "README.ko.md"])
def test_a_readme_is_short_and_its_figures_are_measured(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    said = re.sub(r"<!-- bench: .*?<!-- end -->|```.*?```|`[^`]*`", "", text, flags=re.DOTALL)
    assert set(re.findall(r"\d+(?:\.\d+)? ?(?:%|x\b|배|MiB)", said)) <= {"95 %", "95%"}  # a level of confidence


def test_the_figures_of_the_pages_are_those_that_are_stored(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "bench")
    import publish

    try:
        assert {name for name in PAGES if "<!-- bench:" in (ROOT / name).read_text("utf-8")} == set(publish.DOCUMENTS)
        for name in publish.DOCUMENTS:
            text = (ROOT / name).read_text(encoding="utf-8")
            assert publish.filled(name) == text, f"{name}: run bench/publish.py"
            for part, shown in re.findall("<!-- bench: (.*?) -->(.*?)<!-- end -->", text, flags=re.DOTALL):
                simulated = part.endswith((" any", " noise"))  # which no machine has a part in
                assert simulated or not shown.strip() or re.search(r"20\d\d-\d\d-\d\d", shown), f"{name}: {part}: when"
    finally:
        for module in ("publish", "publish_words"):
            sys.modules.pop(module, None)
