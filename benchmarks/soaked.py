"""What is looked at during a soak, and whether it grew."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
from hands import BUCKET
from processes import tree_of

from otp_service.store import keys

MEGABYTE = 1024 * 1024


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


class Watch:
    """Looks at the processes and at Valkey."""

    def __init__(self, client: redis.Redis, server: int, worker: int) -> None:
        """Take the process of ``serve``, and the worker's."""
        parent, *children = tree_of(server)
        served = [child for child in children if "multiprocessing-fork" in _command(child)]
        self._processes = {"serve": parent, "worker": worker}
        self._processes |= {f"API process {place}": child for place, child in enumerate(served, 1)}
        self._client = client
        self._began = time.monotonic()

    def look(self) -> Sample:
        """Return what there is now."""
        figures: dict[str, float] = {}
        for name, pid in self._processes.items():
            figures[f"{name}: resident MB"] = _resident(pid)
            figures[f"{name}: files"] = len(list(Path(f"/proc/{pid}/fd").iterdir()))
            figures[f"{name}: threads"] = len(list(Path(f"/proc/{pid}/task").iterdir()))
        return Sample(time.monotonic() - self._began, figures | self._of_valkey())

    def _of_valkey(self) -> dict[str, float]:
        memory: dict[str, Any] = self._client.info("memory")
        clients: dict[str, Any] = self._client.info("clients")
        streams = {"events": keys.events, "decisions": keys.decisions, "attempts": keys.attempts}
        return {
            "Valkey: keys": self._client.dbsize(),
            "Valkey: used MB": memory["used_memory"] / MEGABYTE,
            "Valkey: connections": clients["connected_clients"],
            **{f"Valkey: {name}": self._client.xlen(key(BUCKET)) for name, key in streams.items()},
        }


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


def _command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


def _resident(pid: int) -> float:
    (line,) = [one for one in Path(f"/proc/{pid}/status").read_text().splitlines() if one.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024 / MEGABYTE
