"""Endpoints of applications, and the outbox of webhooks: a webhook is written in the transaction that makes it true."""

import json
import secrets
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
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
    is_chosen,
    next_delay,
)
from otp_service.errors import EndpointLimitError
from otp_service.ledger.audit import append_state, record_action
from otp_service.ledger.database import Database, LedgerPart, in_batches, lock_head, of_application
from otp_service.ledger.schema import deliveries, endpoints, verifications, webhooks

# Locks are taken in one order, so that no two transactions wait for each other: the head, endpoints, deliveries.
# A claim skips locked endpoints.

CHANGE_BATCH: Final = 2048
"""Deliveries that one transaction holds or replays."""
MAX_ATTEMPTS: Final = 20
"""Attempts recorded with a delivery, the newest. A replay starts a new count."""
_IN_USE: Final = endpoints.c.removed.is_(None)
_ENABLED: Final = _IN_USE & (endpoints.c.status == EndpointStatus.ENABLED)
_WAITING: Final = (deliveries.c.endpoint == endpoints.c.id) & (deliveries.c.status == WebhookDeliveryStatus.WAITING)
_IS_ENABLED: Final = exists().where(endpoints.c.id == deliveries.c.endpoint, _ENABLED)


def record_webhooks(connection: Connection, new: Iterable[Webhook]) -> None:
    """Write webhooks for the endpoints that subscribe to them, in the transaction that makes them true.

    Called once for each event. A webhook without an endpoint is dropped.
    """
    rows = connection.execute(select(endpoints.c.id, endpoints.c.application, endpoints.c.types).where(_IN_USE)).all()
    distinct = {webhook.id: webhook for webhook in new}.values() if rows else ()
    by_endpoint: dict[str, list[Webhook]] = defaultdict(list)
    for row in rows:
        types = row.types.split()
        for webhook in distinct:
            if webhook.application == row.application and is_chosen(webhook.type, types):
                by_endpoint[row.id].append(webhook)
    if not by_endpoint:
        return
    lock_head(connection)
    subscribed = {webhook.id: webhook for group in by_endpoint.values() for webhook in group}.values()
    connection.execute(
        insert(webhooks),
        [
            {
                "id": webhook.id,
                "application": webhook.application,
                "type": webhook.type,
                "verification": webhook.verification,
                "at": webhook.at,
                "details": json.dumps(webhook.details, separators=(",", ":")),
                "user": webhook.details.get("user", ""),
            }
            for webhook in subscribed
        ],
    )
    new_rows = [row for name in sorted(by_endpoint) for row in _delivery_rows(connection, name, by_endpoint[name])]
    if new_rows:
        connection.execute(insert(deliveries), new_rows)


def notify_suppressions(connection: Connection, entries: Sequence[Suppression], at: int) -> None:
    """Write webhooks of suppressions, and of their ends, for applications that know the number.

    An application knows a number by its last verification, which the webhook names.
    """
    types = (WebhookType.SUPPRESSION_ADDED, WebhookType.SUPPRESSION_LIFTED)
    rows = connection.execute(select(endpoints.c.application, endpoints.c.types).where(_IN_USE))
    applications = sorted(
        {row.application for row in rows if any(is_chosen(kind, row.types.split()) for kind in types)}
    )
    if not applications:
        return
    mine = verifications.c
    verification_of: dict[tuple[str, str], str] = {}
    for pseudonyms in in_batches(list(dict.fromkeys(entry.pseudonym for entry in entries))):
        of_numbers = select(mine.application, mine.pseudonym, mine.id).where(mine.pseudonym.in_(pseudonyms))
        for row in connection.execute(of_numbers.order_by(mine.started)):
            verification_of[row.application, row.pseudonym] = row.id
    new: list[Webhook] = []
    for entry in entries:
        kind = WebhookType.SUPPRESSION_LIFTED if entry.lifted else WebhookType.SUPPRESSION_ADDED
        details = {"scope": str(entry.scope), "source": str(entry.source)}
        new += [
            Webhook(application, kind, at, verification_of[application, entry.pseudonym], details)
            for application in applications
            if entry.application in {application, EVERY_APPLICATION}
            and (application, entry.pseudonym) in verification_of
        ]
    record_webhooks(connection, new)


