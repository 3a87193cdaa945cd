"""API keys of the ledger: make, replace and revoke. Each change is logged, and in force in this process at once.

A key is returned once, by the call that makes it; nobody keeps more of it than its hash.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

from otp_service.domain.applications import (
    APPLICATION_SCOPES,
    NO_APPLICATION,
    ApiKey,
    Network,
    Scope,
    is_key_id,
    new_key_id,
)
from otp_service.domain.keyring import api_key_hash, new_api_key
from otp_service.errors import NotFoundError
from otp_service.services.context import Context
from otp_service.telemetry.logging import get_logger

OVERLAP: Final = 24 * 3600
"""Seconds that a key goes on beside the one that replaces it, unless it is said otherwise."""
LONGEST_OVERLAP: Final = 90 * 24 * 3600
_UNKNOWN = "There is no such key."

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Issued:
    """A key that was just made."""

    secret: str = field(repr=False)
    """What its holder sends; to be shown once."""
    key: ApiKey


def issue_key(
    context: Context, application: str, scopes: Collection[Scope], networks: tuple[Network, ...], by: str
) -> Issued:
    """Make a key for an application, of the ledger or the configuration; ``by`` says who does it, for log and ledger.

    Raises `NotFoundError` when there is no such application, and `LedgerUnavailableError`.
    """
    if context.directory.find(application) is None:
        raise NotFoundError("There is no such application.")
    return _issue(context, application, APPLICATION_SCOPES.intersection(scopes), networks, by)


def issue_operator_key(context: Context, networks: tuple[Network, ...], by: str) -> Issued:
    """Make a key that manages applications and keys, and is of no application; raises `LedgerUnavailableError`.

    To be offered where somebody has the installation itself, never over HTTP: a key that leaked must make no other.
    """
    return _issue(context, NO_APPLICATION, frozenset({Scope.ADMIN}), networks, by)


def rotate_key(context: Context, key_id: str, overlap: int, by: str, application: str | None = None) -> Issued:
    """Make a key that may do the same as another, which ends in ``overlap`` seconds.

    With an ``application``, only a key of its own is found. Raises `NotFoundError`, `ConflictError` when the key is
    over, and `LedgerUnavailableError`.
    """
    _check_name(key_id)
    secret = new_api_key()
    found = context.ledger.api_keys.rotate(key_id, new_key_id(), api_key_hash(secret), 1000 * overlap, by, application)
    if found is None:
        raise NotFoundError(_UNKNOWN)
    old, fresh = found
    _log.info("api_key_rotated", key_id=old.id, successor=fresh.id, application=old.application, by=by)
    context.directory.take_up()
    return Issued(secret, fresh)


def revoke_key(context: Context, key_id: str, by: str, application: str | None = None) -> ApiKey:
    """End a key for good; return it. With an ``application``, only a key of its own is found.

    Raises `NotFoundError` and `LedgerUnavailableError`.
    """
    _check_name(key_id)
    revoked = context.ledger.api_keys.revoke(key_id, by, application)
    if revoked is None:
        raise NotFoundError(_UNKNOWN)
    _log.info("api_key_revoked", key_id=key_id, application=revoked.application, by=by)
    context.directory.take_up()
    return revoked


def _check_name(key_id: str) -> None:
    if not is_key_id(key_id):
        raise NotFoundError(_UNKNOWN)


def _issue(
    context: Context, application: str, scopes: frozenset[Scope], networks: tuple[Network, ...], by: str
) -> Issued:
    secret = new_api_key()
    key = ApiKey(new_key_id(), application, api_key_hash(secret), scopes, networks)
    key = context.ledger.api_keys.add(key, by)
    _log.info(
        "api_key_issued",
        key_id=key.id,
        application=application,
        scopes=sorted(map(str, scopes)),
        networks=len(networks),
        by=by,
    )
    context.directory.take_up()
    return Issued(secret, key)
