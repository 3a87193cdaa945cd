"""What browsers are told: which pages may call, and read answers (CORS).

The words are those of the Fetch standard (https://fetch.spec.whatwg.org/#http-cors-protocol). Which calls pages may
make at all stands beside their views: ``client_right``.
"""

from dataclasses import replace
from functools import partial

from otp_service.api.exchange import Exchange
from otp_service.api.routes import Answer, Route
from otp_service.errors import ForbiddenError

_EXPOSED = "Retry-After, X-Request-Id"
"""Headers of an answer that pages may read. The application's quota is not among them: it tells of its traffic."""
_ALLOWED = "Authorization, Content-Type, Idempotency-Key"
_PREFLIGHT_LIFE = 600
"""Seconds for which browsers may keep the answer to a preflight."""


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
    origin = listed_origin(exchange, exchange.header("Origin"))
    share_with(exchange, origin)
    if origin is None:
        raise ForbiddenError("No application lists this origin.")
    exchange.headers |= {
        "Access-Control-Allow-Methods": method,
        "Access-Control-Allow-Headers": _ALLOWED,
        "Access-Control-Max-Age": str(_PREFLIGHT_LIFE),
    }
    return Answer(b"", 204, None)


def listed_origin(exchange: Exchange, origin: str | None) -> str | None:
    """Return an origin that some application lists; ``None`` for any other."""
    return origin if origin in exchange.context.access_cache.snapshot.browser_origins else None


def share_with(exchange: Exchange, origin: str | None) -> None:
    """Let pages of an origin, and no others, read the answer, whatever it will be."""
    exchange.cors = {"Vary": "Origin"}
    if origin is not None:
        exchange.cors |= {"Access-Control-Allow-Origin": origin, "Access-Control-Expose-Headers": _EXPOSED}
