"""Export and erasure of what the ledger holds of a number."""

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Table, func, insert, or_, select, update

from otp_service.clock import now
from otp_service.domain.audit import OperatorActionEntry
from otp_service.domain.consents import EVERY_APPLICATION, HOLDER_SOURCES, Consent, LedgerPosition, Suppression
from otp_service.domain.keyring import user_id
from otp_service.domain.totp import Factor
from otp_service.ledger.audit import append_entry, record_action
from otp_service.ledger.consents import CONSENT_ORDER, entry_of, read_suppressions
from otp_service.ledger.database import Database, advance_head, among, read_head
from otp_service.ledger.factors import (
    RecordedRecoveryCode,
    erase_factors,
    read_factor_changes,
    read_factors,
    read_recovery_codes,
)
from otp_service.ledger.schema import (
    consents,
    deliveries,
    erasures,
    events,
    factor_changes,
    inbound,
    looks,
    second_person_requests,
    suppressions,
    verifications,
    webhooks,
)
from otp_service.ledger.verifications import RecordedVerification, read_user_events, read_verifications

KEPT_FOR_DISPUTES: Final = (
    "Kept under a pseudonym to settle disputes: that a message was wanted, sent and paid for, that somebody agreed, "
    "and that somebody wants no messages."
)
_ERASABLE: Final = ("text_version", "source", "address_prefix")
"""What an erasure takes out of a consent."""


@dataclass(frozen=True, slots=True)
class SubjectData:
    """All that is held of a number, or of a user, within one application or all."""

    verifications: tuple[RecordedVerification, ...]
    consents: tuple[Consent, ...]
    suppressions: tuple[Suppression, ...]
    inbound: tuple[Mapping[str, Any], ...]
    """Messages from the number: ``application``, ``gateway``, ``meaning``, ``received``."""
    erasures: tuple[Mapping[str, Any], ...]
    """What was erased before: ``application``, ``at``, ``reason``, ``kept``, ``erased``."""
    webhooks: tuple[Mapping[str, Any], ...] = ()
    """What applications were told of its verifications, or of the user: ``application``, ``verification``, ``type``,
    ``at``, ``details``, ``deliveries``: ``endpoint``, ``status``, ``tries``, ``attempts``."""
    events: tuple[Mapping[str, Any], ...] = ()
    """What happened to a user's factors and recovery codes: ``type``, ``at``, ``factor`` and details."""
    factors: tuple[Factor, ...] = ()
    """Of a user, also those that were removed."""
    factor_changes: tuple[Mapping[str, Any], ...] = ()
    """Of a user: ``factor``, ``change``, ``reason``, ``recorded``."""
    recovery_codes: tuple[RecordedRecoveryCode, ...] = ()
    """Of a user."""
    looks: tuple[Mapping[str, Any], ...] = ()
    """Who looked at all this at the console: ``at``, ``by``, ``view``, ``reason``."""
    second_person_requests: tuple[Mapping[str, Any], ...] = ()
    """What was asked for at the console that takes two people: ``application``, ``at``, ``by``, ``act``, ``reason``,
    ``decided``, ``decided_by``, ``outcome``."""


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
    place: LedgerPosition
    """Its place in the ledger."""


