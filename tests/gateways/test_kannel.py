"""A real Kannel: messages through smsbox to an SMS centre, delivery reports back to a real service."""

import hmac
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import requests
from support_gateways import MESSAGE, make
from support_kannel import DENIED, PASSWORD, Caught, Kannel, missing_part
from support_missing import missing
from support_service import PATIENCE, Service, eventually, running
from support_smsc import Smsc, deliver_body
from support_sources import ROOT
from support_valkey import ValkeyServer

from otp_service.domain.inbound import Meaning
from otp_service.domain.verification import DeliveryStatus
from otp_service.gateways.base import FailureKind, GatewayError, ProviderRequest, Receipt, ReceiptRequest
from otp_service.settings.schema import InboundSettings
from otp_service.testing.provider import FakeProvider
from otp_service.testing.samples import CannedResponse

EXAMPLE = ROOT / "config" / "examples" / "kannel.toml"
SECRET = "a-secret-of-receipts"
TOKEN = hmac.digest(SECRET.encode(), b"inbound", "sha256").hex()[:32]
NUMBER = "+923001234567"
REPLY = "You get no more messages from Acme Shop."
PLAIN = {"Content-Type": "text/plain; charset=utf-8"}
URDU = "آپ کا کوڈ 482913 ہے۔ کسی کو نہ بتائیں۔"


@pytest.fixture(scope="module")
def operator() -> Iterator[Smsc]:
    with Smsc() as operator:
        yield operator


@pytest.fixture(scope="module")
def office() -> Iterator[FakeProvider]:
    """Stands for the service where people's messages come in."""
    with FakeProvider() as office:
        yield office


@pytest.fixture(scope="module")
def kannel(operator: Smsc, office: FakeProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kannel]:
    if part := missing_part():
        missing(part)
    kannel = Kannel(tmp_path_factory.mktemp("kannel"), operator.port, f"{office.url}/v1/inbound/kannel?token={TOKEN}")
    yield kannel
    kannel.stop()


def section(kannel: Kannel, **query: str) -> dict[str, Any]:
    """Return the example's section, with this Kannel and its secrets."""
    example = tomllib.loads(EXAMPLE.read_text())["gateways"]["kannel"]
    return {
        **example,
        "url": kannel.url,
        "secrets": {"password": PASSWORD},
        "query": {**example["query"], **query},
        "receipts": {**example["receipts"], "secret": SECRET},
        "inbound": {**example["inbound"], "secret": SECRET},
    }


def send(kannel: Kannel, message: Any, **changes: Any) -> str:
    settings = {**section(kannel), **changes}
    settings.pop("kind")
    return make("http", **settings).send(message).reference


def arrived(kannel: Kannel, text: str) -> list[Caught]:
    return eventually(lambda: [one for one in kannel.caught() if one.text == text])


@pytest.mark.parametrize(
    "text",
    ["Your Acme Shop code is 482913. Never share it.", "Ü{€}[~]@£ code 482913", URDU, "“curly” 😀 482913"],
    ids=["GSM-7", "GSM-7 extended", "Urdu", "UCS-2"],
)
def test_a_text_arrives_as_it_was_written(kannel: Kannel, text: str):
    reference = send(kannel, replace(MESSAGE, text=text, receipt_url=None))

    assert reference == MESSAGE.dispatch_id
    assert arrived(kannel, text) == [Caught("Acme", NUMBER, text)]


def test_a_long_text_arrives_in_segments(kannel: Kannel):
    text = URDU * 3
    send(kannel, replace(MESSAGE, text=text, receipt_url=None))

    assert arrived(kannel, text[:67]) == [Caught("Acme", NUMBER, text[:67])]
    assert arrived(kannel, text[67:]) == [Caught("Acme", NUMBER, text[67:])]


@pytest.mark.parametrize(
    ("message", "changes", "failure"),
    [
        (MESSAGE, {"secrets": {"password": "wrong"}}, "account: http 403"),
        (replace(MESSAGE, to=f"+{DENIED}1234567"), {}, "destination: denied by lists"),
    ],
    ids=["password", "denied"],
)
def test_a_refusal_is_understood(kannel: Kannel, message: Any, changes: Any, failure: str):
    before = len(kannel.caught())
    with pytest.raises(GatewayError) as failed:
        send(kannel, message, **changes)

    assert (str(failed.value), failed.value.ambiguous) == (failure, False)
    assert len(kannel.caught()) == before


