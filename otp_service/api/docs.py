"""The OpenAPI document, and the documentation pages generated from it."""

import ast
import inspect
import json
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import fields
from functools import cache
from http import HTTPStatus
from importlib import resources
from importlib.util import find_spec
from itertools import pairwise
from typing import Any, Literal
from urllib.parse import urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core.core_schema import DataclassSchema, ModelSchema, WithDefaultSchema

from otp_service import __version__
from otp_service.api.errors import PROBLEM, PROBLEM_JSON, PROBLEM_KINDS
from otp_service.api.exchange import Exchange
from otp_service.api.requests import host_of
from otp_service.api.routes import JSON, Answer, Resource, Route, Success, path_parameter, type_adapter
from otp_service.errors import NotFoundError

_DESCRIPTION = """\
Proves that a person holds a phone number: sends a short-lived code, checks the answer once.

Authenticate with `Authorization: Bearer KEY`. A key has scopes, and each call needs one of them: `verify`, `consent`,
`subjects`, `factors`, `webhooks`, or `admin`, which only keys of operators have. Three calls take a client token of a
start instead, from browsers or apps; members that such answers leave out say so. Bodies are JSON of at most 8 KiB;
unknown and duplicate members are refused. Times are RFC 3339 in UTC. Errors are problem details (RFC 9457): go by
`code`. Every answer has an `X-Request-Id`, by which the operator finds what the request did.
"""
_SECTIONS = {
    "Verifications": "Prove that a person holds a number: start, check, send again, read, cancel.",
    "Proofs": "Signed statements of approvals, for others to check.",
    "Hosted pages": "Results of pages that the service hosts.",
    "Authenticator apps": "Codes of apps (TOTP, RFC 6238) of your users.",
    "Recovery codes": "For users without phone and app.",
    "Consents": "That a person agreed to get codes, or withdrew that.",
    "Suppressions": "Numbers that get no messages, as after STOP.",
    "Subjects": "Freeze, export or erase a person: a number, or one of your users.",
    "Webhooks": "Endpoints that receive events, and the deliveries to them.",
    "Statistics": "Counts by hour and day.",
    "Development": "The messages of the sandbox gateway.",
    "Gateways": "Receipts and inbound messages from providers.",
    "Administration": "Applications and their keys.",
    "Operation": "Health, metrics, and this document.",
}
_SCHEMES = {
    "apiKey": {"type": "http", "scheme": "bearer", "description": "An API key."},
    "clientToken": {
        "type": "http",
        "scheme": "bearer",
        "description": "The `client_token` of a start, for that verification alone: from a browser or an app.",
    },
}
_REQUEST_ID = {
    "description": "Names this request in the service's log; the id that a request brings is logged beside it.",
    "schema": {"type": "string", "pattern": "^rq_[0-9a-f]{32}$"},
    "example": "rq_01a20f24e2035b8d0c1f4a2e6b9d3c7f",
}
_RETRY_AFTER = {"description": "Seconds to wait; equal to `retry_after`.", "schema": {"type": "integer"}}
_CHALLENGE = {"description": "`Bearer`.", "schema": {"type": "string"}}
_WORTH_WAITING = {429, 503}
_ANYTHING: dict[str, Any] = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
"""Providers send forms or JSON of their own."""

_RETRY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Makes the request safe to repeat: same key and same body, the first answer again, and nothing "
    "is done twice. Any text of your own without a comma, new for each new request.",
    "schema": {"type": "string", "pattern": r'^"?[!#-+\--~][!-+\--~]{0,254}$'},
}
"""Without an example, which tools would send with each request."""

Specification = dict[str, Any]
_Mode = Literal["validation", "serialization"]


def build_specification(routes: Iterable[Route]) -> Specification:
    """Return the OpenAPI document of the described routes."""
    described = [route for route in routes if route.answers]
    schemas = _Schemas(described)
    paths: dict[str, Any] = {}
    for route in described:
        template = route.rule.replace("<", "{").replace(">", "}")
        paths.setdefault(template, {})[route.method.lower()] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "otp-service",
            "version": __version__,
            "description": _DESCRIPTION,
            "license": {"name": "Apache License 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [
            {"name": section, "description": _SECTIONS[section]}
            for section in dict.fromkeys(route.resource.section for route in described)
        ],
        "paths": paths,
        "components": {"schemas": schemas.components, "securitySchemes": _SCHEMES},
    }


