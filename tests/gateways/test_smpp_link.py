"""The line to an SMSC: bound, kept, lost and bound again; its window, its pace, and what comes in over it."""

import asyncio
import contextlib
import socket
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise

import pytest
from support_smpp import MESSAGE, Authority, attempt, gateway_at
from support_smsc import CUT, SILENT, Smsc, deliver_body, tlv, wait_until

from otp_service.domain.verification import DeliveryStatus
from otp_service.gateways.base import Accepted, FailureKind
from otp_service.gateways.smpp import connection as smpp_connection
from otp_service.gateways.smpp import protocol
from otp_service.gateways.smpp.protocol import FAILURES, failure_of
from otp_service.gateways.smpp.settings import SmppSettings
from otp_service.testing.provider import LeakDetector, MemoryReceiptSink

SHORT = replace(MESSAGE, text="Your Acme code is 482913.")
RECEIPT = (
    b"id:%s sub:001 dlvrd:001 submit date:2611241200 done date:2611241201 stat:DELIVRD err:000 text:Your Acme code"
)


@pytest.fixture
def smsc():
    with Smsc() as smsc:
        yield smsc


def outcome_of(gateway, message=SHORT):
    """Return the outcome as kind, code, and whether it is ambiguous, with the seconds it took."""
    began = time.monotonic()
    outcome = attempt(gateway, message)
    seconds = time.monotonic() - began
    if isinstance(outcome, Accepted):
        return outcome.reference, seconds
    return (outcome.kind, outcome.provider_code, outcome.ambiguous), seconds


def unavailable(code, *, ambiguous=False):
    return FailureKind.UNAVAILABLE, code, ambiguous


# Binding


def test_it_binds_with_its_account_when_it_is_opened(smsc):
    with gateway_at(smsc, system_type="OTP") as gateway:
        gateway.open()
        wait_until(lambda: smsc.binds)

    (kind, _, members) = smsc.binds[0]
    assert kind == "transceiver"
    assert members == {
        "system_id": "shop-id", "password": "s3cret-9", "system_type": "OTP", "interface_version": 0x34,
        "addr_ton": 0, "addr_npi": 0, "address_range": "", "tlvs": {},
    }  # fmt: skip


def test_it_binds_without_having_been_opened_and_again_after_it_was_closed(smsc):
    with gateway_at(smsc) as gateway:
        assert smsc.binds == []
        assert [gateway.send(SHORT).reference, gateway.send(SHORT).reference] == ["id-1", "id-2"]
        gateway.close()
        assert gateway.send(SHORT).reference == "id-3"
    assert len(smsc.binds) == 2


def test_closing_unbinds_and_leaves_no_thread(smsc):
    with gateway_at(smsc) as gateway:
        gateway.send(SHORT)
        gateway.close()
        wait_until(lambda: 0x06 in smsc.commands)
        gateway.close()
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("smpp-main")] == []


def test_opening_and_closing_wait_for_nobody(smsc):
    smsc.bind_status = None
    with gateway_at(smsc, timeout=30.0) as gateway:
        began = time.monotonic()
        gateway.open()
        assert time.monotonic() - began < 0.5
        wait_until(lambda: smsc.binds)
        gateway.close()
        assert time.monotonic() - began < 4.0


def test_a_bind_that_is_not_answered_is_unavailable_in_time_and_not_ambiguous(smsc):
    smsc.bind_status = None
    with gateway_at(smsc, timeout=0.3) as gateway:
        outcome, seconds = outcome_of(gateway)

    assert outcome in (unavailable("not bound"), unavailable("bind timeout"))
    assert seconds < 1.3
    assert smsc.submits == []


