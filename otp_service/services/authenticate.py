"""Who calls: the API key, and the application that it belongs to."""

from collections.abc import Callable
from dataclasses import dataclass

from otp_service.domain.applications import ApiKey, Application
from otp_service.domain.keyring import api_key_hash
from otp_service.errors import UnauthenticatedError
from otp_service.ledger import database
from otp_service.services.context import Context


@dataclass(frozen=True, slots=True)
class Caller:
    """Who was authenticated."""

    key: ApiKey
    application: Application | None
    """``None`` for a key of operators."""


def authenticate(context: Context, api_key: str, address: Callable[[], str | None]) -> Caller:
    """Return who calls with an API key from an ``address``, asked for where it matters; note that the key is used.

    Raises `UnauthenticatedError`, the same for a key that is not known, is revoked, has ended, or may not be used from
    there. The look-up is by the key's SHA-256: how long it takes depends on digests that nobody can choose, so it tells
    nothing of a key.
    """
    entries, now = context.directory.entries, database.now()
    key = entries.keys.get(api_key_hash(api_key))
    if key is None or not key.is_valid(now) or (key.networks and not key.admits(address())):
        raise UnauthenticatedError("The API key is not known.")
    if key.id:
        context.key_uses.note(key.id, now)
    return Caller(key, entries.applications.get(key.application))
