"""Deliveries: the body of a ``deliver_sm``, read as tolerantly as operators write (sections 4.6.1, 5.2.12)."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from otp_service.gateways.smpp.pdu import Body, Tag

_KIND = 0x3C
_UCS2 = 8


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a ``deliver_sm`` holds. The ``repr`` shows neither number nor text."""

    source_ton: int
    """Type of number of the sender (section 5.2.5)."""
    source: str = field(repr=False)
    destination: str = field(repr=False)
    esm_class: int
    coding: int
    """``data_coding``."""
    octets: bytes = field(repr=False)
    """The text as it came, in the PDU itself or as ``message_payload``, a header before it."""
    tlvs: Mapping[int, bytes] = field(repr=False)

    @property
    def kind(self) -> int:
        """What it is by ``esm_class``; 0 for a message from somebody."""
        return self.esm_class & _KIND

    @property
    def receipted_message_id(self) -> str:
        """The id of the message that it reports on, where a parameter names it."""
        return self.tlvs.get(Tag.RECEIPTED_MESSAGE_ID, b"").partition(b"\0")[0].decode("ascii", "replace").strip()

    def decoded(self, octets: bytes) -> str:
        """Return some of the text as text."""
        return octets.decode("utf-16-be", "replace") if self.coding == _UCS2 else octets.decode("latin-1")


def delivery_of(body: bytes) -> Delivery:
    """Return what the body of a ``deliver_sm`` holds; what is missing is empty."""
    rest = Body(body)
    rest.c_string()  # service_type
    source_ton, _ = rest.octet(), rest.octet()
    source = rest.c_string()
    rest.octets(2)
    destination = rest.c_string()
    esm_class, _, _ = rest.octet(), rest.octet(), rest.octet()
    rest.c_string()  # schedule_delivery_time
    rest.c_string()  # validity_period
    coding = rest.octets(4)[2:3]
    short = rest.octets(rest.octet())
    tlvs = rest.tlvs()
    return Delivery(
        source_ton=source_ton,
        source=source,
        destination=destination,
        esm_class=esm_class,
        coding=int.from_bytes(coding, "big"),
        octets=short or tlvs.get(Tag.MESSAGE_PAYLOAD, b""),
        tlvs=tlvs,
    )
