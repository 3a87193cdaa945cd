"""Plots as SVG, without a library: lines and bars with axes and a legend, readable on a light and on a dark page.

``picture([Lines(...), Bars(...)])`` returns the text of one file, with the plots beside and below each other.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 460, 280
"""Of one plot, in pixels."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 14, 34, 64
_INSIDE_WIDTH, _INSIDE_HEIGHT = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM
_COLOURS = ("#2a7fc1", "#d9822b", "#2f9e6e", "#c0548a", "#8a6fd1", "#b5a12e", "#4fb3c9", "#c94f4f", "#8c8c8c")
"""Of middling lightness: they show on white and on black."""
_STYLE = """
text { font: 11px sans-serif; fill: #333 }
.title { font-size: 13px; font-weight: bold }
.axis { stroke: #888; fill: none }
.grid { stroke: #8884; fill: none }
.band { fill: #8883 }
@media (prefers-color-scheme: dark) { text { fill: #ddd } }
"""
_TICKS, _LETTER, _LEGEND_LINE = 5, 6.2, 14
_STEPS = (1, 2, 2.5, 5, 10)


@dataclass(frozen=True)
class Series:
    """A line."""

    name: str
    points: Sequence[tuple[float, float]]
    """In order of x. A value that is not a number is a gap."""


@dataclass(frozen=True)
class Lines:
    """Lines over one axis."""

    title: str
    series: Sequence[Series]
    x: str
    y: str
    log_x: bool = False
    bands: Sequence[tuple[float, float, str]] = ()
    """Stretches of the x axis that are shaded: from, to, and what they are called."""
    span: tuple[float, float] | None = None
    """What the x axis shows; by default from the first point to the last one."""

    @property
    def names(self) -> Sequence[str]:
        """What its legend names."""
        return [one.name for one in self.series]

    def drawn(self) -> str:
        """Return the plot as a part of a picture."""
        points = [point for one in self.series for point in one.points if math.isfinite(point[1])]
        xs = self.span or [x for x, _ in points] or [0.0, 1.0]
        across = _Scale.over(min(xs), max(xs), _INSIDE_WIDTH, log=self.log_x)
        up = _Scale.over(0.0, max((y for _, y in points), default=1.0), _INSIDE_HEIGHT)
        parts = [_frame(self.title, self.x, self.y, up), _along(across)]
        parts += [_band(across, *band) for band in self.bands]
        parts += [
            _line(across, up, one, colour) for one, colour in zip(self.series, _colours(self.series), strict=True)
        ]
        return "".join([*parts, _legend(self.names)])


@dataclass(frozen=True)
class Bars:
    """Bars in groups: a group for each thing that is compared, a bar in it for each name."""

    title: str
    names: Sequence[str]
    groups: Sequence[tuple[str, Sequence[float]]]
    y: str
    limit: float | None = None
    """A line across: an objective."""

    def drawn(self) -> str:
        """Return the plot as a part of a picture."""
        highest = max([value for _, values in self.groups for value in values] + [self.limit or 0.0])
        up, room = _Scale.over(0.0, highest, _INSIDE_HEIGHT), _INSIDE_WIDTH / max(1, len(self.groups))
        width = 0.8 * room / max(1, len(self.names))
        parts = [_frame(self.title, "", self.y, up)]
        for place, (label, values) in enumerate(self.groups):
            left = _LEFT + place * room
            parts.append(_text(left + room / 2, HEIGHT - _BOTTOM + 15, label, "middle"))
            for number, (value, colour) in enumerate(zip(values, _colours(self.names), strict=False)):
                tall, where = up.at(value), left + 0.1 * room + number * width
                box = f'x="{where:.1f}" y="{_TOP + _INSIDE_HEIGHT - tall:.1f}" width="{0.9 * width:.1f}"'
                parts.append(f'<rect {box} height="{tall:.1f}" fill="{colour}"/>')
        if self.limit is not None:
            parts.append(_across(up, self.limit, "axis", ' stroke-dasharray="5 4"'))
        return "".join([*parts, _legend(self.names) if len(self.names) > 1 else ""])


