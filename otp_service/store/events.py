"""The event stream, the history of a number, the decisions of the guard, and the attempts in both streams."""

import hashlib
import heapq
import re
import time
from collections import Counter
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from operator import itemgetter
from typing import Any

import redis

from otp_service.domain.audit import CONSENT_GIVEN, Event
from otp_service.domain.guard import decode_attempt
from otp_service.domain.guard_replay import Attempt, AttemptKind
from otp_service.domain.verification import MAX_CODE_LIFE, RECORD_GRACE
from otp_service.store import keys
from otp_service.store.blocked_commands import MAX_WAIT, BlockedCommands
from otp_service.store.cluster import read_group
from otp_service.store.connection import Argument, raise_translated, server_time, translate_errors
from otp_service.store.leases import BucketShare
from otp_service.store.rulesets import NO_RULES
from otp_service.store.script_runner import ScriptRunner
from otp_service.store.signatures.common import NumberKeys
from otp_service.store.signatures.guard import (
    DECISION_NOTE,
    NUMBER_READ,
    Applications,
    DecisionNoteArguments,
    DecisionNoteKeys,
)
from otp_service.store.streams import StreamLimits, entry_id, entry_values, parse_entry_id, read_pages

GROUP = "ledger"
"""Consumer group of the recorders."""
_TRIM_BATCH = 10_000
"""Entries that are read to find how far a stream that is too long may be trimmed."""
_CONSUMER_IDLE = 24 * 3600 * 1000
"""Milliseconds after which a recorder without entries is taken for gone."""
_NO_GROUP = "NOGROUP"
_NO_STREAM = "no such key"
_TRIM_BUCKETS = 4
"""Quiet buckets that each trim includes: only age makes their streams too long."""


@dataclass(frozen=True, slots=True)
class EventBatch:
    """Some entries of a bucket's stream: their names and their events."""

    bucket: str
    entries: tuple[str, ...]
    events: tuple[Event, ...]

    @property
    def consents(self) -> tuple[str, ...]:
        """The entries with consents that came with starts."""
        pairs = zip(self.entries, self.events, strict=True)
        return tuple(entry for entry, event in pairs if event.type == CONSENT_GIVEN)

    def split(self) -> Iterator["EventBatch"]:
        """Yield a batch for each entry."""
        for entry in self.entries:
            yield self.only({entry})

    def only(self, entries: Container[str]) -> "EventBatch":
        """Return a batch of these entries."""
        pairs = [pair for pair in zip(self.entries, self.events, strict=True) if pair[0] in entries]
        return replace(self, entries=tuple(entry for entry, _ in pairs), events=tuple(event for _, event in pairs))


EntryPosition = tuple[int, int]
"""Place in a bucket's event stream: the parts of an entry's name."""