class _Schemas:
    """The schemas of all bodies and answers."""

    def __init__(self, routes: Iterable[Route]) -> None:
        answers = {answer.content for route in routes for answer in route.answers.values()}
        bodies = {route.body for route in routes if route.body}
        inputs: list[tuple[int, _Mode, TypeAdapter[Any]]] = [
            *((id(writer), "serialization", writer) for writer in (PROBLEM, *answers)),
            *((id(body), "validation", TypeAdapter(body)) for body in bodies),
        ]
        self._references, definitions = TypeAdapter.json_schemas(
            inputs, ref_template="#/components/schemas/{model}", schema_generator=_Described
        )
        self.components: dict[str, Any] = dict(sorted(definitions["$defs"].items()))

    def content(self, owner: object, mode: _Mode, media_type: str = JSON, *examples: object) -> dict[str, Any]:
        """Return the content of a request or an answer; examples replace those of its type."""
        schema = self._references[id(owner), mode]
        is_list = "items" in schema
        name = (schema["items"] if is_list else schema).get("$ref", "").rpartition("/")[2]
        content: dict[str, Any] = {"schema": schema}
        if shown := examples or self.components.get(name, {}).get("examples", ()):
            content["example"] = list(shown) if is_list else shown[0]
        return {media_type: content}


class _Described(GenerateJsonSchema):
    """Describes members by the texts below them in the source, and leaves out defaults.

    pydantic would read these texts when classes are defined, in each process, for half of the API's import time. Few
    processes need them. From a member with a default, generators make a required one, or clients that send it.
    Members without a ``repr`` are sensitive, for clients too.
    """

    def default_schema(self, schema: WithDefaultSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def model_schema(self, schema: ModelSchema) -> JsonSchemaValue:
        return _described(schema["cls"], super().model_schema(schema))

    def dataclass_schema(self, schema: DataclassSchema) -> JsonSchemaValue:
        described = _described(schema["cls"], super().dataclass_schema(schema))
        for member in fields(schema["cls"]):
            if not member.repr and member.name in described["properties"]:
                described["properties"][member.name]["x-sensitive"] = True
        return described


def _described(owner: type, schema: JsonSchemaValue) -> JsonSchemaValue:
    for base in owner.__mro__:
        for name, text in _texts(base.__module__).get(base.__name__, {}).items():
            if name in schema.get("properties", {}):
                schema["properties"][name].setdefault("description", text)
    return schema


@cache
def _texts(module: str) -> Mapping[str, Mapping[str, str]]:
    """Return the texts below the members of a module's classes, by class and member."""
    if not module.startswith("otp_service."):
        return {}
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    texts: dict[str, dict[str, str]] = {}
    for node in (node for node in tree.body if isinstance(node, ast.ClassDef)):
        texts[node.name] = {}
        for member, text in pairwise(node.body):
            match member, text:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(written))):
                    texts[node.name][name] = inspect.cleandoc(written)
    return texts


def _operation(route: Route, schemas: _Schemas) -> dict[str, Any]:
    in_path = (parameter for parameter in route.resource.parameters if f"<{parameter['name']}>" in route.rule)
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "description": route.description,
        "tags": [route.resource.section],
        "security": [],
        "responses": _responses(route, schemas),
    }
    if parameters := [*in_path, *([_RETRY] if route.retries else ()), *route.query]:
        operation["parameters"] = parameters
    if route.body:
        operation["requestBody"] = {
            "required": not route.may_be_empty,
            "content": schemas.content(route.body, "validation"),
        }
    elif route.method == "POST":
        operation["requestBody"] = {"required": False, "content": _ANYTHING}
    if route.resource.scope:
        operation["security"] = [{"apiKey": [route.resource.scope]}]
    if route.client_right:
        operation["security"].append({"clientToken": [route.client_right]})
    return operation


def _responses(route: Route, schemas: _Schemas) -> dict[str, Any]:
    responses: dict[str, dict[str, Any]] = {}
    for status, success in route.answers.items():
        headers = {name: {"description": text, "schema": {"type": "string"}} for name, text in success.headers.items()}
        responses[str(status)] = {
            "description": success.description,
            "headers": {"X-Request-Id": _REQUEST_ID, **headers},
        }
        if status != HTTPStatus.NO_CONTENT:
            content = schemas.content(success.content, "serialization", success.media_type)
            responses[str(status)]["content"] = content
    by_status: dict[int, list[str]] = {}
    for code in route.problems:
        by_status.setdefault(PROBLEM_KINDS[code].status, []).append(code)
    for status, codes in by_status.items():
        problem_headers: dict[str, Any] = {"X-Request-Id": _REQUEST_ID}
        code, title = codes[0], PROBLEM_KINDS[codes[0]].title
        example = {"type": f"/problems/{code}", "title": title, "status": status, "detail": "…", "code": code}
        if status in _WORTH_WAITING:
            problem_headers["Retry-After"] = _RETRY_AFTER
            example["retry_after"] = 30
        if status == PROBLEM_KINDS["unauthenticated"].status:
            problem_headers["WWW-Authenticate"] = _CHALLENGE
        responses[str(status)] = {
            "description": "\n\n".join(f"`{code}`: {PROBLEM_KINDS[code].title}." for code in codes),
            "headers": problem_headers,
            "content": schemas.content(PROBLEM, "serialization", PROBLEM_JSON, example),
        }
    return dict(sorted(responses.items()))


