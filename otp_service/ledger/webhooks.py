"""Endpoints of applications, and the outbox of webhooks: what is told is written with what it tells of."""

import json
import secrets
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, exists, func, insert, select, update

from otp_service.clock import now
from otp_service.domain.audit import OperatorActionEntry
from otp_service.domain.consents import EVERY_APPLICATION, Suppression
from otp_service.domain.webhooks import (
    DISABLE_AFTER,
    Endpoint,
    EndpointStatus,
    Webhook,
    WebhookAttempt,
    WebhookDeliveryStatus,
    WebhookSlots,
    WebhookType,
    is_wanted,
    next_delay,
)
from otp_service.errors import EndpointLimitError
from otp_service.ledger.audit import append_state, record_action
from otp_service.ledger.database import Database, in_batches, lock_head
from otp_service.ledger.schema import deliveries, endpoints, verifications, webhooks

# Locks are taken in one order, the head first, then endpoints, then deliveries: whoever needs several waits for nobody
# who waits for him. A claim passes over endpoints that are locked.

CHANGE_BATCH: Final = 2048
"""WebhookOutbox that one transaction holds or replays."""
MAX_ATTEMPTS: Final = 20
"""Attempts recorded with a delivery, the newest. A replay starts a new count."""
_IN_USE: Final = endpoints.c.removed.is_(None)
_ENABLED: Final = _IN_USE & (endpoints.c.status == EndpointStatus.ENABLED)
_IS_ENABLED: Final = exists().where(endpoints.c.id == deliveries.c.endpoint, _ENABLED)
"""Of a delivery, its endpoint."""


# --- writing ----------------------------------------------------------------------------------------------------


def record_webhooks(connection: Connection, told: Iterable[Webhook]) -> None:
    """Write webhooks for the endpoints that want them, as a part of the transaction that makes them true.

    Called once for each event. A webhook that no endpoint wants is not kept.
    """
    wanted = _wanted(connection, told)
    if not wanted:
        return
    lock_head(connection)
    distinct = {one.id: one for theirs in wanted.values() for one in theirs}
    connection.execute(insert(webhooks), [_webhook_row(one) for one in distinct.values()])
    rows = [row for endpoint in sorted(wanted) for row in _delivery_rows(connection, endpoint, wanted[endpoint])]
    if rows:
        connection.execute(insert(deliveries), rows)


def notify_suppressions(connection: Connection, entries: Sequence[Suppression], at: int) -> None:
    """Write webhooks of suppressions, and of what lifts them, for applications that know the number.

    An application knows it by its last verification, which the webhook names; without one it is told nothing.
    """
    audience = _audience(connection, {WebhookType.SUPPRESSION_ADDED, WebhookType.SUPPRESSION_LIFTED})
    if not audience:
        return
    known = _last_verifications(connection, [one.pseudonym for one in entries], audience)
    told = (
        _webhook_of_suppression(entry, application, verification, at)
        for entry in entries
        for application in sorted(audience)
        if entry.application in {application, EVERY_APPLICATION}
        and (verification := known.get((application, entry.pseudonym)))
    )
    record_webhooks(connection, list(told))


def _webhook_of_suppression(entry: Suppression, application: str, verification: str, at: int) -> Webhook:
    kind = WebhookType.SUPPRESSION_LIFTED if entry.lifted else WebhookType.SUPPRESSION_ADDED
    details = {"scope": str(entry.scope), "source": str(entry.source)}
    return Webhook(application, kind, at, verification, details)


def _audience(connection: Connection, kinds: Collection[WebhookType]) -> set[str]:
    """Return the applications that want any of some types."""
    rows = connection.execute(select(endpoints.c.application, endpoints.c.types).where(_IN_USE))
    return {row.application for row in rows if any(is_wanted(one, row.types.split()) for one in kinds)}


def _last_verifications(
    connection: Connection, pseudonyms: Sequence[str], applications: Collection[str]
) -> dict[tuple[str, str], str]:
    """Return the last verification of each application and number."""
    mine, found = verifications.c, {}
    of_theirs = select(mine.application, mine.pseudonym, mine.id).order_by(mine.started)
    for some in in_batches(list(dict.fromkeys(pseudonyms))):
        for row in connection.execute(of_theirs.where(mine.pseudonym.in_(some))):
            if row.application in applications:
                found[row.application, row.pseudonym] = row.id
    return found


