import dataclasses
import json
import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from markdown_it import MarkdownIt
from test_tables import COMPARISON, UNSCORED

from octavo.errors import DataError, InputError
from octavo.evaluation.comparison import Comparison
from octavo.reporting.charts import LogScale, Scale, boxes, scatter, whiskers
from octavo.reporting.languages import KOREAN, find_language, korean
from octavo.reporting.layer_heatmap import heat_cells, heat_level, other_cells
from octavo.reporting.page import notebook_html, report, report_html, report_markdown, summary_markdown
from octavo.schema.budget import Budget
from octavo.schema.comparison import Answer, DataRecord, Profile, read_comparison

ROOT = Path(__file__).parents[2]
BUDGET = Budget(max_drop=1.5, min_speedup=2.5, max_size=0.3, min_agreement=0.9)
FULL = dataclasses.replace(
    COMPARISON,
    truncated=3,
    texts=1342,
    data=DataRecord("test.tsv", "ef" * 32, 1340, 0),
    versions={"octavo": "0.1.0", "onnxruntime": "1.32.0"},
    command="octavo compare model out --data test.tsv",
).under(BUDGET)
ALONE = dataclasses.replace(COMPARISON, rows=COMPARISON.rows[:1])
ALL = [
    FULL,
    COMPARISON,
    UNSCORED,
    UNSCORED.under(Budget(min_agreement=0.9)),
    COMPARISON.under(Budget(max_drop=9)),
    ALONE,
]


