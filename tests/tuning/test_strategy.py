"""The strategy over measurements that are drawn: what it asks for, what it chooses, and what it says of the chosen."""

import numpy as np
import pytest
import scipy.stats

from octavo.errors import InputError
from octavo.schema.budget import Budget
from octavo.schema.recipe import Recipe
from octavo.schema.search import FLOAT, Candidate
from octavo.tuning.run import Run
from octavo.tuning.strategy import search_steps
from octavo.tuning.study import Study

DYNAMIC, STATIC = Candidate(Recipe(method="dynamic")), Candidate(Recipe(method="static"))
HALF = Candidate(Recipe(method="float", storage="float16"))


def run_to_end(measurer, space, budget=None, aim="speed", late=()):
    run = Run(measurer, Study(), budget or Budget(max_drop=1.0), aim)
    steps, trials = search_steps(run, space, late), []
    while True:
        try:
            trials.append(next(steps))
        except StopIteration as end:
            return end.value, trials


def drop(trial):
    found = trial.quality.differences["accuracy"]
    return -found.value, -found.high, -found.low


class TestWinnersCurse:
    def test_the_figure_that_is_reported_is_unbiased_and_its_interval_holds(self, simulated, equals):
        """Among twenty candidates that lose 0.8 points each the best-looking one looks better than it is."""
        shares = {"wrong": lambda _: 0.02, "mended": lambda _: 0.04}
        true = 0.8 * 0.02 - 0.2 * 0.04
        chosen_by, reported, held = [], [], 0
        for seed in range(200):
            outcome, _ = run_to_end(simulated(seed, **shares), equals, Budget(max_drop=2.5), "quality")
            value, low, high = drop(outcome.confirmed)
            chosen_by.append(drop(outcome.selected)[0] - true)
            reported.append(value - true)
            held += low <= true <= high
        error = np.std(reported) / np.sqrt(200)
        assert np.mean(chosen_by) < -5 * error  # the curse is there
        assert abs(np.mean(reported)) < 3 * error
        assert 180 <= held <= 198  # 95 % of 200, and 3.2 standard deviations of that count below


class TestWhatIsMeasured:
    def test_clear_failures_are_not_measured_in_full(self, simulated):
        measurer = simulated(wrong=lambda one: 0.3 if one.recipe.method == "dynamic" else 0.004)
        outcome, _ = run_to_end(measurer, [DYNAMIC, STATIC])
        rows = [(key, rows) for key, split, rows in (one for one in measurer.asked if one[0] != "speeds")]
        assert (DYNAMIC.key, 150) in rows
        assert (DYNAMIC.key, 1500) not in rows
        assert (STATIC.key, 1500) in rows
        assert outcome.chosen == STATIC

    def test_unsure_ones_are_measured_on_more_examples(self, simulated):
        measurer = simulated(selection=40_000, wrong=lambda _: 0.0135, mended=lambda _: 0.02)
        outcome, trials = run_to_end(measurer, [STATIC])
        waves = [trial.rows for trial in trials if trial.step == "more"]
        assert waves
        assert waves[0] > 2000
        assert outcome.selected.verdict == "PASS"
        assert outcome.selected.rows == waves[-1]

    def test_the_chosen_one_is_confirmed_on_the_other_split_and_nothing_else_is(self, simulated, equals):
        measurer = simulated(wrong=lambda _: 0.004)
        outcome, _ = run_to_end(measurer, equals)
        asked = [one for one in measurer.asked if "confirmation" in one]
        assert asked == [(outcome.chosen.key, "confirmation", 1500), ("speeds", "confirmation", outcome.chosen.key)]

    def test_labels_that_are_not_there_are_told_at_once(self, simulated):
        with pytest.raises(InputError, match="cosine"):
            run_to_end(simulated(), [STATIC], Budget(min_cosine=0.99))


