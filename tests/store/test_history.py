"""What is remembered beyond records: a number's last verifications, and the events of some of them."""

import pytest
from support_caller import Caller
from support_frozen import START, FrozenValkey
from support_installation import NUMBER
from support_outbox import BUCKET, EVENTS, Scripted, Sender, jobs_of

from otp_service.store import keys
from otp_service.store.events import EVENT_SPAN, History, RecentVerification
from otp_service.store.script_runner import ScriptRunner

DAY = 86_400


@pytest.fixture
def shop(frozen: FrozenValkey) -> Caller:
    return Caller(frozen.world().install(limits={"number": ["1000/hour"]}))


def history(frozen: FrozenValkey, *, page: int = 1000, most: int = 200) -> History:
    return History(frozen.client, ScriptRunner(frozen.client), (BUCKET,), page=page, max_pages=most)


def handed_over(shop: Caller) -> str:
    """Start a verification and deliver its message, so that nothing waits: two events."""
    one = shop.start()
    Sender(shop, sandbox=Scripted()).deliver()
    return one


def recent(shop: Caller, number: str = NUMBER) -> tuple[RecentVerification, ...]:
    return shop.context.store.history.recent(BUCKET, shop.context.keyring.pseudonym(number))


def test_a_number_s_verifications_are_remembered_for_as_long_as_the_events(frozen: FrozenValkey, shop: Caller) -> None:
    one = shop.start()
    frozen.advance(7 * DAY)
    assert recent(shop) == (RecentVerification(one, START),)

    frozen.advance(0.001)
    assert recent(shop) == ()


def test_only_the_last_twenty_are_remembered(shop: Caller) -> None:
    ids = [shop.start() for _ in range(21)]

    assert [one.id for one in recent(shop)] == ids[:0:-1]


def test_a_number_is_remembered_by_its_pseudonym_only(frozen: FrozenValkey, shop: Caller) -> None:
    shop.start()
    pseudonym = shop.context.keyring.pseudonym(NUMBER)

    assert NUMBER[-7:] not in keys.number(BUCKET, pseudonym)
    assert NUMBER[-7:].encode() not in frozen.client.get(keys.number(BUCKET, pseudonym))


def test_the_events_of_those_asked_for_are_told_in_order(frozen: FrozenValkey, shop: Caller) -> None:
    one, _other = shop.start(), shop.start()
    frozen.advance(2)
    shop.cancel(one)
    past = shop.context.store.history.events_of(BUCKET, {one: START})

    assert [(event.type, event.at) for event in past.of(one)] == [
        ("verification.started", START),
        ("verification.canceled", START + 2000),
    ]
    assert list(past.events) == [one]
    assert past.complete


@pytest.mark.parametrize("page", [1, 2, 3, 100])
def test_events_are_read_to_the_end_page_by_page(frozen: FrozenValkey, shop: Caller, page: int) -> None:
    ids = [shop.start() for _ in range(6)]
    past = history(frozen, page=page).events_of(BUCKET, dict.fromkeys(ids, START))

    assert [len(past.of(one)) for one in ids] == [1] * 6
    assert past.complete


def test_events_are_read_only_where_they_can_be(frozen: FrozenValkey, shop: Caller) -> None:
    """Three days apart: what happened between them is not read."""
    first = handed_over(shop)
    for _ in range(10):
        frozen.advance(7200)
        handed_over(shop)
    frozen.advance(2 * DAY)
    last = handed_over(shop)
    past = history(frozen, page=10, most=3).events_of(BUCKET, {first: START, last: frozen.now})

    assert (len(past.of(first)), len(past.of(last)), past.complete) == (2, 2, True)


def test_a_busy_stream_is_not_read_without_end_and_the_newest_comes_first(frozen: FrozenValkey, shop: Caller) -> None:
    first = handed_over(shop)
    frozen.advance(EVENT_SPAN / 1000 + 1)
    last = handed_over(shop)
    past = history(frozen, page=1, most=1).events_of(BUCKET, {first: START, last: frozen.now})

    assert (past.of(first), len(past.of(last)), past.complete) == ((), 1, False)


def test_an_event_of_a_later_release_is_read(frozen: FrozenValkey, shop: Caller) -> None:
    one = shop.start()
    frozen.client.xadd(EVENTS, {b"id": one.encode(), b"type": b"new.kind", b"odd": b"\xff"})
    past = shop.context.store.history.events_of(BUCKET, {one: START})

    assert [event.type for event in past.of(one)] == ["verification.started", "new.kind"]
    assert past.of(one)[1].member("odd") == "�"
    assert past.of(one)[1].member("missing") == ""


def test_an_event_that_only_mentions_a_verification_is_not_taken_for_its_own(
    frozen: FrozenValkey, shop: Caller
) -> None:
    one = shop.start()
    frozen.client.xadd(EVENTS, {b"id": b"vf_other", b"type": b"new.kind", b"after": one.encode()})
    past = shop.context.store.history.events_of(BUCKET, {one: START})

    assert [event.type for event in past.of(one)] == ["verification.started"]


def test_what_waits_is_counted_by_application(frozen: FrozenValkey, shop: Caller) -> None:
    bank = Caller(frozen.world().install(limits={"number": ["1000/hour"]}), "bank")
    for _ in range(3):
        shop.start()
    bank.start()
    jobs_of(shop.context, count=1)

    assert shop.context.store.history.waiting_messages() == {"shop": 3, "bank": 1}
