"""How many people and records a time is about: counts alone, for who has to tell an authority."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, Table, func, select

from otp_service.domain.people import EVERY_APPLICATION
from otp_service.ledger.clock import now
from otp_service.ledger.database import Database
from otp_service.ledger.schema import (
    acts,
    consents,
    erasures,
    events,
    inbound,
    purges,
    suppressions,
    verifications,
)

_KEPT_OF_PEOPLE: Final = {
    "verifications": (verifications, "started"),
    "consents": (consents, "recorded"),
    "suppressions": (suppressions, "recorded"),
    "inbound": (inbound, "received"),
    "erasures": (erasures, "at"),
}
"""Tables with rows of people, and the columns that tell when one was recorded."""


@dataclass(frozen=True, slots=True)
class Span:
    """Which time, and whose records."""

    since: int
    """Milliseconds since the epoch."""
    until: int
    """The first that is not in it any more."""
    application: str | None = None
    """``None`` for all."""


@dataclass(frozen=True, slots=True)
class Counted:
    """What was recorded in a time."""

    people: int
    """Numbers of which anything was."""
    records: Mapping[str, int]
    """By table."""
    statuses: Mapping[str, int]
    """Verifications, by how they ended."""
    countries: Mapping[str, int]
    """Verifications, by country."""
    gateways: Mapping[str, int]
    """Calls, by gateway."""
    acts: Mapping[str, int]
    """Of operators, by what was done."""
    purged: int
    """Rows that purges deleted."""


class Incidents:
    """Counts of what was recorded in a time. Raises `LedgerUnavailableError` when the database cannot serve."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def count(self, span: Span) -> Counted:
        """Return what was recorded in a time."""
        with self._database.read() as connection:
            mine = _within(verifications, "started", span)
            return Counted(
                people=_people(connection, span),
                records={
                    name: _number(connection, select(func.count()).select_from(table).where(_within(table, at, span)))
                    for name, (table, at) in _KEPT_OF_PEOPLE.items()
                },
                statuses=_statuses(connection, mine),
                countries=_by(connection, verifications.c.country, mine),
                gateways=_gateways(connection, span),
                acts=_by(connection, acts.c.act, _acts(span)),
                purged=_number(
                    connection,
                    select(func.coalesce(func.sum(purges.c["count"]), 0)).where(
                        purges.c.at >= span.since, purges.c.at < span.until
                    ),
                ),
            )


def _within(table: Table, at: str, span: Span) -> ColumnElement[bool]:
    inside = (table.c[at] >= span.since) & (table.c[at] < span.until)
    if span.application is None:
        return inside
    return inside & table.c.application.in_((span.application, EVERY_APPLICATION))


def _acts(span: Span) -> ColumnElement[bool]:
    """Tell which acts are of a time: within an application, its own and those that are of all."""
    inside = (acts.c.at >= span.since) & (acts.c.at < span.until)
    return inside if span.application is None else inside & acts.c.application.in_((span.application, ""))


def _people(connection: Connection, span: Span) -> int:
    """Return how many numbers there are, each once, whatever was recorded of it."""
    parts = [
        select(table.c.pseudonym).where(_within(table, at, span), table.c.pseudonym != "")
        for table, at in _KEPT_OF_PEOPLE.values()
    ]
    everybody = parts[0].union(*parts[1:]).subquery()
    return _number(connection, select(func.count()).select_from(everybody))


def _statuses(connection: Connection, mine: ColumnElement[bool]) -> dict[str, int]:
    counts = _by(connection, verifications.c.status, mine)
    over = mine & (verifications.c.status == "pending") & verifications.c.expires.between(1, now())
    expired = _number(connection, select(func.count()).select_from(verifications).where(over))
    counts["expired"] = counts.get("expired", 0) + expired
    counts["pending"] = counts.get("pending", 0) - expired
    return {status: count for status, count in sorted(counts.items()) if count}


def _gateways(connection: Connection, span: Span) -> dict[str, int]:
    called = (events.c.at >= span.since) & (events.c.at < span.until) & (events.c.gateway != "")
    if span.application is not None:
        mine = select(verifications.c.id).where(verifications.c.application == span.application)
        called &= events.c.verification.in_(mine)
    return _by(connection, events.c.gateway, called & (events.c.type == "delivery.sent"))


def _by(connection: Connection, column: Any, wanted: ColumnElement[bool]) -> dict[str, int]:  # noqa: ANN401 - a column
    found = connection.execute(select(column, func.count()).where(wanted).group_by(column).order_by(column))
    return {str(value): int(count) for value, count in found}


def _number(connection: Connection, statement: Select[Any]) -> int:
    return int(connection.execute(statement).scalar_one())
