"""Prometheus metrics of the service, and their exposition."""

import os
import re
import threading
from collections.abc import Iterable
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, start_http_server
from prometheus_client.multiprocess import MultiProcessCollector

OTHER = "other"
"""What a label says instead of a value that it must not hold."""
MAX_VALUES = 300
"""Different values that one label may take in one process; there are 249 countries."""

_LABEL = re.compile(r"[A-Za-z0-9_./<>: {}-]{0,80}")
_LONG_NUMBER = re.compile(r"\d{6}")


class Labels:
    """The values that labels took so far: a name that nobody expects cannot grow the metrics without end."""

    def __init__(self) -> None:
        self._seen: dict[str, set[str]] = {}
        self._lock = threading.Lock()

    def bounded(self, label: str, value: str) -> str:
        """Return the value, or `OTHER` when it may be personal, is malformed, or is one too many."""
        seen = self._seen.get(label, ())
        if value in seen:
            return value
        if not _LABEL.fullmatch(value) or _LONG_NUMBER.search(value):
            return OTHER
        return self._admit(label, value)

    def _admit(self, label: str, value: str) -> str:
        with self._lock:
            seen = self._seen.setdefault(label, set())
            if len(seen) >= MAX_VALUES:
                return OTHER
            seen.add(value)
        return value


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_HTTP_BUCKETS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.5)
_GATEWAY_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

REGISTRY = CollectorRegistry()
_requests = Histogram(
    "otp_service_http_request_seconds",
    "Time from a request to its answer.",
    ("method", "route", "status"),
    buckets=_HTTP_BUCKETS,
    registry=REGISTRY,
)
_starts = Counter(
    "otp_service_verifications_started",
    "Starts by what became of them: accepted, or the code of the error.",
    ("application", "purpose", "country", "outcome"),
    registry=REGISTRY,
)
_resends = Counter(
    "otp_service_resends",
    "Resends by what became of them: accepted, or the code of the error.",
    ("application", "purpose", "country", "outcome"),
    registry=REGISTRY,
)
_checks = Counter(
    "otp_service_checks",
    "Checked codes: approved, or why not.",
    ("application", "reason"),
    registry=REGISTRY,
)
_alarms = Counter(
    "otp_service_failure_alarms",
    "Times that most of the codes that an application checked were wrong.",
    ("application",),
    registry=REGISTRY,
)
_refusals = Counter(
    "otp_service_guard_refusals",
    "Messages that a rule of the guard refused, or would have: enforce, record_only.",
    ("application", "country", "rule", "mode"),
    registry=REGISTRY,
)
_dispatches = Counter(
    "otp_service_dispatches",
    "Calls to gateways by what became of them: accepted, or the kind of the failure.",
    ("gateway", "outcome"),
    registry=REGISTRY,
)
_gateway_calls = Histogram(
    "otp_service_gateway_call_seconds",
    "Time that a gateway's answer took.",
    ("gateway",),
    buckets=_GATEWAY_BUCKETS,
    registry=REGISTRY,
)
_receipts = Counter("otp_service_receipts", "Reports of gateways.", ("gateway", "status"), registry=REGISTRY)
_inbound = Counter(
    "otp_service_inbound_messages",
    "Messages from people, by what they meant, and what came of them: obeyed, recorded, repeated, no_application, "
    "no_number.",
    ("gateway", "meaning", "outcome"),
    registry=REGISTRY,
)
_replies = Counter(
    "otp_service_replies",
    "Replies to messages from people: answered with the request, accepted, or why not.",
    ("gateway", "outcome"),
    registry=REGISTRY,
)
_breaker_changes = Counter(
    "otp_service_breaker_changes",
    "Times that a gateway's breaker opened or closed.",
    ("gateway", "state"),
    registry=REGISTRY,
)
_account_refusals = Counter(
    "otp_service_account_refusals",
    "Times that a gateway refused our account, in an answer or in a report.",
    ("gateway",),
    registry=REGISTRY,
)
_gateways_open = Gauge(
    "otp_service_gateway_open",
    "Whether a gateway's breaker is open: 1, half open: 0.5, closed: 0.",
    ("gateway",),
    multiprocess_mode="mostrecent",
    registry=REGISTRY,
)
_outbox_lag = Gauge(
    "otp_service_outbox_lag_seconds",
    "Age of the oldest message that waits for a worker or a gateway's turn.",
    multiprocess_mode="mostrecent",
    registry=REGISTRY,
)
_registration_days = Gauge(
    "otp_service_registration_days",
    "Days for which a registered sender, or an approved template, is still good; negative after that.",
    ("country", "registration"),
    multiprocess_mode="mostrecent",
    registry=REGISTRY,
)
_policy_verdicts = Counter(
    "otp_service_policy_verdicts",
    "Answers of policies: allow, deny, another_channel, unknown.",
    ("policy", "verdict"),
    registry=REGISTRY,
)
_dead_letters = Counter("otp_service_dead_letters", "Messages that were given up.", ("reason",), registry=REGISTRY)
_store_errors = Counter(
    "otp_service_store_errors",
    "Operations that Redis did not answer, or not in time.",
    ("operation",),
    registry=REGISTRY,
)
_ledger_errors = Counter(
    "otp_service_ledger_errors",
    "Operations that the ledger's database did not answer, or not in time.",
    ("operation",),
    registry=REGISTRY,
)
_events_recorded = Counter(
    "otp_service_events_recorded",
    "Events brought into the ledger: what happened to verifications and their messages.",
    ("application", "country", "event"),
    registry=REGISTRY,
)
_events_unrecorded = Gauge(
    "otp_service_events_unrecorded",
    "Events that are not in the ledger yet.",
    multiprocess_mode="mostrecent",
    registry=REGISTRY,
)


