"""The OpenAPI document, and the pages of documentation made of it."""

import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal
from urllib.parse import urlsplit

from flask import Blueprint, Response, request
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from pydantic import TypeAdapter

from otp_service import __version__
from otp_service.api.admin import ADMIN_CALLS
from otp_service.api.auth import scope_of
from otp_service.api.errors import KINDS, PROBLEM, PROBLEM_JSON
from otp_service.api.exchange import JSON
from otp_service.api.gateways import PROVIDER_CALLS
from otp_service.api.operation import Call, Schema, Success
from otp_service.api.operations import OPERATION_CALLS
from otp_service.api.people import PEOPLE_CALLS
from otp_service.api.requests import host_of
from otp_service.api.verifications import SANDBOX_CALLS, VERIFICATION_CALLS
from otp_service.bootstrap import Installation
from otp_service.errors import NotFoundError

CALLS = (
    *VERIFICATION_CALLS,
    *PEOPLE_CALLS,
    *SANDBOX_CALLS,
    *PROVIDER_CALLS,
    *ADMIN_CALLS,
    *OPERATION_CALLS,
)


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
        responses[str(status)] = _problem_answer(status, codes, references)
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


def _problem_answer(status: int, codes: list[str], references: _References) -> dict[str, Any]:
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


CONTENT_POLICY = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
"""Of the page: its own style sheet and nothing else, no script at all."""

_LOCAL = "http://127.0.0.1:8080"
_ADDRESS = "@address@"
"""Stands in the page, which is made once, for the address that it is asked at."""
_LINK = re.compile(r"\[([^\]]+)\]\([^)]+\)")
_SHOWN = 10
"""Values of an enumeration that a table lists."""
_CODE = re.compile(r"`+([^`]+)`+")


def docs_blueprint(installation: Installation) -> Blueprint:
    """Return the routes; what they answer is made once, for whoever asks first: most processes are never asked."""
    with_metrics = installation.settings.http.metrics_on_same_port

    def specification_response() -> Response:
        return Response(_made(with_metrics=with_metrics)[0], mimetype=JSON)

    def page_response() -> Response:
        address = _address(installation.settings.http.public_url)
        return _html(_made(with_metrics=with_metrics)[1].replace(_ADDRESS, escape(address)))

    style = resources.files(__package__).joinpath("templates/docs.css").read_bytes()
    routes = Blueprint("docs", __name__)
    routes.add_url_rule("/openapi.json", "specification", specification_response, methods=["GET"])
    routes.add_url_rule("/docs", "page", page_response, methods=["GET"])
    routes.add_url_rule("/problems/<problem>", "problem", lambda problem: _html(_problem(problem)), methods=["GET"])
    routes.add_url_rule("/docs/style.css", "style", lambda: Response(style, mimetype="text/css"), methods=["GET"])
    return routes


def _html(text: str) -> Response:
    return Response(text, mimetype="text/html", headers={"Content-Security-Policy": CONTENT_POLICY})


def _address(public_url: str | None) -> str:
    """Return the address that this page was asked at, as far as it is known: what is in front may have its own."""
    host = host_of(request.environ)
    if host is None:
        return _LOCAL
    if public_url and urlsplit(public_url).netloc == host:
        return public_url.rstrip("/")
    secure = request.headers.get("X-Forwarded-Proto") == "https" or request.is_secure
    return f"{'https' if secure else 'http'}://{host}"


@cache
def _made(*, with_metrics: bool) -> tuple[bytes, str]:
    """Return the specification, and the page, in which the address is still missing."""
    spec = specification(with_metrics=with_metrics)
    return json.dumps(spec, ensure_ascii=False).encode(), page(spec)


@cache
def _words() -> Mapping[str, Mapping[str, str]]:
    """Return what is said of each problem; links to documents that are not here are their text."""
    text = resources.files(__package__).joinpath("problems.toml").read_text(encoding="utf-8")
    return tomllib.loads(_LINK.sub(r"\1", text))


