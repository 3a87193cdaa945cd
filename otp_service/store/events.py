"""The event stream, the history of a number, the decisions of the guard, and what both streams say was tried."""

import hashlib
import heapq
import re
import time
from collections import Counter
from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence
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
"""Entries that are looked at to find how far a stream that is too long may be trimmed."""
_CONSUMER_IDLE = 24 * 3600 * 1000
"""Milliseconds after which a recorder that holds nothing is taken for gone."""
_NO_GROUP = "NOGROUP"
_NO_STREAM = "no such key"
_TRIM_BUCKETS = 4
"""Quiet buckets whose streams are looked at together: only age makes them too long."""


@dataclass(frozen=True, slots=True)
class EventBatch:
    """Some entries of one bucket's stream."""

    bucket: str
    entries: tuple[str, ...]
    """Their names in the stream."""
    events: tuple[Event, ...]
    """What they say."""

    @property
    def consents(self) -> tuple[str, ...]:
        """The entries with consents that came with starts."""
        pairs = zip(self.entries, self.events, strict=True)
        return tuple(entry for entry, event in pairs if event.type == CONSENT_GIVEN)

    def split(self) -> Iterator["EventBatch"]:
        """Yield the entries one by one."""
        for entry in self.entries:
            yield self.only({entry})

    def only(self, entries: Container[str]) -> "EventBatch":
        """Return some of the entries."""
        kept = [(entry, event) for entry, event in zip(self.entries, self.events, strict=True) if entry in entries]
        return replace(self, entries=tuple(entry for entry, _ in kept), events=tuple(event for _, event in kept))