def picture(plots: Sequence[Lines | Bars], columns: int = 2) -> str:
    """Return an SVG file with these plots."""
    top, parts = 0, []
    for first in range(0, len(plots), columns):
        row = plots[first : first + columns]
        parts += [f'<g transform="translate({place * WIDTH} {top})">{one.drawn()}</g>' for place, one in enumerate(row)]
        top += HEIGHT + _LEGEND_LINE * (max(_lines_of_legend(one.names) for one in row) - 1)
    size = f'width="{columns * WIDTH}" height="{top}" viewBox="0 0 {columns * WIDTH} {top}"'
    head = [f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">', f"<style>{_STYLE}</style>"]
    return "\n".join([*head, *parts, "</svg>", ""])


@dataclass(frozen=True)
class _Scale:
    """Brings values of an axis into pixels."""

    low: float
    high: float
    length: float
    ticks: Sequence[float]
    log: bool = False

    @classmethod
    def over(cls, low: float, high: float, length: float, *, log: bool = False) -> "_Scale":
        if log:
            high = high if high > low else 10 * low
            ticks = [10.0**power for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]
            inside = [tick for tick in ticks if low <= tick <= high] if len(ticks) > _TICKS else ticks
            return cls(min(low, *inside), max(high, *inside), length, inside, log=True)
        high = high if high > low else low + 1
        rough = (high - low) / _TICKS
        unit = 10.0 ** math.floor(math.log10(rough))
        step = next(one * unit for one in _STEPS if one * unit >= rough)
        ticks = [step * place for place in range(math.ceil(low / step), math.ceil(high / step) + 1)]
        return cls(low, ticks[-1] if low == 0 else high, length, [one for one in ticks if low == 0 or one <= high])

    def at(self, value: float) -> float:
        low, high, here = (
            (math.log10(one) for one in (self.low, self.high, value)) if self.log else (self.low, self.high, value)
        )
        return self.length * (here - low) / (high - low)


def _colours(of: Sequence[object]) -> list[str]:
    return [_COLOURS[place % len(_COLOURS)] for place in range(len(of))]


def _frame(title: str, x: str, y: str, up: _Scale) -> str:
    """Return title, names of the axes, and the lines across."""
    parts = [f'<text class="title" x="{_LEFT}" y="16">{escape(title)}</text>']
    parts.append(_text(4, _TOP - 6, y))
    parts.append(_text(WIDTH - _RIGHT, HEIGHT - _BOTTOM + 28, x, "end"))
    for tick in up.ticks:
        parts.append(_across(up, tick, "grid"))
        parts.append(_text(_LEFT - 6, _TOP + _INSIDE_HEIGHT - up.at(tick) + 4, _number(tick), "end"))
    return "".join([*parts, _across(up, up.low, "axis")])


def _across(up: _Scale, value: float, kind: str, more: str = "") -> str:
    where = _TOP + _INSIDE_HEIGHT - up.at(value)
    return f'<path class="{kind}"{more} d="M{_LEFT} {where:.1f}H{WIDTH - _RIGHT}"/>'


def _along(across: _Scale) -> str:
    below = HEIGHT - _BOTTOM + 15
    return "".join(_text(_LEFT + across.at(tick), below, _number(tick), "middle") for tick in across.ticks)


def _band(across: _Scale, start: float, end: float, name: str) -> str:
    left, right = (across.at(min(max(one, across.low), across.high)) for one in (start, end))
    box = f'x="{_LEFT + left:.1f}" y="{_TOP}" width="{max(2.0, right - left):.1f}" height="{_INSIDE_HEIGHT}"'
    return f'<rect class="band" {box}/>' + _text(_LEFT + left + 2, _TOP + 10, name)


def _line(across: _Scale, up: _Scale, series: Series, colour: str) -> str:
    """Return a line that is broken where there is nothing, and a dot where a point stands alone."""
    drawn, pen = [], False
    for x, y in series.points:
        if math.isfinite(y):
            drawn.append(f"{'L' if pen else 'M'}{_LEFT + across.at(x):.1f} {_TOP + _INSIDE_HEIGHT - up.at(y):.1f}")
        pen = math.isfinite(y)
    return f'<path d="{"".join(drawn)}" fill="none" stroke="{colour}" stroke-width="1.6"/>' if drawn else ""


def _legend(names: Sequence[str]) -> str:
    """Return the names with their colours, in as many lines as they need."""
    parts = []
    for name, colour, (left, line) in zip(names, _colours(names), _places(names), strict=True):
        top = HEIGHT - _BOTTOM + 42 + _LEGEND_LINE * line
        parts.append(f'<rect x="{left:.0f}" y="{top - 8}" width="10" height="8" fill="{colour}"/>')
        parts.append(_text(left + 14, top, name))
    return "".join(parts)


def _places(names: Sequence[str]) -> list[tuple[float, int]]:
    """Return where each name of a legend stands: how far from the left, and in which line."""
    places, left, line = [], float(_LEFT), 0
    for name in names:
        room = 24 + _LETTER * len(name)
        if left + room > WIDTH and left > _LEFT:
            left, line = float(_LEFT), line + 1
        places.append((left, line))
        left += room
    return places


def _lines_of_legend(names: Sequence[str]) -> int:
    return max((line for _, line in _places(names)), default=0) + 1


def _text(x: float, y: float, words: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>' if words else ""


def _number(value: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"
