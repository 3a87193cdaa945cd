"""Take in what a provider passes on over HTTP: prove it, act on it, and answer the provider in its own way."""

import hmac

from otp_service.errors import FrozenError, MessageNotClearedError, NotFoundError, UnauthenticatedError
from otp_service.gateways.base import (
    AnswersInbound,
    InboundAnswer,
    InboundForgedError,
    InboundMessage,
    ProviderRequest,
    ReceivesMessages,
)
from otp_service.services.context import Context
from otp_service.services.inbound import receive
from otp_service.services.replies import FROZEN, Reply, queue, words_of
from otp_service.telemetry import metrics


def inbound_url(context: Context, gateway: str) -> str:
    """Return the address that a gateway's provider passes messages on to: part of what it signs."""
    return f"{context.public_url}/v1/inbound/{gateway}/{context.keyring.inbound_token(gateway)}"


def receiver_of(context: Context, gateway: str, token: str) -> ReceivesMessages:
    """Return a gateway that receives messages, to be asked before anything of one is read.

    Raises `NotFoundError`, also where messages do not come in at all: only the provider was told the token.
    """
    receiver, expected = context.gateways.get(gateway), context.keyring.inbound_token(gateway)
    known = hmac.compare_digest(token.encode(errors="replace"), expected.encode())
    if not known or context.public_url is None or not isinstance(receiver, ReceivesMessages):
        raise NotFoundError("There is no gateway here that receives messages at this address.")
    return receiver


def authentic(receiver: ReceivesMessages, request: ProviderRequest) -> InboundMessage:
    """Return the message of a request; raise `UnauthenticatedError` for a forged one."""
    try:
        return receiver.inbound(request)
    except InboundForgedError as forged:
        raise UnauthenticatedError("The message is not authentic.") from forged


def receive_message(
    context: Context, gateway: str, receiver: ReceivesMessages, message: InboundMessage
) -> InboundAnswer | None:
    """Act on an authentic message; return what the provider is answered, ``None`` for nothing.

    Raises `LedgerUnavailableError` and `StoreUnavailableError`.
    """
    reply = receive(context, gateway, message)
    if isinstance(receiver, AnswersInbound):
        return _answer(context, receiver, reply)
    if reply is not None:
        queue(context, reply)
    return None


def _answer(context: Context, receiver: AnswersInbound, reply: Reply | None) -> InboundAnswer:
    if reply is None:
        return receiver.inbound_answer(None)
    if not receiver.carries_reply:
        queue(context, reply)
        return receiver.inbound_answer(None)
    try:
        words = words_of(context, reply)
    except MessageNotClearedError as refused:
        metrics.record_reply(reply.gateway, refused.obstacle)
        return receiver.inbound_answer(None)
    except FrozenError:
        metrics.record_reply(reply.gateway, FROZEN)
        return receiver.inbound_answer(None)
    if words and words.sender:  # what is answered goes out under the number that was written to
        queue(context, reply)
        return receiver.inbound_answer(None)
    metrics.record_reply(reply.gateway, "answered" if words else "no_application")
    return receiver.inbound_answer(words.text if words else None)
