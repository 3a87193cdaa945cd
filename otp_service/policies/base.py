"""What a policy is: the contract that each one keeps. Everything that an author of one needs is to be had here."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Protocol

from pydantic import BaseModel, ConfigDict, Field

from otp_service.domain.verification import Channel
from otp_service.transport.country_code import CountryCode


class Ruling(StrEnum):
    """What a policy says of a message."""

    ALLOW = "allow"
    DENY = "deny"
    """It is not sent, by no channel."""
    ANOTHER_CHANNEL = "another_channel"
    """Not by every channel: it may go by those that the verdict names."""
    UNKNOWN = "unknown"
    """Nothing: the policy failed, or was not ready in time."""


_EVERY = frozenset(map(str, Channel))


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer of a policy: one of `ALLOW`, `DENY`, `only_by` and `not_by`."""

    ruling: Ruling
    channels: frozenset[str] = _EVERY
    """Those by which the message may go."""
    reason: str = ""
    """Why nothing is known; empty when something is."""


ALLOW = Verdict(Ruling.ALLOW)
DENY = Verdict(Ruling.DENY)


def only_by(*channels: str) -> Verdict:
    """Return the verdict that a message may go by these channels and by no other one."""
    return Verdict(Ruling.ANOTHER_CHANNEL, frozenset(channels))


def not_by(*channels: str) -> Verdict:
    """Return the verdict that a message may go by any channel but these."""
    return Verdict(Ruling.ANOTHER_CHANNEL, _EVERY - frozenset(channels))


class PolicyError(Exception):
    """The policy does not know. Its text says why, in a word or two: it is logged, and never holds a number."""


class PolicyMode(StrEnum):
    """What becomes of a verdict."""

    ENFORCE = "enforce"
    RECORD_ONLY = "record_only"
    """It is counted and logged, and changes nothing."""
    OFF = "off"
    """The policy is not asked."""


class Unknown(StrEnum):
    """What holds when a policy does not know."""

    ALLOW = "allow"
    DENY = "deny"


class PolicySettings(BaseModel):
    """Settings that every policy has; each adds its own in its file. A list that is left out stands for all."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, serialize_by_alias=True)

    mode: PolicyMode = PolicyMode.ENFORCE
    unknown: Unknown
    """What holds when it fails, or is not ready in time: ``allow`` or ``deny``."""
    timeout: float = Field(default=1.0, gt=0, le=5)
    """Seconds that a message waits for the answer."""
    purposes: tuple[str, ...] = ()
    """Where it is asked."""
    applications: tuple[str, ...] = ()
    channels: tuple[Channel, ...] = ()
    hosted_in: CountryCode | None = None
    """Country (ISO 3166-1 alpha-2) in which the policy handles numbers, for ``residency``."""


@dataclass(frozen=True, slots=True)
class Question:
    """A message that is about to be sent. The ``repr`` does not show the number."""

    number: str = field(repr=False)
    """E.164."""
    country: str
    """ISO 3166-1, of the number."""
    application: str
    purpose: str
    channel: str
    verification_id: str


@dataclass(frozen=True, slots=True)
class PolicyContext:
    """What the composition root gives a policy."""

    name: str
    """Its name in the configuration; several policies of one kind have different names."""
    production: bool


class Policy(Protocol):
    """One rule. A class; the entry point names it, its ``kind`` is the entry point's name."""

    kind: ClassVar[str]
    Settings: ClassVar[type[PolicySettings]]

    def __init__(self, settings: Any, context: PolicyContext) -> None:  # noqa: ANN401 - its own Settings
        """Prepare to answer; opens no connection. Made in every process, asked in workers only."""

    def judge(self, question: Question) -> Verdict:
        """Answer, in many threads at a time. Whatever it raises, `PolicyError` or not, is *unknown*."""
