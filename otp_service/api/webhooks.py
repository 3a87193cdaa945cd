"""Webhook endpoints of applications, and deliveries of webhooks."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Final

from pydantic import AfterValidator, Field, JsonValue, StringConstraints, WithJsonSchema

from otp_service.api.exchange import Exchange
from otp_service.api.requests import read_moment, read_query
from otp_service.api.routes import LEDGER_PROBLEMS, Resource, Success, path_parameter, query_parameter
from otp_service.api.schemas import TIMESTAMP_PATTERN, Body, Moment, RotationBody
from otp_service.clock import now
from otp_service.domain.applications import KeyScope
from otp_service.domain.webhooks import GROUPS, MAX_URL, TYPES, Endpoint, EndpointStatus, WebhookDeliveryStatus
from otp_service.errors import InvalidRequestError
from otp_service.ledger.webhooks import WebhookDeliveryFilter, WebhookDeliveryReport
from otp_service.services import webhooks as service
from otp_service.services.json_types import Time
from otp_service.services.webhooks import Actor, IssuedEndpoint

_CHOICES: Final = sorted(TYPES | GROUPS)
_ENDPOINT: dict[str, JsonValue] = {"url": "https://shop.example/hooks/otp", "types": ["verification", "suppression"]}
_IDENTIFIER: Final = r"^[A-Za-z0-9_]{1,64}$"


def _known_type(text: str) -> str:
    if text not in _CHOICES:
        raise ValueError("is not a type or group of webhooks")
    return text


TypeName = Annotated[
    str, AfterValidator(_known_type), WithJsonSchema({"type": "string", "enum": list[JsonValue](_CHOICES)})
]


class EndpointBody(Body, json_schema_extra={"examples": [_ENDPOINT]}):
    """An endpoint for webhooks, and their types."""

    url: Annotated[str, StringConstraints(min_length=1, max_length=MAX_URL)]
    """An `https://` address of yours, without user, password and fragment."""
    types: Annotated[list[TypeName], Field(min_length=1, max_length=len(_CHOICES))]
    """Types of webhooks, such as `verification.approved`, or their first part for all that begin with it."""


class ReplayBody(Body, json_schema_extra={"examples": [{"since": "2026-11-24T22:00:00Z"}]}):
    """The webhooks of a replay."""

    since: Moment
    """Only events at this time or later: RFC 3339 in UTC."""
    delivered: bool = False
    """Whether delivered webhooks are sent again too."""


class EndpointActionBody(Body):
    """Nothing; may be left out."""


@dataclass(frozen=True, slots=True)
class EndpointAnswer:
    """An endpoint. Its secret is shown when it is made, and at a rotation."""

    id: str
    url: str
    types: tuple[str, ...]
    status: EndpointStatus
    """`enabled`; `disabled`, by hand; `failing`, disabled after five days of failures; `gone`, disabled because it
    answered 410."""
    failing_since: Time | None
    """Since when every try failed; null without failures."""
    created_at: Time
    rotates_until: Time | None
    """Until when the previous secret signs too; null when it does not."""


@dataclass(frozen=True, slots=True)
class IssuedEndpointAnswer:
    """An endpoint with a new secret, which is shown once."""

    secret: str = field(repr=False)
    """Verifies webhooks, `whsec_…`."""
    endpoint: EndpointAnswer


@dataclass(frozen=True, slots=True)
class ReplayAnswer:
    """The result of a replay."""

    webhooks: int
    """Webhooks that are sent again."""


@dataclass(frozen=True, slots=True)
class WebhookAttemptAnswer:
    """One call of an endpoint."""

    at: Time
    milliseconds: int
    status: int | None
    """Of the answer; null without one."""
    reason: str | None
    """Why there was none: `timeout`, `connection`, `host not found or not allowed` …"""


@dataclass(frozen=True, slots=True)
class WebhookAnswer:
    """A webhook and its delivery to an endpoint."""

    id: str
    type: str
    verification: str | None
    endpoint: str
    sequence: int
    at: Time
    """When it happened."""
    status: WebhookDeliveryStatus
    """`waiting`, `delivered`, `failed` after all tries, or `held` because the endpoint is disabled."""
    next_try_at: Time | None
    tries: tuple[WebhookAttemptAnswer, ...]
    """The last 20, oldest first."""


_ID = path_parameter("endpoint_id", "The `id` of the endpoint.", "we_0012ab34cd56ef7890a1b2c3d4e5f607")
_ENDPOINT_PATH = "/v1/endpoints/<endpoint_id>"
_MADE = Success("Made.", headers={"Location": "Path of the endpoint."})

# Calls that look up a host take a slot of the ledger afterwards: others must not wait for name servers.
urls = Resource(
    "endpoints", "Webhooks", KeyScope.WEBHOOKS, problems=(*LEDGER_PROBLEMS, "invalid-url"), parameters=(_ID,)
)
endpoints = Resource(
    "endpoints", "Webhooks", KeyScope.WEBHOOKS, problems=LEDGER_PROBLEMS, parameters=(_ID,), asks_ledger=True
)


@urls.route("POST /v1/endpoints", {201: _MADE}, ("endpoint-limit",))
def add_endpoint(exchange: Exchange, body: EndpointBody) -> IssuedEndpointAnswer:
    """Make an endpoint.

    It receives events from now on. The secret is in this answer and nowhere else: when it is lost, rotate it.
    """
    with exchange.shared.look_ups.slot():
        service.check_url(exchange.context, body.url)
    with exchange.shared.ledger_slots.slot():
        made = service.add_endpoint(
            exchange.context, exchange.application.name, body.url, body.types, _caller(exchange)
        )
    exchange.headers["Location"] = f"/v1/endpoints/{made.endpoint.id}"
    return _issued(made)


@urls.route(f"PUT {_ENDPOINT_PATH}", {200: "Changed."}, ("not-found",))
def change_endpoint(exchange: Exchange, body: EndpointBody, endpoint_id: str) -> EndpointAnswer:
    """Change an endpoint.

    Replaces address and types. What waits goes to the new address.
    """
    with exchange.shared.look_ups.slot():
        service.check_url(exchange.context, body.url)
    with exchange.shared.ledger_slots.slot():
        return _answer(service.change_endpoint(exchange.context, endpoint_id, body.url, body.types, _caller(exchange)))


@endpoints.route("GET /v1/endpoints", {200: "The endpoints."})
def list_endpoints(exchange: Exchange) -> list[EndpointAnswer]:
    """List the endpoints.

    Those of the application, oldest first.
    """
    return list(map(_answer, exchange.context.ledger.endpoints.of(exchange.application.name)))


@endpoints.route(f"GET {_ENDPOINT_PATH}", {200: "The endpoint."}, ("not-found",), endpoint="show")
def read_endpoint(exchange: Exchange, endpoint_id: str) -> EndpointAnswer:
    """Read an endpoint.

    Shows whether it is sent to.
    """
    return _answer(service.find_endpoint(exchange.context, endpoint_id, exchange.application.name))


@endpoints.route(f"POST {_ENDPOINT_PATH}/rotate", {200: "Rotated."}, ("not-found",))
def rotate_endpoint(exchange: Exchange, body: RotationBody, endpoint_id: str) -> IssuedEndpointAnswer:
    """Replace the secret of an endpoint.

    Webhooks have a signature under each of the two secrets until the overlap is over. The new one is in this answer and
    nowhere else.
    """
    return _issued(service.rotate_endpoint(exchange.context, endpoint_id, body.overlap, _caller(exchange)))


@endpoints.route(f"POST {_ENDPOINT_PATH}/enable", {200: "Enabled."}, ("not-found",))
def enable_endpoint(exchange: Exchange, _: EndpointActionBody, endpoint_id: str) -> EndpointAnswer:
    """Enable an endpoint.

    It receives events again from now on; a replay sends the held ones.
    """
    return _answer(service.enable_endpoint(exchange.context, endpoint_id, _caller(exchange)))


@endpoints.route(f"POST {_ENDPOINT_PATH}/disable", {200: "Disabled."}, ("not-found",))
def disable_endpoint(exchange: Exchange, _: EndpointActionBody, endpoint_id: str) -> EndpointAnswer:
    """Disable an endpoint.

    It receives nothing; its webhooks are held for a replay.
    """
    return _answer(service.disable_endpoint(exchange.context, endpoint_id, _caller(exchange)))


@endpoints.route(f"POST {_ENDPOINT_PATH}/remove", {200: "Removed."}, ("not-found",))
def remove_endpoint(exchange: Exchange, _: EndpointActionBody, endpoint_id: str) -> EndpointAnswer:
    """Remove an endpoint.

    For good, and its secrets with it.
    """
    return _answer(service.remove_endpoint(exchange.context, endpoint_id, _caller(exchange)))


@endpoints.route(f"POST {_ENDPOINT_PATH}/replay", {202: "They are on their way."}, ("not-found", "conflict"))
def replay_endpoint(exchange: Exchange, body: ReplayBody, endpoint_id: str) -> ReplayAnswer:
    """Send an endpoint's webhooks again.

    From a time on: held and failed webhooks, with `delivered` all. Receivers recognise a repeated webhook by its `id`.
    """
    replayed = service.replay_since(
        exchange.context, endpoint_id, body.since, _caller(exchange), delivered=body.delivered
    )
    return ReplayAnswer(replayed)


_WEBHOOK_ID = path_parameter("webhook_id", "The `id` of the webhook.", "wh_0012ab34cd56ef7890a1b2c3d4e5f607")
_MAX_WEBHOOKS: Final = 100
_FILTERS = (
    query_parameter("endpoint", "Only of this endpoint.", {"type": "string", "pattern": _IDENTIFIER}),
    query_parameter("verification", "Only of this verification.", {"type": "string", "pattern": _IDENTIFIER}),
    query_parameter(
        "status", "Only with this status.", {"type": "string", "enum": list(map(str, WebhookDeliveryStatus))}
    ),
    query_parameter(
        "before",
        "Only events before this time: RFC 3339 in UTC.",
        {"type": "string", "format": "date-time", "pattern": TIMESTAMP_PATTERN},
    ),
)
webhooks = Resource(
    "webhooks", "Webhooks", KeyScope.WEBHOOKS, problems=LEDGER_PROBLEMS, parameters=(_WEBHOOK_ID,), asks_ledger=True
)


@webhooks.route("GET /v1/webhooks", {200: "The webhooks."}, query=_FILTERS)
def list_webhooks(exchange: Exchange) -> list[WebhookAnswer]:
    """List webhooks.

    The application's webhooks, with each try: the newest 100, or those before a time.
    """
    parameters = read_query(exchange, *(str(parameter["name"]) for parameter in _FILTERS))
    status = parameters.get("status")
    if status is not None and status not in frozenset(map(str, WebhookDeliveryStatus)):
        raise InvalidRequestError("The parameter status is not a webhook status.")
    filters = WebhookDeliveryFilter(
        application=exchange.application.name,
        endpoint=_identifier(parameters, "endpoint"),
        verification=_identifier(parameters, "verification"),
        status=status or "",
        before=read_moment(parameters, "before"),
    )
    return list(map(_webhook, exchange.context.ledger.webhook_outbox.find(filters, _MAX_WEBHOOKS)))


@webhooks.route(
    "POST /v1/webhooks/<webhook_id>/replay", {202: "It is on its way."}, ("not-found", "conflict"), endpoint="replay"
)
def replay_webhook(exchange: Exchange, _: EndpointActionBody, webhook_id: str) -> ReplayAnswer:
    """Send a webhook again.

    To all of its endpoints that are enabled.
    """
    return ReplayAnswer(service.replay_webhook(exchange.context, webhook_id, _caller(exchange)))


def _identifier(parameters: Mapping[str, str], name: str) -> str:
    if name in parameters and not re.fullmatch(_IDENTIFIER, parameters[name]):
        raise InvalidRequestError(f"The parameter {name} is not an identifier.")
    return parameters.get(name, "")


def _caller(exchange: Exchange) -> Actor:
    return Actor(exchange.operator_key or "configuration", exchange.application.name)


def _issued(issued: IssuedEndpoint) -> IssuedEndpointAnswer:
    return IssuedEndpointAnswer(issued.secret, _answer(issued.endpoint))


def _answer(endpoint: Endpoint) -> EndpointAnswer:
    rotates = len(endpoint.sealed_secrets(now())) > 1
    return EndpointAnswer(
        id=endpoint.id,
        url=endpoint.url,
        types=endpoint.types,
        status=endpoint.status,
        failing_since=endpoint.failing_since,
        created_at=endpoint.created,
        rotates_until=endpoint.previous_until if rotates else None,
    )


def _webhook(report: WebhookDeliveryReport) -> WebhookAnswer:
    return WebhookAnswer(
        id=report.webhook,
        type=report.type,
        verification=report.verification or None,
        endpoint=report.endpoint,
        sequence=report.sequence,
        at=report.at,
        status=report.status,
        next_try_at=report.next,
        tries=tuple(
            WebhookAttemptAnswer(attempt.at, attempt.milliseconds, attempt.status or None, attempt.shown_reason or None)
            for attempt in report.tries
        ),
    )
