"""``/v1/sandbox/messages``: what the sandbox gateway caught; never in production."""

from flask import Blueprint, Response

from otp_service.api.answers import CAUGHT, caught_answer
from otp_service.api.current import exchange
from otp_service.api.exchange import JSON
from otp_service.api.request import query_of
from otp_service.bootstrap import Installation
from otp_service.errors import InvalidRequestError
from otp_service.services.maintenance import caught_messages


def blueprint(installation: Installation) -> Blueprint:
    """Return the routes of this resource."""
    context = installation.context

    def messages() -> Response:
        """Show the caught messages, newest first."""
        verification_id = query_of(exchange(), "verification").get("verification")
        if verification_id == "":
            raise InvalidRequestError("The parameter verification is empty.")
        caught = caught_messages(context, exchange().application, verification_id)
        return Response(CAUGHT.dump_json(list(map(caught_answer, caught))), mimetype=JSON)

    routes = Blueprint("sandbox", __name__, url_prefix="/v1/sandbox")
    routes.add_url_rule("/messages", "messages", messages, methods=["GET"])
    return routes
