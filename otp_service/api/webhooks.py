"""What providers call: reports of deliveries, and messages that people write back."""

from dataclasses import replace

from otp_service.api.exchange import Exchange
from otp_service.api.requests import provider_request, require_method
from otp_service.api.routes import Answer, Resource, Success, path_parameter
from otp_service.gateways.base import ProviderRequest, ReceiptRequest
from otp_service.services.inbound import authenticate_message, inbound_url, receive_message, require_receiver
from otp_service.services.receipts import expect_receipt, receipt_url, receive_receipt

_GATEWAY = path_parameter("gateway", "Name of the gateway in the configuration.", "primary")
_DISPATCH = path_parameter(
    "dispatch_id", "The id that the service gave the gateway with the message.", "dp_0012ab34cd56ef7890a1b2c3d4e5f60718"
)
_TOKEN = path_parameter(
    "token",
    "What the address ends with that `otp-service gateway inbound` shows for the gateway.",
    "3q2-7wAAAAAAAAAAAAAAAA",
)
_PROBLEMS = ("unauthenticated", "not-found", "body-too-large", "internal", "store-unavailable")
receipts = Resource("receipts", "Gateways", problems=(*_PROBLEMS, "overloaded"), parameters=(_GATEWAY, _DISPATCH))


@receipts.route("POST /v1/receipts/<gateway>/<dispatch_id>", {204: "Taken."}, endpoint="receive")
def report_delivery(exchange: Exchange, gateway: str, dispatch_id: str) -> Answer:
    """Report a delivery.

    For gateways, not for applications: a gateway's report on a message, proven in its own way by a signature, a token
    in the address, or where it comes from. A report changes what is shown of a delivery and never approves anything.
    """
    require_method(exchange)
    # Before the body: whoever sends none, or slowly, holds a thread for as long as that takes.
    expected = expect_receipt(exchange.context, gateway, dispatch_id)
    address = receipt_url(str(exchange.context.public_url), gateway, dispatch_id)
    report = ReceiptRequest(**provider_request(exchange, address), dispatch_id=dispatch_id)
    receive_receipt(exchange.context, expected, report)
    return _TAKEN


inbound = Resource(
    "inbound",
    "Gateways",
    problems=(*_PROBLEMS, "ledger-mismatch", "ledger-unavailable", "overloaded"),
    parameters=(_GATEWAY, _TOKEN),
)


@inbound.route(
    "POST /v1/inbound/<gateway>/<token>",
    {200: Success("Taken; what stands here, the gateway sends to whoever wrote.", "text/*"), 204: "Taken."},
    endpoint="receive",
)
def report_message(exchange: Exchange, gateway: str, token: str) -> Answer:
    """Pass on what somebody wrote.

    For gateways, not for applications: what somebody wrote back, proven as the gateway's reports are. A message that is
    nothing but a word for *stop* keeps messages back from the number, one for *start* lets them through again. The
    answer has the form that the gateway expects.
    """
    require_method(exchange)
    receiver = require_receiver(exchange.context, gateway, token)  # before the body, as for receipts
    request = ProviderRequest(**provider_request(exchange, inbound_url(exchange.context, gateway)))
    message = authenticate_message(receiver, request)
    with exchange.shared.ledger_slots.slot():  # only now: it is known to be authentic
        answer = receive_message(exchange.context, gateway, receiver, message)
    return _TAKEN if answer is None else Answer(answer.body.encode(), media_type=answer.media_type)


_TAKEN = Answer(b"", 204, None)


def _also_by_get(resource: Resource) -> None:
    """Take by GET, too, what many small providers, and Kannel, send in the query."""
    (by_post,) = resource.routes
    resource.routes.append(
        replace(by_post, method="GET", name=f"{by_post.name}ByGet", summary=f"{by_post.summary}, in the query")
    )


_also_by_get(receipts)
_also_by_get(inbound)
