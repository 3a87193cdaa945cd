"""The metrics as Prometheus reads them."""

import ast
import os
import re
import resource
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import closing
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support_sources import ROOT

from otp_service.telemetry import metrics
from otp_service.telemetry.metrics import MAX_VALUES, LabelValues

USE = re.compile(r"metrics\.(\w+)\.(count|observe|set|clear)")


def _samples(text):
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def _value(name, **labels):
    return _samples(metrics.exposition().decode()).get((name, *sorted(labels.items())), 0.0)


@pytest.mark.parametrize(
    ("counter", "name"),
    [
        (metrics.starts, "otp_service_verification_starts_total"),
        (metrics.resends, "otp_service_verification_resends_total"),
    ],
)
def test_starts_and_resends_count_under_their_labels_each_in_its_own_metric(counter, name):
    labels = {"application": "of-this-test", "purpose": "login", "country": "PK", "outcome": "rate-limited"}

    counter.count(**labels)

    assert _value(name, **labels) == 1


def test_a_request_is_timed_by_method_route_and_status():
    labels = {"method": "POST", "route": "/of/this/test/<verification_id>", "status": "200"}

    metrics.request_duration.observe(0.004, **labels)

    assert _value("otp_service_http_server_request_duration_seconds_count", **labels) == 1
    assert _value("otp_service_http_server_request_duration_seconds_bucket", **labels, le="0.0025") == 0
    assert _value("otp_service_http_server_request_duration_seconds_bucket", **labels, le="0.005") == 1


def test_a_gateway_call_counts_its_outcome_and_its_time():
    metrics.dispatches.count(gateway="of-this-test", outcome="unavailable")
    metrics.dispatch_duration.observe(0.3, gateway="of-this-test")
    metrics.receipts.count(gateway="of-this-test", status="delivered")

    assert _value("otp_service_dispatches_total", gateway="of-this-test", outcome="unavailable") == 1
    assert _value("otp_service_dispatch_seconds_sum", gateway="of-this-test") == pytest.approx(0.3)
    assert _value("otp_service_receipts_total", gateway="of-this-test", status="delivered") == 1


def test_a_breaker_is_seen_when_it_changes_and_as_it_is():
    metrics.gateway_breaker_changes.count(gateway="of-this-test", state="open")
    metrics.gateway_breaker_changes.count(gateway="of-this-test", state="closed")
    metrics.gateway_breaker_changes.count(gateway="of-this-test", state="open")
    metrics.gateway_breaker_open.set(1.0, gateway="of-this-test")
    metrics.gateway_breaker_open.set(0.5, gateway="another-of-this-test")

    assert _value("otp_service_gateway_breaker_changes_total", gateway="of-this-test", state="open") == 2
    assert _value("otp_service_gateway_breaker_changes_total", gateway="of-this-test", state="closed") == 1
    assert _value("otp_service_gateway_breaker_open", gateway="of-this-test") == 1
    assert _value("otp_service_gateway_breaker_open", gateway="another-of-this-test") == 0.5
    assert (
        'otp_service_gateway_breaker_open{gateway="of-this-test"} 1.0' in metrics.exposition().decode().splitlines()
    ), "a gateway's openness has no other label"


def test_lag_dead_letters_store_errors_and_checks_are_told():
    metrics.outbox_lag.set(12.5)
    metrics.dead_letters.count(reason="of_this_test")
    metrics.store_errors.count(operation="of_this_test")
    metrics.checks.count(application="of-this-test", outcome="wrong_code")

    assert _value("otp_service_outbox_lag_seconds") == 12.5
    assert _value("otp_service_dead_letters_total", reason="of_this_test") == 1
    assert _value("otp_service_store_errors_total", operation="of_this_test") == 1
    assert _value("otp_service_verification_checks_total", application="of-this-test", outcome="wrong_code") == 1


@pytest.mark.parametrize("value", ["+923001234567", "923001234567", "a\nb", "x" * 81, "Ünïcode", "493817"])
def test_a_label_never_holds_what_may_be_personal(value):
    metrics.starts.count(application="shop", purpose=value, country=value, outcome="accepted")
    metrics.request_duration.observe(0.001, method=metrics.method_label(value), route=value, status="404")

    text = metrics.exposition().decode()
    assert value not in text
    assert 'purpose="other"' in text


