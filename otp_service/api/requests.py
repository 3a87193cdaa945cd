"""Read requests: bodies, retries, client addresses."""

import ipaddress
import json
import re
from collections.abc import Collection, Mapping
from typing import Any, NoReturn, TypeVar
from urllib.parse import parse_qs, parse_qsl
from wsgiref.types import WSGIEnvironment

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from werkzeug.datastructures import EnvironHeaders
from werkzeug.exceptions import BadRequest, MethodNotAllowed, RequestEntityTooLarge, UnsupportedMediaType
from werkzeug.http import parse_options_header
from werkzeug.wsgi import get_content_length, get_input_stream

from otp_service.api.exchange import Exchange
from otp_service.api.routes import JSON, Route
from otp_service.api.schemas import FAULTS, Body, NumberBody, parse_timestamp
from otp_service.domain.keyring import IdempotentRequest, idempotent_request
from otp_service.domain.numbers import SubjectKey, destination_of, subject_key
from otp_service.errors import Fault, InvalidRequestError

MAX_BODY = 8 * 1024
"""Bytes of a JSON body."""
MAX_FAULTS = 20
"""Defects listed at once."""
_NAME = re.compile(r"(?!.*[0-9]{4})[A-Za-z_][A-Za-z0-9_-]{0,39}")
"""Names of members that may be shown. Any other name may be a number or a code, as a value may."""
_HOST = re.compile(r"(?:[\w.~%-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?", re.ASCII)
"""A host (RFC 3986, section 3.2), without marks that no DNS name has."""
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_MESSAGES = {
    "missing": "is missing",
    "extra_forbidden": "is not known",
    "string_type": "is not a string",
    "dict_type": "is not an object",
    "model_type": "is not an object",
    "literal_error": "is not {expected}",
    "string_too_short": "has fewer than {min_length} characters",
    "string_too_long": "has more than {max_length} characters",
    "string_pattern_mismatch": "does not have the form {pattern}",
    "tuple_type": "is not a list",
    "list_type": "is not a list",
    "too_short": "has fewer than {min_length} members",
    "too_long": "has more than {max_length} members",
    "int_type": "is not a whole number",
    "greater_than_equal": "is less than {ge}",
    "less_than_equal": "is more than {le}",
    "enum": "is not {expected}",
    "value_error": "{error}",
}
"""Sentences by pydantic's types of errors. Placeholders are constraints or our validators' sentences, never input."""
_FEW_BYTES = re.compile("[1-9][0-9]{0,8}")
Model = TypeVar("Model", bound=Body)


class _DuplicateMemberError(ValueError):
    """An object has a member twice; parsers disagree on which value counts."""


def read_json(exchange: Exchange, *, may_be_empty: bool = False) -> dict[str, Any]:
    """Return the body, a JSON object in UTF-8 (RFC 8259) of at most `MAX_BODY` bytes.

    With ``may_be_empty``, a missing body means ``{}``. Raises `InvalidRequestError`, and werkzeug's errors for 413 and
    415.
    """
    # An empty body that was announced in chunks was truncated: servers do not report it.
    if may_be_empty and not get_content_length(exchange.environ) and exchange.header("Transfer-Encoding") is None:
        return {}
    if media_type_of(exchange) != JSON:
        raise UnsupportedMediaType
    body = read_body(exchange, MAX_BODY)
    try:
        text = body.decode()
        document = _decode(text)
        if _SURROGATE.search(text):
            json.dumps(document, ensure_ascii=False).encode()
    except _DuplicateMemberError:
        _refuse("A member is named twice.", "names a member twice")
    except (ValueError, RecursionError):
        _refuse("The body is not valid JSON.", "is not valid JSON in UTF-8")
    if not isinstance(document, dict):
        _refuse("The body is not a JSON object.", "is not an object")
    return document


