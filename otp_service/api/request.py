"""Reading requests strictly: what is not understood completely is refused, and never echoed."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn, TypeVar
from urllib.parse import parse_qs
from wsgiref.types import WSGIEnvironment

from pydantic import BaseModel, ValidationError
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge, UnsupportedMediaType
from werkzeug.http import parse_options_header
from werkzeug.wsgi import get_content_length, get_input_stream

from otp_service.api.exchange import JSON, Exchange
from otp_service.api.patterns import FAULTS
from otp_service.errors import Fault, InvalidRequestError

MAX_BODY = 8 * 1024
"""Bytes of a JSON body."""
MAX_FAULTS = 20
"""Defects told at once."""

_WHOLE = ""
"""JSON pointer of the whole body; also used for what is wrong outside of it."""
_NAME = re.compile(r"(?!.*[0-9]{4})[A-Za-z_][A-Za-z0-9_-]{0,39}")
"""Members whose names may be told. Any other name is input like a value, and may be a number or a code."""
_HOST = re.compile(r"(?:[\w.~%-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?", re.ASCII)
"""What names a host (RFC 3986, section 3.2), without the marks that no name of the DNS has."""
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
"""Sentences by pydantic's types of errors; their placeholders are constraints, or sentences of our own validators, and
never what was given."""

Model = TypeVar("Model", bound=BaseModel)


class _DuplicateMemberError(ValueError):
    """An object names a member twice: readers would disagree about which one counts."""


def read_json(exchange: Exchange, *, may_be_empty: bool = False) -> dict[str, Any]:
    """Return the body, a JSON object in UTF-8 (RFC 8259) of at most `MAX_BODY` bytes.

    Where a body ``may_be_empty``, none at all means ``{}``. Raises `InvalidRequestError`, and werkzeug's errors
    for 413 and 415.
    """
    # A body that was announced in chunks and is empty here broke off: servers do not tell.
    if may_be_empty and not _announced(exchange) and exchange.header("Transfer-Encoding") is None:
        return {}
    if media_type_of(exchange) != JSON:
        raise UnsupportedMediaType
    document = _parse(read_body(exchange, MAX_BODY))
    if not isinstance(document, dict):
        _refuse("The body is not a JSON object.", Fault(_WHOLE, "is not an object"))
    return document


def read_body(exchange: Exchange, limit: int) -> bytes:
    """Return the whole body; raise werkzeug's errors when it has more than ``limit`` bytes, or broke off.

    A ``Content-Length`` that is too large is refused, but a body in chunks is cut off at the limit, in silence: so that
    limit is one more than ours. Nor is it told when less came than was announced.
    """
    body = get_input_stream(exchange.environ, max_content_length=limit + 1).read()
    if len(body) > limit:
        raise RequestEntityTooLarge
    if len(body) < _announced(exchange):
        raise BadRequest
    return bytes(body)


def media_type_of(exchange: Exchange) -> str:
    """Return what the body is said to be, such as ``application/json``; nothing for JSON that is not in UTF-8."""
    given = str(exchange.environ.get("CONTENT_TYPE", ""))
    if given == JSON:  # as nearly everybody says it
        return JSON
    media_type, parameters = parse_options_header(given)
    if media_type.lower() == JSON and parameters.get("charset", "utf-8").lower() != "utf-8":
        return ""
    return media_type.lower()


def validated(model: type[Model], document: dict[str, Any]) -> Model:
    """Return the body as a model; raise `InvalidRequestError` with every defect and none of the values."""
    try:
        return model.model_validate(document)
    except ValidationError as invalid:
        faults = tuple(_faults(invalid))[:MAX_FAULTS]
    raise InvalidRequestError("The body does not have the form that this call expects.", faults)


def query_of(exchange: Exchange, *known: str) -> dict[str, str]:
    """Return the query parameters; raise `InvalidRequestError` for an unknown one and for one given twice."""
    given = parse_qs(exchange.environ.get("QUERY_STRING", ""), keep_blank_values=True)
    if not set(known).issuperset(given):
        _refuse("The query has an unknown parameter.", Fault(_WHOLE, "the query has an unknown parameter"))
    if any(len(values) > 1 for values in given.values()):
        _refuse("A query parameter is given twice.", Fault(_WHOLE, "a query parameter is given twice"))
    return {name: value for name, (value,) in given.items()}


def host_of(environ: WSGIEnvironment) -> str | None:
    """Return the host that a request is for, and maybe a port; ``None`` where it names none, or more than one.

    HTTP/1.1 demands it (RFC 9112, section 3.2).
    """
    host = str(environ.get("HTTP_HOST", ""))  # of two the server makes one with a comma
    return host if _HOST.fullmatch(host) else None


def refuse_query(exchange: Exchange) -> None:
    """Raise `InvalidRequestError` when there is any query parameter; for calls that have none."""
    if exchange.environ.get("QUERY_STRING"):
        query_of(exchange)


def _announced(exchange: Exchange) -> int:
    """Return the length that a body is said to have, 0 where none is said."""
    return get_content_length(exchange.environ) or 0


def _parse(body: bytes) -> Any:  # noqa: ANN401 - whatever JSON holds
    try:
        text = body.decode()
        document = json.loads(text, object_pairs_hook=_object, parse_constant=_constant)
        if _SURROGATE.search(text):
            json.dumps(document, ensure_ascii=False).encode()
    except _DuplicateMemberError:
        _refuse("A member is named twice.", Fault(_WHOLE, "names a member twice"))
    except (ValueError, RecursionError):
        _refuse("The body is not valid JSON.", Fault(_WHOLE, "is not valid JSON in UTF-8"))
    return document


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise _DuplicateMemberError
    return members


def _constant(_: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON")


def _refuse(message: str, fault: Fault) -> NoReturn:
    # From nothing: the causes of these errors hold what was given.
    raise InvalidRequestError(message, (fault,)) from None


def _faults(invalid: ValidationError) -> Iterator[Fault]:
    for error in invalid.errors(include_url=False, include_input=False):
        pointer, complete = _pointer(error["loc"])
        message = _message(error["type"], error.get("ctx", {}))
        yield Fault(pointer, message if complete else f"has a member that {message}")


def _message(kind: str, constraints: Mapping[str, Any]) -> str:
    """Return what is said of a defect, by pydantic's type of it and the constraints that were not kept."""
    spoken = FAULTS.get(constraints.get("pattern", ""))
    return spoken or _MESSAGES.get(kind, "is not acceptable").format_map(constraints)


def _pointer(location: tuple[int | str, ...]) -> tuple[str, bool]:
    """Return the JSON pointer (RFC 6901) as far as its names may be told, and whether that is all of it."""
    pointer = ""
    for step in location:
        if step == "[key]":  # pydantic's mark for a member's name instead of its value
            continue
        if isinstance(step, str) and not _NAME.fullmatch(step):  # a number is a place in a list
            return pointer, False
        pointer += f"/{step}"
    return pointer, True