class EventLog:
    """The events of all buckets. Raises `StoreUnavailableError` when Redis does not answer in time."""

    def __init__(
        self,
        client: redis.Redis,
        scripts: ScriptRunner,
        limits: StreamLimits,
        buckets: tuple[str, ...],
    ) -> None:
        self._client = client
        self._scripts = scripts
        self._limits = limits
        self.buckets = buckets
        """The buckets, each with a stream."""
        self.share = BucketShare(scripts, "record", buckets)
        self._busy = set[str]()
        """Buckets with entries that were recorded since the last trim."""
        self._reads: BlockedCommands | None = None
        """Waits at each bucket of a cluster."""

    def take(self, consumer: str, max_entries: int, wait: int = 0) -> list[EventBatch]:
        """Return up to ``max_entries`` new entries of each bucket, this consumer's until they are acknowledged.

        Without entries it waits up to ``wait`` milliseconds, fewer than the client's time-out.
        """
        if not self.share.buckets:
            time.sleep(wait / 1000)
            return []
        if not self._scripts.is_cluster:
            return self._read(dict.fromkeys(self.share.buckets, ">"), consumer, max_entries, wait)
        if wait:
            return self._await(consumer, max_entries, wait)
        early, self._reads = self._reads.end() if self._reads else {}, None
        batches = [batch for answers in early.values() for batch in self._batches(answers)]
        return batches + self._read(dict.fromkeys(self.share.buckets, ">"), consumer, max_entries, 0)

    def _await(self, consumer: str, max_entries: int, wait: int) -> list[EventBatch]:
        """Return new entries as `take` does, with a command of its own for each bucket of a cluster."""

        def command(bucket: str) -> tuple[Argument, ...]:
            place = ("COUNT", max_entries, "BLOCK", 1000 * MAX_WAIT, "STREAMS", keys.events(bucket), ">")
            return "XREADGROUP", "GROUP", GROUP, consumer, *place

        self._reads = self._reads or self._scripts.blocked_commands(keys.events, command)
        answers = self._reads.collect(self.share.buckets, wait / 1000) if self._reads else {}
        batches = self._batches(answers.values())
        for bucket, answer in answers.items():
            if not isinstance(answer, redis.RedisError):
                continue
            if _NO_GROUP in str(answer):
                with translate_errors():
                    self._make_group(keys.events(bucket))
            elif not batches:
                raise_translated(answer)
        return batches

    def _batches(self, answers: Iterable[Any]) -> list[EventBatch]:
        """Return the entries in answers to ``XREADGROUP``, without errors."""
        names, batches = {keys.events(bucket).encode(): bucket for bucket in self.buckets}, []
        for answer in answers:
            for stream, entries in answer if isinstance(answer, list) else ():
                parsed = [(entry, dict(zip(parts[::2], parts[1::2], strict=True))) for entry, parts in entries if parts]
                batches.append(_batch(names[stream], parsed))
        return [batch for batch in batches if batch.entries]

    def held(self, consumer: str, max_entries: int, after: Mapping[str, str]) -> list[EventBatch]:
        """Return up to ``max_entries`` of this consumer's entries, the oldest first, ``after`` an entry of a bucket."""
        return self._read({bucket: after.get(bucket, "0") for bucket in self.buckets}, consumer, max_entries, 0)

    def _read(self, after: Mapping[str, str], consumer: str, max_entries: int, wait: int) -> list[EventBatch]:
        streams: dict[Any, Any] = {keys.events(bucket): entry for bucket, entry in after.items()}
        answers = self._with_groups(
            lambda: read_group(self._client, GROUP, consumer, streams, count=max_entries, block=wait or None)
        )
        names = {keys.events(bucket).encode(): bucket for bucket in after}
        pairs = answers.items() if isinstance(answers, dict) else answers or ()  # of two protocols
        batches = [_batch(names[stream], entries) for stream, entries in pairs]
        return [batch for batch in batches if batch.entries]

    def claim(self, consumer: str, max_entries: int, idle: int) -> list[EventBatch]:
        """Take over entries that were taken ``idle`` milliseconds ago, and not acknowledged."""
        batches = []
        for bucket in self.share.buckets:
            claim = partial(self._client.xautoclaim, keys.events(bucket), GROUP, consumer, idle, count=max_entries)
            batches.append(_batch(bucket, self._with_groups(claim)[1]))
        return [batch for batch in batches if batch.entries]

    def acknowledge(self, taken: EventBatch) -> None:
        """Acknowledge recorded entries; their consents are deleted."""
        stream = keys.events(taken.bucket)
        self._busy.add(taken.bucket)
        with translate_errors(), self._client.pipeline() as pipeline:
            if taken.consents:
                pipeline.xdel(stream, *taken.consents)
            pipeline.xack(stream, GROUP, *taken.entries)
            pipeline.execute()

    def consents(self, bucket: str, pseudonym: str) -> Iterator[EventBatch]:
        """Yield a number's consents that may be unrecorded, including those that a recorder holds."""
        stream = keys.events(bucket)
        with translate_errors():
            begin = "{}-{}".format(*self._recorded(stream))
        for entries in read_pages(self._client, stream, begin, "+", size=_TRIM_BATCH):
            taken = _batch(bucket, entries)
            for entry in taken.split():
                if entry.consents and entry.events[0].member("pseudonym") == pseudonym:
                    yield entry

    def counted_until(self) -> int:
        """Return the time (ms, by Redis' clock) before which every event is recorded: now, if no event waits."""
        with translate_errors():
            now = server_time(self._client)
            for stream in map(keys.events, self.buckets):
                entries: Any = self._client.xrange(stream, "{}-{}".format(*self._recorded(stream)), count=1)
                now = min([now, *(_position(entry)[0] for entry, _ in entries)])
            return now

    def unrecorded_from(self, bucket: str) -> EntryPosition:
        """Return the first entry of a bucket that may be unrecorded."""
        with translate_errors():
            return self._recorded(keys.events(bucket))

    def trim(self) -> None:
        """Trim recorded entries that are too old or too many.

        Buckets without an entry since the last trim take turns.
        """
        with translate_errors():
            oldest = server_time(self._client) - self._limits.milliseconds
        busy, self._busy = self._busy, set()
        for bucket in busy.union(self.share.next(_TRIM_BUCKETS)):
            stream = keys.events(bucket)
            with translate_errors():
                first = (oldest, 0)
                if (excess := self._client.xlen(stream) - self._limits.events) > 0:
                    entries: Any = self._client.xrange(stream, count=min(excess, _TRIM_BATCH) + 1)
                    first = max(first, _position(entries[-1][0]))
                bound = min(self._recorded(stream), first)
                if bound > (0, 0):
                    self._client.xtrim(stream, minid="{}-{}".format(*bound), approximate=False)

    def forget_recorders(self) -> None:
        """Delete consumers without entries that are idle for a day: each process has a name of its own."""
        for bucket in self.share.buckets:
            stream = keys.events(bucket)
            with translate_errors():
                consumers: Any = self._client.xinfo_consumers(stream, GROUP) if any(self._groups(stream)) else ()
                for consumer in consumers:
                    if not consumer["pending"] and consumer["idle"] > _CONSUMER_IDLE:
                        self._client.xgroup_delconsumer(stream, GROUP, consumer["name"])

    def unrecorded(self) -> int:
        """Return the approximate number of events that are not in the ledger yet."""
        total = 0
        for bucket in self.buckets:
            with translate_errors():
                for group in self._groups(keys.events(bucket)):
                    total += (group.get("lag") or 0) + group["pending"]
        return total

    def _recorded(self, stream: str) -> EntryPosition:
        for group in self._groups(stream):
            pending: Any = self._client.xpending(stream, GROUP)
            if pending["pending"]:
                return _position(pending["min"])
            milliseconds, count = _position(group["last-delivered-id"])
            return milliseconds, count + 1
        return 0, 0

    def _groups(self, stream: str) -> Iterator[Mapping[str, Any]]:
        try:
            groups: Any = self._client.xinfo_groups(stream)
        except redis.ResponseError as error:
            if _NO_STREAM not in str(error):
                raise
            return
        yield from (group for group in groups if group["name"] == GROUP.encode())

    def _with_groups(self, command: Callable[[], Any]) -> Any:  # noqa: ANN401 - as the command's type
        """Return a command's answer; where a stream lacks our group, create the groups and repeat the command."""
        with translate_errors():
            try:
                return command()
            except redis.ResponseError as error:
                if _NO_GROUP not in str(error):
                    raise
            for bucket in self.buckets:
                self._make_group(keys.events(bucket))
            return command()

    def _make_group(self, stream: str) -> None:
        try:
            self._client.xgroup_create(stream, GROUP, id="0", mkstream=True)
        except redis.ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise


