"""Prometheus metrics of the service and their exposition; the source of docs/metrics.md."""

import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Final, Generic, TypeVar
from wsgiref.types import StartResponse, WSGIEnvironment

import prometheus_client
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest, start_http_server
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

OTHER = "other"
"""Replaces a value that a label must not have."""
MAX_VALUES = 300
"""Maximum different values of a metric's label in a process; there are 249 countries."""

_LABEL = re.compile(r"[A-Za-z0-9_./<>: {}-]{0,80}")
_LONG_NUMBER = re.compile(r"\d{6}")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class LabelValues:
    """The values of labels so far, limited, so that unexpected values cannot grow the metrics without end."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], set[str]] = {}
        self._lock = threading.Lock()

    def limit(self, metric: str, label: str, value: str) -> str:
        """Return the value, or `OTHER` if it may be personal, is malformed, or exceeds `MAX_VALUES`."""
        if value in self._seen.get((metric, label), ()):
            return value
        if not _LABEL.fullmatch(value) or _LONG_NUMBER.search(value):
            return OTHER
        with self._lock:
            seen = self._seen.setdefault((metric, label), set())
            if len(seen) >= MAX_VALUES:
                return OTHER
            seen.add(value)
        return value


_labels = LabelValues()

REGISTRY = CollectorRegistry()


_Library = TypeVar("_Library", bound=MetricWrapperBase)


class Metric(Generic[_Library]):
    """A metric with its name, description and labels."""

    kind: ClassVar[str]

    def __init__(self, metric: _Library, name: str, description: str, labels: tuple[str, ...]) -> None:
        self.name = name
        self.description = description
        self.labels = labels
        self._label_names = frozenset(labels)
        self._metric = metric
        self._children: dict[tuple[tuple[str, str], ...], _Library] = {}
        METRICS.append(self)

    def _child(self, values: Mapping[str, str]) -> _Library:
        """Return the library's metric for the values of exactly these labels; raise `ValueError` for others."""
        key = tuple(values.items())
        if child := self._children.get(key):
            return child
        if values.keys() != self._label_names:
            raise ValueError(f"{self.name} has the labels {self.labels}, not {tuple(values)}.")
        if not values:
            return self._metric
        bounded = {label: _labels.limit(self.name, label, values[label]) for label in self.labels}
        child = self._metric.labels(**bounded)
        if bounded == values:  # replaced values could be many, and must not pile up
            self._children[key] = child
        return child


METRICS: Final[list[Metric[Any]]] = []
"""All metrics; plug-ins add their own when they are imported."""


class Counter(Metric[prometheus_client.Counter]):
    """Counts events; its exposed name ends in ``_total``."""

    kind = "counter"

    def __init__(self, name: str, description: str, *labels: str) -> None:
        super().__init__(
            prometheus_client.Counter(name, description, labels, registry=REGISTRY), name, description, labels
        )

    def count(self, **labels: str) -> None:
        self._child(labels).inc()


class Histogram(Metric[prometheus_client.Histogram]):
    """Counts durations in buckets of seconds."""

    kind = "histogram"

    def __init__(self, name: str, description: str, *labels: str, buckets: tuple[float, ...]) -> None:
        histogram = prometheus_client.Histogram(name, description, labels, buckets=buckets, registry=REGISTRY)
        super().__init__(histogram, name, description, labels)

    def observe(self, seconds: float, **labels: str) -> None:
        self._child(labels).observe(seconds)


class Gauge(Metric[prometheus_client.Gauge]):
    """A current value, set by the last process. Only workers set gauges, except `build_info`."""

    kind = "gauge"

    def __init__(self, name: str, description: str, *labels: str) -> None:
        gauge = prometheus_client.Gauge(name, description, labels, registry=REGISTRY, multiprocess_mode="mostrecent")
        super().__init__(gauge, name, description, labels)

    def set(self, value: float, **labels: str) -> None:
        self._child(labels).set(value)

    def clear(self) -> None:
        """Drop all values: what they describe may have left the configuration."""
        self._children.clear()
        self._metric.clear()


