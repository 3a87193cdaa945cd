"""Authenticator apps and recovery codes in the ledger: sealed secrets, and keyed hashes."""

import secrets
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, Row, Table, func, insert, or_, select, update

from otp_service.clock import now
from otp_service.domain.audit import Event, OperatorActionEntry
from otp_service.domain.consents import LedgerPosition
from otp_service.domain.keyring import sealing_root
from otp_service.domain.totp import MAX_FACTORS, TOTP, Factor, FactorChange, FactorFailure, SealedFactor, TotpParameters
from otp_service.domain.webhooks import WebhookType, webhook_of_user
from otp_service.errors import ConflictError, FactorLimitError
from otp_service.ledger.audit import append_entry, append_state, record_action
from otp_service.ledger.database import (
    LedgerPart,
    advance_head,
    count,
    lock_head,
    of_application,
    read_head,
    rows_among,
)
from otp_service.ledger.schema import factor_changes, factors, recovery_codes
from otp_service.ledger.webhooks import record_webhooks

# Each change of a factor that the mirror needs is also an entry of ``factor_changes``, with a place in the ledger.
# Redis accepts a step first; the ledger records it later, from the events.

APPROVED: Final = "factor.approved"
ERASED: Final = "erased"
"""Reason of a removal whose user was erased."""
_ACTIVE: Final = factors.c.removed.is_(None)
_WEBHOOKS: Final = {
    FactorChange.ACTIVATED: WebhookType.FACTOR_ACTIVATED,
    FactorChange.REMOVED: WebhookType.FACTOR_REMOVED,
}


class RecordedRecoveryCode(NamedTuple):
    """A recovery code without its hash. Times are milliseconds since the epoch."""

    application: str
    made: int
    ended: int | None
    """When it was used, or its series replaced."""
    used: bool


