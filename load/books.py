"""The books of a load run: what callers were told, what the API tells of it, what the sink took. Without I/O.

Accepted = delivered + reported; approvals at most one each; messages = dispatches recorded; starts that were answered
by a 503 to the end are listed apart, with what became of them.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from journal import Entry

REPORTED = frozenset({"delivered", "undelivered"})
"""Statuses of a dispatch that the gateway reported on."""
TAKEN = frozenset({"sent", *REPORTED})
"""Statuses of a dispatch that the gateway took, whatever it reported later."""
FATES = ("delivered", "reported", "perhaps", "ended", "missing")
"""What may become of a message; the last one must not."""
ENDED = frozenset({"approved", "canceled", "failed", "max_attempts_reached"})
"""Statuses of a verification whose messages nobody wants any more."""
_OK, _CREATED, _ACCEPTED, _AWAY = 200, 201, 202, 503


@dataclass(frozen=True)
class Dispatch:
    """One entry of a verification's ``deliveries``, as the API tells it."""

    message: int
    gateway: str
    """Empty while the message waits, or where it was given up without a call."""
    status: str
    reason: str
    begun: float
    """Seconds since the epoch; the API tells whole ones."""

    @property
    def open(self) -> bool:
        """Whether nobody knows if the gateway took it."""
        return bool(self.gateway) and self.status in {"unknown", "queued"}


@dataclass(frozen=True)
class Told:
    """A verification as the API tells it at the end."""

    status: str
    dispatches: tuple[Dispatch, ...]

    def of(self, message: int) -> list[Dispatch]:
        """Return the dispatches of one message, in order."""
        return [one for one in self.dispatches if one.message == message]


@dataclass(frozen=True)
class Taken:
    """A call as the sink saw it."""

    gateway: str
    dispatch: str
    to: str
    accepted: bool
    lost: bool
    """Whether it never arrives, if it was accepted, and is reported so."""
    reported: bool
    """Whether the service took the report on it, before it was asked what it knows."""
    at: float


@dataclass(frozen=True)
class Strike:
    """Something that was done to the service on purpose, from when to when."""

    what: str
    """``worker``: killed; ``gateway``: failing; ``redis``: away."""
    began: float
    ended: float

    def covers(self, began: float, ended: float, after: float) -> bool:
        """Tell whether a time falls into it, or into so many seconds after it."""
        return ended >= self.began and began <= self.ended + after


@dataclass
class Books:
    """What a run comes to."""

    figures: dict[str, int] = field(default_factory=dict)
    breaches: list[str] = field(default_factory=list)
    """What must not be, a sentence each."""


RECOVERY = 2.0
"""Seconds after its return within which the service is whole again."""
SHADOW = 4.0
"""Seconds before a strike in which a call may have begun that it hit: a gateway's time-out, and one, for the API tells
whole seconds."""


def take_over(entries: Sequence[Entry], longest: float) -> Strike | None:
    """Return when another server took Redis' place, if one did: from its first 503 to the last of so many seconds."""
    away = [one for one in entries if one.code == "store-unavailable"]
    began = min((one.began for one in away), default=0.0)
    ends = [one.at for one in away if one.began <= began + longest]
    return Strike("redis", began, max(ends)) if ends else None


def settle(
    entries: Sequence[Entry],
    told: Mapping[str, Told],
    taken: Sequence[Taken],
    strikes: Sequence[Strike],
    counted: int | None = None,
) -> Books:
    """Compare them. ``counted`` is how many starts the service's own metrics say that it accepted."""
    books = Books()
    of_key = _by_key(entries)
    started = _started(of_key)
    _answers(books, entries, strikes)
    _verifications(books, of_key, started, told, strikes)
    _numbers(books, of_key, started, told, taken)
    answered = sum(one.call == "start" and one.status == _CREATED for one in entries)
    if counted is not None and counted != answered:
        books.breaches.append(f"the metrics count {counted} accepted starts, and {answered} were answered by 201")
    return books


def _by_key(entries: Iterable[Entry]) -> dict[str, list[Entry]]:
    of_key: defaultdict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        of_key[entry.key].append(entry)
    return of_key


def _started(of_key: Mapping[str, Sequence[Entry]]) -> dict[str, Entry]:
    """Return the verifications that were accepted, and their answers."""
    made = (one for requests in of_key.values() for one in requests if one.status == _CREATED)
    return {one.verification: one for one in made}


def lost(requests: Sequence[Entry]) -> bool:
    """Tell whether all requests for one thing were answered by 503, or not at all: nobody knows if it was done."""
    return all(one.status in {_AWAY, 0} for one in requests)


