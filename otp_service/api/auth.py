"""Bearer keys: who calls, and what the caller may."""

from otp_service.api.exchange import Exchange
from otp_service.api.requests import peer_address
from otp_service.errors import ForbiddenError, UnauthenticatedError
from otp_service.services.access import Caller, authenticate

PROVIDER_PATHS = ("/v1/receipts/", "/v1/inbound/")
"""Paths that providers call; they authenticate in their own ways."""

_PROTECTED = "/v1/"
_KEY_NEEDED = "This call needs a valid API key in the header: Authorization: Bearer KEY."


def require_caller(exchange: Exchange) -> None:
    """Authenticate whatever is below ``/v1/``, known or not, and look whether the key's scopes are those of the route.

    Raises `UnauthenticatedError`, every time in the same words, and `ForbiddenError`.
    """
    path = exchange.path
    if path.startswith(_PROTECTED) and not path.startswith(PROVIDER_PATHS):
        exchange.caller = _authenticate(exchange)
        if exchange.route is not None:  # no such call: what follows is a refusal
            needed = exchange.route.resource.scope
            if needed not in exchange.caller.key.scopes:
                raise ForbiddenError(f"This API key may not be used for that: it lacks the scope {needed}.")


def _authenticate(exchange: Exchange) -> Caller:
    scheme, _, key = (exchange.header("Authorization") or "").partition(" ")
    if scheme.lower() == "bearer":
        try:
            return authenticate(exchange.context, key.strip(), lambda: peer_address(exchange))
        except UnauthenticatedError:
            pass
    raise UnauthenticatedError(_KEY_NEEDED)
