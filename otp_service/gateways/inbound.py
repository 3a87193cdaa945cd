"""Inbound messages: what people write back, as providers pass it on, over HTTP or over a gateway's own connection."""

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from otp_service.domain.people import Meaning
from otp_service.gateways.request import ProviderRequest


@dataclass(frozen=True, slots=True)
class InboundMessage:
    """A message from a person. The ``repr`` shows neither number nor text."""

    reference: str
    """The provider's own name of it, by which a repetition is known; empty where it has none."""
    sender: str = field(repr=False)
    """The number that it came from: E.164, or as the provider spells it."""
    text: str = field(repr=False)
    """All of it; empty for a part of a longer one, or for what is no text."""
    channel: str = "sms"
    opt_out: Meaning | None = None
    """What it means to the provider, where that has acted on it itself, and has answered it: we do not answer too."""


@dataclass(frozen=True, slots=True)
class InboundAnswer:
    """What a provider is answered, under the status 200."""

    body: str = field(repr=False)
    media_type: str


class InboundForgedError(Exception):
    """A message that the provider did not pass on, or that is too old to be believed."""


@runtime_checkable
class ReceivesMessages(Protocol):
    """A capability: the provider passes messages on to our inbound address. It is answered with 204."""

    def inbound(self, request: ProviderRequest) -> InboundMessage:
        """Return the authenticated message; raise `InboundForgedError`, and nothing else."""


@runtime_checkable
class AddressesInbound(Protocol):
    """A capability beside `ReceivesMessages`: the gateway adds to the address that its provider is told."""

    def inbound_address(self, url: str) -> str:
        """Return the address with what proves that only the provider was told of it."""


@runtime_checkable
class AnswersInbound(Protocol):
    """A capability beside `ReceivesMessages`: the provider expects an answer of its own form."""

    carries_reply: bool
    """Whether the provider sends what the answer says to whoever wrote."""

    def inbound_answer(self, reply: str | None) -> InboundAnswer:
        """Return the answer: with a text for whoever wrote, only where it carries one, or with none."""


class Inbox(Protocol):
    """Where a gateway hands in messages that do not come over HTTP."""

    def hand_in(self, message: InboundMessage) -> bool:
        """Act on a message. Returns whether it was taken: one that was not is worth sending again. Raises nothing."""