def _batch(bucket: str, entries: Sequence[Any]) -> EventBatch:
    """Return a batch without deleted entries, which have no fields."""
    events = {entry.decode(): fields for entry, fields in entries if fields}
    return EventBatch(bucket, tuple(events), tuple(_parse_event(bucket, *event) for event in events.items()))


def _parse_event(bucket: str, entry: str, raw: Mapping[bytes, bytes]) -> Event:
    fields = entry_values(raw)
    at, kind = int(entry.partition("-")[0]), fields.pop("type", "")
    # After a fail-over another entry may have the name of a lost entry: a digest of the fields distinguishes them.
    digest = hashlib.blake2b(repr(sorted(raw.items())).encode(), digest_size=4).hexdigest()
    return Event(f"{entry_id(bucket, entry)}:{digest}", at, kind, fields)


def _position(entry: bytes | str) -> EntryPosition:
    milliseconds, _, count = (entry.decode() if isinstance(entry, bytes) else entry).partition("-")
    return int(milliseconds), int(count)


EVENT_SPAN = 1500 * (MAX_CODE_LIFE + RECORD_GRACE)
"""Milliseconds from a verification's start to its last event: the record's life, and half as much again."""
PAGE = 1000
"""Entries of a read."""
MAX_PAGES = 200
"""Reads of a search."""