class Page(HTMLParser):
    """Tags, words and attributes of a page; it must close what it opens."""

    EMPTY = ("meta", "br", "path", "rect", "circle")

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.words, self.attributes = [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words.append(data)


@pytest.mark.parametrize("language", ["en", "ko"])
@pytest.mark.parametrize("comparison", ALL)
def test_a_page_needs_nothing_else(comparison, language):
    text = report_html(comparison, language)
    page = Page(text)
    assert "script" not in page.tags
    assert "link" not in page.tags
    assert not re.search(r"https?:", text.replace("http://www.w3.org/2000/svg", ""))
    assert not [name for name, _ in page.attributes if name.startswith("on") or name in {"src", "href"}]
    assert page.tags.count("h1") == 1
    assert text.count(f'lang="{language}"') == 1


@pytest.mark.parametrize("comparison", ALL)
def test_drawings_are_well_formed_and_have_no_numbers_that_are_none(comparison):
    drawn = re.findall(r"<svg.*?</svg>", report_html(comparison), re.DOTALL)
    assert drawn
    for one in drawn:
        ET.fromstring(one)
        assert "nan" not in one
        assert "inf" not in one


def test_the_korean_page_has_no_english_sentence():
    words = " ".join(Page(report_html(FULL, "ko")).words)
    own = {
        "McNemar",
        "NaN",
        "MiB",
        "Octavo",
        "ms",
        "PASS",
        "FAIL",
        "UNSURE",
        "SHA",
        "KL",
        "CPU",
        "float",
        "dB",
        "up",
        "down",
        "out",
        "p",
    }
    names = " ".join(
        [FULL.command, *FULL.versions, *COMPARISON.rows[1].origin.layers, "korean-nli", "AMD EPYC avx2 torch test.tsv",
         "onnxruntime dynamic text-classification method", "macro", "e", "b", "q", "k", "v"]
    )  # fmt: skip
    known = own | set(re.findall(r"[A-Za-z]+", names))
    strange = {
        word for word in re.findall(r"[A-Za-z]{2,}", words) if word not in known and not re.fullmatch("[abcdef]+", word)
    }
    assert strange == {"F"} - {"F"}


def test_every_korean_sentence_has_the_fields_of_the_english_one():
    for text, translated in KOREAN.items():
        assert sorted(re.findall(r"\{.*?\}", text)) == sorted(re.findall(r"\{.*?\}", translated)), text
    with pytest.raises(KeyError):
        korean("nobody has said this")


def test_what_users_wrote_is_text_and_no_markup():
    text = report_html(FULL)
    assert "<b>재미" not in text
    assert "영화가 &lt;b&gt;재미&lt;/b&gt; | 없다" in text


def test_an_address_in_an_example_is_text_without_a_scheme():
    rows = list(FULL.rows)
    one = dataclasses.replace(rows[1].changed[0], text="봐라 https://example.org/a?b 그리고 http: 도")
    rows[1] = dataclasses.replace(rows[1], changed=(one,))
    text = report_html(dataclasses.replace(FULL, rows=tuple(rows)))
    assert "봐라 example.org/a?b 그리고  도" in text
    assert not re.search(r"https?:", text)


def test_every_place_of_the_page_that_can_be_gone_to_has_its_own_name():
    other = dataclasses.replace(FULL.rows[1], engine="openvino")
    page = Page(report_html(dataclasses.replace(FULL, rows=(*FULL.rows, other))))
    names = [value for name, value in page.attributes if name == "aria-label" and value.endswith("scroll sideways")]
    assert len(set(names)) == len(names) >= 6


def test_classes_and_lengths_are_drawn_apart_and_what_is_left_out_is_told():
    words = " ".join(Page(report_html(FULL)).words)
    assert "Groups of fewer than 10 rows are left out." in words
    assert re.search(r"class .*length", words[words.index("By class and by length") :])
    drawn = re.findall(r'aria-label="((?:class|length), [^"]*)"', report_html(FULL))
    assert drawn == ["class, 모델 (dynamic), onnxruntime", "length, 모델 (dynamic), onnxruntime"]


def test_changed_labels_are_first_and_the_rest_is_folded_behind_how_to_reproduce():
    example = FULL.rows[1].changed[0]
    assert example.before.label != example.after.label
    stayed = dataclasses.replace(example, text="그대로다", after=dataclasses.replace(example.before, score=0.7))
    rows = (FULL.rows[0], dataclasses.replace(FULL.rows[1], changed=(stayed, example)))
    text = report_html(dataclasses.replace(FULL, rows=rows))
    places = [
        text.index(told) for told in ("How to reproduce</h2>", "The most changed examples</h2>", "재미&lt;/b&gt;")
    ]
    folded = text.index("<summary>1 more, which moved less")
    assert [*places, folded, text.index("그대로다")] == sorted([*places, folded, text.index("그대로다")])
    markdown = report_markdown(FULL)
    assert markdown.index("## How to reproduce") < markdown.index("## The most changed examples")
    alone = dataclasses.replace(FULL, rows=(FULL.rows[0], dataclasses.replace(FULL.rows[1], changed=(stayed,))))
    assert "No label changed." in report_html(alone)


def test_of_answers_without_labels_the_few_that_moved_most_are_shown():
    example = dataclasses.replace(FULL.rows[1].changed[0], before=Answer(None, 0.9), after=Answer(None, 0.8))
    changed = tuple(dataclasses.replace(example, row=number) for number in range(8))
    text = report_html(
        dataclasses.replace(FULL, rows=(FULL.rows[0], dataclasses.replace(FULL.rows[1], changed=changed)))
    )
    assert "No label changed." not in text
    assert "<summary>3 more, which moved less" in text


def test_on_a_narrow_screen_models_stand_side_by_side():
    turned = re.findall(r'<table class="turned">.*?</table>', report_html(FULL), re.DOTALL)
    assert len(turned) == 2
    lines = re.findall(r"<tr>(.*?)</tr>", turned[0], re.DOTALL)
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", line) for line in lines]
    assert [row[0] for row in cells[:3]] == ["model", "engine", "accuracy"]
    assert all(len(row) == 1 + len(FULL.rows) for row in cells)


def test_models_without_numbers_are_left_out_of_the_drawing():
    broken = dataclasses.replace(
        FULL.rows[1], quality={}, differences={}, fidelity={}, closeness={}, groups=(), changed=(), not_finite=3
    )
    found = dataclasses.replace(FULL, rows=(*FULL.rows, broken)).under(BUDGET)
    text = report_html(found)
    Page(text)
    assert "3 of its answers are NaN or infinity" in text
    assert "NaN or infinity in 3 answers" in report_markdown(found)


def test_a_note_stands_under_the_first_sentence():
    found = dataclasses.replace(FULL, note="그림은 <다른> 데이터")
    assert "그림은 &lt;다른&gt; 데이터" in report_html(found, "ko")
    assert "그림은 &lt;다른&gt; 데이터" in report_markdown(found)


def test_the_page_says_what_the_terminal_says():
    words = " ".join(Page(report_html(FULL)).words)
    for told in (
        "-1.23 (-2.10 to -0.30)",
        "drop at most 1.50 points (below 0: it fell)",
        "McNemar's exact p 0.022",
        "UNSURE",
        "31.4",
        "ef" * 32,
    ):
        assert told in words
        assert told in report_markdown(FULL)


HOSTILE = "\x1b[31m빨강\u202e<img src=x>`![](http://x)|*"


@pytest.fixture(scope="module")
def hostile():
    """A comparison in which everything that users name is hostile."""
    rows = []
    for row in FULL.rows:
        groups = tuple(dataclasses.replace(group, kind="class", name=HOSTILE) for group in row.groups)
        answer = Answer(HOSTILE, 0.5)
        texts = {"text": HOSTILE, "text_pair": HOSTILE, "gold": HOSTILE, "before": answer, "after": answer}
        changed = tuple(dataclasses.replace(example, **texts) for example in row.changed)
        rows.append(dataclasses.replace(row, name=HOSTILE, groups=groups, changed=changed))
    assert any(row.groups and row.changed for row in rows)
    return dataclasses.replace(FULL, rows=tuple(rows), command=f"octavo {HOSTILE}\n```", note=HOSTILE)


def test_no_control_reaches_the_page_or_the_markdown(hostile):
    for text in (report_html(hostile), report_markdown(hostile), summary_markdown(hostile, hostile.rows[1:])):
        assert "빨강" in text
        assert not set(text) & set("\x1b\u202e")
    page = Page(report_html(hostile))
    assert "img" not in page.tags
    assert any("<img src=x>" in word for word in page.words)


def test_nothing_of_a_name_is_markup(hostile):
    for text in (report_markdown(hostile), summary_markdown(hostile, hostile.rows[1:])):
        tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)
        inner = [child.type for token in tokens for child in token.children or ()]
        assert not {"html_block"} & {token.type for token in tokens}
        assert not {"html_inline", "image", "link_open", "em_open", "s_open", "code_inline"} & set(inner)
        assert inner.count("strong_open") == 1  # of the headline
    (fence,) = [token for token in MarkdownIt().parse(report_markdown(hostile)) if token.type == "fence"]
    assert fence.content.count("빨강") == 1


