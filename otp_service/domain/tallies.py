"""Counts of events for `newcomer_traffic` to judge, by country, number prefix and minute.

Several recorders add to them, in any order. **An event that is seen twice** (a recorder ended, or hung, before it
acknowledged what it had counted) counts twice. That happens to one batch at a time, to starts and approvals alike, so
the share stays what it was; and what one minute can say is bounded (`detection.LARGEST_STEP`). None is lost: tallies
are added before events are acknowledged.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from otp_service.domain.audit import Event
from otp_service.domain.guard import decode_attempt
from otp_service.domain.newcomer_traffic import MINUTE, CountryTraffic, Notice


class Who(StrEnum):
    """The standing of a start's number."""

    UNKNOWN = "n"
    CHECKED = "c"
    """Unknown and under suspicion, but a human check was passed."""
    KNOWN = "k"


class What(StrEnum):
    """What is counted."""

    MESSAGE = "m"
    """A start for which a message was sent."""
    MONEY = "p"
    """The most that those messages, and further ones of a verification, may cost, in millionths."""
    APPROVAL = "a"
    """By the minute of the start."""
    ASKED = "q"
    """A start that was asked for a human check; of an address one in ten minutes."""
    REPEATED = "r"
    """A start after a check that others of its address passed before: that it was asked is not counted."""
    LIFTED = "l"
    """An operator lifted what is held back of the country."""


@dataclass(frozen=True, slots=True)
class Tally:
    """What one count is of, within an application."""

    country: str
    number_prefix: str
    """The first digits of the numbers; empty where they do not matter."""
    minute: int
    """Since the epoch, by Redis' clock."""
    standing: Who
    kind: What

    def __str__(self) -> str:
        return f"{self.country}:{self.number_prefix}:{self.minute}:{self.standing}:{self.kind}"


def parse_tally(text: str) -> Tally:
    """Return what `Tally` is as a string."""
    country, number_prefix, minute, standing, kind = text.split(":")
    return Tally(country, number_prefix, int(minute), Who(standing), What(kind))


Tallies = Mapping[str, Mapping[Tally, int]]
"""By the name of the application."""

_STARTED: Final = "verification.started"
_RESENT: Final = "verification.resent"
_APPROVED: Final = "verification.approved"
HUMAN_CHECK_ASKED: Final = "human_check.asked"
"""Type of the event of a start under suspicion that sent nothing; it is counted, and no ledger keeps it."""
_KNOWN, _SAFE, _CHECKED, _REPEATED = "a", "s", "k", "r"
"""Flags of a start (``include_approvals.lua``)."""


def tally(events: Iterable[Event]) -> Tallies:
    """Return the tallies of events by application, without starts to numbers on the safe list."""
    counted: dict[str, Counter[Tally]] = {}
    for event in events:
        counts = counted.setdefault(event.member("application"), Counter())
        for key, amount in _counts(event):
            counts[key] += amount
    return {application: counts for application, counts in counted.items() if counts}


Blocks = Mapping[int, Mapping[str, int]]
"""Starts of newcomers by hour (since the epoch, by Redis' clock) and block: its pseudonym, its country, and the carrier
range, slashes between. A script takes off those that were approved (``guard_roll_back.lua``)."""


def tally_blocks(events: Iterable[Event]) -> Blocks:
    """Return the starts of newcomers among some events."""
    counted: dict[int, Counter[str]] = defaultdict(Counter)
    for event in events:
        standing, number_prefix = standing_of(event) if event.type == _STARTED else (None, "")
        if standing and standing is not Who.KNOWN:
            block = decode_attempt(event.member("attempt")).block
            counted[event.at // (60 * MINUTE)][f"{block}/{event.member('country')}/{number_prefix}"] += 1
    return counted


def standing_of(event: Event) -> tuple[Who | None, str]:
    """Return the standing of an event's number, ``None`` where it does not count, and the prefix where it matters."""
    guard = event.member("guard").partition(".")[0]
    if not guard or _SAFE in guard:
        return None, ""
    if _KNOWN in guard:
        return Who.KNOWN, ""
    return Who.CHECKED if _CHECKED in guard else Who.UNKNOWN, guard.lstrip("abcdefghijklmnopqrstuvwxyz")


def _counts(event: Event) -> Iterator[tuple[Tally, int]]:
    if event.type == HUMAN_CHECK_ASKED:
        yield (
            Tally(event.member("country"), event.member("range"), event.at // MINUTE, Who.UNKNOWN, What.ASKED),
            1,
        )
    standing, number_prefix = standing_of(event)
    if standing is None:
        return
    if event.type == _STARTED:
        place = event.member("country"), number_prefix, event.at // MINUTE, standing
        yield Tally(*place, What.MESSAGE), 1
        if _REPEATED in event.member("guard").partition(".")[0]:
            yield Tally(*place, What.REPEATED), 1
        yield Tally(*place, What.MONEY), decode_attempt(event.member("attempt")).price
    elif event.type == _RESENT:
        place = event.member("country"), number_prefix, event.at // MINUTE, standing
        yield Tally(*place, What.MONEY), int(event.member("price") or 0)
    elif event.type == _APPROVED and (standing is Who.KNOWN or event.member("known") != "1"):  # of a number once
        started = int(event.member("created")) // MINUTE
        yield Tally(event.member("country"), number_prefix, started, standing, What.APPROVAL), 1


def feed(country: CountryTraffic, tallies: Mapping[Tally, int], newest: int) -> list[Notice]:
    """Count tallies of a country, minute by minute; return the notices of the minutes before.

    Tallies of minutes after the ``newest``, counted while the clock was ahead, count in the newest.
    """
    groups: dict[tuple[int, str, Who], Counter[What]] = defaultdict(Counter)
    for key, count in tallies.items():
        groups[min(key.minute, newest), key.number_prefix, key.standing][key.kind] += count
    notices = []
    for minute, number_prefix, standing in sorted(groups):
        counts = groups[minute, number_prefix, standing]
        notices += _feed(country, minute * MINUTE, number_prefix, standing, counts)
    return notices


def _feed(
    country: CountryTraffic, at: int, number_prefix: str, standing: Who, counts: Mapping[What, int]
) -> list[Notice]:
    if What.LIFTED in counts:
        country.lift()
        return []
    messages, money, approvals = (counts.get(kind, 0) for kind in (What.MESSAGE, What.MONEY, What.APPROVAL))
    notices = country.asked(at, number_prefix, counts[What.ASKED]) if What.ASKED in counts else []
    match standing:
        case Who.KNOWN:
            notices += country.known_start(at, money, messages) if messages or money else []
            country.known_approve(at, approvals)
        case Who.CHECKED:
            repeated = counts.get(What.REPEATED, 0)
            notices += country.passed_check(at, number_prefix, money, messages, repeated) if messages or money else []
            country.approve(at, number_prefix, approvals, checked=True)
        case Who.UNKNOWN:
            notices += country.start(at, number_prefix, money, messages) if messages or money else []
            country.approve(at, number_prefix, approvals)
    return notices
