"""``/openapi.json``, ``/docs``, ``/problems``: what the API is, for programs and people. All without the internet."""

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, Response, request
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from otp_service.api.errors import KINDS
from otp_service.api.exchange import JSON
from otp_service.api.openapi import Specification, specification
from otp_service.api.request import host_of
from otp_service.bootstrap import Installation
from otp_service.errors import NotFoundError

CONTENT_POLICY = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
"""Of the page: its own style sheet and nothing else, no script at all."""

_LOCAL = "http://127.0.0.1:8080"
_ADDRESS = "@address@"
"""Stands in the page, which is made once, for the address that it is asked at."""
_LINK = re.compile(r"\[([^\]]+)\]\([^)]+\)")
_SHOWN = 10
"""Values of an enumeration that a table lists."""
_CODE = re.compile(r"`+([^`]+)`+")


def blueprint(installation: Installation) -> Blueprint:
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