EntryPosition = tuple[int, int]
"""Where in a bucket's event stream: the parts of an entry's name."""


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
        self._buckets = buckets
        self.share = BucketShare(scripts, "record", buckets)
        """Whose events are taken, taken over and trimmed."""
        self._busy = set[str]()
        """Buckets with entries that were recorded since the last trim."""
        self._reads: BlockedCommands | None = None
        """Waits at each bucket of a cluster."""

    @property
    def buckets(self) -> tuple[str, ...]:
        """The buckets that have a stream each."""
        return self._buckets

    def take(self, consumer: str, most: int, wait: int = 0) -> list[EventBatch]:
        """Return new entries, at most ``most`` of each bucket; they are this consumer's until they are acknowledged.

        Where there are none, they are waited for: ``wait`` milliseconds, fewer than the client's time-out.
        """
        if not self.share.buckets:
            time.sleep(wait / 1000)
            return []
        if not self._scripts.is_cluster:
            return self._read(dict.fromkeys(self.share.buckets, ">"), consumer, most, wait)
        if wait:
            return self._await(consumer, most, wait)
        early, self._reads = self._reads.end() if self._reads else {}, None
        batches = [batch for answers in early.values() for batch in self._batches(answers)]
        return batches + self._read(dict.fromkeys(self.share.buckets, ">"), consumer, most, 0)

    def _await(self, consumer: str, most: int, wait: int) -> list[EventBatch]:
        """Return new entries as `take` does; each bucket of a cluster is waited for by itself."""

        def command(bucket: str) -> tuple[Argument, ...]:
            place = ("COUNT", most, "BLOCK", 1000 * MAX_WAIT, "STREAMS", keys.events(bucket), ">")
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
        names, batches = {keys.events(bucket).encode(): bucket for bucket in self._buckets}, []
        for answer in answers:
            for stream, entries in answer if isinstance(answer, list) else ():
                parsed = [(entry, dict(zip(parts[::2], parts[1::2], strict=True))) for entry, parts in entries if parts]
                batches.append(_batch(names[stream], parsed))
        return [batch for batch in batches if batch.entries]

    def held(self, consumer: str, most: int, after: Mapping[str, str]) -> list[EventBatch]:
        """Return entries that are this consumer's, the oldest first, ``after`` one of a bucket, at most so many."""
        return self._read({bucket: after.get(bucket, "0") for bucket in self._buckets}, consumer, most, 0)

    def _read(self, after: Mapping[str, str], consumer: str, most: int, wait: int) -> list[EventBatch]:
        streams: dict[Any, Any] = {keys.events(bucket): entry for bucket, entry in after.items()}
        answers = self._with_groups(
            lambda: read_group(self._client, GROUP, consumer, streams, count=most, block=wait or None)
        )
        names = {keys.events(bucket).encode(): bucket for bucket in after}
        pairs = answers.items() if isinstance(answers, dict) else answers or ()  # of two protocols
        batches = [_batch(names[stream], entries) for stream, entries in pairs]
        return [batch for batch in batches if batch.entries]

    def claim(self, consumer: str, most: int, idle: int) -> list[EventBatch]:
        """Take over entries that were taken ``idle`` milliseconds ago, and not acknowledged."""
        batches = []
        for bucket in self.share.buckets:
            claim = partial(self._client.xautoclaim, keys.events(bucket), GROUP, consumer, idle, count=most)
            batches.append(_batch(bucket, self._with_groups(claim)[1]))
        return [batch for batch in batches if batch.entries]

    def acknowledge(self, taken: EventBatch) -> None:
        """Note that entries are recorded; consents go with that."""
        stream, consents = keys.events(taken.bucket), taken.consents
        self._busy.add(taken.bucket)
        with translate_errors(), self._client.pipeline() as pipeline:
            if consents:
                pipeline.xdel(stream, *consents)
            pipeline.xack(stream, GROUP, *taken.entries)
            pipeline.execute()

    def consents(self, bucket: str, pseudonym: str) -> Iterator[EventBatch]:
        """Yield the consents of a number that are not known to be recorded, including those that a recorder holds."""
        stream = keys.events(bucket)
        with translate_errors():
            begin = "{}-{}".format(*self._recorded(stream))
        for entries in read_pages(self._client, stream, begin, "+", size=_TRIM_BATCH):
            taken = _batch(bucket, entries)
            for entry in taken.split():
                if entry.consents and entry.events[0].member("pseudonym") == pseudonym:
                    yield entry

    def counted_until(self) -> int:
        """Return the time (ms, by Redis' clock) before which all that happened is counted: now, if nothing waits."""
        with translate_errors():
            now = server_time(self._client)
            for stream in map(keys.events, self._buckets):
                entries: Any = self._client.xrange(stream, "{}-{}".format(*self._recorded(stream)), count=1)
                now = min([now, *(_position(entry)[0] for entry, _ in entries)])
            return now

    def unrecorded_from(self, bucket: str) -> EntryPosition:
        """Return the first entry of a bucket that is not known to be recorded: all before it are."""
        with translate_errors():
            return self._recorded(keys.events(bucket))

    def trim(self) -> None:
        """Trim what is recorded in the ledger, and too old or too much.

        Buckets without an entry since the last trim take turns.
        """
        with translate_errors():
            oldest = server_time(self._client) - self._limits.milliseconds
        busy, self._busy = self._busy, set()
        for bucket in busy.union(self.share.next(_TRIM_BUCKETS)):
            stream = keys.events(bucket)
            with translate_errors():
                bound = min(self._recorded(stream), max((oldest, 0), self._superfluous(stream)))
                if bound > (0, 0):
                    self._client.xtrim(stream, minid="{}-{}".format(*bound), approximate=False)

    def forget_recorders(self) -> None:
        """Delete consumers that hold nothing and are idle for a day: each process has a name of its own."""
        for bucket in self.share.buckets:
            stream = keys.events(bucket)
            with translate_errors():
                consumers: Any = self._client.xinfo_consumers(stream, GROUP) if any(self._groups(stream)) else ()
                for consumer in consumers:
                    if not consumer["pending"] and consumer["idle"] > _CONSUMER_IDLE:
                        self._client.xgroup_delconsumer(stream, GROUP, consumer["name"])

    def unrecorded(self) -> int:
        """Return about how many events are not in the ledger yet."""
        total = 0
        for bucket in self._buckets:
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

    def _superfluous(self, stream: str) -> EntryPosition:
        """Return the first entry that stays when the stream is cut to its greatest length."""
        too_many = self._client.xlen(stream) - self._limits.events
        if too_many <= 0:
            return 0, 0
        entries: Any = self._client.xrange(stream, count=min(too_many, _TRIM_BATCH) + 1)
        return _position(entries[-1][0])

    def _groups(self, stream: str) -> Iterator[Mapping[str, Any]]:
        try:
            groups: Any = self._client.xinfo_groups(stream)
        except redis.ResponseError as error:
            if _NO_STREAM not in str(error):
                raise
            return
        yield from (group for group in groups if group["name"] == GROUP.encode())

    def _with_groups(self, ask: Any) -> Any:  # noqa: ANN401 - whatever the command answers
        """Ask; where a stream has no group of ours yet, or lost it with all else, make it and ask again."""
        with translate_errors():
            try:
                return ask()
            except redis.ResponseError as error:
                if _NO_GROUP not in str(error):
                    raise
            for bucket in self._buckets:
                self._make_group(keys.events(bucket))
            return ask()

    def _make_group(self, stream: str) -> None:
        try:
            self._client.xgroup_create(stream, GROUP, id="0", mkstream=True)
        except redis.ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise


