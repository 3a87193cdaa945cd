"""Health, readiness, metrics."""

from typing import Any

from flask import Blueprint, Response, request
from pydantic import TypeAdapter

from otp_service.api import responses
from otp_service.api.exchange import ENDS, JSON
from otp_service.api.operation import Call, Success, in_path
from otp_service.api.responses import HEALTH, HealthAnswer
from otp_service.bootstrap import Installation
from otp_service.services.maintenance import readiness
from otp_service.telemetry import metrics


def operations_blueprint(installation: Installation) -> Blueprint:
    """Return the routes of this resource."""

    def ready() -> Response:
        """Tell whether the service can do all of its work."""
        return _readiness(installation, of_starts=True)

    def ready_for_checks() -> Response:
        """Tell whether the service can do its work on what was started, and obey who wants no messages."""
        return _readiness(installation, of_starts=False)

    routes = Blueprint("operations", __name__)
    routes.add_url_rule("/healthz", "alive", _alive, methods=["GET"])
    routes.add_url_rule("/readyz", "ready", ready, methods=["GET"])
    routes.add_url_rule("/readyz/checks", "ready_for_checks", ready_for_checks, methods=["GET"])
    if installation.settings.http.metrics_on_same_port:
        routes.add_url_rule("/metrics", "metrics", _metrics, methods=["GET"])
    return routes


def _readiness(installation: Installation, *, of_starts: bool) -> Response:
    if ENDS in request.environ:
        return Response(HEALTH.dump_json(HealthAnswer("leaving", {})), 503, mimetype=JSON)
    found = readiness(installation.context)
    ready = found.checks and (found.starts or not of_starts)
    answer = HealthAnswer("ready" if ready else "unavailable", found.details)
    return Response(HEALTH.dump_json(answer), 200 if ready else 503, mimetype=JSON)


def _alive() -> Response:
    return Response(HEALTH.dump_json(HealthAnswer("alive", {})), mimetype=JSON)


def _metrics() -> Response:
    return Response(metrics.exposition(), content_type=metrics.CONTENT_TYPE)


_SECTION = "Operation"
_TEXT = "text/plain"
_HTML = "text/html"

_PROBLEM = in_path("problem", "One of the codes of errors.", "resend-too-soon")

OPERATION_CALLS = (
    Call(
        name="alive",
        method="get",
        path="/healthz",
        section=_SECTION,
        summary="Is the process alive?",
        description="Asks nothing of anybody else.",
        successes=(Success(200, "It is.", responses.HEALTH),),
        problems=("internal",),
        authenticated=False,
    ),
    Call(
        name="ready",
        method="get",
        path="/readyz",
        section=_SECTION,
        summary="Can the service work?",
        description="Looks whether Redis serves, and whether anything keeps all starts back: `starts` is `accepted`, "
        "or why not. A server that was asked to end says `leaving`, and goes on to answer "
        "for a while. `worker_age` is how many seconds ago a worker was last seen, null "
        "when none was lately: told, not judged. `ledger` is what the last look found: `ok`, `unavailable` (starts go "
        "on by what is known), `behind`, or why starts wait for an operator.",
        successes=(
            Success(200, "It can.", responses.HEALTH),
            Success(503, "It cannot, or refuses all starts.", responses.HEALTH),
        ),
        problems=("internal",),
        authenticated=False,
    ),
    Call(
        name="ready_for_checks",
        method="get",
        path="/readyz/checks",
        section=_SECTION,
        summary="Can it work but for starts?",
        description="As `/readyz`, whatever keeps starts back: checks, receipts and inbound messages go on.",
        successes=(
            Success(200, "It can.", responses.HEALTH),
            Success(503, "It cannot.", responses.HEALTH),
        ),
        problems=("internal",),
        authenticated=False,
    ),
    Call(
        name="metrics",
        method="get",
        path="/metrics",
        section=_SECTION,
        summary="Metrics",
        description="In the text format of Prometheus. Served here only where the configuration says so.",
        successes=(Success(200, "All metrics.", media_type=_TEXT),),
        problems=("internal", "overloaded"),
        authenticated=False,
    ),
    Call(
        name="specification",
        method="get",
        path="/openapi.json",
        section=_SECTION,
        summary="This specification",
        description="OpenAPI 3.1.",
        successes=(Success(200, "The specification.", TypeAdapter(dict[str, Any])),),
        problems=("internal", "overloaded"),
        authenticated=False,
    ),
    Call(
        name="documentation",
        method="get",
        path="/docs",
        section=_SECTION,
        summary="This page",
        description="The same for people.",
        successes=(Success(200, "A page.", media_type=_HTML),),
        problems=("internal", "overloaded"),
        authenticated=False,
    ),
    Call(
        name="problem",
        method="get",
        path="/problems/{problem}",
        section=_SECTION,
        summary="A problem",
        description="What the `type` of an error leads to: when it comes, and what to do.",
        successes=(Success(200, "A page.", media_type=_HTML),),
        problems=("not-found", "internal", "overloaded"),
        parameters=(_PROBLEM,),
        authenticated=False,
    ),
)
