"""Hourly statistics: recording of refusals, and queries of console, API and report."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from otp_service.clock import now
from otp_service.domain.guard import DAY, HOUR
from otp_service.domain.prices import MICRO, format_micros
from otp_service.domain.stats import (
    APPROVED,
    DELAYS,
    DELIVERED,
    ENDINGS,
    FAILED_OVER,
    MIN_SHOWN_COUNT,
    REFUSED,
    SENT,
    STARTED,
    WOULD_BE_REFUSED,
    StatsCount,
    StatsKey,
    hour_of,
    refusal,
)
from otp_service.domain.verification import MAX_CODE_LIFE, RECORD_GRACE
from otp_service.errors import InvalidTimeError
from otp_service.ledger.stats import Stats, Sum
from otp_service.services.context import Context
from otp_service.services.json_types import Amount, Time
from otp_service.store.events import Decision

_BATCH_SIZE: Final = 1000
"""Decisions that are counted in a transaction."""
_CHANGE: Final = "change"
"""Kind of decisions without a refusal: an opened breaker, an alarm."""


def record_refusals(context: Context, buckets: Iterable[str]) -> None:
    """Count the refusals of some buckets since the last call in the stats, once for all processes."""
    for bucket in buckets:
        is_full = True
        while is_full:
            after = context.ledger.stats.position(bucket)
            batch = context.store.decisions.after(bucket, after, _BATCH_SIZE)
            is_mine = bool(batch) and context.ledger.stats.add(bucket, after, batch[-1].entry, _refusals(batch))
            is_full = is_mine and len(batch) == _BATCH_SIZE


def _refusals(decisions: Iterable[Decision]) -> Mapping[StatsKey, StatsCount]:
    times = Counter(
        StatsKey(
            hour_of(decision.at),
            *(decision.application, decision.purpose, decision.country, decision.number_prefix),
            *("", ""),
            standing=decision.trust,
            event=refusal(decision.kind, enforced=decision.mode == "enforce"),
            reason=decision.rule,
        )
        for decision in decisions
        if decision.kind != _CHANGE
    )
    return {key: StatsCount(count, 0) for key, count in times.items()}


MAX_DAYS_BY_HOUR: Final = 31
MAX_DAYS: Final = 400
MAX_SUMS: Final = 50_000
"""Maximum number of sums in an answer: 31 days of delays by hour are 22,320."""
_CHANGES_FOR: Final = 1000 * (MAX_CODE_LIFE + RECORD_GRACE)
"""Milliseconds after a start in which its stats change: until its record is gone."""
BY_VERIFICATION: Final = ("hour", "day", "application", "purpose", "country", "number_prefix", "channel", "standing")
BY_MESSAGE: Final = ("hour", "day", "application", "purpose", "country", "channel", "gateway", "reason")
BY_REFUSAL: Final = ("hour", "day", "application", "purpose", "country", "number_prefix", "standing", "rule")
BY_DELAY: Final = ("hour", "day", "application", "country", "channel", "gateway")
"""The members that rows of each kind can be grouped by. Days are of UTC."""


@dataclass(frozen=True, slots=True)
class StatsQuery:
    """A request for sums over the hours that began in a time."""

    since: int
    """Milliseconds since the epoch."""
    until: int
    """The hour that begins then is not counted."""
    by: tuple[str, ...] = ()
    only: Mapping[str, Collection[str]] = field(default_factory=dict)
    """Filters by member of `StatsKey`: ``{"application": ["shop"]}``; empty counts everything."""

    def check(self) -> None:
        """Raise `InvalidTimeError` for an empty or too long time."""
        max_days = MAX_DAYS_BY_HOUR if "hour" in self.by else MAX_DAYS
        if self.since >= self.until:
            raise InvalidTimeError("The time ends before it begins.")
        if self.until - self.since > max_days * DAY:
            raise InvalidTimeError(f"The time is longer than {max_days} days{' by hour' if 'hour' in self.by else ''}.")

    def is_unfinished(self, hour: int | None = None, day: int | None = None) -> bool:
        """Tell whether a row may still change: the last of its codes may live, or have been sent recently."""
        if hour is not None:
            end = min(hour + HOUR, self.until)
        elif day is not None:
            end = min(day + DAY, self.until)
        else:
            end = self.until
        return end > now() - _CHANGES_FOR


# The API answers with these rows. Members are null where `by` does not name them, or for unknown.


@dataclass(frozen=True, slots=True, kw_only=True)
class StatsRow:
    """What all rows have: the hour or day, and the group."""

    hour: Time | None
    """When it began. Members of the group are null where `by` does not name them, or there is no value."""
    day: Time | None
    """When it began, in UTC."""
    application: Annotated[str | None, Field(exclude=True)]
    country: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationStatsRow(StatsRow):
    """Verification outcomes by hour of start."""

    purpose: str | None
    number_prefix: str | None
    """Calling code and first three digits of the numbers; null where no rule needs them."""
    channel: str | None
    """For money the message's own channel, for all else the first channel of the verification."""
    standing: str | None
    """`unknown`, `checked` (unknown, but a human check was passed) or `known`, as the number was at the start."""
    started: int
    approved: int
    canceled: int
    max_attempts_reached: int
    failed: int
    expired: int
    """Ended by time alone; in an unfinished row some of them are pending."""
    unapproved: int
    """All that are not approved."""
    sent: int | None
    """First messages that a gateway accepted; null by purpose, number prefix or standing."""
    delivered: int | None
    """First messages that the gateway reported as delivered; null as `sent`."""
    amount: Amount
    """The cost of all their messages."""
    estimated_unapproved_amount: Amount
    """The estimated cost of the unapproved ones: the row's mean cost for each."""
    unfinished: bool
    """Whether the row may still change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageStatsRow(StatsRow):
    """Outcomes of gateway calls by hour of start. A message that two gateways were called for counts for both."""

    purpose: str | None
    channel: str | None
    gateway: str | None
    """Null also for messages that no gateway was called for."""
    reason: str | None
    """Of a failure: the first word of the reason in `deliveries` of a verification, or `other`; else null."""
    sent: int
    """Messages that a gateway accepted."""
    delivered: int
    undelivered: int
    failed: int
    expired: int
    unknown: int
    """Calls with an ambiguous answer: the message may have been sent."""
    failed_over: int
    """Calls made because the route's first gateway had failed."""
    given_up: int
    """Messages that were not tried again."""
    amount: Amount
    """The cost of the messages."""
    unfinished: bool
    """Whether the row may still change."""

    @property
    def calls(self) -> int:
        return self.sent + self.bad

    @property
    def bad(self) -> int:
        """Calls that failed, or had an ambiguous answer."""
        return self.failed + self.unknown

    @property
    def unreported(self) -> int:
        """Messages that may have been sent, without a report of the gateway."""
        return max(0, self.sent + self.unknown - self.delivered - self.undelivered - self.expired)


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusalStatsRow(StatsRow):
    """Refusals of rules."""

    purpose: str | None
    number_prefix: str | None
    """First digits of the numbers, as of verifications."""
    standing: str | None
    """`known` or `unknown`: whether the context was known to the number; null where it makes no difference."""
    rule: str | None
    """Such as `number.sends`."""
    refused: Mapping[str, int]
    """By kind: `start`, `resend`, `fallback` (another channel), `check`, `dispatch` (another gateway)."""
    would_be_refused: Mapping[str, int]
    """The same of rules that only record."""
    unfinished: bool
    """Whether the row may still change."""


