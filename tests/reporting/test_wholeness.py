"""What a comparison from a file must hold; and that none that was measured is refused."""

import dataclasses
import json

import pytest
from test_page import ALL, FULL

from octavo.errors import DataError
from octavo.metrics.estimates import identical
from octavo.reporting.page import report
from octavo.reporting.wholeness import require_whole


@pytest.mark.parametrize("comparison", ALL)
def test_what_was_measured_is_whole(comparison):
    require_whole(comparison, "결과.json")


def changed(**fields):
    """The comparison with another second row."""
    first, second, *rest = FULL.rows
    return dataclasses.replace(FULL, rows=(first, dataclasses.replace(second, **fields), *rest))


@pytest.mark.parametrize(
    ("comparison", "place"),
    [
        (dataclasses.replace(FULL, rows=()), "no rows"),
        (dataclasses.replace(FULL, texts=0), "texts: 0"),
        (changed(bytes=10**400), "rows.1.bytes"),
        (changed(seconds=0.0), "seconds"),
        (changed(singles_ms=()), "singles_ms"),
        (changed(text_rows_per_second=0.0), "text_rows_per_second"),
        (changed(speedup=identical(0.0)), "speedup"),
        (changed(speedup=dataclasses.replace(identical(1.0), low=2.0)), "speedup"),
        (changed(speedup=identical(float("nan"))), "speedup.value: nan"),
        (changed(fidelity={"magic": 1.0}), "'magic' is unknown"),
        (changed(differences={}), "differences"),
        (changed(groups=(dataclasses.replace(FULL.rows[1].groups[0], kind="magic"),)), "groups"),
    ],
)
def test_what_no_run_can_give_is_named(comparison, place):
    with pytest.raises(DataError, match="the file was changed") as caught:
        require_whole(comparison, "결과.json")
    assert "결과.json" in str(caught.value)
    assert place in str(caught.value)


def test_a_report_of_a_changed_file_is_not_begun(tmp_path):
    fields = FULL.to_dict()
    fields["rows"][1]["smaller"] = 0.0
    (tmp_path / "결과.json").write_text(json.dumps(fields), encoding="utf-8")
    with pytest.raises(DataError, match=r"smaller: 0\.0"):
        report(tmp_path / "결과.json", tmp_path / "out.html")
    assert [path.name for path in tmp_path.iterdir()] == ["결과.json"]