def _batch(bucket: str, entries: Sequence[Any]) -> EventBatch:
    """Return a batch without the entries that were deleted meanwhile, which have no fields."""
    events = {entry.decode(): fields for entry, fields in entries if fields}
    return EventBatch(bucket, tuple(events), tuple(_parse_event(bucket, *event) for event in events.items()))


def _parse_event(bucket: str, entry: str, raw: Mapping[bytes, bytes]) -> Event:
    fields = entry_values(raw)
    at, kind = int(entry.partition("-")[0]), fields.pop("type", "")
    # After a fail-over another entry may have the name of a lost one: a digest of the fields tells them apart.
    digest = hashlib.blake2b(repr(sorted(raw.items())).encode(), digest_size=4).hexdigest()
    return Event(f"{entry_id(bucket, entry)}:{digest}", at, kind, fields)


def _position(entry: bytes | str) -> EntryPosition:
    milliseconds, _, count = (entry.decode() if isinstance(entry, bytes) else entry).partition("-")
    return int(milliseconds), int(count)


EVENT_SPAN = 1500 * (MAX_CODE_LIFE + RECORD_GRACE)
"""Milliseconds from its start in which all of a verification happens: its record's life, and half as much again."""
PAGE = 1000
"""Entries that are read at once."""
MAX_PAGES = 200
"""Pages that are read for one question."""


@dataclass(frozen=True, slots=True)
class RecentVerification:
    """A verification of a number, as it is remembered after its record has gone."""

    id: str
    at: int
    """When it started: milliseconds since the epoch, by Redis' clock."""