@dataclass(frozen=True, slots=True)
class Within:
    """The number of delays up to a bound."""

    at_most_ms: int
    """Milliseconds."""
    times: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DelayStatsRow(StatsRow):
    """Delays from the start of verifications."""

    channel: str | None
    gateway: str | None
    """Null also of approvals."""
    until: Literal["sent", "delivered", "approved"]
    """The end of the delay: the first message was sent or delivered, or the code approved."""
    times: int
    """The number of delays."""
    within: tuple[Within, ...]
    """How many of them took at most 1, 2, 5, 10, 20, 30, 60, 120 and 300 seconds."""
    p50_ms: int | None
    """The smallest of these bounds, in milliseconds, that holds half of them; null where none does."""
    p95_ms: int | None
    """The same for 95 %."""
    unfinished: bool
    """Whether the row may still change."""


def count_verifications(
    context: Context, query: StatsQuery, *, first_messages: bool = True
) -> list[VerificationStatsRow]:
    """Return verification outcomes by some of `BY_VERIFICATION`; without ``first_messages`` not `sent`, `delivered`.

    This and the other queries raise `InvalidTimeError` for too large an answer.
    """
    pivot = _pivot(query, context.ledger.stats, _VERIFICATION_EVENTS)
    firsts: Counter[tuple[_Group, str]] | None = None
    if first_messages and set(BY_DELAY).issuperset(query.by):
        # A message that two gateways accepted, after an ambiguous answer, counts for both.
        delays = _rows(query, context.ledger.stats, ("event",), (SENT, DELIVERED), delays=True)
        firsts = Counter({(group, event): row.times for group, (event,), row in delays})
    rows = []
    for group, sums in pivot.items():
        started, approved = sums[STARTED].times, sums[APPROVED].times
        others: dict[str, Any] = {status: sums[f"verification.{status}"].times for status in _OTHER_ENDINGS}
        amount = sum(count.amount for count in sums.values())
        sent, delivered = (
            None if firsts is None else min(firsts[group, event], started) for event in (SENT, DELIVERED)
        )
        rows.append(
            VerificationStatsRow(
                **_group_members(query, BY_VERIFICATION, group),
                started=started,
                approved=approved,
                **others,
                expired=started - approved - sum(others.values()),
                unapproved=started - approved,
                sent=sent,
                delivered=delivered,
                amount=amount,
                estimated_unapproved_amount=_estimated_amount(amount, started - approved, started),
            )
        )
    return rows


