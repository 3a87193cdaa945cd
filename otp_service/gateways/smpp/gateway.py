"""Gateway ``smpp``: messages, receipts, inbound messages."""

import re
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from otp_service.domain.messages import Message
from otp_service.domain.verification import DeliveryStatus
from otp_service.gateways.base import (
    Accepted,
    FailureKind,
    GatewayContext,
    GatewayError,
    GatewaySettings,
    InboundMessage,
    Receipt,
)
from otp_service.gateways.http_client import reference_of
from otp_service.gateways.smpp.connection import LinkPool
from otp_service.gateways.smpp.protocol import (
    HAS_HEADER,
    SENDER_SPECIFIC,
    DeliverSm,
    Tag,
    parse_deliver_sm,
    submit_bodies,
)
from otp_service.gateways.smpp.settings import SmppSettings

# --- Receipts ---
# Their text form is vendor specific (Appendix B). It ends with the start of the message and its code, which is cut off
# before anything else is read.

STATES = {
    0: ("SCHEDULED", DeliveryStatus.SENT),  # SMPP 5.0
    1: ("ENROUTE", DeliveryStatus.SENT),
    2: ("DELIVERED", DeliveryStatus.DELIVERED),
    3: ("EXPIRED", DeliveryStatus.EXPIRED),
    4: ("DELETED", DeliveryStatus.FAILED),
    5: ("UNDELIVERABLE", DeliveryStatus.UNDELIVERED),
    6: ("ACCEPTED", DeliveryStatus.SENT),  # read by the carrier's customer service, not by the subscriber
    7: ("UNKNOWN", DeliveryStatus.UNKNOWN),
    8: ("REJECTED", DeliveryStatus.FAILED),
    9: ("SKIPPED", DeliveryStatus.FAILED),  # SMPP 5.0
}
"""Of the parameter ``message_state`` (section 5.2.28)."""
STATUSES = {
    **dict.fromkeys(("SCHEDLD", "ENROUTE", "ACCEPTD"), DeliveryStatus.SENT),
    "DELIVRD": DeliveryStatus.DELIVERED,
    "EXPIRED": DeliveryStatus.EXPIRED,
    "UNDELIV": DeliveryStatus.UNDELIVERED,
    **dict.fromkeys(("DELETED", "REJECTD", "SKIPPED"), DeliveryStatus.FAILED),
}
"""Delivery status by ``stat`` of the text form (Appendix B, table B-2)."""

_RECEIPT_KINDS = {0x04, 0x20}
"""Kinds of ``deliver_sm`` by ``esm_class``: an SMSC's receipt, an intermediate notification."""
_TEXT = re.compile(r"(?:^|\s)text\s*:", re.IGNORECASE)
_ID = re.compile(r"(?:^|\s)id:\s*([^\s:]{1,65})(?:\s|$)", re.IGNORECASE)
_STATUS = re.compile(r"(?:^|\s)stat:\s*([A-Z]{1,12})(?:\s|$)", re.IGNORECASE)
_ERROR = re.compile(r"(?:^|\s)err:\s*([0-9A-Z]{1,8})(?:\s|$)", re.IGNORECASE)
_WIDTHS = (8, 10, 16)
"""Widths to which SMSCs pad ids with zeros; 10 is the specification's."""


@dataclass(frozen=True, slots=True)
class ReportedPart:
    """A receipt of a part, and its message id."""

    message_id: str
    receipt: Receipt
    numbers: tuple[str, ...] = field(default=(), repr=False, compare=False)
    """Source and destination; either is the handset's."""


def parse_receipt(delivery: DeliverSm) -> ReportedPart | None:
    """Return the receipt in a ``deliver_sm``; ``None`` for anything else, or without a message id."""
    receipted, text = delivery.receipted_message_id, delivery.decode(delivery.octets)
    if delivery.kind not in _RECEIPT_KINDS and not receipted:
        return None
    members = text[: match.start()] if (match := _TEXT.search(text)) else text
    message_id = receipted or _first(_ID, members)
    if not message_id:
        return None
    return ReportedPart(message_id, _receipt(members, delivery.tlvs), (delivery.source, delivery.destination))


def id_spellings(message_id: str, receipt_ids: str) -> tuple[tuple[str, ...], ...]:
    """Return groups of spellings that a receipt's id may have in the SMSC's answer, the likeliest first."""
    as_hex = [f"{int(message_id):x}"] if message_id.isdecimal() and message_id.isascii() else []
    as_decimal = [f"{int(message_id, 16)}"] if re.fullmatch("[0-9A-Fa-f]+", message_id) else []
    numbers = {
        "same": [message_id],
        "decimal_to_hex": as_hex or [message_id],
        "hex_to_decimal": as_decimal or [message_id],
        "auto": [message_id, *as_hex, *as_decimal],
    }[receipt_ids]
    groups = []
    for number in dict.fromkeys(numbers):
        bare = number.lstrip("0") or number
        padded = [bare, *map(bare.zfill, _WIDTHS)] if re.fullmatch("[0-9A-Fa-f]+", number) else []
        spellings = (spelling for form in (number, *padded) for spelling in (form, form.upper(), form.lower()))
        groups.append(tuple(dict.fromkeys(spellings)))
    return tuple(groups)


