"""A ledger whose traffic lies in several databases, by the buckets of numbers; all the rest is in one of its own.

Each database is a ledger by itself, with its tables, chain and purges. A verification stays in the one where it began;
of what begins, each bucket's is recorded by one. What follows for people and applications is recorded first, and
where the process dies before the traffic is, the stream brings both once more.
"""

import heapq
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, groupby
from operator import attrgetter, itemgetter
from types import MappingProxyType
from typing import Any

from sqlalchemy import Connection

from otp_service.domain.audit import CONSENT_GIVEN, Event, PurgeRecord
from otp_service.domain.keyring import Keyring
from otp_service.domain.stats import STARTED, StatsCount, StatsKey
from otp_service.ledger.audit import (
    MAX_VERIFICATIONS,
    DisputeFilter,
    Disputes,
    IncidentCounts,
    Incidents,
    IncidentScope,
    ProvenRow,
    read_numbers,
)
from otp_service.ledger.database import ELSEWHERE, Database
from otp_service.ledger.ledger import Ledger
from otp_service.ledger.reading import Reading
from otp_service.ledger.retention import Purge, Purges
from otp_service.ledger.schema import events, verifications
from otp_service.ledger.stats import Stats, Sum
from otp_service.ledger.subjects import Subjects, count_traffic
from otp_service.ledger.verifications import (
    EventsRecorded,
    RecordedVerification,
    VerificationLedger,
    follow_events,
    read_user_events,
    read_verifications,
)
from otp_service.ledger.webhooks import last_verifications


@dataclass(frozen=True, slots=True)
class Division:
    """Which ledger has what: each of them is whole, and knows of no other."""

    people: Ledger
    """That of consents, access and whatever else is no traffic; it may have traffic that is older than the others."""
    current: tuple[Ledger, ...]
    """Those that record what begins: a bucket's number chooses one."""
    former: tuple[Ledger, ...]
    """Those that recorded before: ``people``, and what the site has named."""
    keyring: Keyring

    @property
    def every(self) -> tuple[Ledger, ...]:
        """All of them, each once, the one of people first."""
        return tuple(dict.fromkeys((self.people, *self.current, *self.former)))

    def of_bucket(self, bucket: str | None) -> tuple[Ledger, ...]:
        """Return who may have traffic of a bucket, first the one that records it; all of them for ``None``."""
        return self.every if bucket is None else tuple(dict.fromkeys((self._recording(bucket), *self.former)))

    def of_number(self, pseudonym: str) -> tuple[Ledger, ...]:
        """Return who may have traffic of a number."""
        return self.of_bucket(self.keyring.bucket(pseudonym))

    def of_verification(self, name: str) -> tuple[Ledger, ...]:
        """Return who may have a verification; all where its name tells no bucket."""
        return self.of_bucket(self.keyring.bucket_of_id(name, retired=True))

    def of_filter(self, wanted: DisputeFilter) -> tuple[Ledger, ...]:
        """Return who may have what a filter wants."""
        if wanted.verification is not None:
            return self.of_verification(wanted.verification)
        return self.every if wanted.pseudonym is None else self.of_number(wanted.pseudonym)

    def parts(self, happened: Iterable[Event]) -> list[tuple[Ledger, list[Event]]]:
        """Return who is to record each of some events: of a verification that began in a former ledger, that one."""
        left, found = list(happened), list[tuple[Ledger, list[Event]]]()
        for ledger in self.former:
            begun = ledger.verifications.begun({one.member("id") for one in left})
            found.append((ledger, [one for one in left if one.member("id") in begun]))
            left = [one for one in left if one.member("id") not in begun]
        by_bucket: dict[str, list[Event]] = defaultdict(list)
        for one in left:
            by_bucket[one.id.partition(":")[0]].append(one)
        found += ((self._recording(bucket), some) for bucket, some in sorted(by_bucket.items()))
        return [(ledger, some) for ledger, some in found if some]

    def has_own_buckets(self) -> bool:
        """Tell whether each ledger has its own buckets, none yet, or is a former one: else some would not be found."""
        others = (one for one in self.current if one not in self.former)
        return all(one.stats.buckets() in (set(), self.buckets_of(one)) for one in others)

    def last_verifications(
        self,
        pseudonyms: Sequence[str],
        applications: Collection[str],
        begun: Mapping[tuple[str, str], str] = MappingProxyType({}),
    ) -> dict[tuple[str, str], str]:
        """Return the last verification of each application and number; those that are ``begun`` are recorded later."""
        found: dict[tuple[str, str], str] = {}
        by_bucket: dict[str, list[str]] = defaultdict(list)
        for one in pseudonyms:
            by_bucket[self.keyring.bucket(one)].append(one)
        for bucket, some in by_bucket.items():
            for ledger in reversed(self.of_bucket(bucket)):  # what began last is where traffic is recorded now
                with ledger.database.read() as connection:
                    found |= last_verifications(connection, some, applications)
        return found | {of: name for of, name in begun.items() if of[0] in applications and of[1] in pseudonyms}

    def note_buckets(self) -> None:
        """Note in each ledger which buckets it records."""
        for ledger in self.current:
            ledger.stats.note_buckets(self.buckets_of(ledger))

    def buckets_of(self, ledger: Ledger) -> set[str]:
        """Return the buckets whose traffic a ledger records."""
        return {one for one in self.keyring.buckets if self._recording(one) is ledger}

    def _recording(self, bucket: str) -> Ledger:
        return self.current[int(bucket, 16) % len(self.current)]