CONTENT_POLICY = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_TRY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Content policy of ``/docs/try``, which calls the service."""
_SWAGGER_UI = "flask_swagger_ui"
"""The package of the extra `try`."""
_TRY_FILES = {
    "try.js": (__package__, "templates", "text/javascript"),
    "swagger-ui-bundle.js": (_SWAGGER_UI, "dist", "text/javascript"),
    "swagger-ui.css": (_SWAGGER_UI, "dist", "text/css"),
}
"""Package, folder and media type of the files of ``/docs/try``."""
_NOTHING = "Nothing at this path. The API is described at /docs."
_NO_PACKAGE = "Trying calls needs the extra try: pip install 'otp-service[try]'. The API is described at /docs."
_LOCAL = "http://127.0.0.1:8080"
_ADDRESS = "@address@"
"""Placeholder in the cached page for the request's address."""
_LINK = re.compile(r"\[([^\]]+)\]\([^)]+\)")
_MAX_LISTED = 10
"""Values of an enumeration that a table lists."""
_CODE = re.compile(r"`+([^`]+)`+")

docs = Resource(
    "docs",
    "Operation",
    problems=("internal", "overloaded"),
    parameters=(path_parameter("problem", "One of the codes of errors.", "resend-too-soon"),),
)


@docs.route("GET /openapi.json", {200: Success("The specification.", content=type_adapter(dict[str, Any]))})
def specification(exchange: Exchange) -> Answer:
    """This specification.

    OpenAPI 3.1.
    """  # noqa: D401 - a title
    return Answer(_render(exchange.shared.routes, may_try=_may_try(exchange))[0])


@docs.route("GET /docs", {200: Success("A page.", "text/html")}, endpoint="page")
def documentation(exchange: Exchange) -> Answer:
    """This page.

    The same for people.
    """  # noqa: D401 - a title
    page = _render(exchange.shared.routes, may_try=_may_try(exchange))[1]
    return _html(exchange, page.replace(_ADDRESS, escape(_address(exchange))))


@docs.route("GET /problems/<problem>", {200: Success("A page.", "text/html")}, ("not-found",), endpoint="problem")
def problem(exchange: Exchange, problem: str) -> Answer:
    """A problem.

    What the `type` of an error leads to: when it comes, and what to do.
    """  # noqa: D401 - a title
    if problem not in PROBLEM_KINDS:
        raise NotFoundError("Unknown problem code. All codes are described at /docs.")
    return _html(exchange, _templates().get_template("problem.html").render(code=problem, kind=PROBLEM_KINDS[problem]))


@docs.route("GET /docs/style.css", {})
def style(_: Exchange) -> Answer:
    sheet = resources.files(__package__).joinpath("templates/docs.css").read_bytes()
    return Answer(sheet, media_type="text/css; charset=utf-8")


@docs.route("GET /docs/try", {}, endpoint="try")
def try_calls(exchange: Exchange) -> Answer:
    """Show the specification as a page that makes calls; in development only, for a form for keys invites phishing."""
    _require_try(exchange)
    return _html(exchange, _templates().get_template("try.html").render(), _TRY_POLICY)


@docs.route("GET /docs/try/<file>", {}, endpoint="try_file")
def try_file(exchange: Exchange, file: str) -> Answer:
    _require_try(exchange)
    if file not in _TRY_FILES:
        raise NotFoundError(_NOTHING)
    package, folder, media_type = _TRY_FILES[file]
    return Answer(
        resources.files(package).joinpath(folder, file).read_bytes(), media_type=f"{media_type}; charset=utf-8"
    )


def _may_try(exchange: Exchange) -> bool:
    return not exchange.settings.production and find_spec(_SWAGGER_UI) is not None


