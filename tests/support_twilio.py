"""Calls as to Twilio Verify by raw HTTP, and a proxy that holds their answers against Twilio's own specification."""

import base64
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from wsgiref.types import WSGIApplication

import jsonschema_rs
from support_api import Api
from support_forgetful import serving
from support_installation import API_KEY, BANK_KEY, NUMBER, World, tree
from support_missing import missing
from support_sources import ROOT
from werkzeug.test import TestResponse

PACKAGES = ROOT / "tests" / "npm"
_SPECIFICATION = "@twilio/cli-core/src/services/twilio-api/twilio_verify_v2.json"
_ERROR = {
    "type": "object",
    "required": ["code", "message", "more_info", "status"],
    "additionalProperties": False,
    "properties": {
        "code": {"type": "integer", "minimum": 20000, "maximum": 69999},
        "message": {"type": "string"},
        "more_info": {"type": "string", "pattern": r"^https://www\.twilio\.com/docs/errors/[0-9]{5}$"},
        "status": {"type": "integer"},
    },
}
"""An error as Twilio's libraries read it: not one member more, for with those of RFC 9457 they raise another class."""


def basic(key: str = API_KEY, user: str = "SK" + 32 * "0") -> dict[str, str]:
    """Return the header of Basic authentication."""
    return {"Authorization": f"Basic {base64.b64encode(f'{user}:{key}'.encode()).decode()}"}


def twilio_api(world: World, key: str = API_KEY, *, hot_path: bool = True, **sections: Any) -> Api:
    """Return the service, set so that applications may call it as Twilio Verify."""
    purposes = {
        "login": {"resend_delays": [0], "max_sends": 3, "channels": ["sms", "voice"], "factors": ["message", "totp"]},
    }
    applications = tree(world.url)["applications"]
    shop = {**applications["shop"], "client_ip": "none", "dialects": ["twilio"]}
    bank = {**applications["bank"], "dialects": ["twilio"]}
    sections = {"purposes": purposes, "applications": {"shop": shop, "bank": bank}, **sections}
    return Api(world, key, hot_path=hot_path, **sections)


class Facade:
    """Calls below ``/twilio/v2`` by an application."""

    def __init__(self, api: Api, key: str = API_KEY) -> None:
        self.api = api
        self.headers = basic(key)
        found = self.get("/Services").json["services"]
        self.services = {one["friendly_name"]: one["sid"] for one in found}
        """Their identifiers by purpose."""

    def call(self, method: str, path: str, form: Any = None, **headers: str) -> TestResponse:
        return self.api.client.open(f"/twilio/v2{path}", method=method, data=form, headers={**self.headers, **headers})

    def get(self, path: str) -> TestResponse:
        return self.call("GET", path)

    def post(self, path: str, purpose: str = "login", **form: str) -> TestResponse:
        """Post a form to a path below a service."""
        return self.call("POST", f"/Services/{self.services[purpose]}{path}", form)

    def start(self, purpose: str = "login", **form: str) -> TestResponse:
        return self.post("/Verifications", purpose, **{"To": NUMBER, "Channel": "sms", **form})

    def check(self, code: str, purpose: str = "login", **form: str) -> TestResponse:
        form = form if "VerificationSid" in form else {"To": NUMBER, **form}
        return self.post("/VerificationCheck", purpose, **{"Code": code, **form})

    def fetch(self, sid: str, purpose: str = "login") -> TestResponse:
        return self.get(f"/Services/{self.services[purpose]}/Verifications/{sid}")

    def code(self, sid: str) -> str:
        return self.api.code(self.id_of(sid))

    def wrong(self, sid: str) -> str:
        return self.api.wrong(self.id_of(sid))

    def id_of(self, sid: str) -> str:
        """Return how the service itself names a verification."""
        return self.api.installation.context.keyring.verification_ids(sid.removeprefix("VE"))[0]


def bank_of(facade: Facade) -> Facade:
    """Return the same service as another application calls it."""
    api = Api.__new__(Api)
    api.__dict__ |= {**facade.api.__dict__, "key": BANK_KEY}
    return Facade(api, BANK_KEY)