def divide(division: Division) -> Ledger:
    """Return one ledger made of several."""
    people = division.people
    database, reading = people.database, people.reading
    database.find_elsewhere(division.last_verifications)
    return replace(
        people,
        verifications=DividedVerifications(database, reading, division),
        stats=DividedStats(database, reading, division),
        subjects=DividedSubjects(database, reading, division),
        purges=DividedPurges(database, division),
        disputes=DividedDisputes(reading, division),
        incidents=DividedIncidents(reading, division),
        parts=division.every,
        has_own_buckets=division.has_own_buckets,
        note_buckets=division.note_buckets,
        divided_buckets=tuple(tuple(sorted(division.buckets_of(one))) for one in division.current),
    )


class DividedVerifications(VerificationLedger):
    """Verifications and their events, each in the ledger of its bucket."""

    def __init__(self, database: Database, reading: Reading, division: Division) -> None:
        super().__init__(database, reading)
        self._division = division

    def record(self, events: Sequence[Event], whole: Collection[str] | None = None) -> EventsRecorded:
        """Record what follows from events, and then what happened; what is there already is passed over.

        While one of the ledgers is away, part of it may be recorded: all of it is when it is recorded once more.
        """
        if not events:
            return EventsRecorded(0)
        parts = self._division.parts(one for one in events if one.type != CONSENT_GIVEN)
        new = [one for ledger, some in parts for one in ledger.verifications.unrecorded(some)]
        with self._database.write() as connection:
            connection.execution_options(**{ELSEWHERE: partial(self._division.last_verifications, begun=_begun(new))})
            told, place = follow_events(connection, events, new, again=True)
        count = sum(ledger.verifications.record_traffic(some, whole) for ledger, some in parts)
        return EventsRecorded(count, told, place)

    def keep(self, events: Sequence[Event]) -> None:
        """Keep events with all that they say, but for what replays read, and nothing that follows from it."""
        for ledger, some in self._division.parts(events):
            ledger.verifications.keep(some)

    def last_sender(self, pseudonym: str, gateway: str, since: int) -> tuple[str, int] | None:
        """Return the application whose message a number got last through a gateway, from a time on, and when."""
        ledgers = self._division.of_number(pseudonym)
        asked = (one.verifications.last_sender(pseudonym, gateway, since) for one in ledgers)
        return max(filter(None, asked), key=itemgetter(1), default=None)

    def latest(self, pseudonym: str, most: int, applications: Collection[str] = ()) -> tuple[RecordedVerification, ...]:
        """Return a number's last verifications, of some applications or all, newest first; without their events."""
        asked = (one.verifications.latest(pseudonym, most, applications) for one in self._division.of_number(pseudonym))
        return _newest(asked, most)

    def unapproved(
        self, since: int, until: int, most: int, **only: Collection[str]
    ) -> tuple[RecordedVerification, ...]:
        """Return verifications that started from a time to before another (ms) and were not approved, newest first."""
        return _newest((one.verifications.unapproved(since, until, most, **only) for one in self._division.every), most)

    def find(self, verification: str) -> RecordedVerification | None:
        """Return a verification, without its events; ``None`` when it is not here."""
        asked = (one.verifications.find(verification) for one in self._division.of_verification(verification))
        return next(filter(None, asked), None)

    def events_of(self, wanted: Sequence[str]) -> dict[str, tuple[Event, ...]]:
        """Return the events of some verifications, by verification, in the order in which they happened."""
        found: dict[str, list[Event]] = {one: [] for one in wanted}
        for ledger in dict.fromkeys(ledger for one in wanted for ledger in self._division.of_verification(one)):
            for name, happened in ledger.verifications.events_of(wanted).items():
                found[name] += happened
        return {one: tuple(sorted(happened, key=attrgetter("place"))) for one, happened in found.items()}

    def verifications_with(self, member: str, value: str, since: int, until: int | None, limit: int) -> tuple[str, ...]:
        """Return verifications with an event whose ``member`` has a value, newest first, at most so many."""
        answers = (
            ledger.verifications.verifications_with(member, value, since, until, limit)
            for ledger in self._division.every
        )
        return tuple(dict.fromkeys(chain.from_iterable(answers)))

    def pseudonym_of(self, verification: str) -> str | None:
        """Return whose a verification is; ``None`` when it is not here, empty where only its end is."""
        asked = [one.verifications.pseudonym_of(verification) for one in self._division.of_verification(verification)]
        return max((one for one in asked if one is not None), default=None)