def _receipt(members: str, tlvs: Mapping[int, bytes]) -> Receipt:
    if state := tlvs.get(Tag.MESSAGE_STATE):
        raw, status = STATES.get(state[0], (f"message_state {state[0]}", DeliveryStatus.UNKNOWN))
    else:
        raw = _first(_STATUS, members)
        status = STATUSES.get(raw.upper(), DeliveryStatus.UNKNOWN)
    if status is DeliveryStatus.DELIVERED:
        return Receipt(status, raw)
    error = _first(_ERROR, members)
    if error.strip("0"):
        return Receipt(status, raw, f"err {error}")
    number = int.from_bytes(tlvs.get(Tag.NETWORK_ERROR_CODE, b"")[1:3], "big")  # the first octet names the network
    return Receipt(status, raw, f"network error {number}" if number else None)


def _first(pattern: re.Pattern[str], text: str) -> str:
    match = pattern.search(text)
    return match[1] if match else ""


MAX_PARTS = 20_000
"""Maximum of remembered parts, about an hour's; their receipts come within minutes."""
_FATAL = {DeliveryStatus.UNDELIVERED, DeliveryStatus.FAILED, DeliveryStatus.EXPIRED}


class MessageParts:
    """The parts of messages that this process submitted. The reference of a message is the id of its last part.

    The last part's receipt counts for the message, and the failure of any other part: without it the handset may show
    nothing. A receipt for a part of another process changes nothing.
    """

    def __init__(self, receipt_ids: str) -> None:
        self._receipt_ids = receipt_ids
        self._messages: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()

    def remember(self, ids: tuple[str, ...], reference: str) -> None:
        """Remember a message's earlier parts; an SMSC that gives all parts one id reports on the message as a whole."""
        with self._lock:
            self._messages.update((part, reference) for part in ids if part != reference)
            while len(self._messages) > MAX_PARTS:
                self._messages.popitem(last=False)

    def references(self, report: ReportedPart) -> tuple[tuple[str, ...], ...]:
        """Return groups of possible references of the reported message, the likeliest first.

        For an earlier part that is the message's reference if the part failed, else an empty group.
        """
        fatal = report.receipt.status in _FATAL
        with self._lock:
            groups = []
            for spellings in id_spellings(report.message_id, self._receipt_ids):
                earlier = [self._messages[spelling] for spelling in spellings if spelling in self._messages][:1]
                groups.append((tuple(earlier) if fatal else ()) if earlier else spellings)
            return tuple(groups)


_INTERNATIONAL = 1
_CONCATENATED = {0x00: 2, 0x08: 3}
"""Elements of a user data header of a part (3GPP TS 23.040, 9.2.3.24), and the octet with the number of parts."""


def parse_message(delivery: DeliverSm) -> InboundMessage | None:
    """Return a message from a person, which has no id in SMPP; ``None`` for anything else."""
    if delivery.kind or delivery.receipted_message_id or not delivery.source:
        return None
    end = 1 + delivery.octets[0] if delivery.esm_class & HAS_HEADER and delivery.octets else 0
    header, text = delivery.octets[1:end], delivery.decode(delivery.octets[end:])
    if _ID.search(text) and _STATUS.search(text):  # a receipt that the SMSC did not mark
        return None
    is_whole = _parts(header) <= 1 and delivery.tlvs.get(Tag.SAR_TOTAL_SEGMENTS, b"\1") <= b"\1"
    international = delivery.source_ton == _INTERNATIONAL and not delivery.source.startswith("+")
    return InboundMessage(
        reference="",
        sender=f"+{delivery.source}" if international else delivery.source,
        text=text if is_whole else "",
    )


def _parts(header: bytes) -> int:
    while len(header) > 1:
        element, length = header[0], header[1]
        value, header = header[2 : 2 + length], header[2 + length :]
        place = _CONCATENATED.get(element)
        if place is not None:
            return int.from_bytes(value[place - 1 : place], "big")
    return 1


class SmppGateway:
    """Submits messages over sessions that stay bound, and passes on their receipts and inbound messages."""

    kind: ClassVar[str] = "smpp"
    channels = frozenset({"sms"})
    development_only: ClassVar[bool] = False
    Settings: ClassVar[type[GatewaySettings]] = SmppSettings

    def __init__(self, settings: SmppSettings, context: GatewayContext) -> None:
        self._settings, self._name = settings, context.name
        self._receipts, self._inbound = context.receipts, context.inbound
        self._parts = MessageParts(settings.receipt_ids)
        self._lock = threading.Lock()
        self._pool: LinkPool | None = None

    def open(self) -> None:
        self._open_pool()

    def close(self) -> None:
        """Unbind; the next message binds again."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool:
            pool.stop()

    def send(self, message: Message) -> Accepted:
        """Submit all parts; a failure is ambiguous if an answer is missing or an earlier part was accepted."""
        outcome: tuple[str, ...] | GatewayError
        try:
            bodies = submit_bodies(message, self._settings)
        except ValueError:
            outcome = GatewayError(FailureKind.REJECTED, "message cannot be sent")
        else:
            outcome = self._open_pool().submit(bodies, self._settings.timeout)
        if isinstance(outcome, GatewayError):
            outcome.message_specific |= bool(message.sender) and outcome.provider_code in SENDER_SPECIFIC
            raise outcome  # outside the handlers: their exceptions contain the text
        reference = reference_of(outcome[-1] or None, message)
        self._parts.remember(outcome[:-1], reference)
        return Accepted(reference)

    def _open_pool(self) -> LinkPool:
        with self._lock:
            if self._pool is None:
                self._pool = LinkPool(self._settings, f"smpp-{self._name}", self._accept)
            return self._pool

    def _accept(self, body: bytes) -> bool:
        delivery = parse_deliver_sm(body)
        if message := parse_message(delivery):
            return self._inbound.accept(message)
        report = parse_receipt(delivery)
        if report is None:
            return True
        references, *candidates = self._parts.references(report)
        return not references or self._receipts.accept(references, report.receipt, candidates, report.numbers)