def _answers(books: Books, entries: Sequence[Entry], strikes: Sequence[Strike]) -> None:
    away = [one for one in strikes if one.what == "redis"]
    for one in entries:
        name = f"{one.scenario} {one.call} {one.verification or one.number}"
        if one.surprise:
            books.breaches.append(f"{name}: {one.surprise}")
        if not one.status:
            books.breaches.append(f"{name}: no answer")
        if one.status == _AWAY and not any(strike.covers(one.began, one.at, RECOVERY) for strike in away):
            books.breaches.append(f"{name}: answered by 503 {one.code} while Redis was there")
    books.figures["answers"] = len(entries)
    books.figures["of them 503"] = sum(one.status == _AWAY for one in entries)


def _verifications(
    books: Books,
    of_key: Mapping[str, Sequence[Entry]],
    started: Mapping[str, Entry],
    told: Mapping[str, Told],
    strikes: Sequence[Strike],
) -> None:
    acts: defaultdict[str, list[Sequence[Entry]]] = defaultdict(list)
    for requests in of_key.values():
        ids = {one.verification for one in requests if one.verification}
        if len(ids) > 1:
            books.breaches.append(f"{requests[0].call}: one key was answered for {len(ids)} verifications")
        if requests[0].call != "start" and ids:
            acts[ids.pop()].append(requests)
    fates: Counter[str] = Counter()
    approved = 0
    for one in started:
        if one not in told:
            books.breaches.append(f"{one}: accepted, and the API knows nothing of it")
            continue
        approvals = sum(any(entry.valid for entry in requests) for requests in acts[one])
        approved += approvals > 0
        books.breaches += [f"{one}: {what}" for what in _approvals(told[one], approvals, acts[one])]
        books.breaches += [f"{one}: {what}" for what in _messages(told[one], acts[one], fates, strikes)]
        books.breaches += [f"{one}: {what}" for what in _open(told[one], strikes)]
    books.figures |= {
        "verifications accepted": len(started),
        "approved": approved,
        "messages accepted": sum(fates[fate] for fate in FATES),
        "of them delivered to a gateway": fates["delivered"],
        "of them reported as failed": fates["reported"],
        "of them reported as perhaps sent": fates["perhaps"],
        "of them not wanted any more, for the verification had ended": fates["ended"],
        "of them neither delivered nor reported": fates["missing"],
        "messages sent twice, for their worker was killed": fates["twice"],
    }


def _approvals(told: Told, approvals: int, acts: Sequence[Sequence[Entry]]) -> list[str]:
    found = [f"approved {approvals} times"] if approvals > 1 else []
    unheard = any(requests[0].call == "check" and lost(requests) for requests in acts)
    if approvals and told.status != "approved":
        found.append(f"a check was right, and its status is {told.status}")
    if told.status == "approved" and not approvals and not unheard:
        found.append("its status is approved, and no check was right")
    return found


def _messages(told: Told, acts: Sequence[Sequence[Entry]], fates: Counter[str], strikes: Sequence[Strike]) -> list[str]:
    """Judge each message of a verification, and count what became of it."""
    resends = [requests for requests in acts if requests[0].call == "resend"]
    expected = 1 + sum(any(one.status == _ACCEPTED for one in requests) for requests in resends)
    unheard = sum(lost(requests) for requests in resends)
    numbers = sorted({one.message for one in told.dispatches})
    found = []
    if numbers != list(range(1, len(numbers) + 1)) or not expected <= len(numbers) <= expected + unheard:
        found.append(f"{expected} messages were accepted, and the API tells of {numbers}")
    for number in numbers:
        fate = fate_of(told, number)
        fates[fate] += 1
        if fate == "missing":
            found.append(f"message {number} is neither delivered nor reported")
        *earlier, _ = [one for one in told.of(number) if one.status in TAKEN] or [None]
        fates["twice"] += bool(earlier)
        if not all(_was_struck(one, strikes) for one in earlier):
            found.append(f"message {number} is told to be sent more than once, and nothing struck the worker")
    return found


def fate_of(told: Told, message: int) -> str:
    """Return what became of a message, in one word."""
    dispatches = told.of(message)
    last = dispatches[-1]
    if any(one.status in TAKEN for one in dispatches):
        return "delivered"
    if any(one.open for one in dispatches):
        return "perhaps" if last.status != "queued" or told.status != "pending" else "missing"
    if last.status in {"failed", "expired"} and last.reason:
        return "ended" if last.reason in ENDED else "reported"
    return "ended" if told.status in ENDED else "missing"


def _open(told: Told, strikes: Sequence[Strike]) -> list[str]:
    """Return the dispatches of which nobody knows what became, and that nothing struck."""
    return [
        f"message {one.message}: {one.status}, and nothing struck the worker"
        for one in told.dispatches
        if one.open and not _was_struck(one, strikes)
    ]


def _was_struck(dispatch: Dispatch, strikes: Sequence[Strike]) -> bool:
    """Tell whether a worker was killed, or Redis away, while it may have been open: a report may have come since."""
    hits = [one for one in strikes if one.what != "gateway"]
    return any(hit.covers(dispatch.begun, dispatch.begun + SHADOW, RECOVERY) for hit in hits)


