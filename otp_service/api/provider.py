"""Requests of providers, read as they were signed."""

from typing import Any
from urllib.parse import parse_qsl

from werkzeug.datastructures import EnvironHeaders
from werkzeug.exceptions import MethodNotAllowed

from otp_service.api.client_address import peer_of
from otp_service.api.exchange import Exchange
from otp_service.api.request import media_type_of, read_body

MAX_BODY = 64 * 1024
"""Bytes of a body; they are longer than what applications send."""
METHODS = ("GET", "POST")
"""How providers report; many small ones, and Kannel, by GET."""
_FORM = "application/x-www-form-urlencoded"


def require_method(exchange: Exchange) -> None:
    """Raise `MethodNotAllowed` for HEAD, which the framework allows wherever GET is: it must change nothing."""
    if exchange.method not in METHODS:
        raise MethodNotAllowed(METHODS)


def provider_request(exchange: Exchange, address: str, trusted_proxies: int) -> dict[str, Any]:
    """Return the members of the request as its sender signed it: under a public address, whatever a proxy made of it.

    Raises werkzeug's errors for a body that is too long, or broke off.
    """
    query = exchange.environ.get("QUERY_STRING", "")
    body = read_body(exchange, MAX_BODY)
    return {
        "method": exchange.method,
        "url": f"{address}?{query}" if query else address,
        "headers": {name.lower(): value for name, value in EnvironHeaders(exchange.environ).items()},
        "query": dict(parse_qsl(query, keep_blank_values=True)),
        "form": dict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True))
        if media_type_of(exchange) == _FORM
        else {},
        "body": body,
        "peer": peer_of(exchange, trusted_proxies) or "",
    }