def test_names_that_nobody_expects_cannot_grow_the_metrics_without_end(monkeypatch):
    monkeypatch.setattr(metrics, "_labels", LabelValues())  # its own: what another test counts would be one too many
    for number in range(MAX_VALUES + 50):
        metrics.dead_letters.count(reason=f"reason-{number}")

    assert metrics.exposition().count(b'otp_service_dead_letters_total{reason="reason-') == MAX_VALUES
    assert _value("otp_service_dead_letters_total", reason="other") >= 50


def test_a_method_that_is_none_is_told_as_other():
    assert [metrics.method_label(method) for method in ("POST", "BREW", "post")] == ["POST", "other", "other"]


def test_a_gauge_that_is_cleared_tells_nothing():
    metrics.registration_remaining.set(259_200, country="PK", registration="of-this-test")
    assert _value("otp_service_registration_remaining_seconds", country="PK", registration="of-this-test") == 259_200

    metrics.registration_remaining.clear()
    assert _value("otp_service_registration_remaining_seconds", country="PK", registration="of-this-test") == 0


@pytest.mark.parametrize("labels", [{}, {"application": "x"}, {"application": "x", "reason": "y", "country": "PK"}])
def test_a_label_too_few_or_too_many_is_a_defect(labels):
    with pytest.raises(ValueError, match="otp_service_verification_checks"):
        metrics.checks.count(**labels)


def _uses():
    """Yield each use of a metric in the package: where, the metric, the verb, its labels, if they are named there."""
    for path in sorted((ROOT / "otp_service").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and (found := USE.fullmatch(ast.unparse(node.func))):
                yield f"{path.name}:{node.lineno}", *found.groups(), {keyword.arg for keyword in node.keywords}


def test_every_metric_is_used_and_each_use_gives_it_its_labels():
    tables = {name: one for name, one in vars(metrics).items() if isinstance(one, metrics.Metric)}
    uses = list(_uses())

    wrong = [use for use in uses if use[2] != "clear" and use[3] != set(tables[use[1]].labels)]
    assert wrong == []
    assert {name for _, name, _, _ in uses} | {"starts", "resends"} == tables.keys(), "services pass these two on"
    assert set(tables.values()) <= set(metrics.METRICS)


def test_the_server_answers_on_its_own_port():
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        port = probe.getsockname()[1]
    metrics.start_server(port, "127.0.0.1")

    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        assert b"otp_service_outbox_lag_seconds" in answer.read()
        assert answer.headers["Content-Type"].startswith("text/plain; version=")


def _answer(port, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read()


def test_health_is_answered_beside_the_metrics():
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        port = probe.getsockname()[1]
    healthy = [True]
    metrics.start_server(port, "127.0.0.1", lambda: healthy[0])

    assert _answer(port, "/healthz") == (200, b'{"status": "ok"}')
    healthy[0] = False
    assert _answer(port, "/healthz") == (503, b'{"status": "stalled"}')
    assert _answer(port, "/metrics")[0] == 200
    assert b"process_open_fds" in _answer(port, "/metrics")[1]


def test_a_process_is_told_together_with_its_children():
    hold = "import sys; held = bytearray(64_000_000); print(flush=True); sys.stdin.read()"
    alone = _value("process_resident_memory_bytes")
    with subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        together, started = _value("process_resident_memory_bytes"), _value("process_start_time_seconds")
        child.stdin.close()

    assert together > alone + 60_000_000
    assert started == _value("process_start_time_seconds") < time.time()
    assert _value("process_max_fds") == resource.getrlimit(resource.RLIMIT_NOFILE)[0]


_WORKER = "from otp_service.telemetry import metrics; metrics.checks.count(application='shop', outcome='approved')"
_REPORTER = "from otp_service.telemetry import metrics; print(metrics.exposition().decode())"


def _run(program):
    return subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, env=dict(os.environ)
    ).stdout


def test_processes_that_share_the_directory_are_summed_and_a_new_start_forgets(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    directory = Path("metrics")
    before = dict(os.environ)
    assert not metrics.is_multiprocess()
    variables = metrics.prepare_directory(directory)
    assert os.environ == before  # it is for the processes that are started: this one counts elsewhere already
    assert variables == {metrics.DIRECTORY_VARIABLE: str(tmp_path / "metrics")}  # wherever they start
    monkeypatch.setenv(*variables.popitem())
    assert metrics.is_multiprocess()
    key = ("otp_service_verification_checks_total", ("application", "shop"), ("outcome", "approved"))
    for _ in range(3):
        _run(_WORKER)

    assert _samples(_run(_REPORTER))[key] == 3

    metrics.prepare_directory(directory)
    assert list(directory.glob("*.db")) == []
    assert key not in _samples(_run(_REPORTER))
