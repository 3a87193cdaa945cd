"""What a load did in Redis, from the server's own counters."""

from collections import Counter
from dataclasses import dataclass, field

import redis

_READS = "total_reads_processed"
_RARE = 0.01
"""Calls a request that are not worth a word: what a connection needs to begin with."""


@dataclass
class Commands:
    """Redis commands that ran while something was measured, those inside scripts included."""

    client: redis.Redis
    requests: int = 0
    reads: int = 0
    """Times that the server read from a connection: with a client that waits for each answer, round trips."""
    calls: Counter[str] = field(default_factory=Counter)
    _before: tuple[int, Counter[str]] = (0, Counter())

    def begin(self) -> None:
        """Look at the counters before a load."""
        self._before = self._counters()

    def end(self, requests: int) -> None:
        """Add what happened since `begin`; ``requests`` were answered in that time."""
        reads, calls = self._counters()
        self.requests += requests
        self.reads += reads - self._before[0]
        self.calls += calls - self._before[1]
        self.calls.pop("info", None)  # our own looks

    @property
    def round_trips(self) -> float:
        """Round trips a request."""
        return self.reads / max(1, self.requests)

    def per_request(self) -> dict[str, float]:
        """Return calls a request by command, the most frequent first; the rare ones left out."""
        figures = {name: calls / max(1, self.requests) for name, calls in self.calls.most_common()}
        return {name: figure for name, figure in figures.items() if figure >= _RARE}

    def _counters(self) -> tuple[int, Counter[str]]:
        reads = int(self.client.info("stats")[_READS])
        commands = self.client.info("commandstats")
        return reads, Counter({name.removeprefix("cmdstat_"): one["calls"] for name, one in commands.items()})
