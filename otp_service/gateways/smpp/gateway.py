"""SMPP: the gateway."""

import threading
from typing import ClassVar

from otp_service.domain.templates import Message
from otp_service.gateways.base import Accepted, FailureKind, GatewayContext, GatewayError, GatewaySettings
from otp_service.gateways.smpp.delivery import delivery_of
from otp_service.gateways.smpp.failures import OF_SENDER
from otp_service.gateways.smpp.inbound import message_of
from otp_service.gateways.smpp.links import Links
from otp_service.gateways.smpp.parts import Parts
from otp_service.gateways.smpp.receipt import report_of
from otp_service.gateways.smpp.settings import SmppSettings
from otp_service.gateways.smpp.submission import submissions
from otp_service.gateways.wire import reference_of


class SmppGateway:
    """Submits messages over sessions that a thread of its own keeps bound, and hands in what comes over them."""

    kind: ClassVar[str] = "smpp"
    channels = frozenset({"sms"})
    development_only: ClassVar[bool] = False
    Settings: ClassVar[type[GatewaySettings]] = SmppSettings

    def __init__(self, settings: SmppSettings, context: GatewayContext) -> None:
        self._settings, self._name = settings, context.name
        self._desk, self._inbox = context.desk, context.inbox
        self._parts = Parts(settings.receipt_ids)
        self._lock = threading.Lock()
        self._links: Links | None = None

    def open(self) -> None:
        """Bind, and stay bound."""
        self._opened()

    def close(self) -> None:
        """Unbind. A message that is sent after that binds again."""
        with self._lock:
            links, self._links = self._links, None
        if links:
            links.stop()

    def send(self, message: Message) -> Accepted:
        """Submit all parts; accepted when each has a ``submit_sm_resp`` of status 0, under the id of the last.

        Binds when nobody did. A failure is ambiguous when an answer is missing, or when a part was accepted before.
        """
        outcome = self._submitted(message)
        if isinstance(outcome, GatewayError):
            outcome.of_message |= bool(message.sender) and outcome.provider_code in OF_SENDER
            raise outcome  # outside of the handlers: what they catch holds the text
        reference = reference_of(outcome[-1] or None, message)
        self._parts.remember(outcome[:-1], reference)
        return Accepted(reference)

    def _submitted(self, message: Message) -> tuple[str, ...] | GatewayError:
        try:
            bodies = submissions(message, self._settings)
        except ValueError:
            return GatewayError(FailureKind.REJECTED, "message cannot be sent")
        return self._opened().submit(bodies, self._settings.timeout)

    def _opened(self) -> Links:
        with self._lock:
            if self._links is None:
                self._links = Links(self._settings, f"smpp-{self._name}", self._hand_in)
            return self._links

    def _hand_in(self, body: bytes) -> bool:
        if message := message_of(delivery_of(body)):
            return self._inbox.hand_in(message)
        report = report_of(body)
        if report is None:
            return True
        references, *guesses = self._parts.references(report)
        return not references or self._desk.hand_in(references, report.receipt, guesses, report.numbers)