def _wanted(connection: Connection, told: Iterable[Webhook]) -> dict[str, list[Webhook]]:
    """Return what each endpoint is told; without any it is not looked at."""
    there = connection.execute(select(endpoints.c.id, endpoints.c.application, endpoints.c.types).where(_IN_USE)).all()
    distinct = {one.id: one for one in told}.values() if there else ()
    found: dict[str, list[Webhook]] = defaultdict(list)
    for row in there:
        chosen = row.types.split()
        for one in distinct:
            if one.application == row.application and is_wanted(one.type, chosen):
                found[row.id].append(one)
    return found


def _webhook_row(one: Webhook) -> dict[str, Any]:
    return {
        "id": one.id,
        "application": one.application,
        "type": one.type,
        "verification": one.verification,
        "at": one.at,
        "details": json.dumps(one.details, separators=(",", ":")),
        "user": one.details.get("user", ""),
    }


def _delivery_rows(connection: Connection, endpoint: str, told: Sequence[Webhook]) -> list[dict[str, Any]]:
    """Return the rows for an endpoint, which counts them; until the transaction ends nobody else tells it anything."""
    further = endpoints.c.sequence + len(told)
    counted = update(endpoints).where(endpoints.c.id == endpoint, _IN_USE).values(sequence=further)
    row = connection.execute(counted.returning(endpoints.c.sequence, endpoints.c.status)).one_or_none()
    if row is None:  # it was removed meanwhile
        return []
    status = WebhookDeliveryStatus.WAITING if row.status == EndpointStatus.ENABLED else WebhookDeliveryStatus.HELD
    same = {"endpoint": endpoint, "status": status, "tries": 0, "next": now(), "lease": 0, "attempts": "[]"}
    return [
        {
            "id": f"po_{secrets.token_hex(16)}",
            "application": one.application,
            "webhook": one.id,
            "sequence": sequence,
            "at": one.at,
            **same,
        }
        for sequence, one in enumerate(told, row.sequence - len(told) + 1)
    ]


# --- sending ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WebhookDelivery:
    """A webhook for an endpoint, which this worker is to send now."""

    id: str
    webhook: Webhook
    endpoint: Endpoint
    sequence: int
    tries: int
    """How often it was tried before."""
    lease: int
    """Until when it is this worker's: milliseconds since the epoch."""
    attempts: tuple[Mapping[str, Any], ...]
    """What is kept of those tries, as JSON has it."""


@dataclass(frozen=True, slots=True)
class WebhookDeliveryReport:
    """What has become of a webhook at an endpoint, for support."""

    webhook: str
    type: str
    verification: str
    endpoint: str
    sequence: int
    at: int
    status: WebhookDeliveryStatus
    next: int | None
    """When it is tried next; ``None`` when it is not."""
    tries: tuple[WebhookAttempt, ...]
    """The last ones, oldest first."""


@dataclass(frozen=True, slots=True)
class WebhookDeliveryFilter:
    """Which webhooks are asked for; ``None`` and empty for any."""

    application: str | None = None
    endpoint: str = ""
    verification: str = ""
    webhook: str = ""
    status: str = ""
    before: int | None = None
    """Only what happened before: milliseconds since the epoch."""

    @property
    def condition(self) -> ColumnElement[bool]:
        """The same as SQL."""
        asked = [
            *([deliveries.c.application == self.application] if self.application is not None else []),
            *([deliveries.c.endpoint == self.endpoint] if self.endpoint else []),
            *([webhooks.c.verification == self.verification] if self.verification else []),
            *([webhooks.c.id == self.webhook] if self.webhook else []),
            *([deliveries.c.status == self.status] if self.status else []),
            *([deliveries.c.at < self.before] if self.before is not None else []),
        ]
        condition: ColumnElement[bool] = deliveries.c.webhook == webhooks.c.id
        for one in asked:
            condition &= one
        return condition


