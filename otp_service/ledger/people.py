"""The rights of those whose numbers are in the ledger: to see what is held, and to have erased what is not needed."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Table, func, insert, or_, select, update

from otp_service.domain.people import EVERY_APPLICATION, OF_THE_HOLDER, ActEntry, Consent, Place, Suppression
from otp_service.ledger import acts, audit, head
from otp_service.ledger import consents as consent_entries
from otp_service.ledger import suppressions as suppression_entries
from otp_service.ledger.clock import now
from otp_service.ledger.database import Database
from otp_service.ledger.schema import consents, erasures, events, inbound, suppressions, verifications
from otp_service.ledger.traffic import Past, past_of

KEPT_FOR_DISPUTES: Final = (
    "Kept under a pseudonym to settle disputes: that a message was wanted, sent and paid for, that somebody agreed, "
    "and that somebody wants no messages."
)

_WORDS: Final = ("text_version", "source", "address_prefix")
"""What an erasure takes out of a consent."""


@dataclass(frozen=True, slots=True)
class Holding:
    """All that is held of a number, within one application or all."""

    verifications: tuple[Past, ...]
    consents: tuple[Consent, ...]
    suppressions: tuple[Suppression, ...]
    inbound: tuple[Mapping[str, Any], ...]
    """Messages from the number: ``application``, ``gateway``, ``meaning``, ``received``."""
    erasures: tuple[Mapping[str, Any], ...]
    """What was erased before: ``application``, ``at``, ``reason``, ``kept``, ``erased``."""


@dataclass(frozen=True, slots=True)
class Erasure:
    """What an erasure did."""

    id: str
    at: int
    reason: str
    """Why the rest was kept."""
    kept: Mapping[str, int]
    """Rows, by table."""
    erased: Mapping[str, int]
    """Rows or values, by table."""
    place: Place
    """Its place in the ledger."""


class People:
    """What is held of a number. Raises `LedgerUnavailableError` when the database cannot serve."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def export(self, pseudonym: str, application: str | None) -> Holding:
        """Return all that is held of a number within an application, ``None`` for all."""
        with self._database.read() as connection:
            entries = select(consents).where(_mine(consents, pseudonym, application)).order_by(*consent_entries.ORDER)
            return Holding(
                verifications=past_of(connection, pseudonym, application),
                consents=tuple(map(consent_entries.entry_of, connection.execute(entries))),
                suppressions=suppression_entries.entries_of(connection, pseudonym, application),
                inbound=_rows(
                    connection, inbound, pseudonym, application, ("application", "gateway", "meaning", "received")
                ),
                erasures=_rows(
                    connection, erasures, pseudonym, application, ("application", "at", "reason", "kept", "erased")
                ),
            )

    def erase(self, pseudonym: str, application: str | None, act: ActEntry | None = None) -> Erasure:
        """Erase what no dispute needs, within an application, ``None`` for all; record what was kept and why.

        An ``act`` is recorded with it. Suppressions stay: to forget them would send messages to somebody who wants
        none.
        """
        with self._database.write() as connection:
            sequence = head.advance(connection, 1)
            erased = {
                "consents": connection.execute(
                    update(consents)
                    .where(_mine(consents, pseudonym, application), or_(*(consents.c[name] != "" for name in _WORDS)))
                    .values(dict.fromkeys(_WORDS, ""))
                ).rowcount,
                "suppressions": connection.execute(
                    update(suppressions)
                    .where(_mine(suppressions, pseudonym, application), suppressions.c.reason != "")
                    .where(suppressions.c.source.not_in(OF_THE_HOLDER))  # there the words are ours
                    .values(reason="")
                ).rowcount,
                "inbound": connection.execute(
                    update(inbound).where(_mine(inbound, pseudonym, application)).values(pseudonym="")
                ).rowcount,
            }
            kept = {
                table.name: _count(connection, table, _mine(table, pseudonym, application))
                for table in (verifications, consents, suppressions)
            }
            mine = select(verifications.c.id).where(_mine(verifications, pseudonym, application))
            kept["events"] = _count(connection, events, events.c.verification.in_(mine))
            name, at = f"er_{secrets.token_hex(16)}", now()
            row = {
                "id": name,
                "pseudonym": pseudonym,
                "application": application or EVERY_APPLICATION,
                "place": sequence,
                "reason": KEPT_FOR_DISPUTES,
                "kept": json.dumps(kept),
                "erased": json.dumps(erased),
                "at": at,
            }
            connection.execute(insert(erasures), row)
            audit.append(connection, erasures, [row])
            if act is not None:
                acts.record(connection, act)
            return Erasure(name, at, KEPT_FOR_DISPUTES, kept, erased, head.read(connection))


def _mine(table: Table, pseudonym: str, application: str | None) -> ColumnElement[bool]:
    mine = table.c.pseudonym == pseudonym
    return mine if application is None else mine & (table.c.application == application)


def _count(connection: Connection, table: Table, wanted: ColumnElement[bool]) -> int:
    return int(connection.execute(select(func.count()).select_from(table).where(wanted)).scalar_one())


def _rows(
    connection: Connection, table: Table, pseudonym: str, application: str | None, names: tuple[str, ...]
) -> tuple[Mapping[str, Any], ...]:
    statement = select(*(table.c[name] for name in names)).where(_mine(table, pseudonym, application))
    found = (row._mapping for row in connection.execute(statement))  # noqa: SLF001 - SQLAlchemy's documented name
    return tuple({name: _plain(name, one[name]) for name in names} for one in found)


def _plain(name: str, value: Any) -> Any:  # noqa: ANN401 - of any column
    return json.loads(value) if name in {"kept", "erased"} else value
