"""Sandbox: catches messages instead of sending them, and misbehaves on demand."""

import hmac
import json
import threading
import time
from typing import ClassVar, Self

from pydantic import Field, SecretStr, model_validator

from otp_service.domain.templates import Message
from otp_service.domain.verification import DeliveryStatus
from otp_service.errors import OtpServiceError
from otp_service.gateways.base import (
    Accepted,
    FailureKind,
    GatewayContext,
    GatewayError,
    GatewaySettings,
    InboundForgedError,
    InboundMessage,
    Mailbox,
    ProviderRequest,
    Receipt,
    ReceiptForgedError,
    ReceiptRequest,
)
from otp_service.gateways.sandbox.faults import Case, Faults, Report
from otp_service.gateways.sandbox.inbound import message_of
from otp_service.gateways.sandbox.reports import Reporter
from otp_service.gateways.sandbox.script import Script, script_for

SIGNATURE = "x-sandbox-signature"
"""Header of a report: hexadecimal HMAC-SHA256 of the address and the body, a line feed between them."""
_FORGED = "0" * 64


class SandboxSettings(GatewaySettings, Faults):
    """How it misbehaves; by default not at all."""

    receipt_secret: SecretStr | None = None
    """Signs reports and inbound messages; needed for them."""
    cases: tuple[Case, ...] = Field(default=(), max_length=100)
    """Faults for some numbers; the first case that covers a message decides, alone."""

    @property
    def sets_sender(self) -> bool:
        """Whether it shows the sender of a message: it does."""
        return True

    @property
    def takes_messages(self) -> bool:
        """Whether an inbound message could be signed."""
        return self.receipt_secret is not None

    @model_validator(mode="after")
    def _reports_are_signed(self) -> Self:
        secret = self.receipt_secret and self.receipt_secret.get_secret_value()
        sources: tuple[Faults, ...] = (self, *self.cases)
        if not secret and any(faults.all_reports for faults in sources):
            raise ValueError("receipt_secret is needed when report or reports is set")
        return self


class SandboxGateway:
    """Keeps messages for ``GET /v1/sandbox/messages``; can be told to fail, to be slow, or to report."""

    kind: ClassVar[str] = "sandbox"
    channels = frozenset({"sms", "voice", "whatsapp"})
    development_only: ClassVar[bool] = True
    Settings: ClassVar[type[GatewaySettings]] = SandboxSettings

    def __init__(self, settings: SandboxSettings, context: GatewayContext) -> None:
        self._timeout = settings.timeout
        self._secret = settings.receipt_secret.get_secret_value() if settings.receipt_secret else ""
        self._mailbox: Mailbox = context.mailbox
        self._reporter = Reporter(settings.timeout)
        self._default = Script(settings)
        self._cases = [(case, Script(case)) for case in settings.cases]

    def send(self, message: Message) -> Accepted:
        """Catch the message and answer after the delay; or raise `GatewayError` as told."""
        script, began = script_for(message, self._cases, self._default), time.monotonic()
        fate = script.fate(self._timeout)
        if fate.caught:
            if not self._caught(message):
                raise GatewayError(FailureKind.UNAVAILABLE, "mailbox")
            self._report(message, script.faults.all_reports, began, began + fate.lasts)
        time.sleep(max(0.0, began + fate.lasts - time.monotonic()))
        if fate.failure:
            raise fate.failure
        return Accepted(f"sandbox-{message.dispatch_id}")

    def receipt(self, request: ReceiptRequest) -> Receipt:
        """Return its own report; raise `ReceiptForgedError` for anybody else's."""
        if not self._is_signed(request):
            raise ReceiptForgedError
        return _receipt_of(request.body)

    def inbound(self, request: ProviderRequest) -> InboundMessage:
        """Return a message that was signed as its reports are; raise `InboundForgedError` for any other."""
        if not self._is_signed(request):
            raise InboundForgedError
        return message_of(request.body)

    def _is_signed(self, request: ProviderRequest) -> bool:
        given, expected = request.headers.get(SIGNATURE, ""), self._signature(request.url, request.body)
        return bool(expected) and hmac.compare_digest(given.encode(), expected.encode())

    def _caught(self, message: Message) -> bool:
        try:
            self._mailbox.put(message)
        except OtpServiceError:
            return False
        return True

    def _report(self, message: Message, reports: tuple[Report, ...], began: float, answered: float) -> None:
        """Have all reports posted: return when those that overtake the answer are, or the call's time is over."""
        if message.receipt_url is None:
            return
        overtaking = [self._post(message.receipt_url, report, began) for report in reports if report.overtakes]
        for posted in overtaking:
            posted.wait(max(0.0, began + self._timeout - time.monotonic()))
        answered = max(answered, time.monotonic())
        for report in reports:
            if not report.overtakes:
                self._post(message.receipt_url, report, answered + report.after)

    def _post(self, url: str, report: Report, due: float) -> threading.Event:
        body = json.dumps({"status": report.status} | ({"kind": report.kind} if report.kind else {})).encode()
        signature = _FORGED if report.forged else self._signature(url, body)
        return self._reporter.post(url, body, {SIGNATURE: signature}, due=due)

    def _signature(self, url: str, body: bytes) -> str:
        if not self._secret:
            return ""
        return hmac.digest(self._secret.encode(), url.encode() + b"\n" + body, "sha256").hex()


def _receipt_of(body: bytes) -> Receipt:
    try:
        members = json.loads(body)
        raw, given = str(members["status"]), members.get("kind")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return Receipt(DeliveryStatus.UNKNOWN, "")
    status = DeliveryStatus(raw) if raw in DeliveryStatus.__members__.values() else DeliveryStatus.UNKNOWN
    kind = FailureKind(given) if given in FailureKind.__members__.values() else None
    return Receipt(status, raw, reason=kind, kind=kind)