@pytest.fixture(scope="module")
def service(kannel: Kannel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with two ways through Kannel, one of which asks for no reports."""
    valkey = ValkeyServer(tmp_path_factory.mktemp("valkey"))
    gateways = {"kannel": section(kannel), "unreported": section(kannel, **{"dlr-mask": "0"})}
    routes = [{"gateways": ["unreported"], "countries": ["GB"]}, {"gateways": ["kannel"]}]
    try:
        with running(tmp_path_factory.mktemp("service"), valkey, gateways=gateways, routes=routes) as service:
            yield service
    finally:
        valkey.stop()


def delivery(service: Service, one: str) -> dict[str, Any]:
    (found,) = service.get(f"/v1/verifications/{one}").json()["deliveries"]
    return found


def became(service: Service, one: str, status: str) -> dict[str, Any]:
    return eventually(lambda: (found := delivery(service, one))["status"] == status and found)


def test_a_code_reaches_the_handset_and_its_report_comes_back(kannel: Kannel, service: Service):
    number = "+923009876543"
    one = service.start(to=number)
    shown = became(service, one, "delivered")
    (message,) = [caught for caught in kannel.caught() if caught.to == number]
    code = next(word.strip(".") for word in message.text.split() if word.strip(".").isdecimal())

    assert (shown["gateway"], shown["channel"], shown["reason"]) == ("kannel", "sms", None)
    assert message.sender == "Acme"
    assert service.get(f"/v1/verifications/{one}").json()["status"] == "pending"
    assert service.check(one, code)["valid"] is True
    for private in (number.removeprefix("+"), code, SECRET, PASSWORD):
        assert private not in service.logs()


def test_a_forged_report_changes_nothing_and_a_genuine_one_does(kannel: Kannel, service: Service):
    before = set(kannel.accounts())
    one = service.start(to="+447400123456")
    became(service, one, "sent")
    (dispatch,) = eventually(lambda: set(kannel.accounts()) - before)
    address = f"{service.base}/v1/receipts/unreported/{dispatch}"
    settings = section(kannel)
    settings.pop("kind")
    genuine = make("http", **settings).sign_receipt_url(address, dispatch)
    wrong = genuine[:-1] + ("0" if genuine[-1] != "0" else "1")

    for forged in (f"{wrong}&status=2", f"{address}?status=2", f"{address}?token=&status=2"):
        assert requests.get(forged, timeout=PATIENCE).status_code == 401
    assert requests.head(f"{genuine}&status=2", timeout=PATIENCE).status_code == 405
    assert delivery(service, one)["status"] == "sent"
    assert requests.get(f"{genuine}&status=2", timeout=PATIENCE).status_code == 204
    assert delivery(service, one)["status"] == "undelivered"


def test_an_operators_code_of_an_error_comes_through_kannel(kannel: Kannel, operator: Smsc, provider: FakeProvider):
    """As the example says: its line of kinds, which has no effect there, is the one that is read here."""
    line = next(line for line in EXAMPLE.read_text().splitlines() if line.startswith("# kinds ="))
    settings = section(kannel, smsc="operator")
    settings.pop("kind")
    settings["receipts"] |= tomllib.loads(line.removeprefix("# "))
    gateway = make("http", **settings)
    address = gateway.sign_receipt_url(f"{provider.url}/r", MESSAGE.dispatch_id)

    eventually(lambda: operator.bound)
    gateway.send(replace(MESSAGE, receipt_url=address, dispatch_id="dp_operator"))
    eventually(lambda: "dp_operator" in kannel.accounts())  # it has read the answer, and will know what is reported
    operator.deliver(
        deliver_body(
            b"id:id-1 sub:001 dlvrd:000 submit date:2611241200 done date:2611241201 stat:UNDELIV err:001 text:x"
        )
    )
    report = eventually(lambda: provider.received)[0]

    assert gateway.parse_receipt(
        ReceiptRequest(report.method, address, {}, report.query, {}, b"", "127.0.0.1", MESSAGE.dispatch_id)
    ) == Receipt(DeliveryStatus.UNDELIVERED, "2", "destination", FailureKind.DESTINATION)


@pytest.mark.parametrize(
    ("octets", "coding", "meaning"),
    [
        (b"Stop.", 0, Meaning.STOP),
        ("بند کریں".encode("utf-16-be"), 8, Meaning.STOP),
        (b"don't stop", 0, Meaning.OTHER),
    ],
    ids=["English", "Urdu", "a sentence"],
)
def test_what_somebody_writes_comes_in_and_the_answer_is_sent(
    kannel: Kannel, operator: Smsc, office: FakeProvider, octets: bytes, coding: int, meaning: Meaning
):
    """As the example has Kannel configured; without an answer nothing is sent."""
    settings = section(kannel)
    settings.pop("kind")
    gateway = make("http", **settings)
    office.response = CannedResponse(body=REPLY if meaning is Meaning.STOP else "", headers=PLAIN)
    office.received.clear()
    eventually(lambda: operator.bound)
    before = len(operator.submits)
    operator.deliver(deliver_body(octets, esm_class=0, data_coding=coding))
    (came,) = eventually(lambda: list(office.received))
    read = gateway.parse_inbound(
        ProviderRequest(came.method, f"{office.url}{came.target}", came.headers, came.query, {}, b"", "127.0.0.1")
    )

    assert (read.sender, InboundSettings().rules.keywords.meaning(read.text)) == (NUMBER, meaning)
    assert read.reference
    if meaning is Meaning.STOP:
        eventually(lambda: len(operator.submits) > before)
        assert (operator.submits[-1].destination_addr, operator.submits[-1].short_message) == (
            NUMBER.removeprefix("+"),
            REPLY.encode(),
        )
