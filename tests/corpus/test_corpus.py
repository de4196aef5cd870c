"""Broken inputs end in one line: the fixed part of the corpus, which `make corpus` runs whole (see run.py)."""

import json

import pytest
import threads
from run import FAMILY_NAMES, all_cases, fixed_cases, main

import forked_worker
import octavo

CASES = all_cases()
FIXED = fixed_cases(CASES)
KILLS = 2


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What came of each case: title -> its faults and what was said. One process forks them all."""
    file = tmp_path_factory.mktemp("corpus") / "found.json"
    process = forked_worker.start(main, ["--fixed", "--kills", str(KILLS), "--json", str(file)])
    process.join(300)
    if process.is_alive():
        process.kill()
        pytest.fail("it takes too long")
    assert file.exists(), f"exit code {process.exitcode}"
    return {one["title"]: one for one in json.loads(file.read_text(encoding="utf-8"))}


def test_the_corpus_is_large_and_of_all_families():
    assert len(CASES) >= 300
    assert {case.family for case in CASES} == {case.family for case in FIXED} == set(FAMILY_NAMES)
    assert len(FIXED) > 90


@pytest.mark.parametrize("title", [case.title for case in FIXED])
def test_a_broken_input_ends_in_one_line(found, title):
    assert found[title]["faults"] == [], found[title]


def test_a_killed_run_leaves_an_artifact_whole(found):
    killed = [one for title, one in found.items() if title.startswith("killed")]
    assert len(killed) == KILLS
    assert [fault for one in killed for fault in one["faults"] if fault.startswith("lost")] == []


def test_threads_get_the_answers_that_one_thread_gets(made_before):
    predictor = octavo.load(made_before, threads=1)
    difference, asked, grown = threads.ask_together(predictor, 2)
    assert (difference, asked > threads.THREADS) == (0.0, True)
    assert grown < 32 << 20
