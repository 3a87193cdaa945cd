"""Calls with a client token: from which pages, for which verification, and what browsers are told of it (CORS).

The words are those of the Fetch standard (https://fetch.spec.whatwg.org/#http-cors-protocol).
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from otp_service.api.exchange import Exchange
from otp_service.api.routes import Answer, Route
from otp_service.domain.browsers import ClientToken
from otp_service.errors import ForbiddenError
from otp_service.services.access import Caller, authenticate_client

_EXPOSED = "Retry-After, X-Request-Id"
"""Headers of an answer that pages may read. The application's quota is not among them: it tells of its traffic."""
_ALLOWED = "Authorization, Content-Type, Idempotency-Key"
_PREFLIGHT_LIFE = 600
"""Seconds for which browsers may keep the answer to a preflight."""


def require_client(exchange: Exchange, text: str, parts: Mapping[str, str]) -> None:
    """Authenticate a client token, and look whether it is for this page, this call and this verification.

    ``parts`` are those of the path. Raises `UnauthenticatedError`, every time in the same words, and `ForbiddenError`.
    """
    origin = exchange.header("Origin")
    _share(exchange, _listed(exchange, origin))  # so that a page can read that its token is not valid
    application, token = authenticate_client(exchange.context, text)
    exchange.caller = Caller(None, application, token)
    _share(exchange, token.origin)
    if origin is not None and origin != token.origin:
        raise ForbiddenError("This client token may not be used from this origin.")
    if exchange.route is not None:  # no such call: what follows is a refusal
        _require_right(token, exchange.route, parts)


def _require_right(token: ClientToken, route: Route, parts: Mapping[str, str]) -> None:
    if route.client_right not in token.rights:
        raise ForbiddenError("This client token does not allow that.")
    if parts["verification_id"] != token.verification_id:
        raise ForbiddenError("This client token is of another verification.")


def preflight_of(route: Route) -> Route:
    """Return the route by which browsers ask whether a page may make a call of another route."""
    return replace(
        route,
        method="OPTIONS",
        view=partial(_answer_preflight, route.method),
        name=f"{route.name}Preflight",
        endpoint=f"{route.resource.name}.preflight",
        answers={},
        problems=(),
        body=None,
        may_be_empty=False,
        retries=False,
    )


def _answer_preflight(method: str, exchange: Exchange, **_: str) -> Answer:
    """Answer a page of any application's origin: a preflight carries no token."""
    origin = _listed(exchange, exchange.header("Origin"))
    _share(exchange, origin)
    if origin is None:
        raise ForbiddenError("No application lists this origin.")
    exchange.headers |= {
        "Access-Control-Allow-Methods": method,
        "Access-Control-Allow-Headers": _ALLOWED,
        "Access-Control-Max-Age": str(_PREFLIGHT_LIFE),
    }
    return Answer(b"", 204, None)


def _listed(exchange: Exchange, origin: str | None) -> str | None:
    """Return an origin that some application lists; ``None`` for any other."""
    return origin if origin in exchange.context.access_cache.snapshot.browser_origins else None


def _share(exchange: Exchange, origin: str | None) -> None:
    """Let pages of an origin, and no others, read the answer, whatever it will be."""
    exchange.cors = {"Vary": "Origin"}
    if origin is not None:
        exchange.cors |= {"Access-Control-Allow-Origin": origin, "Access-Control-Expose-Headers": _EXPOSED}
