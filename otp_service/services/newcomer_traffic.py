"""The traffic of unknown numbers: judged by the workers in turn, reported to operators."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from otp_service.domain.detection import Finding
from otp_service.domain.newcomer_traffic import MINUTE, Cause, CountryTraffic, Notice, PlaceTraffic
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
    """Unapproved messages to unknown numbers that passed the guard."""

    window: str
    """``hour`` or ``day``: about the last one."""
    messages: float
    usual: float
    money: float
    """Their maximum cost, in millionths."""


def passed_unapproved(place: PlaceTraffic, minute: int) -> tuple[PassedUnapproved, PassedUnapproved]:
    """Return the messages that passed at a place in about the hour and day before a minute, with the usual numbers."""
    passed, usual = place.passed.at(minute), place.usual
    hour = PassedUnapproved("hour", passed.hour, usual.hourly_unapproved(minute // 60), passed.hour_money)
    return hour, PassedUnapproved("day", passed.day, usual.daily_unapproved(), passed.day_money)


_MANY: Final = 20
"""A number prefix is shown from twice its usual messages of a day and so many more."""


@dataclass(frozen=True, slots=True)
class PlaceReport:
    """The traffic of unknown numbers of a country, or of a number prefix in it."""

    application: str
    country: str
    number_prefix: str
    """Empty for the whole country."""
    passed: tuple[PassedUnapproved, PassedUnapproved]
    alarmed_since: int
    """The time of the alarm in force, in milliseconds since the epoch; 0 for none."""
    cause: Cause | None


def report_traffic(context: Context) -> Iterator[PlaceReport]:
    """Yield each country with unknown numbers, and its unusual number prefixes."""
    minute = context.store.decisions.now() // MINUTE
    for application in context.applications:
        for country, traffic in sorted(context.store.traffic.learnt(application)[1].items()):
            yield _report(application, country, "", traffic, minute)
            for name in sorted(traffic.ranges):
                report = _report(application, country, name, traffic, minute)
                day = report.passed[1]
                if report.alarmed_since or day.messages > 2 * day.usual + _MANY:
                    yield report


_MAX_BLOCKS: Final = 10


@dataclass(frozen=True, slots=True)
class BlockReport:
    """Unapproved messages to unknown numbers of a block, and the usual number in a day."""

    count: BlockCount
    usual: float
    """The block's usual approvals times the country's unapproved messages for each approval."""
    money: float
    """The cost of the day's messages at the country's mean price, in millionths."""


def report_blocks(context: Context) -> list[BlockReport]:
    """Return the blocks with the largest numbers of unapproved messages in a day."""
    now = context.store.decisions.now()
    learnt = [context.store.traffic.learnt(application)[1] for application in context.applications]
    reports = []
    for count in context.store.traffic.busiest_blocks(now, _MAX_BLOCKS):
        places = [countries[count.country].whole for countries in learnt if count.country in countries]
        usual = context.store.guard.usual_in_block(count.block) * _ratio(
            (place.usual.daily_unapproved(), place.usual.daily_approvals()) for place in places
        )
        passed = (place.passed.at(now // MINUTE) for place in places)
        reports.append(BlockReport(count, usual, count.day * _ratio((each.day_money, each.day) for each in passed)))
    return reports


def _ratio(pairs: Iterable[tuple[float, float]]) -> float:
    above, below = 0.0, 0.0
    for numerator, denominator in pairs:
        above, below = above + numerator, below + denominator
    return above / below if below else 0.0


def usual_approvals(context: Context) -> Mapping[str, float]:
    """Return the approvals of unknown numbers in a usual day, by application and country (``shop/PK``)."""
    return {
        f"{application}/{country}": traffic.whole.usual.daily_approvals()
        for application in context.applications
        for country, traffic in context.store.traffic.learnt(application)[1].items()
    }


def _report(application: str, country: str, name: str, traffic: CountryTraffic, minute: int) -> PlaceReport:
    place = traffic.ranges[name] if name else traffic.whole
    alarm = next(iter(place.alarms), None)
    cause = traffic.whole.cause(alarm.level) if alarm else None
    alarmed_since = alarm.raised * MINUTE if alarm else 0
    return PlaceReport(application, country, name, passed_unapproved(place, minute), alarmed_since, cause)


@dataclass(slots=True)
class _Learnt:
    version: str
    countries: dict[str, CountryTraffic]


_CLOCK_IS_AHEAD: Final = 60
"""Minutes by which an event may be later than the recorded ones; a larger gap means that Redis' clock was ahead."""


