"""The traffic of newcomers: judged in turn by the workers, told to operators."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from otp_service.domain.newcomer_traffic import MINUTE, Cause, CountryTraffic, Finding, Notice, PlaceTraffic
from otp_service.domain.prices import MICRO
from otp_service.domain.tallies import Tally, feed
from otp_service.domain.webhooks import Webhook, WebhookType
from otp_service.errors import LedgerUnavailableError
from otp_service.services.context import Context
from otp_service.store.newcomer_traffic import BlockCount, CountrySuspicion, RangeSuspicion
from otp_service.store.rulesets import CompiledRuleset
from otp_service.telemetry import metrics
from otp_service.telemetry.logging import get_logger
from otp_service.telemetry.redaction import SafeNumber

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PassedUnapproved:
    """Messages to newcomers that passed the guard, and that nobody approved."""

    window: str
    """``hour`` or ``day``: about the last one."""
    messages: float
    usual: float
    money: float
    """What they cost at most, in millionths."""


def passed_unapproved(place: PlaceTraffic, minute: int) -> tuple[PassedUnapproved, PassedUnapproved]:
    """Return what passed at a place in about the last hour and day, and what is usual, as it is in a minute."""
    passed, usual = place.passed.at(minute), place.usual
    hour = PassedUnapproved("hour", passed.hour, usual.hourly_unapproved(minute // 60), passed.hour_money)
    return hour, PassedUnapproved("day", passed.day, usual.daily_unapproved(), passed.day_money)


_MANY: Final = 20
"""Messages of a day, and twice what is usual, from which on a carrier range is shown."""


@dataclass(frozen=True, slots=True)
class PlaceReport:
    """What is known of the newcomers of a country, or of a carrier range in it."""

    application: str
    country: str
    number_prefix: str
    """Empty for the whole country."""
    passed: tuple[PassedUnapproved, PassedUnapproved]
    alarmed_since: int
    """When the alarm that stands was told: milliseconds since the epoch; 0 for none."""
    cause: Cause | None


def report_traffic(context: Context) -> Iterator[PlaceReport]:
    """Yield each country with newcomers, and its carrier ranges that stand out; raises `StoreUnavailableError`."""
    minute = context.store.decisions.now() // MINUTE
    for application in context.applications:
        for country, traffic in sorted(context.store.traffic.learnt(application)[1].items()):
            yield _report(application, country, "", traffic, minute)
            for name in sorted(traffic.ranges):
                one = _report(application, country, name, traffic, minute)
                day = one.passed[1]
                if one.alarmed_since or day.messages > 2 * day.usual + _MANY:
                    yield one


_MOST_BLOCKS: Final = 10


@dataclass(frozen=True, slots=True)
class BlockReport:
    """What a block of numbers took that newcomers did not approve, and what is usual there in a day."""

    count: BlockCount
    usual: float
    """Its usual approvals, and to each as many unapproved messages as is usual in its country."""
    money: float
    """What those of the day cost, in millionths, as the country's do in the mean."""


