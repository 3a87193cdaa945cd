"""Sandbox: catches messages instead of sending them, and misbehaves on demand."""

import hmac
import json
import threading
import time
from typing import ClassVar, Self

import requests
from pydantic import Field, SecretStr, model_validator

from otp_service.core.errors import OtpServiceError
from otp_service.core.message import Message
from otp_service.core.verification import DeliveryStatus
from otp_service.gateways.base import (
    Accepted,
    FailureKind,
    GatewayContext,
    GatewayError,
    GatewaySettings,
    Mailbox,
    Receipt,
    ReceiptForgedError,
    ReceiptRequest,
)
from otp_service.gateways.wire import Wire

SIGNATURE = "x-sandbox-signature"
"""Header of a report: hexadecimal HMAC-SHA256 of the address and the body, a line feed between them."""


class SandboxGateway:
    """Keeps messages for ``GET /v1/sandbox/messages``; can be told to fail, to be slow, or to report."""

    kind: ClassVar[str] = "sandbox"
    channels = frozenset({"sms", "voice", "whatsapp"})
    development_only: ClassVar[bool] = True

    class Settings(GatewaySettings):
        """How it misbehaves; by default not at all."""

        fail: FailureKind | None = None
        """Refuse every message in this way."""
        delay: float = Field(default=0.0, ge=0, le=60)
        """Seconds until it answers; beyond ``timeout`` the message is caught, but the call fails as timed out."""
        report: DeliveryStatus | None = None
        """Report this status of every message it took, when there is a public address to report to."""
        receipt_secret: SecretStr | None = None
        """Signs reports; needed for them."""

        @model_validator(mode="after")
        def _reports_are_signed(self) -> Self:
            if self.report is not None and not (self.receipt_secret and self.receipt_secret.get_secret_value()):
                raise ValueError("receipt_secret is needed when report is set")
            return self

    def __init__(self, settings: Settings, context: GatewayContext) -> None:
        self._settings = settings
        self._mailbox: Mailbox = context.mailbox
        self._wire = Wire(settings.timeout)

    def send(self, message: Message) -> Accepted:
        """Catch the message, after the delay; raise `GatewayError` as told."""
        time.sleep(min(self._settings.delay, self._settings.timeout))
        if self._settings.fail is not None:
            raise GatewayError(self._settings.fail, "sandbox")
        if not self._caught(message):
            raise GatewayError(FailureKind.UNAVAILABLE, "mailbox")
        if self._settings.delay > self._settings.timeout:
            raise GatewayError(FailureKind.UNAVAILABLE, "timeout", ambiguous=True)
        if self._settings.report and message.receipt_url:
            threading.Thread(target=self._report, args=(message.receipt_url,), daemon=True).start()
        return Accepted(f"sandbox-{message.dispatch_id}")

    def receipt(self, request: ReceiptRequest) -> Receipt:
        """Return its own report; raise `ReceiptForgedError` for anybody else's."""
        given = request.headers.get(SIGNATURE, "")
        expected = self._signature(request.url, request.body)
        if not expected or not hmac.compare_digest(given.encode(), expected.encode()):
            raise ReceiptForgedError
        return _receipt_of(request.body)

    def _caught(self, message: Message) -> bool:
        try:
            self._mailbox.put(message)
        except OtpServiceError:
            return False
        return True

    def _report(self, url: str) -> None:
        body = json.dumps({"status": self._settings.report}).encode()
        headers = {"Content-Type": "application/json", SIGNATURE: self._signature(url, body)}
        try:
            self._wire.call(requests.Request("POST", url, data=body, headers=headers))
        except GatewayError:
            return  # providers lose reports too

    def _signature(self, url: str, body: bytes) -> str:
        secret = self._settings.receipt_secret
        if secret is None or not secret.get_secret_value():
            return ""
        return hmac.digest(secret.get_secret_value().encode(), url.encode() + b"\n" + body, "sha256").hex()


def _receipt_of(body: bytes) -> Receipt:
    try:
        raw = str(json.loads(body)["status"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return Receipt(DeliveryStatus.UNKNOWN, "")
    known = raw in DeliveryStatus.__members__.values()
    return Receipt(DeliveryStatus(raw) if known else DeliveryStatus.UNKNOWN, raw)
