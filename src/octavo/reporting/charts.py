"""Charts of the report as SVG: text stays text, colours are the page's classes, so light, dark and paper are one file.

A drawing is 400 units wide, about as wide as a phone, so that its letters can be read there too.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from octavo.errors import printable

WIDTH = 400
SHORTEST = 1e-3  # milliseconds: where a logarithmic axis begins at the lowest
MARKS = 4  # shapes of points, so that colour alone tells nothing
Range = tuple[float, float, float]  # low, value, high


@dataclass(frozen=True)
class Scale:
    """A linear axis from the numbers `low` to `high`, drawn between the places `start` and `end`."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """The place of a number, kept within the drawing."""
        share = (value - self.low) / (self.high - self.low)
        return self.start + min(max(share, 0.0), 1.0) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Three to six round numbers: steps of 1, 2 or 5 times a power of ten."""
        rough = (self.high - self.low) / 4
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * (1 - 1e-9))
        first = math.ceil(self.low / step - 1e-9)
        return [step * n for n in range(first, math.floor(self.high / step + 1e-9) + 1)]


@dataclass(frozen=True)
class LogScale:
    """A logarithmic axis between positive numbers: one that is far out does not squeeze the others."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """The place of a number, kept within the drawing."""
        share = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        return self.start + min(share, 1.0) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Three to six of 1, 2 and 5, or 1 alone, times powers of ten; those of a linear axis where they are fewer."""
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        for factors in ((1, 2, 5), (1, 3), (1,)):
            ticks = [factor * 10.0**power for power in powers for factor in factors]
            ticks = [tick for tick in ticks if self.low <= tick <= self.high]
            if len(ticks) <= 6:
                break
        ticks = ticks[:: math.ceil(len(ticks) / 6) or 1]
        return ticks if len(ticks) >= 3 else Scale(self.low, self.high, self.start, self.end).ticks()


def scatter(
    points: Sequence[tuple[Range, Range] | None], titles: tuple[str, str, str], band: tuple[float, float]
) -> str:
    """Points with error bars: x and y ranges of each, None for one without. `titles`: of the chart, of x, of y.

    `band`: the x up to which and the y from which a point keeps the budget; infinite where there is no such limit.
    """
    known = [point for point in points if point]
    xs = [*(end for x, _ in known for end in x), *filter(math.isfinite, band[:1])]
    ys = [*(end for _, y in known for end in y), *filter(math.isfinite, band[1:])]
    margin = 0.08 * (max(ys) - min(ys)) or max(abs(ys[0]) * 0.01, 0.01)
    across = Scale(0.0, 1.08 * max(xs), 52, WIDTH - 12)
    up = Scale(min(ys) - margin, max(ys) + margin, 250, 12)
    parts = []
    if any(map(math.isfinite, band)):
        width, height = across.at(min(band[0], across.high)) - 52, up.at(max(band[1], up.low)) - 12
        parts = [f'<rect class="band" x="52" y="12" width="{max(0.0, width):.1f}" height="{max(0.0, height):.1f}"/>']
    parts.append(_grid(across, up, titles[1], titles[2]))
    for index, point in enumerate(points):
        if point is None:
            continue
        x, y = point
        cx, cy = across.at(x[1]), up.at(y[1])
        bars = f'<path class="bar" d="M{across.at(x[0]):.1f} {cy:.1f}H{across.at(x[2]):.1f}'
        bars += f'M{cx:.1f} {up.at(y[0]):.1f}V{up.at(y[2]):.1f}"/>'
        parts.append(f'<g class="c{index % 6}">{bars}{mark(index, cx, cy)}</g>')
    return _svg(titles[0], 292, parts)


def boxes(samples: Sequence[Sequence[float]], titles: tuple[str, str]) -> str:
    """One row for each sample: numbers as strokes, percentiles 5 to 95, quartiles, median; titles of chart and x.

    The axis is logarithmic, and every number is drawn.
    """
    step = 44
    height = 16 + step * len(samples)
    known = [max(value, SHORTEST) for sample in samples for value in sample]
    across = LogScale(min(known) / 1.1, 1.1 * max(known), 28, WIDTH - 12)
    parts = [_grid(across, Scale(0, 1, height, 12), titles[1], "")]
    for index, sample in enumerate(samples):
        middle = 12 + step * (index + 0.5)
        low, first, half, third, high = (across.at(float(p)) for p in np.percentile(sample, [5, 25, 50, 75, 95]))
        dots = "".join(f"M{across.at(value):.1f} {middle + 13:.1f}v4" for value in sample)
        parts.append(
            f'<g class="c{index % 6}">{mark(index, 13, middle)}'
            f'<path class="bar" d="M{low:.1f} {middle:.1f}H{high:.1f}"/><path class="dots" d="{dots}"/>'
            f'<rect class="box" x="{first:.1f}" y="{middle - 9:.1f}" width="{third - first:.1f}" height="18"/>'
            f'<path class="median" d="M{half:.1f} {middle - 11:.1f}v22"/></g>'
        )
    return _svg(titles[0], height + 42, parts)


