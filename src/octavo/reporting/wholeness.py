"""Whether a comparison that was read from a file holds what a report is made of: a file may have been changed."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from math import isfinite
from typing import Any

from octavo.errors import DataError
from octavo.reporting.comparison_tables import CHECKS, COLUMNS
from octavo.schema.comparison import ComparedRow, ComparisonRecord

LARGEST = 2**63


def require_whole(comparison: ComparisonRecord, where: object) -> None:
    """See that no report of it would fail, or show what nobody measured.

    Raises:
        DataError: a number is not one that was measured, or a name is unknown; the message has its place.
    """
    for place in (*_numbers(asdict(comparison), ""), *_faults(comparison)):
        raise DataError("a comparison cannot hold this: the file was changed", where=where, got=place)


def _numbers(value: Any, place: str) -> Iterator[str]:
    """The places of numbers that are not finite, or larger than any count; `read_json` has bounded the depth."""
    if isinstance(value, dict | list | tuple):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _numbers(inner, f"{place}.{key}".lstrip("."))
    elif isinstance(value, int | float) and not (abs(value) < LARGEST and isfinite(value)):
        yield f"{place}: {value!r:.40}"


def _faults(comparison: ComparisonRecord) -> Iterator[str]:
    if not comparison.rows:
        yield "no rows"
        return
    for name in ("n", "texts", "tokens", "threads"):
        if getattr(comparison, name) < 1:
            yield f"{name}: {getattr(comparison, name)}"
    for index, row in enumerate(comparison.rows):
        yield from (f"rows.{index}.{fault}" for fault in _row_faults(row, comparison.rows[0]))


def _row_faults(row: ComparedRow, first: ComparedRow) -> Iterator[str]:
    for name in ("bytes", "smaller", "seconds", "rows_per_second", "rounds"):
        if getattr(row, name) <= 0:
            yield f"{name}: {getattr(row, name)}"
    if row.text_rows_per_second is not None and row.text_rows_per_second <= 0:
        yield f"text_rows_per_second: {row.text_rows_per_second}"
    if not row.singles_ms or min(row.singles_ms) <= 0:
        yield "singles_ms: none, or not above 0"
    if min(row.speedup.low, row.speedup.lower) <= 0:
        yield f"speedup: {row.speedup.low}"
    figures: dict[str, Iterable[str]] = {"quality": row.quality, "differences": row.differences}
    for field, named in (figures | {"fidelity": row.fidelity, "closeness": row.closeness}).items():
        yield from (f"{field}: {name!r:.40} is unknown" for name in named if name not in COLUMNS)
    yield from _estimate_faults(row, first)
    yield from (f"groups: the kind {group.kind!r:.40}" for group in row.groups if group.kind not in {"class", "length"})
    for check in row.judgement.checks if row.judgement else ():
        if check.name not in CHECKS:
            yield f"judgement: {check.name!r:.40} is unknown"


def _estimate_faults(row: ComparedRow, first: ComparedRow) -> Iterator[str]:
    estimates = {"speedup": row.speedup, **row.differences, **row.closeness}
    estimates |= {
        f"stored.{i}.{name}": each for i, stored in enumerate(row.stored) for name, each in stored.differences.items()
    }
    for name, estimate in estimates.items():
        if estimate.low > estimate.high or estimate.lower > estimate.upper:
            yield f"{name}: from {estimate.low} to {estimate.high}"
    other_vectors = first.fidelity.keys() - row.fidelity.keys() >= {"cosine_mean"}  # of another width
    if not row.not_finite and (first.quality or not other_vectors):
        own, wanted = (row.differences, first.quality) if first.quality else (row.closeness, first.closeness)
        if next(iter(wanted), None) not in own:
            yield "differences" if first.quality else "closeness"
    if not set(first.closeness) <= {"agreement", "tau", "cosine", "cosine_p1"}:
        yield f"closeness: {', '.join(first.closeness):.40}"