def report_blocks(context: Context) -> list[BlockReport]:
    """Return the blocks that most passed to unapproved in about a day; raises `StoreUnavailableError`."""
    now = context.store.decisions.now()
    learnt = [context.store.traffic.learnt(application)[1] for application in context.applications]
    reports = []
    for one in context.store.traffic.busiest_blocks(now, _MOST_BLOCKS):
        places = [countries[one.country].whole for countries in learnt if one.country in countries]
        usual = context.store.guard.usual_in_block(one.block) * _ratio(
            (place.usual.daily_unapproved(), place.usual.daily_approvals()) for place in places
        )
        passed = (place.passed.at(now // MINUTE) for place in places)
        reports.append(BlockReport(one, usual, one.day * _ratio((each.day_money, each.day) for each in passed)))
    return reports


def _ratio(pairs: Iterable[tuple[float, float]]) -> float:
    above, below = 0.0, 0.0
    for one, other in pairs:
        above, below = above + one, below + other
    return above / below if below else 0.0


def usual_approvals(context: Context) -> Mapping[str, float]:
    """Return how many newcomers approve in a usual day, by application and country (``shop/PK``)."""
    return {
        f"{application}/{country}": traffic.whole.usual.daily_approvals()
        for application in context.applications
        for country, traffic in context.store.traffic.learnt(application)[1].items()
    }


def _report(application: str, country: str, name: str, traffic: CountryTraffic, minute: int) -> PlaceReport:
    place = traffic.ranges[name] if name else traffic.whole
    alarm = next(iter(place.alarms), None)
    cause = traffic.whole.cause(alarm.level) if alarm else None
    told = alarm.raised * MINUTE if alarm else 0
    return PlaceReport(application, country, name, passed_unapproved(place, minute), told, cause)


@dataclass(slots=True)
class _Learnt:
    """What this process knows of an application."""

    version: str
    countries: dict[str, CountryTraffic]


_CLOCK_IS_AHEAD: Final = 60
"""Minutes by which an event may be later than what is recorded; if it is by more, Redis' clock was ahead."""


class TrafficJudge:
    """Brings what is learnt forward from the tallies, while it has the lease; tells what is unusual.

    A step is kept whole or not at all, and only by the process that read what it goes on from: one that dies, or whose
    lease went meanwhile, leaves nothing wrong.
    """

    def __init__(self, context: Context, name: str) -> None:
        """Prepare; ``name`` is the worker's."""
        self._context = context
        self._name = name
        self._learnt: dict[str, _Learnt] = {}
        self._leads: bool | None = None
        self._untold: list[Webhook] = []
        """Of alarms that the ledger has not taken yet."""

    def judge(self) -> None:
        """Judge what is recorded, if it is this process' turn; raises `StoreUnavailableError`."""
        self._write_webhooks()
        leads = self._context.store.traffic.lead(self._name)
        if leads is not self._leads:  # what this process told is over, also what it told before a reload
            self._leads = leads
            self._learnt.clear()
            _forget_gauges()
        if not leads:
            return
        until = self._context.store.events.counted_until()
        for application, ruleset in self._context.rulesets.items():
            try:
                self._judge(application, ruleset, until)
            except ValueError as unreadable:  # another release's: the other applications are judged all the same
                _log.error("traffic_unreadable", application=application, reason=str(unreadable))
        self._write_webhooks()

    def _write_webhooks(self) -> None:
        """Write what applications are to be told; while the ledger is away it is kept for the next time."""
        if not self._untold:
            return
        try:
            self._context.ledger.webhook_outbox.add(self._untold)
            self._untold = []
        except LedgerUnavailableError:
            metrics.ledger_errors.count(operation="judge")

    def _judge(self, application: str, ruleset: CompiledRuleset, until: int) -> None:
        store = self._context.store.traffic
        version, tallies = store.tallies(application)
        learnt = self._learnt.pop(application, None)
        if learnt is None or learnt.version != version:
            learnt = _Learnt(*store.learnt(application))
        if learnt.version != version:  # another process is at it
            return
        minute = until // MINUTE
        ripe = {one: n for one, n in tallies.items() if one.minute <= minute or one.minute > minute + _CLOCK_IS_AHEAD}
        step = _Step(learnt.countries, ripe, until)
        if step.changed:
            suspicions = tuple(_suspicion(country, learnt.countries[country]) for country in step.changed)
            changed = {country: (learnt.countries[country], ranges) for country, ranges in step.changed.items()}
            if not store.commit(application, version, changed, ripe, suspicions, ruleset):
                return
            learnt.version = str(int(version) + 1)
        self._learnt[application] = learnt
        for country, notice in step.notices:
            _tell(application, country, learnt.countries[country], notice)
            if notice.finding in _TOLD:
                self._untold.append(_webhook_of(application, country, notice, until))
        for country, traffic in learnt.countries.items():
            _set_gauges(application, country, traffic, until // MINUTE)


class _Step:
    """What became of an application's countries when they were brought forward."""

    def __init__(self, countries: dict[str, CountryTraffic], tallies: Mapping[Tally, int], until: int) -> None:
        self.changed: dict[str, set[str]] = {}
        """Countries that changed, each with its ranges that did."""
        self.notices: list[tuple[str, Notice]] = []
        by_country: dict[str, dict[Tally, int]] = {one: {} for one in countries}
        for tally, count in tallies.items():
            by_country.setdefault(tally.country, {})[tally] = count
        for one, own in by_country.items():
            traffic = countries.setdefault(one, CountryTraffic())
            if own or (until // MINUTE != traffic.minute and (traffic.whole.is_live or traffic.live_ranges())):
                self._bring_forward(one, traffic, own, until)

    def _bring_forward(self, country: str, traffic: CountryTraffic, tallies: Mapping[Tally, int], until: int) -> None:
        ranges = {*traffic.live_ranges(), *(one.number_prefix for one in tallies)}
        notices = [*feed(traffic, tallies, until // MINUTE), *traffic.advance(until)]
        self.notices += [(country, one) for one in notices]
        self.changed[country] = {one for one in ranges if one in traffic.ranges}


def _suspicion(country: str, traffic: CountryTraffic) -> CountrySuspicion:
    whole, usual = traffic.suspicion(""), traffic.whole.usual.daily_approvals()
    ranges = {one: traffic.suspicion(one) for one, place in traffic.ranges.items() if place.newcomers.alarm}
    trickle = max(one.trickle for one in (whole, *ranges.values()))
    of_ranges = tuple(RangeSuspicion(name, one.ask, one.checked_too) for name, one in ranges.items())
    return CountrySuspicion(country, whole.ask, whole.checked_too, trickle, usual, of_ranges)


def _tell(application: str, country: str, traffic: CountryTraffic, notice: Notice) -> None:
    place = traffic.ranges.get(notice.number_prefix, traffic.whole)
    day = passed_unapproved(place, notice.minute)[1]
    match notice.finding:
        case Finding.USUAL_AGAIN:
            event = "unknown_numbers_usual_again"
        case Finding.REBASED:
            event = "unknown_numbers_change_taken_for_usual"
        case _:
            event = "unknown_numbers_unusual"
    _log.log(
        logging.INFO if notice.finding is Finding.USUAL_AGAIN else logging.WARNING,
        event,
        application=application,
        country=country,
        number_prefix=notice.number_prefix,
        whose=str(notice.group),
        why=str(notice.finding),
        cause=str(notice.cause),
        unapproved=SafeNumber(round(day.messages)),
        usual=SafeNumber(round(day.usual)),
    )


_TOLD: Final[Mapping[Finding, WebhookType]] = {
    Finding.ALARM: WebhookType.ALARM_RAISED,
    Finding.USUAL_AGAIN: WebhookType.ALARM_ENDED,
    Finding.REBASED: WebhookType.ALARM_ENDED,
}
"""What applications are told of."""


def _webhook_of(application: str, country: str, notice: Notice, at: int) -> Webhook:
    details = {"country": country, "number_prefix": notice.number_prefix, "cause": str(notice.cause)}
    return Webhook(application, _TOLD[notice.finding], at, details=details)


def _set_gauges(application: str, country: str, traffic: CountryTraffic, minute: int) -> None:
    places = (traffic.whole, *traffic.ranges.values())
    causes = [traffic.whole.cause(alarm.level) for place in places for alarm in place.alarms]
    for cause in Cause:
        metrics.unknown_number_alarms.set(causes.count(cause), application=application, country=country, cause=cause)
    for one in passed_unapproved(traffic.whole, minute):
        metrics.unapproved_messages.set(one.messages, application=application, country=country, window=one.window)
        metrics.unapproved_messages_usual.set(one.usual, application=application, country=country, window=one.window)
        metrics.unapproved_money.set(one.money / MICRO, application=application, country=country, window=one.window)


def _forget_gauges() -> None:
    """Drop what another process tells from now on; where processes report together, the last word counts anyway."""
    if not metrics.is_multiprocess():
        metrics.unknown_number_alarms.clear()
        metrics.unapproved_messages.clear()
        metrics.unapproved_messages_usual.clear()
        metrics.unapproved_money.clear()
