"""Vonage: messages from people.

After "Inbound SMS" of its documentation. Its ``keyword``, the first word of a message, is not read: only a whole
message counts.
"""

from collections.abc import Mapping

from otp_service.gateways.base import InboundForgedError, InboundMessage, ProviderRequest
from otp_service.gateways.vonage.proof import is_proven, members_of
from otp_service.gateways.vonage.settings import VonageSettings

SUBJECT = "inbound"
"""What a token in the inbound address is made for."""
_PART = "true"
"""What ``concat`` says of a part of a longer message."""


def authentic_message(request: ProviderRequest, settings: VonageSettings) -> InboundMessage:
    """Return the message of a request; raise `InboundForgedError` unless one of the two proofs holds."""
    members = members_of(request)
    if not is_proven(request, members, settings, SUBJECT):
        raise InboundForgedError
    return _message(members)


def _message(members: Mapping[str, str]) -> InboundMessage:
    sender = members.get("msisdn", "")
    return InboundMessage(
        reference=members.get("messageId", ""),
        sender=f"+{sender}" if sender.isdecimal() else sender,
        text="" if members.get("concat") == _PART else members.get("text", ""),
    )