def test_a_refused_bind_is_told_at_once_and_tried_again_ever_more_seldom(smsc):
    smsc.bind_status = 0x0E
    with gateway_at(smsc, rebind_after=0.1, timeout=5.0) as gateway:
        outcome, seconds = outcome_of(gateway)
        assert outcome == (FailureKind.ACCOUNT, "bind ESME_RINVPASWD", False)
        assert seconds < 1.0
        assert outcome_of(gateway)[0] == outcome
        wait_until(lambda: len(smsc.binds) == 4)
        smsc.bind_status = 0
        times = [at for _, at, _ in smsc.binds]
        gaps = [later - earlier for earlier, later in pairwise(times)]
        assert gaps[0] >= 0.1
        assert gaps[1] >= 0.2
        assert gaps[2] >= 0.4
        wait_until(lambda: smsc.bound)
        wait_until(lambda: outcome_of(gateway)[0] == f"id-{len(smsc.submits)}")


@pytest.mark.parametrize("status", [0x45, 0x401])
def test_a_refused_bind_tells_of_the_smsc_whatever_its_status_says_of_messages(smsc, status):
    smsc.bind_status = status
    with gateway_at(smsc, rebind_after=60.0) as gateway:
        failure = attempt(gateway, SHORT)

    assert (failure.kind, failure.message_specific) == (FailureKind.UNAVAILABLE, False)


def test_transmitter_and_receiver_are_bound_apart(smsc):
    receipt_sink = MemoryReceiptSink()
    with gateway_at(smsc, receipt_sink, bind="transmitter_and_receiver") as gateway:
        gateway.send(SHORT)
        wait_until(lambda: len(smsc.bound) == 2)
        (receiver,) = [connection for connection in smsc.bound if connection.bound == "receiver"]
        smsc.deliver(deliver_body(RECEIPT % b"id-1"), receiver)
        wait_until(lambda: smsc.acks)

    assert smsc.submits[0].connection is not receiver
    assert receipt_sink.receipts[0][0][0] == "id-1"


def test_several_binds_share_the_messages(smsc):
    smsc.delay = 0.5  # longer than all twelve need to come
    with gateway_at(smsc, binds=3, window=4) as gateway:
        gateway.open()
        wait_until(lambda: all(smpp_connection.load == 0 for smpp_connection in gateway._pool._submitting))
        assert len(references(gateway, 12)) == 12

    shares = [
        sum(submit.connection is each for submit in smsc.submits) for each in {s.connection for s in smsc.submits}
    ]
    assert shares == [4, 4, 4]


def test_over_tls_only_a_trusted_certificate_will_do(tmp_path, monkeypatch):
    tls_server = Authority(tmp_path)
    with Smsc(wrap=tls_server.wrap) as smsc:
        with gateway_at(smsc, tls=True) as gateway:
            assert outcome_of(gateway)[0] == unavailable("connection")
        monkeypatch.setenv("SSL_CERT_FILE", str(tls_server.authority))
        with gateway_at(smsc, tls=True) as gateway:
            assert gateway.send(SHORT).reference == "id-1"


# Losing the line


def test_a_peer_that_dies_in_flight_leaves_it_open_what_became_of_the_message(smsc):
    with gateway_at(smsc) as gateway:
        gateway.send(SHORT)
        smsc.answer = lambda *_: SILENT
        with ThreadPoolExecutor(4) as threads:
            under_way = [threads.submit(outcome_of, gateway) for _ in range(4)]
            wait_until(lambda: len(smsc.submits) == 5)
            smsc.stop()
            lost = [each.result() for each in under_way]
        assert {outcome for outcome, _ in lost} == {unavailable("connection", ambiguous=True)}
        assert max(seconds for _, seconds in lost) < 2.0
        assert outcome_of(gateway)[0] == unavailable("connection")

        smsc.answer = lambda *_: (0, "again")
        smsc.again()
        wait_until(lambda: len(smsc.binds) == 2)
        wait_until(lambda: outcome_of(gateway)[0] == "again")


def test_it_binds_again_when_the_smsc_unbinds(smsc):
    with gateway_at(smsc) as gateway:
        gateway.send(SHORT)
        smsc.bound[0].send(0x06, 0, 99)
        wait_until(lambda: len(smsc.binds) == 2)
        assert 0x80000006 in smsc.commands


