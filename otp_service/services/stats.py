"""Hourly stats: refusals are brought into them, and queries answered from them, for console, API and report."""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final, Literal

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
from otp_service.ledger.stats import Sum
from otp_service.services.context import Context
from otp_service.store.events import Decision

_AT_ONCE: Final = 1000
"""Decisions that are counted in one transaction."""
_CHANGE: Final = "change"
"""Kind of what no rule refused: that a breaker opened, an alarm."""


def record_refusals(context: Context, buckets: Iterable[str]) -> None:
    """Bring what rules refused in some buckets since the last time into the stats, once, whoever does so.

    Raises `StoreUnavailableError` and `LedgerUnavailableError`. What Redis no longer keeps by then is not counted.
    """
    for bucket in buckets:
        is_full = True
        while is_full:
            after = context.ledger.stats.position(bucket)
            some = context.store.decisions.after(bucket, after, _AT_ONCE)
            is_mine = bool(some) and context.ledger.stats.add(bucket, after, some[-1].entry, _refusals(some))
            is_full = is_mine and len(some) == _AT_ONCE


def _refusals(decisions: Iterable[Decision]) -> Mapping[StatsKey, StatsCount]:
    times = Counter(
        StatsKey(
            hour_of(one.at),
            *(one.application, one.purpose, one.country, one.carrier_range),
            *("", ""),
            lane=one.trust,
            what=refusal(one.kind, enforced=one.mode == "enforce"),
            reason=one.rule,
        )
        for one in decisions
        if one.kind != _CHANGE
    )
    return {key: StatsCount(count, 0) for key, count in times.items()}


MAX_DAYS_BY_HOUR: Final = 31
MAX_DAYS: Final = 400
MAX_SUMS: Final = 50_000
"""Sums that one answer is made of: 31 days of delays by hour are 22,320."""
_CHANGES_FOR: Final = 1000 * (MAX_CODE_LIFE + RECORD_GRACE)
"""Milliseconds after a start in which its stats change: until its record is gone."""
BY_VERIFICATION: Final = ("hour", "day", "application", "purpose", "country", "carrier_range", "channel", "lane")
BY_MESSAGE: Final = ("hour", "day", "application", "purpose", "country", "channel", "gateway", "reason")
BY_REFUSAL: Final = ("hour", "day", "application", "purpose", "country", "carrier_range", "lane", "rule")
BY_DELAY: Final = ("hour", "day", "application", "country", "channel", "gateway")
"""What each query can be asked by. ``day`` is of UTC; ``channel`` is a message's own, of what is none the first of
its verification; ``lane`` and ``reason`` are as `StatsKey` tells."""
Of = Mapping[str, str | int]
"""What a row is of: the values of what was asked by; ``hour`` and ``day`` are when it began, in milliseconds."""


@dataclass(frozen=True, slots=True)
class StatsQuery:
    """What is asked for: sums over the hours that began in a time."""

    since: int
    """Milliseconds since the epoch."""
    until: int
    """The hour that begins then is none of them."""
    by: tuple[str, ...] = ()
    only: Mapping[str, Collection[str]] = field(default_factory=dict)
    """What counts, by member of `StatsKey`: ``{"application": ["shop"]}``; without any, everything."""

    def check(self) -> None:
        """Raise `InvalidTimeError` where it is of no time, or of one that is too long."""
        most = MAX_DAYS_BY_HOUR if "hour" in self.by else MAX_DAYS
        if self.since >= self.until:
            raise InvalidTimeError("The time ends before it begins.")
        if self.until - self.since > most * DAY:
            raise InvalidTimeError(f"The time is longer than {most} days{' by hour' if 'hour' in self.by else ''}.")

    def is_unfinished(self, of: Of) -> bool:
        """Tell whether a row may still change: the last of its codes may live, or have been sent just now."""
        begin, length = (of["hour"], HOUR) if "hour" in of else (of.get("day", self.since), DAY)
        end = min(int(begin) + length, self.until) if {"hour", "day"} & of.keys() else self.until
        return end > now() - _CHANGES_FOR