class TrafficJudge:
    """Learns from the tallies while it has the lease, and reports unusual traffic.

    A step is stored whole or not at all, and only by the process that read the version before: a process that dies or
    loses its lease leaves nothing wrong.
    """

    def __init__(self, context: Context, worker: str) -> None:
        self._context = context
        self._worker = worker
        self._learnt: dict[str, _Learnt] = {}
        self._leads: bool | None = None
        self._unwritten: list[Webhook] = []
        """Webhooks of alarms that are not in the ledger yet."""

    def judge(self) -> None:
        """Judge the recorded traffic if this process has the lease."""
        self._write_webhooks()
        leads = self._context.store.traffic.lead(self._worker)
        if leads is not self._leads:
            self._leads = leads
            self._learnt.clear()
            if not metrics.is_multiprocess():  # another process sets them now; with several the last value counts
                metrics.unknown_number_alarms.clear()
                metrics.unapproved_messages.clear()
                metrics.unapproved_messages_usual.clear()
                metrics.unapproved_money.clear()
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
        """Write webhooks into the ledger; while it is away they wait for the next time."""
        if not self._unwritten:
            return
        try:
            self._context.ledger.webhook_outbox.add(self._unwritten)
            self._unwritten = []
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
        ripe = {
            tally: count
            for tally, count in tallies.items()
            if tally.minute <= minute or tally.minute > minute + _CLOCK_IS_AHEAD
        }
        changed, notices = _advance(learnt.countries, ripe, until)
        if changed:
            suspicions = tuple(_suspicion(country, learnt.countries[country]) for country in changed)
            stored = {country: (learnt.countries[country], ranges) for country, ranges in changed.items()}
            if not store.commit(application, version, stored, ripe, suspicions, ruleset):
                return
            learnt.version = str(int(version) + 1)
        self._learnt[application] = learnt
        for country, notice in notices:
            _log_notice(application, country, learnt.countries[country], notice)
            if notice.finding in _WEBHOOK_TYPES:
                details = {"country": country, "number_prefix": notice.number_prefix, "cause": str(notice.cause)}
                webhook = Webhook(application, _WEBHOOK_TYPES[notice.finding], until, details=details)
                self._unwritten.append(webhook)
        for country, traffic in learnt.countries.items():
            _set_gauges(application, country, traffic, until // MINUTE)


def _advance(
    countries: dict[str, CountryTraffic], tallies: Mapping[Tally, int], until: int
) -> tuple[dict[str, set[str]], list[tuple[str, Notice]]]:
    """Bring countries forward; return the changed ones, each with its changed number prefixes, and the notices."""
    changed: dict[str, set[str]] = {}
    notices: list[tuple[str, Notice]] = []
    by_country: dict[str, dict[Tally, int]] = {country: {} for country in countries}
    for tally, count in tallies.items():
        by_country.setdefault(tally.country, {})[tally] = count
    for country, own in by_country.items():
        traffic = countries.setdefault(country, CountryTraffic())
        if own or (until // MINUTE != traffic.minute and (traffic.whole.is_live or traffic.live_ranges())):
            prefixes = {*traffic.live_ranges(), *(tally.number_prefix for tally in own)}
            notices += [(country, notice) for notice in feed(traffic, own, until // MINUTE)]
            notices += [(country, notice) for notice in traffic.advance(until)]
            changed[country] = prefixes & traffic.ranges.keys()
    return changed, notices


def _suspicion(country: str, traffic: CountryTraffic) -> CountrySuspicion:
    whole, usual = traffic.suspicion(""), traffic.whole.usual.daily_approvals()
    ranges = {name: traffic.suspicion(name) for name, place in traffic.ranges.items() if place.newcomers.alarm}
    trickle = max(suspicion.trickle for suspicion in (whole, *ranges.values()))
    of_ranges = tuple(RangeSuspicion(name, range_.ask, range_.checked_too) for name, range_ in ranges.items())
    return CountrySuspicion(country, whole.ask, whole.checked_too, trickle, usual, of_ranges)


def _log_notice(application: str, country: str, traffic: CountryTraffic, notice: Notice) -> None:
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


_WEBHOOK_TYPES: Final[Mapping[Finding, WebhookType]] = {
    Finding.ALARM: WebhookType.ALARM_RAISED,
    Finding.USUAL_AGAIN: WebhookType.ALARM_ENDED,
    Finding.REBASED: WebhookType.ALARM_ENDED,
}
"""The findings that applications get a webhook of."""


def _set_gauges(application: str, country: str, traffic: CountryTraffic, minute: int) -> None:
    places = (traffic.whole, *traffic.ranges.values())
    causes = [traffic.whole.cause(alarm.level) for place in places for alarm in place.alarms]
    for cause in Cause:
        metrics.unknown_number_alarms.set(causes.count(cause), application=application, country=country, cause=cause)
    for passed in passed_unapproved(traffic.whole, minute):
        window, money = passed.window, passed.money / MICRO
        metrics.unapproved_messages.set(passed.messages, application=application, country=country, window=window)
        metrics.unapproved_messages_usual.set(passed.usual, application=application, country=country, window=window)
        metrics.unapproved_money.set(money, application=application, country=country, window=window)
