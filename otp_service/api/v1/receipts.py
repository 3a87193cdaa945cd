"""``/v1/receipts``: what gateways report of messages. They sign what they send; API keys play no part."""

from flask import Blueprint, Response

from otp_service.api.current import exchange
from otp_service.api.provider import METHODS, provider_request, require_method
from otp_service.bootstrap import Installation
from otp_service.gateways.base import ReceiptRequest
from otp_service.services.delivery import expected_receipt, receipt_url, record_receipt


def blueprint(installation: Installation) -> Blueprint:
    """Return the routes of this resource."""
    context = installation.context
    proxies = installation.settings.http.trusted_proxies

    def receive(gateway: str, dispatch_id: str) -> Response:
        """Take a report, in any media type: its gateway knows how to read it."""
        require_method(exchange())
        # Before the body: whoever sends none, or slowly, holds a thread for as long as that takes.
        expected = expected_receipt(context, gateway, dispatch_id)
        address = receipt_url(str(context.public_url), gateway, dispatch_id)
        report = ReceiptRequest(**provider_request(exchange(), address, proxies), dispatch_id=dispatch_id)
        record_receipt(context, expected, report)
        response = Response(status=204)
        del response.headers["Content-Type"]
        return response

    routes = Blueprint("receipts", __name__, url_prefix="/v1/receipts")
    routes.add_url_rule("/<gateway>/<dispatch_id>", "receive", receive, methods=METHODS)
    return routes
