"""Bearer keys and tokens: who calls, and what the caller may."""

from collections.abc import Mapping

from otp_service.api.client_tokens import require_client
from otp_service.api.exchange import Exchange
from otp_service.api.requests import peer_address
from otp_service.domain.browsers import PREFIX
from otp_service.errors import ForbiddenError, UnauthenticatedError
from otp_service.services.access import Caller, authenticate

PROVIDER_PATHS = ("/v1/receipts/", "/v1/inbound/")
"""Paths that providers call; they authenticate in their own ways."""

_PROTECTED = "/v1/"
_KEY_NEEDED = "This call needs a valid API key in the header: Authorization: Bearer KEY."


def require_caller(exchange: Exchange, parts: Mapping[str, str]) -> None:
    """Authenticate whatever is below ``/v1/``, known or not, and look whether the caller may make this call.

    ``parts`` are those of the path. Raises `UnauthenticatedError`, every time in the same words, and `ForbiddenError`.
    """
    if not _is_protected(exchange):
        return
    scheme, _, text = (exchange.header("Authorization") or "").partition(" ")
    text = text.strip() if scheme.lower() == "bearer" else ""
    if text.startswith(PREFIX):
        require_client(exchange, text, parts)
    else:
        _require_key(exchange, text)


def _is_protected(exchange: Exchange) -> bool:
    path = exchange.path
    is_preflight = exchange.method == "OPTIONS" and exchange.route is not None
    return path.startswith(_PROTECTED) and not path.startswith(PROVIDER_PATHS) and not is_preflight


def _require_key(exchange: Exchange, api_key: str) -> None:
    exchange.caller = _authenticate(exchange, api_key)
    if exchange.route is not None:  # no such call: what follows is a refusal
        needed = exchange.route.resource.scope
        if needed not in exchange.caller.scopes:
            raise ForbiddenError(f"This API key may not be used for that: it lacks the scope {needed}.")


def _authenticate(exchange: Exchange, api_key: str) -> Caller:
    if api_key:
        try:
            return authenticate(exchange.context, api_key, lambda: peer_address(exchange))
        except UnauthenticatedError:
            pass
    raise UnauthenticatedError(_KEY_NEEDED)
