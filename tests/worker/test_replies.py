"""A worker sends the replies that wait, each once, and a gateway that fails holds up no message."""

import threading
from dataclasses import replace

import pytest
from support_caller import Caller
from support_installation import NUMBER, World
from support_outbox import Scripted
from support_service import eventually
from support_worker import Journal, working

from otp_service.bootstrap import prepare
from otp_service.domain.inbound import Meaning
from otp_service.gateways.base import Accepted
from otp_service.services.inbound import BATCH_SIZE, Reply, queue_reply, send_replies
from otp_service.store import keys

REPLY = Reply("sandbox", "shop", NUMBER, "sms", "en", Meaning.STOP)
TEXT = "You get no more messages from Acme Shop. Send START to get them again."


@pytest.fixture
def shop(world: World) -> Caller:
    return Caller(world.install())


def texts(journal: Journal) -> list[str]:
    return [one.message.text for one in journal.served]


def test_of_two_running_workers_one_sends_what_waits(world):
    journal, installation = Journal(), world.install()
    queue_reply(installation.context, REPLY)
    with working(installation, installation, sandbox=journal):
        eventually(lambda: journal.served)

    assert texts(journal) == [TEXT]
    (message,) = [one.message for one in journal.served]
    assert (message.to, message.channel, message.receipt_url, message.application) == (NUMBER, "sms", None, "shop")
    assert message.variables == {"brand": "Acme Shop"}


def test_while_a_reply_hangs_codes_go_out(world):
    hanging, entered = threading.Event(), threading.Event()

    class Hangs(Scripted):
        def send(self, message):
            if message.text == TEXT:
                entered.set()
                hanging.wait(20)
            return Accepted(message.dispatch_id)

    installation = world.install()
    prepare(installation)
    caller = Caller(installation)
    try:
        with working(installation, sandbox=Hangs()):
            queue_reply(installation.context, REPLY)
            assert entered.wait(10)
            one = caller.start()
            eventually(lambda: caller.read(one).verification.deliveries[0].status == "sent")
            hanging.set()
    finally:
        hanging.set()


def test_what_waits_is_sealed_and_goes_by_itself(shop):
    queue_reply(shop.context, REPLY)
    client = shop.context.store.replies._client
    (entry,) = client.lrange(keys.REPLIES, 0, -1)

    assert b"3001234567" not in entry
    assert b"more messages" not in entry
    assert 0 < client.ttl(keys.REPLIES) <= 600


def test_what_waited_too_long_goes_although_others_are_fresh(still_world):
    context = still_world.install().context
    queue_reply(context, REPLY)
    still_world.advance(500)
    queue_reply(context, replace(REPLY, meaning=Meaning.HELP))
    still_world.advance(101)

    assert send_replies(context) == 1
    (caught,) = context.store.mailbox.messages("shop", None)
    assert "sends a code" in caught.text


def test_a_worker_that_is_asked_to_stop_begins_no_other_reply(shop):
    for _ in range(3):
        queue_reply(shop.context, REPLY)

    assert send_replies(shop.context, iter([False, True]).__next__) == 1
    assert send_replies(shop.context) == 2
    assert BATCH_SIZE > 2


@pytest.mark.parametrize(
    "reply",
    [
        Reply("gone", "shop", NUMBER, "sms", "en", Meaning.STOP),
        Reply("sandbox", "gone", NUMBER, "sms", "en", Meaning.STOP),
        Reply("sandbox", "shop", NUMBER, "pigeon", "en", Meaning.STOP),
    ],
)
def test_a_reply_whose_gateway_or_application_is_gone_is_dropped(shop, reply):
    queue_reply(shop.context, reply)

    assert send_replies(shop.context) == 1
    assert shop.context.store.mailbox.messages("shop", None) == []
    assert send_replies(shop.context) == 0


def test_a_reply_that_a_retired_key_sealed_is_dropped(world, shop):
    queue_reply(shop.context, REPLY)
    other = world.install()

    assert send_replies(other.context) == 1
    assert other.context.store.mailbox.messages("shop", None) == []


def test_of_too_many_replies_the_oldest_go(shop, monkeypatch):
    monkeypatch.setattr("otp_service.store.outbox.MAX_WAITING_REPLIES", 2)
    for application in ("one", "two", "three"):
        queue_reply(shop.context, Reply("sandbox", application, NUMBER, "sms", "en", Meaning.STOP))
    taken = [shop.context.store.replies.take() for _ in range(3)]

    assert [entry.split(b" ")[1] if entry else None for entry in taken] == [b"two", b"three", None]