def whiskers(rows: Sequence[tuple[str, Range]], titles: tuple[str, str], index: int) -> str:
    """One named row for each range, around zero; in the colour of the model `index`. `titles`: of chart and x."""
    step = 26
    height = 16 + step * len(rows)
    reach = 1.08 * max(*(abs(end) for _, ends in rows for end in ends), 1e-6)
    across = Scale(-reach, reach, 130, WIDTH - 12)
    zero = f'<path class="zero" d="M{across.at(0):.1f} 12V{height}"/>'
    parts = [_grid(across, Scale(0, 1, height, 12), titles[1], ""), zero]
    for number, (name, (low, value, high)) in enumerate(rows):
        middle = 12 + step * (number + 0.5)
        shown = name if len(name) <= 18 else f"{name[:17]}…"
        parts.append(
            f'<text x="122" y="{middle + 4:.1f}" text-anchor="end">{_shown(shown)}</text>'
            f'<g class="c{index % 6}"><path class="bar" d="M{across.at(low):.1f} {middle:.1f}H{across.at(high):.1f}"/>'
            f"{mark(index, across.at(value), middle)}</g>"
        )
    return _svg(titles[0], height + 42, parts)


def mark(index: int, x: float, y: float) -> str:
    """The point of a model: a circle, a square, a triangle or a diamond."""
    shapes = (
        f'<circle class="mark" cx="{x:.1f}" cy="{y:.1f}" r="5"/>',
        f'<path class="mark" d="M{x - 4.5:.1f} {y - 4.5:.1f}h9v9h-9z"/>',
        f'<path class="mark" d="M{x:.1f} {y - 6:.1f}l5.5 10h-11z"/>',
        f'<path class="mark" d="M{x:.1f} {y - 6:.1f}l6 6l-6 6l-6 -6z"/>',
    )
    return shapes[index % MARKS]


def _grid(across: Scale | LogScale, up: Scale, x_title: str, y_title: str) -> str:
    """Lines and numbers of both axes; of x alone where y has no title."""
    lines, texts, bottom = [], [], up.start
    for tick, shown in zip(across.ticks(), _numbers(across.ticks()), strict=True):
        x = across.at(tick)
        lines.append(f"M{x:.1f} {up.end:.1f}V{bottom:.1f}")
        texts.append(f'<text x="{x:.1f}" y="{bottom + 16:.1f}" text-anchor="middle">{shown}</text>')
    middle = (across.start + across.end) / 2
    texts.append(f'<text x="{middle:.1f}" y="{bottom + 34:.1f}" text-anchor="middle">{_shown(x_title)}</text>')
    if y_title:
        for tick, shown in zip(up.ticks(), _numbers(up.ticks()), strict=True):
            y = up.at(tick)
            lines.append(f"M{across.start:.1f} {y:.1f}H{across.end:.1f}")
            texts.append(f'<text x="{across.start - 6:.1f}" y="{y + 4:.1f}" text-anchor="end">{shown}</text>')
        middle = (up.start + up.end) / 2
        turned = f'transform="rotate(-90 12 {middle:.1f})"'
        texts.append(f'<text x="12" y="{middle:.1f}" {turned} text-anchor="middle">{_shown(y_title)}</text>')
    return f'<path class="grid" d="{"".join(lines)}"/>{"".join(texts)}'


def _numbers(ticks: Sequence[float]) -> list[str]:
    """The ticks with as many decimals as tell them apart."""
    step = ticks[1] - ticks[0] if len(ticks) > 1 else abs(ticks[0]) if ticks and ticks[0] else 1.0
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return [f"{tick + 0.0:.{decimals}f}" if abs(tick) > step / 1e6 else "0" for tick in ticks]


def _shown(text: str) -> str:
    return escape(printable(text), quote=True)


def _svg(title: str, height: float, parts: Sequence[str]) -> str:
    start = f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{_shown(title)}">'
    return "".join([start, *parts, "</svg>"])