def read_body(exchange: Exchange, limit: int) -> bytes:
    """Return the body; raise werkzeug's errors when it has more than ``limit`` bytes, or is truncated.

    Werkzeug refuses a ``Content-Length`` that is too large, but silently truncates a body in chunks, so its limit is a
    byte more here. It does not report a truncated body either.
    """
    environ = exchange.environ
    length = environ.get("CONTENT_LENGTH") or ""
    if _FEW_BYTES.fullmatch(length) and "HTTP_TRANSFER_ENCODING" not in environ and int(length) <= limit:  # faster
        whole = environ["wsgi.input"].read(int(length))
        if len(whole) < int(length):
            raise BadRequest
        return bytes(whole)
    body = get_input_stream(environ, max_content_length=limit + 1).read()
    if len(body) > limit:
        raise RequestEntityTooLarge
    if len(body) < (get_content_length(environ) or 0):
        raise BadRequest
    return bytes(body)


def media_type_of(exchange: Exchange) -> str:
    """Return the media type, such as ``application/json``; empty for JSON that is not in UTF-8."""
    header = str(exchange.environ.get("CONTENT_TYPE", ""))
    if header == JSON:  # the usual spelling
        return JSON
    media_type, parameters = parse_options_header(header)
    if media_type.lower() == JSON and parameters.get("charset", "utf-8").lower() != "utf-8":
        return ""
    return media_type.lower()


def validate_body(model: type[Model], document: dict[str, Any]) -> Model:
    """Return the body as a model; raise `InvalidRequestError` with every defect and none of the values."""
    try:
        return model.model_validate(document)
    except ValidationError as invalid:
        errors = invalid.errors(include_url=False, include_input=False)[:MAX_FAULTS]
    raise InvalidRequestError("The body has invalid members.", tuple(map(_fault, errors)))


def read_query(exchange: Exchange, *known: str) -> dict[str, str]:
    """Return the query parameters; raise `InvalidRequestError` for unknown or repeated ones."""
    return {name: values[0] for name, values in read_query_lists(exchange, *known).items()}


def read_query_lists(exchange: Exchange, *known: str, repeated: Collection[str] = ()) -> dict[str, list[str]]:
    """Return the values of the query parameters; only those in ``repeated`` may occur more than once."""
    parameters = parse_qs(exchange.environ.get("QUERY_STRING", ""), keep_blank_values=True)
    if not {*known, *repeated}.issuperset(parameters):
        _refuse("The query has an unknown parameter.", "the query has an unknown parameter")
    if any(len(values) > 1 for name, values in parameters.items() if name not in repeated):
        _refuse("A query parameter is given twice.", "a query parameter is given twice")
    return parameters


def read_moment(parameters: Mapping[str, str], name: str) -> int | None:
    """Return a query parameter with a time, in milliseconds; raise `InvalidRequestError` for anything else."""
    try:
        return parse_timestamp(parameters[name]) if name in parameters else None
    except ValueError as malformed:
        _refuse(f"The parameter {name} {malformed}.", f"{name} {malformed}")


def host_of(environ: WSGIEnvironment) -> str | None:
    """Return the header Host; ``None`` if it is missing, malformed or repeated.

    HTTP/1.1 requires it (RFC 9112, section 3.2).
    """
    host = str(environ.get("HTTP_HOST", ""))  # the server joins two headers by a comma
    return host if _HOST.fullmatch(host) else None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise _DuplicateMemberError
    return members


def _constant(_: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON")


_decode = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant).decode


def _refuse(message: str, fault: str) -> NoReturn:
    # Without the cause, which contains the refused value. The empty pointer is the whole body, or all outside it.
    raise InvalidRequestError(message, (Fault("", fault),)) from None


def _fault(error: ErrorDetails) -> Fault:
    """Return a defect at its JSON pointer (RFC 6901), as far as its names may be shown."""
    constraints: Mapping[str, Any] = error.get("ctx", {})
    message = FAULTS.get(constraints.get("pattern", ""))
    message = message or _MESSAGES.get(error["type"], "is not acceptable").format_map(constraints)
    pointer = ""
    for step in error["loc"]:
        if step == "[key]":  # pydantic's mark for a member's name instead of its value
            continue
        if isinstance(step, str) and not _NAME.fullmatch(step):  # a number is a place in a list
            return Fault(pointer, f"has a member that {message}")
        pointer += f"/{step}"
    return Fault(pointer, message)