def _numbers(
    books: Books,
    of_key: Mapping[str, Sequence[Entry]],
    started: Mapping[str, Entry],
    told: Mapping[str, Told],
    taken: Sequence[Taken],
) -> None:
    """Compare, number by number and gateway by gateway, what is recorded and what the sink saw."""
    recorded: defaultdict[tuple[str, str], list[Dispatch]] = defaultdict(list)
    for one, answer in started.items():
        for dispatch in told[one].dispatches if one in told else ():
            if dispatch.gateway:
                recorded[answer.number, dispatch.gateway].append(dispatch)
    seen: defaultdict[tuple[str, str], list[Taken]] = defaultdict(list)
    for call in taken:
        seen[call.to, call.gateway].append(call)
    unheard = Counter(requests[0].number for requests in of_key.values() if _is_lost_start(requests))
    apart = 0
    for place in recorded.keys() | seen.keys():
        number, gateway = place
        what = _calls_differ(recorded[place], seen[place], unheard[number])
        if what := what or _reports_differ(recorded[place], seen[place]):
            books.breaches.append(f"{number} through {gateway}: {what}")
        apart += max(0, len(seen[place]) - len(recorded[place])) if unheard[number] else 0
    books.breaches += _too_many(recorded, seen, unheard)
    again = [one for one, count in Counter(call.dispatch for call in taken).items() if count > 1]
    books.breaches += [f"dispatch {one} came more than once" for one in again]
    books.figures |= {
        "dispatches recorded": sum(map(len, recorded.values())),
        "of them unknown, for a worker was killed or Redis away": sum(
            one.open for all_ in recorded.values() for one in all_
        ),
        "calls that the sink saw": len(taken),
        "of them accepted": sum(call.accepted for call in taken),
        "reports that the sink handed over": sum(call.reported for call in taken),
        "starts answered by 503 to the end": sum(unheard.values()),
        "calls to the sink for these": apart,
    }


def _is_lost_start(requests: Sequence[Entry]) -> bool:
    return requests[0].call == "start" and lost(requests)


def _calls_differ(recorded: Sequence[Dispatch], seen: Sequence[Taken], lost_starts: int) -> str:
    """Return what is wrong with the calls of a number to a gateway; empty when nothing is.

    For each start of the number that was lost there may be calls of which no record is known, of which it accepted one.
    """
    sent = sum(one.status in TAKEN for one in recorded)
    refused = sum(not one.open and one.status not in TAKEN for one in recorded)
    perhaps = sum(one.open for one in recorded)
    accepted = sum(call.accepted for call in seen)
    surplus = len(seen) - len(recorded)
    too_few = accepted < sent or len(seen) - accepted < refused or surplus < -perhaps
    too_many = accepted > sent + perhaps + lost_starts if lost_starts else surplus > 0
    if not too_few and not too_many:
        return ""
    return (
        f"{sent} sent, {refused} refused, {perhaps} unknown are recorded, "
        f"the sink accepted {accepted} and refused {len(seen) - accepted}"
    )


def _reports_differ(recorded: Sequence[Dispatch], seen: Sequence[Taken]) -> str:
    """Return what is wrong with the reports of these calls; empty when nothing is. Unrecorded calls may have some."""
    reports, told = sum(call.reported for call in seen), sum(one.status in REPORTED for one in recorded)
    if reports <= told + max(0, len(seen) - len(recorded)):
        return _ends_differ(recorded, [call for call in seen if call.accepted])
    return f"the sink handed over {reports} reports, and {told} are recorded"


def _ends_differ(recorded: Sequence[Dispatch], accepted: Sequence[Taken]) -> str:
    """Return what is told to have arrived and did not, or the other way round; empty when nothing is."""
    told = Counter(one.status for one in recorded)
    lost = sum(call.lost for call in accepted)
    if told["delivered"] <= len(accepted) - lost and told["undelivered"] <= lost:
        return ""
    return (
        f"{told['delivered']} delivered, {told['undelivered']} undelivered are recorded, "
        f"of the sink's {len(accepted)} {lost} never arrived"
    )


def _too_many(
    recorded: Mapping[tuple[str, str], Sequence[Dispatch]],
    seen: Mapping[tuple[str, str], Sequence[Taken]],
    unheard: Counter[str],
) -> list[str]:
    """Return the numbers of which all gateways together accepted more than records and lost starts allow."""
    accepted = Counter(number for (number, _), calls in seen.items() for call in calls if call.accepted)
    possible = unheard + Counter(
        number for (number, _), all_ in recorded.items() for one in all_ if one.open or one.status in TAKEN
    )
    return [
        f"{number}: the sink accepted {count} through all gateways, and {possible[number]} at most were to be"
        for number, count in accepted.items()
        if count > possible[number]
    ]