def _begun(new: Iterable[Event]) -> dict[tuple[str, str], str]:
    """Return which verifications begin, by application and number."""
    starts = (one for one in new if one.type == STARTED)
    return {(one.member("application"), one.member("pseudonym")): one.member("id") for one in starts}


def _newest(asked: Iterable[tuple[RecordedVerification, ...]], most: int) -> tuple[RecordedVerification, ...]:
    return tuple(sorted(chain.from_iterable(asked), key=attrgetter("started"), reverse=True)[:most])


class DividedStats(Stats):
    """Hourly stats, summed over all ledgers."""

    def __init__(self, database: Database, reading: Reading, division: Division) -> None:
        super().__init__(database, reading)
        self._division = division

    def sums(
        self, since: int, until: int, by: Sequence[str], *, most: int | None = None, **only: Collection[str]
    ) -> list[Sum]:
        """Return sums of `StatsKey` from a time to before another (ms), in the order of what they are ``by``."""
        return _total((one.stats.sums(since, until, by, most=most, **only) for one in self._division.every), most)

    def delays(
        self, since: int, until: int, by: Sequence[str], *, most: int | None = None, **only: Collection[str]
    ) -> list[Sum]:
        """Return the same of `DelayKey`."""
        return _total((one.stats.delays(since, until, by, most=most, **only) for one in self._division.every), most)

    def position(self, stream: str) -> str:
        """Return the last entry of a stream of decisions that is in the stats; empty before the first."""
        return max((one.stats.position(stream) for one in self._division.of_bucket(stream)), key=_place)

    def add(self, stream: str, after: str, entry: str, stats: Mapping[StatsKey, StatsCount]) -> bool:
        """Add the stats of a stream's entries after one and up to another; tell whether nobody did so before."""
        recording, *_ = self._division.of_bucket(stream)
        return recording.stats.add(stream, after, entry, stats)

    def recount(self) -> Iterator[int]:
        """Count verifications anew from their events, in each ledger; yield how many of each day."""
        for one in self._division.every:
            yield from one.stats.recount()


def _total(asked: Iterable[list[Sum]], most: int | None) -> list[Sum]:
    times, amounts = Counter[tuple[Any, ...]](), Counter[tuple[Any, ...]]()
    for one in chain.from_iterable(asked):
        times[one.of] += one.times
        amounts[one.of] += one.amount
    return [Sum(of, times[of], amounts[of]) for of in sorted(times)[:most]]


def _place(entry: str) -> tuple[int, ...]:
    return tuple(map(int, entry.split("-"))) if entry else ()


