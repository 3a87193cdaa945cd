"""The specification is valid, complete, and what the service does."""

import json
import logging
import os
import re
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jsonschema_rs
import openapi_spec_validator
import phonenumbers
import pytest
import schemathesis.engine
from jsonschema_rs import meta
from schemathesis.config import SchemathesisConfig
from schemathesis.engine.events import FatalError, NonFatalError, ScenarioFinished
from support_api import SCOPES, START, Api
from support_installation import API_KEY, BANK_KEY, TRANSACTION, World
from support_messages import LANGUAGES
from support_messages import text as message_text
from support_valkey import ValkeyServer
from werkzeug.serving import WSGIRequestHandler, make_server

from otp_service.api.errors import PROBLEM_KINDS
from otp_service.domain.keyring import api_key_hash
from otp_service.domain.payments import Transaction

UNAVAILABLE = {
    "store-unavailable",
    "ledger-mismatch",
    "ledger-unavailable",
    "overloaded",
    "backlog-full",
    "service-unavailable",
}
WORTH_WAITING = {"human-check-required", "rate-limited", "resend-too-soon", *UNAVAILABLE}
REFUSED = ["4xx", "503"]
"""How wrong data are answered: also by 413, where a text that is too long makes the body too long."""
EXPECTED = ["2xx", "401", "403", "404", "409", "422", "429"]
"""Answers to a request of the right form. 422 is among them: no schema can tell which numbers exist."""

EXAMPLES = int(os.environ.get("OTP_SERVICE_TEST_EXAMPLES", "5"))
"""Requests that are made up for each operation, in each way of making them up; ``make fuzz`` asks for many."""

URDU_BANK = {"bank": {"name": "Bank", "keys": [api_key_hash(BANK_KEY)], "purposes": ["login"], "countries": ["PK"],
                      "client_ip": "none", "locale": "ur"}}  # fmt: skip
URDU = "آپ"
"""How a message in Urdu begins."""


