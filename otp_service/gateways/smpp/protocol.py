"""SMPP 3.4: PDUs, sessions, texts in parts."""

import asyncio
import secrets
import struct
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from otp_service.domain.messages import Message
from otp_service.domain.segments import Encoding, encode_gsm7, encoding_of, segments
from otp_service.gateways.base import FailureKind, GatewayError
from otp_service.gateways.smpp.settings import SmppSettings

RESPONSE = 0x80000000
"""Added to the command of a request in its response."""
MAX_LENGTH = 128 * 1024
"""Maximum octets of a PDU: a ``message_payload`` of 64 K, and room. Anything longer is not SMPP."""
LAST_SEQUENCE = 0x7FFFFFFF
HAS_HEADER = 0x40
"""Bit of ``esm_class``: the text begins with a user data header (section 5.2.12)."""
_HEADER = struct.Struct(">IIII")
_TLV = struct.Struct(">HH")


class Command(IntEnum):
    """The commands that this gateway uses."""

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
    """A protocol data unit. The ``repr`` does not show its body, which contains numbers, texts and passwords."""

    command: int
    status: int
    sequence: int
    body: bytes = field(default=b"", repr=False)

    def encode(self) -> bytes:
        return _HEADER.pack(_HEADER.size + len(self.body), self.command, self.status, self.sequence) + self.body


async def read_pdu(reader: asyncio.StreamReader) -> Pdu:
    """Return the next PDU; raise `EOFError` at the end, `ValueError` for an impossible length."""
    length, command, status, sequence = _HEADER.unpack(await reader.readexactly(_HEADER.size))
    if not _HEADER.size <= length <= MAX_LENGTH:
        raise ValueError("impossible length of a PDU")
    return Pdu(command, status, sequence, await reader.readexactly(length - _HEADER.size))


def c_string(text: str) -> bytes:
    return text.encode("ascii") + b"\0"


def tlv(tag: int, value: bytes) -> bytes:
    return _TLV.pack(tag, len(value)) + value


class BodyReader:
    """Reads a body field by field. Fields beyond its end are empty: some operators truncate PDUs."""

    def __init__(self, content: bytes) -> None:
        self._rest = content

    def __repr__(self) -> str:
        return f"BodyReader({len(self._rest)} octets)"

    def octets(self, count: int) -> bytes:
        octets, self._rest = self._rest[:count], self._rest[count:]
        return octets

    def octet(self) -> int:
        return int.from_bytes(self.octets(1), "big")

    def c_string(self) -> str:
        """Return the text before the next zero; octets that are not ASCII are replaced."""
        text, _, self._rest = self._rest.partition(b"\0")
        return text.decode("ascii", "replace")

    def tlvs(self) -> dict[int, bytes]:
        """Return the optional parameters in the rest; the first of the same tag wins."""
        parameters: dict[int, bytes] = {}
        while len(self._rest) >= _TLV.size:
            tag, length = _TLV.unpack(self.octets(_TLV.size))
            parameters.setdefault(tag, self.octets(length))
        return parameters


_A, _R, _D = FailureKind.ACCOUNT, FailureKind.REJECTED, FailureKind.DESTINATION
_U, _E, _T = FailureKind.UNAVAILABLE, FailureKind.ERROR, FailureKind.THROTTLED