@contextlib.contextmanager
def unbinding(smsc, gateway, *, apart=0.0):
    """Let the SMSC unbind while it owes three answers, to messages some seconds apart; yield what becomes of them."""
    smsc.answer = lambda *_: SILENT
    gateway.open()
    with ThreadPoolExecutor(3) as threads:
        under_way = []
        for place in range(1, 4):
            under_way.append(threads.submit(outcome_of, gateway))
            wait_until(lambda place=place: len(smsc.submits) >= (place if apart else 0))
            time.sleep(apart)
        wait_until(lambda: len(smsc.submits) == 3)
        smsc.bound[0].send(0x06, 0, 99)
        yield under_way


def test_answers_under_way_still_come_after_an_unbind_and_others_go_over_another_session(smsc):
    with gateway_at(smsc) as gateway, unbinding(smsc, gateway) as under_way:
        wait_until(lambda: len(smsc.bound) == 2)
        smsc.answer = lambda *_: (0, "meanwhile")
        wait_until(lambda: outcome_of(gateway)[0] == "meanwhile")
        first, *_ = owed = smsc.submits[:3]
        assert 0x80000006 not in smsc.commands
        assert smsc.submits[-1].connection is not first.connection
        for place, submit in enumerate(owed):
            smsc._reply(submit, 0, f"late-{place}")
        assert {each.result(5)[0] for each in under_way} == {"late-0", "late-1", "late-2"}
        wait_until(lambda: 0x80000006 in smsc.commands)
        wait_until(lambda: first.connection not in smsc.connections)


def test_answers_that_do_not_come_hold_an_unbind_no_longer_than_their_time_out(smsc):
    """Each has its own time: that of the first is up some time before that of the last."""
    with gateway_at(smsc, timeout=0.6) as gateway, unbinding(smsc, gateway, apart=0.1) as under_way:
        assert {each.result(5)[0] for each in under_way} == {unavailable("timeout", ambiguous=True)}
        wait_until(lambda: smsc.submits[0].connection not in smsc.connections)


def test_an_smsc_that_unbinds_and_hangs_up_leaves_it_open_what_became_of_the_messages(smsc):
    with gateway_at(smsc, timeout=30.0) as gateway, unbinding(smsc, gateway) as under_way:
        wait_until(lambda: len(smsc.bound) == 2)
        smsc.submits[0].connection.cut()
        assert {each.result(5)[0] for each in under_way} == {unavailable("connection", ambiguous=True)}


def test_closing_does_not_wait_for_a_session_that_the_smsc_leaves(smsc):
    with gateway_at(smsc, timeout=30.0) as gateway, unbinding(smsc, gateway) as under_way:
        wait_until(lambda: len(smsc.bound) == 2)
        gateway.close()
        assert {each.result(5)[0] for each in under_way} <= {
            unavailable("connection", ambiguous=True), unavailable("timeout", ambiguous=True)
        }  # fmt: skip


def test_a_receipt_under_way_is_acknowledged_before_an_unbind_is(smsc):
    handed_in = threading.Event()

    class Slow(MemoryReceiptSink):
        def accept(self, *receipt):
            handed_in.wait(5)
            return super().accept(*receipt)

    with gateway_at(smsc, Slow()) as gateway:
        gateway.send(SHORT)
        smsc.deliver(deliver_body(RECEIPT % b"id-1"))
        smsc.bound[0].send(0x06, 0, 99)
        wait_until(lambda: len(smsc.binds) == 2)
        handed_in.set()
        wait_until(lambda: 0x80000006 in smsc.commands)

    assert smsc.commands.index(0x80000005) < smsc.commands.index(0x80000006)


