"""The calls of providers: receipts and inbound messages."""

from flask import Blueprint, Response

from otp_service.api.auth import Turns
from otp_service.api.current import exchange
from otp_service.api.operation import Call, Success, in_path
from otp_service.api.requests import METHODS, provider_request, require_method
from otp_service.bootstrap import Installation
from otp_service.gateways.base import InboundAnswer, ProviderRequest, ReceiptRequest
from otp_service.services.delivery import expected_receipt, receipt_url, record_receipt
from otp_service.services.inbound import authentic, inbound_url, receive_message, receiver_of


def receipts_blueprint(installation: Installation) -> Blueprint:
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


def inbound_blueprint(installation: Installation, turns: Turns) -> Blueprint:
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


_GATEWAY = in_path("gateway", "Name of the gateway in the configuration.", "primary")
_DISPATCH = in_path(
    "dispatch_id", "The id that the service gave the gateway with the message.", "dp_0012ab34cd56ef7890a1b2c3d4e5f60718"
)

_TOKEN = in_path(
    "token",
    "What the address ends with that `otp-service gateway inbound` shows for the gateway.",
    "3q2-7wAAAAAAAAAAAAAAAA",
)


def _report(name: str, method: str, summary: str) -> Call:
    """Return the call of gateways, by one of the two methods that providers know."""
    return Call(
        name=name,
        method=method,
        path="/v1/receipts/{gateway}/{dispatch_id}",
        section="Gateways",
        summary=summary,
        description="For gateways, not for applications: a gateway's report on a message, proven in its own way by a "
        "signature, a token in the address, or where it comes from. A report changes what is shown of a delivery and "
        "never approves anything.",
        successes=(Success(204, "Taken.", media_type=None),),
        problems=("unauthenticated", "not-found", "body-too-large", "internal", "store-unavailable", "overloaded"),
        parameters=(_GATEWAY, _DISPATCH),
        any_body=method == "post",
        authenticated=False,
    )


def _message(name: str, method: str, summary: str) -> Call:
    """Return the call that passes a message on, by one of the two methods."""
    return Call(
        name=name,
        method=method,
        path="/v1/inbound/{gateway}/{token}",
        section="Gateways",
        summary=summary,
        description="For gateways, not for applications: what somebody wrote back, proven as the gateway's reports "
        "are. A message that is nothing but a word for *stop* keeps messages back from the number, one for *start* "
        "lets them through again. The answer has the form that the gateway expects.",
        successes=(
            Success(200, "Taken; what stands here, the gateway sends to whoever wrote.", media_type="text/*"),
            Success(204, "Taken.", media_type=None),
        ),
        problems=(
            "unauthenticated",
            "not-found",
            "body-too-large",
            "internal",
            "store-unavailable",
            "ledger-mismatch",
            "ledger-unavailable",
            "overloaded",
        ),
        parameters=(_GATEWAY, _TOKEN),
        any_body=method == "post",
        authenticated=False,
    )


PROVIDER_CALLS = (
    _report("reportDelivery", "post", "Report a delivery"),
    _report("reportDeliveryByGet", "get", "Report a delivery, in the query"),
    _message("passMessageOn", "post", "Pass on what somebody wrote"),
    _message("passMessageOnByGet", "get", "Pass on what somebody wrote, in the query"),
)