@dataclass(frozen=True, slots=True)
class RecentVerification:
    """A verification in a number's state, which outlives the record."""

    id: str
    at: int
    """Start: milliseconds since the epoch, by Redis' clock."""


@dataclass(frozen=True, slots=True)
class EventHistory:
    """The events of some verifications."""

    events: Mapping[str, tuple[Event, ...]] = field(default_factory=dict)
    """By verification, the oldest first."""
    complete: bool = True
    """``False`` if the search ended after `MAX_PAGES`."""

    def of(self, verification_id: str) -> tuple[Event, ...]:
        return self.events.get(verification_id, ())


class History:
    """The number's last verifications, the event stream, and the queues."""

    def __init__(
        self,
        client: redis.Redis,
        scripts: ScriptRunner,
        buckets: tuple[str, ...],
        *,
        page: int = PAGE,
        max_pages: int = MAX_PAGES,
    ) -> None:
        self._client = client
        self._scripts = scripts
        self._buckets = buckets
        self._page = page
        self._max_pages = max_pages

    def recent(self, bucket: str, pseudonym: str) -> tuple[RecentVerification, ...]:
        """Return a number's last verifications, of all applications, newest first."""
        names = NumberKeys(keys.number(bucket, pseudonym))
        state = self._scripts.call(NUMBER_READ, names, Applications(()), NO_RULES)
        pairs = (line.partition(" ") for line in state.recent.decode().splitlines())
        return tuple(RecentVerification(verification_id, int(at.rstrip("+"))) for verification_id, _, at in pairs)

    def events_of(
        self, bucket: str, since: Mapping[str, int | None], begin: EntryPosition = (0, 0), pages: int | None = None
    ) -> EventHistory:
        """Return the events of some verifications, each from a time on for `EVENT_SPAN`, newest first.

        For an unknown start (``None``) the whole stream is searched, from ``begin`` and for at most so many ``pages``.
        """
        by_id: dict[str, list[Event]] = {verification_id: [] for verification_id in since}
        places = [(bucket, *span) for span in _spans(since.values(), begin)]
        complete = True
        for event in self._search(places, since, min(self._max_pages, pages or self._max_pages)):
            if event is None:
                complete = False
            elif event.member("id") in by_id:
                by_id[event.member("id")].append(event)
        return EventHistory({verification_id: tuple(events) for verification_id, events in by_id.items()}, complete)

    def verifications_with(
        self, member: str, value: str, spans: Mapping[str, tuple[str, str]]
    ) -> tuple[tuple[str, ...], bool]:
        """Return the verifications with an event whose ``member`` has a value, newest first; and whether all was read.

        ``spans``: the first and the last entry to read, by bucket.
        """
        verifications: dict[str, None] = {}
        places = [(bucket, *span) for bucket, span in spans.items()]
        complete = True
        for event in self._search(places, {value, value.replace("/", "\\/")}, self._max_pages):  # as Lua's JSON has it
            if event is None:
                complete = False
            elif event.member(member) == value:
                verifications[event.member("id")] = None
        return tuple(reversed(verifications)), complete

    def _search(
        self, places: Iterable[tuple[str, str, str]], texts: Iterable[str], max_pages: int
    ) -> Iterator[Event | None]:
        """Yield the events with any of the texts, by bucket, first and last entry; ``None`` after ``max_pages``."""
        pattern = _any_of(texts)
        for bucket, first, last in places:
            for entries in read_pages(self._client, keys.events(bucket), first, last, size=self._page):
                for entry, raw in entries:
                    if any(map(pattern.search, raw.values())):  # parsing takes longer than reading
                        yield _parse_event(bucket, entry.decode(), raw)
                max_pages -= 1
                if not max_pages:
                    yield None
                    return

    def waiting_messages(self) -> Mapping[str, int]:
        """Return the number of waiting messages by application, over all queues."""
        with translate_errors(), self._client.pipeline(transaction=False) as pipeline:
            for bucket in self._buckets:
                pipeline.hkeys(keys.queues(bucket))
            queues = sorted(queue.decode() for known in pipeline.execute() for queue in known)
            for queue in queues:
                pipeline.xlen(queue)
            lengths: list[int] = pipeline.execute()
        waiting: Counter[str] = Counter()
        for queue, length in zip(queues, lengths, strict=True):
            waiting[queue.rsplit(":", 3)[1]] += length
        return waiting