def test_it_binds_again_when_the_smsc_shows_no_sign_of_life(smsc):
    smsc.alive = False
    with gateway_at(smsc, enquire_link=0.05, timeout=0.2) as gateway:
        gateway.open()
        wait_until(lambda: len(smsc.binds) == 2)
        smsc.alive = True
        wait_until(lambda: len(smsc.bound) == 1)
        asked, bound = smsc.commands.count(0x15), len(smsc.binds)
        wait_until(lambda: smsc.commands.count(0x15) > asked + 3)
        assert len(smsc.binds) == bound


def test_a_session_that_held_for_long_is_bound_again_at_once(smsc, monkeypatch):
    monkeypatch.setattr(smpp_connection, "STABLE_SESSION", 0.0)
    with gateway_at(smsc, rebind_after=60.0) as gateway:
        gateway.send(SHORT)
        smsc.bound[0].cut()
        wait_until(lambda: len(smsc.binds) == 2)


def test_a_session_that_lived_begins_the_delays_anew(smsc):
    smsc.bind_status = 0x0E
    with gateway_at(smsc, rebind_after=0.1, enquire_link=0.3) as gateway:
        gateway.open()
        wait_until(lambda: len(smsc.binds) == 5)
        smsc.bind_status = 0
        wait_until(lambda: 0x15 in smsc.commands, 10.0)
        smsc.bound[0].cut()
        lost = time.monotonic()
        wait_until(lambda: len(smsc.binds) == 7, 10.0)

    assert smsc.binds[-1][1] - lost < 1.6, "after 0.1 seconds, and not after 3.2"


def test_a_session_that_ends_at_once_is_tried_ever_more_seldom(smsc):
    with gateway_at(smsc, rebind_after=0.2) as gateway:
        gateway.open()
        for count in range(1, 4):
            wait_until(lambda: len(smsc.bound) == 1)
            smsc.bound[0].cut()
            wait_until(lambda count=count: len(smsc.binds) == count + 1)

    gaps = [later - earlier for (_, earlier, _), (_, later, _) in pairwise(smsc.binds)]
    assert gaps[1] >= 0.4
    assert gaps[2] >= 0.8


def test_it_shows_signs_of_life_itself(smsc):
    with gateway_at(smsc) as gateway:
        gateway.send(SHORT)
        smsc.bound[0].send(0x15, 0, 4_711)
        wait_until(lambda: 0x80000015 in smsc.commands)


@pytest.mark.parametrize(
    "octets", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0\0\0\x04" * 4], ids=["too long", "too short"]
)
def test_octets_that_are_no_smpp_end_the_session(smsc, octets):
    with gateway_at(smsc) as gateway:
        gateway.send(SHORT)
        smsc.bound[0].raw(octets)
        wait_until(lambda: len(smsc.binds) == 2)
        wait_until(lambda: isinstance(attempt(gateway, SHORT), Accepted))


def test_a_request_that_it_does_not_know_is_refused(smsc):
    with gateway_at(smsc) as gateway:
        gateway.send(SHORT)
        smsc.bound[0].send(0x0103, 0, 4_712, b"data_sm")
        wait_until(lambda: 0x80000000 in smsc.commands)
        assert gateway.send(SHORT).reference == "id-2"


def small(peer):
    for buffer in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        peer.setsockopt(socket.SOL_SOCKET, buffer, 262_144)
    return peer


def test_an_smsc_that_asks_and_reads_no_answers_is_not_read_either():
    asking, most, asked = struct.pack(">IIII", 16, 0x15, 0, 4_713) * 4_096, 300, []

    def ask(submit, _):
        submit.connection.socket.settimeout(0.5)
        with contextlib.suppress(OSError):
            while len(asked) < most:
                submit.connection.socket.sendall(asking)
                asked.append(1)
        return CUT

    with Smsc(small) as smsc, gateway_at(smsc, timeout=30.0) as gateway:
        smsc.answer = ask
        assert outcome_of(gateway)[0] == unavailable("connection", ambiguous=True)
    assert len(asked) < most