def _delivery_rows(connection: Connection, endpoint: str, new: Sequence[Webhook]) -> list[dict[str, Any]]:
    """Return rows for an endpoint, numbered by its own count, whose lock lasts until the transaction ends."""
    counted = update(endpoints).where(endpoints.c.id == endpoint, _IN_USE)
    counted = counted.values(sequence=endpoints.c.sequence + len(new))
    row = connection.execute(counted.returning(endpoints.c.sequence, endpoints.c.status)).one_or_none()
    if row is None:  # it was removed meanwhile
        return []
    is_enabled = row.status == EndpointStatus.ENABLED
    return [
        {
            "id": f"po_{secrets.token_hex(16)}",
            "application": webhook.application,
            "webhook": webhook.id,
            "endpoint": endpoint,
            "sequence": sequence,
            "at": webhook.at,
            "status": WebhookDeliveryStatus.WAITING if is_enabled else WebhookDeliveryStatus.HELD,
            "tries": 0,
            "next": now(),
            "lease": 0,
            "attempts": "[]",
        }
        for sequence, webhook in enumerate(new, row.sequence - len(new) + 1)
    ]


@dataclass(frozen=True, slots=True)
class WebhookDelivery:
    """A webhook for an endpoint, which this worker is to send now."""

    id: str
    webhook: Webhook
    endpoint: Endpoint
    sequence: int
    tries: int
    """Number of attempts before this one."""
    lease: int
    """End of this worker's lease: milliseconds since the epoch."""
    attempts: tuple[Mapping[str, Any], ...]
    """The recorded attempts, as in JSON."""


@dataclass(frozen=True, slots=True)
class WebhookDeliveryReport:
    """The state of a webhook's delivery to an endpoint, for support."""

    webhook: str
    type: str
    verification: str
    endpoint: str
    sequence: int
    at: int
    status: WebhookDeliveryStatus
    next: int | None
    """Time of the next attempt; ``None`` without one."""
    tries: tuple[WebhookAttempt, ...]
    """The last attempts, oldest first."""


@dataclass(frozen=True, slots=True)
class WebhookDeliveryFilter:
    """Conditions for deliveries; ``None`` and empty for any."""

    application: str | None = None
    endpoint: str = ""
    verification: str = ""
    webhook: str = ""
    status: str = ""
    before: int | None = None
    """Only what happened before: milliseconds since the epoch."""

    @property
    def condition(self) -> ColumnElement[bool]:
        condition = of_application(deliveries, self.application) & (deliveries.c.webhook == webhooks.c.id)
        if self.before is not None:
            condition &= deliveries.c.at < self.before
        for column, value in (
            (deliveries.c.endpoint, self.endpoint),
            (webhooks.c.verification, self.verification),
            (webhooks.c.id, self.webhook),
            (deliveries.c.status, self.status),
        ):
            if value:
                condition &= column == value
        return condition


