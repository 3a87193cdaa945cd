"""The program of the integration guide, as it stands there, against a service whose answers get lost."""

import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from otp_service_client import RateLimited
from support_api import START, Api
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


def test_the_program_starts_checks_sends_again_cancels_and_lets_a_payment_pass(api: Api, proxy: Forgetful):
    client, views, payment = _blocks("python")
    start, check, resend, cancel = views.split("\n\n")
    begin, end = payment.split("\n\n")
    session: dict[str, Any] = {}
    program: dict[str, Any] = {"session": session, "request": SimpleNamespace(remote_addr=IP, cookies={"device": "it"})}

    def run(part: str, **form: str) -> None:
        program["form"] = form
        exec(part, program)  # noqa: S102 - ours

    run(client)
    run(start, phone="0300 1234567")
    run(check, code=api.wrong(session["started"]["id"]))
    assert "account" not in session
    run(check, code=api.code(session["started"]["id"]), phone="+923007654321")
    assert session["account"] == NUMBER

    run(start, phone="+923001234569")
    with pytest.raises(RateLimited) as refused:
        run(resend)
    run(cancel)
    assert refused.value.code == "resend-too-soon"
    assert api.get(f"{START}/{session['started']['id']}").json["status"] == "canceled"

    run(begin, phone="+923007654321")
    assert api.get(f"{START}/{session['payment']}").json["to"].endswith(NUMBER[-3:]), "whoever sends the form"
    run(end, code=api.code(session["payment"]))
    assert session["paid"] == program["transaction"]

    program["otp"].close()
    assert {proxy.keys.count(key) for key in proxy.keys} == {2}, "each answer was lost once"


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
