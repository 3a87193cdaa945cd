"""What people write back over SMPP: a ``deliver_sm`` that reports on nothing is a message, all others are none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support_smpp import gateway_at
from support_smsc import Smsc, deliver_body, tlv, wait_until

from otp_service.gateways.base import InboundMessage
from otp_service.gateways.smpp.gateway import parse_message
from otp_service.gateways.smpp.protocol import parse_deliver_sm
from otp_service.testing.provider import MemoryInboundSink, MemoryReceiptSink

MESSAGE = 0x00
HEADER = 0x40
SENDER = "+923001234567"
FIRST_OF_TWO, ALONE = bytes((5, 0, 3, 7, 2, 1)), bytes((5, 0, 3, 7, 1, 1))
WIDE_FIRST_OF_TWO, PORTS = bytes((6, 8, 4, 0, 7, 2, 1)), bytes((6, 5, 4, 0, 1, 0, 1))


def read(text=b"STOP", esm_class=MESSAGE, **parts):
    return parse_message(parse_deliver_sm(deliver_body(text, esm_class=esm_class, **parts)))


@pytest.mark.parametrize(
    ("octets", "parts", "text"),
    [
        (b"STOP", {}, "STOP"),
        (b"", {}, ""),
        ("بند کریں".encode("utf-16-be"), {"data_coding": 8}, "بند کریں"),
        ("arrêt".encode("latin-1"), {"data_coding": 3}, "arrêt"),
        (b"", {"tlvs": tlv(0x0424, b"Stop.")}, "Stop."),
        (ALONE + b"STOP", {"esm_class": HEADER}, "STOP"),
        (PORTS + b"STOP", {"esm_class": HEADER}, "STOP"),
        (FIRST_OF_TWO + b"STOP", {"esm_class": HEADER}, ""),
        (WIDE_FIRST_OF_TWO + b"STOP", {"esm_class": HEADER}, ""),
        (b"STOP", {"tlvs": tlv(0x020E, b"\2")}, ""),
        (b"STOP", {"tlvs": tlv(0x020E, b"\1")}, "STOP"),
        (b"\xff", {"esm_class": HEADER}, ""),
    ],
)
def test_a_message_is_read_and_a_part_of_a_longer_one_has_no_text_of_its_own(octets, parts, text):
    assert read(octets, **parts) == InboundMessage("", SENDER, text)


@pytest.mark.parametrize("esm_class", [0x04, 0x08, 0x10, 0x18, 0x20, 0x44])
def test_what_is_marked_as_something_else_is_no_message(esm_class):
    assert read(esm_class=esm_class) is None


def test_a_receipt_that_is_not_marked_as_one_is_no_message():
    assert read(tlvs=tlv(0x001E, b"id-1\0")) is None
    assert read(b"id:1 sub:001 dlvrd:001 stat:DELIVRD err:000 text:STOP") is None


@pytest.mark.parametrize(
    ("ton", "source", "sender"),
    [
        (1, b"923001234567", SENDER),
        (1, b"+923001234567", SENDER),
        (2, b"03001234567", "03001234567"),
        (5, b"Acme", "Acme"),
    ],
)
def test_an_international_sender_has_a_plus(ton, source, sender):
    body = deliver_body(b"STOP", esm_class=MESSAGE).replace(b"\1\x01923001234567", bytes((ton, 1)) + source)

    assert parse_message(parse_deliver_sm(body)).sender == sender


@given(st.binary(max_size=300))
def test_whatever_comes_is_a_message_or_none(body):
    found = parse_message(parse_deliver_sm(body))

    assert found is None or isinstance(found, InboundMessage)


class FullAtFirst(MemoryInboundSink):
    """Takes all but the first message."""

    def accept(self, message):
        super().accept(message)
        return len(self.messages) > 1


def test_a_message_comes_in_over_the_session_and_is_no_receipt():
    receipt_sink, inbound_sink = MemoryReceiptSink(), MemoryInboundSink()
    with Smsc() as smsc, gateway_at(smsc, receipt_sink, inbound_sink) as gateway:
        gateway.open()
        wait_until(lambda: smsc.bound)
        smsc.delivered(deliver_body(b"Stop.", esm_class=MESSAGE), deliver_body(b"id:7 stat:DELIVRD err:000 text:x"))

    assert inbound_sink.messages == [InboundMessage("", SENDER, "Stop.")]
    assert [references[0] for references, _ in receipt_sink.receipts] == ["7"]


def test_a_message_that_cannot_be_taken_stays_at_the_smsc():
    stop = deliver_body(b"STOP", esm_class=MESSAGE)
    with Smsc() as smsc, gateway_at(smsc, None, FullAtFirst()) as gateway:
        gateway.open()
        wait_until(lambda: smsc.bound)

        assert smsc.delivered(stop, stop) == [0x64, 0]