class TestChoice:
    @pytest.mark.parametrize(("aim", "best"), [("speed", DYNAMIC), ("latency", DYNAMIC), ("size", STATIC)])
    def test_by_the_aim(self, simulated, aim, best):
        measurer = simulated(
            wrong=lambda _: 0.002,
            mended=lambda _: 0.0,
            speed=lambda one: 3.0 if one == DYNAMIC else 2.0,
            size=lambda one: 30 if one == DYNAMIC else 20,
        )
        outcome, _ = run_to_end(measurer, [STATIC, DYNAMIC], aim=aim)
        assert (outcome.chosen, outcome.verdict) == (best, "PASS")
        assert set(outcome.front) == {STATIC, DYNAMIC, FLOAT}

    def test_static_int8_without_factors_is_timed_beside_two_of_those_with_them(self, simulated):
        """It is the riskiest of the static ones, and the fastest: a factor that is not folded is a multiplication."""
        plain = Candidate(Recipe(method="static", smoothing="none"))
        smoothed = [STATIC, *(Candidate(Recipe(method="static", observer=one)) for one in ("mse", "percentile"))]
        measurer = simulated(
            wrong=lambda one: 0.006 if one == plain else 0.002, speed=lambda one: 2.2 if one == plain else 2.0
        )
        outcome, _ = run_to_end(measurer, [*smoothed, plain], Budget(max_drop=2.0))
        (timed,) = [one for one in measurer.asked if one[:2] == ("speeds", "selection")]
        assert plain.key in timed
        assert len({one.key for one in smoothed} & {*timed}) == 2
        assert outcome.chosen == plain

    def test_the_faster_one_is_left_where_it_breaks_the_budget(self, simulated):
        measurer = simulated(
            wrong=lambda one: 0.1 if one == DYNAMIC else 0.002, speed=lambda one: 3.0 if one == DYNAMIC else 2.0
        )
        assert run_to_end(measurer, [DYNAMIC, STATIC])[0].chosen == STATIC

    def test_a_speed_that_is_asked_for_and_not_reached_fails(self, simulated):
        outcome, _ = run_to_end(simulated(wrong=lambda _: 0.002), [STATIC], Budget(max_drop=1.0, min_speedup=3.0))
        assert (outcome.chosen, outcome.verdict) == (STATIC, "FAIL")

    def test_a_speed_that_is_asked_for_and_cannot_be_measured_once_more_is_unsure(self, simulated):
        class Broken(simulated):
            def speeds(self, candidates, split):
                return super().speeds(candidates, split) if split == "selection" else ["멈춤"] * len(candidates)

        measurer = Broken(wrong=lambda _: 0.002)
        outcome, _ = run_to_end(measurer, [STATIC], Budget(max_drop=2.0, min_speedup=1.5))
        assert (outcome.chosen, outcome.verdict, outcome.speed) == (STATIC, "UNSURE", None)
        assert {one.name: one.verdict for one in outcome.confirmed.checks} == {
            "max_drop": "PASS",
            "min_speedup": "UNSURE",
        }
        assert run_to_end(measurer, [STATIC], Budget(max_drop=2.0))[0].verdict == "PASS"

    def test_a_table_of_4_bits_is_timed_beside_safer_ones_of_8(self, simulated):
        """Its graph is another one, so the two safest of equal speed do not stand for it."""
        space = [Candidate(Recipe(method="static", observer=name)) for name in ("minmax", "mse", "percentile")]
        small = Candidate(Recipe(method="static", embedding="int4"))
        measurer = simulated(
            wrong=lambda one: 0.004 if one == small else 0.002, size=lambda one: 20 if one == small else 25
        )
        assert run_to_end(measurer, [*space, small], Budget(max_drop=3.0), "size")[0].chosen == small

    def test_few_examples_end_unsure_with_how_many_would_do(self, simulated):
        measurer = simulated(selection=120, confirmation=120, wrong=lambda _: 0.02, mended=lambda _: 0.05)
        outcome, _ = run_to_end(measurer, [STATIC])
        assert (outcome.chosen.recipe.method, outcome.verdict) == ("static", "UNSURE")
        assert outcome.rows_needed > 120

    def test_where_int8_collapses_16_bits_are_taken_and_then_nothing(self, simulated):
        def broken(one):
            return 0.5 if one.recipe.method != "float" else 0.0

        measurer = simulated(wrong=broken, mended=lambda _: 0.0)
        outcome, trials = run_to_end(measurer, [DYNAMIC, STATIC], late=[HALF])
        assert (outcome.chosen, outcome.verdict) == (HALF, "PASS")
        steps = {trial.step for trial in trials}
        assert {"ladder: other observer", "ladder: smoothing strength", "ladder: per-token activations"} <= steps
        outcome, _ = run_to_end(simulated(wrong=broken), [DYNAMIC, STATIC])
        assert (outcome.chosen, outcome.verdict) == (FLOAT, "FAIL")


LAYERS = [(f"encoder.layer.{n}.output.dense", "linear", "int8", 20.0 + n) for n in range(12)]
BAD = {"encoder.layer.3.output.dense", "encoder.layer.7.output.dense"}


def kept(candidate):
    return {rule.match for rule in candidate.recipe.layers if rule.keep in {"float", "float16"}}


def broken_layers(candidate):
    """Answers are lost to each bad layer that is int8."""
    if candidate.recipe.method == "float":
        return 0.0
    floats = kept(candidate)
    if "*" in floats:
        floats = {path for path, *_ in LAYERS} - {candidate.recipe.layers[-1].match}
    return 0.001 + 0.05 * len(BAD - floats)


class TestRepair:
    def test_it_is_not_begun_where_too_few_examples_could_show_that_it_helped(self, simulated):
        measurer = simulated(selection=150, wrong=lambda _: 0.02)
        outcome, trials = run_to_end(measurer, [STATIC], Budget(min_agreement=0.99))
        assert outcome.verdict != "PASS"
        assert not [trial for trial in trials if trial.step.startswith("ladder")]

    def test_the_layers_that_break_it_are_kept_float_and_no_others(self, simulated):
        measurer = simulated(wrong=broken_layers, mended=lambda _: 0.0, layers=lambda _: LAYERS)
        outcome, trials = run_to_end(measurer, [STATIC])
        assert outcome.verdict == "PASS"
        assert kept(outcome.chosen) == BAD
        found = outcome.sensitivity[0]
        assert {one.path for one in found.layers[:2]} == BAD
        assert len(found.layers) == 10
        noise, damage = zip(*((-layer.decibels, layer.moved) for layer in found.layers), strict=True)
        assert found.correlation == pytest.approx(scipy.stats.spearmanr(noise, damage).statistic)
        assert {trial.step for trial in trials} >= {"sensitivity", "ladder: worst layers float"}
        asked = {key for key, *_ in measurer.asked}
        assert len(asked) < 35

    def test_the_rank_correlation_is_that_of_noise_and_damage(self, simulated):
        def by_noise(one):
            int8 = [rule.match for rule in one.recipe.layers if rule.keep == "int8"]
            return sum(0.2 - (decibels - 20) / 100 for path, _, _, decibels in LAYERS if path in int8) or 0.4

        outcome, _ = run_to_end(simulated(wrong=by_noise, layers=lambda _: LAYERS), [STATIC], late=[HALF])
        assert outcome.sensitivity[0].correlation == pytest.approx(1.0)