def test_closing_ends_the_waiting(smsc):
    smsc.answer = lambda *_: SILENT
    with gateway_at(smsc, timeout=30.0) as gateway, ThreadPoolExecutor(1) as threads:
        under_way = threads.submit(outcome_of, gateway)
        wait_until(lambda: smsc.submits)
        gateway.close()
        assert under_way.result(5)[0] == unavailable("connection", ambiguous=True)


# Answers


def test_all_parts_have_to_be_accepted_and_the_last_ones_id_is_the_reference(smsc):
    with gateway_at(smsc) as gateway:
        assert gateway.send(MESSAGE) == Accepted("id-2")
    assert len(smsc.submits) == 2


def test_nothing_more_is_submitted_when_the_first_part_is_refused(smsc):
    smsc.answer = lambda *_: (0x0B, "")
    with gateway_at(smsc) as gateway:
        assert outcome_of(gateway, MESSAGE)[0] == (FailureKind.DESTINATION, "ESME_RINVDSTADR", False)
    assert len(smsc.submits) == 1


def test_a_part_that_is_refused_after_another_was_accepted_is_ambiguous(smsc):
    smsc.answer = lambda _, number: (0, "first") if number == 1 else (0x45, "")
    with gateway_at(smsc) as gateway:
        assert outcome_of(gateway, MESSAGE)[0] == unavailable("ESME_RSUBMITFAIL", ambiguous=True)


def test_what_an_smsc_also_answers_because_of_a_number_is_about_the_message():
    statuses = {*FAILURES, 0x3FF, 0x400, 0x401, 0xFFFF_FFFF}

    assert {status for status in statuses if failure_of(status).message_specific} == {
        0x45, 0x64, 0xFE, 0x400, 0x401, 0xFFFF_FFFF,
    }  # fmt: skip
    assert {failure_of(status).kind for status in statuses if failure_of(status).message_specific} == {
        FailureKind.UNAVAILABLE
    }


def test_a_generic_nack_is_no_acceptance(smsc):
    smsc.answer = lambda submit, _: submit.connection.send(0x80000000, 3, submit.sequence)
    with gateway_at(smsc) as gateway:
        assert outcome_of(gateway)[0] == (FailureKind.ACCOUNT, "ESME_RINVCMDID", False)


@pytest.mark.parametrize("command", [0x80000000, 0x80000009, 0x80000021])
def test_an_answer_that_neither_accepts_nor_refuses_leaves_it_open_what_became_of_the_message(smsc, command):
    smsc.answer = lambda submit, _: submit.connection.send(command, 0, submit.sequence)
    with gateway_at(smsc) as gateway:
        assert outcome_of(gateway)[0] == unavailable("malformed answer", ambiguous=True)


def test_an_answer_that_comes_too_late_belongs_to_nobody_and_its_place_in_the_window_is_free_again(smsc):
    smsc.answer = lambda _, number: SILENT if number == 1 else (0, f"id-{number}")
    with gateway_at(smsc, window=2, timeout=0.4) as gateway, ThreadPoolExecutor(2) as threads:
        late = threads.submit(outcome_of, gateway)
        wait_until(lambda: smsc.submits)
        while not late.done():
            gateway.send(SHORT)
        assert late.result()[0] == unavailable("timeout", ambiguous=True)
        smsc._reply(smsc.submits[0], 0, "id-1")
        smsc.delay = 0.1
        assert "id-1" not in references(gateway, 2)

    assert smsc.most_outstanding == 2
    assert len(smsc.binds) == 1


def test_a_session_that_answers_no_submit_ends_though_it_shows_signs_of_life(smsc):
    smsc.answer = lambda *_: SILENT
    with gateway_at(smsc, timeout=0.3, enquire_link=0.05) as gateway:
        assert outcome_of(gateway)[0] == unavailable("timeout", ambiguous=True)
        wait_until(lambda: len(smsc.binds) == 2)


