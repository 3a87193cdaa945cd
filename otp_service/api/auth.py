"""Authentication of API keys and client tokens, and their rights.

A route's needs are declared beside its view: the scope of its `Resource`, and ``client_right`` for client tokens.
"""

from collections.abc import Mapping
from contextlib import suppress

from otp_service.api.cors import listed_origin, share_with
from otp_service.api.exchange import Exchange
from otp_service.api.requests import peer_address
from otp_service.domain.client_tokens import PREFIX
from otp_service.errors import ForbiddenError, NotFoundError, UnauthenticatedError
from otp_service.services.access import Caller, authenticate, authenticate_client

PROVIDER_PATHS = ("/v1/receipts/", "/v1/inbound/")
"""Paths that providers call; they authenticate in their own ways."""


def require_caller(exchange: Exchange, parts: Mapping[str, str]) -> None:
    """Authenticate a request below ``/v1/`` or a dialect's path, even of an unknown route, and check its rights.

    ``parts`` are the variables of the path. Raises `UnauthenticatedError`, always with the same text, and
    `ForbiddenError`.
    """
    is_preflight = exchange.method == "OPTIONS" and exchange.route is not None
    if not exchange.path.startswith("/v1/") or exchange.path.startswith(PROVIDER_PATHS) or is_preflight:
        if dialect := exchange.dialect:
            _require_key(exchange, dialect.authenticate(exchange.header("Authorization") or ""))
            if dialect.name not in exchange.application.dialects:
                raise NotFoundError("The dialects of the application do not list this one.")
        return
    scheme, _, text = (exchange.header("Authorization") or "").partition(" ")
    text = text.strip() if scheme.lower() == "bearer" else ""
    if text.startswith(PREFIX):
        _require_client(exchange, text, parts)
    else:
        _require_key(exchange, text)


def _require_key(exchange: Exchange, api_key: str) -> None:
    if api_key:
        with suppress(UnauthenticatedError):
            exchange.caller = authenticate(exchange.context, api_key, lambda: peer_address(exchange))
    if exchange.caller is None:
        raise UnauthenticatedError("This call needs a valid API key in the header: Authorization: Bearer KEY.")
    if exchange.route is not None:  # an unknown route gets its 404 later
        needed = exchange.route.resource.scope
        if needed not in exchange.caller.scopes:
            raise ForbiddenError(f"This API key lacks the scope {needed}.")


def _require_client(exchange: Exchange, text: str, parts: Mapping[str, str]) -> None:
    origin = exchange.header("Origin")
    share_with(exchange, listed_origin(exchange, origin))  # a page may read that its token is not valid
    application, token = authenticate_client(exchange.context, text)
    exchange.caller = Caller(None, application, token)
    share_with(exchange, token.origin)
    if origin is not None and origin != token.origin:
        raise ForbiddenError("This client token may not be used from this origin.")
    if exchange.route is None:  # it gets its 404 later
        return
    if exchange.route.client_right not in token.rights:
        raise ForbiddenError("This client token does not allow that.")
    if parts["verification_id"] != token.verification_id:
        raise ForbiddenError("This client token belongs to another verification.")