@dataclass(frozen=True, slots=True)
class EventHistory:
    """The events of some verifications."""

    events: Mapping[str, tuple[Event, ...]] = field(default_factory=dict)
    """By verification, in the order in which they happened."""
    complete: bool = True
    """Whether all that was kept has been read: a busy stream is not read without end."""

    def of(self, verification_id: str) -> tuple[Event, ...]:
        """Return the events of a verification."""
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
        most: int = MAX_PAGES,
    ) -> None:
        self._client = client
        self._scripts = scripts
        self._buckets = buckets
        self._page = page
        self._most = most

    def recent(self, bucket: str, pseudonym: str) -> tuple[RecentVerification, ...]:
        """Return a number's last verifications, of all applications, newest first."""
        names = NumberKeys(keys.number(bucket, pseudonym))
        read = self._scripts.call(NUMBER_READ, names, Applications(()), NO_RULES)
        pairs = (line.partition(" ") for line in read.recent.decode().splitlines())
        return tuple(RecentVerification(verification_id, int(at.rstrip("+"))) for verification_id, _, at in pairs)

    def events_of(
        self, bucket: str, since: Mapping[str, int | None], begin: EntryPosition = (0, 0), pages: int | None = None
    ) -> EventHistory:
        """Return the events of some verifications, each from a time on for `EVENT_SPAN`, newest first.

        One whose start is not known (``None``) may be anywhere. Entries before ``begin`` are not read, and no more than
        so many ``pages``.
        """
        by_id: dict[str, list[Event]] = {verification_id: [] for verification_id in since}
        named = re.compile(b"|".join(re.escape(verification_id.encode()) for verification_id in since))
        left = min(self._most, pages or self._most)
        for first, last in _spans(since.values(), begin):
            for entries in read_pages(self._client, keys.events(bucket), first, last, size=self._page):
                for entry, raw in entries:
                    if not any(map(named.search, raw.values())):
                        continue  # to parse one takes longer than to read it
                    event = _parse_event(bucket, entry.decode(), raw)
                    if event.member("id") in by_id:
                        by_id[event.member("id")].append(event)
                left -= 1
                if not left:
                    return EventHistory(_in_tuples(by_id), complete=False)
        return EventHistory(_in_tuples(by_id))

    def verifications_with(
        self, member: str, value: str, spans: Mapping[str, tuple[str, str]]
    ) -> tuple[tuple[str, ...], bool]:
        """Return the verifications with an event whose ``member`` has a value, newest first, and whether all was read.

        ``spans``: the first and the last entry to look at, by bucket.
        """
        verifications: dict[str, None] = {}
        left, forms = self._most, {value.encode(), value.replace("/", "\\/").encode()}  # as Lua's JSON has it
        for bucket, (first, last) in spans.items():
            for entries in read_pages(self._client, keys.events(bucket), first, last, size=self._page):
                for entry, raw in entries:
                    if not any(form in text for form in forms for text in raw.values()):
                        continue  # to parse one takes longer than to read it
                    event = _parse_event(bucket, entry.decode(), raw)
                    if event.member(member) == value:
                        verifications[event.member("id")] = None
                left -= 1
                if not left:
                    return tuple(reversed(verifications)), False
        return tuple(reversed(verifications)), True

    def waiting_messages(self) -> Mapping[str, int]:
        """Return how many messages wait, by the application that they are of, over all queues."""
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


def _in_tuples(by_id: Mapping[str, list[Event]]) -> dict[str, tuple[Event, ...]]:
    return {verification_id: tuple(events) for verification_id, events in by_id.items()}


def _spans(begins: Collection[int | None], first: EntryPosition) -> list[tuple[str, str]]:
    """Return the first and the last entries to look at, newest first; spans that overlap are one."""
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
    """What one rule found."""

    rule: str
    used: float
    most: float
    window: int
    """Milliseconds in which so much may be; 0 where it counts what comes in a row."""
    wait: int
    """Milliseconds."""
    mode: str


@dataclass(frozen=True, slots=True)
class Decision:
    """An entry of the stream."""

    id: str
    """Bucket, a colon, and the entry of the bucket's stream."""
    rule: str
    """The rule that decided."""
    mode: str
    """``enforce``: it refused; ``record_only``: it would have; or what changed: ``open``, ``closed``, ``alarm``,
    ``lifted``."""
    kind: str
    """What was asked for: ``start``, ``resend``, ``fallback``, ``check``; a further ``dispatch``; or ``change``."""
    trust: str
    """``known`` or ``unknown``: whether the context was known to the number; empty where it makes no difference."""
    until: int
    """Milliseconds since the epoch; 0 where waiting does not help."""
    verification: str
    """Empty where none was made."""
    application: str
    purpose: str
    country: str
    rule_hits: tuple[RuleHit, ...]
    number_prefix: str = ""
    """First digits of the number of a start, those of a carrier."""
    request: str = ""
    """Identifier of the request that was refused; empty where it was none of the API."""

    @property
    def entry(self) -> str:
        """The entry of the bucket's stream."""
        return self.id.partition(":")[2]

    @property
    def at(self) -> int:
        """When: milliseconds since the epoch, by Redis' clock."""
        return int(self.entry.partition("-")[0])


