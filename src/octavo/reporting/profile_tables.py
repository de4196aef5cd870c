"""The time profile of models as cells and notes."""

from collections.abc import Sequence

from octavo.reporting.comparison_tables import Cells
from octavo.reporting.languages import Say, english
from octavo.schema.comparison import PARTS, Profile


def profile_cells(profiles: Sequence[Profile], say: Say = english) -> Cells:
    """Shares of the time, one row per model."""
    cells = [[say(name) for name in ("model", *PARTS, "int8 operations, 1e9/s", "of the peak here")]]
    for profile in profiles:
        total = sum(profile.seconds.values()) or 1.0
        speed = ["", ""]
        if profile.operations is not None:
            speed = [f"{profile.operations / 1e9:.0f}", f"{100 * profile.operations / profile.peak:.0f} %"]
        cells.append([profile.name, *(f"{100 * profile.seconds[part] / total:.1f} %" for part in PARTS), *speed])
    return cells


def profile_notes(profiles: Sequence[Profile], say: Say = english) -> list[str]:
    """What the shares are of."""
    text = say(
        "where the time goes, by ONNX Runtime's profiler on {n:,} rows; the peak is that of a large u8 x s8 product "
        "here: {peak:.0f}e9 operations/s"
    )
    notes = [text.format(n=profiles[0].rows, peak=profiles[0].peak / 1e9)]
    for profile in profiles:
        total = sum(profile.seconds.values()) or 1.0
        shares = [f"{name} {100 * seconds / total:.1f} %" for name, seconds in profile.largest_of_the_rest.items()]
        notes.append(f"{profile.name}, {say('largest of the rest')}: {', '.join(shares)}")
    return notes
