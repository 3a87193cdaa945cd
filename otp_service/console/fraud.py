"""Fraud: refusals by rule, starts that were not approved, the funnel, spending, what-if, and holds."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Final

from flask import request

from otp_service.console import plots
from otp_service.console.accounts import Permission
from otp_service.console.find import NOTHING_COUNTED
from otp_service.console.requests import Answer, ConsoleRequest, FormError, Views, as_form_error
from otp_service.domain.guard import DAY, GUARD_RULES, HOUR
from otp_service.domain.keyring import is_pseudonym
from otp_service.domain.numbers import is_region, parse_destination
from otp_service.domain.phrases import Phrase
from otp_service.errors import ForbiddenError, InvalidNumberError, InvalidRequestError
from otp_service.services import operator_actions
from otp_service.services.guard_status import Place, closed_countries, spending
from otp_service.services.newcomer_traffic import report_blocks, report_traffic
from otp_service.services.stats import (
    StatsQuery,
    VerificationStatsRow,
    add_up,
    count_delays,
    count_refusals,
    count_verifications,
)

views = Views()
_SPANS: Final = (1, 7, 30, 90)
"""Selectable days."""
_ROWS: Final = 200
_RECENTLY: Final = 7 * DAY
"""Milliseconds in which a country had starts, so that it may be closed."""


@dataclass(frozen=True, slots=True)
class Filter:
    """The days of a page, and optionally an application and a country."""

    days: int
    application: str
    country: str
    now: int
    applications: tuple[str, ...]
    """Those that the user may see."""
    spans = _SPANS

    def stats_query(self, *by: str, before: bool = False) -> StatsQuery:
        """Return the query for these days, or with ``before`` for as many days before these."""
        until = self.now - self.days * DAY if before else self.now
        return StatsQuery(until - self.days * DAY, until, by, self.only)

    @property
    def only(self) -> dict[str, Collection[str]]:
        names: Collection[str] = [self.application] if self.application else self.applications
        return {"application": names} | ({"country": [self.country]} if self.country else {})

    @property
    def axis(self) -> plots.Axis:
        step = "hour" if self.days <= 7 else "day"  # noqa: PLR2004 - more points than can be seen
        return plots.Axis(self.now - self.days * DAY, self.now, step)

    @property
    def query(self) -> str:
        return f"days={self.days}&application={self.application}&country={self.country}"


def read_filter(visit: ConsoleRequest) -> Filter:
    """Return the filter of the query, without invalid values."""
    days, application = request.args.get("days", ""), request.args.get("application", "")
    country = request.args.get("country", "").upper()
    return Filter(
        days=int(days) if days in map(str, _SPANS) else _SPANS[1],
        application=application if application in visit.applications else "",
        country=country if is_region(country) else "",
        now=(visit.context.store.decisions.now() // HOUR + 1) * HOUR,
        applications=visit.applications,
    )


@views.view("GET /fraud", Permission.STATS, title="Passes")
def show_passes(visit: ConsoleRequest) -> Answer:
    chosen = read_filter(visit)
    by = ("application", "country", "number_prefix")
    group = attrgetter(*by)
    before = {group(row): row for row in _count(visit, chosen.stats_query(*by, before=True))}
    rows = sorted(_count(visit, chosen.stats_query(*by)), key=attrgetter("unapproved"), reverse=True)
    axis, count = chosen.axis, visit.stats.rounded
    points = _count(visit, chosen.stats_query(axis.step))
    unapproved = axis.values(points, lambda row: count(row.unapproved))
    approved = axis.values(points, lambda row: count(row.approved))
    title = visit.words("Started verifications, approved and not approved")
    places = [row for row in report_traffic(visit.context) if row.application in chosen.applications]
    return visit.page(
        "passes.html",
        chosen=chosen,
        stats=visit.stats,
        rows=[(row, before.get(group(row))) for row in rows[:50]],
        points=points,
        drawing=plots.lines(title, axis.labels, unapproved, approved),
        alarms=[row for row in places if row.alarmed_since],
        usual=places,
        blocks=report_blocks(visit.context) if visit.signed_in.sees_all else [],
        currency=visit.settings.guard.currency,
    )


def _count(visit: ConsoleRequest, query: StatsQuery) -> list[VerificationStatsRow]:
    return count_verifications(visit.context, query, first_messages=False)


@views.view("GET /fraud/unapproved", Permission.EXACT)
def show_unapproved(visit: ConsoleRequest) -> Answer:
    """Show the verifications behind a count of starts that were not approved, newest first, without numbers."""
    chosen, query = read_filter(visit), request.args
    since, until = _moment(query.get("from", "")), _moment(query.get("until", ""))
    only = chosen.only | ({"number_prefix": [query["range"]]} if "range" in query else {})
    begin, end = since or chosen.now - chosen.days * DAY, until or chosen.now
    rows = visit.context.ledger.verifications.unapproved(begin, end, _ROWS, **only)
    return visit.page("unapproved.html", chosen=chosen, rows=rows, begin=begin, end=end, is_full=len(rows) == _ROWS)


def _moment(text: str) -> int:
    """Return milliseconds since the epoch from an address, 0 for other text."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 14 else 0  # noqa: PLR2004


