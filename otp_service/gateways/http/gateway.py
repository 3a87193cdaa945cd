"""HTTP: any provider whose API takes one request a message, by configuration alone."""

from typing import ClassVar
from urllib.parse import quote

import requests

from otp_service.domain.templates import Message
from otp_service.gateways.base import (
    Accepted,
    GatewayContext,
    GatewaySettings,
    InboundAnswer,
    InboundForgedError,
    InboundMessage,
    ProviderRequest,
    Receipt,
    ReceiptForgedError,
    ReceiptRequest,
)
from otp_service.gateways.http.inbound import ConfiguredInbound, answer_of
from otp_service.gateways.http.receipts import ConfiguredReceipts
from otp_service.gateways.http.settings import HttpSettings
from otp_service.gateways.http.templates import Filler
from otp_service.gateways.http.verdict import failure_of
from otp_service.gateways.wire import Wire, reference_of


class HttpGateway:
    """Speaks to a provider as its section describes it."""

    kind: ClassVar[str] = "http"
    channels = frozenset({"sms"})
    development_only: ClassVar[bool] = False
    Settings: ClassVar[type[GatewaySettings]] = HttpSettings

    def __init__(self, settings: HttpSettings, context: GatewayContext) -> None:  # noqa: ARG002 - the contract's
        self.channels = frozenset[str](settings.channels)
        self._settings = settings
        self._wire = Wire(settings.timeout)
        self._receipts = ConfiguredReceipts(settings.receipts) if settings.receipts else None
        self._inbound = ConfiguredInbound(settings.inbound) if settings.inbound else None
        self.carries_reply = settings.inbound is not None and settings.inbound.reply
        self._encodings = settings.encoding.model_dump() if settings.encoding else {}

    def send(self, message: Message) -> Accepted:
        """Make the one request for a message and judge the answer."""
        settings = self._settings
        answer = self._wire.call(self._request(Filler(message, settings.secrets, self._encodings, settings.sender)))
        failure = failure_of(answer, settings.success, settings.failures)
        if failure is not None:
            raise failure
        reference = settings.reference.of(answer) if settings.reference else None
        return Accepted(reference_of(reference, message))

    def receipt(self, request: ReceiptRequest) -> Receipt:
        """Return what a report says; raise `ReceiptForgedError`, for all of them when none are configured."""
        if self._receipts is None:
            raise ReceiptForgedError
        return self._receipts.read(request)

    def receipt_address(self, url: str, dispatch_id: str) -> str:
        """Return the address with the proof that reports are to carry."""
        return self._receipts.address(url, dispatch_id) if self._receipts else url

    def inbound(self, request: ProviderRequest) -> InboundMessage:
        """Return a message from somebody; raise `InboundForgedError`, for all of them when none are configured."""
        if self._inbound is None:
            raise InboundForgedError
        return self._inbound.read(request)

    def inbound_address(self, url: str) -> str:
        """Return the address with the proof that messages are to carry."""
        return self._inbound.address(url) if self._inbound else url

    def inbound_answer(self, reply: str | None) -> InboundAnswer:
        """Return a reply as plain text, or an empty answer."""
        return answer_of(reply)

    def _request(self, fill: Filler) -> requests.Request:
        settings = self._settings
        user_and_password = tuple(map(fill.text, settings.basic_auth or ()))
        return requests.Request(
            settings.method,
            fill.text(settings.url, lambda value: quote(value, safe="")),
            headers=fill.texts(settings.headers),
            params=fill.texts(settings.query),
            data=fill.texts(settings.form) if settings.form is not None else None,
            json=fill.json(settings.document),
            auth=requests.auth.HTTPBasicAuth(*user_and_password) if user_and_password else None,
        )