@dataclass(frozen=True, slots=True)
class VerificationStats:
    """What became of verifications, all by the hour in which they started."""

    of: Of
    started: int
    approved: int
    canceled: int
    max_attempts_reached: int
    failed: int
    sent: int | None
    """Whose first message a gateway took; ``None`` where that is not known by what was asked by."""
    delivered: int | None
    """Whose first message was delivered, as the gateway told."""
    amount: int
    """What all their messages cost, in millionths."""
    is_unfinished: bool

    @property
    def expired(self) -> int:
        """Those that nobody ended; while the row is unfinished some of them are pending."""
        return self.started - self.approved - self.canceled - self.max_attempts_reached - self.failed

    @property
    def unapproved(self) -> int:
        """Those that were not approved, for whatever reason."""
        return self.started - self.approved

    @property
    def estimated_unapproved_amount(self) -> int:
        """About what those cost: as much as verifications of the row cost in the mean. Each one's own is not kept."""
        return self.amount * self.unapproved // self.started if self.started else 0


@dataclass(frozen=True, slots=True)
class MessageStats:
    """What became of calls of gateways: of a message that two were asked to send, of both."""

    of: Of
    sent: int
    """That the gateway took."""
    delivered: int
    undelivered: int
    failed: int
    expired: int
    unknown: int
    """Whose answer told nothing: they may have been sent."""
    failed_over: int
    """Calls that were made since the route's first gateway had failed."""
    given_up: int
    """Messages, not calls, after which nothing more was tried."""
    amount: int
    """Millionths."""
    is_unfinished: bool

    @property
    def calls(self) -> int:
        """How often a gateway was called."""
        return self.sent + self.bad

    @property
    def bad(self) -> int:
        """Calls that failed, or whose answer told nothing."""
        return self.failed + self.unknown

    @property
    def unreported(self) -> int:
        """Messages that may be out, of which the gateway never told whether they arrived."""
        return max(0, self.sent + self.unknown - self.delivered - self.undelivered - self.expired)


@dataclass(frozen=True, slots=True)
class RefusalStats:
    """What rules refused, by kind: ``start``, ``resend``, ``fallback``, ``check`` or ``dispatch``."""

    of: Of
    refused: Mapping[str, int]
    would_be_refused: Mapping[str, int]
    """By rules that only record."""
    is_unfinished: bool


@dataclass(frozen=True, slots=True)
class DelayStats:
    """How long it took from the start until something happened."""

    of: Of
    until: Literal["sent", "delivered", "approved"]
    """The first message's sending or delivery, or the approval."""
    times: int
    within: Mapping[int, int]
    """How many took at most so many milliseconds."""
    is_unfinished: bool

    def quantile(self, share: float) -> int | None:
        """Return the least bound (ms) that such a share kept to; ``None`` where that took longer than the last one."""
        return next((bound for bound, count in self.within.items() if count >= share * self.times), None)


def count_verifications(context: Context, query: StatsQuery, *, first_messages: bool = True) -> list[VerificationStats]:
    """Return what became of verifications, by some of `BY_VERIFICATION`; without ``first_messages`` not of how many.

    This, and each query here, raises `InvalidTimeError` where it is of too much, and `LedgerUnavailableError`.
    """
    found = _pivot(query, context.ledger.stats.sums, _VERIFICATION_EVENTS)
    firsts = _first_messages(context, query) if first_messages else None
    rows = []
    for of, sums in found.items():
        started = sums[STARTED].times
        first = {what: None if firsts is None else min(firsts[of, what], started) for what in (SENT, DELIVERED)}
        rows.append(
            VerificationStats(
                of=dict(of),
                started=started,
                approved=sums[APPROVED].times,
                canceled=sums["verification.canceled"].times,
                max_attempts_reached=sums["verification.max_attempts_reached"].times,
                failed=sums["verification.failed"].times,
                sent=first[SENT],
                delivered=first[DELIVERED],
                amount=sum(one.amount for one in sums.values()),
                is_unfinished=query.is_unfinished(dict(of)),
            )
        )
    return rows


