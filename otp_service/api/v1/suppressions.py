"""``/v1/suppressions``: numbers that get no messages of the caller's application. The number is in the body."""

from dataclasses import replace

from flask import Blueprint, Response

from otp_service.api.current import exchange, no_query
from otp_service.api.named import number_in
from otp_service.api.people_answers import suppressions_response
from otp_service.api.people_schemas import LiftBody, NumberBody, SuppressionBody
from otp_service.api.request import read_json, validated
from otp_service.bootstrap import Installation
from otp_service.domain.numbers import Named
from otp_service.domain.people import Suppression, SuppressionScope, SuppressionSource, keeps_codes_back
from otp_service.domain.verification import milliseconds_of
from otp_service.errors import InvalidTimeError
from otp_service.ledger.database import now
from otp_service.services.people import consent_of, entries_of, lift, suppress_number


def blueprint(installation: Installation) -> Blueprint:
    """Return the routes of this resource."""
    context = installation.context

    def _entry(to: Named, scope: str) -> Suppression:
        return Suppression(to.pseudonym, exchange().application.name, SuppressionScope(scope), SuppressionSource.API)

    def _shown(to: Named) -> Response:
        entries = entries_of(context, to.pseudonym, exchange().application.name)
        return suppressions_response(to.destination.mask, entries, suppressed=keeps_codes_back(entries, now()))

    def record() -> Response:
        """Record a suppression."""
        body = validated(SuppressionBody, read_json(exchange()))
        to, until = number_in(context, body), None if body.until is None else milliseconds_of(body.until)
        if until is not None and until <= now():
            raise InvalidTimeError("until is in the past.")
        suppress_number(context, (replace(_entry(to, body.scope), reason=body.reason, until=until),))
        return _shown(to)

    def find() -> Response:
        """Show what is recorded."""
        return _shown(number_in(context, validated(NumberBody, read_json(exchange()))))

    def take_back() -> Response:
        """Lift a suppression of the application's own."""
        body = validated(LiftBody, read_json(exchange()))
        to, application, shown = number_in(context, body), exchange().application, None
        if body.consent:
            shown = consent_of(application, to, body.purpose, body.consent.to_evidence())
        lift(context, replace(_entry(to, body.scope), lifted=True), shown=shown)
        return _shown(to)

    routes = Blueprint("suppressions", __name__, url_prefix="/v1/suppressions")
    routes.before_request(no_query)
    routes.add_url_rule("", "record", record, methods=["PUT"])
    routes.add_url_rule("/find", "find", find, methods=["POST"])
    routes.add_url_rule("/lift", "lift", take_back, methods=["POST"])
    return routes
