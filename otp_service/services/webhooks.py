"""Webhooks: endpoints of applications, sending, replays."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import TYPE_CHECKING, Final

from otp_service.clock import now
from otp_service.domain.audit import OperatorAction, OperatorActionEntry
from otp_service.domain.keyring import SealBrokenError, sealing_root
from otp_service.domain.webhooks import (
    SECRET_KIND,
    Endpoint,
    EndpointStatus,
    WebhookAttempt,
    WebhookRules,
    is_endpoint_id,
    is_webhook_id,
    new_endpoint_id,
    new_webhook_secret,
    shown_secret,
    signature_headers,
)
from otp_service.errors import ConflictError, InvalidUrlError, NotFoundError
from otp_service.ledger.webhooks import WebhookDelivery
from otp_service.services.context import Context
from otp_service.telemetry import metrics
from otp_service.telemetry.logging import get_logger

if TYPE_CHECKING:
    from otp_service.gateways.ssrf_safe_client import GuardedClient

_log = get_logger(__name__)

_UNKNOWN: Final = "There is no such endpoint."
_UNREADABLE_DELAY: Final = 300_000
"""Milliseconds that a webhook waits for an operator while the secret of its endpoint cannot be opened."""


@cache
def _guarded_client(rules: WebhookRules) -> "GuardedClient":
    from otp_service.gateways.ssrf_safe_client import GuardedClient  # noqa: PLC0415 - slow to import

    return GuardedClient(rules.targets, rules.timeout)


@dataclass(frozen=True, slots=True)
class IssuedEndpoint:
    """An endpoint with its new secret, which is shown once and stored sealed."""

    secret: str = field(repr=False)
    """``whsec_…``."""
    endpoint: Endpoint


@dataclass(frozen=True, slots=True)
class Actor:
    """An application or operator that changes endpoints."""

    name: str
    """The name of an API key, or an operator's login (``cli:ali``)."""
    application: str | None = None
    """The owner of the endpoints; ``None`` for an operator, whose actions on any endpoint are recorded."""

    def operator_action(
        self, action: OperatorAction, application: str = "", subject: str = ""
    ) -> OperatorActionEntry | None:
        """Return the entry to record; ``None`` for an application."""
        return OperatorActionEntry(action, self.name, application, subject) if self.application is None else None


def check_url(context: Context, url: str) -> None:
    """Raise `InvalidUrlError` for an address that webhooks may not go to, or a host that is not found in 3 seconds."""
    try:
        _guarded_client(context.webhooks).check(url)
    except InvalidUrlError as refused:
        _log.info("endpoint_refused", reason=refused.reason)
        raise


def add_endpoint(context: Context, application: str, url: str, types: Collection[str], by: Actor) -> IssuedEndpoint:
    """Add an endpoint for types of events at a checked address (`check_url`); raises `EndpointLimitError`."""
    secret, name = new_webhook_secret(), new_endpoint_id()
    endpoint = Endpoint(name, application, url, _ordered(types), "", 0)
    endpoint = replace(endpoint, secret=_seal(context, endpoint, secret))
    operator_action = by.operator_action(OperatorAction.ENDPOINT_ADDED, application, name)
    endpoint = context.ledger.endpoints.add(endpoint, context.webhooks.max_endpoints, operator_action)
    _log.info("endpoint_added", endpoint=name, application=application, by=by.name)
    return IssuedEndpoint(shown_secret(secret), endpoint)


def find_endpoint(context: Context, endpoint_id: str, application: str | None) -> Endpoint:
    """Return an endpoint; raises `NotFoundError`."""
    endpoint = context.ledger.endpoints.find(endpoint_id, application) if is_endpoint_id(endpoint_id) else None
    if endpoint is None:
        raise NotFoundError(_UNKNOWN)
    return endpoint


def change_endpoint(context: Context, endpoint_id: str, url: str, types: Collection[str], by: Actor) -> Endpoint:
    """Change the types and the checked address of an endpoint; raises `NotFoundError`."""
    changed = partial(replace, url=url, types=_ordered(types))
    return _change(context, endpoint_id, changed, OperatorAction.ENDPOINT_CHANGED, by)