class Factors(LedgerPart):
    """Recorded authenticator apps."""

    def activate(self, factor: Factor) -> LedgerPosition:
        """Record a factor whose first code was right; return the ledger's place.

        Raises `ConflictError` when it exists already, and `FactorLimitError` when its user has too many.
        """
        sealed = factor.sealed
        with self._database.write() as connection:
            place = advance_head(connection, 1)
            if count(connection, factors, factors.c.id == factor.id):
                raise ConflictError("The factor was activated before.")
            if count(connection, factors, _ACTIVE, of_subject(factors, factor.user, sealed.application)) >= MAX_FACTORS:
                raise FactorLimitError(f"A user has {MAX_FACTORS} factors at most: remove one.")
            row = {
                "id": factor.id,
                "application": sealed.application,
                "pseudonym": factor.user,
                "type": TOTP,
                "label": factor.label,
                "secret": sealed.secret,
                "root_key": sealing_root(sealed.secret),
                **asdict(sealed.parameters),
                "last_step": sealed.last_step,
                "place": place,
                "created": now(),
                "used": None,
                "removed": None,
            }
            connection.execute(insert(factors), row)
            append_state(connection, factors, [place])
            _record_change(connection, place, factor, FactorChange.ACTIVATED)
            return read_head(connection)

    def find(self, factor_id: str) -> Factor | None:
        """Return a factor; ``None`` for an unknown one."""
        with self._database.read() as connection:
            row = connection.execute(select(factors).where(factors.c.id == factor_id)).one_or_none()
        return _factor(row) if row else None

    def changes_of(self, factor_id: str, user: str) -> tuple[Event, ...]:
        """Return when a user's factor was activated, sealed anew or removed, oldest first."""
        mine = of_subject(factor_changes, user) & (factor_changes.c.factor == factor_id)
        statement = select(factor_changes).where(mine).order_by(factor_changes.c.sequence)
        with self._database.read() as connection:
            rows = connection.execute(statement).all()
        return tuple(
            Event(
                f"{row.sequence}-0",
                row.recorded,
                f"factor.{row.change}",
                {"application": row.application, "reason": row.reason},
            )
            for row in rows
        )

    def of(self, user: str, application: str) -> tuple[Factor, ...]:
        """Return the active factors of a user (the pseudonym), oldest first."""
        with self._database.read() as connection:
            return read_factors(connection, user, application, _ACTIVE)

    def rename(self, factor_id: str, label: str) -> bool:
        """Change the label of an active factor, sealed under the secret's root key; tell whether it exists."""
        of_root = factors.c.root_key == sealing_root(label)  # no other key counts in `root_keys`
        renamed = update(factors).where(factors.c.id == factor_id, _ACTIVE, of_root).values(label=label)
        with self._database.write() as connection:
            return connection.execute(renamed).rowcount > 0

    def remove(
        self, factor_id: str, reason: str, operator_action: OperatorActionEntry | None = None
    ) -> LedgerPosition | None:
        """Remove an active factor, and its secret; record the reason and the ``operator_action``.

        Returns the ledger's place, ``None`` for an unknown factor.
        """
        with self._database.write() as connection:
            lock_head(connection)
            row = connection.execute(select(factors).where(factors.c.id == factor_id, _ACTIVE)).one_or_none()
            if row is None:
                return None
            remove_factor(connection, _factor(row), reason)
            record_action(connection, operator_action)
            return read_head(connection)

    def root_keys(self) -> Mapping[str, int]:
        """Return the number of sealed secrets by id of the root key."""
        counted = select(factors.c.root_key, func.count().label("number")).where(_ACTIVE).group_by(factors.c.root_key)
        with self._database.read() as connection:
            return {row.root_key: row.number for row in connection.execute(counted)}

    def sealed_by_others(self, root_key: str, limit: int) -> tuple[Factor, ...]:
        """Return active factors that are not sealed under a root key."""
        statement = select(factors).where(_ACTIVE, factors.c.root_key != root_key).order_by(factors.c.id).limit(limit)
        with self._database.read() as connection:
            return tuple(map(_factor, connection.execute(statement)))

    def reseal(self, resealed: Sequence[tuple[Factor, str, str]]) -> LedgerPosition:
        """Record factors with their new sealed secret and label, unless they changed; return the ledger's place."""
        with self._database.write() as connection:
            lock_head(connection)
            for factor, secret, label in resealed:
                of_root = factors.c.root_key == sealing_root(factor.sealed.secret)
                as_it_was = update(factors).where(factors.c.id == factor.id, of_root, factors.c.label == factor.label)
                values = {"secret": secret, "label": label, "root_key": sealing_root(secret)}
                if connection.execute(as_it_was.values(values)).rowcount:
                    append_state(connection, factors, [factor.sealed.place])
                    _record_change(connection, advance_head(connection, 1), factor, FactorChange.RESEALED)
            return read_head(connection)

    def ahead(self, application: str, early: int, at: int, limit: int) -> tuple[Factor, ...]:
        """Return active factors whose last step is later than any code accepted ``at`` a time (milliseconds) can be.

        ``early``: number of steps by which a code may come early. Oldest first.
        """
        later = (factors.c.last_step - early) * factors.c.period * 1000 > at
        statement = select(factors).where(_ACTIVE, factors.c.application == application, later)
        with self._database.read() as connection:
            return tuple(map(_factor, connection.execute(statement.order_by(factors.c.place).limit(limit))))

    def reset_steps(
        self, ahead: Sequence[Factor], at: int, operator_action: OperatorActionEntry | None
    ) -> LedgerPosition:
        """Record the step at ``at`` (milliseconds) as the last one of factors, with the ``operator_action``.

        Returns the ledger's place.
        """
        with self._database.write() as connection:
            lock_head(connection)
            for factor in ahead:
                as_it_was = update(factors).where(
                    factors.c.id == factor.id, factors.c.last_step == factor.sealed.last_step
                )
                present = factor.sealed.parameters.step_at(at)
                if connection.execute(as_it_was.values(last_step=present)).rowcount:
                    _record_change(connection, advance_head(connection, 1), factor, FactorChange.STEP_RESET)
            record_action(connection, operator_action)
            return read_head(connection)


