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
"""What spreadsheets take for the beginning of a formula."""
_SOON: Final = 30_000
"""Milliseconds that a person waits for a code."""
_T = TypeVar("_T")
_Texts = dict[str, tuple[str, ...]]
"""Statistics as text, by what they are of."""


@dataclass(frozen=True, slots=True)
class Section:
    """A table of the report."""

    title: str
    of: str
    """What its rows are of."""
    stats: tuple[str, ...]
    make: Callable[[Context, StatsQuery, StatsText], _Texts]

    def rows(
        self, context: Context, months: Sequence[StatsQuery], text: StatsText
    ) -> Iterator[tuple[str, list[tuple[str, str]]]]:
        """Yield what each row is of, and its stats, of the month and of the month before; that of all comes last."""
        now, before = (self.make(context, one, text) for one in months)
        none = (_NOTHING,) * len(self.stats)
        for name in sorted(now.keys() | before.keys(), key=lambda one: (one == _ALL, one)):
            yield name, list(zip(now.get(name, none), before.get(name, none), strict=True))


@command(short_help="Write a report on a month.", applications=True)
@click.option("--month", type=click.DateTime(["%Y-%m"]), required=True, help="UTC, such as 2026-11.")
@click.option("--application", "name", help="Only of this application; default: of all.")
@click.option("--format", "form", type=click.Choice(["markdown", "csv"]), default="markdown", show_default=True)
@click.option("--exact", is_flag=True, help="Show counts as they are, small ones too.")
def report(session: Session, month: datetime, name: str | None, form: str, *, exact: bool) -> None:
    """Write a report on a month, each figure beside that of the month before.

    What became of verifications, what was spent, what was refused, and how long it took. Counts are rounded to ten, and
    those below ten hidden, unless --exact is given: small ones may tell who it is.
    """
    application, before = session.application_or_all(name), month - timedelta(days=1)
    queries = [_query(one, application) for one in (month, before)]
    months, is_unfinished = (f"{month:%Y-%m}", f"{before:%Y-%m}"), queries[0].is_unfinished()
    text = StatsText(exact=exact)
    made = [(one, list(one.rows(session.context, queries, text))) for one in _SECTIONS]
    currency = session.settings.guard.currency
    cells = [
        (one.title, of, figure, now, then)
        for one, rows in made
        for of, stats in rows
        for figure, (now, then) in zip(one.stats, stats, strict=True)
    ]
    names = ("section", "of", "figure", "shown", "before")
    about = {"month": months[0], "application": name, "currency": currency, "unfinished": is_unfinished}
    known = ([None if part == _NOTHING else part for part in one] for one in cells)
    if out.in_json(**about, stats=[dict(zip(names, one, strict=True)) for one in known]):
        return
    if form == "csv":
        click.echo(_csv([("section", "of", "figure", *months), *cells]), nl=False)
    else:
        title = f"# Verifications in {months[0]}{f', {name}' if name else ''}"
        click.echo("\n".join([title, "", *_notes(months[1], currency, text), *_tables(made)]))
    if is_unfinished:
        out.warn(f"{months[0]} is not over, or some of its stats may still change.")


def _query(day: datetime, application: str) -> StatsQuery:
    """Return the query about the month of a day."""
    begin = day.replace(day=1, tzinfo=UTC)
    end = (begin + timedelta(days=31)).replace(day=1)
    since, until = (round(one.timestamp() * 1000) for one in (begin, end))
    return StatsQuery(since, until, only={} if application == EVERY_APPLICATION else {"application": [application]})


def _notes(before: str, currency: str, text: StatsText) -> Iterator[str]:
    yield f"In brackets: {before}. Money is in {currency}. What follows a start counts in the hour of the start, UTC."
    if not text.exact:
        yield "Counts are rounded to ten, each by itself; shares are of the rounded ones."
    yield ""


def _tables(made: Iterable[tuple[Section, list[tuple[str, list[tuple[str, str]]]]]]) -> Iterator[str]:
    for section, rows in made:
        yield from (f"## {section.title}", "")
        yield f"| {' | '.join((section.of, *section.stats))} |"
        yield f"|---|{'---:|' * len(section.stats)}"
        for of, stats in rows:
            yield f"| {' | '.join((of, *(f'{now} ({before})' for now, before in stats)))} |"
        yield ""


def _csv(rows: Iterable[Sequence[str]]) -> str:
    """Return rows as CSV that no spreadsheet takes for formulas; where nothing is known a cell is empty."""
    written = io.StringIO()
    csv.writer(written).writerows(map(_safe, row) for row in rows)  # its line ends, CR LF: of others it quotes no CR
    return written.getvalue()


def _safe(cell: str) -> str:
    if cell == _NOTHING:
        return ""
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


def _funnel(by: str, context: Context, query: StatsQuery, text: StatsText) -> _Texts:
    def texts(one: VerificationStatsRow) -> tuple[str, ...]:
        counts = (one.started, one.sent, one.delivered, one.approved, one.unapproved)
        return (*map(text.count, counts), text.share(one.approved, one.started))

    rows = _each_and_all(count_verifications, context, query, by)
    return {name: texts(row) for name, row in rows if row.started}


def _spending(context: Context, query: StatsQuery, text: StatsText) -> _Texts:
    def texts(one: MessageStatsRow) -> tuple[str, ...]:
        counts = (one.calls, one.delivered, one.undelivered, one.failed, one.unknown)
        return (*map(text.count, counts), text.amount(one.amount, one.calls))

    rows = _each_and_all(count_messages, context, query, "gateway")
    return {name: texts(row) for name, row in rows if row.calls}


def _refusals(context: Context, query: StatsQuery, text: StatsText) -> _Texts:
    def texts(one: RefusalStatsRow) -> tuple[str, ...]:
        counts = (sum(one.refused.values()), one.refused.get("start", 0), sum(one.would_be_refused.values()))
        return tuple(map(text.count, counts))

    return {name: texts(row) for name, row in _each_and_all(count_refusals, context, query, "rule")}


def _delays(context: Context, query: StatsQuery, text: StatsText) -> _Texts:
    def texts(one: DelayStatsRow) -> tuple[str, ...]:
        spans = (_seconds(text.seconds(one, share)) for share in (0.5, 0.95))
        soon = next(bound.times for bound in one.within if bound.at_most_ms == _SOON)
        return (text.count(one.times), text.share(soon, one.times), *spans)

    return {one.until: texts(one) for one in count_delays(context, query)}


def _seconds(count: str) -> str:
    return count if count == _NOTHING else f"{count} s"


def _each_and_all(
    count: Callable[[Context, StatsQuery], list[_T]], context: Context, query: StatsQuery, by: str
) -> Iterator[tuple[str, _T]]:
    """Yield the rows of each group by its name, then that of all."""
    yield from ((getattr(row, by) or "", row) for row in count(context, replace(query, by=(by,))))
    yield from ((_ALL, row) for row in count(context, query))


_FUNNEL: Final = ("started", "sent", "delivered", "approved", "unapproved", "share approved")
_SECTIONS: Final = (
    Section("Verifications by country", "country", _FUNNEL, partial(_funnel, "country")),
    Section("Verifications by channel", "channel", _FUNNEL, partial(_funnel, "channel")),
    Section(
        "Spending by gateway",
        "gateway",
        ("calls", "delivered", "undelivered", "failed", "answer unknown", "spent"),
        _spending,
    ),
    Section("Refusals by rule", "rule", ("refused", "of these starts", "would be refused"), _refusals),
    Section("Delays", "from the start until", ("times", "within 30 s", "half within", "95 % within"), _delays),
)
