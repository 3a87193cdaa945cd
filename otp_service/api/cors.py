"""CORS: the pages that may call and read answers (https://fetch.spec.whatwg.org/#http-cors-protocol).

The ``client_right`` of a route admits pages at all.
"""

from dataclasses import replace
from functools import partial

from otp_service.api.exchange import Exchange
from otp_service.api.routes import NO_CONTENT, Answer, Route
from otp_service.errors import ForbiddenError


def preflight_of(route: Route) -> Route:
    """Return the route for CORS preflights of a route."""
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
    # A preflight carries no token, so that any application's origin is allowed.
    origin = listed_origin(exchange, exchange.header("Origin"))
    share_with(exchange, origin)
    if origin is None:
        raise ForbiddenError("No application lists this origin.")
    exchange.headers |= {
        "Access-Control-Allow-Methods": method,
        "Access-Control-Allow-Headers": "Authorization, Content-Type, Idempotency-Key",
        "Access-Control-Max-Age": "600",  # seconds
    }
    return NO_CONTENT


def listed_origin(exchange: Exchange, origin: str | None) -> str | None:
    """Return the origin if an application lists it, else ``None``."""
    return origin if origin in exchange.context.access_cache.snapshot.browser_origins else None


def share_with(exchange: Exchange, origin: str | None) -> None:
    """Let only pages of an origin read the answer, also an error."""
    exchange.cors = {"Vary": "Origin"}
    if origin is not None:
        # The quota is absent, because it shows the application's traffic.
        exposed = "Retry-After, X-Request-Id"
        exchange.cors |= {"Access-Control-Allow-Origin": origin, "Access-Control-Expose-Headers": exposed}
