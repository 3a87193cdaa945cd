"""Authenticate callers; make, change and end API keys and applications."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Final

from otp_service import clock
from otp_service.domain.applications import (
    APPLICATION_SCOPES,
    NO_APPLICATION,
    ApiKey,
    Application,
    KeyScope,
    Network,
    is_key_id,
    new_key_id,
)
from otp_service.domain.client_tokens import ClientToken
from otp_service.domain.keyring import api_key_hash, new_api_key
from otp_service.errors import (
    ConflictError,
    InvalidApplicationError,
    NameTakenError,
    NotFoundError,
    UnauthenticatedError,
)
from otp_service.ledger.access import StoredApplication
from otp_service.services.context import Context
from otp_service.settings.message_files import cost_faults, locale_faults, measure_texts
from otp_service.telemetry.logging import get_logger


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller."""

    key: ApiKey | None
    """``None`` for a client token."""
    application: Application | None
    """``None`` for a key of operators."""
    token: ClientToken | None = None

    @property
    def key_id(self) -> str:
        """The name of the API key; empty for a configured key and for a client token."""
        return self.key.id if self.key else ""

    @property
    def scopes(self) -> frozenset[KeyScope]:
        """The scopes of the API key; empty for a client token, which has rights of its own."""
        return self.key.scopes if self.key else frozenset()


def authenticate(context: Context, api_key: str, address: Callable[[], str | None]) -> Caller:
    """Return the caller with an API key, and note its use; ``address`` is called only for a key bound to networks.

    Raises the same `UnauthenticatedError` for an unknown, revoked or expired key and a wrong network. The look-up is by
    the key's SHA-256, which callers cannot choose: its duration tells nothing of a key.
    """
    snapshot, now = context.access_cache.snapshot, clock.now()
    key = snapshot.keys.get(api_key_hash(api_key))
    if key is None:
        context.access_cache.require_known()
    if key is None or not key.is_valid(now) or (key.networks and not key.admits(address())):
        raise UnauthenticatedError("The API key is not known.")
    if key.id:
        context.key_uses.note(key.id, now)
    return Caller(key, snapshot.applications.get(key.application))


def authenticate_client(context: Context, text: str) -> tuple[Application, ClientToken]:
    """Return the application and content of a client token; raise `UnauthenticatedError` for an invalid token.

    A token ends by this host's clock, ten minutes after the code: a clock wrong by less refuses no live code, and
    Redis' clock decides about the verification.
    """
    token = ClientToken.read(context.keyring, text)
    application = context.access_cache.get(token.application) if token else None
    if token is None or application is None or 1000 * token.expires <= clock.now():
        raise UnauthenticatedError("The client token is not valid, or its verification is over.")
    return application, token


DEFAULT_OVERLAP: Final = 24 * 3600
"""Seconds that a replaced key stays valid by default."""
MAX_OVERLAP: Final = 90 * 24 * 3600
_UNKNOWN = "There is no such key."

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A new key and its secret, which is shown once: only its hash is stored."""

    secret: str = field(repr=False)
    key: ApiKey


def issue_key(
    context: Context, application: str, scopes: Collection[KeyScope], networks: tuple[Network, ...], by: str
) -> IssuedKey:
    """Make a key for an application; raises `NotFoundError`. ``by`` names the actor for log and ledger."""
    if context.access_cache.find(application) is None:
        raise NotFoundError("There is no such application.")
    return _issue(context, application, APPLICATION_SCOPES.intersection(scopes), networks, by)


def issue_operator_key(context: Context, networks: tuple[Network, ...], by: str) -> IssuedKey:
    """Make a key that manages applications and keys; never over HTTP: a leaked key must make no other."""
    return _issue(context, NO_APPLICATION, frozenset({KeyScope.ADMIN}), networks, by)


def rotate_key(context: Context, key_id: str, overlap: int, by: str, application: str | None = None) -> IssuedKey:
    """Replace a key, of the ``application`` if any, by another; the old key ends in ``overlap`` seconds.

    Raises `NotFoundError`, and `ConflictError` for an ended key.
    """
    secret, rotate = new_api_key(), context.ledger.api_keys.rotate
    hashed = api_key_hash(secret)
    keys = rotate(key_id, new_key_id(), hashed, 1000 * overlap, by, application) if is_key_id(key_id) else None
    if keys is None:
        raise NotFoundError(_UNKNOWN)
    old, fresh = keys
    _log.info("api_key_rotated", key_id=old.id, successor=fresh.id, application=old.application, by=by)
    context.access_cache.refresh_if_possible()
    return IssuedKey(secret, fresh)


def revoke_key(context: Context, key_id: str, by: str, application: str | None = None) -> ApiKey:
    """End a key, of the ``application`` if any, for good; return it. Raises `NotFoundError`."""
    revoked = context.ledger.api_keys.revoke(key_id, by, application) if is_key_id(key_id) else None
    if revoked is None:
        raise NotFoundError(_UNKNOWN)
    _log.info("api_key_revoked", key_id=key_id, application=revoked.application, by=by)
    context.access_cache.refresh_if_possible()
    return revoked


def _issue(
    context: Context, application: str, scopes: frozenset[KeyScope], networks: tuple[Network, ...], by: str
) -> IssuedKey:
    secret = new_api_key()
    key = context.ledger.api_keys.add(ApiKey(new_key_id(), application, api_key_hash(secret), scopes, networks), by)
    _log.info(
        "api_key_issued",
        key_id=key.id,
        application=application,
        scopes=sorted(map(str, scopes)),
        networks=len(networks),
        by=by,
    )
    context.access_cache.refresh_if_possible()
    return IssuedKey(secret, key)


def add_application(context: Context, name: str, settings: str, by: str) -> StoredApplication:
    """Add an application with settings (JSON); raises `InvalidApplicationError` and `NameTakenError`."""
    if context.access_cache.is_configured(name):
        raise NameTakenError("An application with this name exists in the configuration.")
    _check_settings(context, name, settings)
    added = context.ledger.applications.add(name, settings, by)
    _log.info("application_added", application=name, by=by)
    context.access_cache.refresh_if_possible()
    return added


def change_application(context: Context, name: str, settings: str, by: str) -> StoredApplication:
    """Change the settings of an application; live verifications keep those of their start.

    Raises `InvalidApplicationError`, `NotFoundError`, and `ConflictError` for a configured application.
    """
    if context.access_cache.is_configured(name):
        raise ConflictError("The application is in the configuration: change it there.")
    _check_settings(context, name, settings)
    changed = context.ledger.applications.change(name, settings, by)
    if changed is None:
        raise NotFoundError("There is no such application.")
    _log.info("application_changed", application=name, by=by)
    context.access_cache.refresh_if_possible()
    return changed


def _check_settings(context: Context, name: str, settings: str) -> None:
    """Raise `InvalidApplicationError` for settings that no process could use, or messages too long."""
    application: Application = context.access_cache.load_application(name, settings).application
    measured = measure_texts(context.templates, context.purposes, (application,))
    locale = locale_faults(context.templates, application.locale)
    if faults := [*locale, *cost_faults(text for text in measured if text.application)]:
        raise InvalidApplicationError("\n".join(faults))
