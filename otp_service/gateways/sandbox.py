"""Gateway ``sandbox`` for development: catches messages, and simulates failures and receipts."""

import heapq
import hmac
import itertools
import json
import secrets
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar, Self

import requests
from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from otp_service.domain.inbound import Meaning
from otp_service.domain.messages import Message
from otp_service.domain.verification import Channel, DeliveryStatus
from otp_service.errors import OtpServiceError
from otp_service.gateways.base import (
    Accepted,
    FailureKind,
    ForgedRequestError,
    GatewayContext,
    GatewayError,
    GatewaySettings,
    InboundMessage,
    Mailbox,
    ProviderRequest,
    Receipt,
    ReceiptRequest,
    is_same_secret,
)
from otp_service.gateways.http_client import GatewayClient, json_object


class ConnectionFault(StrEnum):
    """Ways in which the connection of a call can fail."""

    REFUSED = "refused"
    """The connection is refused: the message is not caught."""
    LOST = "lost"
    """The message is caught; the connection breaks before the answer comes."""
    TIMEOUT = "timeout"
    """The message is caught; no answer comes before the time-out."""
    BLACK_HOLE = "black_hole"
    """Nothing is caught, and no answer comes before the time-out."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class SandboxReceipt(_Section):
    """A delivery receipt for a caught message."""

    status: DeliveryStatus
    after: float = Field(default=0.0, ge=0, le=600)
    """Seconds after the call's answer."""
    before_response: bool = False
    """Send it before the call's answer instead."""
    kind: FailureKind | None = None
    """Why the message failed: ``destination``, ``rejected`` and ``fraud`` end the delivery; after ``account`` another
    gateway is tried first."""
    forged: bool = False
    """Sign it wrongly."""

    @model_validator(mode="after")
    def _comes_at_one_time(self) -> Self:
        if self.before_response and self.after:
            raise ValueError("before_response cannot have after: a report comes before the answer or after it")
        return self


class Faults(_Section):
    """How calls fail, and their receipts; by default calls succeed without receipts."""

    fail: FailureKind | None = None
    """Refuse the message with this kind of failure."""
    retry_after: float = Field(default=0.0, ge=0, le=3600)
    """With ``fail = "throttled"``, ``"unavailable"`` or ``"error"``: seconds for which to make no calls."""
    opted_out: bool = False
    """With ``fail = "destination"``: report that the person opted out."""
    connection: ConnectionFault | None = None
    """Instead of ``fail``: how the connection fails."""
    every: int | None = Field(default=None, ge=1, le=1_000_000)
    """Apply ``fail`` or ``connection`` to every n-th call of a worker process only."""
    rate: float | None = Field(default=None, ge=0, le=1)
    """Instead of ``every``: the probability of ``fail`` or ``connection`` for a call."""
    delay: float = Field(default=0.0, ge=0, le=60)
    """Seconds until the answer; beyond ``timeout`` the message is caught, but the call times out."""
    report: DeliveryStatus | None = None
    """Send a receipt with this status after the call's answer: short for a single member of ``reports``."""
    reports: tuple[SandboxReceipt, ...] = Field(default=(), max_length=20)
    """Send all of these receipts, each at its time."""

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.fail and self.connection:
            raise ValueError("needs either fail or connection")
        if self.retry_after and self.fail not in {FailureKind.THROTTLED, FailureKind.UNAVAILABLE, FailureKind.ERROR}:
            raise ValueError('retry_after goes with fail = "throttled", "unavailable" or "error"')
        if self.opted_out and self.fail is not FailureKind.DESTINATION:
            raise ValueError('opted_out goes with fail = "destination"')
        if (self.every or self.rate is not None) and not (self.fail or self.connection):
            raise ValueError("every and rate need fail or connection")
        if self.every and self.rate is not None:
            raise ValueError("needs either every or rate")
        if self.report and self.reports:
            raise ValueError("needs either report or reports")
        return self

    @property
    def all_reports(self) -> tuple[SandboxReceipt, ...]:
        return (SandboxReceipt(status=self.report),) if self.report else self.reports


class FaultCase(Faults):
    """Faults for some messages, in place of the gateway's own."""

    to: str = Field(pattern=r"^(\+[0-9]{1,15}(\*[0-9]{0,15})?|\*[0-9]{0,15})$", repr=False)
    """A number in E.164; a ``*`` stands for any digits: ``+92355555*``, ``*0001``."""
    channels: tuple[Channel, ...] | None = Field(default=None, min_length=1)
    """For messages by these channels; all by default."""

    def covers(self, message: Message) -> bool:
        head, star, tail = self.to.partition("*")
        is_long_enough = len(message.to) >= len(head) + len(tail)
        fits = is_long_enough and message.to.startswith(head) and message.to.endswith(tail)
        matches = fits if star else message.to == head
        return matches and (self.channels is None or message.channel in self.channels)


