"""The study: what a killed search keeps, what it may be taken up with, and that it then ends as if nothing had been."""

import random
from dataclasses import replace

import pytest
from test_strategy import DYNAMIC, STATIC, broken_layers

from octavo.errors import DataError, InputError
from octavo.reporting.search_page import search_html, search_markdown
from octavo.schema.budget import Budget
from octavo.schema.recipe import LayerRule, Recipe
from octavo.schema.search import Candidate, Identity, Machine, line_of, read_study
from octavo.tuning.run import Run
from octavo.tuning.search import Search
from octavo.tuning.strategy import search_steps
from octavo.tuning.study import Study

IDENTITY = Identity(
    source="한국어-모델",
    source_sha256="a" * 64,
    task="text-classification",
    data="검색.tsv",
    data_sha256="b" * 64,
    reading="columns {}",
    seed=0,
    target="any",
    versions={"octavo": "0"},
    machine=Machine("a CPU", "avx2", 2),
    budget=Budget(max_drop=1.0),
    aim="speed",
    together="examples that share a text",
    splits={"calibration": [], "selection": ["0"], "confirmation": ["1"]},
)
LAYERS = [(f"encoder.layer.{n}.output.dense", "linear", "int8", 20.0 + n) for n in range(12)]
SPACE = [DYNAMIC, STATIC, Candidate(Recipe(method="weight-only"))]


def search(path, measurer, identity=IDENTITY):
    study = Study(identity, path)
    steps = search_steps(Run(measurer, study, identity.budget, identity.aim), SPACE)
    try:
        while True:
            next(steps)
    except StopIteration as end:
        study.end(end.value)
        return end.value
    finally:
        study.close()


def told(outcome):
    """An outcome but for how long it took."""
    trials = {name: replace(getattr(outcome, name), seconds=0.0) for name in ("selected", "confirmed")}
    return replace(outcome, **trials)


@pytest.fixture
def hard(simulated):
    """A measurer of a model whose static int8 is destroyed by two layers: a long search with a ladder."""

    def make(**settings):
        return simulated(
            wrong=lambda one: broken_layers(one) if one.recipe.method == "static" else 0.002 + 0.3 * (one == DYNAMIC),
            speed=lambda one: 3.0 if one.recipe.method == "static" else 1.5,
            layers=lambda _: LAYERS,
            **settings,
        )

    return make


class TestKilled:
    def test_at_any_point_and_taken_up_it_ends_as_if_it_had_not_been(self, tmp_path, hard):
        whole = hard()
        expected = search(tmp_path / "whole.jsonl", whole)
        assert expected.chosen.recipe.layers
        assert told(search(tmp_path / "again.jsonl", hard())) == told(expected)  # the same seed, the same choice
        draw = random.Random(5)
        for number in range(20):
            path, measured = tmp_path / f"{number}.jsonl", 0
            first = hard(dies_at=draw.randrange(len(whole.asked)))
            with pytest.raises(KeyboardInterrupt):
                search(path, first)
            content = path.read_bytes()
            lost = draw.choice([0, draw.randrange(1, len(content.splitlines()[-1]))])  # a line that was half written
            path.write_bytes(content[: len(content) - lost])
            measured += len(first.asked)
            second = hard()
            outcome = search(path, second)
            assert told(outcome) == told(expected)
            assert measured + len(second.asked) <= len(whole.asked) + 4  # what was running, and the lost line

    def test_a_finished_study_is_not_measured_again(self, tmp_path, hard):
        expected = search(tmp_path / "s.jsonl", hard())
        measurer = hard()
        assert search(tmp_path / "s.jsonl", measurer).chosen == expected.chosen
        assert measurer.asked == []

    def test_what_was_timed_on_a_busy_machine_is_timed_again_when_it_is_taken_up(self, tmp_path, hard):
        path, first, then = tmp_path / "s.jsonl", hard(), hard()
        taken = first.speeds
        first.speeds = lambda *asked: [replace(one, busy=True) for one in taken(*asked)]
        budget = {"identity": replace(IDENTITY, budget=Budget(max_drop=1.0, min_speedup=1.5))}
        assert search(path, first, **budget).verdict == "UNSURE"
        outcome = search(path, then, **budget)
        assert (outcome.verdict, outcome.speed.busy) == ("PASS", None)
        assert {name for name, *_ in then.asked} == {"speeds"}  # and nothing else is measured again
        third = hard()
        assert search(path, third, **budget).verdict == "PASS"
        assert third.asked == []

    def test_each_trial_is_on_the_disk_before_the_next(self, tmp_path, hard):
        path = tmp_path / "s.jsonl"
        study = Study(IDENTITY, path)
        steps = search_steps(Run(hard(), study, IDENTITY.budget, "speed"), SPACE)
        for count in range(1, 6):
            next(steps)
            assert len(read_study(path).trials) == count
        study.close()

    def test_another_budget_takes_up_the_measurements(self, tmp_path, hard):
        search(tmp_path / "s.jsonl", hard())
        measurer = hard()
        outcome = search(tmp_path / "s.jsonl", measurer, replace(IDENTITY, budget=Budget(max_drop=20.0)))
        assert outcome.chosen.recipe == Recipe(method="static")
        assert len(measurer.asked) < 8
        record = read_study(tmp_path / "s.jsonl")
        assert record.identity.budget == Budget(max_drop=20.0)
        static = [one for one in record.trials if one.candidate == STATIC and one.quality and one.split == "selection"]
        assert [one.verdict for one in static][-1] == "PASS"
        assert len({one.measures for one in record.trials}) == len(record.trials)


