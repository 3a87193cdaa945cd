"""Submissions: the bodies of ``submit_sm`` (section 4.4.1) that carry a message."""

import secrets
from collections.abc import Iterator

from otp_service.domain.templates import Encoding, Message, encode_gsm7, encoding_of, segments
from otp_service.gateways.smpp.pdu import HAS_HEADER, Tag, c_string, tlv
from otp_service.gateways.smpp.settings import SmppSettings

UCS2 = 8
"""``data_coding`` of UCS-2, big-endian (section 5.2.19)."""
RECEIPT_WANTED = 1
"""``registered_delivery``: a receipt of the final outcome, good or bad (section 5.2.17)."""
_DAY, _HOUR, _MINUTE = 86_400, 3_600, 60


def submissions(message: Message, settings: SmppSettings) -> tuple[bytes, ...]:
    """Return the bodies of the PDUs that carry a message, in the order of its parts."""
    parts = (message.text,) if settings.concatenation == "payload" else segments(message.text)
    encoding = encoding_of(message.text)
    texts = [_encoded(part, encoding) for part in parts]
    return tuple(_bodies(message, settings, encoding, texts))


def relative(seconds: int) -> str:
    """Return a span of time as ``YYMMDDhhmmsstnnR`` (section 7.1.1.2): at least a second, less than a month."""
    seconds = min(max(1, seconds), 31 * _DAY - 1)
    days, rest = divmod(seconds, _DAY)
    return f"0000{days:02}{rest // _HOUR:02}{rest % _HOUR // _MINUTE:02}{rest % _MINUTE:02}000R"


def _encoded(part: str, encoding: Encoding) -> bytes:
    return encode_gsm7(part) if encoding is Encoding.GSM7 else part.encode("utf-16-be")


def _bodies(message: Message, settings: SmppSettings, encoding: Encoding, texts: list[bytes]) -> Iterator[bytes]:
    coding = settings.gsm7_data_coding if encoding is Encoding.GSM7 else UCS2
    # Handsets join parts by this number, the sender and the destination: two messages in a row need different ones.
    number = secrets.randbelow(0x10000)
    for position, text in enumerate(texts, 1):
        if settings.concatenation == "payload" and len(text) > _alone(encoding):
            yield _body(message, settings, 0, coding, b"", tlv(Tag.MESSAGE_PAYLOAD, text))
        elif len(texts) == 1:
            yield _body(message, settings, 0, coding, text)
        elif settings.concatenation == "sar":
            yield _body(message, settings, 0, coding, text, _sar(number, len(texts), position))
        else:
            # 3GPP TS 23.040, 9.2.3.24.1: length of the header, element 0, its length, reference, total, position.
            header = bytes((5, 0, 3, number & 0xFF, len(texts), position))
            yield _body(message, settings, HAS_HEADER, coding, header + text)


def _alone(encoding: Encoding) -> int:
    """Return the octets of the longest text that needs no concatenation, as they go over the wire."""
    return encoding.alone if encoding is Encoding.GSM7 else 2 * encoding.alone


def _sar(number: int, total: int, position: int) -> bytes:
    return (
        tlv(Tag.SAR_MSG_REF_NUM, number.to_bytes(2, "big"))
        + tlv(Tag.SAR_TOTAL_SEGMENTS, bytes((total,)))
        + tlv(Tag.SAR_SEGMENT_SEQNUM, bytes((position,)))
    )


def _body(
    message: Message, settings: SmppSettings, esm_class: int, coding: int, text: bytes, optional: bytes = b""
) -> bytes:
    validity = relative(message.expires_in) if settings.validity_period else ""
    source_type, source = settings.source_of(message.sender)
    return b"".join((
        c_string(""),  # service_type: the default of the account
        bytes(source_type),
        c_string(source),
        bytes((settings.destination_ton, settings.destination_npi)),
        c_string(message.to.removeprefix("+")),
        bytes((esm_class, 0, 0)),  # protocol_id, priority_flag
        c_string(""),  # schedule_delivery_time: at once
        c_string(validity),
        bytes((RECEIPT_WANTED, 0, coding, 0, len(text))),  # replace_if_present_flag, sm_default_msg_id
        text,
        optional,
    ))  # fmt: skip
