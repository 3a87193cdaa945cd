"""Export and erasure of the data of a number."""

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy import Column, ColumnElement, Connection, Table, insert, or_, select, update

from otp_service.clock import now
from otp_service.domain.audit import OperatorActionEntry
from otp_service.domain.consents import EVERY_APPLICATION, HOLDER_SOURCES, Consent, LedgerPosition, Suppression
from otp_service.domain.keyring import user_id
from otp_service.domain.totp import Factor
from otp_service.ledger.audit import append_entry, record_action
from otp_service.ledger.consents import CONSENT_ORDER, entry_of, read_suppressions
from otp_service.ledger.database import LedgerPart, advance_head, among, count, read_head
from otp_service.ledger.factors import (
    RecordedRecoveryCode,
    erase_factors,
    of_subject,
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
    "Kept under a pseudonym to settle disputes: that a message was wanted, sent and paid for, that the holder agreed, "
    "and that the holder wants no messages."
)
_ERASABLE: Final = ("text_version", "source", "address_prefix")
"""Columns of a consent that an erasure empties."""
_INBOUND: Final = ("application", "gateway", "meaning", "received")
_ERASURES: Final = ("application", "at", "reason", "kept", "erased")
_VIEWS: Final = ("at", "by", "view", "reason")
_REQUESTS: Final = ("application", "at", "by", "act", "reason", "decided", "decided_by", "outcome")


@dataclass(frozen=True, slots=True)
class SubjectData:
    """All data of a number, or of a user, within one application or all."""

    verifications: tuple[RecordedVerification, ...]
    consents: tuple[Consent, ...]
    suppressions: tuple[Suppression, ...]
    inbound: tuple[Mapping[str, Any], ...]
    """Messages from the number: ``application``, ``gateway``, ``meaning``, ``received``."""
    erasures: tuple[Mapping[str, Any], ...]
    """Earlier erasures: ``application``, ``at``, ``reason``, ``kept``, ``erased``."""
    webhooks: tuple[Mapping[str, Any], ...] = ()
    """Webhooks of its verifications, or of the user: ``application``, ``verification``, ``type``, ``at``, ``details``,
    ``deliveries``: ``endpoint``, ``status``, ``tries``, ``attempts``."""
    events: tuple[Mapping[str, Any], ...] = ()
    """Events of a user's factors and recovery codes: ``type``, ``at``, ``factor`` and details."""
    factors: tuple[Factor, ...] = ()
    factor_changes: tuple[Mapping[str, Any], ...] = ()
    """``factor``, ``change``, ``reason``, ``recorded``."""
    recovery_codes: tuple[RecordedRecoveryCode, ...] = ()
    looks: tuple[Mapping[str, Any], ...] = ()
    """Views of the number at the console: ``at``, ``by``, ``view``, ``reason``."""
    second_person_requests: tuple[Mapping[str, Any], ...] = ()
    """Requests for dual control at the console: ``application``, ``at``, ``by``, ``act``, ``reason``, ``decided``,
    ``decided_by``, ``outcome``."""


@dataclass(frozen=True, slots=True)
class Erasure:
    """The result of an erasure."""

    id: str
    at: int
    reason: str
    """Why the rest was kept."""
    kept: Mapping[str, int]
    """Rows, by table."""
    erased: Mapping[str, int]
    """Rows or values, by table."""
    place: LedgerPosition


