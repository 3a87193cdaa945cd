"""Plots as SVG, made on the server, without styles; a table stands beside each."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, TypeVar

from markupsafe import Markup

from otp_service.domain.guard import DAY, HOUR
from otp_service.services.stats import StatsRow

_WIDTH, _HEIGHT = 720, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 12, 12, 28
_GRID_LINES: Final = 4
_R = TypeVar("_R", bound=StatsRow)


@dataclass(frozen=True, slots=True)
class Axis:
    """All hours or days of a time, in milliseconds since the epoch."""

    since: int
    until: int
    step: str
    """``hour`` or ``day``."""

    @property
    def milliseconds(self) -> int:
        return HOUR if self.step == "hour" else DAY

    @property
    def _moments(self) -> range:
        return range(self.since - self.since % self.milliseconds, self.until, self.milliseconds)

    @property
    def labels(self) -> list[str]:
        form = "%d.%m. %H:00" if self.step == "hour" else "%d.%m."
        return [datetime.fromtimestamp(moment / 1000, UTC).strftime(form) for moment in self._moments]

    def values(self, rows: Iterable[_R], value: Callable[[_R], float]) -> list[float]:
        """Return a value for each step, 0 without a row."""
        values = {getattr(row, self.step): value(row) for row in rows}
        return [values.get(moment, 0) for moment in self._moments]


def lines(title: str, labels: Sequence[str], *drawn: Sequence[float]) -> Markup:
    """Return a plot of one or two lines over the same labels, from left to right in every language."""
    maximum = _ceiling(max((value for line in drawn for value in line), default=0))
    parts = [*_grid(maximum), *_ticks(labels)]
    for kind, line in zip(("first", "second"), drawn, strict=False):
        points = " ".join(f"{_x(place, len(labels)):.1f},{_y(value, maximum):.1f}" for place, value in enumerate(line))
        parts.append(Markup('<polyline class="{}" points="{}"/>').format(kind, points))
    return _drawn(title, parts)


def bars(title: str, labels: Sequence[str], values: Sequence[float]) -> Markup:
    """Return a plot with a bar for each label."""
    maximum = _ceiling(max(values, default=0))
    width = (_WIDTH - _LEFT - _RIGHT) / max(1, len(values))
    parts = [*_grid(maximum), *_ticks(labels, width / 2)]
    for place, value in enumerate(values):
        x, y = _LEFT + place * width + width * 0.1, _y(value, maximum)
        size = (x, y, width * 0.8, _HEIGHT - _BOTTOM - y)
        parts.append(Markup('<rect class="first" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>').format(*size))
    return _drawn(title, parts)


def _drawn(title: str, parts: Sequence[Markup]) -> Markup:
    form = Markup('<svg class="plot" viewBox="0 0 {} {}" role="img" aria-label="{}" direction="ltr">{}</svg>')
    return form.format(_WIDTH, _HEIGHT, title, Markup("").join(parts))


def _grid(maximum: float) -> list[Markup]:
    form = Markup(
        '<line class="grid" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>'
        '<text x="{}" y="{:.1f}" text-anchor="end">{}</text>'
    )
    drawn = []
    for step in range(_GRID_LINES + 1):
        value = maximum * step / _GRID_LINES
        y = _y(value, maximum)
        drawn.append(form.format(_LEFT, _WIDTH - _RIGHT, y, y, _LEFT - 6, y + 4, short_number(value)))
    return drawn


def _ticks(labels: Sequence[str], shift: float = 0) -> list[Markup]:
    every = max(1, -(-len(labels) // 8))
    form = Markup('<text x="{:.1f}" y="{}" text-anchor="middle">{}</text>')
    return [
        form.format(_x(place, len(labels)) + shift * (1 - 2 * place / max(1, len(labels) - 1)), _HEIGHT - 8, label)
        for place, label in enumerate(labels)
        if place % every == 0
    ]


def _x(place: int, count: int) -> float:
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * place / max(1, count - 1)


def _y(value: float, maximum: float) -> float:
    return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * (value / maximum if maximum else 0)


def _ceiling(maximum: float) -> float:
    """Return a round number that is not smaller."""
    unit = 1.0
    while maximum > 10 * unit:
        unit *= 10
    return next(step * unit for step in (1, 2, 4, 5, 8, 10) if maximum <= step * unit)


def short_number(value: float) -> str:
    """Return a number for an axis, such as ``12k``."""
    for unit, letter in ((1_000_000, "M"), (1000, "k")):
        if value >= unit:
            return f"{value / unit:g}{letter}"
    return f"{value:g}"


def time_of(milliseconds: int) -> Markup:
    """Return a moment in UTC, for people and programs."""
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    shown = Markup('<time datetime="{}" dir="ltr">{}</time>')
    return shown.format(f"{moment:%Y-%m-%dT%H:%M:%SZ}", f"{moment:%Y-%m-%d %H:%M}")
