"""Inbound messages over SMPP: a ``deliver_sm`` that reports on nothing (section 4.6, 5.2.12)."""

from otp_service.gateways.base import InboundMessage
from otp_service.gateways.smpp.delivery import Delivery
from otp_service.gateways.smpp.pdu import HAS_HEADER, Tag
from otp_service.gateways.smpp.receipt import is_worded

_INTERNATIONAL = 1
_CONCATENATED = {0x00: 2, 0x08: 3}
"""Elements of a user data header that make a text one part of several (3GPP TS 23.040, 9.2.3.24), and where each says
of how many."""


def message_of(delivery: Delivery) -> InboundMessage | None:
    """Return a message from somebody, ``None`` for anything else.

    SMPP has no name for one, so that a repetition is not known: to obey it twice does no harm.
    """
    if delivery.kind or delivery.receipted_message_id or not delivery.source:
        return None
    header, octets = _parted(delivery)
    text = delivery.decoded(octets)
    if is_worded(text):
        return None
    alone = _parts(header) <= 1 and delivery.tlvs.get(Tag.SAR_TOTAL_SEGMENTS, b"\1") <= b"\1"
    international = delivery.source_ton == _INTERNATIONAL and not delivery.source.startswith("+")
    return InboundMessage(
        reference="",
        sender=f"+{delivery.source}" if international else delivery.source,
        text=text if alone else "",
    )


def _parted(delivery: Delivery) -> tuple[bytes, bytes]:
    """Return the user data header, without its length, and the text."""
    if not delivery.esm_class & HAS_HEADER or not delivery.octets:
        return b"", delivery.octets
    end = 1 + delivery.octets[0]
    return delivery.octets[1:end], delivery.octets[end:]


def _parts(header: bytes) -> int:
    """Return of how many parts a text is one; 1 when it stands alone."""
    while len(header) > 1:
        element, length = header[0], header[1]
        value, header = header[2 : 2 + length], header[2 + length :]
        place = _CONCATENATED.get(element)
        if place is not None:
            return int.from_bytes(value[place - 1 : place], "big")
    return 1