def test_markdown_is_whole():
    text = report_markdown(FULL, "ko")
    assert text.startswith("# 모델 비교 보고서\n")
    assert "| 17 | 영화가 &lt;b&gt;재미&lt;/b&gt; \\| 없다 | 부정 | 긍정 0.510 | 부정 0.520 | 0.030 |" in text
    assert FULL.command in text


def test_a_card_gets_the_row_and_the_baseline():
    both = (FULL.rows[1], dataclasses.replace(FULL.rows[1], engine="openvino"))
    assert summary_markdown(FULL, both).count("UNSURE: drop at most 1.50 points (below 0: it fell)") == 2
    text = summary_markdown(FULL, FULL.rows[1:])
    assert text.startswith("## Comparison\n")
    assert "korean-nli (float)" in text
    assert "UNSURE: drop at most 1.50 points (below 0: it fell)" in text


def test_a_notebook_shows_the_page_in_a_frame(monkeypatch):
    monkeypatch.setenv("LC_ALL", "ko_KR.UTF-8")
    frame = Comparison(**vars(COMPARISON))._repr_html_()
    assert frame == notebook_html(COMPARISON)
    (source,) = [value for name, value in Page(frame).attributes if name == "srcdoc"]
    assert source == report_html(COMPARISON, "ko")