class Decisions:
    """Reads the guard's decisions, and records those that no other script makes."""

    def __init__(
        self, client: redis.Redis, scripts: ScriptRunner, buckets: tuple[str, ...], limits: StreamLimits
    ) -> None:
        self._client = client
        self._scripts = scripts
        self._buckets = buckets
        self._limits = limits

    def note_refusal(
        self, bucket: str, rule: str, application: str, purpose: str, country: str, request: str = ""
    ) -> str:
        """Record that a rule refused a start before Redis was asked; return the decision's identifier."""
        return self._note(bucket, rule, application, purpose, country, "enforce", request=request)

    def note_lift(self, bucket: str, rule: str, application: str = "", country: str = "") -> None:
        """Note that an operator lifted what a rule held back."""
        self._note(bucket, rule, application, "", country, LIFTED)

    def _note(
        self, bucket: str, rule: str, application: str, purpose: str, country: str, mode: str, request: str = "",
    ) -> str:  # fmt: skip
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
        """Return the time by Redis' clock, in milliseconds."""
        with translate_errors():
            return server_time(self._client)

    def find(self, name: str) -> Decision | None:
        """Return a decision by its identifier; ``None`` when it is not kept (any more)."""
        if not (place := parse_entry_id(name, self._buckets)):
            return None
        bucket, entry = place
        with translate_errors():
            entries: Any = self._client.xrange(keys.decisions(bucket), entry, entry)
        return parse_decision(bucket, entries[0]) if entries else None

    def latest(self, most: int) -> Iterator[Decision]:
        """Yield the decisions of all buckets, the newest of each first, at most so many of each."""
        for bucket in self._buckets:
            end, left = "+", most
            while left > 0:
                with translate_errors():
                    entries: Any = self._client.xrevrange(keys.decisions(bucket), end, "-", count=min(PAGE, left))
                yield from (parse_decision(bucket, entry) for entry in entries)
                if len(entries) < min(PAGE, left):
                    break
                end, left = "(" + entries[-1][0].decode(), left - len(entries)

    def after(self, bucket: str, entry: str, most: int) -> tuple[Decision, ...]:
        """Return the decisions of a bucket after an entry, or from the first one on, oldest first, at most so many."""
        with translate_errors():
            entries: Any = self._client.xrange(keys.decisions(bucket), f"({entry}" if entry else "-", count=most)
        return tuple(parse_decision(bucket, entry) for entry in entries)

    def of_request(self, request: str, first: int, last: int) -> tuple[Decision, ...]:
        """Return the decisions that refused a request, of those from a time to another (ms)."""
        return tuple(
            parse_decision(bucket, entry)
            for bucket in self._buckets
            for entries in read_pages(self._client, keys.decisions(bucket), str(first), str(last), size=PAGE)
            for entry in entries
            if entry[1].get(b"request") == request.encode()
        )

    def of_subject(self, bucket: str, names: Collection[str]) -> tuple[Decision, ...]:
        """Return the decisions that name a pseudonym or a verification of these, oldest first.

        All that is kept is read.
        """
        named = re.compile(b"|".join(re.escape(name.encode()) for name in names))
        pages = read_pages(self._client, keys.decisions(bucket), size=PAGE)
        recorded = (entry for entries in pages for entry in entries)
        return tuple(parse_decision(bucket, entry) for entry in recorded if any(map(named.search, entry[1].values())))

    def of_verification(self, bucket: str, verification_id: str) -> tuple[Decision, ...]:
        """Return the decisions on a verification, the first ones first. All that is kept is read."""
        pages = read_pages(self._client, keys.decisions(bucket), size=PAGE)
        decisions = (parse_decision(bucket, entry) for entries in pages for entry in entries)
        return tuple(decision for decision in decisions if decision.verification == verification_id)