def add_up(rows: Iterable[VerificationStats], *by: str) -> list[VerificationStats]:
    """Return stats by less than they were asked by: to ask once more takes longer."""
    found: dict[_Of, list[VerificationStats]] = defaultdict(list)
    for one in rows:
        found[tuple((name, one.of[name]) for name in by)].append(one)
    return [
        replace(
            some[0],
            of=dict(of),
            is_unfinished=any(one.is_unfinished for one in some),
            **{name: _sum(getattr(one, name) for one in some) for name in _SUMMED},
        )
        for of, some in sorted(found.items())
    ]


def _sum(counts: Iterable[int | None]) -> Any:  # noqa: ANN401 - none where one of them is not known
    known = list(counts)
    return None if None in known else sum(filter(None, known))


_SUMMED: Final = tuple(one.name for one in fields(VerificationStats))[1:-1]


def count_messages(context: Context, query: StatsQuery) -> list[MessageStats]:
    """Return what became of messages, by some of `BY_MESSAGE`."""
    return [
        MessageStats(
            of=dict(of),
            **{what: sums[f"delivery.{what}"].times for what in _OUTCOMES},
            failed_over=sums[FAILED_OVER].times,
            given_up=sums[_GIVEN_UP].times,
            amount=sum(one.amount for one in sums.values()),
            is_unfinished=query.is_unfinished(dict(of)),
        )
        for of, sums in _pivot(query, context.ledger.stats.sums, _MESSAGE_EVENTS).items()
    ]


def count_refusals(context: Context, query: StatsQuery) -> list[RefusalStats]:
    """Return what rules refused, or would have refused, by some of `BY_REFUSAL`."""
    return [
        RefusalStats(
            of=dict(of),
            refused=_by_kind(sums, REFUSED),
            would_be_refused=_by_kind(sums, WOULD_BE_REFUSED),
            is_unfinished=query.is_unfinished(dict(of)),
        )
        for of, sums in _pivot(query, context.ledger.stats.sums, _REFUSALS).items()
    ]


def count_delays(context: Context, query: StatsQuery) -> list[DelayStats]:
    """Return how long messages and approvals took, by some of `BY_DELAY`."""
    rows = _rows(query, context.ledger.stats.delays, ("what", "at_most"), _TIMED)
    counts: dict[tuple[_Of, str], Counter[int]] = defaultdict(Counter)
    for of, (what, at_most), one in rows:
        counts[of, what][at_most] += one.times
    return [
        DelayStats(
            of=dict(of),
            until=_TIMED[what],
            times=delays.total(),
            within={
                1000 * bound: sum(delays[one] for one in DELAYS[: place + 1])
                for place, bound in enumerate(DELAYS)
                if bound
            },
            is_unfinished=query.is_unfinished(dict(of)),
        )
        for (of, what), delays in counts.items()
    ]


_TIMED: Final[Mapping[str, Literal["sent", "delivered", "approved"]]] = {
    SENT: "sent",
    DELIVERED: "delivered",
    APPROVED: "approved",
}
_OUTCOMES: Final = ("sent", "delivered", "undelivered", "failed", "expired", "unknown")
_GIVEN_UP: Final = "message.given_up"
_MESSAGE_EVENTS: Final = (*(f"delivery.{what}" for what in _OUTCOMES), FAILED_OVER, _GIVEN_UP)
_PAID: Final = (SENT, "delivery.failed", "delivery.unknown")
"""Calls: nothing else costs."""
_VERIFICATION_EVENTS: Final = (STARTED, *ENDINGS, *_PAID)
_REFUSALS: Final = tuple(
    refusal(kind, enforced=enforced)
    for kind in ("start", "resend", "fallback", "check", "dispatch")
    for enforced in (True, False)
)
_COLUMNS: Final = {"rule": "reason"}
"""Columns of the ledger that have another name than what is asked by."""
_Of = tuple[tuple[str, str | int], ...]
_Ask = Callable[..., list[Sum]]


def _pivot(query: StatsQuery, ask: _Ask, events: Collection[str]) -> dict[_Of, dict[str, StatsCount]]:
    """Return the stats of some events, by what is asked by, and each by its event; of the others there are none."""
    found: dict[_Of, dict[str, StatsCount]] = defaultdict(lambda: defaultdict(lambda: StatsCount(0, 0)))
    for of, (what,), one in _rows(query, ask, ("what",), events):
        found[of][what] = StatsCount(one.times, one.amount)
    return found