MAX_PENDING = 10_000
"""Maximum waiting receipts; further receipts are dropped."""
_IDLE_TIMEOUT = 1.0
"""Seconds without a receipt after which the thread ends; the next receipt starts another."""


@dataclass(order=True, frozen=True, slots=True)
class _PendingPost:
    due: float
    """Time of the monotonic clock."""
    sequence: int
    """Order of posts with the same time."""
    request: requests.Request = field(compare=False, repr=False)
    posted: threading.Event = field(compare=False, default_factory=threading.Event)


class ReceiptPoster:
    """Posts receipts one after another, the earliest first. Thread-safe."""

    def __init__(self, timeout: float) -> None:
        self._http_client = GatewayClient(timeout)
        self._waiting: list[_PendingPost] = []
        self._sequence = itertools.count()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def post(self, request: requests.Request, due: float) -> threading.Event:
        """Make a request when it is ``due`` by the monotonic clock; the event is set when that is done, or dropped."""
        with self._changed:
            pending = _PendingPost(due, next(self._sequence), request)
            if len(self._waiting) >= MAX_PENDING:
                pending.posted.set()
                return pending.posted
            heapq.heappush(self._waiting, pending)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="sandbox-reports", daemon=True)
                self._thread.start()
            self._changed.notify()
        return pending.posted

    def _work(self) -> None:
        while pending := self._next():
            with suppress(GatewayError):  # providers lose receipts too
                self._http_client.call(pending.request)
            pending.posted.set()

    def _next(self) -> _PendingPost | None:
        """Wait for the next post and return it when it is due; ``None`` after `_IDLE_TIMEOUT` seconds without one."""
        with self._changed:
            while True:
                if not self._waiting and not self._changed.wait_for(lambda: self._waiting, _IDLE_TIMEOUT):
                    self._thread = None
                    return None
                missing = self._waiting[0].due - time.monotonic()
                if missing <= 0:
                    return heapq.heappop(self._waiting)
                self._changed.wait(missing)


_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class CallOutcome:
    """The outcome of a call, after a ``duration`` in seconds."""

    caught: bool
    failure: GatewayError | None
    duration: float


_CONNECTION_FAULTS = {
    ConnectionFault.REFUSED: (False, "connection", False),
    ConnectionFault.LOST: (True, "connection", True),
    ConnectionFault.TIMEOUT: (True, "timeout", True),
    ConnectionFault.BLACK_HOLE: (False, "timeout", True),
}
"""For each fault: whether the message is caught, the failure's code, and whether the failure is ambiguous."""


class FaultScript:
    """Applies the faults of a gateway or of a case to calls, and counts these. Thread-safe."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self._calls = itertools.count(1)
        self._lock = threading.Lock()

    def outcome(self, timeout: float) -> CallOutcome:
        faults, duration = self.faults, min(self.faults.delay, timeout)
        connection = ConnectionFault.TIMEOUT if faults.delay > timeout else None
        applies = self._applies()
        if applies and faults.fail:
            failure = GatewayError(faults.fail, "sandbox", retry_after=faults.retry_after, opted_out=faults.opted_out)
            return CallOutcome(caught=False, failure=failure, duration=duration)
        if applies:
            connection = faults.connection or connection
        if connection is None:
            return CallOutcome(caught=True, failure=None, duration=duration)
        caught, code, ambiguous = _CONNECTION_FAULTS[connection]
        failure = GatewayError(FailureKind.UNAVAILABLE, code, ambiguous=ambiguous)
        return CallOutcome(caught, failure, timeout if code == "timeout" else duration)

    def _applies(self) -> bool:
        if self.faults.rate is not None:
            return secrets.randbelow(_MILLION) < _MILLION * self.faults.rate
        if self.faults.every is None:
            return True
        with self._lock:
            return next(self._calls) % self.faults.every == 0


SIGNATURE = "x-sandbox-signature"
"""Header of a receipt or message: hexadecimal HMAC-SHA256 of URL, line feed and body."""
_WRONG_SIGNATURE = "0" * 64


class SandboxSettings(GatewaySettings, Faults):
    """Simulated faults; by default none."""

    receipt_secret: SecretStr | None = None
    """Key that signs receipts and inbound messages; both need it."""
    cases: tuple[FaultCase, ...] = Field(default=(), max_length=100)
    """Faults for some numbers; the first case that covers a message replaces the gateway's own faults."""

    @property
    def sets_sender(self) -> bool:
        return True

    @property
    def takes_messages(self) -> bool:
        return self.receipt_secret is not None

    @model_validator(mode="after")
    def _reports_are_signed(self) -> Self:
        secret = self.receipt_secret and self.receipt_secret.get_secret_value()
        sources: tuple[Faults, ...] = (self, *self.cases)
        if not secret and any(faults.all_reports for faults in sources):
            raise ValueError("receipt_secret is needed when report or reports is set")
        return self


