"""What a sandbox gateway can be told to do wrong: to all messages, or to those of certain numbers and channels."""

from enum import StrEnum
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from otp_service.domain.templates import Message
from otp_service.domain.verification import DeliveryStatus
from otp_service.gateways.base import FailureKind

Channel = Literal["sms", "voice", "whatsapp"]


class Connection(StrEnum):
    """What can happen to a call on its way."""

    REFUSED = "refused"
    """Nobody is there: nothing is caught, and it is certain."""
    LOST = "lost"
    """The message is caught; the connection breaks before the answer."""
    TIMEOUT = "timeout"
    """The message is caught; no answer comes before the time-out."""
    BLACK_HOLE = "black_hole"
    """Nothing is caught, and no answer comes before the time-out."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Report(_Part):
    """One report on a message that was caught."""

    status: DeliveryStatus
    after: float = Field(default=0.0, ge=0, le=600)
    """Seconds after the call's answer."""
    overtakes: bool = False
    """It comes before the call's answer instead."""
    kind: FailureKind | None = None
    """Why the message failed: ``destination``, ``rejected`` and ``fraud`` end the delivery, after ``account`` another
    gateway is tried first."""
    forged: bool = False
    """Its signature is wrong."""

    @model_validator(mode="after")
    def _comes_at_one_time(self) -> Self:
        if self.overtakes and self.after:
            raise ValueError("a report either overtakes the answer or comes after it")
        return self


class Faults(_Part):
    """How a call goes wrong, and what is reported of its message; by default it goes well, and nothing is."""

    fail: FailureKind | None = None
    """Refuse the message in this way."""
    retry_after: float = Field(default=0.0, ge=0, le=3600)
    """With ``fail = "throttled"``, ``"unavailable"`` or ``"error"``: seconds for which to leave the gateway alone."""
    opted_out: bool = False
    """With ``fail = "destination"``: say that the number's holder wants no messages."""
    connection: Connection | None = None
    """Instead of ``fail``: what happens to the call on its way."""
    every: int | None = Field(default=None, ge=1, le=1_000_000)
    """``fail`` or ``connection`` strikes each n-th call only, counted by each worker process for itself."""
    rate: float | None = Field(default=None, ge=0, le=1)
    """Instead of ``every``: the probability with which it strikes a call."""
    delay: float = Field(default=0.0, ge=0, le=60)
    """Seconds until it answers; beyond ``timeout`` the message is caught, but the call fails as timed out."""
    report: DeliveryStatus | None = None
    """Report this status once the call is answered: short for one member of ``reports``."""
    reports: tuple[Report, ...] = Field(default=(), max_length=20)
    """Report all of these, each at its time."""

    @model_validator(mode="after")
    def _make_one_story(self) -> Self:
        if self.fail and self.connection:
            raise ValueError("needs either fail or connection")
        if self.retry_after and self.fail not in {FailureKind.THROTTLED, FailureKind.UNAVAILABLE, FailureKind.ERROR}:
            raise ValueError('retry_after goes with fail = "throttled", "unavailable" or "error"')
        if self.opted_out and self.fail is not FailureKind.DESTINATION:
            raise ValueError('opted_out goes with fail = "destination"')
        if (self.every or self.rate is not None) and not (self.fail or self.connection):
            raise ValueError("every and rate say how often fail or connection strikes")
        if self.every and self.rate is not None:
            raise ValueError("needs either every or rate")
        if self.report and self.reports:
            raise ValueError("needs either report or reports")
        return self

    @property
    def all_reports(self) -> tuple[Report, ...]:
        """What is reported, whichever of the two members says so."""
        return (Report(status=self.report),) if self.report else self.reports


class Case(Faults):
    """Faults for some messages: where they apply, nothing of the gateway's own faults does."""

    to: str = Field(pattern=r"^(\+[0-9]{1,15}(\*[0-9]{0,15})?|\*[0-9]{0,15})$", repr=False)
    """A number in E.164; one ``*`` stands for any digits: ``+92355555*``, ``*0001``."""
    channels: tuple[Channel, ...] | None = Field(default=None, min_length=1)
    """For messages by these channels; all by default."""

    def covers(self, message: Message) -> bool:
        """Tell whether this case is about a message."""
        head, star, tail = self.to.partition("*")
        room = len(message.to) >= len(head) + len(tail)
        alike = room and message.to.startswith(head) and message.to.endswith(tail) if star else message.to == head
        return alike and (self.channels is None or message.channel in self.channels)