def _problem(code: str) -> str:
    """Return the page of a problem: what its ``type`` leads to."""
    if code not in KINDS:
        raise NotFoundError("There is no problem of this code. All are described at /docs.")
    return _templates().get_template("problem.html").render(code=code, kind=KINDS[code], words=_words()[code])


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a body, as a row of a table."""

    name: str
    type: str
    required: bool
    description: str


def page(spec: Specification) -> str:
    """Return the page that shows a specification."""
    return _templates().get_template("docs.html").render(spec=spec, reader=_Reader(spec), kinds=KINDS, address=_ADDRESS)


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader(__package__),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["prose"] = _prose
    environment.filters["sentence"] = _sentence
    environment.filters["example"] = _pretty
    environment.filters["breakable"] = _breakable
    return environment


def _sentence(words: str) -> str:
    """Return what stands in a cell of a table as a sentence."""
    return f"{words[0].upper()}{words[1:]}."


def _prose(text: str) -> Markup:
    """Return a description as HTML: paragraphs, and code where it has backticks."""
    paragraphs = [Markup("<p>{}</p>").format(_with_code(part)) for part in text.strip().split("\n\n")]
    return Markup("\n").join(paragraphs)


def _breakable(path: str) -> Markup:
    """Return a path that a narrow screen breaks before a slash, not inside a word."""
    return Markup("<wbr>/").join(path.split("/"))


def _pretty(example: object) -> str:
    return json.dumps(example, indent=2, ensure_ascii=False)


def _with_code(text: str) -> Markup:
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped before


def _values(values: list[str]) -> str:
    if len(values) > _SHOWN:
        return f"one of {len(values)} codes"
    return ", ".join(f"`{value}`" for value in values)


class _Reader:
    """Reads a specification for the page's template."""

    def __init__(self, spec: Specification) -> None:
        self._spec = spec
        self._schemas: Mapping[str, Any] = spec["components"]["schemas"]

    def sections(self) -> list[tuple[str, list[tuple[str, str, dict[str, Any]]]]]:
        """Return the sections in order, each with its calls: method, path, operation."""
        calls = [
            (method.upper(), path, operation)
            for path, methods in self._spec["paths"].items()
            for method, operation in methods.items()
        ]
        names = [tag["name"] for tag in self._spec["tags"]]
        return [(name, [call for call in calls if name in call[2]["tags"]]) for name in names]

    def schema_of(self, content: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the schema of a JSON body, or of the items of one that is a list; ``None`` for any other."""
        if JSON not in content:
            return None
        schema = content[JSON]["schema"]
        return self._resolved(schema.get("items", schema))

    def is_list(self, content: Mapping[str, Any]) -> bool:
        """Tell whether a JSON body is a list."""
        return JSON in content and "items" in content[JSON]["schema"]

    def name_of(self, content: Mapping[str, Any]) -> str | None:
        """Return the name of a JSON body's schema, or of its items'."""
        schema = content.get(JSON, {}).get("schema", {})
        reference = schema.get("items", schema).get("$ref")
        return reference.rpartition("/")[2] if reference else None

    def objects(self) -> list[tuple[str, dict[str, Any]]]:
        """Return the schemas of all objects that answers hold, each with its name."""
        return [
            (name, schema)
            for name, schema in self._schemas.items()
            if "properties" in schema and not name.endswith(("Body", "Document"))
        ]

    def members(self, schema: Mapping[str, Any]) -> list[Member]:
        """Return the members of an object's schema."""
        required = schema.get("required", ())
        return [
            Member(name, self.type_of(member), name in required, member.get("description", ""))
            for name, member in schema.get("properties", {}).items()
        ]

    def nested(self, schema: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
        """Return the objects within an object's schema, each with its member's name."""
        found = []
        for name, member in schema.get("properties", {}).items():
            for part in (*member.get("anyOf", ()), member, member.get("items", {})):
                resolved = self._resolved(part)
                if resolved.get("properties"):
                    found.append((name, resolved))
        return found

    def type_of(self, schema: Mapping[str, Any]) -> str:
        """Return a schema in a few words."""
        if "anyOf" in schema:
            return " or ".join(dict.fromkeys(map(self.type_of, schema["anyOf"])))
        if schema.get("type") == "array":
            return f"list of {self.type_of(schema['items'])}"
        resolved = self._resolved(schema)
        if "$ref" in schema and "properties" in resolved:
            return f"`{schema['$ref'].rpartition('/')[2]}`"
        if "enum" in resolved:
            return _values(resolved["enum"])
        form = resolved.get("format") or resolved.get("type", "any")
        return "time" if form == "date-time" else str(form)

    def example(self, content: Mapping[str, Any]) -> str | None:
        """Return an example of a body as JSON on one line."""
        examples = (self.schema_of(content) or {}).get("examples")
        return json.dumps(examples[0]) if examples else None

    def _resolved(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        reference = schema.get("$ref")
        return dict(self._schemas[reference.rpartition("/")[2]] if reference else schema)