_labels = Labels()


def record_request(method: str, route: str, status: int, seconds: float) -> None:
    """Count an answered request. ``route`` is the template (``/v1/verifications/<id>``), never the path."""
    _requests.labels(method_of(method), _labels.bounded("route", route), str(status)).observe(seconds)


def method_of(method: str) -> str:
    """Return an HTTP method as it is told: `OTHER` for a word that is none."""
    return method if method in _METHODS else OTHER


def record_start(application: str, purpose: str, country: str, outcome: str) -> None:
    """Count a start: ``purpose`` is a configured one or `OTHER`, ``country`` empty when no number was recognised.

    ``outcome`` is accepted or an error's code.
    """
    _record_send(_starts, application, purpose, country, outcome)


def record_resend(application: str, purpose: str, country: str, outcome: str) -> None:
    """Count a resend, like a start: purpose and country are those of the verification, once it is found."""
    _record_send(_resends, application, purpose, country, outcome)


def _record_send(counter: Counter, application: str, purpose: str, country: str, outcome: str) -> None:
    counter.labels(
        _labels.bounded("application", application),
        _labels.bounded("purpose", purpose),
        _labels.bounded("country", country),
        _labels.bounded("outcome", outcome),
    ).inc()


def record_check(application: str, reason: str) -> None:
    """Count a check: ``reason`` is ``approved``, or why the code was not valid."""
    _checks.labels(_labels.bounded("application", application), _labels.bounded("reason", reason)).inc()


def record_alarm(application: str) -> None:
    """Count that most of the codes that an application checked were wrong."""
    _alarms.labels(_labels.bounded("application", application)).inc()


def record_refusal(application: str, country: str, rule: str) -> None:
    """Count a message that a rule of the guard refused."""
    _record_rule(application, country, rule, "enforce")


def record_noted(application: str, country: str, rules: Iterable[str]) -> None:
    """Count a message under the rules that only record, and would have refused it."""
    for rule in rules:
        _record_rule(application, country, rule, "record_only")


def _record_rule(application: str, country: str, rule: str, mode: str) -> None:
    _refusals.labels(
        _labels.bounded("application", application),
        _labels.bounded("country", country),
        _labels.bounded("rule", rule),
        mode,
    ).inc()


def record_gateway_call(gateway: str, outcome: str, seconds: float) -> None:
    """Count a call to a gateway and its time: ``outcome`` is ``accepted`` or the kind of the failure."""
    name = _labels.bounded("gateway", gateway)
    _dispatches.labels(name, _labels.bounded("dispatch", outcome)).inc()
    _gateway_calls.labels(name).observe(seconds)