def _any_of(texts: Iterable[str]) -> re.Pattern[bytes]:
    return re.compile(b"|".join(re.escape(text.encode()) for text in texts))


def _spans(begins: Collection[int | None], first: EntryPosition) -> list[tuple[str, str]]:
    """Return the first and the last entries to read, newest first; spans that overlap are one."""
    if None in begins:
        return [("{}-{}".format(*first), "+")]
    spans: list[tuple[EntryPosition, int]] = []
    for begin in sorted(filter(None, begins), reverse=True):
        if spans and begin + EVENT_SPAN >= spans[-1][0][0]:
            spans[-1] = (max((begin, 0), first), spans[-1][1])
        elif begin + EVENT_SPAN >= first[0]:
            spans.append((max((begin, 0), first), begin + EVENT_SPAN))
    return [("{}-{}".format(*begin), str(end)) for begin, end in spans]


LIFTED = "lifted"
"""Mode of a decision that an operator lifted."""


@dataclass(frozen=True, slots=True)
class RuleHit:
    """A rule's count and limit at a decision."""

    rule: str
    used: float
    most: float
    window: int
    """Milliseconds of the limit; 0 for a limit on events in a row."""
    wait: int
    """Milliseconds."""
    mode: str


@dataclass(frozen=True, slots=True)
class Decision:
    """An entry of the stream of decisions."""

    id: str
    """Bucket, a colon, and the entry of the bucket's stream."""
    rule: str
    mode: str
    """``enforce``: refused; ``record_only``: would have been refused; or a change: ``open``, ``closed``, ``alarm``,
    ``lifted``."""
    kind: str
    """The request: ``start``, ``resend``, ``fallback``, ``check``; a further ``dispatch``; or ``change``."""
    trust: str
    """``known`` or ``unknown``: whether the context was known to the number; empty where it makes no difference."""
    until: int
    """Milliseconds since the epoch; 0 where waiting does not help."""
    verification: str
    """Empty for a refused start."""
    application: str
    purpose: str
    country: str
    rule_hits: tuple[RuleHit, ...]
    number_prefix: str = ""
    """The carrier's prefix of a start's number."""
    request: str = ""
    """Identifier of the refused API request; empty outside the API."""

    @property
    def entry(self) -> str:
        """The entry of the bucket's stream."""
        return self.id.partition(":")[2]

    @property
    def at(self) -> int:
        """Milliseconds since the epoch, by Redis' clock."""
        return int(self.entry.partition("-")[0])