def _rows(
    query: StatsQuery, ask: _Ask, apart: tuple[str, ...], events: Collection[str]
) -> Iterator[tuple[_Of, tuple[Any, ...], Sum]]:
    """Yield sums, each with what it is of and the values of what is counted apart; check the query before."""
    query.check()
    by = tuple(dict.fromkeys(query.by))
    columns = (*(_COLUMNS.get(name, name) for name in by), *apart)
    sums = ask(query.since, query.until, columns, most=MAX_SUMS + 1, what=events, **query.only)
    if len(sums) > MAX_SUMS:
        raise InvalidTimeError("The answer would have too many rows: ask for less time, or by less.")
    for one in sums:
        yield tuple(zip(by, one.of, strict=False)), one.of[len(by) :], one


def _first_messages(context: Context, query: StatsQuery) -> Counter[tuple[_Of, str]] | None:
    """Return how many first messages were sent and delivered; ``None`` where they are not counted by what is asked by.

    They are among the delays, each in the hour of its start. What two gateways took, after an answer that told nothing,
    counts for both.
    """
    if not set(BY_DELAY).issuperset(query.by):
        return None
    rows = _rows(query, context.ledger.stats.delays, ("what",), (SENT, DELIVERED))
    return Counter({(of, what): one.times for of, (what,), one in rows})


def _by_kind(sums: Mapping[str, StatsCount], prefix: str) -> dict[str, int]:
    return {what.removeprefix(prefix): one.times for what, one in sums.items() if what.startswith(prefix)}


@dataclass(frozen=True, slots=True)
class StatsText:
    """Stats as text: exact, or for who needs no exact ones (R-CONSENT-5).

    To write "< 10" in place of small counts would not hide them: a hidden one is the total less its neighbours, those
    that started less those that were approved, or a table by country less one by channel. To hide a second count beside
    it helps within one table only. So **every** other count is rounded to ten, by itself, totals too: a subtraction
    then tells no more than "< 10" does, unless many counts lie at the edge of their ten at once. 0 stays: a row that is
    not there tells as much. Shares are of the rounded counts, and none is told of fewer than a hundred. Money is that
    of as many as are shown; who knows the prices may come closer where a sum is over several of them.
    """

    exact: bool

    def count(self, count: int | None) -> str:
        """Return a count; ``-`` where it is not known."""
        shown = self._shown(count)
        return "-" if count is None else f"< {MIN_SHOWN_COUNT}" if shown is None else str(shown)

    def amount(self, amount: int, count: int) -> str:
        """Return what so many cost, in the currency's unit."""
        shown = self._shown(count)
        if shown is None:
            return "-"
        return format_micros(amount if self.exact else amount * shown // max(1, count))

    def share(self, part: int | None, whole: int) -> str:
        """Return a share of a whole, in per cent; ``-`` where it would tell too much, or there is none."""
        some, all_of_them = self._shown(part), self._shown(whole)
        if some is None or not all_of_them or not (self.exact or all_of_them >= _MIN_WHOLE):
            return "-"
        return f"{100 * some / all_of_them:.1f} %" if self.exact else f"{100 * some / all_of_them:.0f} %"

    def seconds(self, delays: DelayStats | None, share: float) -> str:
        """Return within how many seconds such a share came; ``-`` where none did, or of too few to tell."""
        if delays is None or self.share(delays.times, delays.times) == "-":
            return "-"
        bound = delays.quantile(share)
        return f"> {max(delays.within) // 1000}" if bound is None else str(bound // 1000)

    def rounded(self, count: int) -> int:
        """Return a count for a plot; 0 where it is hidden."""
        return self._shown(count) or 0

    def rounded_amount(self, amount: int, count: int) -> float:
        """Return what so many cost for a plot, in the currency's unit; 0 where it is hidden."""
        shown = self._shown(count) or 0
        return (amount if self.exact else amount * shown // max(1, count)) / MICRO if shown else 0.0

    def _shown(self, count: int | None) -> int | None:
        if self.exact or not count:
            return count
        return None if count < MIN_SHOWN_COUNT else (count + 5) // 10 * 10


_MIN_WHOLE: Final = 10 * MIN_SHOWN_COUNT
