"""The queues of the outbox: taken in turn, none for ever before another; and the door, which closes for one queue."""

from collections import Counter
from typing import Any

import pytest
from support_caller import PAYMENT, Caller
from support_frozen import FrozenValkey
from support_outbox import deliver_all, dispatched, jobs_of, queue, requeue, settle, waiting
from support_records import entries_of

from otp_service.bootstrap import Installation
from otp_service.domain.verification import DeliveryStatus
from otp_service.errors import BacklogFullError
from otp_service.services.context import Context
from otp_service.store import keys
from otp_service.store.outbox import DispatchResult, Dropped, Job, NextStep

STARTS = range(28)
"""Where the turns may begin: all that differ, with four applications at most."""
APPLICATION = {"purposes": ["login", "payment", "code"], "countries": ["PK"], "region": "PK", "client_ip": "none"}


@pytest.fixture
def installation(frozen: FrozenValkey) -> Installation:
    return frozen.world().install(
        limits={"number": ["100000/hour"], "application": []},
        purposes={"login": {"resend_delays": [0], "max_sends": 10}, "code": {"ttl": 60, "channels": ["sms"]}},
        applications=dict.fromkeys(("shop", "bank", "club"), APPLICATION),
    )


@pytest.fixture
def context(installation: Installation) -> Context:
    return installation.context


@pytest.fixture
def shop(installation: Installation) -> Caller:
    return Caller(installation)


@pytest.fixture
def bank(installation: Installation) -> Caller:
    return Caller(installation, "bank")


def _logins(caller: Caller, count: int) -> None:
    for _ in range(count):
        caller.start()


def _payments(caller: Caller, count: int) -> None:
    for _ in range(count):
        caller.start(purpose="payment", transaction=PAYMENT)


def _retries(caller: Caller, count: int) -> None:
    """Queue messages that were tried before, while nothing else waits."""
    _logins(caller, count)
    for job in jobs_of(caller.context, count=count):
        settle(caller.context, job, Dropped("gone"), DispatchResult(NextStep.RETRY))
    requeue(caller.context, "shop", "bank")


def _messages_of_each_kind(caller: Caller, count: int) -> None:
    """Queue ``count`` retries, as many payments and as many logins."""
    _retries(caller, count)
    _payments(caller, count)
    _logins(caller, count)


