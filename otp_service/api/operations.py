"""What operators ask: ``/healthz``, ``/readyz`` and, where the configuration says so, ``/metrics``."""

from flask import Blueprint, Response, request

from otp_service.api.answers import HEALTH, HealthAnswer
from otp_service.api.exchange import ENDS, JSON
from otp_service.bootstrap import Installation
from otp_service.services.maintenance import readiness
from otp_service.telemetry import metrics


def blueprint(installation: Installation) -> Blueprint:
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