def test_picking_a_point_writes_no_study(tmp_path, hard):
    """Else a line of another budget would hide how the search ended, or a study would begin that is of nothing."""
    path = tmp_path / "s.jsonl"
    search(path, hard())
    before = path.read_bytes()
    loose = replace(IDENTITY, budget=Budget(max_drop=20.0))
    with pytest.raises(InputError, match="no such point"):
        Search(loose, tmp_path / "x", path, None, None).pick(99)
    with pytest.raises(InputError, match="another model"):
        Search(replace(IDENTITY, source_sha256="c" * 64), tmp_path / "x", path, None, None).pick(1)
    assert path.read_bytes() == before
    with pytest.raises(DataError, match="cannot be read"):
        Search(loose, tmp_path / "x", tmp_path / "없음.jsonl", None, None).pick(1)
    assert not (tmp_path / "없음.jsonl").exists()


class TestOfSomethingElse:
    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"source_sha256": "c" * 64}, "another model"),
            ({"answers_sha256": "c" * 64}, "another tokenizer"),
            ({"data_sha256": "c" * 64}, "other data"),
            ({"splits": {"selection": ["7"]}}, "other splits"),
            ({"versions": {"octavo": "1"}}, "other versions"),
            ({"machine": Machine("another", "avx512", 2)}, "another kind of CPU"),
            ({"machine": Machine("another", "avx2", 8)}, "speeds of another machine"),
        ],
    )
    def test_it_is_refused(self, tmp_path, hard, change, words):
        path = tmp_path / "연구.jsonl"
        search(path, hard())
        before = path.read_bytes()
        with pytest.raises(InputError, match=words):
            Study(replace(IDENTITY, **change), path)
        assert path.read_bytes() == before

    def test_quality_is_taken_over_to_a_machine_of_the_same_kind(self, tmp_path, hard):
        path, first = tmp_path / "s.jsonl", hard(dies_at=3)
        with pytest.raises(KeyboardInterrupt):
            search(path, first)
        study = Study(replace(IDENTITY, machine=Machine("another", "avx2", 8)), path)
        assert len(study.trials) == 3
        study.close()

    def test_two_searches_do_not_write_one_study(self, tmp_path):
        first = Study(IDENTITY, tmp_path / "s.jsonl")
        with pytest.raises(InputError, match="another search"):
            Study(IDENTITY, tmp_path / "s.jsonl")
        first.close()

    @pytest.mark.parametrize("text", ['{"format": "octavo-comparison-1"}\n', "연구가 아님\n", "[]\n"])
    def test_another_file_is_no_study_and_stays(self, tmp_path, text):
        path = tmp_path / "s.jsonl"
        path.write_text(text, encoding="utf-8")
        with pytest.raises(DataError, match="line 1"):
            Study(IDENTITY, path)
        assert path.read_text(encoding="utf-8") == text

    def test_a_file_without_a_line_end_is_not_overwritten(self, tmp_path):
        path = tmp_path / "s.jsonl"
        path.write_text("메모", encoding="utf-8")
        with pytest.raises(DataError, match="no study"):
            Study(IDENTITY, path)
        assert path.read_text(encoding="utf-8") == "메모"

    def test_what_a_kill_left_of_the_first_line_is_begun_anew(self, tmp_path):
        path = tmp_path / "s.jsonl"
        path.write_text(line_of(IDENTITY)[:100], encoding="utf-8")
        Study(IDENTITY, path).close()
        assert read_study(path).identity == IDENTITY


@pytest.mark.parametrize("language", ["en", "ko"])
def test_the_report_tells_the_ladder_the_layers_and_what_was_dropped(tmp_path, hard, language):
    found = search(tmp_path / "s.jsonl", hard(), replace(IDENTITY, source="<b>모델</b> http://x"))
    record = read_study(tmp_path / "s.jsonl")
    page, text = search_html(record, language), search_markdown(record, language)
    for said in ("encoder.layer.3.output.dense", found.chosen.name, DYNAMIC.name):
        assert said in page
        assert said.replace("_", r"\_") in text
    assert page.count("<svg") > 2
    assert "\nmethod = &#34;static&#34;\n" in page
    assert "<b>" not in page
    assert "http:" not in page
    assert ("여러" in page or "단계별 복구" in page) == (language == "ko")
    assert 'match = "encoder.layer.3.output.dense"' in text
    told = "혼자 int8일 때" if language == "ko" else "stays float: in int8, alone, it moved answers by 0.0"
    assert page.count(told) == 2  # a reason for each of the two


def test_a_study_that_has_not_ended_has_a_report(tmp_path, hard):
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path / "s.jsonl", hard(dies_at=3))
    assert "탐색이 아직 끝나지 않았습니다" in search_html(read_study(tmp_path / "s.jsonl"), "ko")


def test_a_recipe_with_rules_goes_to_a_line_and_back(tmp_path, simulated):
    rule = LayerRule(match="층.*", keep="float")
    one = Candidate(Recipe(method="dynamic", format="torch", granularity="token", layers=(rule,)), "torch")
    study = Study(IDENTITY, tmp_path / "s.jsonl")
    (trial,) = Run(simulated(), study, IDENTITY.budget, "speed").qualities([one], 50, "subset")
    study.close()
    assert read_study(tmp_path / "s.jsonl").trials == (trial,)