FAILURES = {
    0x01: ("ESME_RINVMSGLEN", _R),  # message length is invalid
    0x02: ("ESME_RINVCMDLEN", _R),  # command length is invalid
    0x03: ("ESME_RINVCMDID", _A),  # invalid command id: we may not submit in this session
    0x04: ("ESME_RINVBNDSTS", _U),  # incorrect bind status for given command: another session may be right
    0x05: ("ESME_RALYBND", _U),  # already in bound state: an earlier session may not have ended yet
    0x06: ("ESME_RINVPRTFLG", _R),  # invalid priority flag
    0x07: ("ESME_RINVREGDLVFLG", _R),  # invalid registered delivery flag
    0x08: ("ESME_RSYSERR", _E),  # system error
    0x0A: ("ESME_RINVSRCADR", _A),  # invalid source address
    0x0B: ("ESME_RINVDSTADR", _D),  # invalid destination address
    0x0C: ("ESME_RINVMSGID", _R),  # message id is invalid
    0x0D: ("ESME_RBINDFAIL", _A),  # bind failed without a reason: perhaps our address is not allowed
    0x0E: ("ESME_RINVPASWD", _A),  # invalid password
    0x0F: ("ESME_RINVSYSID", _A),  # invalid system id
    0x11: ("ESME_RCANCELFAIL", _R),  # cancel SM failed
    0x13: ("ESME_RREPLACEFAIL", _R),  # replace SM failed
    0x14: ("ESME_RMSGQFUL", _T),  # message queue full
    0x15: ("ESME_RINVSERTYP", _A),  # invalid service type
    0x33: ("ESME_RINVNUMDESTS", _R),  # invalid number of destinations
    0x34: ("ESME_RINVDLNAME", _R),  # invalid distribution list name
    0x40: ("ESME_RINVDESTFLAG", _R),  # destination flag is invalid (submit_multi)
    0x42: ("ESME_RINVSUBREP", _R),  # invalid 'submit with replace' request
    0x43: ("ESME_RINVESMCLASS", _R),  # invalid esm_class field data
    0x44: ("ESME_RCNTSUBDL", _R),  # cannot submit to distribution list
    0x45: ("ESME_RSUBMITFAIL", _U),  # submit failed
    0x48: ("ESME_RINVSRCTON", _A),  # invalid source address TON
    0x49: ("ESME_RINVSRCNPI", _A),  # invalid source address NPI
    0x50: ("ESME_RINVDSTTON", _A),  # invalid destination address TON
    0x51: ("ESME_RINVDSTNPI", _A),  # invalid destination address NPI
    0x53: ("ESME_RINVSYSTYP", _A),  # invalid system_type field
    0x54: ("ESME_RINVREPFLAG", _R),  # invalid replace_if_present flag
    0x55: ("ESME_RINVNUMMSGS", _R),  # invalid number of messages
    0x58: ("ESME_RTHROTTLED", _T),  # throttling error: allowed message limits exceeded
    0x61: ("ESME_RINVSCHED", _R),  # invalid scheduled delivery time
    0x62: ("ESME_RINVEXPIRY", _R),  # invalid message validity period (expiry time)
    0x63: ("ESME_RINVDFTMSGID", _R),  # predefined message invalid or not found
    0x64: ("ESME_RX_T_APPN", _U),  # receiver temporary application error
    0x65: ("ESME_RX_P_APPN", _R),  # receiver permanent application error
    0x66: ("ESME_RX_R_APPN", _R),  # receiver reject message error
    0x67: ("ESME_RQUERYFAIL", _R),  # query_sm request failed
    0xC0: ("ESME_RINVOPTPARSTREAM", _R),  # error in the optional part of the PDU body
    0xC1: ("ESME_ROPTPARNOTALLWD", _R),  # optional parameter not allowed
    0xC2: ("ESME_RINVPARLEN", _R),  # invalid parameter length
    0xC3: ("ESME_RMISSINGOPTPARAM", _R),  # expected optional parameter missing
    0xC4: ("ESME_RINVOPTPARAMVAL", _R),  # invalid optional parameter value
    0xFE: ("ESME_RDELIVERYFAILURE", _U),  # delivery failure (data_sm_resp)
    0xFF: ("ESME_RUNKNOWNERR", _E),  # unknown error
}
MESSAGE_SPECIFIC = frozenset({0x45, 0x64, 0xFE})
"""Statuses of *unavailable* that a working SMSC also gives because of the number or the text."""
SENDER_SPECIFIC = frozenset({"ESME_RINVSRCADR", "ESME_RINVSRCTON", "ESME_RINVSRCNPI"})
"""Names of *account* statuses that concern the message if it has its own sender."""
VENDOR_SPECIFIC = 0x400
"""Lowest status that the SMSC's vendor defines. Such a failure may pass, or not occur at another gateway. Most concern
numbers, so all count as message-specific."""


def failure_of(status: int) -> GatewayError:
    """Return the failure of a status other than 0; an unknown status is *rejected*."""
    is_vendor_specific = status >= VENDOR_SPECIFIC
    name, kind = FAILURES.get(status, (f"0x{status:08X}", _U if is_vendor_specific else _R))
    return GatewayError(kind, name, message_specific=is_vendor_specific or status in MESSAGE_SPECIFIC)


MAX_UNHANDLED = 1_000
"""Maximum ``deliver_sm`` handled at a time; the SMSC is asked to send any further later."""
_NO_MESSAGE_ID = b"\0"
_INVALID_COMMAND, _TRY_LATER = 0x03, 0x64


