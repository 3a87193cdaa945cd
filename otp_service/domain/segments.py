"""Encodings and segments of short messages."""

from enum import StrEnum
from typing import Final


class Encoding(StrEnum):
    """An encoding of text on the air."""

    GSM7 = "gsm7"
    UCS2 = "ucs2"

    @property
    def label(self) -> str:
        """The usual name."""
        return "GSM-7" if self is Encoding.GSM7 else "UCS-2"

    @property
    def single_length(self) -> int:
        """Maximum units of a text in one segment."""
        return 160 if self is Encoding.GSM7 else 70

    @property
    def part_length(self) -> int:
        """Maximum units of each segment of a longer text."""
        return 153 if self is Encoding.GSM7 else 67


# 3GPP TS 23.038: the default alphabet (6.2.1) in septets, its extension table (6.2.1.1) at two septets a character,
# UCS-2 (6.2.3) in units of 16 bits. 3GPP TS 23.040 (9.2.3.24.1): a short message has 140 octets; each of several spends
# six on the header that joins them.

MAX_OCTETS: Final = 140
_BASIC: Final = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
"""The default alphabet by septet, with the escape to the extension table."""
_ESCAPE: Final = 0x1B
_EXTENSION: Final = {
    "\f": 0x0A, "^": 0x14, "{": 0x28, "}": 0x29, "\\": 0x2F, "[": 0x3C, "~": 0x3D, "]": 0x3E, "|": 0x40, "€": 0x65,
}  # fmt: skip
_SEPTETS: Final = {
    **{character: bytes((septet,)) for septet, character in enumerate(_BASIC) if septet != _ESCAPE},
    **{character: bytes((_ESCAPE, septet)) for character, septet in _EXTENSION.items()},
}


def encoding_of(text: str) -> Encoding:
    """Return GSM-7 when every character is in the default alphabet or its extension, else UCS-2."""
    return Encoding.GSM7 if _SEPTETS.keys() >= set(text) else Encoding.UCS2


def encode_gsm7(text: str) -> bytes:
    """Return the unpacked septets of a text; raise `ValueError` for other alphabets."""
    try:
        return b"".join(_SEPTETS[character] for character in text)
    except KeyError:
        raise ValueError("the text has a character outside the GSM 7-bit alphabet") from None


def not_in_gsm7(text: str) -> list[int]:
    """Return the positions of the characters that make a text UCS-2."""
    return [position for position, character in enumerate(text) if character not in _SEPTETS]


def units(text: str) -> int:
    """Return the length of a text on the air: septets in GSM-7, units of 16 bits in UCS-2."""
    if encoding_of(text) is Encoding.GSM7:
        return len(text) + sum(map(text.count, _EXTENSION))
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def octets(text: str) -> int:
    """Return the length in octets of a text on the air, without any header."""
    return (units(text) * 7 + 7) // 8 if encoding_of(text) is Encoding.GSM7 else units(text) * 2


def segments(text: str) -> tuple[str, ...]:
    """Return the parts of a text, one for each short message, cut between whole characters; at least one."""
    encoding = encoding_of(text)
    if units(text) <= encoding.single_length:
        return (text,)
    parts, start, used = [], 0, 0
    for position, character in enumerate(text):
        gsm7 = encoding is Encoding.GSM7
        width = len(_SEPTETS[character]) if gsm7 else len(character.encode("utf-16-le", "surrogatepass")) // 2
        if used + width > encoding.part_length:
            parts.append(text[start:position])
            start, used = position, 0
        used += width
    return (*parts, text[start:])
