"""The smpp gateway against an SMPP server that others wrote, with its own reading of the specification."""

import asyncio
import contextlib
import threading
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import pytest
from support_smpp import MESSAGE, attempt, gateway_at, other_library
from support_smsc import wait_until
from support_valkey import free_port

from otp_service.domain.verification import DeliveryStatus
from otp_service.gateways.base import Accepted, FailureKind
from otp_service.testing.provider import MemoryReceiptSink

URDU = "ایکمے شاپ: آپ کا کوڈ 482913 ہے۔ یہ 5 منٹ تک کارآمد ہے۔ کسی کو نہ بتائیں، ہمارا عملہ کبھی نہیں پوچھے گا۔"
ENGLISH = "Acme Shop: to pay PKR 1,500.00 to Daraz from account 4821 enter 482913. Never share it with anybody. " * 4


class Smsc:
    """``smpp34.Server`` in a thread; it accepts all messages in a row, or throttles them."""

    def __init__(self, smpp34):
        self.port, self._smpp34 = free_port(), smpp34
        self.sessions, self.submits, self.ended = [], [], []
        self.throttle = False
        self.receipts = ()
        """Made of each message's id: keyword arguments of a ``deliver_sm``."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def start(self):
        self._server = self._smpp34.Server("127.0.0.1", self.port, system_id="SMSC")
        self._run(self._server.start)
        self._serving = asyncio.run_coroutine_threadsafe(self._serve(self._server), self._loop)

    def stop(self):
        self._serving.cancel()
        self._run(self._server.stop)

    def close(self):
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, call):
        async def called():
            await call()

        asyncio.run_coroutine_threadsafe(called(), self._loop).result(5)

    async def _serve(self, server):
        while True:
            event = await server.next()
            if isinstance(event, self._smpp34.Esme):
                self.sessions.append(event)
            elif isinstance(event, self._smpp34.Unbound):
                self.ended.append(event.session_id)
            else:
                await self._take(event)

    async def _take(self, submit):
        names = ("data_coding", "esm_class", "registered_delivery", "short_message", "destination_addr", "source_addr")
        self.submits.append(SimpleNamespace(**{name: getattr(submit, name) for name in names}))
        if self.throttle:
            submit.reject(self._smpp34.ESME_RTHROTTLED)
            return
        submit.accept(f"0A{len(self.submits):06X}")
        for receipt in self.receipts:
            members = {"source_addr": submit.destination_addr, "destination_addr": submit.source_addr}
            await self.sessions[-1].deliver_sm(**members, **receipt(len(self.submits)))


@pytest.fixture
def smsc():
    smsc = Smsc(other_library())
    smsc.start()
    yield smsc
    with contextlib.suppress(Exception):
        smsc.stop()
    smsc.close()


@pytest.mark.parametrize(("text", "codec", "coding", "count"), [(URDU, "utf-16-be", 8, 2), (ENGLISH, "ascii", 0, 3)])
def test_a_long_text_arrives_whole(smsc, text, codec, coding, count):
    with gateway_at(smsc) as gateway:
        assert gateway.send(replace(MESSAGE, text=text)) == Accepted(f"0A{count:06X}")

    parts = defaultdict(dict)
    for submit in smsc.submits:
        assert (submit.data_coding, submit.esm_class, submit.registered_delivery) == (coding, 0x40, 1)
        assert (submit.source_addr, submit.destination_addr) == ("Acme", MESSAGE.to.removeprefix("+"))
        parts[submit.short_message[:5]][submit.short_message[5]] = submit.short_message[6:]
    (message,) = parts.values()
    assert len(message) == count
    assert b"".join(message[position] for position in sorted(message)).decode(codec) == text


def test_it_submits_for_many_threads_at_once_and_unbinds(smsc):
    with gateway_at(smsc, window=20) as gateway, ThreadPoolExecutor(64) as threads:
        references = set(threads.map(lambda _: gateway.send(replace(MESSAGE, text="482913")).reference, range(300)))
        gateway.close()
        wait_until(lambda: smsc.ended)

    assert len(references) == 300


def test_receipts_by_text_and_by_parameters_come_back(smsc):
    tlv = other_library().Tlv
    smsc.receipts = (
        lambda number: {
            "esm_class": 4,
            "short_message": b"id:%d stat:ENROUTE err:000 text:482913" % (0x0A000000 + number),
        },
        lambda number: {"esm_class": 4, "tlvs": [tlv(0x001E, b"0A%06X\0" % number), tlv(0x0427, b"\2")]},
    )
    receipt_sink = MemoryReceiptSink()
    with gateway_at(smsc, receipt_sink, receipt_ids="auto") as gateway:
        reference = gateway.send(replace(MESSAGE, text="482913")).reference
        wait_until(lambda: len(receipt_sink.receipts) == 2)

    assert all(reference in references for references, _ in receipt_sink.receipts)
    assert [receipt.status for _, receipt in receipt_sink.receipts] == [DeliveryStatus.SENT, DeliveryStatus.DELIVERED]


def test_throttling_is_told_and_passes(smsc):
    smsc.throttle = True
    with gateway_at(smsc) as gateway:
        failure = attempt(gateway, MESSAGE)
        smsc.throttle = False
        assert (failure.kind, failure.provider_code) == (FailureKind.THROTTLED, "ESME_RTHROTTLED")
        assert isinstance(gateway.send(MESSAGE), Accepted)


def test_it_leaves_a_server_that_only_seems_to_live_and_binds_again_to_the_next(smsc):
    """Stopped, the server keeps its sessions and answers ``enquire_link``, but nobody takes the messages."""
    with gateway_at(smsc, timeout=0.5) as gateway:
        gateway.send(MESSAGE)
        smsc.stop()
        lost = attempt(gateway, MESSAGE)
        assert (lost.kind, lost.provider_code, lost.ambiguous) == (FailureKind.UNAVAILABLE, "timeout", True)
        smsc.start()
        wait_until(lambda: isinstance(attempt(gateway, MESSAGE), Accepted))
    assert len(smsc.sessions) == 2
