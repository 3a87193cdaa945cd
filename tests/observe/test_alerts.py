"""What Prometheus itself makes of the rules, in series that are made up: what fires, and what does not."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from support_missing import missing
from support_sources import ROOT

from otp_service.gateways.base import FailureKind

FILES = sorted((ROOT / "observe" / "prometheus" / "rules").glob("*.yml"))
ONCE = {
    "OtpServiceStoreErrors": 'otp_service_store_errors_total{operation="worker"}',
    "OtpServiceLedgerErrors": 'otp_service_ledger_errors_total{operation="recorder"}',
    "OtpServiceBacklogFull": (
        'otp_service_verification_starts_total{application="shop",purpose="login",country="PK",outcome="backlog-full"}'
    ),
    "OtpServiceMessagesGivenUp": 'otp_service_dead_letters_total{reason="defect"}',
    "OtpServiceAccountRefused": 'otp_service_gateway_account_errors_total{gateway="primary"}',
    "OtpServiceGatewaySuspectsFraud": 'otp_service_dispatches_total{gateway="primary",outcome="fraud"}',
    "OtpServiceCeilingReached": (
        'otp_service_guard_refusals_total{application="shop",country="PK",rule="spend.day",mode="enforce"}'
    ),
    "OtpServiceCodesAreWrong": 'otp_service_wrong_code_alarms_total{application="shop"}',
    "OtpServicePolicyFails": 'otp_service_policy_verdicts_total{policy="swap",verdict="unknown"}',
}
"""Alerts for which once is enough, and a series of each, of a process that reports for all that time."""
NEW, SINCE_LONG = "_x5 1+0x60", "1+0x65"
"""A minute a value: a series that comes with its first count, and one that has not changed for an hour."""
ANSWERS = 'otp_service_http_server_request_duration_seconds_count{method="POST",route="%s",status="%s"}'
REFUSED = 'haproxy_backend_connection_errors_total{proxy="starts"}'

if not shutil.which("promtool"):
    missing("promtool")


def evaluated(folder: Path, test: dict[str, object], step: str = "1m") -> None:
    """Let promtool try the rules, once at each step."""
    path = folder / "tests.yml"  # JSON is YAML
    files = [str(one) for one in FILES]
    path.write_text(json.dumps({"rule_files": files, "evaluation_interval": step, "tests": [test]}))

    environ = {**os.environ, "GOGC": "off"}  # to collect garbage takes it as long as all else
    told = subprocess.run(
        ["promtool", "test", "rules", str(path)], check=False, capture_output=True, text=True, env=environ
    )
    assert told.returncode == 0, told.stdout + told.stderr


def series(named: str, values: str) -> dict[str, object]:
    return {"interval": "1m", "input_series": [{"series": named, "values": values}]}


def fires(alert: str, minute: int) -> dict[str, object]:
    """Return the question whether an alert fires, as a query: its labels and words are not what is asked for."""
    expr = f'count(ALERTS{{alertname="{alert}",alertstate="firing"}})'
    return {"expr": expr, "eval_time": f"{minute}m", "exp_samples": [{"labels": "{}", "value": 1}]}


def is_silent(alert: str, minute: int) -> dict[str, object]:
    return {**fires(alert, minute), "exp_samples": []}


@pytest.mark.parametrize("alert", ONCE)
def test_the_first_time_ever_fires_and_is_over_after_a_while(alert, tmp_path):
    asked = [is_silent(alert, 4), fires(alert, 8), is_silent(alert, 20)]

    evaluated(tmp_path, {**series(ONCE[alert], NEW), "promql_expr_test": asked})


@pytest.mark.parametrize("alert", ONCE)
def test_what_happened_long_ago_does_not_fire(alert, tmp_path):
    asked = [is_silent(alert, 30), is_silent(alert, 60)]

    evaluated(tmp_path, {**series(ONCE[alert], SINCE_LONG), "promql_expr_test": asked})


@pytest.mark.parametrize("alert", ONCE)
def test_one_more_of_what_happened_before_fires(alert, tmp_path):
    asked = [is_silent(alert, 39), fires(alert, 43)]

    evaluated(tmp_path, {**series(ONCE[alert], "7+0x40 8+0x20"), "promql_expr_test": asked})


@pytest.mark.parametrize("reason", [*FailureKind, "expired", "no_gateway", "too_many_ambiguous", "unreadable"])
def test_what_lies_with_the_number_wakes_nobody_and_all_else_does(reason, tmp_path):
    lies_with_it = reason in {FailureKind.DESTINATION, FailureKind.CHANNEL, FailureKind.FRAUD}
    asked = [(is_silent if lies_with_it else fires)("OtpServiceMessagesGivenUp", 8)]
    given_up = series(f'otp_service_dead_letters_total{{reason="{reason}"}}', NEW)

    evaluated(tmp_path, {**given_up, "promql_expr_test": asked})


@pytest.mark.parametrize(("refused", "told"), [(0, is_silent), (5, is_silent), (20, fires)])
def test_more_than_one_in_a_hundred_refused_by_the_proxy_pages(refused, told, tmp_path):
    refusals = [
        {"series": ANSWERS % ("/v1/verifications", "201"), "values": f"0+{1000 - refused}x30"},
        {"series": REFUSED, "values": f"0+{refused}x30"},
    ]

    evaluated(
        tmp_path,
        {"interval": "1m", "input_series": refusals, "promql_expr_test": [told("OtpServiceOverloaded", 20)]},
    )


@pytest.mark.parametrize(
    ("workers", "started", "approved", "told"),
    [
        (1, "0+50x320", "0+40x320", is_silent),
        (1, "0+50x320", "0+40x300 12000+5x20", fires),
        (1, "0+50x320", "0+40x300 _x20", fires),  # restarted, and nobody has been approved since
        (20, "0+5x320", "0+4x320", is_silent),
        (20, "0+5x320", "0+4x300 1200+0.5x20", fires),  # few for each worker, and many for all
    ],
)
def test_few_approvals_page_whichever_workers_record_them(workers, started, approved, told, tmp_path):
    event = 'otp_service_events_recorded_total{application="shop",country="PK",event="verification.%s",instance="%d"}'
    recorded = [
        {"series": event % (name, worker), "values": values}
        for worker in range(workers)
        for name, values in (("started", started), ("approved", approved))
    ]
    asked = [is_silent("OtpServiceConversionFalls", 1490), told("OtpServiceConversionFalls", 1580)]

    # More than a day, of which every rule is tried at each step: a minute each would take ten times as long.
    evaluated(tmp_path, {"interval": "5m", "input_series": recorded, "promql_expr_test": asked}, step="5m")


ALARMS = 'otp_service_unknown_number_alarms{application="shop",country="PK",cause="%s",instance="%d"}'


@pytest.mark.parametrize(
    ("cause", "alert"),
    [("unknown_numbers", "OtpServiceUnknownNumbersApproveLess"), ("delivery", "OtpServiceCodesDoNotArrive")],
)
def test_an_alarm_of_unknown_numbers_pages_while_it_stands_whichever_worker_judges(cause, alert, tmp_path):
    judged = [
        {"series": ALARMS % (cause, 1), "values": "0+0x20 1+0x10 _x40"},
        {"series": ALARMS % (cause, 2), "values": "_x31 1+0x10 0+0x30"},
    ]
    asked = [is_silent(alert, 19), fires(alert, 28), fires(alert, 38), is_silent(alert, 60)]

    evaluated(tmp_path, {"interval": "1m", "input_series": judged, "promql_expr_test": asked})


@pytest.mark.parametrize(("passed", "told"), [(400, is_silent), (899, is_silent), (901, fires), (12_000, fires)])
def test_more_than_twice_the_usual_unapproved_messages_are_a_ticket(passed, told, tmp_path):
    named = 'otp_service_unapproved_messages%s{application="shop",country="PK",window="day"}'
    given = [{"series": named % "", "values": f"{passed}+0x30"}, {"series": named % "_usual", "values": "400+0x30"}]

    evaluated(
        tmp_path,
        {"interval": "1m", "input_series": given, "promql_expr_test": [told("OtpServiceUnapprovedMessagesPass", 20)]},
    )


def test_what_the_proxy_refuses_burns_the_error_budget(tmp_path):
    answers = [
        {"series": ANSWERS % ("/v1/verifications", "201"), "values": "0+96x120"},
        {"series": REFUSED, "values": "0+4x120"},
        {"series": ANSWERS % ("unmatched", "404"), "values": "0+900x120"},
    ]
    asked = [
        {"expr": "otp_service:errors:ratio_rate5m", "eval_time": "90m",
         "exp_samples": [{"labels": "otp_service:errors:ratio_rate5m", "value": 0.04}]},
        fires("OtpServiceErrorBudgetBurnsFast", 90),
    ]  # fmt: skip

    evaluated(tmp_path, {"interval": "1m", "input_series": answers, "promql_expr_test": asked})


PERSISTS = {"redis_aof_enabled": "1+0x60", "redis_aof_last_write_status": "1+0x60"}
PERSISTS["redis_aof_last_bgrewrite_status"] = "1+0x60"


@pytest.mark.parametrize("fails", [None, *PERSISTS])
def test_a_redis_that_cannot_write_its_append_only_file_pages(fails, tmp_path):
    values = PERSISTS | ({fails: "1+0x20 0+0x40"} if fails else {})
    given = [{"series": f'{name}{{instance="a"}}', "values": of} for name, of in values.items()]
    alert = "OtpServiceRedisDoesNotPersist"
    asked = [is_silent(alert, 20), (fires if fails else is_silent)(alert, 25)]

    evaluated(tmp_path, {"interval": "1m", "input_series": given, "promql_expr_test": asked})


REPLICAS = 'redis_connected_slaves{instance="%s"}'


@pytest.mark.parametrize(
    ("series_of", "told"),
    [
        ({REPLICAS % "a": "0+0x60"}, is_silent),  # a server alone
        ({REPLICAS % "a": "2+0x60"}, is_silent),
        ({REPLICAS % "a": "2+0x20 1+0x40"}, fires),
        # A fail-over of which the former primary comes back as a replica, and such of which it does not.
        ({REPLICAS % "a": "2+0x20 0+0x40", REPLICAS % "b": "0+0x20 2+0x40"}, is_silent),
        ({REPLICAS % "a": "2+0x20 _x40", REPLICAS % "b": "0+0x20 1+0x40"}, fires),
        ({REPLICAS % "a": "1+0x60", 'redis_master_link_up{instance="b"}': "1+0x20 0+0x40"}, fires),
    ],
)
def test_a_replica_that_is_gone_or_does_not_follow_pages(series_of, told, tmp_path):
    given = [{"series": name, "values": values} for name, values in series_of.items()]
    asked = [is_silent("OtpServiceRedisDoesNotReplicate", 20), told("OtpServiceRedisDoesNotReplicate", 30)]

    evaluated(tmp_path, {"interval": "1m", "input_series": given, "promql_expr_test": asked})


@pytest.mark.parametrize(("lag", "told"), [("0+0x60", is_silent), ("0+60x60", fires), ("0+60x8 0+0x50", is_silent)])
def test_heads_of_the_audit_chain_that_stay_are_a_ticket(lag, told, tmp_path):
    given = [{"series": 'otp_service_audit_export_lag_seconds{instance="a"}', "values": lag}]
    asked = [is_silent("OtpServiceAuditHeadsStay", 9), told("OtpServiceAuditHeadsStay", 20)]

    evaluated(tmp_path, {"interval": "1m", "input_series": given, "promql_expr_test": asked})