def test_a_text_that_cannot_be_written_is_rejected_without_a_word_of_it(smsc):
    with gateway_at(smsc) as gateway:
        failure = attempt(gateway, replace(SHORT, text="482913 \ud800"))

    assert (failure.kind, failure.provider_code) == (FailureKind.REJECTED, "message cannot be sent")
    assert failure.__context__ is None


# The window and the pace


def references(gateway, count, workers=64):
    with ThreadPoolExecutor(workers) as threads:
        return {accepted.reference for accepted in threads.map(lambda _: gateway.send(SHORT), range(count))}


def test_no_more_than_the_window_is_ever_without_an_answer(smsc):
    smsc.delay = 0.02
    with gateway_at(smsc, window=3) as gateway:
        assert len(references(gateway, 40)) == 40
    assert smsc.most_outstanding == 3


def test_what_finds_no_place_in_the_window_is_unavailable_in_time_and_only_what_was_written_is_ambiguous(smsc):
    smsc.delay = 0.3
    with gateway_at(smsc, window=1, timeout=0.5) as gateway, ThreadPoolExecutor(5) as threads:
        outcomes, seconds = zip(*threads.map(lambda _: outcome_of(gateway), range(5)), strict=True)

    written = outcomes.count("id-1") + outcomes.count(unavailable("timeout", ambiguous=True))
    assert 2 <= len(smsc.submits) == written
    assert written < len(outcomes)
    assert set(outcomes) <= {"id-1", *(unavailable("timeout", ambiguous=a) for a in (1, 0)), unavailable("window full")}
    assert max(seconds) < 1.5


def test_a_window_in_which_no_place_is_found_is_told(smsc):
    with gateway_at(smsc, window=1, timeout=0.3) as gateway:
        assert references(gateway, 1) == {"id-1"}
        (one,) = gateway._pool._submitting
        # Whoever has the place lets it go at its own deadline: which of two that come together is told first is chance.
        one._session.window = asyncio.Semaphore(0)
        assert outcome_of(gateway)[0] == unavailable("window full")


def test_an_smsc_that_is_overrun_is_left_alone_by_all_for_longer_and_longer(smsc):
    times = []

    def answer(_, number):
        times.append(time.monotonic())
        return (0x58, "") if number <= 2 else (0, f"id-{number}")

    smsc.answer = answer
    with gateway_at(smsc, timeout=5.0) as gateway:
        first = attempt(gateway, SHORT)
        assert first.kind is FailureKind.THROTTLED
        assert 0.2 < first.retry_after <= 0.25
        second = attempt(gateway, SHORT)
        assert second.kind is FailureKind.THROTTLED
        assert 0.4 < second.retry_after <= 0.5
        assert len(references(gateway, 8)) == 8

    assert times[1] - times[0] >= 0.24
    assert times[2] - times[1] >= 0.49
    assert not any(first.ambiguous for first in (first, second))


def test_a_hold_that_is_longer_than_the_timeout_is_not_waited_for(smsc):
    smsc.answer = lambda *_: (0x14, "")
    with gateway_at(smsc, timeout=0.2) as gateway:
        assert outcome_of(gateway)[0] == (FailureKind.THROTTLED, "ESME_RMSGQFUL", False)
        outcome, seconds = outcome_of(gateway)

    assert outcome == (FailureKind.THROTTLED, "held", False)
    assert seconds < 0.15
    assert len(smsc.submits) == 1


def test_a_hold_that_would_make_a_slow_call_is_told_instead_so_that_throttling_opens_no_breaker(smsc):
    smsc.answer = lambda *_: (0x58, "")
    with gateway_at(smsc, timeout=5.0, slow=0.2) as gateway:
        told = [attempt(gateway, SHORT).retry_after, attempt(gateway, SHORT).retry_after]

    assert len(smsc.submits) == 1
    assert 0.2 < told[1] < told[0] <= 0.25