def _take(context: Context, count: int, start: int, monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """Take jobs; the turns begin at ``start`` in place of a random one."""
    monkeypatch.setattr("secrets.randbelow", lambda _: start)
    return jobs_of(context, count=count)


def _kinds(jobs: list[Job]) -> Counter[str]:
    return Counter(job.queue.split(":")[3] for job in jobs)


@pytest.mark.parametrize("start", STARTS)
def test_of_seven_turns_four_are_payments_two_logins_and_one_a_retry(
    frozen: FrozenValkey, shop: Caller, context: Context, monkeypatch: pytest.MonkeyPatch, start: int
) -> None:
    _messages_of_each_kind(shop, 9)

    assert _kinds(_take(context, 7, start, monkeypatch)) == {"transaction": 4, "possession": 2, "retry": 1}


def test_of_single_turns_each_kind_gets_its_share(
    frozen: FrozenValkey, shop: Caller, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that has one thread free takes one message: where the turns begin is another place each time."""
    _messages_of_each_kind(shop, 30)
    taken = [job for start in STARTS for job in _take(context, 1, start, monkeypatch)]

    assert _kinds(taken) == {"transaction": 16, "possession": 8, "retry": 4}


def test_the_turns_begin_by_lot(shop: Caller, context: Context) -> None:
    _messages_of_each_kind(shop, 100)
    taken = Counter[str]()
    for _ in range(100):
        taken += _kinds(jobs_of(context, count=1))

    assert taken.keys() == {"transaction", "possession", "retry"}
    assert taken["transaction"] > taken["retry"]


@pytest.mark.parametrize("start", range(7))
def test_the_turns_of_what_is_not_there_go_to_what_is(
    shop: Caller, context: Context, monkeypatch: pytest.MonkeyPatch, start: int
) -> None:
    _logins(shop, 5)
    _payments(shop, 1)

    assert _kinds(_take(context, 9, start, monkeypatch)) == {"transaction": 1, "possession": 5}


@pytest.mark.parametrize("flooding", ["shop", "bank"])
@pytest.mark.parametrize("start", STARTS)
def test_a_flood_of_one_application_delays_no_other(
    installation: Installation, context: Context, monkeypatch: pytest.MonkeyPatch, start: int, flooding: str
) -> None:
    other = {"shop": "bank", "bank": "shop"}[flooding]
    _logins(Caller(installation, flooding), 50)
    _logins(Caller(installation, other), 2)
    jobs = _take(context, 4, start, monkeypatch)

    assert Counter(job.application for job in jobs) == {flooding: 2, other: 2}


def test_of_single_turns_each_application_gets_its_share(
    shop: Caller, bank: Caller, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    _logins(shop, 30)
    _logins(bank, 30)
    taken = [job for start in STARTS for job in _take(context, 1, start, monkeypatch)]

    assert Counter(job.application for job in taken) == {"shop": 14, "bank": 14}


def test_of_single_turns_each_of_seven_applications_gets_as_many_payments_turns(
    frozen: FrozenValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many queues as there are turns in a round: none of them may always meet the turns of another kind."""
    names = [f"shop-{place}" for place in range(7)]
    installation = frozen.world().install(
        limits={"number": ["100000/hour"], "application": []},
        applications={name: {**APPLICATION, "purposes": ["login", "payment"]} for name in names},
    )
    callers = [Caller(installation, name) for name in names]
    _retries(callers[0], 10)
    for caller in callers:
        _payments(caller, 8)
        _logins(caller, 8)
    taken = [job for start in range(49) for job in _take(installation.context, 1, start, monkeypatch)]
    payments = Counter(job.application for job in taken if _kinds([job]) == {"transaction": 1})

    assert payments == dict.fromkeys(names, 4)


@pytest.mark.parametrize("start", STARTS)
def test_a_flood_of_logins_delays_no_payment_of_anybody(
    shop: Caller, bank: Caller, context: Context, monkeypatch: pytest.MonkeyPatch, start: int
) -> None:
    _logins(shop, 50)
    _payments(bank, 1)
    jobs = _take(context, 3, start, monkeypatch)

    assert _kinds(jobs)["transaction"] == 1


@pytest.mark.parametrize("start", STARTS)
def test_retries_of_one_application_do_not_delay_anothers(
    shop: Caller, bank: Caller, context: Context, monkeypatch: pytest.MonkeyPatch, start: int
) -> None:
    _retries(shop, 30)
    _retries(bank, 1)

    assert "bank" in {job.application for job in _take(context, 2, start, monkeypatch)}


def test_within_a_queue_the_first_comes_first(shop: Caller, context: Context) -> None:
    ids = [shop.start() for _ in range(20)]

    assert [job.id for _ in range(20) for job in jobs_of(context, count=1)] == ids


def test_a_queue_whose_application_has_left_the_configuration_is_served(
    frozen: FrozenValkey, shop: Caller, context: Context
) -> None:
    one = shop.start()

    assert [job.id for job in context.store.outbox.take("worker", 9)] == [one]


def test_a_worker_that_waits_gets_what_comes_next_from_any_queue(shop: Caller, bank: Caller, context: Context) -> None:
    assert jobs_of(context) == []
    ids = {shop.start(), bank.start(purpose="payment", transaction=PAYMENT)}
    shop.start()
    context.store.outbox.wait(1)

    assert ids < {job.id for job in jobs_of(context)}


def test_what_a_dead_worker_held_is_claimed_from_every_queue(
    frozen: FrozenValkey, shop: Caller, bank: Caller, context: Context
) -> None:
    _retries(shop, 1)
    _payments(bank, 1)
    _logins(bank, 1)
    held = {job.id for job in jobs_of(context, "dead")}
    frozen.advance(15)

    assert len(held) == 3
    assert {job.id for job in context.store.outbox.claim("heir", 9, 15_000)} == held


def test_a_worker_that_died_is_forgotten_once_it_holds_nothing(
    frozen: FrozenValkey, shop: Caller, context: Context
) -> None:
    _logins(shop, 2)
    jobs_of(context, "holder", count=1)
    (done,) = jobs_of(context, "idle", count=1)
    settle(context, done, Dropped("gone"), DispatchResult(NextStep.DONE))
    frozen.advance(3600)
    jobs_of(context, "alive")
    frozen.advance(1)
    context.store.outbox.sweep(3_600_000)

    consumers = {one["name"] for one in frozen.client.xinfo_consumers(queue(), "workers")}
    assert consumers == {b"alive", b"holder"}, "what it holds is claimed first"


def _refuses(act: Any) -> bool:
    try:
        act()
    except BacklogFullError:
        return True
    return False


def test_the_door_closes_when_the_oldest_has_waited_for_most_of_what_a_code_lives(
    frozen: FrozenValkey, shop: Caller
) -> None:
    """What is queued behind it would arrive with less than a quarter of its life left to read and type it."""
    shop.start(purpose="code")
    frozen.advance(44.999)
    assert not _refuses(lambda: shop.start(purpose="code"))
    frozen.advance(0.001)

    assert _refuses(lambda: shop.start(purpose="code"))
    assert not _refuses(shop.start), "a code that lives for five minutes may still arrive in time"


def _codes(shop: Caller, count: int) -> None:
    for _ in range(count):
        shop.start(purpose="code")


def _send(context: Context, jobs: list[Job]) -> None:
    for job in jobs:
        settle(context, job, Dropped("gone"), DispatchResult(NextStep.DONE))


def test_the_door_closes_when_more_wait_than_leave_in_time(
    frozen: FrozenValkey, shop: Caller, context: Context
) -> None:
    """At the pace of those that have left since the oldest one came."""
    _codes(shop, 100)
    frozen.advance(10)
    _send(context, jobs_of(context, count=20))
    _codes(shop, 9)
    assert not _refuses(lambda: shop.start(purpose="code")), "89 take 44.5 seconds"

    assert _refuses(lambda: shop.start(purpose="code")), "90 take 45"


def test_one_that_is_stuck_while_others_pass_it_closes_nothing(
    frozen: FrozenValkey, shop: Caller, context: Context
) -> None:
    _codes(shop, 3)
    _send(context, jobs_of(context, count=2))
    jobs_of(context, "stuck")
    for _ in range(40):
        _codes(shop, 10)
        frozen.advance(1)
        _send(context, jobs_of(context))
    _codes(shop, 40)

    assert not _refuses(lambda: shop.start(purpose="code"))


def test_of_a_few_messages_nobody_knows_the_pace(frozen: FrozenValkey, shop: Caller, context: Context) -> None:
    _codes(shop, 19)
    frozen.advance(5)
    _send(context, jobs_of(context, count=1))

    assert not _refuses(lambda: shop.start(purpose="code")), "18 at one in five seconds would take 90"


def test_of_a_few_messages_five_that_left_are_no_pace(frozen: FrozenValkey, shop: Caller, context: Context) -> None:
    _codes(shop, 19)
    frozen.advance(20)
    _send(context, jobs_of(context, count=5))

    assert not _refuses(lambda: shop.start(purpose="code")), "14 at five in twenty seconds would take 56"


def test_a_few_that_left_are_no_pace(frozen: FrozenValkey, shop: Caller, context: Context) -> None:
    """During an outage one leaves now and then, to rest; all of them go once a gateway is back."""
    _codes(shop, 40)
    frozen.advance(10)
    _send(context, jobs_of(context, count=4))
    assert not _refuses(lambda: shop.start(purpose="code")), "36 at four in ten seconds would take 90"

    _send(context, jobs_of(context, count=1))
    assert _refuses(lambda: shop.start(purpose="code"))


def test_the_pace_is_that_since_the_oldest_came(frozen: FrozenValkey, shop: Caller, context: Context) -> None:
    for count in (25, 15):
        _codes(shop, count)
        frozen.advance(8)
    _send(context, jobs_of(context, count=10))

    assert _refuses(lambda: shop.start(purpose="code")), "30 at ten in sixteen seconds take 48"


def test_those_that_left_before_the_oldest_came_are_no_pace(
    frozen: FrozenValkey, shop: Caller, context: Context
) -> None:
    _codes(shop, 30)
    _send(context, jobs_of(context, count=30))
    _codes(shop, 40)
    frozen.advance(10)
    _send(context, jobs_of(context, count=5))

    assert _refuses(lambda: shop.start(purpose="code")), "35 at five in ten seconds take 70"


def test_jobs_of_an_earlier_release_do_not_tell_the_pace(frozen: FrozenValkey, shop: Caller) -> None:
    for _ in range(25):
        frozen.client.xadd(queue(), {"v": "1"})
    frozen.advance(10)

    assert not _refuses(lambda: shop.start(purpose="code"))


def test_what_was_tried_before_counts_from_where_it_stands_now(
    frozen: FrozenValkey, shop: Caller, context: Context
) -> None:
    _logins(shop, 1)
    _send(context, jobs_of(context))
    _logins(shop, 3)
    _, *later = jobs_of(context)
    for job in later:
        settle(context, job, dispatched(context, job), DispatchResult(NextStep.RETRY, DeliveryStatus.FAILED))
    requeue(context)
    entries = entries_of(frozen.client, queue(kind="retry"))

    assert [one["gone"] for one in entries] == ["0", "0"]


def test_the_door_closes_for_a_resend_whose_code_ends_sooner(frozen: FrozenValkey, shop: Caller) -> None:
    one = shop.start()
    frozen.advance(128.571)  # three quarters of what is left then
    assert not _refuses(lambda: shop.resend(one))
    frozen.advance(0.001)

    assert _refuses(lambda: shop.resend(one))
    assert not _refuses(shop.start)


def test_the_door_of_one_queue_leaves_those_of_others_open(frozen: FrozenValkey, shop: Caller, bank: Caller) -> None:
    shop.start()
    frozen.advance(300)

    assert _refuses(shop.start)
    assert not _refuses(lambda: shop.start(purpose="payment", transaction=PAYMENT))
    assert not _refuses(bank.start)


def test_the_door_opens_as_soon_as_the_backlog_is_gone(frozen: FrozenValkey, shop: Caller, context: Context) -> None:
    shop.start()
    frozen.advance(300)
    assert _refuses(shop.start)
    deliver_all(context)

    assert not _refuses(shop.start)
    assert waiting(frozen.client) == 1


def test_retries_do_not_close_the_door(frozen: FrozenValkey, shop: Caller) -> None:
    _retries(shop, 3)
    frozen.advance(301)

    assert not _refuses(shop.start)


def test_each_bucket_of_numbers_has_queues_of_its_own(frozen: FrozenValkey) -> None:
    shop = Caller(frozen.world().install(keys={"buckets": 4}))
    ids = {shop.start(f"+923001{place:02d}4567") for place in range(64)}
    taken = jobs_of(shop.context)

    assert {job.id for job in taken} == ids
    assert {job.queue for job in taken} == {
        keys.queue(bucket, "possession", "shop", "PK", "sms") for bucket in ("00", "01", "02", "03")
    }


def _come(frozen: FrozenValkey, shop: Caller, context: Context, seconds: float, leave: int = 0) -> list[bool]:
    """Let ten come each second, and as many leave after each; return which of them found the door closed."""
    closed = []
    for _ in range(round(10 * seconds)):
        closed.append(_refuses(lambda: shop.start(purpose="code")))
        _send(context, jobs_of(context, count=leave) if leave else [])
        frozen.advance(0.1)
    return closed


@pytest.mark.parametrize("pause", [8, 30])
@pytest.mark.parametrize("pace", [1, 2, 7])
def test_a_worker_that_begins_after_a_pause_closes_no_door(
    frozen: FrozenValkey, shop: Caller, context: Context, pause: int, pace: int
) -> None:
    """What was before it began tells nothing of its pace."""
    assert not any(_come(frozen, shop, context, pause))

    assert not any(_come(frozen, shop, context, 10, pace))


def test_a_worker_that_begins_and_is_too_slow_closes_the_door(
    frozen: FrozenValkey, shop: Caller, context: Context
) -> None:
    """Five a second: 300 that wait take a minute."""
    _come(frozen, shop, context, 30)
    closed = []
    for _ in range(30):
        closed += _come(frozen, shop, context, 0.1)
        closed += _come(frozen, shop, context, 0.1, 1)

    assert not any(closed[:10]), "it has just begun"
    assert all(closed[-10:])


def test_a_few_that_left_in_the_last_second_are_no_new_pace(
    frozen: FrozenValkey, shop: Caller, context: Context
) -> None:
    """Ten in half a minute are too slow, and two more do not show that a worker has begun."""
    _come(frozen, shop, context, 24)
    _send(context, jobs_of(context, count=10))
    _come(frozen, shop, context, 6)
    _send(context, jobs_of(context, count=2))

    assert _refuses(lambda: shop.start(purpose="code"))
