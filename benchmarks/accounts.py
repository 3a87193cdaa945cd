"""The books of a storm: what was accepted against what gateways took and what the stories tell. Without I/O."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Call:
    """A call as a gateway saw it, and the dispatch that it belongs to."""

    gateway: str
    accepted: bool
    verification: str
    message: int
    """Which message of the verification, from 0."""
    dispatch: int
    """Which call for this message, from 1."""


@dataclass(frozen=True)
class Told:
    """A dispatch as the API tells it."""

    gateway: str
    status: str
    reason: str = ""
    choice: str = ""

    @property
    def interrupted(self) -> bool:
        """Whether its worker died during the call."""
        return (self.status, self.reason) == ("unknown", "interrupted")


Stories = Mapping[str, Mapping[tuple[int, int], Told]]
"""By verification: its dispatches in order, by message and number."""


@dataclass(frozen=True)
class Books:
    """What a storm comes to."""

    lost: int
    """Verifications of which no gateway took a message."""
    repeated: int
    """Verifications of which gateways took more than one."""
    surplus: int
    """Messages that gateways took beyond the first of each verification."""
    interrupted: int
    """Dispatches during which a worker died, as the stories tell."""
    breaches: tuple[str, ...]
    """What must not be, a sentence each; none in a storm that went well."""


def settle_books(started: Collection[str], calls: Iterable[Call], stories: Stories, held: Mapping[str, int]) -> Books:
    """Compare what was started, what gateways saw and what the stories tell.

    ``held`` counts, by verification, how often its message was in the hands of a worker that was killed.
    """
    of_each: defaultdict[str, list[Call]] = defaultdict(list)
    for call in calls:
        of_each[call.verification].append(call)
    taken = {one: sum(call.accepted for call in of_each[one]) for one in started}
    breaches = [f"{one}: a gateway was called, but nobody had started it" for one in of_each.keys() - set(started)]
    for one in started:
        breaches += [f"{one}: {what}" for what in _breaches(of_each[one], stories.get(one, {}), held.get(one, 0))]
    return Books(
        lost=sum(count == 0 for count in taken.values()),
        repeated=sum(count > 1 for count in taken.values()),
        surplus=sum(max(0, count - 1) for count in taken.values()),
        interrupted=sum(told.interrupted for story in stories.values() for told in story.values()),
        breaches=tuple(breaches),
    )


def _breaches(calls: Sequence[Call], story: Mapping[tuple[int, int], Told], kills: int) -> list[str]:
    """Return what is wrong with one verification."""
    found: list[str] = []
    taken = sum(call.accepted for call in calls)
    if not taken:
        found.append("lost: no gateway took its message")
    seen = {(call.message, call.dispatch): call for call in calls}
    again = sorted({f"d{message}.{number}" for (message, number), n in _count(calls).items() if n > 1})
    found += [f"dispatch {slot} called more than once" for slot in again]
    explained = sum(call.accepted and _told(story, call).interrupted for call in seen.values())
    if taken > 1 and explained < taken - 1:
        found.append(f"taken {taken} times, of which {explained} in a call that a kill interrupted")
    interrupted = sum(told.interrupted for told in story.values())
    if interrupted > kills:
        found.append(f"{interrupted} calls interrupted, but {kills} killed workers had it in hand")
    found += [f"the story lacks a call to {call.gateway}" for slot, call in seen.items() if slot not in story]
    found += [what for slot, told in story.items() if (what := _contradiction(told, seen.get(slot)))]
    if not story or list(story.values())[-1].status != "sent":
        found.append("the story does not end with sent")
    return found


def _count(calls: Sequence[Call]) -> Counter[tuple[int, int]]:
    return Counter((call.message, call.dispatch) for call in calls)


def _told(story: Mapping[tuple[int, int], Told], call: Call) -> Told:
    return story.get((call.message, call.dispatch), Told("", ""))


def _contradiction(told: Told, call: Call | None) -> str | None:
    """Return what is wrong with a dispatch as it is told, against what the gateway saw of it."""
    if call is not None and call.gateway != told.gateway:
        return f"called {call.gateway}, but the story says {told.gateway}"
    if not told.gateway or not told.choice:
        return f"a dispatch told without gateway or the reason of its choice ({told.status})"
    if told.interrupted:
        return None
    expected = {"sent": True, "failed": False}.get(told.status)
    if expected is None or call is None or call.accepted is not expected:
        outcome = "saw nothing of it" if call is None else "took it" if call.accepted else "refused it"
        return f"told as {told.status} {told.reason}, but {told.gateway} {outcome}"
    return None
