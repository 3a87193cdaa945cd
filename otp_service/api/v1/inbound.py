"""``/v1/inbound``: what people write back, as gateways pass it on. They prove themselves; API keys play no part."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from flask import Blueprint, Response

from otp_service.api.current import exchange
from otp_service.api.ledger_calls import Turns
from otp_service.api.provider import METHODS, provider_request, require_method
from otp_service.bootstrap import Installation
from otp_service.core.errors import NotFoundError, RateLimitedError
from otp_service.gateways.base import InboundAnswer, ProviderRequest
from otp_service.services.receive_inbound import authentic, inbound_url, receive_message, receiver_of

PATIENCE = 0.1
"""Seconds that a request waits for the body of another one."""
_reading = threading.BoundedSemaphore()


def blueprint(installation: Installation, turns: Turns) -> Blueprint:
    """Return the routes of this resource, whose calls take a turn at the ledger once they are known to be authentic."""
    context = installation.context
    proxies = installation.settings.http.trusted_proxies

    def receive(gateway: str) -> Response:
        """Take a message, in any media type: its gateway knows how to read it."""
        require_method(exchange())
        if context.public_url is None:
            raise NotFoundError("There are no inbound messages here.")
        receiver = receiver_of(context, gateway)
        with _one_at_a_time():
            request = ProviderRequest(**provider_request(exchange(), inbound_url(context.public_url, gateway), proxies))
        message = authentic(receiver, request)
        with turns.turn():
            return _response(receive_message(context, gateway, receiver, message))

    routes = Blueprint("inbound", __name__, url_prefix="/v1/inbound")
    routes.add_url_rule("/<gateway>", "receive", receive, methods=METHODS)
    return routes


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Read one body at a time in this process; raise `RateLimitedError` when another one is slow.

    Who sends it is known only when all of it is here, so a stranger who sends it slowly holds a thread for as long as
    that takes: one, and not all of them.
    """
    if not _reading.acquire(timeout=PATIENCE):
        raise RateLimitedError("Another message is being read.", 1)
    try:
        yield
    finally:
        _reading.release()


def _response(answer: InboundAnswer | None) -> Response:
    if answer is not None:
        return Response(answer.body, 200, content_type=answer.media_type)
    response = Response(status=204)
    del response.headers["Content-Type"]
    return response