def test_a_part_after_an_accepted_one_waits_for_the_end_of_a_hold_though_the_call_gets_slow(smsc):
    smsc.answer = lambda _, number: {1: SILENT, 2: (0x58, "")}.get(number, (0, "last"))
    with gateway_at(smsc, timeout=5.0, slow=0.1) as gateway, ThreadPoolExecutor(1) as threads:
        long = threads.submit(attempt, gateway, MESSAGE)
        wait_until(lambda: smsc.submits)
        assert attempt(gateway, SHORT).kind is FailureKind.THROTTLED
        smsc._reply(smsc.submits[0], 0, "first")
        assert long.result(5) == Accepted("last")


# What comes in


def test_receipts_are_handed_in_and_acknowledged(smsc):
    receipt_sink = MemoryReceiptSink()
    tlvs = tlv(0x001E, b"0A1B2C3D\0") + tlv(0x0427, b"\x05")
    with gateway_at(smsc, receipt_sink, receipt_ids="auto") as gateway:
        gateway.send(SHORT)
        assert smsc.delivered(deliver_body(RECEIPT % b"870928761"), deliver_body(tlvs=tlvs)) == [0, 0]

    (text, first), (parameters, second) = receipt_sink.receipts
    assert "33E95179" in text
    assert parameters[0] == "0A1B2C3D"
    assert [first.status, second.status] == [DeliveryStatus.DELIVERED, DeliveryStatus.UNDELIVERED]
    assert "code" not in f"{receipt_sink.receipts}"


def test_a_receipt_of_any_part_finds_the_message(smsc):
    receipt_sink = MemoryReceiptSink()
    failed = (RECEIPT % b"id-1").replace(b"DELIVRD", b"UNDELIV")
    with gateway_at(smsc, receipt_sink) as gateway:
        assert gateway.send(MESSAGE) == Accepted("id-2")
        smsc.delivered(*(deliver_body(text) for text in (RECEIPT % b"id-1", RECEIPT % b"id-2", failed)))

    assert [(references[0], receipt.status) for references, receipt in receipt_sink.receipts] == [
        ("id-2", DeliveryStatus.DELIVERED), ("id-2", DeliveryStatus.UNDELIVERED),
    ]  # fmt: skip


def test_a_receipt_is_not_lost_when_all_parts_have_one_id(smsc):
    smsc.answer = lambda *_: (0, "one")
    receipt_sink = MemoryReceiptSink()
    with gateway_at(smsc, receipt_sink) as gateway:
        assert gateway.send(MESSAGE).reference == "one"
        assert smsc.delivered(deliver_body(RECEIPT % b"one")) == [0]

    assert [(references[0], receipt.status) for references, receipt in receipt_sink.receipts] == [
        ("one", DeliveryStatus.DELIVERED)
    ]


def test_a_receipt_that_overtakes_the_answer_is_handed_in_before_it(smsc):
    receipt_sink = MemoryReceiptSink()

    def receipt_first(submit, _):
        smsc.deliver(deliver_body(RECEIPT % b"id-1"), submit.connection)
        return SILENT

    smsc.answer = receipt_first
    with gateway_at(smsc, receipt_sink) as gateway, ThreadPoolExecutor(1) as threads:
        sending = threads.submit(gateway.send, SHORT)
        wait_until(lambda: receipt_sink.receipts)
        assert not sending.done()
        smsc._reply(smsc.submits[0], 0, "id-1")
        assert sending.result(5).reference == receipt_sink.receipts[0][0][0] == "id-1"


def test_what_is_no_receipt_is_acknowledged_and_not_handed_in_as_one(smsc):
    receipt_sink = MemoryReceiptSink()
    odd = [deliver_body(b"STOP", esm_class=0), b"", b"\0\1", deliver_body(b"what?")]
    with gateway_at(smsc, receipt_sink) as gateway:
        gateway.send(SHORT)
        assert smsc.delivered(*odd) == [0, 0, 0, 0]
    assert receipt_sink.receipts == []


