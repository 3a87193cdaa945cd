"""``/v1/inbound``: what people write back, as gateways pass it on. They prove themselves; API keys play no part."""

from flask import Blueprint, Response

from otp_service.api.current import exchange
from otp_service.api.ledger_calls import Turns
from otp_service.api.provider import METHODS, provider_request, require_method
from otp_service.bootstrap import Installation
from otp_service.gateways.base import InboundAnswer, ProviderRequest
from otp_service.services.inbound import authentic, inbound_url, receive_message, receiver_of


def blueprint(installation: Installation, turns: Turns) -> Blueprint:
    """Return the routes of this resource, whose calls take a turn at the ledger once they are known to be authentic."""
    context = installation.context
    proxies = installation.settings.http.trusted_proxies

    def receive(gateway: str, token: str) -> Response:
        """Take a message, in any media type: its gateway knows how to read it."""
        require_method(exchange())
        receiver = receiver_of(context, gateway, token)  # before the body, as for receipts
        request = ProviderRequest(**provider_request(exchange(), inbound_url(context, gateway), proxies))
        message = authentic(receiver, request)
        with turns.turn():
            return _response(receive_message(context, gateway, receiver, message))

    routes = Blueprint("inbound", __name__, url_prefix="/v1/inbound")
    routes.add_url_rule("/<gateway>/<token>", "receive", receive, methods=METHODS)
    return routes


def _response(answer: InboundAnswer | None) -> Response:
    if answer is not None:
        return Response(answer.body, 200, content_type=answer.media_type)
    response = Response(status=204)
    del response.headers["Content-Type"]
    return response
