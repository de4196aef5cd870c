"""One word for one thing: the glossary, the page, the terminal and the Korean pages; and what the terminal says."""

import ast
import json
import re
import sys
import warnings
from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from octavo import errors
from octavo.cli import echo, main
from octavo.errors import DataError, InputError, RecipeError, raise_together
from octavo.reporting.korean import REPORT
from octavo.reporting.korean_found import FOUND, VALIDATION
from octavo.reporting.korean_terminal import ELSEWHERE, TERMINAL
from octavo.reporting.languages import ERRORS, KOREAN, known_error, known_found, known_korean, known_place, korean
from octavo.schema.recipe import recipe_from

ROOT = Path(__file__).resolve().parents[1]
SOURCES = [path for path in (ROOT / "src" / "octavo").rglob("*.py") if not path.name.startswith("korean")]
PAGES = [ROOT / "README.ko.md", *(ROOT / "docs").rglob("*.ko.md")]


def glossary():
    """Of each term: English, Korean, and the words that are not used for it."""
    lines = (ROOT / "docs" / "glossary.md").read_text("utf-8").splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    return [(english, name, re.split(", *", others)) for english, name, others, _ in rows[1:]]


def literals(names):
    """The sentences that the command line and the tables say by functions of these names."""
    for path in SOURCES:
        if path.parent.name in {"cli", "reporting"}:
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
                    for inner in ast.walk(node.args[0]) if node.args else ():
                        if isinstance(inner, ast.Constant) and isinstance(inner.value, str) and inner is node.args[0]:
                            yield path.parent.name, node.func.id, inner.value


def test_the_glossary_has_the_words_that_the_code_says():
    terms = {english: name for english, name, _ in glossary()}
    assert len(terms) > 30
    told = {english: KOREAN[english] for english in terms if english in KOREAN}
    assert len(told) > 12
    assert {english: said for english, said in told.items() if terms[english] not in said} == {}
    assert {"압축률", "속도 향상", "단건 지연 시간", "생성 모델", "태스크", "UNK 토큰"} <= set(terms.values())


@pytest.mark.parametrize("where", ["page and terminal", "tables of figures", *PAGES], ids=str)
def test_nothing_is_called_by_another_word(where, monkeypatch):
    if where == "page and terminal":
        text = "\n".join([*KOREAN.values(), *ELSEWHERE.values(), *ERRORS.values()])
    elif where == "tables of figures":
        text = (ROOT / "bench" / "publish_words.py").read_text("utf-8")
    else:
        text = where.read_text("utf-8")
    assert [word for _, _, others in glossary() for word in others if word in text] == []


def test_whatever_is_said_has_korean():
    said = [text for room, name, text in literals({"say", "words"}) if (room, name) != ("cli", "say")]
    assert len(said) > 120
    assert [text for text in said if text not in KOREAN and text] == []
    assert set(TERMINAL).isdisjoint(REPORT)
    assert set(TERMINAL).isdisjoint(ELSEWHERE)
    assert set(ERRORS).isdisjoint(KOREAN | ELSEWHERE)


VALUES = {  # what is allowed, and is no sentence
    "0 to {}",  # as "{} to {}" is
    "1 to {}",
    "auto, {}",
    "avx512_vnni, avx_vnni, arm64",
    "cpu, cuda",
    "octavo.qat.prepare(model, ...)",
    "question, context",
    "raise, column",
    "torch, torch:bf16, torch:fp8, torch:compile",
    "torch, torch:compile",
    "torch:bf16, torch:torchao",
    "utf-8, cp949, ...",
    "utf-8, cp949, utf-16, ...",
    '{"paragraphs": [{"context": ..., "qas": [{"question": ..., "answers": [...]}]}]}',
}


