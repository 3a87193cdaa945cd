"""What operators ask: ``/healthz``, ``/readyz`` and, where the configuration says so, ``/metrics``."""

from flask import Blueprint, Response, request

from otp_service.api.answers import HEALTH, HealthAnswer
from otp_service.api.exchange import ENDS, JSON
from otp_service.bootstrap import Installation
from otp_service.services.health import readiness
from otp_service.telemetry import exposition


def blueprint(installation: Installation) -> Blueprint:
    """Return the routes of this resource."""

    def ready() -> Response:
        """Tell whether the service can do its work."""
        if ENDS in request.environ:
            return Response(HEALTH.dump_json(HealthAnswer("leaving", {})), 503, mimetype=JSON)
        found = readiness(installation.context)
        answer = HealthAnswer("ready" if found.ready else "unavailable", found.details)
        return Response(HEALTH.dump_json(answer), 200 if found.ready else 503, mimetype=JSON)

    routes = Blueprint("operations", __name__)
    routes.add_url_rule("/healthz", "alive", _alive, methods=["GET"])
    routes.add_url_rule("/readyz", "ready", ready, methods=["GET"])
    if installation.settings.http.metrics_on_same_port:
        routes.add_url_rule("/metrics", "metrics", _metrics, methods=["GET"])
    return routes


def _alive() -> Response:
    return Response(HEALTH.dump_json(HealthAnswer("alive", {})), mimetype=JSON)


def _metrics() -> Response:
    return Response(exposition.text(), content_type=exposition.CONTENT_TYPE)
