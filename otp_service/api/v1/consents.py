"""``/v1/consents``: record that somebody agreed to codes, or does so no more. The number is in the body."""

from flask import Blueprint, Response

from otp_service.api.current import exchange, no_query
from otp_service.api.named import number_in
from otp_service.api.people_answers import consent_response
from otp_service.api.people_schemas import GivenConsentBody, PurposeBody
from otp_service.api.request import read_json, validated
from otp_service.bootstrap import Installation
from otp_service.domain.numbers import network_of, prefix_of
from otp_service.services.people import give, read_consent, withdraw


def blueprint(installation: Installation) -> Blueprint:
    """Return the routes of this resource."""
    context = installation.context

    def record() -> Response:
        """Record a consent."""
        body = validated(GivenConsentBody, read_json(exchange()))
        prefix = prefix_of(network_of(body.client_ip)) if body.client_ip is not None else ""
        evidence = body.to_evidence(prefix)
        return consent_response(give(context, exchange().application, number_in(context, body), body.purpose, evidence))

    def find() -> Response:
        """Show what is recorded."""
        body = validated(PurposeBody, read_json(exchange()))
        return consent_response(read_consent(context, exchange().application, number_in(context, body), body.purpose))

    def take_back() -> Response:
        """Record a withdrawal."""
        body = validated(PurposeBody, read_json(exchange()))
        return consent_response(withdraw(context, exchange().application, number_in(context, body), body.purpose))

    routes = Blueprint("consents", __name__, url_prefix="/v1/consents")
    routes.before_request(no_query)
    routes.add_url_rule("", "record", record, methods=["PUT"])
    routes.add_url_rule("/find", "find", find, methods=["POST"])
    routes.add_url_rule("/withdraw", "withdraw", take_back, methods=["POST"])
    return routes