class WebhookOutbox:
    """The outbox of webhooks. Raises `LedgerUnavailableError` when the database cannot serve."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, told: Sequence[Webhook]) -> None:
        """Write webhooks of what is true already, and stands in no ledger."""
        with self._database.write() as connection:
            record_webhooks(connection, told)

    def oldest_due(self) -> int | None:
        """Return since when the first of those waits that are to be sent now; ``None`` when there is none."""
        first = (
            select(func.min(deliveries.c.next))
            .where(
                deliveries.c.endpoint == endpoints.c.id,
                deliveries.c.status == WebhookDeliveryStatus.WAITING,
            )
            .scalar_subquery()
        )
        with self._database.read() as connection:
            oldest: int | None = connection.execute(select(func.min(first)).where(_ENABLED)).scalar()
        return oldest if oldest is not None and oldest <= now() else None

    def claim(self, slots: WebhookSlots, lease: int, per_endpoint: int) -> list[WebhookDelivery]:
        """Take due deliveries, as many as there are ``slots`` for; they are this worker's for ``lease`` milliseconds.

        A healthy endpoint has ``per_endpoint`` calls at once, by all workers together.
        """
        moment = now()
        with self._database.write() as connection:
            due = list(map(_endpoint, connection.execute(_due_endpoints(moment))))
            secrets.SystemRandom().shuffle(due)  # where many wait, each has its turn
            in_flight = _in_flight(connection, [endpoint.id for endpoint in due], moment)
            shares = slots.share_out(
                {endpoint: endpoint.calls_at_once(per_endpoint) - in_flight[endpoint.id] for endpoint in due}
            )
            return [
                delivery
                for endpoint in due
                if shares[endpoint.id]
                for delivery in _take(connection, endpoint, moment, moment + lease, shares[endpoint.id])
            ]

    def settle(self, delivery: WebhookDelivery, attempt: WebhookAttempt) -> EndpointStatus | None:
        """Note what became of a try; return why the endpoint is disabled by it, ``None`` where it is not."""
        with self._database.write() as connection:
            if attempt.delivered:
                _note_success(connection, delivery, attempt)
                return None
            disabled = _note_failure(connection, delivery, attempt)
        if disabled:
            hold_waiting(self._database, delivery.endpoint.id)
        return disabled

    def put_back(self, delivery: WebhookDelivery, delay: int) -> None:
        """Let a delivery that was not tried wait for some milliseconds."""
        mine = (deliveries.c.id == delivery.id) & (deliveries.c.lease == delivery.lease)
        with self._database.write() as connection:
            connection.execute(update(deliveries).where(mine).values(lease=0, next=now() + delay))

    def find(self, asked: WebhookDeliveryFilter, most: int) -> tuple[WebhookDeliveryReport, ...]:
        """Return what has become of webhooks, the newest first, at most ``most``."""
        wanted = select(deliveries, webhooks.c.type, webhooks.c.verification).where(asked.condition)
        newest = wanted.order_by(deliveries.c.at.desc(), deliveries.c.id.desc()).limit(most)
        with self._database.read() as connection:
            return tuple(map(_report, connection.execute(newest)))

    def verification_of(self, webhook_id: str) -> str | None:
        """Return the verification that a webhook is about, empty for none; ``None`` when there is no such webhook."""
        statement = select(webhooks.c.verification).where(webhooks.c.id == webhook_id)
        with self._database.read() as connection:
            verification: str | None = connection.execute(statement).scalar()
        return verification

    def replay_since(
        self, endpoint: Endpoint, since: int, *, delivered: bool, operator_action: OperatorActionEntry | None = None
    ) -> int:
        """Let an endpoint's webhooks from a time on go once more, those that were ``delivered`` too; count them."""
        mine = (deliveries.c.endpoint == endpoint.id) & (deliveries.c.at >= since)
        return self._replay(
            mine if delivered else mine & (deliveries.c.status != WebhookDeliveryStatus.DELIVERED),
            operator_action,
        )

    def replay(
        self, application: str | None, webhook_id: str, operator_action: OperatorActionEntry | None = None
    ) -> int | None:
        """Let a webhook go once more to all endpoints that it was for; count them, ``None`` where there is no such.

        One that is disabled is left alone.
        """
        mine = deliveries.c.webhook == webhook_id
        if application is not None:
            mine &= deliveries.c.application == application
        with self._database.read() as connection:
            if connection.execute(select(deliveries.c.id).where(mine).limit(1)).first() is None:
                return None
        return self._replay(mine, operator_action)

    def _replay(self, wanted: ColumnElement[bool], operator_action: OperatorActionEntry | None) -> int:
        """Let deliveries go that no worker is at."""
        moment = now()
        values = {"status": WebhookDeliveryStatus.WAITING, "tries": 0, "next": moment, "lease": 0}
        if operator_action is not None:
            with self._database.write() as connection:
                record_action(connection, operator_action)
        return _change_all(self._database, wanted & _IS_ENABLED & (deliveries.c.lease <= moment), values)


def _due_endpoints(moment: int) -> Any:  # noqa: ANN401 - a statement
    """Return the statement for the endpoints that anything is due at, which it locks where nobody else has."""
    waiting = (deliveries.c.endpoint == endpoints.c.id) & (deliveries.c.status == WebhookDeliveryStatus.WAITING)
    due = exists().where(waiting, deliveries.c.next <= moment)
    return select(endpoints).where(_ENABLED, due).with_for_update(skip_locked=True)


def _in_flight(connection: Connection, of: Sequence[str], moment: int) -> Mapping[str, int]:
    """Return how many calls of endpoints (their names) workers are at."""
    found: Counter[str] = Counter()
    for some in in_batches(of):
        at_it = deliveries.c.endpoint.in_(some) & (deliveries.c.lease > moment)
        counted = (
            select(deliveries.c.endpoint, func.count().label("calls")).where(at_it).group_by(deliveries.c.endpoint)
        )
        found.update({row.endpoint: row.calls for row in connection.execute(counted)})
    return found


def _take(connection: Connection, endpoint: Endpoint, moment: int, until: int, most: int) -> list[WebhookDelivery]:
    due = (deliveries.c.endpoint == endpoint.id) & (deliveries.c.status == WebhookDeliveryStatus.WAITING)
    first = select(deliveries.c.id).where(due, deliveries.c.next <= moment).order_by(deliveries.c.next).limit(most)
    names = connection.execute(first.with_for_update(skip_locked=True)).scalars().all()
    connection.execute(update(deliveries).where(deliveries.c.id.in_(names)).values(lease=until, next=until))
    found = select(deliveries, webhooks.c.type, webhooks.c.verification, webhooks.c.details)
    rows = connection.execute(found.where(deliveries.c.webhook == webhooks.c.id, deliveries.c.id.in_(names)))
    return [_delivery(row, endpoint) for row in rows]


def _delivery(row: Row[Any], endpoint: Endpoint) -> WebhookDelivery:
    told = Webhook(row.application, row.type, row.at, row.verification, json.loads(row.details), row.webhook)
    return WebhookDelivery(row.id, told, endpoint, row.sequence, row.tries, row.lease, tuple(json.loads(row.attempts)))


def _report(row: Row[Any]) -> WebhookDeliveryReport:
    return WebhookDeliveryReport(
        webhook=row.webhook,
        type=row.type,
        verification=row.verification,
        endpoint=row.endpoint,
        sequence=row.sequence,
        at=row.at,
        status=WebhookDeliveryStatus(row.status),
        next=row.next if row.status == WebhookDeliveryStatus.WAITING else None,
        tries=tuple(WebhookAttempt(**one) for one in json.loads(row.attempts)),
    )


def _tried(delivery: WebhookDelivery, attempt: WebhookAttempt) -> dict[str, Any]:
    """Return what a try changes whatever became of it."""
    kept = {"at": attempt.at, "milliseconds": attempt.milliseconds, "status": attempt.status, "reason": attempt.reason}
    attempts = json.dumps([*delivery.attempts, kept][-MAX_ATTEMPTS:], separators=(",", ":"))
    return {"tries": delivery.tries + 1, "lease": 0, "attempts": attempts}


def _note_success(connection: Connection, delivery: WebhookDelivery, attempt: WebhookAttempt) -> None:
    """Note a success: also where another worker is at it by now, for the receiver has it."""
    mine, before = endpoints.c.id == delivery.endpoint.id, delivery.endpoint.latency
    failing = mine & endpoints.c.failing_since.is_not(None)
    connection.execute(update(endpoints).where(failing).values(failing_since=None))
    if (latency := delivery.endpoint.latency_after(attempt.milliseconds)) != before:  # quick calls write nothing
        connection.execute(update(endpoints).where(mine).values(latency=latency))
    done = _tried(delivery, attempt) | {"status": WebhookDeliveryStatus.DELIVERED}
    connection.execute(update(deliveries).where(deliveries.c.id == delivery.id).values(done))


def _note_failure(connection: Connection, delivery: WebhookDelivery, attempt: WebhookAttempt) -> EndpointStatus | None:
    """Note a failure, unless another worker is at it by now."""
    mine = endpoints.c.id == delivery.endpoint.id
    began = delivery.endpoint.failing_since
    may_disable = attempt.gone or (began is not None and now() - began >= DISABLE_AFTER)
    if may_disable:  # which needs an entry in the audit chain, and the head comes before endpoints
        lock_head(connection)
    endpoint = connection.execute(select(endpoints).where(mine).with_for_update()).one_or_none()
    enabled = endpoint is not None and endpoint.removed is None and endpoint.status == EndpointStatus.ENABLED
    claimed = (deliveries.c.id == delivery.id) & (deliveries.c.lease == delivery.lease)
    values = _tried(delivery, attempt) | _following(delivery, attempt, enabled=enabled)
    connection.execute(update(deliveries).where(claimed).values(values))
    if endpoint is None or not enabled:
        return None
    since = attempt.at if endpoint.failing_since is None else endpoint.failing_since
    latency = delivery.endpoint.latency_after(attempt.milliseconds)
    connection.execute(update(endpoints).where(mine).values(failing_since=since, latency=latency))
    if not may_disable or (not attempt.gone and now() - since < DISABLE_AFTER):
        return None
    why = EndpointStatus.GONE if attempt.gone else EndpointStatus.FAILING
    connection.execute(update(endpoints).where(mine).values(status=why))
    append_state(connection, endpoints, [delivery.endpoint.id])
    return why


def _following(delivery: WebhookDelivery, attempt: WebhookAttempt, *, enabled: bool) -> dict[str, Any]:
    """Return what follows a failure."""
    if not enabled:
        return {"status": WebhookDeliveryStatus.HELD}
    delay = next_delay(delivery.tries + 1, secrets.randbelow(1001) / 1000)
    if delay is None:
        return {"status": WebhookDeliveryStatus.FAILED}
    return {"next": now() + max(delay, round(1000 * attempt.retry_after))}


def hold_waiting(database: Database, endpoint: str) -> None:
    """Hold the waiting webhooks of an endpoint for a replay while it is disabled."""
    waiting = (deliveries.c.endpoint == endpoint) & (deliveries.c.status == WebhookDeliveryStatus.WAITING)
    _change_all(database, waiting & ~_IS_ENABLED, {"status": WebhookDeliveryStatus.HELD})


def _change_all(database: Database, wanted: ColumnElement[bool], values: Mapping[str, Any]) -> int:
    """Change deliveries, however many, in transactions that others need not wait for; each once. Return how many."""
    count, last = 0, ""
    while True:
        some = (
            select(deliveries.c.id).where(wanted, deliveries.c.id > last).order_by(deliveries.c.id).limit(CHANGE_BATCH)
        )
        with database.write() as connection:
            names = connection.execute(some).scalars().all()
            for part in in_batches(names):
                count += connection.execute(
                    update(deliveries).where(deliveries.c.id.in_(part), wanted).values(values)
                ).rowcount
        if len(names) < CHANGE_BATCH:
            return count
        last = names[-1]


# --- endpoints --------------------------------------------------------------------------------------------------


