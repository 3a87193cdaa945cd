"""``/v1/receipts``: what gateways report of messages. They sign what they send; API keys play no part."""

from urllib.parse import parse_qsl

from flask import Blueprint, Response, request
from werkzeug.exceptions import MethodNotAllowed

from otp_service.api.client_address import peer_of
from otp_service.api.request import read_body
from otp_service.bootstrap import Installation
from otp_service.core.errors import NotFoundError
from otp_service.gateways.base import ReceiptRequest
from otp_service.services.record_receipts import expected_receipt, receipt_url, record_receipt

MAX_BODY = 64 * 1024
"""Bytes of a report; they are longer than what applications send."""
METHODS = ("GET", "POST")
"""How providers report; many small ones, and Kannel, by GET."""
_FORM = "application/x-www-form-urlencoded"


def blueprint(installation: Installation) -> Blueprint:
    """Return the routes of this resource."""
    context = installation.context
    proxies = installation.settings.http.trusted_proxies

    def receive(gateway: str, dispatch_id: str) -> Response:
        """Take a report, in any media type: its gateway knows how to read it."""
        if request.method not in METHODS:  # HEAD, which the framework allows wherever GET is, must change nothing
            raise MethodNotAllowed(METHODS)
        if context.public_url is None:
            raise NotFoundError("There are no receipts here.")
        # Before the body: whoever sends none, or slowly, holds a thread for as long as that takes.
        expected = expected_receipt(context, gateway, dispatch_id)
        record_receipt(context, expected, _receipt(context.public_url, gateway, dispatch_id, proxies))
        response = Response(status=204)
        del response.headers["Content-Type"]
        return response

    routes = Blueprint("receipts", __name__, url_prefix="/v1/receipts")
    routes.add_url_rule("/<gateway>/<dispatch_id>", "receive", receive, methods=METHODS)
    return routes


def _receipt(public_url: str, gateway: str, dispatch_id: str, trusted_proxies: int) -> ReceiptRequest:
    """Return the report as its sender signed it: under the public address, whatever a proxy made of it."""
    query = request.query_string.decode("latin-1")
    address = receipt_url(public_url, gateway, dispatch_id)
    body = read_body(MAX_BODY)
    return ReceiptRequest(
        method=request.method,
        url=f"{address}?{query}" if query else address,
        headers={name.lower(): value for name, value in request.headers.items()},
        query=dict(parse_qsl(query, keep_blank_values=True)),
        form=dict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True))
        if request.mimetype == _FORM
        else {},
        body=body,
        peer=peer_of(request, trusted_proxies) or "",
        dispatch_id=dispatch_id,
    )