@pytest.mark.parametrize(("language", "name"), [("en", "sample-report.html"), ("ko", "sample-report.ko.html")])
def test_the_sample_reports_are_drawn_from_what_is_stored(language, name):
    (stored,) = (ROOT / "bench" / "results").glob("sample-report-*.json")
    page = (ROOT / "docs" / name).read_text(encoding="utf-8")
    note = re.search(r'<p class="soft">([^<]*pairs\.tsv[^<]*)</p>', page)
    assert note, "it says that the examples are not of the data that the figures are of"
    told = dataclasses.replace(read_comparison(stored), note=unescape(note[1]))
    assert page == report_html(told, language), "run bench/sample_report.py --render"


@pytest.mark.parametrize(
    "comparison",
    [*ALL, dataclasses.replace(FULL, profile=(Profile("a", 3, {"attention": 0.5}, {"Gelu": 0.1}, None, 2e9),))],
)
def test_json_is_the_whole_truth(comparison, tmp_path):
    file = tmp_path / "결과.json"
    report(comparison, file)
    again = read_comparison(file)
    assert again == comparison
    for language in ("en", "ko"):
        assert report_html(again, language) == report_html(comparison, language)


def test_a_report_in_another_format_or_place(tmp_path):
    with pytest.raises(
        InputError, match=r"a report's ending says what it is.*got: out\.pdf.*allowed: \.html, \.md, \.json"
    ):
        report(COMPARISON, tmp_path / "out.pdf")
    with pytest.raises(InputError, match="cannot be written there"):
        report(COMPARISON, tmp_path / "없다" / "out.html")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda fields: "no json", "not a readable JSON file"),
        (lambda fields: json.dumps([1]), "not a comparison that Octavo wrote"),
        (lambda fields: json.dumps(fields | {"format": "octavo-comparison-9"}), "allowed: octavo-comparison-1"),
        (lambda fields: json.dumps(fields | {"threads": "many"}), "got: threads: "),
        (lambda fields: json.dumps({**fields, "rows": [{}]}), r"got: rows\.0\.name: "),
    ],
)
def test_json_that_is_no_comparison(change, told, tmp_path):
    file = tmp_path / "a.json"
    report(COMPARISON, file)
    file.write_text(change(json.loads(file.read_text(encoding="utf-8"))), encoding="utf-8")
    with pytest.raises(DataError, match=told):
        read_comparison(file)


@pytest.mark.parametrize(
    ("setting", "language"), [("ko_KR.UTF-8", "ko"), ("en_US.UTF-8", "en"), ("C", "en"), ("", "en"), ("KO", "ko")]
)
def test_the_language_is_that_of_the_locale(setting, language, monkeypatch):
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANG", setting)
    assert find_language() == language
    assert find_language("en") == "en"
    with pytest.raises(InputError, match="unknown language"):
        find_language("de")


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (51.2, 51.9), (0.0, 3141.0), (-0.003, 0.004)])
def test_ticks_are_round_and_few(low, high):
    ticks = Scale(low, high, 0, 400).ticks()
    assert 3 <= len(ticks) <= 6
    assert all(low - 1e-9 <= tick <= high + 1e-9 for tick in ticks)
    step = ticks[1] - ticks[0]
    assert f"{step:.6e}"[0] in "125"


def test_a_scale_is_linear_and_keeps_within_the_drawing():
    scale = Scale(10, 20, 100, 300)
    assert [scale.at(value) for value in (10, 15, 20, 25, 0)] == [100, 200, 300, 300, 100]