class Subjects(LedgerPart):
    """Export and erasure for a number."""

    def export(self, pseudonym: str, application: str | None) -> SubjectData:
        """Return all data of a number within an application, ``None`` for all."""
        with self._database.read() as connection:
            entries = select(consents).where(of_subject(consents, pseudonym, application)).order_by(*CONSENT_ORDER)
            recorded = read_verifications(connection, pseudonym, application)
            requests = second_person_requests.c
            requested: ColumnElement[bool] = requests.pseudonym == pseudonym
            if application is not None:
                requested &= requests.application.in_((application, EVERY_APPLICATION))
            return SubjectData(
                verifications=recorded,
                consents=tuple(map(entry_of, connection.execute(entries))),
                suppressions=read_suppressions(connection, pseudonym, application),
                inbound=_rows(connection, inbound, _INBOUND, of_subject(inbound, pseudonym, application)),
                erasures=_rows(connection, erasures, _ERASURES, of_subject(erasures, pseudonym, application)),
                looks=_rows(connection, looks, _VIEWS, looks.c.pseudonym == pseudonym, (looks.c.at, looks.c.id)),
                second_person_requests=_rows(
                    connection, second_person_requests, _REQUESTS, requested, (requests.at, requests.id)
                ),
                webhooks=_webhooks(connection, [verification.id for verification in recorded], user_id(pseudonym)),
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
        sent STOP must get no messages. A user's authenticator apps and recovery codes end. Views lose their reasons,
        for all applications.
        """
        with self._database.write() as connection:
            sequence = advance_head(connection, 1)
            erased = {**_erase(connection, pseudonym, application), **elsewhere}
            mine = select(verifications.c.id).where(of_subject(verifications, pseudonym, application))
            names = list(connection.execute(mine).scalars())
            kept = {verifications.name: len(names)} | {
                table.name: count(connection, table, of_subject(table, pseudonym, application))
                for table in (consents, suppressions)
            }
            if changes := count(connection, factor_changes, of_subject(factor_changes, pseudonym, application)):
                kept[factor_changes.name] = changes
            kept[events.name] = count(connection, events, events.c.verification.in_(mine))
            kept[events.name] += len(read_user_events(connection, pseudonym))
            theirs = (webhooks.c.user == user_id(pseudonym), *among(connection, webhooks.c.verification, names))
            kept[webhooks.name] = sum(count(connection, webhooks, condition) for condition in theirs)
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
            record_action(connection, operator_action)
            return Erasure(name, at, KEPT_FOR_DISPUTES, kept, erased, read_head(connection))


def _erase(connection: Connection, pseudonym: str, application: str | None) -> dict[str, int]:
    """Erase what no dispute needs; return the numbers of rows or values, by table."""
    return {
        "consents": connection.execute(
            update(consents)
            .where(of_subject(consents, pseudonym, application), or_(*(consents.c[name] != "" for name in _ERASABLE)))
            .values(dict.fromkeys(_ERASABLE, ""))
        ).rowcount,
        "suppressions": connection.execute(
            update(suppressions)
            .where(of_subject(suppressions, pseudonym, application), suppressions.c.reason != "")
            .where(suppressions.c.source.not_in(HOLDER_SOURCES))  # the service wrote their reasons
            .values(reason="")
        ).rowcount,
        "inbound": connection.execute(
            update(inbound).where(of_subject(inbound, pseudonym, application)).values(pseudonym="")
        ).rowcount,
        "looks": _erase_reasons(connection, looks, looks.c.pseudonym == pseudonym),
        "second_person_requests": _erase_reasons(
            connection, second_person_requests, of_subject(second_person_requests, pseudonym, application)
        ),
        **erase_factors(connection, pseudonym, application),
    }


def _erase_reasons(connection: Connection, table: Table, mine: ColumnElement[bool]) -> int:
    return connection.execute(update(table).where(mine, table.c.reason != "").values(reason="")).rowcount


def _webhooks(connection: Connection, names: Sequence[str], user: str) -> tuple[Mapping[str, Any], ...]:
    """Return the webhooks of some verifications and of a user, oldest first, with their deliveries."""
    reports = {
        row["id"]: {**row, "details": json.loads(row["details"]), "deliveries": []}
        for mine in (webhooks.c.user == user, *among(connection, webhooks.c.verification, names))
        for row in connection.execute(select(webhooks).where(mine)).mappings()
    }
    for mine in among(connection, deliveries.c.webhook, list(reports)):
        for row in connection.execute(select(deliveries).where(mine).order_by(deliveries.c.sequence)).mappings():
            reports[row["webhook"]]["deliveries"].append({**row, "attempts": json.loads(row["attempts"])})
    return tuple(sorted(reports.values(), key=lambda report: (report["at"], report["id"])))


def _rows(
    connection: Connection,
    table: Table,
    names: tuple[str, ...],
    condition: ColumnElement[bool],
    order: tuple[Column[Any], ...] = (),
) -> tuple[Mapping[str, Any], ...]:
    """Return some columns of rows, with the JSON of counts read."""
    rows = connection.execute(select(*(table.c[name] for name in names)).where(condition).order_by(*order)).mappings()
    return tuple(
        {name: json.loads(row[name]) if name in {"kept", "erased"} else row[name] for name in names} for row in rows
    )
