"""The programs of the integration guide, as they stand there, against the service."""

import json
import re
import shutil
import subprocess
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support_api import Api
from support_forgetful import Forgetful, forgetful
from support_installation import API_KEY, NUMBER, World
from support_sources import ROOT

from otp_service.domain.verification import CheckFailure, DeliveryStatus

GUIDE = (ROOT / "docs" / "integration.md").read_text(encoding="utf-8")
IP = "203.0.113.7"


@pytest.fixture
def api(real_world: World) -> Api:
    return Api(real_world)


@pytest.fixture
def proxy(api: Api, monkeypatch: pytest.MonkeyPatch) -> Iterator[Forgetful]:
    with forgetful(api.app) as proxy:
        monkeypatch.setenv("OTP_URL", proxy.address)
        monkeypatch.setenv("OTP_KEY", API_KEY)
        yield proxy


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)


def test_the_python_program_survives_lost_answers_without_a_second_message_or_guess(api: Api, proxy: Forgetful):
    client, views, payment, sandbox = _blocks("python")
    waited: list[float] = []
    program: dict[str, Any] = {}
    exec(client, program)  # noqa: S102 - ours
    program |= {"time": types.SimpleNamespace(sleep=waited.append), "re": re}
    exec(sandbox, program)  # noqa: S102 - ours
    program |= {
        "form": {"phone": NUMBER},
        "request": types.SimpleNamespace(remote_addr=IP, cookies={"device": "a-browser"}),
        "session": {},
    }
    started, checked, again, canceled = views.split("\n\n")
    exec(started, program)  # noqa: S102 - ours
    api.deliver()
    one = program["session"]["verification"]
    wrong = program["check"](one, api.wrong(one))
    program["form"] = {"code": program["code_of"](one)}
    exec(checked, program)  # noqa: S102 - ours

    assert wrong[0] is True
    assert (wrong[1]["reason"], wrong[1]["checks_left"]) == ("wrong_code", 4)
    assert program["session"] == {"verification": one, "phone_verified": True}
    assert len(api.get("/v1/sandbox/messages").json) == 1
    assert waited == [1, 1, 1]
    assert [proxy.keys.count(key) for key in dict.fromkeys(proxy.keys)] == [2, 2, 2]

    program["form"] = {"phone": "+923001234569"}
    exec(started, program)  # noqa: S102 - ours
    exec(again, program)  # noqa: S102 - ours
    assert (program["understood"], program["answer"]["code"]) == (False, "resend-too-soon")
    exec(canceled, program)  # noqa: S102 - ours
    assert (program["understood"], program["answer"]["status"]) == (True, "canceled")

    program["form"] = {"phone": "+923001234568"}
    began, ended = payment.split("\n\n")
    exec(began, program)  # noqa: S102 - ours
    api.deliver()
    program["form"] = {"code": program["code_of"](program["session"]["payment"])}
    other = {**program["transaction"], "amount": "15000.00"}
    exec(ended, program)  # noqa: S102 - ours
    assert program["session"]["paid"] == program["transaction"]
    assert program["check_payment"](program["session"]["payment"], "000000", other)[1]["valid"] is False


def test_the_python_program_gives_up_in_the_end(monkeypatch: pytest.MonkeyPatch):
    waited: list[float] = []
    program: dict[str, Any] = {}
    exec(_blocks("python")[0], program)  # noqa: S102 - ours
    program["time"] = types.SimpleNamespace(sleep=waited.append)
    monkeypatch.setenv("OTP_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("OTP_KEY", API_KEY)

    assert program["start"](NUMBER, IP) == (False, {"code": "unreachable"})
    assert waited == [1, 2, 4]


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
def test_the_node_program_survives_lost_answers_without_a_second_message_or_guess(
    api: Api, proxy: Forgetful, tmp_path: Path
):
    (client,) = _blocks("javascript")
    script = tmp_path / "client.mjs"
    script.write_text(client.replace("[1000, 2000, 4000, null]", "[1, 2, 4, null]") + _ASK)

    accepted, started = _node(script, "start", NUMBER, IP)
    one = started["id"]
    api.deliver()
    wrong = _node(script, "check", one, api.wrong(one))
    right = _node(script, "check", one, api.code(one))
    refused = _node(script, "start", "+92300", IP)
    transaction = {"amount": "1500.00", "currency": "PKR", "payee": "Daraz"}
    paying = _node(script, "startPayment", "+923001234568", IP, transaction)[1]["id"]
    paid = _node(script, "checkPayment", paying, api.code(paying), transaction)
    other = _node(script, "start", "+923001234569", IP)[1]["id"]
    early, gone = _node(script, "resend", other), _node(script, "cancel", other)

    assert accepted is True
    assert (wrong[1]["reason"], wrong[1]["checks_left"]) == ("wrong_code", 4)
    assert (right[0], right[1]["valid"]) == (True, True)
    assert (refused[0], refused[1]["code"]) == (False, "invalid-number")
    assert len(api.get(f"/v1/sandbox/messages?verification={one}").json) == 1
    assert (paid[1]["valid"], early[1]["code"], gone[1]["status"]) == (True, "resend-too-soon", "canceled")
    assert {proxy.keys.count(key) for key in proxy.keys} == {2}


_ASK = """
const [name, ...given] = process.argv.slice(2);
const calls = { start, check, resend, cancel, startPayment, checkPayment };
console.log(JSON.stringify(await calls[name](...given.map((one) => (one.startsWith("{") ? JSON.parse(one) : one)))));
"""


def _node(script: Path, *arguments: str | dict[str, str]) -> Any:
    texts = [one if isinstance(one, str) else json.dumps(one) for one in arguments]
    done = subprocess.run(["node", script, *texts], capture_output=True, text=True, timeout=60, check=True)
    return json.loads(done.stdout)


def _first_cells(heading: str) -> set[str]:
    """Return what is set as code in the first cells of the table below a heading or a sentence, wherever that wraps."""
    found = re.search(r"\s+".join(map(re.escape, heading.split())), GUIDE)
    table = GUIDE[found.end() :].split("\n\n|", 1)[1].split("\n\n", 1)[0]
    return {
        word
        for row in table.splitlines()
        for word in re.findall(r"`([\w-]+)`", row.split("|")[1 if row[0] == "|" else 0])
    }


def test_the_guide_has_a_sentence_for_every_result_and_every_state_of_a_message():
    assert set(CheckFailure) <= _first_cells("A check, by `reason`")
    assert set(DeliveryStatus) <= _first_cells("are in `deliveries`")


def test_the_guide_has_a_sentence_for_every_refusal_that_a_person_can_cause(api: Api):
    paths = api.get("/openapi.json").json["paths"]
    told = {}
    for call in ("", "/{verification_id}/resend", "/{verification_id}/check"):
        responses = paths[f"/v1/verifications{call}"]["post"]["responses"].values()
        text = "\n".join(one["description"] for one in responses)
        told[call] = set(re.findall(r"^`([a-z-]+)`: ", text, re.MULTILINE))
    programs = {"invalid-request", "unauthenticated", "body-too-large", "unsupported-media-type", "forbidden"}
    programs |= {
        "idempotency-mismatch",
        "invalid-transaction",
        "invalid-time",
        "client-ip-required",
        "return-url-not-allowed",
    }

    assert (told[""] | told["/{verification_id}/resend"]) - programs <= _first_cells("A start or a resend, by `code`")
    assert told["/{verification_id}/check"] - programs <= _first_cells("A check, by `reason`")