@views.view("GET /fraud/rules", Permission.STATS, title="Rules")
def show_rules(visit: ConsoleRequest) -> Answer:
    chosen = read_filter(visit)
    refused = count_refusals(visit.context, chosen.stats_query("rule"))
    points = count_refusals(visit.context, chosen.stats_query(chosen.axis.step))
    count = visit.stats.rounded
    lines = (
        chosen.axis.values(points, lambda row: count(sum(row.refused.values()))),
        chosen.axis.values(points, lambda row: count(sum(row.would_be_refused.values()))),
    )
    return visit.page(
        "rules.html",
        chosen=chosen,
        stats=visit.stats,
        refused=sorted(refused, key=lambda row: -sum(row.refused.values()) - sum(row.would_be_refused.values())),
        sentences={name: rule.sentence for name, rule in GUARD_RULES.items()},
        points=points,
        drawing=plots.lines(visit.words("What rules refused, or would have"), chosen.axis.labels, *lines),
    )


@views.view("GET /fraud/funnel", Permission.STATS, title="Funnel")
def show_funnel(visit: ConsoleRequest) -> Answer:
    chosen, context = read_filter(visit), visit.context
    by = ("channel", "country", "application")
    rows = count_verifications(context, chosen.stats_query(*by))
    return visit.page(
        "funnel.html",
        chosen=chosen,
        stats=visit.stats,
        whole=next(iter(add_up(rows)), None),
        before=next(iter(count_verifications(context, chosen.stats_query(before=True))), None),
        tables=[(member, add_up(rows, member)) for member in by],
        delays=count_delays(context, chosen.stats_query("channel")),
    )


@views.view("GET /fraud/spend", Permission.STATS, title="Money")
def show_spending(visit: ConsoleRequest) -> Answer:
    chosen = read_filter(visit)
    points = _count(visit, chosen.stats_query("day"))
    days = replace(chosen.axis, step="day")
    amounts = days.values(points, lambda row: visit.stats.rounded_amount(row.amount, row.started))
    by_country = _count(visit, chosen.stats_query("application", "country"))
    ceilings = None
    if visit.stats.exact:  # from a sum and a price others could compute a count
        spent = spending(visit.context, _places(by_country))
        ceilings = [ceiling for ceiling in spent if ceiling.application in chosen.applications]
    return visit.page(
        "spending.html",
        chosen=chosen,
        stats=visit.stats,
        points=points,
        drawing=plots.bars(visit.words("Money by day"), days.labels, amounts),
        by_country=by_country,
        ceilings=ceilings,
        currency=visit.settings.guard.currency,
    )


def _places(rows: Iterable[VerificationStatsRow]) -> set[Place]:
    return {(row.application or "", row.country or "") for row in rows}


@views.view("GET /fraud/holds", Permission.HOLDS, title="Holds")
def show_holds(visit: ConsoleRequest) -> Answer:
    until = visit.context.store.decisions.now()
    recently = StatsQuery(until - _RECENTLY, until, ("application", "country"), {"application": visit.applications})
    places = _places(_count(visit, recently))
    return visit.page("holds.html", closed=closed_countries(visit.context, places), applications=visit.applications)


@views.view("POST /fraud/holds/country", Permission.HOLDS)
def lift_country(visit: ConsoleRequest) -> Answer:
    application, country = visit.field("application"), visit.field("country").upper()
    if application not in visit.applications or not is_region(country):
        raise FormError("There is no such application, or no such country.")
    return _lift(visit, operator_actions.country_restriction(visit.context, application, country))


@views.view("POST /fraud/holds/block", Permission.HOLDS)
def lift_block(visit: ConsoleRequest) -> Answer:
    """Lift the limits of a block, named by a number in it or by its pseudonym."""
    _require_all_applications(visit)
    if number := visit.field("number"):
        with as_form_error(InvalidNumberError, "That is no number: write it as +92…."):
            block = visit.context.keyring.block_pseudonym(parse_destination(number, None).block)
    else:
        block = visit.field("block")
    if not is_pseudonym(block):
        raise FormError("There is no such block.")
    return _lift(visit, operator_actions.block_restriction(visit.context, block))


@views.view("POST /fraud/holds/address", Permission.HOLDS)
def lift_address(visit: ConsoleRequest) -> Answer:
    _require_all_applications(visit)
    with as_form_error(InvalidRequestError, "That is no IP address."):
        restriction = operator_actions.address_restriction(visit.context, visit.field("address"))
    return _lift(visit, restriction)


def _require_all_applications(visit: ConsoleRequest) -> None:
    if not visit.signed_in.sees_all:
        raise ForbiddenError("Blocks and addresses are held back, and let go, for all applications.")


def _lift(visit: ConsoleRequest, restriction: operator_actions.Restriction) -> Answer:
    done = operator_actions.unblock(visit.context, restriction, visit.operator)
    return visit.done("/fraud/holds", Phrase("Forgotten. Rules count anew from here.") if done else NOTHING_COUNTED)