def rotate_endpoint(context: Context, endpoint_id: str, overlap: int, by: Actor) -> IssuedEndpoint:
    """Change an endpoint's secret; the previous secret signs too for ``overlap`` seconds. Raises `NotFoundError`."""
    secret = new_webhook_secret()

    def rotated(endpoint: Endpoint) -> Endpoint:
        return replace(
            endpoint,
            secret=_seal(context, endpoint, secret),
            previous=endpoint.secret if overlap else "",
            previous_until=now() + 1000 * overlap,
        )

    endpoint = _change(context, endpoint_id, rotated, OperatorAction.ENDPOINT_ROTATED, by)
    return IssuedEndpoint(shown_secret(secret), endpoint)


def enable_endpoint(context: Context, endpoint_id: str, by: Actor) -> Endpoint:
    """Send to an endpoint again; webhooks held meanwhile go with a replay. Raises `NotFoundError`."""
    enabled = partial(replace, status=EndpointStatus.ENABLED, failing_since=None)
    return _change(context, endpoint_id, enabled, OperatorAction.ENDPOINT_ENABLED, by)


def disable_endpoint(context: Context, endpoint_id: str, by: Actor) -> Endpoint:
    """Stop sending to an endpoint, and hold its webhooks; raises `NotFoundError`."""
    disabled = partial(replace, status=EndpointStatus.DISABLED)
    return _change(context, endpoint_id, disabled, OperatorAction.ENDPOINT_DISABLED, by)


def remove_endpoint(context: Context, endpoint_id: str, by: Actor) -> Endpoint:
    """Remove an endpoint and its secrets for good; raises `NotFoundError`."""
    without_secrets = partial(replace, secret="", previous="", status=EndpointStatus.DISABLED)
    return _change(context, endpoint_id, without_secrets, OperatorAction.ENDPOINT_REMOVED, by, removes=True)


def _change(
    context: Context,
    endpoint_id: str,
    change: Callable[[Endpoint], Endpoint],
    action: OperatorAction,
    by: Actor,
    *,
    removes: bool = False,
) -> Endpoint:
    if not is_endpoint_id(endpoint_id):
        raise NotFoundError(_UNKNOWN)
    operator_action = by.operator_action(action, subject=endpoint_id)
    changed = context.ledger.endpoints.change(endpoint_id, by.application, change, operator_action, removes=removes)
    if changed is None:
        raise NotFoundError(_UNKNOWN)
    _log.info("endpoint_changed", endpoint=endpoint_id, application=changed.application, how=str(action), by=by.name)
    return changed


def _ordered(types: Collection[str]) -> tuple[str, ...]:
    return tuple(sorted(set(types)))


def _seal(context: Context, endpoint: Endpoint, secret: bytes) -> str:
    return context.keyring.seal_secret(secret, owner=endpoint.id, application=endpoint.application, kind=SECRET_KIND)


def _open(context: Context, endpoint: Endpoint, sealed: str) -> bytes:
    return context.keyring.unseal_secret(sealed, owner=endpoint.id, application=endpoint.application, kind=SECRET_KIND)


def root_keys_in_use(endpoints: Iterable[Endpoint], now: int) -> Mapping[str, int]:
    """Return the ids of the root keys of secrets in force, with their numbers of endpoints."""
    return Counter(root for endpoint in endpoints for root in set(map(sealing_root, endpoint.sealed_secrets(now))))


def reseal_secrets(context: Context, by: str) -> tuple[int, int]:
    """Seal all secrets under the active root key; return the numbers of changed and of unreadable endpoints."""
    unreadable: list[str] = []

    def seal(endpoint: Endpoint) -> Endpoint:
        try:
            return replace(
                endpoint,
                secret=_resealed(context, endpoint, endpoint.secret),
                previous=_resealed(context, endpoint, endpoint.previous),
            )
        except SealBrokenError:
            unreadable.append(endpoint.id)
            return endpoint

    operator_action = OperatorActionEntry(OperatorAction.WEBHOOKS_RESEALED, by)
    return context.ledger.endpoints.reseal(seal, operator_action), len(unreadable)