class Decisions:
    """Reads the guard's decisions, and records those made outside other scripts."""

    def __init__(
        self, client: redis.Redis, scripts: ScriptRunner, buckets: tuple[str, ...], limits: StreamLimits
    ) -> None:
        self._client = client
        self._scripts = scripts
        self._buckets = buckets
        self._limits = limits

    def note(
        self, bucket: str, rule: str, application: str = "", purpose: str = "", country: str = "", request: str = "",
        *, mode: str = "enforce",
    ) -> str:  # fmt: skip
        """Record a rule's refusal of a start before any call to Redis, or a lift; return the decision's identifier."""
        arguments = DecisionNoteArguments(
            max_decisions=self._limits.decisions,
            max_age=self._limits.milliseconds,
            rule=rule,
            application=application,
            purpose=purpose,
            country=country,
            mode=mode,
            request=request,
        )
        entry = self._scripts.call(DECISION_NOTE, DecisionNoteKeys(keys.decisions(bucket)), arguments)
        return entry_id(bucket, entry.decode())

    def now(self) -> int:
        """Return Redis' time in milliseconds."""
        with translate_errors():
            return server_time(self._client)

    def find(self, name: str) -> Decision | None:
        """Return a decision by its identifier; ``None`` when it is unknown or gone."""
        if not (place := parse_entry_id(name, self._buckets)):
            return None
        bucket, entry = place
        with translate_errors():
            entries: Any = self._client.xrange(keys.decisions(bucket), entry, entry)
        return parse_decision(bucket, entries[0]) if entries else None

    def latest(self, max_decisions: int) -> Iterator[Decision]:
        """Yield up to ``max_decisions`` of each bucket, the newest of a bucket first."""
        for bucket in self._buckets:
            end, left = "+", max_decisions
            while left > 0:
                with translate_errors():
                    entries: Any = self._client.xrevrange(keys.decisions(bucket), end, "-", count=min(PAGE, left))
                yield from (parse_decision(bucket, entry) for entry in entries)
                if len(entries) < min(PAGE, left):
                    break
                end, left = "(" + entries[-1][0].decode(), left - len(entries)

    def after(self, bucket: str, entry: str, max_decisions: int) -> tuple[Decision, ...]:
        """Return up to ``max_decisions`` of a bucket, oldest first, after an entry or from the beginning."""
        begin = f"({entry}" if entry else "-"
        with translate_errors():
            entries: Any = self._client.xrange(keys.decisions(bucket), begin, count=max_decisions)
        return tuple(parse_decision(bucket, entry) for entry in entries)

    def of_request(self, request: str, first: int, last: int) -> tuple[Decision, ...]:
        """Return the decisions between two times (ms) that refused a request."""
        return tuple(
            parse_decision(bucket, entry)
            for bucket in self._buckets
            for entries in read_pages(self._client, keys.decisions(bucket), str(first), str(last), size=PAGE)
            for entry in entries
            if entry[1].get(b"request") == request.encode()
        )

    def of_subject(self, bucket: str, names: Collection[str]) -> tuple[Decision, ...]:
        """Return the decisions that have any of these pseudonyms or verifications, oldest first.

        The whole stream is read.
        """
        pattern = _any_of(names)
        pages = read_pages(self._client, keys.decisions(bucket), size=PAGE)
        recorded = (entry for entries in pages for entry in entries)
        return tuple(parse_decision(bucket, entry) for entry in recorded if any(map(pattern.search, entry[1].values())))

    def of_verification(self, bucket: str, verification_id: str) -> tuple[Decision, ...]:
        """Return the decisions on a verification, oldest first. The whole stream is read."""
        decisions = self.of_subject(bucket, [verification_id])
        return tuple(decision for decision in decisions if decision.verification == verification_id)


def parse_decision(bucket: str, entry: tuple[bytes, Mapping[bytes, bytes]]) -> Decision:
    """Return a decision from an entry of a bucket's stream."""
    name, raw = entry
    fields = entry_values(raw)
    rule_hits = []
    for text in filter(None, fields.get("rule_hits", "").split(",")):
        rule, used, most, window, wait, mode = text.split(" ")
        rule_hits.append(RuleHit(rule, float(used), float(most), int(window), int(wait), mode))
    return Decision(
        id=entry_id(bucket, name.decode()),
        rule=fields.get("rule", ""),
        mode=fields.get("mode", ""),
        kind=fields.get("kind", ""),
        trust=fields.get("trust", ""),
        until=int(fields.get("until", "0")),
        verification=fields.get("id", ""),
        application=fields.get("application", ""),
        purpose=fields.get("purpose", ""),
        country=fields.get("country", ""),
        rule_hits=tuple(rule_hits),
        number_prefix=decode_attempt(fields["attempt"]).number_prefix if "attempt" in fields else "",
        request=fields.get("request", ""),
    )


