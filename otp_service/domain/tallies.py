"""Counts of events for `newcomer_traffic` to judge, by country, number prefix and minute.

Several recorders add to them, in any order. **An event that is read twice** (a recorder ended, or hung, before it
acknowledged the event) counts twice. That happens to one batch at a time, to starts and approvals alike, so the share
stays the same; and the evidence of one minute is bounded (`detection.LARGEST_STEP`). None is lost: tallies are added
before events are acknowledged.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from otp_service.domain.audit import Event
from otp_service.domain.guard import decode_attempt
from otp_service.domain.newcomer_traffic import MINUTE, CountryTraffic, Notice
from otp_service.domain.stats import APPROVED, STARTED


class Standing(StrEnum):
    """The standing of a start's number."""

    UNKNOWN = "n"
    CHECKED = "c"
    """Unknown and under suspicion, with a passed human check."""
    KNOWN = "k"


class TallyKind(StrEnum):
    """The kind of a count."""

    MESSAGE = "m"
    MONEY = "p"
    """The maximum cost of those messages, and of resends, in millionths."""
    APPROVAL = "a"
    """By the minute of the start."""
    ASKED = "q"
    """A start that required a human check; one for each address in ten minutes."""
    REPEATED = "r"
    """A start after a check, of an address whose required check was counted before."""
    LIFTED = "l"
    """An operator lifted the country's alarms."""


@dataclass(frozen=True, slots=True)
class Tally:
    """The key of a count, within an application."""

    country: str
    number_prefix: str
    """The first digits of the numbers; empty where they do not matter."""
    minute: int
    """Since the epoch, by Redis' clock."""
    standing: Standing
    kind: TallyKind

    def __str__(self) -> str:
        return f"{self.country}:{self.number_prefix}:{self.minute}:{self.standing}:{self.kind}"


def parse_tally(text: str) -> Tally:
    """Return a tally from its string."""
    country, number_prefix, minute, standing, kind = text.split(":")
    return Tally(country, number_prefix, int(minute), Standing(standing), TallyKind(kind))


Tallies = Mapping[str, Mapping[Tally, int]]

_RESENT: Final = "verification.resent"
HUMAN_CHECK_ASKED: Final = "human_check.asked"
"""Type of the event of a start under suspicion that sent nothing; it is counted, and not recorded in the ledger."""
_KNOWN, _SAFE, _CHECKED, _REPEATED = "a", "s", "k", "r"
"""Flags of a start (``include_approvals.lua``)."""


def tally(events: Iterable[Event]) -> Tallies:
    """Return the tallies of events by application, without allowlisted numbers."""
    counted: dict[str, Counter[Tally]] = {}
    for event in events:
        counts = counted.setdefault(event.member("application"), Counter())
        for key, amount in _counts(event):
            counts[key] += amount
    return {application: counts for application, counts in counted.items() if counts}


Blocks = Mapping[int, Mapping[str, int]]
"""Starts of unknown numbers by hour (since the epoch, by Redis' clock) and block: its pseudonym, country and number
prefix, with slashes. A script takes off those that were approved (``guard_roll_back.lua``)."""


def tally_blocks(events: Iterable[Event]) -> Blocks:
    """Return the starts of unknown numbers among some events."""
    counted: dict[int, Counter[str]] = defaultdict(Counter)
    for event in events:
        standing, number_prefix = standing_of(event) if event.type == STARTED else (None, "")
        if standing and standing is not Standing.KNOWN:
            block = decode_attempt(event.member("attempt")).block
            counted[event.at // (60 * MINUTE)][f"{block}/{event.member('country')}/{number_prefix}"] += 1
    return counted


def standing_of(event: Event) -> tuple[Standing | None, str]:
    """Return the standing of an event's number, ``None`` where it does not count, and the prefix where it matters."""
    guard = event.member("guard").partition(".")[0]
    if not guard or _SAFE in guard:
        return None, ""
    if _KNOWN in guard:
        return Standing.KNOWN, ""
    return Standing.CHECKED if _CHECKED in guard else Standing.UNKNOWN, guard.lstrip("abcdefghijklmnopqrstuvwxyz")


def _counts(event: Event) -> Iterator[tuple[Tally, int]]:
    if event.type == HUMAN_CHECK_ASKED:
        place = event.member("country"), event.member("range"), event.at // MINUTE
        yield Tally(*place, Standing.UNKNOWN, TallyKind.ASKED), 1
    standing, number_prefix = standing_of(event)
    if standing is None:
        return
    key = event.member("country"), number_prefix, event.at // MINUTE, standing
    if event.type == STARTED:
        yield Tally(*key, TallyKind.MESSAGE), 1
        if _REPEATED in event.member("guard").partition(".")[0]:
            yield Tally(*key, TallyKind.REPEATED), 1
        yield Tally(*key, TallyKind.MONEY), decode_attempt(event.member("attempt")).price
    elif event.type == _RESENT:
        yield Tally(*key, TallyKind.MONEY), int(event.member("price") or 0)
    elif event.type == APPROVED and (standing is Standing.KNOWN or event.member("known") != "1"):  # of a number once
        started = int(event.member("created")) // MINUTE
        yield Tally(event.member("country"), number_prefix, started, standing, TallyKind.APPROVAL), 1


def feed(country: CountryTraffic, tallies: Mapping[Tally, int], newest: int) -> list[Notice]:
    """Count tallies by minute, later ones in the ``newest``; return the notices of the minutes before."""
    groups: dict[tuple[int, str, Standing], Counter[TallyKind]] = defaultdict(Counter)
    for key, count in tallies.items():
        groups[min(key.minute, newest), key.number_prefix, key.standing][key.kind] += count
    notices: list[Notice] = []
    for minute, number_prefix, standing in sorted(groups):
        counts = groups[minute, number_prefix, standing]
        at = minute * MINUTE
        if TallyKind.LIFTED in counts:
            country.lift()
            continue
        messages, money, approvals = counts[TallyKind.MESSAGE], counts[TallyKind.MONEY], counts[TallyKind.APPROVAL]
        if TallyKind.ASKED in counts:
            notices += country.require_check(at, number_prefix, counts[TallyKind.ASKED])
        sent = messages or money
        match standing:
            case Standing.KNOWN:
                notices += country.known_start(at, money, messages) if sent else []
                country.known_approve(at, approvals)
            case Standing.CHECKED:
                repeated = counts[TallyKind.REPEATED]
                notices += country.passed_check(at, number_prefix, money, messages, repeated) if sent else []
                country.approve(at, number_prefix, approvals, checked=True)
            case Standing.UNKNOWN:
                notices += country.start(at, number_prefix, money, messages) if sent else []
                country.approve(at, number_prefix, approvals)
    return notices
