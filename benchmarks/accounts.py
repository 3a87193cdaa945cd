"""The books of a storm: what was accepted against what gateways took and what the stories tell. Without I/O."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

Slot = tuple[str, int, int]
"""A dispatch: its verification, which message of it, and which call for this message, from 1."""


@dataclass(frozen=True)
class Call:
    """A call as a gateway saw it, and the dispatch that it belongs to."""

    gateway: str
    accepted: bool
    verification: str
    message: int
    """Which message of the verification, from 1."""
    dispatch: int
    """Which call for this message, from 1."""

    @property
    def slot(self) -> Slot:
        """The dispatch that it belongs to."""
        return self.verification, self.message, self.dispatch


@dataclass(frozen=True)
class Told:
    """A dispatch as the API tells it."""

    gateway: str
    status: str
    reason: str = ""
    choice: str = ""

    @property
    def uncertain(self) -> bool:
        """Whether nobody knows if the gateway took it."""
        return self.status == "unknown"

    @property
    def words(self) -> str:
        """Status and reason."""
        return f"{self.status} {self.reason}".strip()


Story = Mapping[Slot, Told]
"""The dispatches of a verification, in order."""


@dataclass(frozen=True)
class Entry:
    """What the ledger has of a dispatch: its outcome, or a report on it."""

    slot: Slot
    gateway: str
    word: str
    """The status that it tells."""
    reason: str = ""
    stands: str = ""
    """The status that a report had given it before, and that outweighs this one; empty otherwise."""
    outcome: bool = True
    """Whether it tells the outcome of the call, with its cost."""


@dataclass(frozen=True)
class Books:
    """What a storm comes to."""

    lost: int
    """Verifications of which no gateway took a message."""
    repeated: int
    """Verifications of which gateways took more than one."""
    surplus: int
    """Messages that gateways took beyond the first of each verification."""
    uncertain: int
    """Dispatches of which the stories tell that nobody knows if the gateway took them."""
    breaches: tuple[str, ...]
    """What must not be, a sentence each; none in a storm that went well."""


def settle_books(
    started: Collection[str], calls: Iterable[Call], stories: Mapping[str, Story], struck: Collection[Slot]
) -> Books:
    """Compare what was started, what gateways saw and what the stories tell.

    ``struck`` are the dispatches that were open when their worker was killed or stopped: nobody else can know what
    became of them, so they alone excuse that a message is sent again.
    """
    of_each: defaultdict[str, list[Call]] = defaultdict(list)
    for call in calls:
        of_each[call.verification].append(call)
    taken = {one: sum(call.accepted for call in of_each[one]) for one in started}
    breaches = [f"{one}: a gateway was called, but nobody had started it" for one in of_each.keys() - set(started)]
    for one in started:
        breaches += [f"{one}: {what}" for what in _breaches(of_each[one], stories.get(one, {}), struck)]
    return Books(
        lost=sum(count == 0 for count in taken.values()),
        repeated=sum(count > 1 for count in taken.values()),
        surplus=sum(max(0, count - 1) for count in taken.values()),
        uncertain=sum(told.uncertain for story in stories.values() for told in story.values()),
        breaches=tuple(breaches),
    )


def settle_ledger(
    entries: Iterable[Entry], calls: Iterable[Call], stories: Mapping[str, Story], struck: Collection[Slot]
) -> list[str]:
    """Return where the ledger's dispatches are not the providers' calls, one by one, nor as the API tells them.

    Each call is there once, with its outcome. What no provider saw is there only where its worker was struck, which
    also is the only reason for an interruption, and for a further word on the outcome.
    """
    of_each: defaultdict[Slot, list[Entry]] = defaultdict(list)
    for entry in entries:
        of_each[entry.slot].append(entry)
    seen = {call.slot: call for call in calls}
    told = {slot: one for story in stories.values() for slot, one in story.items() if one.gateway}
    found = [f"{slot[0]}: the ledger lacks the call {_name(slot)}" for slot in seen if slot not in of_each]
    found += [f"{slot[0]}: the ledger lacks the dispatch {_name(slot)}" for slot in told if slot not in of_each]
    for slot, mine in of_each.items():
        what = _entries_differ(mine, seen.get(slot), told.get(slot), struck=slot in struck)
        found += [f"{slot[0]}: in the ledger {_name(slot)} {one}" for one in what]
    return found


def _entries_differ(mine: Sequence[Entry], call: Call | None, told: Told | None, *, struck: bool) -> Iterator[str]:
    """Yield what is wrong with the entries of a dispatch."""
    outcomes = [one for one in mine if one.outcome]
    interruptions = sum(one.reason == "interrupted" for one in outcomes)
    if {one.gateway for one in mine} != {call.gateway if call else mine[0].gateway}:
        yield "is of another gateway"
    if call is None and not struck:
        yield "was seen by no gateway"
    if len(outcomes) - (interruptions if struck else 0) > 1 or not outcomes or interruptions > 1:
        yield f"has {len(outcomes)} outcomes, {interruptions} of them interruptions"
    last = next((one.stands or one.word for one in reversed(mine)), "")
    if told and (last, mine[-1].gateway) != (told.status, told.gateway):
        yield f"is {last}, and the API tells {told.words}"


def _breaches(calls: Sequence[Call], story: Story, struck: Collection[Slot]) -> list[str]:
    """Return what is wrong with one verification."""
    taken = [call for call in calls if call.accepted]
    certain = [call for call in taken if call.slot not in struck]
    seen = {call.slot: call for call in calls}
    found = [] if taken else ["lost: no gateway took its message"]
    if len(certain) > 1:
        found.append(f"taken {len(taken)} times, {len(certain)} of them in calls that nothing interrupted")
    again = sorted(slot for slot, count in Counter(call.slot for call in calls).items() if count > 1)
    found += [f"dispatch {_name(slot)} called more than once" for slot in again]
    early = [slot for slot in list(story)[:-1] if story[slot].status == "sent" and slot not in struck]
    found += [f"dispatch {_name(slot)} was sent, and another one followed" for slot in early]
    found += [f"the story lacks a call to {call.gateway}" for slot, call in seen.items() if slot not in story]
    for slot, told in story.items():
        if what := _contradiction(told, seen.get(slot), struck=slot in struck):
            found.append(f"dispatch {_name(slot)}: {what}")
    if all(told.status != "sent" for told in story.values()):
        found.append("the story tells of nothing that was sent")
    return found


def _name(slot: Slot) -> str:
    return f"d{slot[1]}.{slot[2]}"


def _contradiction(told: Told, call: Call | None, *, struck: bool) -> str | None:
    """Return what is wrong with a dispatch as it is told, against what the gateway saw of it."""
    if call is not None and call.gateway != told.gateway:
        return f"called {call.gateway}, but the story says {told.gateway}"
    if not told.gateway or not told.choice:
        return f"told without gateway or the reason of its choice ({told.status})"
    if told.uncertain:
        return None if struck else f"told as {told.words}, but its worker was neither killed nor stopped"
    if struck and told.status == "failed" and call is None:
        return None  # stopped while it was connecting
    expected = {"sent": True, "failed": False}.get(told.status)
    if call is None or call.accepted is not expected:
        outcome = "saw nothing of it" if call is None else "took it" if call.accepted else "refused it"
        return f"told as {told.words}, but {told.gateway} {outcome}"
    return None
