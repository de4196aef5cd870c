"""The time profile of models as cells and notes."""

from collections.abc import Sequence

from octavo.reporting.comparison_tables import Cells
from octavo.schema.comparison import PARTS, Profile


def profile_cells(profiles: Sequence[Profile]) -> Cells:
    """Shares of the time, one row per model."""
    cells = [["model", *PARTS, "int8 operations, 1e9/s", "of the peak here"]]
    for profile in profiles:
        total = sum(profile.seconds.values()) or 1.0
        speed = ["", ""]
        if profile.operations is not None:
            speed = [f"{profile.operations / 1e9:.0f}", f"{100 * profile.operations / profile.peak:.0f} %"]
        cells.append([profile.name, *(f"{100 * profile.seconds[part] / total:.1f} %" for part in PARTS), *speed])
    return cells


def profile_notes(profiles: Sequence[Profile]) -> list[str]:
    """What the shares are of."""
    peak = f"{profiles[0].peak / 1e9:.0f}e9 operations/s"
    sampled = f"where the time goes, by ONNX Runtime's profiler on {profiles[0].rows:,} rows"
    notes = [f"{sampled}; the peak is that of a large u8 x s8 product here: {peak}"]
    for profile in profiles:
        total = sum(profile.seconds.values()) or 1.0
        shares = [f"{name} {100 * seconds / total:.1f} %" for name, seconds in profile.largest_of_the_rest.items()]
        notes.append(f"{profile.name}, largest of the rest: {', '.join(shares)}")
    return notes
