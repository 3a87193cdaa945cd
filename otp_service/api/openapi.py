"""The specification (OpenAPI 3.1), built from the models that validate and the types that answer."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import TypeAdapter

from otp_service import __version__
from otp_service.api.auth import scope_of
from otp_service.api.catalogue import CALLS, Call, Schema, Success
from otp_service.api.errors import KINDS, PROBLEM, PROBLEM_JSON

_DESCRIPTION = """\
Proves that a person holds a phone number: sends a short-lived code, checks the answer once.

Authenticate with `Authorization: Bearer KEY`. A key has scopes, and each call needs one of them: `verify`, `consent`,
`subjects`, or `admin`, which only keys of operators have. Bodies are JSON of at most 8 KiB; unknown and duplicate
members are refused. Times are RFC 3339 in UTC. Errors are problem details (RFC 9457): go by `code`. Every answer has an
`X-Request-Id`, which the operator finds in the log.
"""
_REQUEST_ID = {"description": "Names this request in the service's log.", "schema": {"type": "string"}}
_RETRY_AFTER = {"description": "Seconds to wait; equal to `retry_after`.", "schema": {"type": "integer"}}
_CHALLENGE = {"description": "`Bearer`.", "schema": {"type": "string"}}
_WORTH_WAITING = {429, 503}
_ANYTHING: dict[str, Any] = {"*/*": {"schema": {}}}

Specification = dict[str, Any]
_Mode = Literal["validation", "serialization"]
_References = Mapping[tuple[int, _Mode], Schema]


def specification(*, with_metrics: bool) -> Specification:
    """Return the specification; ``with_metrics``: ``/metrics`` is served on this port."""
    calls = [call for call in CALLS if with_metrics or call.path != "/metrics"]
    references, components = _schemas(calls)
    paths: dict[str, Any] = {}
    for call in calls:
        paths.setdefault(call.path, {})[call.method] = _operation(call, references)
    return {
        "openapi": "3.1.0",
        "info": {"title": "otp-service", "version": __version__, "description": _DESCRIPTION},
        "servers": [{"url": "/"}],
        "tags": [{"name": section} for section in dict.fromkeys(call.section for call in calls)],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"apiKey": {"type": "http", "scheme": "bearer", "description": "An API key."}},
        },
    }


def _schemas(calls: Iterable[Call]) -> tuple[_References, dict[str, Any]]:
    """Return what refers to each type, by the type's identity, and the definitions of all."""
    answers = {success.answer for call in calls for success in call.successes if success.answer}
    bodies = {call.body for call in calls if call.body}
    inputs: list[tuple[int, _Mode, TypeAdapter[Any]]] = [
        *((id(adapter), "serialization", adapter) for adapter in (PROBLEM, *answers)),
        *((id(body), "validation", TypeAdapter(body)) for body in bodies),
    ]
    references, definitions = TypeAdapter.json_schemas(inputs, ref_template="#/components/schemas/{model}")
    return references, dict(sorted(definitions["$defs"].items()))


def _operation(call: Call, references: _References) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": call.name,
        "summary": call.summary,
        "description": call.description,
        "tags": [call.section],
        "responses": _responses(call, references),
    }
    if call.parameters:
        operation["parameters"] = list(call.parameters)
    if call.body:
        schema = references[id(call.body), "validation"]
        content = {"application/json": {"schema": schema}}
        operation["requestBody"] = {"required": call.body_required, "content": content}
    if call.any_body:
        operation["requestBody"] = {"required": False, "content": _ANYTHING}
    if call.authenticated:
        operation["security"] = [{"apiKey": [scope_of(call.path)]}]
    return operation


def _responses(call: Call, references: _References) -> dict[str, Any]:
    responses = {str(success.status): _success(success, references) for success in call.successes}
    by_status: dict[int, list[str]] = {}
    for code in call.problems:
        by_status.setdefault(KINDS[code].status, []).append(code)
    for status, codes in by_status.items():
        responses[str(status)] = _problem(status, codes, references)
    return dict(sorted(responses.items()))


def _success(success: Success, references: _References) -> dict[str, Any]:
    headers = {
        name: {"description": text, "schema": {"type": "string"}} for name, text in (success.headers or {}).items()
    }
    response: dict[str, Any] = {
        "description": success.description,
        "headers": {"X-Request-Id": _REQUEST_ID, **headers},
    }
    if success.media_type:
        schema = references[id(success.answer), "serialization"] if success.answer else {"type": "string"}
        response["content"] = {success.media_type: {"schema": schema}}
    return response


def _problem(status: int, codes: list[str], references: _References) -> dict[str, Any]:
    headers: dict[str, Any] = {"X-Request-Id": _REQUEST_ID}
    if status in _WORTH_WAITING:
        headers["Retry-After"] = _RETRY_AFTER
    if status == KINDS["unauthenticated"].status:
        headers["WWW-Authenticate"] = _CHALLENGE
    return {
        "description": "\n\n".join(f"`{code}`: {KINDS[code].title}." for code in codes),
        "headers": headers,
        "content": {PROBLEM_JSON: {"schema": references[id(PROBLEM), "serialization"]}},
    }