@pytest.fixture(scope="module")
def unlimited(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The service with limits that random requests do not reach."""
    server = ValkeyServer(tmp_path_factory.mktemp("valkey"))
    many = ["1000000/minute"]
    world = World(server.client, server.url, lambda _: None)
    yield Api(
        world,
        limits={"number": many, "ip": many, "application": many, "failed_checks": many},
        purposes={"login": {"resend_delays": [0], "max_sends": 10, "channels": ["sms", "voice", "whatsapp"]}},
        http={"public_url": "http://127.0.0.1"},
    )
    server.stop()


def _configuration() -> SchemathesisConfig:
    return SchemathesisConfig.from_dict(
        {
            "headers": {"Authorization": f"Bearer {API_KEY}"},
            "generation": {"max-examples": EXAMPLES, "database": "none"},
            "checks": {
                "positive_data_acceptance": {"expected-statuses": EXPECTED},
                "negative_data_rejection": {"expected-statuses": REFUSED},
            },
        }
    )


class _KeepsConnections(WSGIRequestHandler):
    """A connection and a thread for each of thousands of requests take longer than the requests."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True


@contextmanager
def _listening(api: Api) -> Iterator[str]:
    """Serve on a port of this machine: the tool's engine speaks HTTP only."""
    server = make_server("127.0.0.1", 0, api.app, threaded=True, request_handler=_KeepsConnections)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.fuzz
@pytest.mark.timeout(600 + 30 * EXAMPLES)  # thousands of requests, on however slow a machine
@pytest.mark.filterwarnings("default")  # the tool's own
def test_the_service_does_what_the_specification_says(unlimited: Api, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.CRITICAL, "werkzeug")
    with _listening(unlimited) as address:
        schema = schemathesis.openapi.from_url(f"{address}/openapi.json", config=_configuration())
        events = list(schemathesis.engine.from_schema(schema).execute())
    finished = [event for event in events if isinstance(event, ScenarioFinished)]
    errors = [event.info.format() for event in events if isinstance(event, NonFatalError | FatalError)]
    checks = [node for event in finished for nodes in event.recorder.checks.values() for node in nodes]

    assert errors == []
    assert [node.failure_info.failure for node in checks if node.failure_info] == []
    assert len(checks) > 1000


def test_the_specification_names_exactly_the_routes_there_are(unlimited: Api):
    spec = unlimited.get("/openapi.json").json
    routes = {
        (re.sub(r"<(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in unlimited.app.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }
    described = {(path, method) for path, methods in spec["paths"].items() for method in methods}

    elsewhere = {one for one in routes if one[0].startswith(("/p/", "/docs/", "/twilio/"))}

    assert len(elsewhere) > 3
    assert routes - elsewhere == described


def test_metrics_are_described_only_where_they_are_served(unlimited: Api):
    without = Api(unlimited.world, http={"metrics_on_same_port": False})

    assert "/metrics" in unlimited.get("/openapi.json").json["paths"]
    assert "/metrics" not in without.get("/openapi.json").json["paths"]
    assert without.get("/metrics").status_code == 404


def test_every_schema_in_the_specification_is_a_schema(unlimited: Api):
    spec = unlimited.get("/openapi.json").json

    assert spec["openapi"] == "3.1.0"
    for schema in spec["components"]["schemas"].values():
        meta.validate({**schema, "$schema": "https://json-schema.org/draft/2020-12/schema"})


def test_every_reference_leads_somewhere_and_no_definition_is_unused(unlimited: Api):
    text = unlimited.get("/openapi.json").text
    spec = json.loads(text)
    references = set(re.findall(r'"#/components/schemas/(\w+)"', text))

    assert references == set(spec["components"]["schemas"])


def test_every_code_of_an_error_is_described_with_its_status(unlimited: Api):
    described: dict[str, set[str]] = {}
    for methods in unlimited.get("/openapi.json").json["paths"].values():
        for operation in methods.values():
            for status, response in operation["responses"].items():
                for code in re.findall(r"`([a-z-]+)`: ", response["description"]):
                    described.setdefault(code, set()).add(status)
    everywhere = {"method-not-allowed"}  # an answer to calls that are not described

    assert described == {code: {str(kind.status)} for code, kind in PROBLEM_KINDS.items() if code not in everywhere}


def test_no_number_and_no_code_is_ever_in_an_address(unlimited: Api):
    names = {
        parameter["name"]
        for methods in unlimited.get("/openapi.json").json["paths"].values()
        for operation in methods.values()
        for parameter in operation.get("parameters", ())
        if parameter["in"] in {"path", "query"}
    }

    assert names == {
        *("verification_id", "verification", "gateway", "dispatch_id", "token", "name", "key_id", "problem"),
        *("endpoint_id", "endpoint", "webhook_id", "factor_id", "status", "before", "from", "until", "by"),
    }


def test_every_call_below_v1_needs_a_key_but_the_gateways_own_and_three_take_a_client_token(unlimited: Api):
    rights = {"readVerification": "read", "checkCode": "check", "resendCode": "resend"}
    for path, methods in unlimited.get("/openapi.json").json["paths"].items():
        for operation in methods.values():
            needs = path.startswith("/v1/") and not path.startswith(("/v1/receipts/", "/v1/inbound/"))
            expected = [{"apiKey": [SCOPES[path.split("/")[2]]]}] if needs else []
            expected += [{"clientToken": [right]} for name, right in rights.items() if name == operation["operationId"]]
            assert operation["security"] == expected, path


def test_waiting_is_told_in_words_wherever_an_answer_may_ask_for_it(unlimited: Api):
    for methods in unlimited.get("/openapi.json").json["paths"].values():
        for operation in methods.values():
            for response in operation["responses"].values():
                codes = re.findall(r"`([a-z-]+)`: ", response["description"])
                assert {code in WORTH_WAITING for code in codes} <= {"Retry-After" in response["headers"]}


def test_an_account_is_the_payers_as_the_message_says(unlimited: Api):
    schemas = unlimited.get("/openapi.json").json["components"]["schemas"]
    transaction = Transaction("1500.00", "PKR", "Daraz", "4821")

    assert "to Daraz from account 4821," in message_text("en", transaction)
    for name in ("TransactionBody", "TransactionAnswer"):
        text = schemas[name]["properties"]["account"]["description"]
        assert "payer's own account" in text
        assert "payee" not in text
        assert "`from account 4821`" in text


def test_the_context_says_what_it_should_be_and_what_is_kept_of_it(unlimited: Api):
    context = unlimited.get("/openapi.json").json["components"]["schemas"]["StartBody"]["properties"]["context"]

    assert "a random value" in context["description"]
    assert "Kept as a pseudonym only" in context["description"]


def test_every_value_of_an_answer_is_explained(unlimited: Api):
    schemas = unlimited.get("/openapi.json").json["components"]["schemas"]
    explained = {
        kind: set(re.findall(r"^`(\w+)`: ", schemas[name]["properties"][member]["description"], re.MULTILINE))
        for name, member, kind in [
            ("DeliveryAnswer", "status", "DeliveryStatus"),
            ("CheckResultAnswer", "reason", "CheckFailure"),
        ]
    }

    assert explained == {kind: set(schemas[kind]["enum"]) for kind in ("DeliveryStatus", "CheckFailure")}
    for name in ("CheckResultAnswer", "ProblemDocument", "VerificationAnswer", "TransactionBody"):
        (example,) = schemas[name]["examples"]
        assert set(schemas[name]["required"]) <= set(example) <= set(schemas[name]["properties"])
        assert list(jsonschema_rs.iter_errors({**schemas[name], "components": {"schemas": schemas}}, example)) == []
    assert all(member.get("description") for member in schemas["CheckResultAnswer"]["properties"].values())


def test_defaults_are_told_in_words_alone(unlimited: Api):
    """Generators make a member with a default one that must be there, or send it with each request."""
    text = unlimited.get("/openapi.json").text
    members = json.loads(text)["components"]["schemas"]["StartBody"]["properties"]

    assert '"default":' not in text
    assert "Default: `login`." in members["purpose"]["description"]


def test_tools_find_what_they_ask_for(unlimited: Api):
    spec = unlimited.get("/openapi.json").json
    operations = [one for methods in spec["paths"].values() for one in methods.values()]
    contents = [
        content
        for operation in operations
        for part in (operation.get("requestBody", {}), *operation["responses"].values())
        for content in part.get("content", {}).items()
    ]

    assert spec["info"]["license"]["identifier"] == "Apache-2.0"
    assert all(one["description"] for one in spec["tags"])
    assert all("security" in one for one in operations)
    assert "*/*" not in dict(contents)
    for media_type, content in contents:
        if "example" in content:
            whole = {**content["schema"], "components": spec["components"]}
            assert list(jsonschema_rs.iter_errors(whole, content["example"])) == []
        else:
            assert "Body" not in str(content["schema"])
            assert media_type != "application/problem+json"


def test_tools_accept_the_specification(unlimited: Api):
    openapi_spec_validator.validate(unlimited.get("/openapi.json").json)


def test_a_client_is_generated_whole_and_passes_the_type_checker(unlimited: Api, tmp_path: Path):
    document, client, tools = tmp_path / "openapi.json", tmp_path / "client", Path(sys.executable).parent
    document.write_text(unlimited.get("/openapi.json").text)
    path = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}  # it formats what it writes by a program
    generate = [tools / "openapi-python-client", "generate", "--path", document, "--output-path", client]
    subprocess.run([*generate, "--fail-on-warning"], env=path, check=True)
    subprocess.run([tools / "mypy", "--strict", "--config-file=", client], cwd=tmp_path, check=True)


def test_the_languages_of_messages_are_told_and_what_becomes_of_a_locale(real_world: World):
    english, urdu = Api(real_world), Api(real_world, BANK_KEY, applications=URDU_BANK)
    members = english.get("/openapi.json").json["components"]["schemas"]["StartBody"]["properties"]
    told = " ".join(members["locale"]["description"].split())

    assert set(re.findall(r"\(`([\w-]+)`\)", told)) == set(LANGUAGES)
    assert "such as `ur-PK`. Default: the application's." in told
    assert "shortened, `ur-PK` to `ur`" in told
    assert "the message is in the application's language then, and in English as the last resort" in told
    assert "`locale` of the answer tells which" in told
    assert _begins(english, locale="ur-PK") == ("ur-PK", URDU)
    assert _begins(english, locale="fr") == _begins(english) == ("en", "Your")
    assert _begins(urdu, locale="fr") == _begins(urdu) == ("ur", URDU)


def _begins(api: Api, **members: str) -> tuple[str, str]:
    """Return in which language an answer says that the message is, and its first word."""
    body = {"to": f"+92300{secrets.randbelow(10**7):07}", **members}
    started = api.post(START, body).json
    api.deliver()
    (caught,) = api.get(f"/v1/sandbox/messages?verification={started['id']}").json
    assert api.get(f"{START}/{started['id']}").json["locale"] == started["locale"]
    return started["locale"], str(caught["text"]).partition(" ")[0]


def test_the_regions_are_those_that_numbers_are_read_with(unlimited: Api):
    schemas = unlimited.get("/openapi.json").json["components"]["schemas"]
    (region,) = (kind["enum"] for kind in schemas["StartBody"]["properties"]["region"]["anyOf"] if "enum" in kind)

    assert region == sorted(phonenumbers.SUPPORTED_REGIONS)


def test_the_examples_are_accepted(world: World):
    """By an installation in which nobody has withdrawn anything."""
    channels = ["sms", "voice", "whatsapp"]
    api = Api(world, purposes={"login": {"resend_delays": [0], "channels": channels}})
    schemas = api.get("/openapi.json").json["components"]["schemas"]
    (start,), (check,), (resend,) = (schemas[name]["examples"] for name in ("StartBody", "CheckBody", "ResendBody"))
    (payment,) = schemas["TransactionBody"]["examples"]
    started = api.post(START, start)
    paid = api.post(START, {**start, "purpose": "payment", "transaction": payment})

    assert (started.status_code, paid.status_code) == (201, 201)
    assert api.post(f"{started.headers['Location']}/check", check).status_code == 200
    assert api.post(f"{started.headers['Location']}/resend", resend).status_code == 202
    assert set(TRANSACTION) < set(payment)