class WebhookOutbox(LedgerPart):
    """The outbox of webhooks."""

    def add(self, new: Sequence[Webhook]) -> None:
        """Write webhooks of facts that the ledger does not record."""
        with self._database.write() as connection:
            record_webhooks(connection, new)

    def oldest_due(self) -> int | None:
        """Return when the first due delivery became due; ``None`` when none is."""
        first = select(func.min(deliveries.c.next)).where(_WAITING).scalar_subquery()
        with self._database.read() as connection:
            oldest: int | None = connection.execute(select(func.min(first)).where(_ENABLED)).scalar()
        return oldest if oldest is not None and oldest <= now() else None

    def claim(self, slots: WebhookSlots, lease: int, per_endpoint: int) -> list[WebhookDelivery]:
        """Lease due deliveries for ``lease`` milliseconds, as many as there are ``slots`` for.

        A healthy endpoint has ``per_endpoint`` calls at once, over all workers.
        """
        moment = now()
        with_due = select(endpoints).where(_ENABLED, exists().where(_WAITING, deliveries.c.next <= moment))
        with self._database.write() as connection:
            due = list(map(_endpoint, connection.execute(with_due.with_for_update(skip_locked=True))))
            secrets.SystemRandom().shuffle(due)  # so that each has its turn
            in_flight: Counter[str] = Counter()
            for names in in_batches([endpoint.id for endpoint in due]):
                leased = deliveries.c.endpoint.in_(names) & (deliveries.c.lease > moment)
                counted = select(deliveries.c.endpoint, func.count().label("calls")).where(leased)
                rows = connection.execute(counted.group_by(deliveries.c.endpoint))
                in_flight.update({row.endpoint: row.calls for row in rows})
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
        """Record an attempt; return why the endpoint is disabled by it, ``None`` where it is not."""
        with self._database.write() as connection:
            if attempt.delivered:
                _record_success(connection, delivery, attempt)
                return None
            disabled = _record_failure(connection, delivery, attempt)
        if disabled:
            hold_waiting(self._database, delivery.endpoint.id)
        return disabled

    def put_back(self, delivery: WebhookDelivery, delay: int) -> None:
        """Postpone a delivery without an attempt; ``delay`` in milliseconds."""
        mine = (deliveries.c.id == delivery.id) & (deliveries.c.lease == delivery.lease)
        with self._database.write() as connection:
            connection.execute(update(deliveries).where(mine).values(lease=0, next=now() + delay))

    def find(self, filters: WebhookDeliveryFilter, limit: int) -> tuple[WebhookDeliveryReport, ...]:
        """Return the newest deliveries, newest first."""
        matching = select(deliveries, webhooks.c.type, webhooks.c.verification).where(filters.condition)
        newest = matching.order_by(deliveries.c.at.desc(), deliveries.c.id.desc()).limit(limit)
        with self._database.read() as connection:
            return tuple(map(_report, connection.execute(newest)))

    def verification_of(self, webhook_id: str) -> str | None:
        """Return the verification of a webhook, empty for none; ``None`` for an unknown webhook."""
        statement = select(webhooks.c.verification).where(webhooks.c.id == webhook_id)
        with self._database.read() as connection:
            return connection.execute(statement).scalar()

    def replay_since(
        self, endpoint: Endpoint, since: int, *, delivered: bool, operator_action: OperatorActionEntry | None = None
    ) -> int:
        """Send an endpoint's webhooks from a time on again, with ``delivered`` also those; return their number."""
        mine = (deliveries.c.endpoint == endpoint.id) & (deliveries.c.at >= since)
        if not delivered:
            mine &= deliveries.c.status != WebhookDeliveryStatus.DELIVERED
        return self._replay(mine, operator_action)

    def replay(
        self, application: str | None, webhook_id: str, operator_action: OperatorActionEntry | None = None
    ) -> int | None:
        """Send a webhook again to all its endpoints that are enabled.

        Return the number of endpoints, ``None`` for an unknown webhook.
        """
        mine = of_application(deliveries, application) & (deliveries.c.webhook == webhook_id)
        with self._database.read() as connection:
            if connection.execute(select(deliveries.c.id).where(mine).limit(1)).first() is None:
                return None
        return self._replay(mine, operator_action)

    def _replay(self, condition: ColumnElement[bool], operator_action: OperatorActionEntry | None) -> int:
        moment = now()
        values = {"status": WebhookDeliveryStatus.WAITING, "tries": 0, "next": moment, "lease": 0}
        if operator_action is not None:
            with self._database.write() as connection:
                record_action(connection, operator_action)
        unleased = deliveries.c.lease <= moment
        return _change_all(self._database, condition & _IS_ENABLED & unleased, values)


def _take(connection: Connection, endpoint: Endpoint, moment: int, until: int, limit: int) -> list[WebhookDelivery]:
    due = (deliveries.c.endpoint == endpoint.id) & (deliveries.c.status == WebhookDeliveryStatus.WAITING)
    first = select(deliveries.c.id).where(due, deliveries.c.next <= moment).order_by(deliveries.c.next).limit(limit)
    names = connection.execute(first.with_for_update(skip_locked=True)).scalars().all()
    connection.execute(update(deliveries).where(deliveries.c.id.in_(names)).values(lease=until, next=until))
    leased = select(deliveries, webhooks.c.type, webhooks.c.verification, webhooks.c.details)
    rows = connection.execute(leased.where(deliveries.c.webhook == webhooks.c.id, deliveries.c.id.in_(names)))
    return [
        WebhookDelivery(
            id=row.id,
            webhook=Webhook(row.application, row.type, row.at, row.verification, json.loads(row.details), row.webhook),
            endpoint=endpoint,
            sequence=row.sequence,
            tries=row.tries,
            lease=row.lease,
            attempts=tuple(json.loads(row.attempts)),
        )
        for row in rows
    ]


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
        tries=tuple(WebhookAttempt(**attempt) for attempt in json.loads(row.attempts)),
    )


