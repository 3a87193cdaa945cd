"""What a gateway gives as its reference is kept only if it can be one: it is shown, and stands in the clear."""

from base64 import b64encode
from typing import Any

import pytest
from support_caller import Caller
from support_frozen import FrozenValkey
from support_installation import NUMBER
from support_outbox import EVENTS, Scripted, Sender, story
from support_records import entries_of

from otp_service.domain.messages import Message
from otp_service.domain.verification import DeliveryStatus
from otp_service.gateways.base import Accepted, Receipt
from otp_service.services.receipts import ReceiptRecorder
from otp_service.store import keys

DIGITS = NUMBER.removeprefix("+")
ODD: dict[str, Any] = {
    "too long": "x" * 129,
    "endless": "x" * 100_000,
    "empty": "",
    "nothing": None,
    "blank": "SM 1",
    "line feed": "SM1\nfailed",
    "line feed at the end": "SM1\n",
    "null": "SM1\0",
    "escape": "\x1b[31mSM1",
    "separator": "SM1|delivered",
    "number": f"SM1-{DIGITS}",
    "number alone": NUMBER,
    "number in groups": f"0{DIGITS[2:5]}-{DIGITS[5:8]}-{DIGITS[8:]}:1",
    "its last digits": f"SM/{DIGITS[-7:]}",
    **{
        f"number in Base64, {len(before)} bytes in": f"wamid.{b64encode(before + DIGITS.encode() + b'!!').decode()}"
        for before in (b"", b"\x1c", b"\x1c\x18", b"\x1c\x18\x0c")
    },
    "letters of others": "сообщение",
    "digits of others": "١٢٣",
    "surrogate": "SM1\ud800",
    "octets": b"SM1",
    "list": ["SM1"],
    "mapping": {"id": "SM1"},
}
PLAIN: dict[str, Any] = {
    "name": "SM1",
    "longest": "x" * 128,
    "arn": "arn:aws:sns:eu-west-1/a.b+c=d@e_f",
    "integer": 4711,
}


class Odd(Scripted):
    """A gateway that gives whatever it is told as its reference."""

    def __init__(self, reference: Any) -> None:
        super().__init__()
        self._reference = reference

    def send(self, message: Message) -> Accepted:
        super().send(message)
        return Accepted(self._reference)


class OddConnected(Odd):
    """The same, over a connection that it keeps."""

    def open(self) -> None:
        """Connect."""

    def close(self) -> None:
        """Disconnect."""


@pytest.fixture
def shop(frozen: FrozenValkey) -> Caller:
    return Caller(frozen.world().install(gateways={"first": {"kind": "sandbox"}}, routes=[{"gateways": ["first"]}]))


def _reference(shop: Caller, one: str) -> str | None:
    (delivery,) = shop.read(one).verification.deliveries
    return delivery.reference


def _everything(frozen: FrozenValkey, one: str) -> bytes:
    """Return all that is kept of a delivery: the slot, and the events."""
    slot = frozen.client.hget(keys.record("00", one), "d1.1")
    return b"\n".join([slot, *(event["reference"].encode() for event in entries_of(frozen.client, EVENTS)[1:])])


@pytest.mark.parametrize("kind", [Odd, OddConnected])
@pytest.mark.parametrize("odd", ODD.values(), ids=ODD.keys())
def test_what_cannot_be_a_reference_is_kept_nowhere(
    frozen: FrozenValkey, shop: Caller, odd: object, kind: type[Odd]
) -> None:
    gateway = kind(odd)
    one = shop.start()
    Sender(shop, first=gateway).deliver()
    (message,) = gateway.sent

    assert story(shop, one) == [(1, 1, "first", "sent", None)], "it was sent all the same"
    assert _reference(shop, one) == message.dispatch_id, "the dispatch has a name of our own"
    kept = _everything(frozen, one)
    assert kept.count(b"|") == 9
    assert kept.isascii()
    assert DIGITS.encode() not in kept


@pytest.mark.parametrize("kind", [Odd, OddConnected])
@pytest.mark.parametrize("plain", PLAIN.values(), ids=PLAIN.keys())
def test_what_can_be_one_is_kept_as_it_is(shop: Caller, plain: object, kind: type[Odd]) -> None:
    one = shop.start()
    Sender(shop, first=kind(plain)).deliver()

    assert _reference(shop, one) == str(plain)


@pytest.mark.parametrize("plain", PLAIN.values(), ids=PLAIN.keys())
def test_a_receipt_over_the_gateways_connection_finds_what_is_kept(shop: Caller, plain: object) -> None:
    one = shop.start()
    Sender(shop, first=OddConnected(plain)).deliver()
    ReceiptRecorder(shop.context, "first").accept((str(plain),), Receipt(DeliveryStatus.DELIVERED, "DELIVRD"))

    assert story(shop, one)[0][3] == "delivered"


def test_a_gateway_that_returns_something_else_altogether_has_a_defect(shop: Caller) -> None:
    gateway = Scripted()
    gateway.send = lambda _: "SM1"  # type: ignore[method-assign, assignment]
    one = shop.start()
    Sender(shop, first=gateway).deliver()

    assert story(shop, one)[0][2:] == ("first", "unknown", "unavailable defect")
