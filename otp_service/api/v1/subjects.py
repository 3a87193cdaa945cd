"""``/v1/subjects``: what the caller's application holds of a number, its erasure, and its freeze after fraud.

The number is in the body.
"""

from flask import Blueprint, Response

from otp_service.api.current import exchange, no_query
from otp_service.api.named import number_in
from otp_service.api.people_answers import erasure_response, export_response, freeze_response
from otp_service.api.people_schemas import FreezeBody, NumberBody
from otp_service.api.request import read_json, validated
from otp_service.bootstrap import Installation
from otp_service.domain.numbers import Named
from otp_service.domain.people import SuppressionSource
from otp_service.services.people import erase, export, freeze, unfreeze


def blueprint(installation: Installation) -> Blueprint:
    """Return the routes of this resource."""
    context = installation.context

    def _number() -> Named:
        return number_in(context, validated(NumberBody, read_json(exchange())))

    def show() -> Response:
        """Show all that is held."""
        return export_response(export(context, _number(), exchange().application.name))

    def remove() -> Response:
        """Erase what no dispute needs."""
        return erasure_response(erase(context, _number(), exchange().application.name))

    def stop() -> Response:
        """Freeze the number."""
        body = validated(FreezeBody, read_json(exchange()))
        to = number_in(context, body)
        found = freeze(context, to, exchange().application.name, SuppressionSource.API, body.reason)
        return freeze_response(to.destination.mask, found)

    def go_on() -> Response:
        """Lift the application's own freeze."""
        to = _number()
        found, _ = unfreeze(context, to, exchange().application.name, SuppressionSource.API)
        return freeze_response(to.destination.mask, found)

    routes = Blueprint("subjects", __name__, url_prefix="/v1/subjects")
    routes.before_request(no_query)
    routes.add_url_rule("/export", "export", show, methods=["POST"])
    routes.add_url_rule("/erase", "erase", remove, methods=["POST"])
    routes.add_url_rule("/freeze", "freeze", stop, methods=["POST"])
    routes.add_url_rule("/unfreeze", "unfreeze", go_on, methods=["POST"])
    return routes
