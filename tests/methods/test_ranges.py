"""Static ranges that hold for texts unlike the examples: Octavo's own among them, and a margin behind heavy tails."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import octavo
from octavo.data.sentences import SENTENCES
from octavo.encoding.sample_texts import FIXED
from octavo.methods import static
from octavo.methods.static import MARGIN, with_margin

DEMO = Path(__file__).resolve().parents[2] / "examples" / "korean-nli"


@pytest.mark.parametrize(("degrees", "heavy"), [(3, True), (200, False)])
def test_a_heavy_tail_has_a_margin_and_a_light_one_hardly_any(degrees, heavy):
    """Draws of Student's t: of three degrees of freedom many later draws would leave the extremes of the first."""
    growth, passed = [], []
    for seed in range(40):
        generator = np.random.default_rng(seed)
        every, later = generator.standard_t(degrees, 6000), generator.standard_t(degrees, 6000)
        ends = {"low": every.min(keepdims=True), "high": every.max(keepdims=True)}
        low, high = with_margin((every.min(), every.max()), SimpleNamespace(rows=every[::12, None], **ends))
        growth += [low / every.min(), high / every.max()]
        passed.append([np.mean((later < every.min()) | (later > every.max())), np.mean((later < low) | (later > high))])
    assert 1 <= min(growth) <= max(growth) <= MARGIN
    plain, wide = np.mean(passed, axis=0)
    assert (np.mean(growth) > 1.25) == heavy
    assert (wide < 0.6 * plain) or not heavy


def test_a_range_that_ends_at_zero_stays_there():
    """As behind Relu; and one that an observer has cut is wider by the same share."""
    seen = SimpleNamespace(rows=np.array([[0.0], [2.0]]), low=np.array([0.0]), high=np.array([2.2]))
    assert with_margin((0.0, 1.1), seen) == pytest.approx((0.0, 1.21))


@pytest.mark.filterwarnings("ignore:.*few to calibrate on:octavo.OctavoWarning")
def test_octavos_own_texts_stand_beside_the_users(tmp_path, monkeypatch):
    """16 sentences and 11 texts that are none; what that does to fragments is measured by bench/fidelity.py."""
    rows, learn = [], static.calibrate
    monkeypatch.setattr(static, "calibrate", lambda *given: rows.append(texts_of(given[3])) or learn(*given))
    few = octavo.DataFile(DEMO / "pairs.tsv", limit=24)
    for own in (False, True):
        recipe = octavo.Recipe(method="static", own_sentences=own)
        artifact = octavo.quantize(DEMO, tmp_path / str(own), recipe=recipe, calibration=few)
        assert artifact.manifest.calibration.rows == 24  # of the user's
    assert rows == [24, 24 + len(SENTENCES) + len(FIXED)]


def texts_of(context):
    return sum(len(batch["input_ids"]) for batch in context.calibration)