def _resealed(context: Context, endpoint: Endpoint, sealed: str) -> str:
    if not sealed or sealing_root(sealed) == context.keyring.active_root:
        return sealed
    return _seal(context, endpoint, _open(context, endpoint, sealed))


def send_webhook(context: Context, delivery: WebhookDelivery) -> None:
    """Call an endpoint once, and record the attempt; after a `LedgerUnavailableError` the webhook is sent again."""
    from otp_service.gateways.http_client import HttpCallError  # noqa: PLC0415 - slow to import

    began, endpoint = now(), delivery.endpoint
    try:
        keys = [_open(context, endpoint, sealed) for sealed in endpoint.sealed_secrets(began)]
    except SealBrokenError:
        context.ledger.webhook_outbox.put_back(delivery, _UNREADABLE_DELAY)
        _log.error("webhook_secret_unreadable", endpoint=endpoint.id, application=endpoint.application)
        return
    body = delivery.webhook.body(delivery.sequence)
    headers = signature_headers(keys, delivery.webhook.id, began // 1000, body)
    headers |= {"Content-Type": "application/json", "User-Agent": "otp-service"}
    try:
        answer = _guarded_client(context.webhooks).post(endpoint.url, headers, body)
    except HttpCallError as failed:
        attempt = WebhookAttempt(began, now() - began, 0, failed.code)
    else:
        attempt = WebhookAttempt(began, now() - began, answer.status, retry_after=answer.retry_after)
    disabled = context.ledger.webhook_outbox.settle(delivery, attempt)
    metrics.webhooks.count(application=endpoint.application, outcome="delivered" if attempt.delivered else "failed")
    _log.info(
        "webhook_sent",
        webhook=delivery.webhook.id,
        endpoint=endpoint.id,
        application=endpoint.application,
        verification=delivery.webhook.verification or None,
        status=attempt.status,
        reason=attempt.reason,
        milliseconds=attempt.milliseconds,
    )
    latency = endpoint.latency_after(attempt.milliseconds)
    if latency is not None and endpoint.latency is None:
        _log.warning("endpoint_slow", endpoint=endpoint.id, application=endpoint.application, milliseconds=latency)
    if disabled:
        _log.error("endpoint_disabled", endpoint=endpoint.id, application=endpoint.application, reason=str(disabled))


def replay_since(context: Context, endpoint_id: str, since: int, by: Actor, *, delivered: bool = False) -> int:
    """Send webhooks from a time on again, also ``delivered`` ones; return how many.

    Raises `NotFoundError`, and `ConflictError` for a disabled endpoint.
    """
    endpoint = find_endpoint(context, endpoint_id, by.application)
    if endpoint.status is not EndpointStatus.ENABLED:
        raise ConflictError("The endpoint is disabled: enable it first.")
    operator_action = by.operator_action(OperatorAction.WEBHOOKS_REPLAYED, endpoint.application, endpoint_id)
    count = context.ledger.webhook_outbox.replay_since(
        endpoint, since, delivered=delivered, operator_action=operator_action
    )
    _log.info("webhooks_replayed", endpoint=endpoint_id, application=endpoint.application, by=by.name)
    return count


def replay_webhook(context: Context, webhook_id: str, by: Actor) -> int:
    """Send a webhook again to its enabled endpoints, and count them; raises `NotFoundError` and `ConflictError`."""
    operator_action = by.operator_action(OperatorAction.WEBHOOKS_REPLAYED, subject=webhook_id)
    known = is_webhook_id(webhook_id)
    count = context.ledger.webhook_outbox.replay(by.application, webhook_id, operator_action) if known else None
    if count is None:
        raise NotFoundError("There is no such webhook.")
    if not count:
        raise ConflictError("Its endpoints are disabled or removed, or it is being sent just now.")
    _log.info("webhooks_replayed", webhook=webhook_id, application=by.application or "", by=by.name)
    return count