build_info = Gauge("otp_service_build_info", "Always 1: the release that runs.", "version")
request_duration = Histogram(
    "otp_service_http_server_request_duration_seconds",
    "Time from the moment a thread takes a request to its answer. `route` is the template of the path, `unmatched` for "
    "an unknown path.",
    "method",
    "route",
    "status",
    buckets=(0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.5),
)
starts = Counter(
    "otp_service_verification_starts",
    "Starts, over HTTP or from the shell: `accepted`, or the code of the error. `purpose` is `other` if the "
    "application lacks it, `country` empty for an invalid number.",
    "application",
    "purpose",
    "country",
    "outcome",
)
resends = Counter(
    "otp_service_verification_resends",
    "Resends: `accepted`, or the code of the error. For an unknown verification `purpose` is `other`, `country` empty.",
    "application",
    "purpose",
    "country",
    "outcome",
)
checks = Counter("otp_service_verification_checks", "Checked codes: `approved`, or why not.", "application", "outcome")
factor_checks = Counter(
    "otp_service_factor_checks",
    "Checked codes of authenticator apps, and recovery codes: `accepted`, `recovered`, or why not.",
    "application",
    "outcome",
)
dispatches = Counter(
    "otp_service_dispatches", "Calls to gateways: `accepted`, or the kind of the failure.", "gateway", "outcome"
)
dispatch_duration = Histogram(
    "otp_service_dispatch_seconds",
    "Time that a gateway's answer took.",
    "gateway",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
receipts = Counter(
    "otp_service_receipts", "Reports of gateways that changed what is known of a message.", "gateway", "status"
)
inbound_messages = Counter(
    "otp_service_inbound_messages",
    "Messages from people by meaning (`stop`, `start`, `help`, `other`) and outcome: `obeyed`, `recorded`, `repeated`, "
    "`no_application` (no application wrote to the number), `no_number`; `kept` for support, or `not_kept` because too "
    "many wait.",
    "gateway",
    "meaning",
    "outcome",
)
replies = Counter(
    "otp_service_replies",
    "Replies to messages from people: `answered` with the provider's request, or by a worker `accepted`, the kind of "
    "the failure, `no_gateway`, `no_application`, `frozen` (the number), `ledger_unavailable`, `defect`, or the rule "
    "of a country that stops it.",
    "gateway",
    "outcome",
)
gateway_account_errors = Counter(
    "otp_service_gateway_account_errors",
    "Times that a gateway refused our account, in an answer or in a report.",
    "gateway",
)
gateway_breaker_open = Gauge(
    "otp_service_gateway_breaker_open", "The gateway's breaker: 1 open, 0.5 half open, 0 closed.", "gateway"
)
guard_refusals = Counter(
    "otp_service_guard_refusals",
    "Messages that a rule of the guard refused (`enforce`) or would have refused (`record_only`), with rules on "
    "destinations and fall-backs.",
    "application",
    "country",
    "rule",
    "mode",
)
wrong_code_alarms = Counter(
    "otp_service_wrong_code_alarms",
    "Times that most of the codes that an application checked were wrong.",
    "application",
)
unknown_number_alarms = Gauge(
    "otp_service_unknown_number_alarms",
    "Alarms that stand, because fewer unknown numbers of a country or prefix approve than usual; "
    "`cause` is `delivery` where known numbers approve less as well.",
    "application",
    "country",
    "cause",
)
unapproved_messages = Gauge(
    "otp_service_unapproved_messages",
    "Messages to unknown numbers that passed the guard without an approval, in about the last `hour` or `day`.",
    "application",
    "country",
    "window",
)
unapproved_messages_usual = Gauge(
    "otp_service_unapproved_messages_usual",
    "The usual count of `otp_service_unapproved_messages`: in this hour of the week, in a day.",
    "application",
    "country",
    "window",
)
unapproved_money = Gauge(
    "otp_service_unapproved_money",
    "The maximum cost of `otp_service_unapproved_messages`, in `guard.currency`.",
    "application",
    "country",
    "window",
)
gateway_calls_in_flight = Gauge(
    "otp_service_gateway_calls_in_flight",
    "Calls to a gateway that this worker waits for: at most half of its threads, if there are other gateways.",
    "gateway",
)
gateway_breaker_changes = Counter(
    "otp_service_gateway_breaker_changes",
    "Times that a gateway's breaker changed to `open` or `closed`, seen by this process.",
    "gateway",
    "state",
)
outbox_lag = Gauge(
    "otp_service_outbox_lag_seconds",
    "Age of the oldest message that waits for a worker or for a gateway's turn, 0 without one; a message that rests "
    "between two rounds of calls does not count.",
)
registration_remaining = Gauge(
    "otp_service_registration_remaining_seconds",
    "Seconds until the last good day of a registered sender, or an approved template, begins; negative after it.",
    "country",
    "registration",
)
human_checks = Counter(
    "otp_service_human_checks",
    "Tokens of human checks: `passed`, `failed`, or `unknown` where the verifier failed or was late.",
    "check",
    "outcome",
)
policy_verdicts = Counter(
    "otp_service_policy_verdicts",
    "Answers of policies: `allow`, `deny`, `another_channel`, `unknown`; also of those that only record.",
    "policy",
    "verdict",
)
dead_letters = Counter("otp_service_dead_letters", "Messages that were given up.", "reason")
store_errors = Counter("otp_service_store_errors", "Operations that Redis did not answer, or not in time.", "operation")
ledger_errors = Counter(
    "otp_service_ledger_errors",
    "Operations that the ledger's database did not answer, or not in time.",
    "operation",
)
audit_export_lag = Gauge(
    "otp_service_audit_export_lag_seconds",
    "Age of the oldest signed head of the audit chain that is not exported to `audit.export`, 0 without one.",
)
events_recorded = Counter(
    "otp_service_events_recorded",
    "Events recorded in the ledger, by type, such as `verification.approved`.",
    "application",
    "country",
    "event",
)
events_unrecorded = Gauge("otp_service_events_unrecorded", "Events that are not in the ledger yet.")

webhooks = Counter(
    "otp_service_webhooks",
    "Calls of applications' endpoints: `delivered`, or `failed`, which is tried again unless it was the last try.",
    "application",
    "outcome",
)
webhook_lag = Gauge("otp_service_webhook_lag_seconds", "Age of the oldest webhook that is due, 0 without one.")
endpoints_disabled = Gauge(
    "otp_service_endpoints_disabled",
    "Endpoints that get no more webhooks, because they failed for five days or answered 410.",
    "application",
)
endpoints_slow = Gauge(
    "otp_service_endpoints_slow",
    "Endpoints whose calls take a second or longer: they have half of the calls at once.",
    "application",
)


def method_label(method: str) -> str:
    """Return an HTTP method as a label: `OTHER` for an unknown one."""
    return method if method in _METHODS else OTHER


# With ``PROMETHEUS_MULTIPROC_DIR`` set before this module is imported, all processes that share the directory are
# reported together (see `prepare_directory`); without it, this process alone.

DIRECTORY_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Media type of `exposition`."""


def prepare_directory(directory: Path) -> dict[str, str]:
    """Make or empty the directory that processes share; return its environment variable.

    The values of dead processes stay until the next start, because their requests happened.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for leftover in directory.glob("*.db"):
        leftover.unlink()
    return {DIRECTORY_VARIABLE: str(directory.resolve())}


def is_multiprocess() -> bool:
    return DIRECTORY_VARIABLE in os.environ


def exposition() -> bytes:
    return generate_latest(_full_registry())


def start_server(port: int, host: str, is_healthy: Callable[[], bool] | None = None) -> None:
    """Serve the exposition on its own port, in a thread that ends with the process.

    With ``is_healthy`` also ``/healthz``: 200, or 503 while it returns ``False``.
    """
    server, _ = start_http_server(port, addr=host, registry=_full_registry())
    exposed = server.get_app()
    if not is_healthy or not exposed:
        return

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/healthz":
            return exposed(environ, start_response)
        healthy = is_healthy()
        headers = [("Content-Type", "application/json"), ("Cache-Control", "no-store")]
        start_response("200 OK" if healthy else "503 Service Unavailable", headers)
        return [b'{"status": "ok"}' if healthy else b'{"status": "stalled"}']

    server.set_app(answer)


def _full_registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(_Processes())
    if is_multiprocess():
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    else:
        registry.register(REGISTRY)
    return registry


class _Processes(Collector):
    """The usual ``process_*`` metrics of Prometheus clients, for this process and its children together.

    In ``serve`` the parent answers, and its children do the work.
    """

    def collect(self) -> Iterator[Family]:
        """Yield sums, except the parent's start time and the lowest limit of files."""
        own, *others = map(_families_of, ["self", *_children()])
        for name, family in own.items():
            values = [families[name].samples[0].value for families in (own, *others) if name in families]
            total = _NOT_SUMMED.get(name, sum)(values)
            family.samples = [family.samples[0]._replace(value=total)]
            yield family


_NOT_SUMMED: Final[Mapping[str, Callable[[list[float]], float]]] = {
    "process_start_time_seconds": lambda values: values[0],
    "process_max_fds": min,
}


def _families_of(process: str) -> dict[str, Family]:
    return {family.name: family for family in ProcessCollector(pid=lambda: process, registry=None).collect()}


def _children() -> list[str]:
    """Return the ids of this process' children; empty if the kernel does not list them."""
    ids: list[str] = []
    for file in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError):  # the thread has ended
            ids += file.read_text(encoding="ascii").split()
    return ids