def _after(delivery: WebhookDelivery, attempt: WebhookAttempt) -> dict[str, Any]:
    entry = {"at": attempt.at, "milliseconds": attempt.milliseconds, "status": attempt.status, "reason": attempt.reason}
    attempts = json.dumps([*delivery.attempts, entry][-MAX_ATTEMPTS:], separators=(",", ":"))
    return {"tries": delivery.tries + 1, "lease": 0, "attempts": attempts}


def _record_success(connection: Connection, delivery: WebhookDelivery, attempt: WebhookAttempt) -> None:
    """Record a success, also when another worker holds the lease by now: the receiver has the webhook."""
    mine = endpoints.c.id == delivery.endpoint.id
    failing = mine & endpoints.c.failing_since.is_not(None)
    connection.execute(update(endpoints).where(failing).values(failing_since=None))
    latency = delivery.endpoint.latency_after(attempt.milliseconds)
    if latency != delivery.endpoint.latency:  # quick calls write nothing
        connection.execute(update(endpoints).where(mine).values(latency=latency))
    values = _after(delivery, attempt) | {"status": WebhookDeliveryStatus.DELIVERED}
    connection.execute(update(deliveries).where(deliveries.c.id == delivery.id).values(values))


def _record_failure(
    connection: Connection, delivery: WebhookDelivery, attempt: WebhookAttempt
) -> EndpointStatus | None:
    """Record a failure, unless another worker holds the lease by now; return why the endpoint is disabled."""
    mine = endpoints.c.id == delivery.endpoint.id
    began = delivery.endpoint.failing_since
    may_disable = attempt.gone or (began is not None and now() - began >= DISABLE_AFTER)
    if may_disable:  # that takes an entry in the audit chain, and the head is locked before endpoints
        lock_head(connection)
    endpoint = connection.execute(select(endpoints).where(mine).with_for_update()).one_or_none()
    enabled = endpoint is not None and endpoint.removed is None and endpoint.status == EndpointStatus.ENABLED
    values = _after(delivery, attempt)
    if not enabled:
        values["status"] = WebhookDeliveryStatus.HELD
    elif (delay := next_delay(delivery.tries + 1, secrets.randbelow(1001) / 1000)) is None:
        values["status"] = WebhookDeliveryStatus.FAILED
    else:
        values["next"] = now() + max(delay, round(1000 * attempt.retry_after))
    claimed = (deliveries.c.id == delivery.id) & (deliveries.c.lease == delivery.lease)
    connection.execute(update(deliveries).where(claimed).values(values))
    if endpoint is None or not enabled:
        return None
    since = attempt.at if endpoint.failing_since is None else endpoint.failing_since
    latency = delivery.endpoint.latency_after(attempt.milliseconds)
    connection.execute(update(endpoints).where(mine).values(failing_since=since, latency=latency))
    if not may_disable or (not attempt.gone and now() - since < DISABLE_AFTER):
        return None
    status = EndpointStatus.GONE if attempt.gone else EndpointStatus.FAILING
    connection.execute(update(endpoints).where(mine).values(status=status))
    append_state(connection, endpoints, [delivery.endpoint.id])
    return status


def hold_waiting(database: Database, endpoint: str) -> None:
    """Hold the waiting webhooks of a disabled endpoint for a replay."""
    waiting = (deliveries.c.endpoint == endpoint) & (deliveries.c.status == WebhookDeliveryStatus.WAITING)
    _change_all(database, waiting & ~_IS_ENABLED, {"status": WebhookDeliveryStatus.HELD})