def _require_try(exchange: Exchange) -> None:
    if not _may_try(exchange):
        raise NotFoundError(_NOTHING if exchange.settings.production else _NO_PACKAGE)


def _html(exchange: Exchange, text: str, policy: str = CONTENT_POLICY) -> Answer:
    exchange.headers["Content-Security-Policy"] = policy
    return Answer(text.encode(), media_type="text/html; charset=utf-8")


def _address(exchange: Exchange) -> str:
    """Return the service's address as the request shows it; a proxy may hide another."""
    host, public_url = host_of(exchange.environ), exchange.settings.http.public_url
    if host is None:
        return _LOCAL
    if public_url and urlsplit(public_url).netloc == host:
        return public_url.rstrip("/")
    secure = "https" in {exchange.header("X-Forwarded-Proto"), exchange.environ["wsgi.url_scheme"]}
    return f"{'https' if secure else 'http'}://{host}"


@cache
def _render(routes: tuple[Route, ...], *, may_try: bool) -> tuple[bytes, str]:
    # At the first request: most processes get none.
    spec = build_specification(routes)
    page = _templates().get_template("docs.html")
    reader = _SpecificationReader(spec)
    text = page.render(spec=spec, reader=reader, kinds=PROBLEM_KINDS, address=_ADDRESS, may_try=may_try)
    return json.dumps(spec, ensure_ascii=False).encode(), text


def new_templates() -> Environment:
    return Environment(
        loader=PackageLoader(__package__),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def _templates() -> Environment:
    environment = new_templates()
    environment.filters["prose"] = _prose
    environment.filters["sentence"] = _sentence
    environment.filters["example"] = lambda example: json.dumps(example, indent=2, ensure_ascii=False)
    environment.filters["breakable"] = lambda path: Markup("<wbr>/").join(path.split("/"))
    return environment


def _sentence(words: str) -> str:
    """Return words as a sentence, with only the text of links, whose documents are not here."""
    text = _LINK.sub(r"\1", words)
    return f"{text[0].upper()}{text[1:]}."


def _prose(text: str) -> Markup:
    """Return a description as HTML: paragraphs, and code where it has backticks."""
    with_code = _CODE.sub(r"<code>\1</code>", str(escape(text.strip())))
    paragraphs = (f"<p>{part}</p>" for part in with_code.split("\n\n"))
    return Markup("\n".join(paragraphs))  # noqa: S704 - escaped before


class _SpecificationReader:
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
        """Return the schema of a JSON request; ``None`` for any other."""
        return self._resolved(content[JSON]["schema"]) if JSON in content else None

    def answer(self, content: Mapping[str, Any]) -> tuple[str | None, bool]:
        """Return the name of a JSON answer's schema, or of its items', and whether it is a list."""
        schema = content.get(JSON, {}).get("schema", {})
        reference = schema.get("items", schema).get("$ref")
        return reference.rpartition("/")[2] if reference else None, "items" in schema

    def objects(self) -> list[tuple[str, dict[str, Any]]]:
        """Return the schemas of all objects that answers hold, each with its name."""
        return [
            (name, schema)
            for name, schema in self._schemas.items()
            if "properties" in schema and not name.endswith(("Body", "Document"))
        ]

    def members(self, schema: Mapping[str, Any]) -> list[tuple[str, str, bool, str]]:
        """Return the members of an object's schema: name, type, whether it is required, description."""
        required = schema.get("required", ())
        return [
            (name, self.type_of(member), name in required, member.get("description", ""))
            for name, member in schema.get("properties", {}).items()
        ]

    def nested(self, schema: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
        """Return the objects within an object's schema, each with its member's name."""
        objects = []
        for name, member in schema.get("properties", {}).items():
            for part in (*member.get("anyOf", ()), member, member.get("items", {})):
                resolved = self._resolved(part)
                if resolved.get("properties"):
                    objects.append((name, resolved))
        return objects

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
            values = resolved["enum"]
            is_long = len(values) > _MAX_LISTED
            return f"one of {len(values)} codes" if is_long else ", ".join(f"`{value}`" for value in values)
        form = resolved.get("format") or resolved.get("type", "any")
        return "time" if form == "date-time" else str(form)

    def example(self, content: Mapping[str, Any]) -> str | None:
        """Return an example of a request as JSON on one line."""
        example = content.get(JSON, {}).get("example")
        return None if example is None else json.dumps(example)

    def _resolved(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        reference = schema.get("$ref")
        return dict(self._schemas[reference.rpartition("/")[2]] if reference else schema)