class RecoveryCodes(LedgerPart):
    """Recorded recovery codes."""

    def replace(self, user: str, application: str, hashes: Sequence[str], *, first: bool = False) -> bool:
        """Record a new series for a user (the pseudonym), which ends the earlier one; tell whether it was recorded.

        A ``first`` series is not recorded where there are usable codes: of two activations at once, only one shows its
        codes; nor where no factor is active: the user was erased, or the factor removed, since it was activated.
        """
        with self._database.write() as connection:
            lock_head(connection)  # of two new series at once only the later is usable
            if first and (
                count(connection, recovery_codes, _usable(user, application))
                or not count(connection, factors, _ACTIVE, of_subject(factors, user, application))
            ):
                return False
            at, series = now(), secrets.token_hex(8)
            over = update(recovery_codes).where(_usable(user, application)).values(ended=at)
            ended = connection.execute(over.returning(recovery_codes.c.hash)).scalars().all()
            rows = [_code(hashed, user, application, series, at) for hashed in hashes]
            connection.execute(insert(recovery_codes), rows)
            append_state(connection, recovery_codes, [*ended, *hashes])
            replaced = webhook_of_user(WebhookType.FACTOR_RECOVERY_CODES_REPLACED, application, user, at)
            record_webhooks(connection, [replaced])
        return True

    def spend(self, spent: str, replacement: str, user: str, application: str) -> FactorFailure | None:
        """Use a code up and record its replacement, both as hashes; return the failure, ``None`` when that is done.

        A repetition with the same replacement succeeds. ``CODE_USED`` means that the code was used otherwise, or its
        series replaced: 120 bits cannot be guessed. Of parallel calls with the same code only one succeeds, because the
        row is changed under a condition.
        """
        at, mine = now(), of_subject(recovery_codes, user, application)
        typed = (recovery_codes.c.hash == spent) & mine
        used = update(recovery_codes).where(typed, recovery_codes.c.ended.is_(None)).values(ended=at, used=True)
        with self._database.write() as connection:
            lock_head(connection)
            series = connection.execute(used.returning(recovery_codes.c.series)).scalar()
            if series is None:
                if not count(connection, recovery_codes, typed):
                    return FactorFailure.WRONG_CODE
                is_done = count(connection, recovery_codes, recovery_codes.c.hash == replacement, mine)
                return None if is_done else FactorFailure.CODE_USED
            connection.execute(insert(recovery_codes), _code(replacement, user, application, series, at))
            append_state(connection, recovery_codes, [spent, replacement])
            record_webhooks(connection, [webhook_of_user(WebhookType.FACTOR_RECOVERY_CODE_USED, application, user, at)])
        return None

    def usable(self, user: str, application: str) -> frozenset[str]:
        """Return the hashes of the usable codes of a user (the pseudonym)."""
        statement = select(recovery_codes.c.hash).where(_usable(user, application))
        with self._database.read() as connection:
            return frozenset(connection.execute(statement).scalars())


def active_factors(connection: Connection, users: Sequence[str]) -> Mapping[str, Mapping[str, str]]:
    """Return the active factors of some users (pseudonyms), packed, by user and id."""
    active: dict[str, dict[str, str]] = defaultdict(dict)
    for factor in map(_factor, rows_among(connection, select(factors).where(_ACTIVE), factors.c.pseudonym, users)):
        active[factor.user][factor.id] = factor.sealed.packed
    return active


def read_factors(
    connection: Connection, user: str, application: str | None, *among: ColumnElement[bool]
) -> tuple[Factor, ...]:
    """Return factors of a user, within an application or all, oldest first."""
    statement = select(factors).where(of_subject(factors, user, application), *among)
    return tuple(map(_factor, connection.execute(statement.order_by(factors.c.place))))


def remove_factor(connection: Connection, factor: Factor, reason: str) -> None:
    """Remove an active factor, in a transaction of the caller."""
    gone = {"removed": now(), "secret": "", "label": "", "root_key": ""}
    connection.execute(update(factors).where(factors.c.id == factor.id).values(gone))
    append_state(connection, factors, [factor.sealed.place])
    _record_change(connection, advance_head(connection, 1), factor, FactorChange.REMOVED, reason)


