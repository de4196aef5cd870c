"""Texts in Markdown stay the texts that they are: read by another library, they come out as they went in."""

from html import unescape

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from octavo.reporting.markdown import bullets, code, code_block, plain, table

READER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
TEXTS = st.text(st.sampled_from("ab 1._-*`<>&|[]()!#~\\$\"'가나:/=+") | st.characters(categories=["L", "N", "P", "S"]))
HOSTILE = [
    "<script>alert(1)</script>",
    "![그림](http://x/y.png)",
    "[누르세요](http://x)",
    "`코드`",
    "a|b",
    "**굵게** _기울게_ ~~지움~~",
    "<!-- octavo compare -->",
    "&lt;b&gt;",
    "끝\\",
    "# 제목",
    "1. 하나",
    "- 하나",
    "```",
]


def read(tokens):
    """The text of an inline token, and the kinds of what is in it."""
    kinds = {child.type for child in tokens} - {"text", "text_special"}
    return "".join(child.content for child in tokens), kinds


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts(text):
    (_, inline, *_), page = READER.parse(f"## {plain(text)}"), READER.render(table([["이름"], [text]]))
    assert read(inline.children) == (text, set())
    assert "<script" not in page
    assert page.count("<td>") == 1
    listed = READER.parse(bullets([text]))
    assert [token.type for token in listed if token.type.endswith("_open")] == [
        "bullet_list_open",
        "list_item_open",
        "paragraph_open",
    ]
    assert read(listed[3].children) == (text, set())


@example(text="__0__")
@given(text=TEXTS)
def test_any_text_comes_out_as_it_went_in(text):
    text = " ".join(text.split())
    assert unescape(READER.renderInline(plain(text))) == text
    rendered = READER.render(table([["x", "y"], [text, "z"]]))
    assert rendered.count("<td>") == 2
    cell = rendered.partition("<td>")[2].partition("</td>")[0]
    assert unescape(cell) == text
    if text:
        assert unescape(READER.renderInline(code(text))) == f"<code>{text}</code>"
        (block,) = READER.parse(code_block(text))
        assert (block.type, block.content) == ("fence", text + "\n")


def test_names_as_they_usually_are_stay_readable():
    for text in ("klue/roberta-base", "ko_nli (int8), onnxruntime", "-0.34 (-0.71 ~ +0.02)", "1,340 rows"):
        assert plain(text) == text
    assert code("klue/roberta-base") == "`klue/roberta-base`"


def test_lines_and_control_characters():
    assert plain("a\r\nb\tc") == "a b c"
    assert plain("\x1b[31m\u202e") == r"\\x1b\[31m\\u202e"
    assert code_block("a\nb\x1b") == "```\na\nb\\x1b\n```"