class Subjects:
    """Export and erasure for a number. Raises `LedgerUnavailableError` when the database cannot serve."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def export(self, pseudonym: str, application: str | None) -> SubjectData:
        """Return all that is held of a number within an application, ``None`` for all."""
        with self._database.read() as connection:
            entries = select(consents).where(_mine(consents, pseudonym, application)).order_by(*CONSENT_ORDER)
            verifications = read_verifications(connection, pseudonym, application)
            return SubjectData(
                verifications=verifications,
                consents=tuple(map(entry_of, connection.execute(entries))),
                suppressions=read_suppressions(connection, pseudonym, application),
                inbound=_rows(
                    connection, inbound, pseudonym, application, ("application", "gateway", "meaning", "received")
                ),
                erasures=_rows(
                    connection, erasures, pseudonym, application, ("application", "at", "reason", "kept", "erased")
                ),
                looks=_looks(connection, pseudonym),
                second_person_requests=_requests(connection, pseudonym, application),
                webhooks=_webhooks(connection, [one.id for one in verifications], user_id(pseudonym)),
                events=read_user_events(connection, pseudonym),
                factors=read_factors(connection, pseudonym, application),
                factor_changes=read_factor_changes(connection, pseudonym, application),
                recovery_codes=read_recovery_codes(connection, pseudonym, application),
            )

    def erase(
        self,
        pseudonym: str,
        application: str | None,
        operator_action: OperatorActionEntry | None = None,
        elsewhere: Mapping[str, int] = MappingProxyType({}),
    ) -> Erasure:
        """Erase what no dispute needs, within an application, ``None`` for all; record what was kept and why.

        Records the ``operator_action`` with it, and what was erased ``elsewhere``. Suppressions stay: a number that
        sent STOP must get no messages. A user's authenticator apps and recovery codes end. Views keep no reasons,
        whatever the application.
        """
        with self._database.write() as connection:
            sequence = advance_head(connection, 1)
            erased = {**_erase(connection, pseudonym, application), **elsewhere}
            mine = select(verifications.c.id).where(_mine(verifications, pseudonym, application))
            names = list(connection.execute(mine).scalars())
            kept = {verifications.name: len(names)} | {
                table.name: _count(connection, table, _mine(table, pseudonym, application))
                for table in (consents, suppressions)
            }
            if changes := _count(connection, factor_changes, _mine(factor_changes, pseudonym, application)):
                kept[factor_changes.name] = changes
            kept[events.name] = _count(connection, events, events.c.verification.in_(mine))
            kept[events.name] += len(read_user_events(connection, pseudonym))
            kept[webhooks.name] = _count_webhooks(connection, names, user_id(pseudonym))
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
            append_entry(connection, erasures, [row])
            if operator_action is not None:
                record_action(connection, operator_action)
            return Erasure(name, at, KEPT_FOR_DISPUTES, kept, erased, read_head(connection))


def _erase(connection: Connection, pseudonym: str, application: str | None) -> dict[str, int]:
    """Erase what no dispute needs; return how many rows or values that were, by table."""
    return {
        "consents": connection.execute(
            update(consents)
            .where(_mine(consents, pseudonym, application), or_(*(consents.c[name] != "" for name in _ERASABLE)))
            .values(dict.fromkeys(_ERASABLE, ""))
        ).rowcount,
        "suppressions": connection.execute(
            update(suppressions)
            .where(_mine(suppressions, pseudonym, application), suppressions.c.reason != "")
            .where(suppressions.c.source.not_in(HOLDER_SOURCES))  # there the words are ours
            .values(reason="")
        ).rowcount,
        "inbound": connection.execute(
            update(inbound).where(_mine(inbound, pseudonym, application)).values(pseudonym="")
        ).rowcount,
        "looks": _erase_reasons(connection, looks, looks.c.pseudonym == pseudonym),
        "second_person_requests": _erase_reasons(
            connection, second_person_requests, _mine(second_person_requests, pseudonym, application)
        ),
        **erase_factors(connection, pseudonym, application),
    }


def _mine(table: Table, pseudonym: str, application: str | None) -> ColumnElement[bool]:
    mine = table.c.pseudonym == pseudonym
    return mine if application is None else mine & (table.c.application == application)


def _looks(connection: Connection, pseudonym: str) -> tuple[Mapping[str, Any], ...]:
    """Return who looked at what is held of a number, whatever the application: they saw all of it."""
    told = (looks.c.at, looks.c.by, looks.c.view, looks.c.reason)
    wanted = select(*told).where(looks.c.pseudonym == pseudonym).order_by(looks.c.at, looks.c.id)
    return tuple(map(dict, connection.execute(wanted).mappings()))


def _requests(connection: Connection, pseudonym: str, application: str | None) -> tuple[Mapping[str, Any], ...]:
    """Return what was asked for about a number within an application, or within all of them, oldest first."""
    mine = second_person_requests.c
    told = (mine.application, mine.at, mine.by, mine.act, mine.reason, mine.decided, mine.decided_by, mine.outcome)
    wanted = select(*told).where(mine.pseudonym == pseudonym).order_by(mine.at, mine.id)
    if application is not None:
        wanted = wanted.where(mine.application.in_((application, EVERY_APPLICATION)))
    return tuple(map(dict, connection.execute(wanted).mappings()))


def _erase_reasons(connection: Connection, table: Table, mine: ColumnElement[bool]) -> int:
    return connection.execute(update(table).where(mine, table.c.reason != "").values(reason="")).rowcount


def _webhooks(connection: Connection, names: Sequence[str], user: str) -> tuple[Mapping[str, Any], ...]:
    """Return the webhooks of some verifications and of a user, oldest first, with what became of each."""
    reports = {
        row["id"]: {**row, "details": json.loads(row["details"]), "deliveries": []}
        for mine in (webhooks.c.user == user, *among(connection, webhooks.c.verification, names))
        for row in connection.execute(select(webhooks).where(mine)).mappings()
    }
    for mine in among(connection, deliveries.c.webhook, list(reports)):
        for row in connection.execute(select(deliveries).where(mine).order_by(deliveries.c.sequence)).mappings():
            reports[row["webhook"]]["deliveries"].append({**row, "attempts": json.loads(row["attempts"])})
    return tuple(sorted(reports.values(), key=lambda report: (report["at"], report["id"])))


def _count_webhooks(connection: Connection, names: Sequence[str], user: str) -> int:
    theirs = (webhooks.c.user == user, *among(connection, webhooks.c.verification, names))
    return sum(_count(connection, webhooks, mine) for mine in theirs)


def _count(connection: Connection, table: Table, wanted: ColumnElement[bool]) -> int:
    return int(connection.execute(select(func.count()).select_from(table).where(wanted)).scalar_one())


def _rows(
    connection: Connection, table: Table, pseudonym: str, application: str | None, names: tuple[str, ...]
) -> tuple[Mapping[str, Any], ...]:
    statement = select(*(table.c[name] for name in names)).where(_mine(table, pseudonym, application))
    found = connection.execute(statement).mappings()
    return tuple(
        {name: json.loads(one[name]) if name in {"kept", "erased"} else one[name] for name in names} for one in found
    )
