"""Whether a figure of a soak grew. Without I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Sample:
    """One look: figures by their names."""

    at: float
    """Seconds since the soak began."""
    figures: Mapping[str, float]


@dataclass(frozen=True)
class Growth:
    """A figure in the time that is judged."""

    name: str
    first: float
    """What it was in the mean, in the first fifth."""
    last: float
    """The same in the last fifth."""
    highest: float

    @property
    def share(self) -> float:
        """By which share of what it was it grew; negative where it shrank."""
        return (self.last - self.first) / self.first if self.first else float(self.last > 0)


def growths(samples: Sequence[Sample], since: float) -> list[Growth]:
    """Return each figure from a second on; first and last are means, for memory comes and goes in steps."""
    judged = [sample for sample in samples if sample.at >= since]
    fifth = max(1, len(judged) // 5)
    found = []
    for name in judged[0].figures:
        values = [sample.figures[name] for sample in judged]
        found.append(Growth(name, _mean(values[:fifth]), _mean(values[-fifth:]), max(values)))
    return found


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
