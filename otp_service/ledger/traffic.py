"""What was sent, through whom, and how it ended: the event stream, projected. To project it twice does no harm."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from sqlalchemy import Connection, desc, select

from otp_service.core.consent import Consent, Evidence
from otp_service.core.happening import Happening
from otp_service.core.suppression import Suppression, SuppressionScope, SuppressionSource
from otp_service.core.verification import Status
from otp_service.ledger import consents, suppressions
from otp_service.ledger.database import Database
from otp_service.ledger.schema import erasures, events, verifications

STARTED: Final = "verification.started"
_ENDINGS: Final = {f"verification.{status}": status for status in Status if status is not Status.PENDING}
_KEPT_ELSEWHERE: Final = frozenset(
    {"type", "id", "application", "purpose", "country", "gateway", "pseudonym", "consent", "ledger"}
)


@dataclass(frozen=True, slots=True)
class Recorded:
    """What recording some happenings has led to."""

    new: int
    """How many were not in the ledger before."""
    consents: int = 0
    """How many consents came with starts."""
    opt_outs: tuple[Suppression, ...] = ()
    """What gateways were told by the holders of numbers, and we did not know."""


@dataclass(frozen=True, slots=True)
class Past:
    """A verification as the ledger keeps it. Times are milliseconds since the epoch."""

    id: str
    application: str
    purpose: str
    country: str
    started: int
    status: str
    ended: int
    """0 while it is not known how it ended."""
    events: tuple[Mapping[str, Any], ...] = field(default_factory=tuple)
    """What happened, oldest first: ``type``, ``at`` and details."""


class Traffic:
    """Verifications and their events. Raises `LedgerUnavailableError` when the database cannot serve."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, happenings: Sequence[Happening]) -> Recorded:
        """Record what happened, all or nothing; what is there already is passed over."""
        if not happenings:
            return Recorded(0)
        rows = [_event(one) for one in happenings]
        with self._database.write() as connection:
            statement = self._database.insert(events).on_conflict_do_nothing().returning(events.c.id)
            fresh = set(connection.execute(statement, rows).scalars())
            new = [one for one in happenings if one.id in fresh]
            self._note_verifications(connection, new)
            given = _without_erased(connection, list(_consents(new)))
            if given:
                consents.record(connection, given)
            told = [entry for entry, at in _opt_outs(new) if suppressions.record_opt_out(connection, entry, at)]
        return Recorded(len(new), len(given), tuple(told))

    def keep(self, happenings: Sequence[Happening]) -> None:
        """Keep events as they are, with nothing that follows from them."""
        with self._database.write() as connection:
            connection.execute(
                self._database.insert(events).on_conflict_do_nothing(), [_event(one) for one in happenings]
            )

    def answered(self, pseudonym: str, gateway: str, since: int) -> tuple[str, int] | None:
        """Return the application whose message a number got last through a gateway, from a time on, and when.

        By the start of the verification: a late receipt says nothing of what came last. Else ``None``.
        """
        sent = (
            select(verifications.c.application, verifications.c.started)
            .join(events, events.c.verification == verifications.c.id)
            .where(verifications.c.pseudonym == pseudonym, verifications.c.started >= since)
            .where(events.c.type.in_(("delivery.sent", "delivery.delivered", "delivery.unknown")))
            .where(events.c.gateway == gateway)
            .order_by(desc(verifications.c.started))
            .limit(1)
        )
        with self._database.read() as connection:
            row = connection.execute(sent).one_or_none()
        return (row.application, row.started) if row else None

    def _note_verifications(self, connection: Connection, happenings: Sequence[Happening]) -> None:
        """Note starts and ends, in whichever order they come."""
        insertion = self._database.insert(verifications)
        started = [_verification(one) | {"pseudonym": one.member("pseudonym"), "started": one.at}
                   for one in happenings if one.type == STARTED]  # fmt: skip
        if started:
            fields = {name: insertion.excluded[name] for name in ("pseudonym", "started")}
            connection.execute(insertion.on_conflict_do_update(index_elements=["id"], set_=fields), started)
        ended = [_verification(one) | {"status": _ENDINGS[one.type], "ended": one.at}
                 for one in happenings if one.type in _ENDINGS]  # fmt: skip
        if ended:
            fields = {name: insertion.excluded[name] for name in ("status", "ended")}
            connection.execute(insertion.on_conflict_do_update(index_elements=["id"], set_=fields), ended)


def past_of(connection: Connection, pseudonym: str, application: str | None) -> tuple[Past, ...]:
    """Return a number's verifications, of one application or of all, oldest first."""
    wanted = verifications.c.pseudonym == pseudonym
    if application is not None:
        wanted &= verifications.c.application == application
    rows = connection.execute(select(verifications).where(wanted).order_by(verifications.c.started)).all()
    happened: dict[str, list[Mapping[str, Any]]] = {row.id: [] for row in rows}
    mine = select(verifications.c.id).where(wanted)
    of_mine = select(events).where(events.c.verification.in_(mine)).order_by(events.c.at, events.c.id)
    for row in connection.execute(of_mine):
        through = {"gateway": row.gateway} if row.gateway else {}
        happened[row.verification].append({"type": row.type, "at": row.at, **through, **json.loads(row.details)})
    return tuple(
        Past(row.id, row.application, row.purpose, row.country, row.started, row.status, row.ended,
             tuple(happened[row.id]))
        for row in rows
    )  # fmt: skip


def _event(happening: Happening) -> dict[str, Any]:
    details = {name: value for name, value in happening.fields.items() if value and name not in _KEPT_ELSEWHERE}
    return {
        "id": happening.id,
        "verification": happening.member("id"),
        "type": happening.type,
        "at": happening.at,
        "gateway": happening.member("gateway"),
        "details": json.dumps(details, separators=(",", ":"), sort_keys=True),
    }


def _verification(happening: Happening) -> dict[str, Any]:
    return {
        "id": happening.member("id"),
        "application": happening.member("application"),
        "purpose": happening.member("purpose"),
        "country": happening.member("country"),
        "pseudonym": "",
        "started": happening.at,
        "status": Status.PENDING,
        "ended": 0,
    }


def _without_erased(connection: Connection, given: list[Consent]) -> list[Consent]:
    """Return consents without the addresses of numbers that were erased since they were given."""
    mine = erasures.c.pseudonym.in_([one.pseudonym for one in given])
    erased = {row.pseudonym: row.at for row in connection.execute(select(erasures).where(mine).order_by(erasures.c.at))}
    return [
        replace(one, evidence=replace(one.evidence, address_prefix=""))
        if one.evidence and erased.get(one.pseudonym, -1) >= one.recorded
        else one
        for one in given
    ]


def _consents(happenings: Iterable[Happening]) -> Iterator[Consent]:
    """Yield the consents that came with starts."""
    for one in happenings:
        if one.type == STARTED and one.member("consent"):
            evidence = Evidence(**json.loads(one.member("consent")))
            place = int(one.member("ledger"))
            yield Consent(
                one.member("pseudonym"), one.member("application"), one.member("purpose"), evidence, place, one.at
            )


def _opt_outs(happenings: Iterable[Happening]) -> Iterator[tuple[Suppression, int]]:
    """Yield what gateways were told, and when."""
    for one in happenings:
        if one.member("opted_out"):
            yield (
                Suppression(
                    pseudonym=one.member("pseudonym"),
                    application=one.member("application"),
                    scope=SuppressionScope.ALL,
                    source=SuppressionSource.GATEWAY,
                    reason=f"opted out at {one.member('gateway')}",
                ),
                one.at,
            )
