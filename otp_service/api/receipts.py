"""Calls by providers: delivery receipts and inbound messages."""

from dataclasses import replace

from otp_service.api.exchange import Exchange
from otp_service.api.requests import MAX_SHARED_BODY, provider_request, require_method
from otp_service.api.routes import NO_CONTENT, Answer, Resource, Success, path_parameter
from otp_service.gateways.base import ProviderRequest, ReceiptRequest
from otp_service.services.inbound import authenticate_message, inbound_url, receive_message, require_receiver
from otp_service.services.receipts import (
    answer_challenge,
    expect_receipt,
    receipt_url,
    receive_receipt,
    receive_receipts,
    require_reporter,
    shared_receipt_url,
)

_GATEWAY = path_parameter("gateway", "Name of the gateway in the configuration.", "primary")
_DISPATCH = path_parameter(
    "dispatch_id", "The id that the service gave the gateway with the message.", "dp_0012ab34cd56ef7890a1b2c3d4e5f60718"
)
_TOKEN = path_parameter(
    "token",
    "What the address ends with that `otp-service gateway addresses` shows for the gateway.",
    "3q2-7wAAAAAAAAAAAAAAAA",
)
_PROBLEMS = ("unauthenticated", "not-found", "body-too-large", "internal", "store-unavailable")
_TEXT = "text/plain; charset=utf-8"
receipts = Resource("receipts", "Gateways", problems=(*_PROBLEMS, "overloaded"), parameters=(_GATEWAY, _DISPATCH))


@receipts.route("POST /v1/receipts/<gateway>/<dispatch_id>", {204: "Accepted."})
def receive_delivery_receipt(exchange: Exchange, gateway: str, dispatch_id: str) -> Answer:
    """Receive a delivery receipt.

    For providers, not for applications: a provider's receipt for a message. The provider authenticates it in its own
    way: by a signature, a token in the URL, or its IP address. A receipt changes the status of a delivery and never
    approves a verification.
    """
    require_method(exchange)
    # Before the body is read, because a client that sends it slowly, or never, occupies a thread for that time.
    expected = expect_receipt(exchange.context, gateway, dispatch_id)
    exchange.identify(verification=expected.verification)
    url = receipt_url(str(exchange.context.public_url), gateway, dispatch_id)
    request = ReceiptRequest(**provider_request(exchange, url), dispatch_id=dispatch_id)
    receive_receipt(exchange.context, expected, request)
    return NO_CONTENT


shared_receipts = Resource(
    "shared-receipts", "Gateways", problems=(*_PROBLEMS, "overloaded"), parameters=(_GATEWAY, _TOKEN)
)


@shared_receipts.route("POST /v1/receipts/<gateway>/all/<token>", {200: Success("Accepted.", "text/plain")})
def receive_delivery_receipts(exchange: Exchange, gateway: str, token: str) -> Answer:
    """Receive delivery receipts of several messages.

    For providers that report all messages to one address, WhatsApp among them. They authenticate receipts in their own
    way; each names its message by the id that the service gave with it.
    """
    reporter = require_reporter(exchange.context, gateway, token)  # before the body is read, as for one receipt
    url = shared_receipt_url(exchange.context, gateway)
    request = ProviderRequest(**provider_request(exchange, url, MAX_SHARED_BODY))
    receive_receipts(exchange.context, gateway, reporter, request)
    return Answer(b"", media_type=_TEXT)


@shared_receipts.route("GET /v1/receipts/<gateway>/all/<token>", {200: Success("What proves it.", "text/plain")})
def confirm_receipt_address(exchange: Exchange, gateway: str, token: str) -> Answer:
    """Prove to a provider whose the address is.

    A provider asks once, when the address is given to it, and shows that it was given the address.
    """
    require_method(exchange)
    reporter = require_reporter(exchange.context, gateway, token)
    request = ProviderRequest(**provider_request(exchange, shared_receipt_url(exchange.context, gateway)))
    return Answer(answer_challenge(reporter, request).encode(), media_type=_TEXT)


inbound = Resource(
    "inbound",
    "Gateways",
    problems=(*_PROBLEMS, "ledger-mismatch", "ledger-unavailable", "overloaded"),
    parameters=(_GATEWAY, _TOKEN),
)


@inbound.route(
    "POST /v1/inbound/<gateway>/<token>",
    {200: Success("Accepted; the provider sends the body to the person as a reply.", "text/*"), 204: "Accepted."},
)
def receive_inbound_message(exchange: Exchange, gateway: str, token: str) -> Answer:
    """Receive a message from a person.

    For providers, not for applications: a message that a person sent, authenticated as the provider's receipts are. A
    message that is only a keyword for *stop* suppresses the number; one for *start* lifts that suppression. The answer
    has the form that the provider expects.
    """
    require_method(exchange)
    receiver = require_receiver(exchange.context, gateway, token)  # before the body is read, as for receipts
    request = ProviderRequest(**provider_request(exchange, inbound_url(exchange.context, gateway)))
    message = authenticate_message(receiver, request)
    with exchange.shared.ledger_slots.slot():  # only for a message that is authentic
        answer = receive_message(exchange.context, gateway, receiver, message)
    return NO_CONTENT if answer is None else Answer(answer.body.encode(), media_type=answer.media_type)


for _resource in (receipts, inbound):  # also by GET, for the many small providers, and Kannel, that send queries
    (_post,) = _resource.routes
    _resource.routes.append(
        replace(_post, method="GET", name=f"{_post.name}ByGet", summary=f"{_post.summary}, in the query")
    )
