"""What Prometheus and Grafana are given asks for what exists, and every alert says what to do."""

import json
import re
import shutil
import subprocess

import pytest
import yaml
from support_programs import programs_of
from support_sources import LUA, ROOT

from otp_service.api.app import all_routes
from otp_service.api.dialects import load_dialects
from otp_service.api.errors import PROBLEM_KINDS
from otp_service.domain.guard import GUARD_RULES, Mode
from otp_service.domain.verification import DeliveryStatus
from otp_service.gateways.base import FailureKind
from otp_service.policies.base import VerdictKind
from otp_service.settings import Settings
from otp_service.telemetry import metrics

OBSERVE = ROOT / "observe"
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
CONFIG = yaml.safe_load((OBSERVE / "prometheus" / "prometheus.yml").read_text())
FILES = sorted((OBSERVE / "prometheus" / "rules").glob("*.yml"))
DECLARED = [rule for path in FILES for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]
ALERTS = [rule for rule in DECLARED if "alert" in rule]
RECORDED = {rule["record"] for rule in DECLARED if "record" in rule}
(check,) = programs_of("observe", "check")
QUERIES = list(check.queries())
QUERIES += [(rule.get("alert") or rule["record"], rule["expr"]) for rule in DECLARED]
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
OF_THE_EXPORTER = {
    "redis_up", "redis_memory_used_bytes", "redis_memory_max_bytes", "redis_commands_processed_total",
    "redis_cpu_sys_seconds_total", "redis_cpu_user_seconds_total", "redis_db_keys", "redis_aof_enabled",
    "redis_aof_last_write_status", "redis_aof_last_bgrewrite_status", "redis_connected_slaves", "redis_master_link_up",
}  # fmt: skip
"""What redis_exporter tells; ``make observe-check`` asks a real one."""
SELECTOR = re.compile(r"\b(otp_service_\w+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')

VALUES = {
    ("otp_service_verification_starts_total", "outcome"): {"accepted", *PROBLEM_KINDS},
    ("otp_service_dispatches_total", "outcome"): {"accepted", *FailureKind},
    ("otp_service_receipts_total", "status"): set(DeliveryStatus),
    ("otp_service_policy_verdicts_total", "verdict"): set(VerdictKind),
    ("otp_service_guard_refusals_total", "mode"): set(Mode),
}
"""What some labels take, of those that are compared with."""


def exposed():
    """Return the names that Prometheus sees, and the labels of each."""
    load_dialects()  # which declare metrics
    suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "gauge": ("",)}
    return {
        metric.name + suffix: {*metric.labels, *(["le"] if suffix == "_bucket" else [])}
        for metric in metrics.METRICS
        for suffix in suffixes[metric.kind]
    }


EXPOSED = exposed()


@pytest.mark.parametrize(("title", "expr"), QUERIES)
def test_a_query_names_metrics_and_labels_that_exist(title, expr):
    found = [*SELECTOR.findall(expr)]
    names = [name for name, _ in found]
    others = set(re.findall(r"\b(redis_\w+|up)\b(?!=)", expr)) - OF_THE_EXPORTER - {"up"}

    assert names or re.search(
        r"otp_service:|redis_|process_|\bup\b|^vector|haproxy_backend_connection_errors_total", expr
    ), "asks for nothing of ours"
    assert others == set()
    assert set(names) <= EXPOSED.keys()
    for name, matchers in found:
        assert {label for label, _, _ in MATCHER.findall(matchers)} <= EXPOSED[name], name
    grouped = {one.strip() for by in re.findall(r"\bby \(([^)]*)\)", expr) for one in by.split(",")}
    assert grouped <= set().union(*(EXPOSED[name] for name in names), {"job"}) if names else not grouped


@pytest.mark.parametrize(("title", "expr"), QUERIES)
def test_a_query_compares_labels_with_values_that_they_take(title, expr):
    scripts = "\n".join(path.read_text() for path in LUA.glob("*.lua"))
    for label, kind, value in MATCHER.findall(expr):
        if label == "event":
            assert f"'{value}'" in scripts or f"'{value.partition('.')[0]}.'" in scripts, value
        if label == "rule":
            assert [one for one in GUARD_RULES if re.fullmatch(value, one)], value
        if label == "job":
            assert value in {job["job_name"] for job in CONFIG["scrape_configs"]}
        assert kind in {"=~", "!~"} or "|" not in value
    for name, matchers in SELECTOR.findall(expr):
        for label, _, value in MATCHER.findall(matchers):
            values = VALUES.get((name, label), value.split("|"))
            assert all(any(re.fullmatch(one, known) for known in values) for one in value.split("|")), value


@pytest.mark.parametrize(("record", "endpoint"), [("errors", ""), ("starts_slow", ".start")])
def test_an_objective_is_of_all_calls_that_applications_make(record, endpoint):
    routes = {
        route.rule
        for route in all_routes(with_metrics=True, dialects=load_dialects())
        if route.resource.scope and route.endpoint.endswith(endpoint)
    }
    asked = [rule["expr"] for rule in DECLARED if rule.get("record", "").startswith(f"otp_service:{record}:")]
    matchers = [re.findall(r'route=~"([^"]*)"', expr) for expr in asked]

    assert routes
    assert all(matchers)
    assert {one for one in routes for of in matchers for form in of if not re.fullmatch(form, one)} == set()