_ATTEMPT_KINDS = {
    "verification.started": AttemptKind.START,
    "verification.resent": AttemptKind.RESEND,
    "verification.approved": AttemptKind.APPROVED,
    "check.failed": AttemptKind.WRONG,
    "verification.max_attempts_reached": AttemptKind.WRONG,
    "check.refused": AttemptKind.CHECK,
}
"""Kinds of attempts by the type of their event."""


class Attempts:
    """Attempts: accepted messages and codes are in the events, refused messages in the decisions."""

    def __init__(self, client: redis.Redis, buckets: tuple[str, ...]) -> None:
        self._client = client
        self._buckets = buckets

    def all(self) -> Iterator[Attempt]:
        """Yield all stored attempts, oldest first."""
        return heapq.merge(*map(self._of, self._buckets), key=lambda attempt: attempt.at)

    def _of(self, bucket: str) -> Iterator[Attempt]:
        """Yield the attempts of a bucket, from the time on from which both of its streams are complete."""
        begin = str(max(self._begin(keys.events(bucket)), self._begin(keys.decisions(bucket))))
        accepted = (_accepted(*entry) for entry in self._entries(keys.events(bucket), begin))
        refused = (_refused(bucket, *entry) for entry in self._entries(keys.decisions(bucket), begin))
        for _, attempt in heapq.merge(accepted, refused, key=itemgetter(0)):  # an event precedes an equal decision
            if attempt:
                yield attempt

    def _begin(self, stream: str) -> int:
        """Return the time of a stream's first entry, 0 where no entry was deleted."""
        with translate_errors():
            if not self._client.exists(stream):
                return 0
            info: Any = self._client.xinfo_stream(stream)
        if info["entries-added"] == info["length"]:
            return 0
        return _position(info["first-entry"][0] if info["length"] else info["last-generated-id"])[0]

    def _entries(self, stream: str, begin: str) -> Iterator[tuple[EntryPosition, Mapping[str, str]]]:
        for entries in read_pages(self._client, stream, begin, size=PAGE):
            yield from ((_position(name), entry_values(raw)) for name, raw in entries)


def _accepted(position: EntryPosition, fields: Mapping[str, str]) -> tuple[EntryPosition, Attempt | None]:
    """Return an event's attempt, ``None`` for an event of another type."""
    kind = _ATTEMPT_KINDS.get(fields.get("type", ""))
    if kind is None or (kind is AttemptKind.START and "attempt" not in fields):
        return position, None
    if kind is AttemptKind.RESEND and fields.get("falls_back_from", "0") != "0":
        kind = AttemptKind.FALLBACK
    attempt = Attempt(position[0], kind, fields.get("id", ""), fields.get("rule", ""), _attempt_details(fields))
    return position, attempt


def _refused(bucket: str, entry: EntryPosition, fields: Mapping[str, str]) -> tuple[EntryPosition, Attempt | None]:
    """Return the message that a decision refused, or ``None``; its place is after the event before the decision."""
    position = max((entry[0], -1), _position(fields.get("after", "0-0")))
    if not {"attempt", "price"} & fields.keys():
        return position, None
    verification = fields["id"] or entry_id(bucket, "{}-{}".format(*entry))  # a refused start has no verification
    return position, Attempt(
        entry[0], AttemptKind(fields["kind"]), verification, fields["rule"], _attempt_details(fields)
    )


def _attempt_details(fields: Mapping[str, str]) -> str:
    """Return the details of a message for a replay."""
    if attempt := fields.get("attempt"):
        return f"{fields['application']}|{fields['country']}|{attempt}"
    return fields.get("price", "")