def add_up(rows: Iterable[VerificationStatsRow], *by: str) -> list[VerificationStatsRow]:
    """Return rows in larger groups: another query takes longer."""
    groups: dict[tuple[str, ...], list[VerificationStatsRow]] = defaultdict(list)
    for row in rows:
        groups[tuple(getattr(row, name) or "" for name in by)].append(row)
    added = []
    for _, group in sorted(groups.items()):
        others: dict[str, Any] = {name: None for name in BY_VERIFICATION if name not in by}
        counts = {name: [getattr(row, name) for row in group] for name in _SUMMED}
        sums: dict[str, Any] = {name: None if None in known else sum(known) for name, known in counts.items()}
        added.append(
            replace(
                group[0],
                **others,
                **sums,
                estimated_unapproved_amount=_estimated_amount(sums["amount"], sums["unapproved"], sums["started"]),
                unfinished=any(row.unfinished for row in group),
            )
        )
    return added


def _estimated_amount(amount: int, unapproved: int, started: int) -> int:
    """Return the estimated cost of unapproved verifications: no cost is recorded for each verification."""
    return amount * unapproved // started if started else 0


_OTHER_ENDINGS: Final = ("canceled", "max_attempts_reached", "failed")
_SUMMED: Final = ("started", "approved", *_OTHER_ENDINGS, "expired", "unapproved", "sent", "delivered", "amount")


def count_messages(context: Context, query: StatsQuery) -> list[MessageStatsRow]:
    """Return outcomes of gateway calls by some of `BY_MESSAGE`."""
    return [
        MessageStatsRow(
            **_group_members(query, BY_MESSAGE, group),
            **dict[str, Any]({outcome: sums[f"delivery.{outcome}"].times for outcome in _OUTCOMES}),
            failed_over=sums[FAILED_OVER].times,
            given_up=sums[_GIVEN_UP].times,
            amount=sum(count.amount for count in sums.values()),
        )
        for group, sums in _pivot(query, context.ledger.stats, _MESSAGE_EVENTS).items()
    ]


def count_refusals(context: Context, query: StatsQuery) -> list[RefusalStatsRow]:
    """Return refusals of rules by some of `BY_REFUSAL`."""
    return [
        RefusalStatsRow(
            **_group_members(query, BY_REFUSAL, group),
            refused=_by_kind(sums, REFUSED),
            would_be_refused=_by_kind(sums, WOULD_BE_REFUSED),
        )
        for group, sums in _pivot(query, context.ledger.stats, _REFUSALS).items()
    ]


def count_delays(context: Context, query: StatsQuery) -> list[DelayStatsRow]:
    """Return delays of messages and approvals by some of `BY_DELAY`."""
    counts: dict[tuple[_Group, str], Counter[int]] = defaultdict(Counter)
    timed = _rows(query, context.ledger.stats, ("event", "at_most"), _TIMED, delays=True)
    for group, (event, at_most), row in timed:
        counts[group, event][at_most] += row.times
    rows = []
    for (group, event), delays in counts.items():
        times = delays.total()
        within = tuple(
            Within(1000 * bound, sum(delays[shorter] for shorter in DELAYS[: place + 1]))
            for place, bound in enumerate(DELAYS)
            if bound
        )
        rows.append(
            DelayStatsRow(
                **_group_members(query, BY_DELAY, group),
                until=_TIMED[event],
                times=times,
                within=within,
                p50_ms=_quantile(within, times, 0.5),
                p95_ms=_quantile(within, times, 0.95),
            )
        )
    return rows


def _quantile(within: Iterable[Within], times: int, share: float) -> int | None:
    """Return the smallest bound (ms) that holds such a share; ``None`` where none does."""
    return next((bound.at_most_ms for bound in within if bound.times >= share * times), None)


_TIMED: Final[Mapping[str, Literal["sent", "delivered", "approved"]]] = {
    SENT: "sent",
    DELIVERED: "delivered",
    APPROVED: "approved",
}
_OUTCOMES: Final = ("sent", "delivered", "undelivered", "failed", "expired", "unknown")
_GIVEN_UP: Final = "message.given_up"
_MESSAGE_EVENTS: Final = (*(f"delivery.{outcome}" for outcome in _OUTCOMES), FAILED_OVER, _GIVEN_UP)
_PAID: Final = (SENT, "delivery.failed", "delivery.unknown")
"""Calls: nothing else costs."""
_VERIFICATION_EVENTS: Final = (STARTED, *ENDINGS, *_PAID)
_REFUSALS: Final = tuple(
    refusal(kind, enforced=enforced)
    for kind in ("start", "resend", "fallback", "check", "dispatch")
    for enforced in (True, False)
)
_Group = tuple[tuple[str, str | int | None], ...]
"""Members of a row with their values; ``None`` where the ledger has none."""