def peer_address(exchange: Exchange) -> str | None:
    """Return the address that the outermost trusted proxy saw, ``None`` when there is none (a Unix socket).

    Each trusted proxy appends the address that it saw to ``X-Forwarded-For``; so the end user's is exactly
    ``http.trusted_proxies`` hops from the right, whatever a caller wrote further left. With no proxy trusted, with
    fewer hops than proxies, or a hop that is no address, it is the connection's own peer: a request is then
    counted for the proxy, and never goes uncounted. ``Forwarded`` and ``X-Real-IP`` are ignored. A WSGI server cannot
    distinguish ``X_Forwarded_For``: the proxies have to drop it.
    """
    trusted_proxies = exchange.settings.http.trusted_proxies
    if trusted_proxies:
        trusted = hops(exchange)[-trusted_proxies:]
        if len(trusted) == trusted_proxies and all(map(_address, trusted)):
            return trusted[0]
    return _address(exchange.environ.get("REMOTE_ADDR") or "")


def hops(exchange: Exchange) -> list[str]:
    """Return the hops from left to right; a repeated header is one list (RFC 9110, 5.3)."""
    joined = exchange.header("X-Forwarded-For")
    return [hop.strip() for hop in joined.split(",")] if joined else []


def _address(text: str) -> str | None:
    """Return an address without its zone, which names an interface of this host; ``None`` for other text."""
    address, _, _ = text.partition("%")
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return None
    return address


MAX_SHARED_BODY = 3 * 1024 * 1024
"""Bytes of a body that reports on several messages: Meta's have up to 3 MB, and come again for days when refused."""
METHODS = ("GET", "POST")
"""Methods of providers; many small ones, and Kannel, report by GET."""
_FORM = "application/x-www-form-urlencoded"


def read_form(exchange: Exchange) -> list[tuple[str, str]]:
    """Return the fields of an HTML form that are not empty, none for any other body; raises as `read_body`."""
    body = read_body(exchange, MAX_BODY)
    return parse_qsl(body.decode(errors="replace")) if media_type_of(exchange) == _FORM else []


def require_method(exchange: Exchange) -> None:
    """Raise `MethodNotAllowed` for HEAD, which Flask allows wherever GET is: it must change nothing."""
    if exchange.method not in METHODS:
        raise MethodNotAllowed(METHODS)


def provider_request(exchange: Exchange, address: str, limit: int = 64 * 1024) -> dict[str, Any]:
    """Return the members of a provider's request, with the signed public ``address``; raises as `read_body`.

    A provider's body may be longer than an application's.
    """
    query = exchange.environ.get("QUERY_STRING", "")
    body = read_body(exchange, limit)
    is_form = media_type_of(exchange) == _FORM
    return {
        "method": exchange.method,
        "url": f"{address}?{query}" if query else address,
        "headers": {name.lower(): value for name, value in EnvironHeaders(exchange.environ).items()},
        "query": dict(parse_qsl(query, keep_blank_values=True)),
        "form": dict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True)) if is_form else {},
        "body": body,
        "peer": peer_address(exchange) or "",
    }


def read_idempotency_key(
    exchange: Exchange, route: Route, parts: Mapping[str, str], document: object
) -> IdempotentRequest | None:
    """Return the ``Idempotency-Key`` bound to path and body, ``None`` without it; raises `InvalidRequestError`."""
    header = exchange.header("Idempotency-Key")
    if header is None:
        return None
    operation = " ".join((route.endpoint, *parts.values()))
    token = exchange.client_token
    owner = token.verification_id if token else exchange.application.name  # a page must not take its back end's keys
    return idempotent_request(exchange.context.keyring, owner, operation, header, document)


def read_number(exchange: Exchange, body: NumberBody) -> SubjectKey:
    """Return the number of a body; raise `UnacceptableError` if it is not a phone number."""
    return subject_key(exchange.context.keyring, destination_of(exchange.application, body.to, body.region))
