"""How fast, how well, and how firmly: what a load run measured, and the objectives for it. Without I/O."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from books import RECOVERY, Strike, Taken
from journal import Entry

_BLOCK = 4
"""Digits that a block leaves open."""
_AWAY, _CREATED = 503, 201


@dataclass(frozen=True)
class Run:
    """What was written down of a run."""

    entries: Sequence[Entry]
    taken: Sequence[Taken]
    strikes: Sequence[Strike]

    def seconds(self, call: str) -> list[float]:
        """Return how long the answers to a call took while Redis was there."""
        return [one.seconds for one in self.entries if one.call == call and not self.away(one)]

    def away(self, entry: Entry) -> bool:
        """Tell whether a request fell into the time in which Redis was away, or its recovery."""
        return any(one.what == "redis" and one.covers(entry.began, entry.at, RECOVERY) for one in self.strikes)

    def deliveries(self) -> list[float]:
        """Return the seconds from each start's 201 to the gateway's acceptance of its first message."""
        accepted: defaultdict[str, list[float]] = defaultdict(list)
        for call in self.taken:
            if call.accepted:
                accepted[call.to].append(call.at)
        starts = (one for one in self.entries if one.call == "start" and one.status == _CREATED)
        waits = [(one, [at for at in accepted[one.number] if at >= one.began]) for one in starts]
        return [max(0.0, min(ats) - one.at) for one, ats in waits if ats]

    def most_in_a_block(self) -> int:
        """Return the most starts of fraudsters that were accepted for one block, of victims' numbers too."""
        starts = (one for one in self.entries if one.call == "start" and one.status == _CREATED)
        block_of = {one.verification: one.number[:-_BLOCK] for one in starts if one.scenario == "abuse"}
        return max(Counter(block_of.values()).values(), default=0)


@dataclass(frozen=True)
class Objective:
    """What a figure may be at most, or has to be at least."""

    name: str
    measure: Callable[[Run], float]
    limit: float
    unit: str = ""
    at_least: bool = False

    def met(self, value: float) -> bool:
        """Tell whether a figure is good enough; none at all is not."""
        return value >= self.limit if self.at_least else value <= self.limit


def percentile(values: Iterable[float], share: float) -> float:
    """Return the value that so large a share of them does not exceed; of none, not a number."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


def _share_refused(run: Run) -> float:
    starts = [one for one in run.entries if one.scenario == "abuse" and one.call == "start" and one.status != _AWAY]
    return sum(one.code == "rate-limited" for one in starts) / len(starts) if starts else float("nan")


def _share_of_errors(run: Run) -> float:
    usual = [one for one in run.entries if not run.away(one)]
    return sum(bool(one.surprise) or one.status in {0, _AWAY} for one in usual) / len(usual) if usual else float("nan")


def _slowest_503(run: Run) -> float:
    return max((one.seconds for one in run.entries if one.status == _AWAY), default=0.0)


OBJECTIVES = (
    Objective("start, p99", lambda run: percentile(run.seconds("start"), 0.99), 0.25, "s"),
    Objective("check, p99", lambda run: percentile(run.seconds("check"), 0.99), 0.25, "s"),
    Objective("from 201 to a gateway's acceptance, p95", lambda run: percentile(run.deliveries(), 0.95), 2.0, "s"),
    Objective("errors while Redis is there, share of the answers", _share_of_errors, 0.0),
    Objective("slowest 503", _slowest_503, 1.5, "s"),
    Objective("starts of fraudsters refused, share", _share_refused, 0.6, at_least=True),
    Objective("starts of fraudsters accepted for one block, most", lambda run: float(run.most_in_a_block()), 4.0),
)


def rows(run: Run) -> list[tuple[str, str, str, str, str]]:
    """Return a line of the table for each scenario and call: how many, and how fast."""
    of_each: defaultdict[tuple[str, str], list[Entry]] = defaultdict(list)
    for one in run.entries:
        of_each[one.scenario, one.call].append(one)
    lines = []
    for (scenario, call), entries in sorted(of_each.items()):
        usual = [one.seconds for one in entries if not run.away(one)]
        figures = [f"{1000 * percentile(usual, share):.0f}" for share in (0.5, 0.95, 0.99)]
        lines.append((scenario, call, f"{len(entries):,}", "/".join(figures), _told(entries)))
    return lines


def _told(entries: Sequence[Entry]) -> str:
    counts = Counter(one.code or one.reason or str(one.status) for one in entries)
    return ", ".join(f"{word} {count:,}" for word, count in counts.most_common())
