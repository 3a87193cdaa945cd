"""Receipts that come over a gateway's own connection: found by its reference, also when they overtake its answer."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
from structlog.testing import capture_logs
from support_caller import Caller
from support_canary import logged_at_debug
from support_frozen import FrozenValkey
from support_outbox import Scripted, Sender, events, story, timed_out
from support_smpp import gateway_at
from support_smsc import SILENT, Smsc, deliver_body, wait_until

from otp_service.domain.verification import DeliveryStatus
from otp_service.errors import StoreUnavailableError
from otp_service.gateways.base import Accepted, FailureKind, GatewayError, Receipt
from otp_service.gateways.smpp.gateway import SmppGateway
from otp_service.services.receipts import ReceiptRecorder, record_receipt
from otp_service.store.outbox import EARLY_RECEIPT_LIFE, MAX_EARLY_RECEIPTS

DELIVERED = Receipt(DeliveryStatus.DELIVERED, "DELIVRD")
SENT = Receipt(DeliveryStatus.SENT, "ENROUTE")
UNDELIVERED = Receipt(DeliveryStatus.UNDELIVERED, "UNDELIV")


class Connected(Scripted):
    """A gateway that keeps a connection."""

    def open(self) -> None:
        """Connect."""

    def close(self) -> None:
        """Disconnect."""


@pytest.fixture
def shop(frozen: FrozenValkey) -> Caller:
    return Caller(
        frozen.world().install(
            limits={"number": ["1000/hour"]},
            purposes={"login": {"channels": ["sms", "voice"]}},
            gateways={"first": {"kind": "sandbox"}, "second": {"kind": "sandbox"}},
            routes=[{"gateways": ["first", "second"]}],
        )
    )


@pytest.fixture
def recorder(shop: Caller) -> ReceiptRecorder:
    return ReceiptRecorder(shop.context, "first")


def _sent(shop: Caller, *answers: Accepted | Callable[[], None]) -> str:
    """Start a verification whose message the first gateway answers so."""
    one = shop.start()
    Sender(shop, first=Connected(*answers)).deliver()
    return one


def test_a_receipt_finds_its_dispatch_by_the_reference(
    frozen: FrozenValkey, shop: Caller, recorder: ReceiptRecorder
) -> None:
    one, other = _sent(shop, Accepted("A1")), _sent(shop, Accepted("B2"))
    recorder.accept(("B2",), DELIVERED)

    assert story(shop, one) == [(1, 1, "first", "sent", None)]
    assert story(shop, other) == [(1, 1, "first", "delivered", None)]
    (delivery,) = shop.read(other).verification.deliveries
    assert (delivery.raw_status, delivery.reference) == ("DELIVRD", "B2")
    assert shop.read(other).verification.status == "pending", "it approves nothing"


def test_each_line_of_a_receipt_names_verification_and_dispatch(shop: Caller, recorder: ReceiptRecorder) -> None:
    one = _sent(shop, Accepted("A1"))
    (dispatch,) = (each.dispatch_id for each in shop.read(one).verification.deliveries)
    with logged_at_debug() as written:
        recorder.accept(("A1",), UNDELIVERED)
        recorder.accept(("A1",), UNDELIVERED)
    lines = [json.loads(line) for line in written.getvalue().splitlines()]

    assert [line["message"] for line in lines] == ["receipt_recorded", "fell_back", "receipt_ignored"]
    assert {(line["verification"], line["dispatch"]) for line in lines} == {(one, dispatch)}


def test_a_receipt_that_overtakes_the_answer_is_not_lost(shop: Caller, recorder: ReceiptRecorder) -> None:
    one = _sent(shop, lambda: recorder.accept(("SM1",), DELIVERED))

    assert story(shop, one) == [(1, 1, "first", "delivered", None)]
    assert shop.read(one).verification.deliveries[0].reference == "SM1"


def test_all_receipts_that_overtake_the_answer_are_recorded_in_their_order(
    frozen: FrozenValkey, shop: Caller, recorder: ReceiptRecorder
) -> None:
    def be_quick() -> None:
        recorder.accept(("SM1",), SENT)
        recorder.accept(("SM1",), Receipt(DeliveryStatus.UNDELIVERED, "UNDELIV", "27"))

    one = _sent(shop, be_quick)

    assert story(shop, one)[0] == (1, 1, "first", "undelivered", "27")
    assert shop.read(one).verification.sends == 2, "the next channel was asked at once"


def test_of_two_terminal_receipts_that_overtake_the_answer_the_first_stands(
    shop: Caller, recorder: ReceiptRecorder
) -> None:
    def be_quick() -> None:
        recorder.accept(("SM1",), DELIVERED)
        recorder.accept(("SM1",), Receipt(DeliveryStatus.UNDELIVERED, "UNDELIV"))

    assert story(shop, _sent(shop, be_quick)) == [(1, 1, "first", "delivered", None)]


@pytest.mark.parametrize("spelled", [("1f", "31"), ("31", "1f"), ("0031", "31")])
def test_a_reference_may_be_spelled_in_more_ways_than_one(
    shop: Caller, recorder: ReceiptRecorder, spelled: tuple[str, ...]
) -> None:
    one = _sent(shop, Accepted("31"))
    recorder.accept(spelled, DELIVERED)

    assert story(shop, one) == [(1, 1, "first", "delivered", None)]


def test_an_early_receipt_is_found_under_whichever_spelling_the_answer_has(
    shop: Caller, recorder: ReceiptRecorder
) -> None:
    recorder.accept(("1f", "31"), DELIVERED)

    assert story(shop, _sent(shop, Accepted("31"))) == [(1, 1, "first", "delivered", None)]


def test_a_receipt_of_one_gateway_says_nothing_of_anothers_message(shop: Caller) -> None:
    one = _sent(shop, Accepted("A1"))
    ReceiptRecorder(shop.context, "second").accept(("A1",), DELIVERED)

    assert story(shop, one) == [(1, 1, "first", "sent", None)]


def test_an_early_receipt_is_kept_for_some_minutes_only(
    frozen: FrozenValkey, shop: Caller, recorder: ReceiptRecorder
) -> None:
    recorder.accept(("A1",), DELIVERED)
    frozen.advance((EARLY_RECEIPT_LIFE + 1) / 1000)

    assert story(shop, _sent(shop, Accepted("A1"))) == [(1, 1, "first", "sent", None)]


def test_an_early_receipt_is_used_up_by_the_message_that_it_is_about(shop: Caller, recorder: ReceiptRecorder) -> None:
    """Some operators number their messages anew each day."""
    _sent(shop, lambda: recorder.accept(("SM1",), DELIVERED))

    assert story(shop, _sent(shop, Accepted("SM1"))) == [(1, 1, "first", "sent", None)]


def test_early_receipts_of_a_reference_that_nobody_knows_do_not_fill_the_memory(
    frozen: FrozenValkey, recorder: ReceiptRecorder
) -> None:
    for _ in range(100):
        recorder.accept(("A1",), SENT)
    (key,) = frozen.client.scan_iter("otp:{gateways}:early:*")

    assert frozen.client.llen(key) == MAX_EARLY_RECEIPTS
    assert b"A1" not in key


def test_a_reference_is_known_as_long_as_the_record(
    frozen: FrozenValkey, shop: Caller, recorder: ReceiptRecorder
) -> None:
    one = _sent(shop, Accepted("A1"))
    frozen.advance(899.999)
    recorder.accept(("A1",), DELIVERED)
    assert story(shop, one)[0][3] == "delivered"
    frozen.advance(0.002)
    before = events(frozen.client)
    recorder.accept(("A1",), DELIVERED)

    assert events(frozen.client) == before


def test_a_receipt_that_comes_again_or_late_changes_nothing(
    frozen: FrozenValkey, shop: Caller, recorder: ReceiptRecorder
) -> None:
    one = _sent(shop, Accepted("A1"))
    recorder.accept(("A1",), DELIVERED)
    record_receipt = frozen.client.hgetall(f"otp:{{00}}:v:{one}")
    before = events(frozen.client)
    frozen.advance(1)
    for receipt in (
        DELIVERED,
        SENT,
        Receipt(DeliveryStatus.UNDELIVERED, "UNDELIV"),
        Receipt(DeliveryStatus.UNKNOWN, "?"),
    ):
        recorder.accept(("A1",), receipt)

    assert frozen.client.hgetall(f"otp:{{00}}:v:{one}") == record_receipt
    assert events(frozen.client) == before


def test_what_only_the_answer_made_us_take_for_failed_may_be_reported_as_delivered_and_as_nothing_less(
    shop: Caller,
) -> None:
    first = Connected(GatewayError(FailureKind.DESTINATION, "http 502"))
    one = shop.start()
    Sender(shop, first=first).deliver()
    dispatch = first.sent[0].dispatch_id
    for receipt, status in ((SENT, "failed"), (DELIVERED, "delivered"), (UNDELIVERED, "delivered")):
        record_receipt(shop.context, "first", dispatch, receipt)
        assert [each[3] for each in story(shop, one)] == [status]


def test_a_failure_that_the_gateway_itself_reported_stays(shop: Caller, recorder: ReceiptRecorder) -> None:
    one = _sent(shop, Accepted("A1"))
    for receipt in (Receipt(DeliveryStatus.FAILED, "REJECTD", kind=FailureKind.DESTINATION), DELIVERED):
        recorder.accept(("A1",), receipt)

    assert [each[3] for each in story(shop, one)] == ["failed"]


def test_a_receipt_for_a_message_whose_answer_was_lost_is_told_by_its_own_reference_only(
    shop: Caller, recorder: ReceiptRecorder
) -> None:
    """Without an answer there is no reference: the receipt is kept, and found by nobody; the story says so."""
    one = _sent(shop, timed_out())  # type: ignore[arg-type]
    recorder.accept(("A1",), DELIVERED)

    assert [each[3] for each in story(shop, one)] == ["unknown", "sent"]


def test_what_redis_does_not_take_is_told_and_ends_nothing(
    shop: Caller, recorder: ReceiptRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise StoreUnavailableError("away")

    references = type(shop.context.store.references)
    monkeypatch.setattr(references, "dispatch_of", away)
    monkeypatch.setattr(references, "remember", away)
    with capture_logs() as lines:
        assert not recorder.accept(("A1",), DELIVERED), "the gateway is not to say that it was taken"
        one = _sent(shop, Accepted("A1"))

    told = [(line["log_level"], line["event"]) for line in lines]
    assert ("warning", "receipt_not_taken") in told
    assert ("warning", "reference_lost") in told
    assert story(shop, one) == [(1, 1, "first", "sent", None)]


# Ids that the SMSC reports in another notation, guessed: 16 is 10 in hexadecimal digits, and both may be messages.

ONE, OTHER = "+923001234567", "+923001234568"


@dataclass
class Line:
    """An SMSC that is believed to convert its ids, and a shop that sends through it."""

    smsc: Smsc
    shop: Caller
    gateway: SmppGateway

    def send(self, to: str, message_id: str, meanwhile: Callable[[], None] = lambda: None) -> str:
        """Send a message, which the SMSC answers with an id, after something else."""
        self.smsc.answer = lambda *_: SILENT
        one, before = self.shop.start(to), len(self.smsc.submits)
        with ThreadPoolExecutor(1) as threads:
            sending = threads.submit(Sender(self.shop, first=self.gateway).deliver)
            wait_until(lambda: len(self.smsc.submits) > before)
            meanwhile()
            self.smsc._reply(self.smsc.submits[-1], 0, message_id)
            sending.result(10)
        return one

    def report(self, to: str, message_id: str, status: str = "DELIVRD") -> None:
        """Report on a message, and wait until that is acknowledged."""
        text = f"id:{message_id} sub:001 dlvrd:001 stat:{status} err:000 text:".encode()
        assert self.smsc.delivered(deliver_body(text, source=to.removeprefix("+").encode())) == [0]

    def statuses(self, *ids: str) -> list[str]:
        return [story(self.shop, one)[0][3] for one in ids]


@pytest.fixture
def line(shop: Caller) -> Iterator[Line]:
    with Smsc() as smsc, gateway_at(smsc, ReceiptRecorder(shop.context, "first"), receipt_ids="auto") as gateway:
        gateway.open()
        wait_until(lambda: smsc.bound)
        yield Line(smsc, shop, gateway)


def test_an_id_as_it_is_written_wins_over_a_guess(line: Line) -> None:
    one, other = line.send(ONE, "10"), line.send(OTHER, "16")
    line.report(OTHER, "16")

    assert line.statuses(one, other) == ["sent", "delivered"]


def test_a_guess_is_not_taken_for_another_message_whose_answer_is_still_to_come(line: Line) -> None:
    one = line.send(ONE, "10")
    other = line.send(OTHER, "16", lambda: line.report(OTHER, "16"))

    assert line.statuses(one, other) == ["sent", "delivered"]


def test_a_guess_that_was_kept_is_not_given_to_another_message(line: Line) -> None:
    line.report(OTHER, "16", "UNDELIV")
    one = line.send(ONE, "10")

    assert line.statuses(one) == ["sent"]


@pytest.mark.parametrize(("answered", "reported"), [("1A", "26"), ("26", "1A"), ("33E95179", "870928761")])
def test_a_guess_finds_the_message_to_the_number_that_the_receipt_names(
    line: Line, answered: str, reported: str
) -> None:
    one = line.send(ONE, answered)
    line.report(OTHER, reported, "UNDELIV")
    assert line.statuses(one) == ["sent"]
    line.report(ONE, reported)
    assert line.statuses(one) == ["delivered"]


def test_a_guess_that_overtakes_its_answer_is_not_lost(line: Line) -> None:
    one = line.send(ONE, "1A", lambda: line.report(ONE, "26"))

    assert line.statuses(one) == ["delivered"]


@pytest.mark.parametrize("number", ["", "03001234567", "SHOP", "+"])
def test_a_guess_without_a_number_to_compare_is_none(line: Line, number: str) -> None:
    one = line.send(ONE, "1A")
    line.report(number, "26")

    assert line.statuses(one) == ["sent"]