def test_a_failing_receipt_sink_costs_no_session(smsc):
    class FailingReceiptSink:
        def accept(self, *_):
            raise RuntimeError

    with gateway_at(smsc, FailingReceiptSink()) as gateway:
        gateway.send(SHORT)
        assert smsc.delivered(deliver_body(RECEIPT % b"id-1")) == [0]
        assert gateway.send(SHORT).reference == "id-2"
    assert len(smsc.binds) == 1


def test_a_receipt_that_was_not_taken_is_left_with_the_smsc(smsc):
    class ReceiptSinkWithoutRedis:
        def accept(self, *_):
            return False

    with gateway_at(smsc, ReceiptSinkWithoutRedis()) as gateway:
        gateway.send(SHORT)
        assert smsc.delivered(deliver_body(RECEIPT % b"id-1"), deliver_body(b"STOP", esm_class=0)) == [0x64, 0]
        assert gateway.send(SHORT).reference == "id-2"
    assert len(smsc.binds) == 1


def test_a_slow_receipt_sink_delays_no_submit_and_leaves_the_excess_to_the_smsc(smsc, monkeypatch):
    monkeypatch.setattr(protocol, "MAX_UNHANDLED", 2)
    ready = threading.Event()

    class SlowReceiptSink(MemoryReceiptSink):
        def accept(self, *receipt):
            ready.wait(5)
            return super().accept(*receipt)

    receipt_sink = SlowReceiptSink()
    with gateway_at(smsc, receipt_sink) as gateway:
        gateway.send(SHORT)
        for number in (b"1", b"2", b"3"):
            smsc.deliver(deliver_body(RECEIPT % number))
        wait_until(lambda: smsc.acks)
        assert gateway.send(SHORT).reference == "id-2"
        ready.set()
        wait_until(lambda: len(smsc.acks) == 3)

    assert [status for _, status in smsc.acks] == [0x64, 0, 0]
    assert [references[0] for references, _ in receipt_sink.receipts] == ["1", "2"]


def test_nothing_of_what_goes_over_the_line_is_logged_or_printed(smsc, caplog, capsys):
    leaks = LeakDetector(caplog, capsys)
    settings = SmppSettings.model_validate({"host": "127.0.0.1", "system_id": "shop-id", "password": "s3cret-9"})
    told = deliver_body(f"{MESSAGE.to} 482913".encode())
    with gateway_at(smsc, enquire_link=0.02) as gateway:
        gateway.send(MESSAGE)
        smsc.delivered(told, deliver_body(MESSAGE.text.encode("utf-16-be"), data_coding=8, esm_class=0))
        smsc.answer = lambda *_: CUT
        attempt(gateway, MESSAGE)
        wait_until(lambda: len(smsc.binds) >= 2 and smsc.bound)
        smsc.bound[-1].raw(MESSAGE.text.encode() * 3)
        wait_until(lambda: len(smsc.binds) >= 3)

    leaks.assert_no_log_gives_away(settings)
    leaks.assert_no_print_gives_away(settings)


# Settings


@pytest.mark.parametrize(
    "wrong",
    [
        {"system_id": ""},
        {"system_id": "naïve"},
        {"source": "a name too long"},
        {"host": "smpp://x"},
        {"host": "smsc.example:2775"},
        {"window": 0},
        {"source": " "},
    ],
)
def test_settings_that_cannot_work_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SmppSettings.model_validate({"host": "smsc.example", "system_id": "a", "password": "b", **wrong})


@pytest.mark.parametrize("host", ["smsc", "smsc.example", "192.0.2.1", "::1", "2001:db8::1", "fe80::1%eth0"])
def test_a_host_is_a_name_or_an_address_of_either_version(host):
    assert SmppSettings(host=host, system_id="a", password="b").host == host


@pytest.mark.parametrize("password", ["pässword-1", "line\n-break-1"])
def test_a_password_that_cannot_be_sent_is_refused_without_showing_it(password):
    with pytest.raises(ValueError, match="password") as refused:
        SmppSettings.model_validate({"host": "smsc.example", "system_id": "a", "password": password})

    assert password not in str(refused.value)
