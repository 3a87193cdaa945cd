"""Administration, by operators: applications and their API keys."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, StringConstraints

from otp_service.api.exchange import Exchange
from otp_service.api.routes import LEDGER_PROBLEMS, Resource, Success, path_parameter
from otp_service.api.schemas import NAME, Body, RotationBody
from otp_service.domain.applications import MAX_NETWORKS, ApiKey, KeyScope, parse_networks
from otp_service.errors import NotFoundError
from otp_service.ledger.access import StoredApplication
from otp_service.services import access
from otp_service.services.access import IssuedKey
from otp_service.services.json_types import Time
from otp_service.settings.schema import ApplicationSection
from otp_service.settings.stored_applications import all_applications, dump_section

_SETTINGS: dict[str, JsonValue] = {"name": "Acme Club", "purposes": ["login"], "countries": ["PK"], "region": "PK"}
Network = Annotated[str, StringConstraints(max_length=64)]
_KEY: dict[str, JsonValue] = {"scopes": ["verify"], "addresses": ["203.0.113.0/24"]}


class ApplicationSettingsBody(Body, json_schema_extra={"examples": [{"settings": _SETTINGS}]}):
    """What an application may do."""

    settings: ApplicationSection
    """Its section as in a configuration file, without `keys`. Absent settings get their defaults."""


class NewApplicationBody(
    ApplicationSettingsBody, json_schema_extra={"examples": [{"name": "club", "settings": _SETTINGS}]}
):
    """A new application."""

    name: Annotated[str, StringConstraints(pattern=NAME)]
    """Its permanent name, under which the ledger records it; no other application can have it later."""


class NewKeyBody(Body, json_schema_extra={"examples": [_KEY]}):
    """The scopes of a new key, and its networks."""

    scopes: Annotated[
        list[Literal["verify", "consent", "subjects", "webhooks", "factors", "stats"]],
        Field(min_length=1, max_length=6),
    ]
    """`verify`: verifications; `consent`: consents and suppressions; `subjects`: exports, erasures and freezes;
    `webhooks`: endpoints for events; `factors`: authenticator apps and recovery codes; `stats`: statistics."""
    addresses: Annotated[list[Network], Field(max_length=MAX_NETWORKS)] = Field(default_factory=list)
    """Allowed addresses and networks, such as `192.0.2.7` or `2001:db8::/48`. Default: anywhere."""


class RevocationBody(Body):
    """Nothing; may be left out."""


@dataclass(frozen=True, slots=True)
class ApplicationAnswer:
    """An application and its settings."""

    name: str
    source: Literal["configuration", "ledger"]
    """Where it is kept. The API changes only applications of the ledger, but adds keys to all."""
    settings: Mapping[str, Any]
    """Its section as in a configuration file, without keys and defaults."""
    created_at: Time | None
    """Null, as `changed_at` is, for an application of the configuration."""
    changed_at: Time | None


@dataclass(frozen=True, slots=True)
class ApiKeyAnswer:
    """An API key of the ledger."""

    id: str
    """Its name, which is no secret."""
    application: str
    scopes: tuple[str, ...]
    addresses: tuple[str, ...]
    """Allowed networks; empty for anywhere."""
    created_at: Time
    expires_at: Time | None
    """End of a replaced key; null for never."""
    revoked_at: Time | None
    last_used_at: Time | None
    """To the minute; null for never."""


@dataclass(frozen=True, slots=True)
class IssuedKeyAnswer:
    """A new key, shown once and stored nowhere."""

    secret: str = field(repr=False)
    """For the application: `Authorization: Bearer SECRET`."""
    key: ApiKeyAnswer


_NOTE = "Needs a key with the scope `admin` (`otp-service key add --admin`), which is of no application."
_NAME = path_parameter("name", "The name of the application.", "club")
_KEY_ID = path_parameter("key_id", "The `id` of the key, not the key itself.", "ak_0012ab34cd56ef7890a1b2c3d4e5f607")
_APPLICATION = "/v1/admin/applications/<name>"
_UNKNOWN = "There is no such application."

applications = Resource(
    "applications",
    "Administration",
    KeyScope.ADMIN,
    problems=LEDGER_PROBLEMS,
    parameters=(_NAME,),
    note=_NOTE,
    asks_ledger=True,
)


@applications.route("GET /v1/admin/applications", {200: "The applications."})
def list_applications(exchange: Exchange) -> list[ApplicationAnswer]:
    """List the applications.

    Those of the configuration and those of the ledger.
    """
    return _all_applications(exchange)


@applications.route(
    "POST /v1/admin/applications",
    {201: Success("Made.", headers={"Location": "Path of the application."})},
    ("invalid-application", "name-taken"),
)
def add_application(exchange: Exchange, body: NewApplicationBody) -> ApplicationAnswer:
    """Make an application.

    It is kept in the ledger, and has no key yet. All processes respect it within five seconds. It can be changed, and
    is never deleted: without a valid key it can do nothing.
    """
    added = access.add_application(exchange.context, body.name, dump_section(body.settings), exchange.operator_key)
    exchange.headers["Location"] = f"/v1/admin/applications/{added.name}"
    return _application(added)


@applications.route(f"GET {_APPLICATION}", {200: "The application."}, ("not-found",), endpoint="show")
def read_application(exchange: Exchange, name: str) -> ApplicationAnswer:
    """Read an application.

    Shows its settings.
    """
    for answer in _all_applications(exchange):
        if answer.name == name:
            return answer
    raise NotFoundError(_UNKNOWN)


@applications.route(f"PUT {_APPLICATION}", {200: "Changed."}, ("not-found", "conflict", "invalid-application"))
def change_application(exchange: Exchange, body: ApplicationSettingsBody, name: str) -> ApplicationAnswer:
    """Change an application.

    Replaces its settings. All processes respect it within five seconds. Verifications that live keep what they were
    started with. One of the configuration is changed there.
    """
    changed = access.change_application(exchange.context, name, dump_section(body.settings), exchange.operator_key)
    return _application(changed)


def _all_applications(exchange: Exchange) -> list[ApplicationAnswer]:
    stored = all_applications(exchange.settings.applications, exchange.context.ledger.applications.all())
    return list(map(_application, stored))


def _application(stored: StoredApplication) -> ApplicationAnswer:
    return ApplicationAnswer(stored.name, stored.source, stored.members, stored.created, stored.changed)


keys = Resource(
    "api_keys",
    "Administration",
    KeyScope.ADMIN,
    problems=(*LEDGER_PROBLEMS, "not-found"),
    parameters=(_NAME, _KEY_ID),
    note=_NOTE,
    asks_ledger=True,
)


@keys.route(f"GET {_APPLICATION}/keys", {200: "The keys."})
def list_keys(exchange: Exchange, name: str) -> list[ApiKeyAnswer]:
    """List the keys of an application.

    Oldest first, also those that have ended. Those of the configuration are not among them.
    """
    _require_application(exchange, name)
    return list(map(_key, exchange.context.ledger.api_keys.of(name)))


@keys.route(f"POST {_APPLICATION}/keys", {201: "Made."})
def issue_key(exchange: Exchange, body: NewKeyBody, name: str) -> IssuedKeyAnswer:
    """Make a key.

    For an application of the ledger or the configuration. The key is in this answer and nowhere else: when it is lost,
    revoke it and make another. All processes respect it within five seconds.
    """
    scopes, networks = frozenset(map(KeyScope, body.scopes)), parse_networks(body.addresses)
    return _issued(access.issue_key(exchange.context, name, scopes, networks, exchange.operator_key))


@keys.route(f"POST {_APPLICATION}/keys/<key_id>/rotate", {201: "Made."}, ("conflict",))
def rotate_key(exchange: Exchange, body: RotationBody, name: str, key_id: str) -> IssuedKeyAnswer:
    """Replace a key.

    Makes a key with the same scopes and addresses. The old one goes on beside it until the overlap is over. All
    processes respect it within five seconds.
    """
    _require_application(exchange, name)
    return _issued(access.rotate_key(exchange.context, key_id, body.overlap, exchange.operator_key, name))


@keys.route(f"POST {_APPLICATION}/keys/<key_id>/revoke", {200: "Revoked."})
def revoke_key(exchange: Exchange, _: RevocationBody, name: str, key_id: str) -> ApiKeyAnswer:
    """Revoke a key.

    Ends it for good. All processes respect it within five seconds.
    """
    _require_application(exchange, name)
    return _key(access.revoke_key(exchange.context, key_id, exchange.operator_key, name))


def _require_application(exchange: Exchange, name: str) -> None:
    if exchange.context.access_cache.find(name) is None:
        raise NotFoundError(_UNKNOWN)


def _issued(issued: IssuedKey) -> IssuedKeyAnswer:
    return IssuedKeyAnswer(issued.secret, _key(issued.key))


def _key(key: ApiKey) -> ApiKeyAnswer:
    return ApiKeyAnswer(
        id=key.id,
        application=key.application,
        scopes=tuple(sorted(key.scopes)),
        addresses=tuple(map(str, key.networks)),
        created_at=key.created,
        expires_at=key.expires,
        revoked_at=key.revoked,
        last_used_at=key.used,
    )