class Session:
    """A session over an open connection, within its event loop. Once over, it stays over."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        window: int,
        deliver: Callable[[bytes], Awaitable[bool]],
    ) -> None:
        """Start to read. ``deliver`` gets the body of each ``deliver_sm`` and returns whether it is done."""
        self.window = asyncio.Semaphore(window)
        self.pending: dict[int, asyncio.Future[Pdu | None]] = {}
        """Awaited answers, by the sequence number of the request."""
        self._writer, self._deliver = writer, deliver
        self._over, self._ended = asyncio.Event(), False
        self._sequence = 0
        self._handling: set[asyncio.Task[None]] = set()
        self._leaving: asyncio.Task[None] | None = None
        self._reading = asyncio.create_task(self._read(reader))

    @property
    def over(self) -> bool:
        """Whether no more requests can be made; answers to earlier requests may still come."""
        return self._over.is_set()

    async def request(self, command: Command, body: bytes, within: float) -> Pdu | GatewayError:
        """Return the answer to a request, with any status.

        Without an answer the failure is *unavailable*, and ambiguous once the request was written.
        """
        if self.over or within <= 0:
            return GatewayError(FailureKind.UNAVAILABLE, "connection" if self.over else "timeout")
        self._sequence = sequence = self._sequence % LAST_SEQUENCE + 1
        self.pending[sequence] = future = asyncio.get_running_loop().create_future()
        try:
            self._write(Pdu(command, 0, sequence, body))
            async with asyncio.timeout(within):
                answer = await future
        except TimeoutError:
            return GatewayError(FailureKind.UNAVAILABLE, "timeout", ambiguous=True)
        finally:
            del self.pending[sequence]
        return answer or GatewayError(FailureKind.UNAVAILABLE, "connection", ambiguous=True)

    async def bind(self, command: Command, body: bytes, within: float) -> GatewayError | None:
        """Bind; return the failure, *account* or *unavailable*, or ``None``."""
        answer = await self.request(command, body, within)
        if isinstance(answer, Pdu) and answer.command == command | RESPONSE and answer.status == 0:
            return None
        refusal = answer if isinstance(answer, GatewayError) else failure_of(answer.status)
        kind = FailureKind.ACCOUNT if refusal.kind is FailureKind.ACCOUNT else FailureKind.UNAVAILABLE
        return GatewayError(kind, f"bind {refusal.provider_code}")

    async def keep_alive(self, every: float, patience: float) -> None:
        """Send ``enquire_link`` at intervals, and close the session without an answer; return when it is over."""
        while not self.over:
            with suppress(TimeoutError):
                async with asyncio.timeout(every):
                    await self._over.wait()
                    return
            if isinstance(await self.request(Command.ENQUIRE_LINK, b"", patience), GatewayError):
                self.close()

    async def unbind(self, within: float) -> None:
        await self.request(Command.UNBIND, b"", within)
        self.close()

    def close(self) -> None:
        """Close the connection; requests without an answer fail."""
        self._over.set()
        self._ended = True
        self._reading.cancel()
        self._writer.transport.abort()  # without waiting; written data is sent if the peer reads
        for future in self.pending.values():
            if not future.done():
                future.set_result(None)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        with suppress(OSError, EOFError, ValueError):
            while not self._ended:
                pdu = await read_pdu(reader)
                if pdu.command & RESPONSE:
                    future = self.pending.get(pdu.sequence)
                    if future and not future.done():
                        future.set_result(pdu)
                elif pdu.command == Command.DELIVER_SM:
                    self._accept_delivery(pdu)
                elif pdu.command == Command.ENQUIRE_LINK:
                    self._answer(pdu)
                elif pdu.command == Command.UNBIND:
                    self._leaving = self._leaving or asyncio.create_task(self._finish_unbind(pdu))
                else:
                    self._write(Pdu(Command.GENERIC_NACK, _INVALID_COMMAND, pdu.sequence))
                await self._writer.drain()  # otherwise answers would pile up for a peer that does not read
        self.close()

    async def _finish_unbind(self, unbind: Pdu) -> None:
        """Make no more requests; close when all pending requests are answered or timed out."""
        self._over.set()
        try:
            while self.pending or self._handling:
                unfinished: list[asyncio.Future[Any]] = [*self.pending.values(), *self._handling]
                await asyncio.wait(unfinished)
        finally:
            self._answer(unbind)
            self.close()

    def _accept_delivery(self, pdu: Pdu) -> None:
        if len(self._handling) >= MAX_UNHANDLED:
            self._answer(pdu, _TRY_LATER, _NO_MESSAGE_ID)
            return

        async def handle() -> None:
            status = 0 if await self._deliver(pdu.body) else _TRY_LATER
            self._answer(pdu, status, _NO_MESSAGE_ID)

        task = asyncio.create_task(handle())
        self._handling.add(task)
        task.add_done_callback(self._handling.discard)

    def _answer(self, pdu: Pdu, status: int = 0, body: bytes = b"") -> None:
        self._write(Pdu(pdu.command | RESPONSE, status, pdu.sequence, body))

    def _write(self, pdu: Pdu) -> None:
        if not self._ended:
            self._writer.write(pdu.encode())


_KIND = 0x3C
_UCS2 = 8
"""``data_coding`` of UCS-2, big-endian (section 5.2.19)."""


@dataclass(frozen=True, slots=True)
class DeliverSm:
    """A ``deliver_sm``. The ``repr`` shows neither number nor text."""

    source_ton: int
    """Type of number of the sender (section 5.2.5)."""
    source: str = field(repr=False)
    destination: str = field(repr=False)
    esm_class: int
    data_coding: int
    octets: bytes = field(repr=False)
    """The text with its user data header, from the PDU itself or from ``message_payload``."""
    tlvs: Mapping[int, bytes] = field(repr=False)

    @property
    def kind(self) -> int:
        """The kind in ``esm_class``; 0 for a message from a person."""
        return self.esm_class & _KIND

    @property
    def receipted_message_id(self) -> str:
        """The id of the reported message, if a parameter names it."""
        return self.tlvs.get(Tag.RECEIPTED_MESSAGE_ID, b"").partition(b"\0")[0].decode("ascii", "replace").strip()

    def decode(self, octets: bytes) -> str:
        return octets.decode("utf-16-be", "replace") if self.data_coding == _UCS2 else octets.decode("latin-1")


def parse_deliver_sm(body: bytes) -> DeliverSm:
    """Return a ``deliver_sm`` from its body; missing fields are empty."""
    rest = BodyReader(body)
    rest.c_string()  # service_type
    source_ton, _ = rest.octet(), rest.octet()
    source = rest.c_string()
    rest.octets(2)
    destination = rest.c_string()
    esm_class, _, _ = rest.octet(), rest.octet(), rest.octet()
    rest.c_string()  # schedule_delivery_time
    rest.c_string()  # validity_period
    data_coding = int.from_bytes(rest.octets(4)[2:3], "big")
    short = rest.octets(rest.octet())
    tlvs = rest.tlvs()
    octets = short or tlvs.get(Tag.MESSAGE_PAYLOAD, b"")
    return DeliverSm(source_ton, source, destination, esm_class, data_coding, octets, tlvs)


RECEIPT_REQUESTED = 1
"""``registered_delivery``: a receipt of the final outcome, good or bad (section 5.2.17)."""
_DAY, _HOUR, _MINUTE = 86_400, 3_600, 60


def submit_bodies(message: Message, settings: SmppSettings) -> tuple[bytes, ...]:
    parts = (message.text,) if settings.concatenation == "payload" else segments(message.text)
    if encoding_of(message.text) is Encoding.GSM7:
        coding, longest = settings.gsm7_data_coding, Encoding.GSM7.single_length
        texts = [encode_gsm7(part) for part in parts]
    else:
        coding, longest = _UCS2, 2 * Encoding.UCS2.single_length
        texts = [part.encode("utf-16-be") for part in parts]
    if settings.concatenation == "payload" and len(texts[0]) > longest:
        return (_body(message, settings, 0, coding, b"", tlv(Tag.MESSAGE_PAYLOAD, texts[0])),)
    if len(texts) == 1:
        return (_body(message, settings, 0, coding, texts[0]),)
    # Handsets join parts by this number, the sender and the destination: consecutive messages need different numbers.
    number, total = secrets.randbelow(0x10000), len(texts)
    if settings.concatenation == "sar":
        shared = tlv(Tag.SAR_MSG_REF_NUM, number.to_bytes(2, "big")) + tlv(Tag.SAR_TOTAL_SEGMENTS, bytes((total,)))
        return tuple(
            _body(message, settings, 0, coding, text, shared + tlv(Tag.SAR_SEGMENT_SEQNUM, bytes((position,))))
            for position, text in enumerate(texts, 1)
        )
    # 3GPP TS 23.040, 9.2.3.24.1: length of the header, element 0, its length, reference, total, position.
    return tuple(
        _body(message, settings, HAS_HEADER, coding, bytes((5, 0, 3, number & 0xFF, total, position)) + text)
        for position, text in enumerate(texts, 1)
    )


def relative_time(seconds: int) -> str:
    """Return a time span as ``YYMMDDhhmmsstnnR`` (section 7.1.1.2): at least a second, less than a month."""
    seconds = min(max(1, seconds), 31 * _DAY - 1)
    days, rest = divmod(seconds, _DAY)
    return f"0000{days:02}{rest // _HOUR:02}{rest % _HOUR // _MINUTE:02}{rest % _MINUTE:02}000R"


def _body(
    message: Message, settings: SmppSettings, esm_class: int, coding: int, text: bytes, optional: bytes = b""
) -> bytes:
    validity = relative_time(message.expires_in) if settings.validity_period else ""
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
        bytes((RECEIPT_REQUESTED, 0, coding, 0, len(text))),  # replace_if_present_flag, sm_default_msg_id
        text,
        optional,
    ))  # fmt: skip
