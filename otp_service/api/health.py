"""Health, readiness and metrics."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from otp_service.api.exchange import SHUTTING_DOWN, Exchange
from otp_service.api.requests import hops
from otp_service.api.routes import Answer, Resource, Success, type_adapter
from otp_service.services.health import PROBE_HEADER, is_probe, readiness
from otp_service.telemetry.metrics import CONTENT_TYPE, exposition


@dataclass(frozen=True, slots=True)
class HealthAnswer:
    """Whether the service can work, with details."""

    status: str
    details: Mapping[str, Any]


_HEALTH = type_adapter(HealthAnswer)
operations = Resource("operations", "Operation", problems=("internal",))


@operations.route("GET /healthz", {200: "It is."})
def alive(exchange: Exchange) -> HealthAnswer:
    """Is the process alive?

    Needs no other server. `otp-service doctor --network`, which proves that it has the keys, gets the number of
    addresses in its request's `X-Forwarded-For`.
    """  # noqa: D400 - a question
    probe = exchange.header(PROBE_HEADER)
    probed = probe is not None and is_probe(exchange.context.keyring, probe)
    return HealthAnswer("alive", {"forwarded_for": len(hops(exchange))} if probed else {})


@operations.route(
    "GET /readyz",
    {200: Success("It can.", content=_HEALTH), 503: Success("It cannot, or refuses all starts.", content=_HEALTH)},
)
def ready(exchange: Exchange) -> Answer:
    """Can the service work?

    Looks whether Redis serves, and whether anything keeps all starts back: `starts` is `accepted`, or why not. A server
    that was asked to end says `leaving`, and goes on to answer for a while. `worker_age` is how many seconds ago a
    worker was last seen, null when none was recently: told, not judged. `ledger` is what the last look found: `ok`,
    `disk-full` (SQLite's has less than 16 MiB left), `unavailable` (starts go on by what is known), `replaced`
    (SQLite's file, under the process), `behind`, why starts wait for an operator, or why a ledger that was away at the
    start is not used. `access` is where API keys and applications are known from: `ledger`, `copy` (in Redis, while the
    ledger is away), or `configuration` alone.
    """  # noqa: D400 - a question
    return _readiness(exchange, of_starts=True)


@operations.route(
    "GET /readyz/checks",
    {200: Success("It can.", content=_HEALTH), 503: Success("It cannot.", content=_HEALTH)},
    endpoint="ready_for_checks",
)
def ready_for_checks(exchange: Exchange) -> Answer:
    """Can it work but for starts?

    As `/readyz`, whatever keeps starts back: checks, receipts and inbound messages go on.
    """  # noqa: D400 - a question
    return _readiness(exchange, of_starts=False)


@operations.route("GET /metrics", {200: Success("All metrics.", "text/plain")}, ("overloaded",))
def metrics(_: Exchange) -> Answer:
    """Metrics.

    In the text format of Prometheus. Served here only where the configuration says so.
    """
    return Answer(exposition(), media_type=CONTENT_TYPE)


def _readiness(exchange: Exchange, *, of_starts: bool) -> Answer:
    if SHUTTING_DOWN in exchange.environ:
        return Answer(_HEALTH.dump_json(HealthAnswer("leaving", {})), 503)
    state = readiness(exchange.context)
    is_ready = state.checks and (state.starts or not of_starts)
    answer = HealthAnswer("ready" if is_ready else "unavailable", state.details)
    return Answer(_HEALTH.dump_json(answer), 200 if is_ready else 503)