def read_recovery_codes(connection: Connection, user: str, application: str | None) -> tuple[RecordedRecoveryCode, ...]:
    """Return a user's recovery codes, within an application or all, oldest first."""
    columns = (recovery_codes.c[name] for name in RecordedRecoveryCode._fields)
    statement = select(*columns).where(of_subject(recovery_codes, user, application)).order_by(recovery_codes.c.made)
    return tuple(RecordedRecoveryCode(*row) for row in connection.execute(statement))


def read_factor_changes(connection: Connection, user: str, application: str | None) -> tuple[Mapping[str, Any], ...]:
    """Return the changes of a user's factors, oldest first: ``factor``, ``change``, ``reason``, ``recorded``."""
    columns = (factor_changes.c[name] for name in ("factor", "change", "reason", "recorded"))
    statement = (
        select(*columns).where(of_subject(factor_changes, user, application)).order_by(factor_changes.c.sequence)
    )
    return tuple(map(dict, connection.execute(statement).mappings()))


def erase_factors(connection: Connection, user: str, application: str | None) -> Mapping[str, int]:
    """Remove a user's factors and delete the recovery codes; return the numbers of rows, by table."""
    mine = read_factors(connection, user, application, _ACTIVE)
    for factor in mine:
        remove_factor(connection, factor, ERASED)
    forgotten = recovery_codes.delete().where(of_subject(recovery_codes, user, application))
    codes = connection.execute(forgotten.returning(recovery_codes.c.hash)).scalars().all()
    append_state(connection, recovery_codes, codes)
    counts = {factors.name: len(mine), recovery_codes.name: len(codes)}
    return {table: number for table, number in counts.items() if number}


def note_steps(connection: Connection, events: Sequence[Event]) -> None:
    """Record accepted TOTP time steps, in any order: a factor's last step never decreases."""
    approved = [event for event in events if event.type == APPROVED]
    for event in sorted(approved, key=lambda event: event.member("id")):
        mine, step = factors.c.id == event.member("id"), int(event.member("step"))
        connection.execute(update(factors).where(mine, factors.c.last_step < step).values(last_step=step))
        earlier = or_(factors.c.used.is_(None), factors.c.used < event.at)
        connection.execute(update(factors).where(mine, earlier).values(used=event.at))


def _record_change(connection: Connection, place: int, factor: Factor, change: FactorChange, reason: str = "") -> None:
    at = now()
    row = {
        "sequence": place,
        "factor": factor.id,
        "application": factor.sealed.application,
        "pseudonym": factor.user,
        "change": change,
        "reason": reason,
        "recorded": at,
    }
    connection.execute(insert(factor_changes), row)
    append_entry(connection, factor_changes, [row])
    if kind := _WEBHOOKS.get(change):
        record_webhooks(connection, [webhook_of_user(kind, factor.sealed.application, factor.id, at, reason)])


def of_subject(rows: Table, pseudonym: str, application: str | None = None) -> ColumnElement[bool]:
    """Return the condition for the rows of a number or user, within an application, ``None`` for all."""
    return of_application(rows, application) & (rows.c.pseudonym == pseudonym)


def _usable(user: str, application: str) -> ColumnElement[bool]:
    return of_subject(recovery_codes, user, application) & recovery_codes.c.ended.is_(None)


def _factor(row: Row[Any]) -> Factor:
    parameters = TotpParameters(row.algorithm, row.digits, row.period)
    sealed = SealedFactor(row.id, row.application, row.secret, parameters, row.last_step, row.place)
    return Factor(sealed, row.pseudonym, row.label, row.created, row.used, row.removed)


def _code(hashed: str, user: str, application: str, series: str, at: int) -> dict[str, Any]:
    return {
        "hash": hashed,
        "application": application,
        "pseudonym": user,
        "series": series,
        "made": at,
        "ended": None,
        "used": False,
    }
