"""Translatable phrases."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import reduce
from typing import Union

Plain = str | int | datetime | timedelta
"""Values outside translation; times need a zone, names their direction."""
Value = Union[Plain, "Phrase"]


@dataclass(frozen=True, slots=True)
class Phrase:
    """A translatable sentence or part. ``str()`` is English."""

    text: str
    """English, with ``{placeholders}``: the key in a catalogue."""
    values: Mapping[str, Value] = field(default_factory=dict)

    def filled(self, **values: Value) -> "Phrase":
        """Return it with values for its placeholders; further values are ignored."""
        return Phrase(self.text, {**self.values, **values})

    def render(self, translate: Callable[[str], str], show: Callable[[Plain], str]) -> str:
        """Return it with all texts translated, and other values by ``show``."""
        shown = {
            name: value.render(translate, show) if isinstance(value, Phrase) else show(value)
            for name, value in self.values.items()
        }
        return translate(self.text).format_map(shown)

    @property
    def plain(self) -> tuple[str, dict[str, str]]:
        """Its text and values for JSON."""
        return self.text, {name: str(value) for name, value in self.values.items()}

    def __str__(self) -> str:
        return self.render(str, plain_text)


_FURTHER, _LAST = Phrase("{some}, {next}"), Phrase("{some} and {next}")


def enumerated(parts: Sequence[Value]) -> Value:
    """Return parts with commas between."""
    return reduce(lambda some, part: _FURTHER.filled(some=some, next=part), parts)


def enumerated_to_the_last(parts: Sequence[Value]) -> Value:
    """Return parts with commas between, and *and* before the last."""
    *others, last = parts
    return _LAST.filled(some=enumerated(others), next=last) if others else last


def plain_text(value: Plain) -> str:
    """Return a value in English: times in UTC, durations rounded up to seconds."""
    match value:
        case datetime():
            return f"{value:%Y-%m-%d %H:%M:%S}"
        case timedelta():
            return duration(-(-value // timedelta(seconds=1)))
        case _:
            return str(value)


def moment(milliseconds: int) -> datetime:
    """Return a time since the epoch."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def duration(seconds: int) -> str:
    """Return seconds in the two largest units that they have: ``10 min``, ``1 d``, ``23 h 59 min``."""
    parts = []
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        amount, seconds = divmod(seconds, length)
        if amount:
            parts.append(f"{amount} {unit}")
    return " ".join(parts[:2]) or "0 s"