def record_receipt(gateway: str, status: str) -> None:
    """Count a gateway's report by the normalised status."""
    _receipts.labels(_labels.bounded("gateway", gateway), _labels.bounded("status", status)).inc()


def record_inbound(gateway: str, meaning: str, outcome: str) -> None:
    """Count a message from somebody."""
    _inbound.labels(
        _labels.bounded("gateway", gateway), _labels.bounded("meaning", meaning), _labels.bounded("inbound", outcome)
    ).inc()


def record_reply(gateway: str, outcome: str) -> None:
    """Count a reply to a message from somebody."""
    _replies.labels(_labels.bounded("gateway", gateway), _labels.bounded("reply", outcome)).inc()


def record_breaker(gateway: str, state: str) -> None:
    """Count that a gateway's breaker changed to a state."""
    _breaker_changes.labels(_labels.bounded("gateway", gateway), _labels.bounded("breaker", state)).inc()


def record_account_refusal(gateway: str) -> None:
    """Count that a gateway refused our account."""
    _account_refusals.labels(_labels.bounded("gateway", gateway)).inc()


def record_gateway_state(gateway: str, openness: float) -> None:
    """Tell how open a gateway's breaker is: 1 open, 0.5 half open, 0 closed."""
    _gateways_open.labels(_labels.bounded("gateway", gateway)).set(openness)


def record_registration(country: str, name: str, days: int) -> None:
    """Tell for how many days a registration is still good; negative when it has ended."""
    _registration_days.labels(_labels.bounded("country", country), _labels.bounded("registration", name)).set(days)


def forget_registrations() -> None:
    """Tell nothing of registrations any more, for one may have left the configuration."""
    _registration_days.clear()


def forget_gateway_states() -> None:
    """Tell nothing of gateways any more, for one may have left the configuration."""
    _gateways_open.clear()


def record_outbox_lag(seconds: float) -> None:
    """Tell how old the oldest waiting message is; 0 when none waits."""
    _outbox_lag.set(seconds)


def record_policy_verdict(policy: str, verdict: str) -> None:
    """Count what a policy answered, whether or not it is done."""
    _policy_verdicts.labels(_labels.bounded("policy", policy), _labels.bounded("verdict", verdict)).inc()


def record_dead_letter(reason: str) -> None:
    """Count a message that was given up."""
    _dead_letters.labels(_labels.bounded("dead_letter", reason)).inc()


def record_store_error(operation: str) -> None:
    """Count an operation that Redis did not answer."""
    _store_errors.labels(_labels.bounded("operation", operation)).inc()


def record_ledger_error(operation: str) -> None:
    """Count an operation that the ledger's database did not answer."""
    _ledger_errors.labels(_labels.bounded("operation", operation)).inc()


def record_event(application: str, country: str, event: str) -> None:
    """Count an event that is in the ledger now: ``event`` is its type, such as ``verification.approved``."""
    _events_recorded.labels(
        _labels.bounded("application", application),
        _labels.bounded("country", country),
        _labels.bounded("event", event),
    ).inc()


def record_unrecorded(count: int) -> None:
    """Tell how many events are not in the ledger yet."""
    _events_unrecorded.set(count)


# With ``PROMETHEUS_MULTIPROC_DIR`` set before `otp_service.telemetry.metrics` is imported, all processes on a host that
# share the directory are reported together (see `prepare`); without it, this process alone.

DIRECTORY_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Media type of `text`."""


def prepare_folder(directory: Path) -> dict[str, str]:
    """Make the directory that processes share, or empty it; return the variable that names it, for their environment.

    The values of dead processes stay in it until the next start: their requests did happen.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for leftover in directory.glob("*.db"):
        leftover.unlink()
    return {DIRECTORY_VARIABLE: str(directory.resolve())}


def is_shared() -> bool:
    """Tell whether a directory is set, so that processes report together."""
    return DIRECTORY_VARIABLE in os.environ


def exposition() -> bytes:
    """Return all metrics in Prometheus' text format, those of all processes that share the directory."""
    return generate_latest(_collected())


def start_server(port: int, host: str) -> None:
    """Serve the exposition on a port of its own, from a thread that ends with the process."""
    start_http_server(port, addr=host, registry=_collected())


def _collected() -> CollectorRegistry:
    if not is_shared():
        return REGISTRY
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry
