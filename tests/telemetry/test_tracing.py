"""Spans as they are exported, what they say, and that nobody fails or waits for a collector."""

import io
import json
import logging
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest
import structlog
from support_api import START, Api
from support_caller import Caller
from support_installation import NUMBER, World
from support_outbox import Scripted, Sender, letters, queue, refused
from support_records import entries_of
from support_service import eventually
from support_twilio import Facade, twilio_api
from support_valkey import free_port
from support_worker import Journal, working

from otp_service.api.app import TracingMiddleware
from otp_service.errors import ConfigurationError
from otp_service.telemetry import tracing
from otp_service.telemetry.logging import Renderer, configure_logging, get_logger

pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the extra otel is not installed")

from support_collector import Collector, Exported, collecting

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT, UNSAMPLED = f"00-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}-00"
TRACED = {"telemetry": {"traces": "otlp"}}
Spans = Callable[[], list[Exported]]


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as one:
        yield one


@pytest.fixture
def spans(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> Iterator[Spans]:
    """Traces in this process; what is yielded ends them and returns what was exported."""
    for name, value in collector.environ.items():
        monkeypatch.setenv(name, value)
    tracing.set_enabled(on=True)

    def exported() -> list[Exported]:
        tracing.set_enabled(on=False)
        return collector.spans

    yield exported
    tracing.set_enabled(on=False)


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    written = io.StringIO()
    configure_logging("DEBUG", Renderer.JSON, written)
    yield written
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


def test_a_request_is_a_span_of_its_callers_trace_and_its_script_one_below(spans: Spans, real_world: World):
    api = Api(real_world, **TRACED)
    answer = api.post("/v1/verifications", {"to": NUMBER}, traceparent=PARENT)

    found = {one.name: one for one in spans()}
    request, script = found["POST /v1/verifications"], found["FCALL start"]
    assert (request.name, request.kind) == ("POST /v1/verifications", "server")
    assert (request.trace, request.parent) == (TRACE, SPAN)
    assert request.says == {
        "http.request.method": "POST",
        "http.route": "/v1/verifications",
        "http.response.status_code": 201,
        "otp_service.application": "shop",
        "otp_service.verification": answer.json["id"],
        "otp_service.request": answer.headers["X-Request-Id"],
    }
    assert (script.name, script.kind, script.trace, script.parent) == ("FCALL start", "client", TRACE, request.id)
    assert script.says == {"db.system.name": "redis", "db.stored_procedure.name": "start"}


@pytest.mark.parametrize("hot_path", [True, False])
def test_a_refusal_is_told_by_its_code_and_a_failure_of_ours_fails_its_span(
    spans: Spans, real_world: World, monkeypatch: pytest.MonkeyPatch, hot_path: bool
):
    api = Api(real_world, **TRACED)
    if not hot_path:
        api.app.wsgi_app = TracingMiddleware(api.app.wsgi_app._application.flask)
    api.post("/v1/verifications", {"to": "nobody"})
    monkeypatch.setattr("otp_service.services.start.derive_tag", lambda *_: 1 / 0)
    api.post("/v1/verifications", {"to": NUMBER})

    told = [(one.says["otp_service.problem"], one.failed) for one in spans() if one.kind == "server"]
    assert told == [("invalid-number", False), ("internal", True)]


def test_what_a_caller_may_write_is_told_in_our_words(spans: Spans, real_world: World, collector: Collector):
    api = Api(real_world, **TRACED)
    headers = {"traceparent": PARENT, "tracestate": f"n={NUMBER[1:]}", "baggage": f"number={NUMBER[1:]}"}
    api.call("GET", f"/v1/{NUMBER}?to={NUMBER}", headers=headers)
    api.call(f"X{NUMBER[1:]}", "/v1/verifications", headers={**headers, "traceparent": NUMBER})

    found = spans()
    assert [one.name for one in found] == ["GET unmatched", "other unmatched"]
    assert [one.trace == TRACE for one in found] == [True, False]
    assert {one.state for one in found} == {""}
    assert not any(NUMBER[1:].encode() in body for body in collector.bodies)


def test_no_client_token_is_exported(spans: Spans, real_world: World, collector: Collector):
    api = Api(real_world, **TRACED)
    started = api.post(START, {"to": NUMBER, "client_token": {"allow": ["check"]}}).json
    api.key = started["client_token"]
    for path in (f"{START}/{started['id']}", f"{START}/{started['id']}/check", f"{START}/{api.key}/check"):
        api.post(path, {"code": "000000"})

    assert [one.says["http.response.status_code"] for one in spans() if one.kind == "server"] == [201, 405, 200, 403]
    _, body, mac = started["client_token"].split(".")
    assert not any(part.encode() in exported for part in (body, mac) for exported in collector.bodies)


def test_no_number_in_a_path_as_twilios_is_exported(spans: Spans, real_world: World, collector: Collector):
    facade = Facade(twilio_api(real_world, **TRACED))
    facade.start()
    facade.fetch(NUMBER)
    facade.fetch(f"{NUMBER}/x")

    route = "/twilio/v2/Services/<service_sid>/Verifications"
    assert [one.name for one in spans() if one.kind == "server"][1:] == [
        f"POST {route}", f"GET {route}/<sid>", "GET unmatched"
    ]  # fmt: skip
    assert not any(NUMBER[1:].encode() in body for body in collector.bodies)


def test_a_probe_is_no_span(spans: Spans, real_world: World):
    api = Api(real_world, **TRACED)
    api.get("/healthz")
    api.get("/readyz")

    assert spans() == []


def test_a_message_goes_on_in_the_trace_of_its_start(spans: Spans, real_world: World):
    gateways = {name: {"kind": "sandbox"} for name in ("first", "second")}
    shop = Caller(real_world.install(**TRACED, routes=[{"gateways": list(gateways)}], gateways=gateways))
    sender = Sender(shop, first=Scripted(refused("unavailable")), second=Scripted())
    with tracing.span("asked", "server", PARENT):
        shop.start()
    (job,) = shop.context.store.outbox.take("worker", 1)
    with tracing.span("deliver", "consumer", job.trace):
        sender.hand_over(job)

    found = spans()
    asked, deliver = (next(one for one in found if one.name == name) for name in ("asked", "deliver"))
    calls = [one for one in found if one.name == "send"]
    assert deliver.parent == asked.id
    assert {one.trace for one in found} == {TRACE}
    assert [(one.kind, one.parent) for one in calls] == [("client", deliver.id)] * 2
    dispatches = [each.dispatch_id for each in shop.read(job.id).verification.deliveries]
    assert [one.says for one in calls] == [
        {
            "otp_service.gateway": gateway,
            "otp_service.verification": job.id,
            "otp_service.dispatch": dispatches[number - 1],
            "otp_service.dispatch_number": number,
            "otp_service.outcome": outcome,
        }
        for number, gateway, outcome in ((1, "first", "unavailable"), (2, "second", "accepted"))
    ]
    assert [one.failed for one in calls] == [True, False]


def test_a_worker_delivers_in_the_trace_of_the_start_and_has_no_spans_beside_that(spans: Spans, real_world: World):
    installation, journal = real_world.install(**TRACED), Journal()
    with working(installation, sandbox=journal):
        with tracing.span("asked", "server", PARENT):
            one = Caller(installation).start()
        eventually(lambda: journal.served)

    found = spans()
    (deliver,) = (span for span in found if span.name == "deliver")
    assert {span.trace for span in found} == {TRACE}
    assert (deliver.kind, deliver.says) == (
        "consumer",
        {
            "otp_service.application": "shop",
            "otp_service.verification": one,
            "otp_service.message": 1,
            "otp_service.outcome": "ended",
        },
    )
    assert {span.name for span in found if span.parent == deliver.id} == {
        "FCALL dispatch", "send", "FCALL dispatch_finish", "FCALL gateway_observe",
    }  # fmt: skip


def test_a_further_message_is_of_the_trace_of_whoever_asked_for_it(spans: Spans, still_world: World):
    shop = Caller(still_world.install(**TRACED))
    one = shop.start()
    still_world.advance(31)
    with tracing.span("asked", "server", PARENT):
        shop.resend(one)

    first, second = shop.context.store.outbox.take("worker", 2)
    assert (first.trace, second.trace[:36]) == ("", PARENT[:36])


def test_a_message_keeps_its_trace_while_it_waits_goes_on_and_is_given_up(spans: Spans, real_world: World):
    shop = Caller(real_world.install(**TRACED))
    with tracing.span("asked", "server", PARENT):
        shop.start()
    sender = Sender(shop, sandbox=Scripted(refused("channel"), refused("rejected")))
    (job,) = shop.context.store.outbox.take("worker", 1)
    tracing.set_enabled(on=False)  # a worker without traces, which carries them on
    sender.hand_over(job)
    (again,) = shop.context.store.outbox.take("worker", 1)
    sender.hand_over(again)

    assert (again.channel, again.trace) == ("voice", job.trace)
    assert letters(real_world.client) == ["rejected http 503"]
    (letter,) = shop.context.store.dead_letters.newest(1)
    assert letter.fields["trace"] == job.trace


def test_without_a_trace_a_message_says_nothing_of_one(real_world: World):
    Caller(real_world.install()).start()

    (job,) = entries_of(real_world.client, queue())
    assert not job["trace"]


def test_what_is_not_sampled_is_not_exported_but_carried_on(spans: Spans, real_world: World):
    shop = Caller(real_world.install(**TRACED))
    with tracing.span("asked", "server", UNSAMPLED):
        shop.start()

    (job,) = shop.context.store.outbox.take("worker", 1)
    assert (job.trace[:36], job.trace[-3:]) == (UNSAMPLED[:36], "-00")
    assert spans() == []


def test_an_exception_is_told_by_its_kind_alone(spans: Spans):
    with pytest.raises(ValueError, match=NUMBER[1:]), tracing.span("asked", "server"):
        raise ValueError(NUMBER)

    (asked,) = spans()
    assert (asked.says, asked.failed, asked.events) == ({"error.type": "ValueError"}, True, 0)


def test_a_span_says_only_what_is_listed_and_nothing_that_a_log_would_mask(spans: Spans):
    with tracing.span("asked", "server"):
        tracing.annotate(outcome=f"to {NUMBER}", problem="code 123456", status=201)
        with pytest.raises(KeyError):
            tracing.annotate(number="x")

    (asked,) = spans()
    assert asked.says == {
        "otp_service.outcome": "to [redacted]",
        "otp_service.problem": "code [redacted]",
        "http.response.status_code": 201,
    }


def test_a_line_within_a_span_has_its_trace(spans: Spans, log: io.StringIO):
    get_logger("a").info("before")
    with tracing.span("asked", "server", PARENT):
        get_logger("a").info("within")

    before, within = (json.loads(line) for line in log.getvalue().splitlines() if '"logger": "a"' in line)
    assert ("trace_id" in before, within["trace_id"]) == (False, TRACE)


def test_a_process_tells_its_service_and_what_the_environment_says_of_it(
    spans: Spans, collector: Collector, monkeypatch: pytest.MonkeyPatch
):
    with tracing.span("asked", "server"):
        pass
    spans()
    monkeypatch.setenv("OTEL_SERVICE_NAME", "codes")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=staging")
    tracing.set_enabled(on=True)
    with tracing.span("asked", "server"):
        pass
    spans()

    assert collector.resources == [
        {"service.name": "otp-service"},
        {"service.name": "codes", "deployment.environment.name": "staging"},
    ]


@pytest.mark.parametrize("hangs", [True, False])
def test_nobody_waits_for_a_collector_that_hangs_or_is_away(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, log: io.StringIO, real_world: World, hangs: bool
):
    collector.hangs.set()
    environ = {**collector.environ, "OTEL_BSP_MAX_QUEUE_SIZE": "4", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "2"}
    if not hangs:
        environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{free_port()}"
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    tracing.set_enabled(on=True)
    api = Api(real_world, limits={"number": ["1000/hour"]}, **TRACED)
    took = []
    for _ in range(20):
        began = time.perf_counter()
        assert api.post("/v1/verifications", {"to": NUMBER}, traceparent=PARENT).status_code == 201
        took.append(time.perf_counter() - began)
    began = time.perf_counter()
    tracing.set_enabled(on=False)

    assert max(took) < 1
    assert time.perf_counter() - began < 3
    assert collector.bodies == []


def test_traces_that_are_off_import_nothing_and_make_nothing():
    code = "import sys, otp_service.wsgi, otp_service.cli.main; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    loaded = set(done.stdout.split())  # redis-py imports the metrics of OpenTelemetry where they are installed
    assert "otp_service.telemetry.tracing" in loaded
    assert not loaded & {"otp_service.telemetry.otlp", "opentelemetry.sdk.trace", "opentelemetry.exporter"}

    with tracing.span("asked", "server", PARENT, application="shop"):
        tracing.annotate("other", outcome="x")
        assert (tracing.traceparent(), tracing.trace_id(), tracing.is_on()) == ("", "", False)


def test_without_opentelemetry_everything_is_imported():
    code = "import sys; sys.modules['opentelemetry'] = None; import otp_service.wsgi, otp_service.cli.main"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_the_package_traces_do_not_start_and_the_sentence_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, real_world: World
):
    monkeypatch.setitem(sys.modules, "otp_service.telemetry.otlp", None)

    with pytest.raises(ConfigurationError, match=r"^Traces need the extra otel: docs/install\.md\.$"):
        real_world.install(**TRACED)
    assert real_world.install()


def test_a_variable_that_is_unfit_is_told_before_anything_starts(monkeypatch: pytest.MonkeyPatch, real_world: World):
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "0")

    with pytest.raises(ConfigurationError, match=r"^A variable of OpenTelemetry \(OTEL_…\) is invalid; correct it: "):
        real_world.install(**TRACED)
