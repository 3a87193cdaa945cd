"""Receipts: what a ``deliver_sm`` reports, read as tolerantly as operators write (sections 4.6.1, 5.2.12, Appendix B).

The text form is vendor specific by the specification itself. It ends with the beginning of the message, code and all:
that is cut off before anything else is read.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from otp_service.domain.verification import DeliveryStatus
from otp_service.gateways.base import Receipt
from otp_service.gateways.smpp.delivery import delivery_of
from otp_service.gateways.smpp.pdu import Tag

STATES = {
    0: ("SCHEDULED", DeliveryStatus.SENT),  # SMPP 5.0
    1: ("ENROUTE", DeliveryStatus.SENT),
    2: ("DELIVERED", DeliveryStatus.DELIVERED),
    3: ("EXPIRED", DeliveryStatus.EXPIRED),
    4: ("DELETED", DeliveryStatus.FAILED),
    5: ("UNDELIVERABLE", DeliveryStatus.UNDELIVERED),
    6: ("ACCEPTED", DeliveryStatus.SENT),  # read by the operator's customer service, not by the subscriber
    7: ("UNKNOWN", DeliveryStatus.UNKNOWN),
    8: ("REJECTED", DeliveryStatus.FAILED),
    9: ("SKIPPED", DeliveryStatus.FAILED),  # SMPP 5.0
}
"""Of the parameter ``message_state`` (section 5.2.28)."""
STATUSES = {
    "SCHEDLD": DeliveryStatus.SENT,
    "ENROUTE": DeliveryStatus.SENT,
    "DELIVRD": DeliveryStatus.DELIVERED,
    "EXPIRED": DeliveryStatus.EXPIRED,
    "DELETED": DeliveryStatus.FAILED,
    "UNDELIV": DeliveryStatus.UNDELIVERED,
    "ACCEPTD": DeliveryStatus.SENT,
    "UNKNOWN": DeliveryStatus.UNKNOWN,
    "REJECTD": DeliveryStatus.FAILED,
    "SKIPPED": DeliveryStatus.FAILED,
}
"""Of the text form (Appendix B, table B-2)."""

_KINDS = {0x04, 0x20}
"""Kinds of ``deliver_sm`` by ``esm_class``: a receipt of the SMSC's, an intermediate notification."""
_MESSAGE = re.compile(r"(?:^|\s)text\s*:", re.IGNORECASE)
_ID = re.compile(r"(?:^|\s)id:\s*([^\s:]{1,65})(?:\s|$)", re.IGNORECASE)
_STATUS = re.compile(r"(?:^|\s)stat:\s*([A-Z]{1,12})(?:\s|$)", re.IGNORECASE)
_ERROR = re.compile(r"(?:^|\s)err:\s*([0-9A-Z]{1,8})(?:\s|$)", re.IGNORECASE)
_WIDTHS = (8, 10, 16)
"""Widths to which SMSCs fill up ids with zeros; 10 is the specification's own."""


@dataclass(frozen=True, slots=True)
class Report:
    """A receipt, and the message id that it names."""

    message_id: str
    receipt: Receipt
    numbers: tuple[str, ...] = field(default=(), repr=False, compare=False)
    """Both addresses in it: the handset's is one of them."""


def report_of(body: bytes) -> Report | None:
    """Return what the body of a ``deliver_sm`` reports, or ``None`` when it is no receipt or names no message."""
    delivery = delivery_of(body)
    receipted, text = delivery.receipted_message_id, delivery.decoded(delivery.octets)
    if delivery.kind not in _KINDS and not receipted:
        return None
    members = text[: found.start()] if (found := _MESSAGE.search(text)) else text
    message_id = receipted or _first(_ID, members)
    if not message_id:
        return None
    return Report(message_id, _receipt(members, delivery.tlvs), (delivery.source, delivery.destination))


def is_worded(text: str) -> bool:
    """Tell whether a text is written like a receipt; some SMSCs do not mark theirs as such."""
    return bool(_ID.search(text) and _STATUS.search(text))


def spellings(message_id: str, receipt_ids: str) -> tuple[tuple[str, ...], ...]:
    """Return how the SMSC wrote a receipt's id in its answer, the likeliest first; and then each way to guess it."""
    as_hex = [f"{int(message_id):x}"] if message_id.isdecimal() and message_id.isascii() else []
    as_decimal = [f"{int(message_id, 16)}"] if re.fullmatch("[0-9A-Fa-f]+", message_id) else []
    numbers = {
        "same": [message_id],
        "decimal_to_hex": as_hex or [message_id],
        "hex_to_decimal": as_decimal or [message_id],
        "auto": [message_id, *as_hex, *as_decimal],
    }[receipt_ids]
    return tuple(tuple(dict.fromkeys(_written(number))) for number in dict.fromkeys(numbers))


def _written(number: str) -> list[str]:
    bare = number.lstrip("0") or number
    zeros = [bare, *map(bare.zfill, _WIDTHS)] if re.fullmatch("[0-9A-Fa-f]+", number) else []
    return [spelling for form in (number, *zeros) for spelling in (form, form.upper(), form.lower())]


def _receipt(members: str, tlvs: Mapping[int, bytes]) -> Receipt:
    if state := tlvs.get(Tag.MESSAGE_STATE):
        raw, status = STATES.get(state[0], (f"message_state {state[0]}", DeliveryStatus.UNKNOWN))
    else:
        raw = _first(_STATUS, members)
        status = STATUSES.get(raw.upper(), DeliveryStatus.UNKNOWN)
    reason = None if status is DeliveryStatus.DELIVERED else _reason(_first(_ERROR, members), tlvs)
    return Receipt(status, raw, reason)


def _reason(error: str, tlvs: Mapping[int, bytes]) -> str | None:
    """Return an operator's own code of an error: from the text, or of three octets, the first the kind of network."""
    if error.strip("0"):
        return f"err {error}"
    number = int.from_bytes(tlvs.get(Tag.NETWORK_ERROR_CODE, b"")[1:3], "big")
    return f"network error {number}" if number else None


def _first(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    return found[1] if found else ""