def _group_members(query: StatsQuery, names: Iterable[str], group: _Group) -> dict[str, Any]:
    """Return the members of a row's group, and whether the row is unfinished."""
    members = dict.fromkeys(names) | dict[str, Any](group)
    return {**members, "unfinished": query.is_unfinished(members["hour"], members["day"])}


def _pivot(query: StatsQuery, stats: Stats, events: Collection[str]) -> dict[_Group, dict[str, StatsCount]]:
    """Return the counts of some events, by group, and by event; zero for the others."""
    pivot: dict[_Group, dict[str, StatsCount]] = defaultdict(lambda: defaultdict(lambda: StatsCount(0, 0)))
    for group, (event,), row in _rows(query, stats, ("event",), events):
        pivot[group][event] = StatsCount(row.times, row.amount)
    return pivot


def _rows(
    query: StatsQuery, stats: Stats, apart: tuple[str, ...], events: Collection[str], *, delays: bool = False
) -> Iterator[tuple[_Group, tuple[Any, ...], Sum]]:
    """Check the query; yield sums, each with its group and the values of the columns counted ``apart``."""
    query.check()
    by = tuple(dict.fromkeys(query.by))
    columns = (*("reason" if name == "rule" else name for name in by), *apart)
    only = {"event": events, **query.only}
    sums = stats.sums(query.since, query.until, columns, delays=delays, max_sums=MAX_SUMS + 1, **only)
    if len(sums) > MAX_SUMS:
        raise InvalidTimeError("The answer would have too many rows: ask for less time, or by less.")
    for row in sums:
        yield tuple((name, value or None) for name, value in zip(by, row.of, strict=False)), row.of[len(by) :], row


def _by_kind(sums: Mapping[str, StatsCount], prefix: str) -> dict[str, int]:
    return {event.removeprefix(prefix): count.times for event, count in sums.items() if event.startswith(prefix)}


@dataclass(frozen=True, slots=True)
class StatsText:
    """Stats as text, exact or rounded for privacy (R-CONSENT-5).

    "< 10" alone would not hide small counts: subtracting neighbours from a total, approved from started, or one table
    from another gives them back. So every other count is rounded to ten by itself, totals too, and a subtraction tells
    no more than "< 10" does, unless many counts lie at the edge of their ten at once. 0 stays: a missing row tells as
    much. Shares are of rounded counts from a hundred on. Amounts are those of the rounded counts; a reader with the
    prices may come closer where a sum is over several prices.
    """

    exact: bool

    def count(self, count: int | None) -> str:
        """Return a count; ``-`` for unknown."""
        shown = self._shown(count)
        return "-" if count is None else f"< {MIN_SHOWN_COUNT}" if shown is None else str(shown)

    def amount(self, amount: int, count: int) -> str:
        """Return the cost of ``count`` verifications or messages, in the currency's unit."""
        shown = self._shown(count)
        if shown is None:
            return "-"
        return format_micros(amount if self.exact else amount * shown // max(1, count))

    def share(self, part: int | None, whole: int) -> str:
        """Return a share of a whole, in per cent; ``-`` for none, and where it would tell too much."""
        shown, total = self._shown(part), self._shown(whole)
        if shown is None or not total or not (self.exact or total >= _MIN_WHOLE):
            return "-"
        return f"{100 * shown / total:.1f} %" if self.exact else f"{100 * shown / total:.0f} %"

    def seconds(self, delays: DelayStatsRow | None, share: float) -> str:
        """Return the seconds within which a share of messages came; ``-`` for too few messages."""
        if delays is None or self.share(delays.times, delays.times) == "-":
            return "-"
        bound = _quantile(delays.within, delays.times, share)
        return f"> {delays.within[-1].at_most_ms // 1000}" if bound is None else str(bound // 1000)

    def rounded(self, count: int) -> int:
        """Return a count for a plot; 0 for a hidden count."""
        return self._shown(count) or 0

    def rounded_amount(self, amount: int, count: int) -> float:
        """Return the cost of ``count`` for a plot, in the currency's unit; 0 for a hidden count."""
        shown = self._shown(count) or 0
        return (amount if self.exact else amount * shown // max(1, count)) / MICRO if shown else 0.0

    def _shown(self, count: int | None) -> int | None:
        if self.exact or not count:
            return count
        return None if count < MIN_SHOWN_COUNT else (count + 5) // 10 * 10


_MIN_WHOLE: Final = 10 * MIN_SHOWN_COUNT