class SandboxGateway:
    """Stores messages for ``GET /v1/sandbox/messages``; fails, delays and posts receipts by its settings."""

    kind: ClassVar[str] = "sandbox"
    channels = frozenset[str](Channel)
    development_only: ClassVar[bool] = True
    Settings: ClassVar[type[GatewaySettings]] = SandboxSettings

    def __init__(self, settings: SandboxSettings, context: GatewayContext) -> None:
        self._timeout = settings.timeout
        self._secret = settings.receipt_secret.get_secret_value() if settings.receipt_secret else ""
        self._mailbox: Mailbox = context.mailbox
        self._poster = ReceiptPoster(settings.timeout)
        self._default = FaultScript(settings)
        self._cases = [(case, FaultScript(case)) for case in settings.cases]

    def send(self, message: Message) -> Accepted:
        began = time.monotonic()
        script = next((script for case, script in self._cases if case.covers(message)), self._default)
        outcome = script.outcome(self._timeout)
        if outcome.caught:
            try:
                self._mailbox.put(message)
            except OtpServiceError:
                raise GatewayError(FailureKind.UNAVAILABLE, "mailbox") from None
            self._report(message, script.faults.all_reports, began, began + outcome.duration)
        time.sleep(max(0.0, began + outcome.duration - time.monotonic()))
        if outcome.failure:
            raise outcome.failure
        return Accepted(f"sandbox-{message.dispatch_id}")

    def parse_receipt(self, request: ReceiptRequest) -> Receipt:
        self._require_signature(request)
        members = json_object(request.body)
        raw, failure = str(members.get("status", "")), str(members.get("kind", ""))
        status = DeliveryStatus(raw) if raw in DeliveryStatus.__members__.values() else DeliveryStatus.UNKNOWN
        kind = FailureKind(failure) if failure in FailureKind.__members__.values() else None
        return Receipt(status, raw, reason=kind, kind=kind)

    def parse_inbound(self, request: ProviderRequest) -> InboundMessage:
        self._require_signature(request)
        texts = {name: value for name, value in json_object(request.body).items() if isinstance(value, str)}
        opt_out = texts.get("opt_out")
        return InboundMessage(
            reference=texts.get("id", ""),
            sender=texts.get("from", ""),
            text=texts.get("text", ""),
            opt_out=Meaning(opt_out) if opt_out in set(Meaning) else None,
        )

    def _require_signature(self, request: ProviderRequest) -> None:
        if not is_same_secret(request.headers.get(SIGNATURE, ""), self._signature(request.url, request.body)):
            raise ForgedRequestError

    def _report(self, message: Message, reports: tuple[SandboxReceipt, ...], began: float, answered: float) -> None:
        """Schedule all receipts; wait for those before the answer, at most until the call times out."""
        if message.receipt_url is None:
            return
        overtaking = [self._post(message.receipt_url, report, began) for report in reports if report.before_response]
        for posted in overtaking:
            posted.wait(max(0.0, began + self._timeout - time.monotonic()))
        answered = max(answered, time.monotonic())
        for report in reports:
            if not report.before_response:
                self._post(message.receipt_url, report, answered + report.after)

    def _post(self, url: str, report: SandboxReceipt, due: float) -> threading.Event:
        body = json.dumps({"status": report.status} | ({"kind": report.kind} if report.kind else {})).encode()
        signature = _WRONG_SIGNATURE if report.forged else self._signature(url, body)
        headers = {"Content-Type": "application/json", SIGNATURE: signature}
        return self._poster.post(requests.Request("POST", url, data=body, headers=headers), due)

    def _signature(self, url: str, body: bytes) -> str:
        if not self._secret:
            return ""
        return hmac.digest(self._secret.encode(), url.encode() + b"\n" + body, "sha256").hex()