class DividedSubjects(Subjects):
    """Export and erasure for a number: nothing is erased of traffic."""

    def __init__(self, database: Database, reading: Reading, division: Division) -> None:
        super().__init__(database, reading)
        self._division = division

    def _verifications(
        self, _: Connection, pseudonym: str, application: str | None
    ) -> tuple[RecordedVerification, ...]:
        found = list[RecordedVerification]()
        for ledger in self._division.of_number(pseudonym):
            with ledger.database.read() as connection:
                found += read_verifications(connection, pseudonym, application)
        return tuple(sorted(found, key=attrgetter("started")))

    def _events(self, _: Connection, user: str) -> tuple[Mapping[str, Any], ...]:
        happened = list[Mapping[str, Any]]()
        for ledger in self._division.of_number(user):
            with ledger.database.read() as connection:
                happened += read_user_events(connection, user)
        return tuple(sorted(happened, key=itemgetter("at")))

    def _traffic(self, _: Connection, pseudonym: str, application: str | None) -> tuple[list[str], int]:
        names, happened = list[str](), 0
        for ledger in self._division.of_number(pseudonym):
            with ledger.database.read() as connection:
                theirs, count = count_traffic(connection, pseudonym, application)
            names, happened = names + theirs, happened + count
        return names, happened


class DividedPurges(Purges):
    """The end of what is kept, in each ledger; whose turn it is the one of people tells."""

    def __init__(self, database: Database, division: Division) -> None:
        super().__init__(database)
        self._division = division

    def run(self, purge: Purge) -> Iterator[int]:
        """Purge a class of data; yield the rows of each transaction: then others have their turn."""
        for one in self._division.every:
            yield from one.purges.run(purge)

    def latest(self, data: str) -> PurgeRecord | None:
        """Return the last purge of a class of data that deleted anything in one ledger; ``None`` when none did."""
        asked = (one.purges.latest(data) for one in self._division.every)
        return max(filter(None, asked), key=attrgetter("at"), default=None)


class DividedDisputes(Disputes):
    """Records for disputes, each with its proof in the chain of its own ledger."""

    def __init__(self, reading: Reading, division: Division) -> None:
        super().__init__(reading)
        self._division = division

    def find(self, wanted: DisputeFilter) -> tuple[ProvenRow, ...]:
        """Return the rows of the ``wanted`` verifications, of their events, and of messages and consents of the number.

        At most `MAX_VERIFICATIONS` verifications, the oldest first.
        """
        ledgers = self._division.of_filter(wanted)
        found = [row for one in ledgers for row in _told_by(one, one.disputes.find(wanted))]
        begun = (row for row in found if row.table == verifications.name)
        oldest = sorted(begun, key=lambda one: one.row["started"])[:MAX_VERIFICATIONS]
        names = {one.row["id"] for one in oldest}
        happened = (row for row in found if row.table == events.name and row.row["verification"] in names)
        about = self.of_numbers([one.row for one in oldest])
        return (*oldest, *happened, *_told_by(self._division.people, about))


def _told_by(ledger: Ledger, rows: Iterable[ProvenRow]) -> list[ProvenRow]:
    name = ledger.audit.head().ledger
    return [replace(one, ledger=name) for one in rows]


class DividedIncidents(Incidents):
    """Counts of what was recorded in a time, summed over all ledgers."""

    def __init__(self, reading: Reading, division: Division) -> None:
        super().__init__(reading)
        self._division = division

    def count(self, span: IncidentScope) -> IncidentCounts:
        """Return what was recorded in a time."""
        counted = [one.incidents.count(span) for one in self._division.every]
        names = ("records", "statuses", "countries", "gateways", "operator_actions")
        totals = {name: _added(getattr(one, name) for one in counted) for name in names}
        return IncidentCounts(people=self._count_people(span), purged=sum(one.purged for one in counted), **totals)

    def _count_people(self, span: IncidentScope) -> int:
        """Return how many numbers there are, each once, whichever ledgers have something of it."""
        with ExitStack() as stack:
            connections = (stack.enter_context(one.database.read()) for one in self._division.every)
            sorted_numbers = [read_numbers(one, span) for one in connections]
            return sum(1 for _ in groupby(heapq.merge(*sorted_numbers)))


def _added(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total = Counter[str]()
    for one in counts:
        total.update(one)
    return dict(total)
