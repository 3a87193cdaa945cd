"""The metrics as Prometheus reads them."""

import os
import socket
import subprocess
import sys
import urllib.request
from contextlib import closing
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from otp_service.telemetry import metrics
from otp_service.telemetry.metrics import MAX_VALUES, Labels


def _samples(text):
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def _value(name, **labels):
    return _samples(metrics.exposition().decode()).get((name, *sorted(labels.items())), 0.0)


@pytest.mark.parametrize(
    ("record", "name"),
    [
        (metrics.record_start, "otp_service_verifications_started_total"),
        (metrics.record_resend, "otp_service_resends_total"),
    ],
)
def test_starts_and_resends_count_under_their_labels_each_in_its_own_metric(record, name):
    labels = {"application": "of-this-test", "purpose": "login", "country": "PK", "outcome": "rate-limited"}

    record("of-this-test", "login", "PK", "rate-limited")

    assert _value(name, **labels) == 1


def test_a_request_is_timed_by_method_route_and_status():
    labels = {"method": "POST", "route": "/of/this/test/<verification_id>", "status": "200"}

    metrics.record_request("POST", "/of/this/test/<verification_id>", 200, 0.004)

    assert _value("otp_service_http_request_seconds_count", **labels) == 1
    assert _value("otp_service_http_request_seconds_bucket", **labels, le="0.0025") == 0
    assert _value("otp_service_http_request_seconds_bucket", **labels, le="0.005") == 1


def test_a_gateway_call_counts_its_outcome_and_its_time():
    metrics.record_gateway_call("of-this-test", "unavailable", 0.3)
    metrics.record_receipt("of-this-test", "delivered")

    assert _value("otp_service_dispatches_total", gateway="of-this-test", outcome="unavailable") == 1
    assert _value("otp_service_gateway_call_seconds_sum", gateway="of-this-test") == pytest.approx(0.3)
    assert _value("otp_service_receipts_total", gateway="of-this-test", status="delivered") == 1


def test_a_breaker_is_seen_when_it_changes_and_as_it_is():
    metrics.record_breaker("of-this-test", "open")
    metrics.record_breaker("of-this-test", "closed")
    metrics.record_breaker("of-this-test", "open")
    metrics.record_gateway_state("of-this-test", 1.0)
    metrics.record_gateway_state("another-of-this-test", 0.5)

    assert _value("otp_service_breaker_changes_total", gateway="of-this-test", state="open") == 2
    assert _value("otp_service_breaker_changes_total", gateway="of-this-test", state="closed") == 1
    assert _value("otp_service_gateway_open", gateway="of-this-test") == 1
    assert _value("otp_service_gateway_open", gateway="another-of-this-test") == 0.5
    assert 'otp_service_gateway_open{gateway="of-this-test"} 1.0' in metrics.exposition().decode().splitlines(), (
        "a gateway's openness has no other label"
    )


def test_lag_dead_letters_store_errors_and_checks_are_told():
    metrics.record_outbox_lag(12.5)
    metrics.record_dead_letter("of_this_test")
    metrics.record_store_error("of_this_test")
    metrics.record_check("of-this-test", "wrong_code")

    assert _value("otp_service_outbox_lag_seconds") == 12.5
    assert _value("otp_service_dead_letters_total", reason="of_this_test") == 1
    assert _value("otp_service_store_errors_total", operation="of_this_test") == 1
    assert _value("otp_service_checks_total", application="of-this-test", reason="wrong_code") == 1


@pytest.mark.parametrize("value", ["+923001234567", "923001234567", "a\nb", "x" * 81, "Ünïcode", "493817"])
def test_a_label_never_holds_what_may_be_personal(value):
    metrics.record_start("shop", value, value, "accepted")
    metrics.record_request(value, value, 404, 0.001)

    text = metrics.exposition().decode()
    assert value not in text
    assert 'purpose="other"' in text


def test_names_that_nobody_expects_cannot_grow_the_metrics_without_end(monkeypatch):
    monkeypatch.setattr(metrics, "_labels", Labels())  # its own: what another test counts would be one too many
    for number in range(MAX_VALUES + 50):
        metrics.record_dead_letter(f"reason-{number}")

    assert metrics.exposition().count(b'otp_service_dead_letters_total{reason="reason-') == MAX_VALUES
    assert _value("otp_service_dead_letters_total", reason="other") >= 50


def test_the_server_answers_on_its_own_port():
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        port = probe.getsockname()[1]
    metrics.start_server(port, "127.0.0.1")

    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        assert b"otp_service_outbox_lag_seconds" in answer.read()
        assert answer.headers["Content-Type"].startswith("text/plain; version=")


_WORKER = "from otp_service.telemetry import exposition, metrics; metrics.record_check('shop', 'approved')"
_REPORTER = "from otp_service.telemetry import exposition, metrics; print(exposition.text().decode())"


def _run(program):
    return subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, env=dict(os.environ)
    ).stdout


def test_processes_that_share_the_directory_are_summed_and_a_new_start_forgets(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    directory = Path("metrics")
    before = dict(os.environ)
    assert not metrics.is_shared()
    variables = metrics.prepare_folder(directory)
    assert os.environ == before  # it is for the processes that are started: this one counts elsewhere already
    assert variables == {metrics.DIRECTORY_VARIABLE: str(tmp_path / "metrics")}  # wherever they start
    monkeypatch.setenv(*variables.popitem())
    assert metrics.is_shared()
    key = ("otp_service_checks_total", ("application", "shop"), ("reason", "approved"))
    for _ in range(3):
        _run(_WORKER)

    assert _samples(_run(_REPORTER))[key] == 3

    metrics.prepare_folder(directory)
    assert list(directory.glob("*.db")) == []
    assert key not in _samples(_run(_REPORTER))