@pytest.mark.parametrize(("low", "high"), [(1.0, 20.0), (5.1, 5.9), (0.4, 3141.0), (1e-3, 1e5), (2.0, 700.0)])
def test_ticks_of_a_logarithmic_axis_are_few_and_within_it(low, high):
    scale = LogScale(low, high, 28, 388)
    ticks = scale.ticks()
    assert 3 <= len(ticks) <= 6
    assert all(low * (1 - 1e-9) <= tick <= high * (1 + 1e-9) for tick in ticks)
    places = [scale.at(tick) for tick in ticks]
    assert places == sorted(set(places))
    assert (scale.at(low), scale.at(high), scale.at(0.0), scale.at(1e9)) == (28, 388, 28, 388)
    assert scale.at((low * high) ** 0.5) == pytest.approx(208)


def test_one_slow_row_does_not_squeeze_the_others():
    """Strokes of 2 and 4 ms stay a tenth of the drawing apart where another row took 600, which is drawn too."""
    drawn = boxes([[2.0, 4.0, 600.0], [2.0, 2.0, 0.0]], ("a", "b"))
    strokes = [float(x) for x in re.findall(r"M([\d.]+) ", re.findall(r'class="dots" d="(.*?)"', drawn)[0])]
    assert len(strokes) == 3
    assert strokes[1] - strokes[0] > 18
    assert strokes[2] <= 388


def test_a_point_stands_where_its_numbers_say():
    drawn = ET.fromstring(scatter([((1, 2, 3), (50, 55, 60)), ((1, 1, 1), (50, 50, 50))], ("a", "b", "c"), (2.0, 52.0)))
    circle = drawn.find(".//circle[@class='mark']").attrib
    across, up = Scale(0, 1.08 * 3, 52, 388), Scale(50 - 0.8, 60 + 0.8, 250, 12)
    assert float(circle["cx"]) == pytest.approx(across.at(2), abs=0.06)
    assert float(circle["cy"]) == pytest.approx(up.at(55), abs=0.06)
    band = drawn.find(".//rect[@class='band']").attrib
    assert float(band["x"]) + float(band["width"]) == pytest.approx(across.at(2), abs=0.11)
    assert float(band["y"]) + float(band["height"]) == pytest.approx(up.at(52), abs=0.11)


def test_boxes_and_whiskers_have_a_row_each():
    drawn = ET.fromstring(boxes([[1.0, 2.0, 3.0], [5.0, 5.0, 5.0]], ("a", "b")))
    assert len(drawn.findall(".//rect[@class='box']")) == 2
    drawn = ET.fromstring(
        whiskers([("<가>", (-1, 0, 1)), ("아주 긴 클래스 이름이 여기에 있습니다", (0, 0, 0))], ("a", "b"), 1)
    )
    texts = [one.text for one in drawn.findall("text")]
    assert "<가>" in texts
    assert max(len(text) for text in texts if text) <= 20


def test_layers_find_their_place_in_the_map():
    errors = {
        "bert.encoder.layer.1.attention.self.{query,key,value}": 30.0,
        "bert.encoder.layer.0.attention.self.key": 28.0,
        "bert.encoder.layer.0.attention.output.dense": 27.0,
        "bert.encoder.layer.0.intermediate.dense": 26.0,
        "bert.encoder.layer.0.output.dense": 15.0,
        "distilbert.transformer.layer.2.ffn.lin2": 40.0,
        "albert.encoder.albert_layer_groups.0.albert_layers.0.attention.key": 20.0,
        "classifier": 25.0,
    }
    assert heat_cells(errors) == [
        ["block", "q", "k", "v", "out", "up", "down"],
        ["0", "", "20.0", "", "27.0", "26.0", "15.0"],
        ["1", "30.0", "30.0", "30.0", "", "", ""],
        ["2", "", "", "", "", "", "40.0"],
    ]
    assert other_cells(errors) == [["layer", "dB"], ["classifier", "25.0"]]
    assert [heat_level(value) for value in (5.0, 20.0, 29.0, 35.0)] == [0, 1, 2, 4]
    assert heat_cells({"classifier": 25.0}) == []