def _change_all(database: Database, condition: ColumnElement[bool], values: Mapping[str, Any]) -> int:
    """Change deliveries in short transactions, each delivery once; return their number."""
    count, last = 0, ""
    while True:
        batch = select(deliveries.c.id).where(condition, deliveries.c.id > last).order_by(deliveries.c.id)
        with database.write() as connection:
            names = connection.execute(batch.limit(CHANGE_BATCH)).scalars().all()
            for part in in_batches(names):
                changed = update(deliveries).where(deliveries.c.id.in_(part), condition).values(values)
                count += connection.execute(changed).rowcount
        if len(names) < CHANGE_BATCH:
            return count
        last = names[-1]


class Endpoints(LedgerPart):
    """Endpoints of applications.

    An ``application`` of ``None`` means any. The ``operator_action`` is recorded with a change.
    """

    def add(
        self, endpoint: Endpoint, max_endpoints: int, operator_action: OperatorActionEntry | None = None
    ) -> Endpoint:
        """Record a new endpoint and return it.

        Raises `EndpointLimitError` when the application has ``max_endpoints`` already.
        """
        made = replace(endpoint, created=now())
        with self._database.write() as connection:
            lock_head(connection)
            present = select(func.count()).where(_IN_USE, endpoints.c.application == endpoint.application)
            if connection.execute(present).scalar_one() >= max_endpoints:
                raise EndpointLimitError(f"The application has {max_endpoints} endpoints already.")
            connection.execute(insert(endpoints).values(_row(made) | {"sequence": 0, "removed": None}))
            append_state(connection, endpoints, [made.id])
            record_action(connection, operator_action)
        return made

    def of(self, application: str | None = None) -> tuple[Endpoint, ...]:
        """Return the endpoints of an application, oldest first."""
        mine = select(endpoints).where(_IN_USE, of_application(endpoints, application))
        with self._database.read() as connection:
            rows = connection.execute(mine.order_by(endpoints.c.created, endpoints.c.id))
            return tuple(map(_endpoint, rows))

    def find(self, endpoint_id: str, application: str | None = None) -> Endpoint | None:
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
        """Change an endpoint and return it, ``None`` for an unknown one. An error in ``change`` changes nothing.

        A disabled endpoint gets nothing more, and waiting webhooks are held for a replay. With ``removes`` the
        endpoint is no longer listed; its deliveries are kept as long as others.
        """
        with self._database.write() as connection:
            lock_head(connection)
            endpoint = _find(connection, endpoint_id, application, locks=True)
            if endpoint is None:
                return None
            if operator_action is not None:
                record_action(connection, replace(operator_action, application=endpoint.application))
            changed = change(endpoint)
            values = _row(changed) | ({"removed": now()} if removes else {})
            connection.execute(update(endpoints).where(endpoints.c.id == endpoint_id).values(values))
            append_state(connection, endpoints, [endpoint_id])
        if changed.status is not EndpointStatus.ENABLED:
            hold_waiting(self._database, endpoint_id)
        return changed

    def reseal(self, seal: Callable[[Endpoint], Endpoint], operator_action: OperatorActionEntry) -> int:
        """Seal the secrets of all endpoints anew; return the number of endpoints that changed."""
        with self._database.write() as connection:
            lock_head(connection)
            rows = connection.execute(select(endpoints).where(_IN_USE).order_by(endpoints.c.id).with_for_update())
            before = [_endpoint(row) for row in rows]
            changed = [new for old, new in zip(before, map(seal, before), strict=True) if old != new]
            if changed:
                record_action(connection, operator_action)
            for endpoint in changed:
                connection.execute(update(endpoints).where(endpoints.c.id == endpoint.id).values(_row(endpoint)))
            append_state(connection, endpoints, [endpoint.id for endpoint in changed])
        return len(changed)


def _find(connection: Connection, endpoint_id: str, application: str | None, *, locks: bool = False) -> Endpoint | None:
    statement = select(endpoints).where(endpoints.c.id == endpoint_id, _IN_USE, of_application(endpoints, application))
    row = connection.execute(statement.with_for_update() if locks else statement).one_or_none()
    return _endpoint(row) if row else None


def _row(endpoint: Endpoint) -> dict[str, Any]:
    return asdict(endpoint) | {"types": " ".join(endpoint.types)}


def _endpoint(row: Row[Any]) -> Endpoint:
    columns = {field.name: getattr(row, field.name) for field in fields(Endpoint)}
    return Endpoint(**columns | {"types": tuple(row.types.split()), "status": EndpointStatus(row.status)})
