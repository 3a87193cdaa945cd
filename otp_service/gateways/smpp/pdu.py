"""PDUs: a header, and a body that only whoever asked for it reads (sections 3.2, 4 and 5.1)."""

import asyncio
import struct
from dataclasses import dataclass, field
from enum import IntEnum

RESPONSE = 0x80000000
"""What is added to the command of a request in its response."""
MAX_LENGTH = 128 * 1024
"""Octets of a PDU that are read: a ``message_payload`` of 64 K and room. What is longer is no SMPP."""
LAST_SEQUENCE = 0x7FFFFFFF
HAS_HEADER = 0x40
"""Bit of ``esm_class``: the text begins with a user data header (section 5.2.12)."""
_HEADER = struct.Struct(">IIII")
_TLV = struct.Struct(">HH")


class Command(IntEnum):
    """Those that are spoken here."""

    BIND_RECEIVER = 0x01
    BIND_TRANSMITTER = 0x02
    SUBMIT_SM = 0x04
    DELIVER_SM = 0x05
    UNBIND = 0x06
    BIND_TRANSCEIVER = 0x09
    ENQUIRE_LINK = 0x15
    GENERIC_NACK = 0x80000000


class Tag(IntEnum):
    """Optional parameters (section 5.3.2)."""

    RECEIPTED_MESSAGE_ID = 0x001E
    SAR_MSG_REF_NUM = 0x020C
    SAR_TOTAL_SEGMENTS = 0x020E
    SAR_SEGMENT_SEQNUM = 0x020F
    NETWORK_ERROR_CODE = 0x0423
    MESSAGE_PAYLOAD = 0x0424
    MESSAGE_STATE = 0x0427


@dataclass(frozen=True, slots=True)
class Pdu:
    """One protocol data unit. The ``repr`` shows nothing of its body, which holds numbers, texts and passwords."""

    command: int
    status: int
    sequence: int
    body: bytes = field(default=b"", repr=False)

    def encode(self) -> bytes:
        """Return it as it goes over the wire."""
        return _HEADER.pack(_HEADER.size + len(self.body), self.command, self.status, self.sequence) + self.body


async def read(reader: asyncio.StreamReader) -> Pdu:
    """Return the next PDU; raise `EOFError` at the end, `ValueError` when what comes cannot be one."""
    length, command, status, sequence = _HEADER.unpack(await reader.readexactly(_HEADER.size))
    if not _HEADER.size <= length <= MAX_LENGTH:
        raise ValueError("the length of a PDU is impossible")
    return Pdu(command, status, sequence, await reader.readexactly(length - _HEADER.size))


def c_string(text: str) -> bytes:
    """Return an ASCII text with the zero that ends it."""
    return text.encode("ascii") + b"\0"


def tlv(tag: int, value: bytes) -> bytes:
    """Return an optional parameter."""
    return _TLV.pack(tag, len(value)) + value


class Body:
    """What is left of a body to read. Reading beyond its end gives nothing, since operators cut PDUs short."""

    def __init__(self, content: bytes) -> None:
        self._rest = content

    def __repr__(self) -> str:
        return f"Body({len(self._rest)} octets)"

    def octets(self, count: int) -> bytes:
        """Return the next octets."""
        taken, self._rest = self._rest[:count], self._rest[count:]
        return taken

    def octet(self) -> int:
        """Return the next octet as a number."""
        return int.from_bytes(self.octets(1), "big")

    def c_string(self) -> str:
        """Return the text before the next zero; octets that are not ASCII are replaced."""
        text, _, self._rest = self._rest.partition(b"\0")
        return text.decode("ascii", "replace")

    def tlvs(self) -> dict[int, bytes]:
        """Return the optional parameters in the rest; of one that comes twice, the first."""
        found: dict[int, bytes] = {}
        while len(self._rest) >= _TLV.size:
            tag, length = _TLV.unpack(self.octets(_TLV.size))
            found.setdefault(tag, self.octets(length))
        return found