def parse_decision(bucket: str, entry: tuple[bytes, Mapping[bytes, bytes]]) -> Decision:
    """Return a decision as it is read from a bucket's stream."""
    name, raw = entry
    fields = entry_values(raw)
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
        rule_hits=tuple(_parse_rule_hit(text) for text in fields.get("rule_hits", "").split(",") if text),
        number_prefix=decode_attempt(fields["attempt"]).number_prefix if "attempt" in fields else "",
        request=fields.get("request", ""),
    )


def _parse_rule_hit(text: str) -> RuleHit:
    rule, used, most, window, wait, mode = text.split(" ")
    return RuleHit(rule, float(used), float(most), int(window), int(wait), mode)


_ATTEMPT_KINDS = {
    "verification.started": AttemptKind.START,
    "verification.resent": AttemptKind.RESEND,
    "verification.approved": AttemptKind.APPROVED,
    "check.failed": AttemptKind.WRONG,
    "verification.max_attempts_reached": AttemptKind.WRONG,
    "check.refused": AttemptKind.CHECK,
}
"""What was tried, by the type of the event that tells of it."""


class Attempts:
    """What was tried: events tell what was accepted, and of codes; decisions tell which messages were refused."""

    def __init__(self, client: redis.Redis, buckets: tuple[str, ...]) -> None:
        self._client = client
        self._buckets = buckets

    def all(self) -> Iterator[Attempt]:
        """Yield all attempts that are kept, in the order in which they were made."""
        return heapq.merge(*map(self._of, self._buckets), key=lambda attempt: attempt.at)

    def _of(self, bucket: str) -> Iterator[Attempt]:
        """Yield the attempts of a bucket, from where on both of its streams are complete."""
        begin = str(max(self._begin(keys.events(bucket)), self._begin(keys.decisions(bucket))))
        accepted = (_accepted(*entry) for entry in self._entries(keys.events(bucket), begin))
        refused = (_refused(bucket, *entry) for entry in self._entries(keys.decisions(bucket), begin))
        for _, attempt in heapq.merge(accepted, refused, key=itemgetter(0)):  # of equals an event comes first
            if attempt:
                yield attempt

    def _begin(self, stream: str) -> int:
        """Return the time of the first entry that is left of a stream, 0 where none has gone."""
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
    """Return what an event says was tried, ``None`` when it is of something else."""
    kind = _ATTEMPT_KINDS.get(fields.get("type", ""))
    if kind is None or (kind is AttemptKind.START and "attempt" not in fields):
        return position, None
    if kind is AttemptKind.RESEND and fields.get("falls_back_from", "0") != "0":
        kind = AttemptKind.FALLBACK
    attempt = Attempt(position[0], kind, fields.get("id", ""), fields.get("rule", ""), _attempt_details(fields))
    return position, attempt


def _refused(bucket: str, entry: EntryPosition, fields: Mapping[str, str]) -> tuple[EntryPosition, Attempt | None]:
    """Return the message that a decision refused, ``None`` when it refused none; after the event that it came after."""
    position = max((entry[0], -1), _position(fields.get("after", "0-0")))
    if not {"attempt", "price"} & fields.keys():
        return position, None
    verification = fields["id"] or entry_id(bucket, "{}-{}".format(*entry))  # a start that is refused has none
    return position, Attempt(
        entry[0], AttemptKind(fields["kind"]), verification, fields["rule"], _attempt_details(fields)
    )


def _attempt_details(fields: Mapping[str, str]) -> str:
    """Return what a replay has to know of a message, as an attempt holds it."""
    if attempt := fields.get("attempt"):
        return f"{fields['application']}|{fields['country']}|{attempt}"
    return fields.get("price", "")
