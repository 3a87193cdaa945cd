"""One trace from a caller's request to the gateway's call, over real processes, and the canary in no byte of it."""

import base64
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from support_installation import TRANSACTION
from support_service import Service, eventually, report_to_sandbox, running
from support_valkey import ValkeyServer

pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the extra otel is not installed")

from support_collector import Collector, Exported, collecting
from support_records import record_of

NUMBER, ADDRESS, CONTEXT = "+923451987654", "203.0.113.77", "canary-device-4711"
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SECRET = "receipts"
HEADERS = {
    "traceparent": f"00-{TRACE}-{SPAN}-01",
    "tracestate": f"number={NUMBER[1:]}",
    "baggage": f"number={NUMBER[1:]},address={ADDRESS}",
}
SECTIONS = {
    "gateways": {
        "failing": {"kind": "sandbox", "timeout": 1.0, "fail": "unavailable"},
        "sandbox": {"kind": "sandbox", "timeout": 1.0, "receipt_secret": SECRET},
    },
    "routes": [{"gateways": ["failing", "sandbox"]}],
    "telemetry": {"traces": "otlp"},
}


@dataclass(frozen=True)
class Flight:
    """What the collector was sent, all processes ended."""

    verification: str
    dispatch: str
    """Identifier of the call that was accepted."""
    code: str
    collector: Collector
    secrets: tuple[str, ...]
    logs: str

    def one(self, name: str, **says: object) -> Exported:
        return next(
            span
            for span in self.collector.of(name)
            if says.items() <= {key.rpartition(".")[2]: value for key, value in span.says.items()}.items()
        )


@pytest.fixture(scope="module")
def flight(valkey_server: ValkeyServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flight]:
    valkey_server.reset()
    folder = tmp_path_factory.mktemp("traced")
    with collecting() as collector, running(folder, valkey_server, environ=_environ(collector), **SECTIONS) as service:
        verification, dispatch, code = _fly(service)
        pseudonym = record_of(valkey_server.client, f"otp:{{00}}:v:{verification}")["pseudonym"].decode()
        service.stop()  # what is still to be exported goes when a process ends
        secrets = (NUMBER, NUMBER[1:], NUMBER[-7:], ADDRESS, CONTEXT, code, pseudonym, "Daraz", "1500.00")
        yield Flight(verification, dispatch, code, collector, secrets, service.logs())


def _environ(collector: Collector) -> dict[str, str]:
    return {**collector.environ, "OTEL_BSP_SCHEDULE_DELAY": "600000"}  # so that nothing goes before a process ends


def _fly(service: Service) -> tuple[str, str, str]:
    about = {"to": NUMBER, "client_ip": ADDRESS, "context": CONTEXT}
    verification = service.post("/v1/verifications", about, **HEADERS).json()["id"]
    code = service.code(verification)
    service.post("/v1/verifications", {**about, "purpose": "payment", "transaction": TRANSACTION}, **HEADERS)
    service.post("/v1/verifications", {**about, "unknown": NUMBER}, **HEADERS)
    service.post(f"/v1/verifications/{NUMBER}/check?to={NUMBER}", {"code": code}, **HEADERS)
    service.post(f"/v1/verifications/{verification}/check", {"code": "000000"})
    service.check(verification, code)
    eventually(lambda: service.told("message_dispatched") >= 4)
    accepted = (one for one in service.events("message_dispatched") if one["status"] == "sent")
    dispatch = next(one["dispatch"] for one in accepted if one["verification"] == verification)
    report_to_sandbox(service, SECRET, dispatch, "delivered")
    return verification, dispatch, code


def test_one_trace_leads_from_the_caller_to_the_gateway(flight: Flight):
    request = flight.one("POST /v1/verifications", verification=flight.verification)
    deliver = flight.one("deliver", verification=flight.verification)
    calls = [span for span in flight.collector.of("send") if span.parent == deliver.id]

    assert (request.trace, request.parent) == (TRACE, SPAN)
    assert (deliver.trace, deliver.parent) == (TRACE, request.id)
    assert [(one.trace, one.says["otp_service.gateway"], one.says["otp_service.outcome"]) for one in calls] == [
        (TRACE, "failing", "unavailable"),
        (TRACE, "sandbox", "accepted"),
    ]


def test_a_receipt_is_a_trace_of_its_own_that_links_to_the_message(flight: Flight):
    request = flight.one("POST /v1/receipts/<gateway>/<dispatch_id>")
    receipt = flight.one("receipt")
    deliver = flight.one("deliver", verification=flight.verification)

    assert (receipt.trace, receipt.parent) == (request.trace, request.id)
    assert receipt.trace != TRACE
    assert receipt.links == ((TRACE, deliver.id),)
    assert [(one.says["otp_service.verification"], one.says["otp_service.dispatch"]) for one in (request, receipt)] == [
        (flight.verification, flight.dispatch)
    ] * 2


def test_a_request_without_a_trace_begins_one(flight: Flight):
    checks = [span for span in flight.collector.of("POST /v1/verifications/<verification_id>/check") if not span.parent]

    assert len(checks) == len({one.trace for one in checks} - {TRACE}) == 2


def test_the_canary_is_in_no_byte_that_was_exported(flight: Flight):
    sent = b"".join(flight.collector.bodies)
    forms = [form for one in flight.secrets for form in (one.encode(), base64.b64encode(one.encode()))]

    assert len(flight.collector.spans) > 20
    assert flight.verification.encode() in sent
    assert [form for form in forms if form in sent] == []


def test_a_line_of_either_process_names_its_trace(flight: Flight):
    lines = [line for line in flight.logs.splitlines() if TRACE in line]

    assert any('"message": "request"' in line for line in lines)
    assert any('"message": "message_dispatched"' in line for line in lines)
