"""otp-service report: a month in figures, beside the month before."""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final, TypeVar

import click

from otp_service.cli import output as out
from otp_service.cli.common import Session, command
from otp_service.domain.consents import EVERY_APPLICATION
from otp_service.services.context import Context
from otp_service.services.stats import (
    DelayStatsRow,
    MessageStatsRow,
    RefusalStatsRow,
    StatsQuery,
    StatsText,
    VerificationStatsRow,
    count_delays,
    count_messages,
    count_refusals,
    count_verifications,
)

_ALL: Final = "all"
_NOTHING: Final = "-"
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""First characters of a formula in spreadsheets."""
_SOON: Final = 30_000
"""Milliseconds that a person is expected to wait for a code."""
_T = TypeVar("_T")
_Texts = dict[str, tuple[str, ...]]
"""Statistics as text, by group."""


@dataclass(frozen=True, slots=True)
class Section:
    """A table of the report."""

    title: str
    of: str
    """Heading of the groups."""
    stats: tuple[str, ...]
    make: Callable[[Context, StatsQuery, StatsText], _Texts]

    def rows(
        self, context: Context, months: Sequence[StatsQuery], text: StatsText
    ) -> Iterator[tuple[str, list[tuple[str, str]]]]:
        """Yield each group with its statistics of the month and of the month before; the total comes last."""
        now, before = (self.make(context, month, text) for month in months)
        none = (_NOTHING,) * len(self.stats)
        for name in sorted(now.keys() | before.keys(), key=lambda name: (name == _ALL, name)):
            yield name, list(zip(now.get(name, none), before.get(name, none), strict=True))


@command(short_help="Write a report on a month.", applications=True)
@click.option("--month", type=click.DateTime(["%Y-%m"]), required=True, help="UTC, such as 2026-11.")
@click.option("--application", "name", help="Only this application; default: all.")
@click.option("--format", "form", type=click.Choice(["markdown", "csv"]), default="markdown", show_default=True)
@click.option("--exact", is_flag=True, help="Show exact counts, also below ten.")
def report(session: Session, month: datetime, name: str | None, form: str, *, exact: bool) -> None:
    """Write a report on a month, compared with the month before.

    It covers verifications, spending, refusals and delays. Counts are rounded to tens, and counts below ten are hidden,
    because they may identify a person; --exact shows them.
    """
    application, before = session.application_or_all(name), month - timedelta(days=1)
    queries = [_query(day, application) for day in (month, before)]
    months, is_unfinished = (f"{month:%Y-%m}", f"{before:%Y-%m}"), queries[0].is_unfinished()
    text = StatsText(exact=exact)
    made = [(section, list(section.rows(session.context, queries, text))) for section in _SECTIONS]
    currency = session.settings.guard.currency
    cells = [
        (section.title, of, figure, now, then)
        for section, rows in made
        for of, stats in rows
        for figure, (now, then) in zip(section.stats, stats, strict=True)
    ]
    names = ("section", "of", "figure", "shown", "before")
    head = {"month": months[0], "application": name, "currency": currency, "unfinished": is_unfinished}
    stats = [{name: None if part == _NOTHING else part for name, part in zip(names, row, strict=True)} for row in cells]
    if out.in_json(**head, stats=stats):
        return
    if form == "csv":
        click.echo(_csv([("section", "of", "figure", *months), *cells]), nl=False)
    else:
        title = f"# Verifications in {months[0]}{f', {name}' if name else ''}"
        notes = [f"In brackets: {months[1]}. Money is in {currency}. Outcomes count in the hour of the start, in UTC."]
        if not exact:
            notes.append("Each count is rounded to tens; shares are computed from rounded counts.")
        click.echo("\n".join([title, "", *notes, "", *_tables(made)]))
    if is_unfinished:
        out.warn(f"{months[0]} is not over, or some of its figures may still change.")


def _query(day: datetime, application: str) -> StatsQuery:
    begin = day.replace(day=1, tzinfo=UTC)
    end = (begin + timedelta(days=31)).replace(day=1)
    since, until = (round(day.timestamp() * 1000) for day in (begin, end))
    return StatsQuery(since, until, only={} if application == EVERY_APPLICATION else {"application": [application]})


def _tables(made: Iterable[tuple[Section, list[tuple[str, list[tuple[str, str]]]]]]) -> Iterator[str]:
    for section, rows in made:
        yield from (f"## {section.title}", "")
        yield f"| {' | '.join((section.of, *section.stats))} |"
        yield f"|---|{'---:|' * len(section.stats)}"
        for of, stats in rows:
            yield f"| {' | '.join((of, *(f'{now} ({before})' for now, before in stats)))} |"
        yield ""


def _csv(rows: Iterable[Sequence[str]]) -> str:
    """Return rows as CSV without formulas; a cell without a figure is empty."""
    written = io.StringIO()
    csv.writer(written).writerows(map(_safe, row) for row in rows)  # with CR LF: with any other it quotes no CR
    return written.getvalue()


def _safe(cell: str) -> str:
    if cell == _NOTHING:
        return ""
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


def _funnel(by: str, context: Context, query: StatsQuery, text: StatsText) -> _Texts:
    def texts(row: VerificationStatsRow) -> tuple[str, ...]:
        counts = (row.started, row.sent, row.delivered, row.approved, row.unapproved)
        return (*map(text.count, counts), text.share(row.approved, row.started))

    rows = _groups_and_total(count_verifications, context, query, by)
    return {name: texts(row) for name, row in rows if row.started}


def _spending(context: Context, query: StatsQuery, text: StatsText) -> _Texts:
    def texts(row: MessageStatsRow) -> tuple[str, ...]:
        counts = (row.calls, row.delivered, row.undelivered, row.failed, row.unknown)
        return (*map(text.count, counts), text.amount(row.amount, row.calls))

    rows = _groups_and_total(count_messages, context, query, "gateway")
    return {name: texts(row) for name, row in rows if row.calls}


def _refusals(context: Context, query: StatsQuery, text: StatsText) -> _Texts:
    def texts(row: RefusalStatsRow) -> tuple[str, ...]:
        counts = (sum(row.refused.values()), row.refused.get("start", 0), sum(row.would_be_refused.values()))
        return tuple(map(text.count, counts))

    return {name: texts(row) for name, row in _groups_and_total(count_refusals, context, query, "rule")}


def _delays(context: Context, query: StatsQuery, text: StatsText) -> _Texts:
    def texts(row: DelayStatsRow) -> tuple[str, ...]:
        seconds = (text.seconds(row, share) for share in (0.5, 0.95))
        soon = next(bound.times for bound in row.within if bound.at_most_ms == _SOON)
        spans = (count if count == _NOTHING else f"{count} s" for count in seconds)
        return (text.count(row.times), text.share(soon, row.times), *spans)

    return {row.until: texts(row) for row in count_delays(context, query)}


def _groups_and_total(
    count: Callable[[Context, StatsQuery], list[_T]], context: Context, query: StatsQuery, by: str
) -> Iterator[tuple[str, _T]]:
    """Yield the name and row of each group, then the total."""
    yield from ((getattr(row, by) or "", row) for row in count(context, replace(query, by=(by,))))
    yield from ((_ALL, row) for row in count(context, query))


_FUNNEL: Final = ("started", "sent", "delivered", "approved", "unapproved", "share approved")
_SPENDING: Final = ("calls", "delivered", "undelivered", "failed", "answer unknown", "spent")
_SECTIONS: Final = (
    Section("Verifications by country", "country", _FUNNEL, partial(_funnel, "country")),
    Section("Verifications by channel", "channel", _FUNNEL, partial(_funnel, "channel")),
    Section("Spending by gateway", "gateway", _SPENDING, _spending),
    Section("Refusals by rule", "rule", ("refused", "of these starts", "would be refused"), _refusals),
    Section("Delays", "from the start until", ("times", "within 30 s", "half within", "95 % within"), _delays),
)