def test_recorded_names_that_are_asked_for_are_recorded():
    asked = {name for _, expr in QUERIES for name in re.findall(r"\botp_service:[\w:]+", expr)}

    assert asked <= RECORDED


def test_every_metric_of_ours_is_watched_but_those_that_are_named_here():
    watched = {name for _, expr in QUERIES for name, _ in SELECTOR.findall(expr)}
    families = {re.sub(r"_(total|bucket|count|sum)$", "", name) for name in EXPOSED}

    assert families - {re.sub(r"_(total|bucket|count|sum)$", "", name) for name in watched} == {
        "otp_service_inbound_messages", "otp_service_replies", "otp_service_gateway_breaker_changes",
        "otp_service_twilio_unused_parameters"
    }  # fmt: skip


def test_the_dashboard_is_what_its_maker_makes():
    maker = programs_of("observe", "make_dashboard")[0]

    assert maker.document() == maker.DASHBOARD.read_text(encoding="utf-8"), "python observe/make_dashboard.py"


def test_no_two_panels_lie_over_each_other():
    panels = json.loads(check.DASHBOARD.read_text())["panels"]
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]

    assert len(cells) == len(set(cells))
    assert len({panel["id"] for panel in panels}) == len(panels)


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_every_alert_has_an_entry_in_the_runbook(alert):
    entry = RUNBOOK.split(f"\n## {alert['alert']}\n", 1)[1].split("\n## ", 1)[0]

    assert re.findall(r"^\*\*(Look|Do)\.\*\* \S", entry, re.MULTILINE) == ["Look", "Do"]
    assert alert["labels"]["severity"] in {"page", "ticket"}
    assert alert["annotations"]["summary"]


def test_the_runbook_looks_at_panels_that_the_dashboard_has():
    titles = {title for title, _ in check.queries()}
    named = set(re.findall(r'"([A-Z][^"]+)"', RUNBOOK))

    assert {"Answers by status", "Starts by outcome"} <= named
    assert named <= titles


def test_the_runbook_has_no_entry_without_an_alert():
    assert set(re.findall(r"^## (OtpService\w+)$", RUNBOOK, re.MULTILINE)) == {one["alert"] for one in ALERTS}
    assert len({one["alert"] for one in ALERTS}) == len(ALERTS)


def test_messages_that_are_given_up_in_peace_are_such_as_are_given_up():
    (alert,) = [one for one in ALERTS if one["alert"] == "OtpServiceMessagesGivenUp"]
    table = (
        (ROOT / "docs" / "operations.md")
        .read_text(encoding="utf-8")
        .partition("## Dead letters")[2]
        .partition("\n## ")[0]
    )
    told = {
        reason for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for reason in re.findall(r"`(\w+)", row)
    }

    assert {reason for found in re.findall(r'reason!~"(.*?)"', alert["expr"]) for reason in found.split("|")} <= told


def test_prometheus_scrapes_the_ports_that_processes_report_on():
    settings = Settings()
    found = {}
    for job in CONFIG["scrape_configs"]:
        for one in job.get("dns_sd_configs", ()):
            found.update(dict.fromkeys(one["names"], one["port"]))

    assert found == {"api": settings.http.metrics_port, "worker": settings.worker.metrics_port}
    assert set(found) <= COMPOSE["services"].keys()
    bound = re.search(r"frontend metrics\n    bind :(\d+)", (ROOT / "config" / "haproxy.cfg").read_text())[1]
    others = [job["static_configs"][0]["targets"] for job in CONFIG["scrape_configs"] if "static_configs" in job]
    assert others == [[f"proxy:{bound}"], ["redis-exporter:9121"]]


def test_grafana_finds_its_files_and_its_source():
    source = yaml.safe_load((OBSERVE / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"][0]
    provider = yaml.safe_load((OBSERVE / "grafana/provisioning/dashboards/otp-service.yml").read_text())["providers"][0]
    mounted = dict(volume.split(":")[:2] for volume in COMPOSE["services"]["grafana"]["volumes"])
    uids = {one["uid"] for one in _sources(json.loads(check.DASHBOARD.read_text()))}

    assert mounted == {
        "./observe/grafana/provisioning": "/etc/grafana/provisioning",
        "./observe/grafana/dashboards": provider["options"]["path"],
    }
    assert uids == {source["uid"]}
    assert source["url"] == "http://prometheus:9090"


def _sources(value):
    if isinstance(value, dict):
        yield from [value["datasource"]] if "datasource" in value else []
        for one in value.values():
            yield from _sources(one)
    if isinstance(value, list):
        for one in value:
            yield from _sources(one)


@pytest.mark.skipif(not shutil.which("promtool"), reason="needs promtool")
def test_prometheus_itself_understands_the_files():
    for command in (["rules", *map(str, FILES)], ["config", str(OBSERVE / "prometheus" / "prometheus.yml")]):
        told = subprocess.run(["promtool", "check", *command], check=False, capture_output=True, text=True)

        assert told.returncode == 0, told.stderr