def template(node, names):
    """The texts that an expression may be, with `{}` for what varies: of a name, what it is set to."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if isinstance(node, ast.JoinedStr):
        return ["".join(one.value if isinstance(one, ast.Constant) else "{}" for one in node.values)]
    if isinstance(node, ast.IfExp):
        return template(node.body, names) + template(node.orelse, names)
    if isinstance(node, ast.BoolOp):
        return [text for one in node.values for text in template(one, names)]
    if isinstance(node, ast.Name):
        return [text for one in names.get(node.id, ()) for text in template(one, {})]
    return []


def assigned(tree):
    """The names of a function, or of a file outside of its functions, and the expressions that they are set to."""
    names = {}
    for node in ast.walk(tree) if isinstance(tree, ast.FunctionDef) else tree.body:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                several = isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple)
                pairs = zip(target.elts, node.value.elts, strict=True) if several else [(target, node.value)]
                for one, value in pairs:
                    if isinstance(one, ast.Name):
                        names.setdefault(one.id, []).append(value)
    return names


def said_by_errors():
    """What errors say: the part (`what`, `allowed`, `then`) and the sentence, with `{}` for what varies."""
    classes = {name for name, value in vars(errors).items() if isinstance(value, type)} | {"OpsetError"}
    for path in SOURCES:
        tree = ast.parse(path.read_text("utf-8"))
        outside = assigned(tree)
        for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
            names = outside | assigned(function)
            for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
                keys = {one.arg: one.value for one in call.keywords}
                told = keys.keys() & {"got", "allowed", "then"} and keys.keys() <= {"where", "got", "allowed", "then"}
                if (isinstance(call.func, ast.Name) and call.func.id in classes) or told:
                    for part, node in [("what", one) for one in call.args[:1]] + [*keys.items()]:
                        yield from (
                            (part, text) for text in template(node, names) if part in {"what", "allowed", "then"}
                        )


def test_whatever_an_error_says_has_korean():
    said = {*said_by_errors()}
    assert len([part for part, _ in said if part == "what"]) > 400
    missing = {text for part, text in said if part == "what" and text not in ERRORS and text.strip("{}")}
    assert missing == {"--characters", "{}: {}", "row {}: {}"}  # an option, and a place before what is wrong there
    commands = ("octavo ", "pip install ", "--", "{}")
    advice = {text for part, text in said if part != "what" and " " in text and not text.startswith(commands)}
    assert len(advice) > 150
    assert advice - ERRORS.keys() == VALUES


def test_whatever_is_warned_of_has_korean():
    said = set()
    for tree in (ast.parse(path.read_text("utf-8")) for path in SOURCES):
        outside = assigned(tree)
        for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
            names = outside | assigned(function)
            for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
                if ast.unparse(call.func) in {"warnings.warn", "_warn"}:
                    said |= {*template(call.args[0], names)} - {"{}: {}"}
    assert len(said) > 15
    assert {text for text in said if text not in ERRORS and text.removeprefix("{}: ") not in ERRORS} == set()
    few = "a.jsonl: 20 examples are few to calibrate on: ranges may be too narrow for what comes; 300 would do"
    assert known_error(few).startswith("a.jsonl: 캘리브레이션 데이터가 20건")


def test_korean_of_errors_fits_what_varies():
    assert {one for one, told in ERRORS.items() if one.count("{}") != told.count("{}")} == set()
    assert known_error("no such column for label") == "라벨 역할의 열이 없음"  # not what varies, but a sentence
    assert known_error("the model has no label '{}'") == "모델에 없는 라벨: '{}'"
    assert known_error("1 to 8") == "1~8"
    assert known_error("a word to the wise") == "a word to the wise"
    assert known_error("text") == "text"  # a column, and not the word
    assert known_error("bytes, names") == "bytes, names"
    assert known_error("such as 1% (one point)") == "예: 1% (one point)"
    path = InputError("no such data file", where=Path("bert with lora")).told_in(korean, known_error, known_place)
    assert "bert with lora" in path
    assert "no rows" in InputError("x", where=Path("no rows")).told_in(korean, known_error, known_place)
    assert known_error("yes, no, maybe (did you mean 'no'?)") == "yes, no, maybe (혹시 'no'?)"


class Inner(BaseModel):
    pass


class Values(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    above: float = Field(default=1, gt=0, lt=8)
    up_to: int = Field(default=1, ge=0, le=8)
    text: str = ""
    flag: bool = False
    many: list[int] = []
    few: tuple[int, ...] = ()
    table: dict[str, int] = {}
    inner: Inner = Inner()
    needed: int


def test_what_pydantic_says_of_a_value_has_korean():
    bad = [
        {"above": 0, "up_to": -1, "text": 1, "flag": "often", "many": 1, "few": 1, "table": 1, "inner": 1, "new": 1},
        {"above": 8, "up_to": 9, "flag": [], "needed": "many"},
        {"above": "x", "up_to": []},
        {"above": float("inf"), "up_to": 1.5},
        {"above": []},
    ]
    said = set()
    for given in bad:
        with pytest.raises(ValidationError) as caught:
            Values(**given)
        said |= {detail["msg"] for detail in caught.value.errors()}
    assert len(said) == len(VALIDATION)
    assert [text for text in said if not known_error(f"smoothing: {text}").endswith(("함", "필드"))] == []
    assert [text for text in said if "should" in known_error(f"smoothing: {text}")] == []


def test_reasons_in_an_error_are_told_in_korean_and_values_are_left_alone():
    with pytest.raises(RecipeError) as caught:
        recipe_from({"method": "float", "smoothing": 0.5})
    told = caught.value.told_in(korean, known_error, known_place, known_found)
    assert told.startswith("smoothing은(는) 방법 static, dynamic, qat의 설정인데 여기는 float"), told
    error = InputError("{} cannot be exported", got="logits that differ by 0.5")
    assert error.told_in(korean, known_error, known_place, known_found).endswith("받은 값: 로짓의 차이 0.5")
    for value in ("no rows", "meet at 5", "text", "yes, no", "the model has no label 'a'"):
        assert known_found(value) == value


def test_no_korean_is_left_of_a_sentence_that_nobody_says():
    trees = [[*ast.walk(ast.parse(path.read_text("utf-8")))] for path in SOURCES]
    said = "\n".join(
        one.value
        for tree in trees
        for one in tree
        if isinstance(one, ast.Constant) and one.value is not None and isinstance(one.value, str)
    )
    said += "".join(path.read_text("utf-8") for path in (ROOT / "src" / "octavo" / "reporting").glob("*.j2"))
    said = said.replace("{:.2f} ", "{:+.2f} ")  # reporting.comparison_tables puts the sign in
    built = {"one scale per output channel", "one scale per row"}
    whole = {text for tree in trees for node in tree for text in template(node, {})} | built
    assert [
        text for text in KOREAN | ELSEWHERE if text.replace("{:.2f} ", "{:+.2f} ") not in said and text not in whole
    ] == []
    told = ERRORS.keys() - VALIDATION.keys() | FOUND.keys() | {text for text in ELSEWHERE if "{}" in text}
    assert told - whole == set()


def test_steps_and_reasons_are_told_in_korean_where_they_are_known():
    starts = {
        node.args[0]
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "start" and node.args
    }
    names = [one.value for one in starts if isinstance(one, ast.Constant)]
    names += [one.values[0].value for one in starts if isinstance(one, ast.JoinedStr)]
    assert len(names) > 20
    assert [name for name in names if known_korean(name).partition(": ")[0] == name.partition(": ")[0]] == []
    assert known_korean("quantizing: dynamic") == "양자화: dynamic"
    assert known_korean("nobody knows: this") == "nobody knows: this"
    assert known_korean("kept by the rule '*.query: a'") == "규칙 '*.query: a'에 따라 float 유지"
    assert known_korean("by default, from affinity and control group").endswith("CPU 선호도와 컨트롤 그룹")


@pytest.fixture
def run(monkeypatch, capsys):
    def call(*arguments, locale="C"):
        monkeypatch.setenv("LC_ALL", locale)
        monkeypatch.setattr(sys, "argv", ["octavo", *map(str, arguments)])
        with warnings.catch_warnings(), pytest.raises(SystemExit) as end:
            main.run()
        out, err = capsys.readouterr()
        return end.value.code or 0, out, err

    yield call
    echo.speak("en")


def test_the_terminal_speaks_the_language_of_the_locale_or_the_one_asked_for(run, made_before):
    english = run("inspect", made_before)
    assert english == run("inspect", made_before, "--lang", "en", locale="ko_KR.UTF-8")
    code, out, err = run("inspect", made_before, locale="ko_KR.UTF-8")
    assert (code, out, err) == run("inspect", made_before, "--lang", "ko")
    assert "태스크 text-classification" in out
    assert "임베딩" in out
    assert "all weights" not in out
    assert out.count("\n") == english[1].count("\n")


def test_what_machines_read_is_in_no_language(run, made_before):
    asked = ("inspect", made_before, "--verify", "--json")
    assert run(*asked) == run(*asked, "--lang", "ko")
    assert json.loads(run(*asked, "--lang", "ko")[1])["verified"]["files"] > 3


def test_errors_have_korean_words(run):
    assert run("inspect", "없는 폴더", "--lang", "ko") == (
        2,
        "",
        "오류: 그런 파일이나 폴더가 없음; 받은 값: 없는 폴더\n",
    )
    assert run("inspect", "없는 폴더") == (2, "", "error: no such file or folder; got: 없는 폴더\n")
    code, out, err = run("doctor", "--lang", "de")
    assert (code, out) == (2, "")
    assert err == "error: unknown language; got: de; allowed: en, ko\n"


def test_problems_that_are_raised_together_are_told_line_by_line():
    with pytest.raises(InputError) as caught:
        raise_together([InputError("no rows", where="가.tsv"), DataError("no such column", got="x{}", allowed="y")])
    told = [one.told_in(korean, known_error) for one in caught.value.problems]
    assert told == ["데이터가 한 건도 없음 (가.tsv)", "그런 열이 없음; 받은 값: x{}; 허용되는 값: y"]
    assert str(caught.value) == "no rows in 가.tsv\nno such column; got: x{}; allowed: y"