def error_of(answer: TestResponse) -> tuple[int, int]:
    """Return status and Twilio's code of an error, after a look at what all errors have in common."""
    assert answer.mimetype == "application/json"
    assert list(jsonschema_rs.iter_errors(_ERROR, answer.json)) == []
    assert answer.json["status"] == answer.status_code
    assert answer.json["more_info"].endswith(str(answer.json["code"]))
    return answer.status_code, answer.json["code"]


class Validating:
    """A proxy that notes where an answer is not what Twilio's specification says of the call."""

    def __init__(self, app: WSGIApplication) -> None:
        self.address = ""
        self.violations: set[str] = set()
        self.answered: set[str] = set()
        """Operations of the specification that were answered with success."""
        self._app = app
        file = PACKAGES / "node_modules" / _SPECIFICATION
        if not file.exists():
            missing("npm's @twilio/cli-core (npm ci --prefix tests/npm)")
        specification = _as_json_schema(json.loads(file.read_text(encoding="utf-8")))
        self._schemas = specification["components"]
        self._paths = [
            (re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path))), path, methods)
            for path, methods in specification["paths"].items()
        ]

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        seen: list[Any] = []

        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            seen.append((int(status[:3]), dict(headers)))
            return start_response(status, headers, *rest)

        body = b"".join(self._app(environ, start))
        status, headers = seen[-1]
        self._judge(
            environ["REQUEST_METHOD"].lower(), environ["PATH_INFO"].removeprefix("/twilio"), status, headers, body
        )
        return [body]

    def _judge(self, method: str, path: str, status: int, headers: dict[str, str], body: bytes) -> None:
        template, methods = next(((name, found) for form, name, found in self._paths if form.fullmatch(path)), ("", {}))
        call = f"{method} {template or 'elsewhere'}"
        known = methods.get(method, {}).get("responses", {})
        if status >= 400:
            self._note(call, status, jsonschema_rs.iter_errors(_ERROR, json.loads(body)))
            return
        if str(status) not in known:
            self.violations.add(f"{call} {status}: no such answer")
            return
        self.answered.add(call)
        content = known[str(status)].get("content", {})
        if not content:
            self._note(call, status, [f"has a body: {body!r}"] if body else [])
            return
        media_type, told = next(iter(content.items()))
        schema = {**told["schema"], "components": self._schemas}
        self._note(call, status, [] if headers["Content-Type"] == media_type else ["another media type"])
        document = json.loads(body)
        self._note(call, status, jsonschema_rs.iter_errors(schema, document, validate_formats=True))
        self._note(call, status, _unknown(document, schema, self._schemas["schemas"]))

    def _note(self, call: str, status: int, faults: Iterable[Any]) -> None:
        self.violations |= {
            f"{call} {status}: {fault if isinstance(fault, str) else _where(fault)}" for fault in faults
        }


def _where(fault: Any) -> str:
    return f"{'/'.join(map(str, fault.instance_path))} {fault.message}"


def _as_json_schema(node: Any) -> Any:
    """Return OpenAPI 3.0 as JSON Schema reads it: what may be null says so in its type."""
    if isinstance(node, list):
        return [_as_json_schema(one) for one in node]
    if not isinstance(node, dict):
        return node
    found = {name: _as_json_schema(one) for name, one in node.items() if name != "nullable"}
    if node.get("nullable") and "type" in found:
        found["type"] = [found["type"], "null"]
    return found


def _unknown(document: dict[str, Any], schema: dict[str, Any], schemas: dict[str, Any]) -> Iterator[str]:
    """Yield members of an answer that Twilio's have not, and those that it lacks."""
    own = schemas[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    members = own.get("properties", {})
    yield from (f"has {name}" for name in document.keys() - members.keys())
    yield from (f"lacks {name}" for name in members.keys() - document.keys())
    for name, of in members.items():
        if isinstance(document.get(name), list) and "$ref" in of.get("items", {}):
            for one in document[name]:
                yield from _unknown(one, of["items"], schemas)


@contextmanager
def validating(app: WSGIApplication) -> Iterator[Validating]:
    """Serve an application behind such a proxy, on a port of this machine."""
    proxy = Validating(app)
    with serving(proxy) as proxy.address:
        yield proxy