class Endpoints:
    """Endpoints of applications. Raises `LedgerUnavailableError` when the database cannot serve.

    An ``application`` of ``None`` means one of any. The ``operator_action`` is recorded with a change.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, endpoint: Endpoint, most: int, operator_action: OperatorActionEntry | None = None) -> Endpoint:
        """Keep a new endpoint; return it as it is kept. Raises `EndpointLimitError` when there are ``most`` already."""
        made = replace(endpoint, created=now())
        with self._database.write() as connection:
            lock_head(connection)
            theirs = _IN_USE & (endpoints.c.application == endpoint.application)
            if connection.execute(select(func.count()).select_from(endpoints).where(theirs)).scalar_one() >= most:
                raise EndpointLimitError(f"The application has {most} endpoints already.")
            connection.execute(insert(endpoints).values(_row(made) | {"sequence": 0, "removed": None}))
            append_state(connection, endpoints, [made.id])
            if operator_action is not None:
                record_action(connection, operator_action)
        return made

    def of(self, application: str | None = None) -> tuple[Endpoint, ...]:
        """Return the endpoints of an application, oldest first."""
        wanted = select(endpoints).where(_IN_USE).order_by(endpoints.c.created, endpoints.c.id)
        if application is not None:
            wanted = wanted.where(endpoints.c.application == application)
        with self._database.read() as connection:
            return tuple(map(_endpoint, connection.execute(wanted)))

    def find(self, endpoint_id: str, application: str | None = None) -> Endpoint | None:
        """Return an endpoint."""
        with self._database.read() as connection:
            return _find(connection, endpoint_id, application)

    def change(
        self,
        endpoint_id: str,
        application: str | None,
        change: Callable[[Endpoint], Endpoint],
        operator_action: OperatorActionEntry | None = None,
        *,
        removes: bool = False,
    ) -> Endpoint | None:
        """Change an endpoint; return it, ``None`` when there is no such one. What ``change`` raises changes nothing.

        One that is not enabled any more is sent nothing more, and what waits is kept for a replay. With ``removes``
        nobody finds it any more; what it was sent is kept as long as other webhooks.
        """
        with self._database.write() as connection:
            lock_head(connection)
            found = _find(connection, endpoint_id, application, locks=True)
            if found is None:
                return None
            if operator_action is not None:
                record_action(connection, replace(operator_action, application=found.application))
            changed = change(found)
            values = _row(changed) | ({"removed": now()} if removes else {})
            connection.execute(update(endpoints).where(endpoints.c.id == endpoint_id).values(values))
            append_state(connection, endpoints, [endpoint_id])
        if changed.status is not EndpointStatus.ENABLED:
            hold_waiting(self._database, endpoint_id)
        return changed

    def reseal(self, seal: Callable[[Endpoint], Endpoint], operator_action: OperatorActionEntry) -> int:
        """Replace the sealed secrets of all endpoints by others; return of how many they are others."""
        with self._database.write() as connection:
            lock_head(connection)
            rows = connection.execute(select(endpoints).where(_IN_USE).order_by(endpoints.c.id).with_for_update())
            before = [_endpoint(row) for row in rows]
            pairs = [(old, new) for old, new in zip(before, map(seal, before), strict=True) if old != new]
            if pairs:
                record_action(connection, operator_action)
            for old, new in pairs:
                connection.execute(update(endpoints).where(endpoints.c.id == old.id).values(_row(new)))
            append_state(connection, endpoints, [old.id for old, _ in pairs])
        return len(pairs)


def _find(connection: Connection, endpoint_id: str, application: str | None, *, locks: bool = False) -> Endpoint | None:
    wanted = select(endpoints).where(endpoints.c.id == endpoint_id, _IN_USE)
    if application is not None:
        wanted = wanted.where(endpoints.c.application == application)
    row = connection.execute(wanted.with_for_update() if locks else wanted).one_or_none()
    return _endpoint(row) if row else None


def _row(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "id": endpoint.id,
        "application": endpoint.application,
        "url": endpoint.url,
        "types": " ".join(endpoint.types),
        "secret": endpoint.secret,
        "previous": endpoint.previous,
        "previous_until": endpoint.previous_until,
        "status": endpoint.status,
        "failing_since": endpoint.failing_since,
        "latency": endpoint.latency,
        "created": endpoint.created,
    }


def _endpoint(row: Row[Any]) -> Endpoint:
    return Endpoint(
        id=row.id,
        application=row.application,
        url=row.url,
        types=tuple(row.types.split()),
        secret=row.secret,
        created=row.created,
        previous=row.previous,
        previous_until=row.previous_until,
        status=EndpointStatus(row.status),
        failing_since=row.failing_since,
        latency=row.latency,
    )
