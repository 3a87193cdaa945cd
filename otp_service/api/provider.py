"""Requests of providers, read as they were signed."""

from typing import Any
from urllib.parse import parse_qsl

from flask import request
from werkzeug.exceptions import MethodNotAllowed

from otp_service.api.client_address import peer_of
from otp_service.api.request import read_body

MAX_BODY = 64 * 1024
"""Bytes of a body; they are longer than what applications send."""
METHODS = ("GET", "POST")
"""How providers report; many small ones, and Kannel, by GET."""
_FORM = "application/x-www-form-urlencoded"


def require_method() -> None:
    """Raise `MethodNotAllowed` for HEAD, which the framework allows wherever GET is: it must change nothing."""
    if request.method not in METHODS:
        raise MethodNotAllowed(METHODS)


def provider_request(address: str, trusted_proxies: int) -> dict[str, Any]:
    """Return the members of the request as its sender signed it: under a public address, whatever a proxy made of it.

    Raises werkzeug's errors for a body that is too long, or broke off.
    """
    query = request.query_string.decode("latin-1")
    body = read_body(MAX_BODY)
    return {
        "method": request.method,
        "url": f"{address}?{query}" if query else address,
        "headers": {name.lower(): value for name, value in request.headers.items()},
        "query": dict(parse_qsl(query, keep_blank_values=True)),
        "form": dict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True))
        if request.mimetype == _FORM
        else {},
        "body": body,
        "peer": peer_of(request, trusted_proxies) or "",
    }
