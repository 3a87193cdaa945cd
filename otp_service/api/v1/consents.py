"""``/v1/consents``: record that somebody agreed to codes, or does so no more. The number is in the body."""

from flask import Blueprint, Response

from otp_service.api.auth import caller
from otp_service.api.people_answers import consent_response
from otp_service.api.people_schemas import GivenConsentBody, PurposeBody
from otp_service.api.request import read_json, refuse_query, validated
from otp_service.bootstrap import Installation
from otp_service.core.address import network_of, prefix_of
from otp_service.services.consents import give, read_consent, withdraw
from otp_service.services.named import Named, destination_of, named


def blueprint(installation: Installation) -> Blueprint:
    """Return the routes of this resource."""
    context = installation.context

    def _named(body: PurposeBody) -> Named:
        return named(context.keyring, destination_of(caller(), body.to, body.region))

    def record() -> Response:
        """Record a consent."""
        body = validated(GivenConsentBody, read_json())
        prefix = prefix_of(network_of(body.client_ip)) if body.client_ip is not None else ""
        return consent_response(give(context, caller(), _named(body), body.purpose, body.to_evidence(prefix)))

    def find() -> Response:
        """Show what is recorded."""
        body = validated(PurposeBody, read_json())
        return consent_response(read_consent(context, caller(), _named(body), body.purpose))

    def take_back() -> Response:
        """Record a withdrawal."""
        body = validated(PurposeBody, read_json())
        return consent_response(withdraw(context, caller(), _named(body), body.purpose))

    routes = Blueprint("consents", __name__, url_prefix="/v1/consents")
    routes.before_request(refuse_query)
    routes.add_url_rule("", "record", record, methods=["PUT"])
    routes.add_url_rule("/find", "find", find, methods=["POST"])
    routes.add_url_rule("/withdraw", "withdraw", take_back, methods=["POST"])
    return routes
