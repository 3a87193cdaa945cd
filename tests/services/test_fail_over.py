"""What follows a call that failed: another gateway, another channel, a rest, or the end, by the kind of the failure."""

from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs
from support_caller import Caller
from support_installation import World
from support_outbox import (
    DELAYED,
    Scripted,
    Sender,
    choices,
    dispatched,
    jobs_of,
    letters,
    next_retry,
    paced,
    pending,
    refused,
    story,
    timed_out,
)  # fmt: skip

from otp_service.domain.keyring import new_dispatch_id
from otp_service.domain.routing import BreakerState, CallResult
from otp_service.domain.verification import DeliveryStatus
from otp_service.services.delivery import MAX_DEFER, RetryPolicy
from otp_service.telemetry import metrics
from otp_service.worker.jobs import DeferredJobs

GATEWAYS = {name: {"kind": "sandbox"} for name in ("first", "second")}


@pytest.fixture
def shop(still_world: World) -> Caller:
    return _shop(still_world)


def _shop(world: World, **sections: Any) -> Caller:
    base = {
        "gateways": GATEWAYS,
        "limits": {"number": ["1000/hour"]},
        "purposes": {"login": {"channels": ["sms", "voice"], "resend_delays": [0], "max_sends": 10}},
    }
    chosen = {**base, **sections}
    return Caller(world.install(**{"routes": [{"gateways": list(chosen["gateways"])}], **chosen}))


def _policy(**members: Any) -> RetryPolicy:
    return RetryPolicy(**{"max_ambiguous": 1, "backoff": (1.0, 5.0), **members})


@pytest.mark.parametrize("kind", ["unavailable", "error", "throttled", "account"])
def test_another_gateway_is_called_at_once(still_world: World, shop: Caller, kind: str):
    sender = Sender(shop, first=Scripted(refused(kind)), second=Scripted())
    one = shop.start()
    sender.deliver()

    assert story(shop, one) == [
        (1, 1, "first", "failed", f"{kind} http 503"),
        (1, 2, "second", "sent", None),
    ]
    assert choices(shop, one) == [("first", "configured"), ("second", "fail_over")]
    assert letters(still_world.client) == []


@pytest.mark.parametrize("kind", ["destination", "rejected", "fraud"])
def test_nobody_else_is_called_and_the_reason_is_kept(still_world: World, shop: Caller, kind: str):
    sender = Sender(shop, first=Scripted(refused(kind, "21211")), second=Scripted())
    one = shop.start()
    sender.deliver()
    still_world.advance(60)
    sender.deliver()

    assert sender.sent() == ["first"]
    assert story(shop, one) == [(1, 1, "first", "failed", f"{kind} 21211")]
    assert letters(still_world.client) == [f"{kind} 21211"]
    assert shop.read(one).verification.status == "pending"
    assert shop.check(one, shop.code(one))[1], "a message may have arrived all the same"


def test_the_channel_changes_when_it_does_not_reach_the_number(shop: Caller):
    sender = Sender(shop, first=Scripted(refused("channel", "21614")), second=Scripted())
    one = shop.start()
    sender.deliver()
    sender.deliver()
    first, second = sender.gateways["first"].sent

    assert story(shop, one) == [
        (1, 1, "first", "failed", "channel 21614"),
        (1, 2, "first", "sent", None),
    ]
    assert (first.channel, second.channel) == ("sms", "voice")
    assert shop.read(one).verification.channel == "voice"
    assert shop.read(one).verification.sends == 1, "nothing was sent, so nothing further is counted"
    assert sender.sent() == ["first", "first"]


@pytest.mark.parametrize("purpose", [{"channels": ["sms"]}, {"channels": ["sms", "voice"], "fallback": False}])
def test_without_a_further_channel_that_is_the_end(still_world: World, purpose: dict[str, Any]):
    shop = _shop(still_world, purposes={"login": purpose})
    sender = Sender(shop, first=Scripted(refused("channel", "21614")), second=Scripted())
    one = shop.start()
    sender.deliver()
    sender.deliver()

    assert sender.sent() == ["first"]
    assert letters(still_world.client) == ["channel 21614"]
    assert story(shop, one)[-1][3] == "failed"


def test_a_channel_that_nobody_carries_is_passed_over(still_world: World):
    routes = [
        {"channels": ["sms"], "gateways": ["first"]},
        {"channels": ["whatsapp"], "gateways": ["second"]},
    ]
    shop = _shop(still_world, routes=routes, purposes={"login": {"channels": ["sms", "voice", "whatsapp"]}})
    sender = Sender(shop, first=Scripted(refused("channel")), second=Scripted())
    shop.start()
    sender.deliver()
    sender.deliver()

    assert [message.channel for message in sender.gateways["second"].sent] == ["whatsapp"]


def test_a_time_out_goes_on_once_and_both_calls_are_recorded(still_world: World, shop: Caller):
    sender = Sender(shop, first=Scripted(timed_out()), second=Scripted(timed_out()))
    one = shop.start()
    sender.deliver()
    still_world.advance(60)
    sender.deliver()

    assert sender.sent() == ["first", "second"]
    assert story(shop, one) == [
        (1, 1, "first", "unknown", "unavailable timeout"),
        (1, 2, "second", "unknown", "unavailable timeout"),
    ]
    assert letters(still_world.client) == ["too_many_ambiguous"]


@pytest.mark.parametrize(("most", "calls"), [(0, 1), (1, 2), (2, 3), (9, 10)])
def test_how_often_it_goes_on_is_a_setting(still_world: World, shop: Caller, most: int, calls: int):
    sender = Sender(shop, first=Scripted(*[timed_out()] * 9), second=Scripted(*[timed_out()] * 9))
    shop.start()
    for _ in range(9):
        sender.deliver(_policy(max_ambiguous=most))
        still_world.advance(7)

    assert len(sender.sent()) == calls


def test_certain_failures_do_not_count_as_ambiguous(still_world: World, shop: Caller):
    answers = [refused("unavailable"), timed_out(), refused("unavailable")]
    sender = Sender(shop, first=Scripted(answers[0], answers[2]), second=Scripted(answers[1]))
    one = shop.start()
    for _ in range(3):
        sender.deliver()
        still_world.advance(7)

    assert sender.sent() == ["first", "first", "second", "second"]
    assert [each[3] for each in story(shop, one)] == ["failed", "unknown", "failed", "sent"]


def test_a_call_that_a_dead_worker_left_open_counts_as_ambiguous(still_world: World, shop: Caller):
    def die() -> None:
        raise KeyboardInterrupt

    sender = Sender(shop, first=Scripted(die), second=Scripted(timed_out()))
    one = shop.start()
    with pytest.raises(KeyboardInterrupt):
        sender.deliver()
    still_world.advance(0.001)
    for job in shop.context.store.outbox.claim("heir", 9, 0):
        sender.hand_over(job)

    assert story(shop, one) == [
        (1, 1, "first", "unknown", "interrupted"),
        (1, 2, "second", "unknown", "unavailable timeout"),
    ]
    assert letters(still_world.client) == ["too_many_ambiguous"]


def test_a_round_through_all_gateways_is_followed_by_a_rest(still_world: World, shop: Caller):
    sender = Sender(shop, first=Scripted(*[refused("unavailable")] * 2), second=Scripted(*[refused("unavailable")] * 2))
    shop.start()
    waits = []
    for _ in range(3):
        sender.deliver(_policy())
        waits.append(next_retry(still_world.client) or 0)
        still_world.advance(waits[-1] / 1000 - 0.001)
        assert sender.deliver(_policy()) == 0, "not before its time"
        still_world.advance(0.001)

    assert 1000 <= waits[0] <= 1250
    assert 5000 <= waits[1] <= 6250
    assert sender.sent() == ["first"] * 3 + ["second"] * 2


def test_a_rest_never_takes_more_than_half_of_what_is_left_of_the_code(still_world: World, shop: Caller):
    sender = Sender(shop, first=Scripted(*[refused("unavailable")] * 9), second=Scripted())
    shop.start()
    still_world.advance(280)
    shop.context.store.health.open("second", 3_600_000, "cli:ops")
    waits = []
    while not letters(still_world.client):
        sender.deliver(_policy(backoff=(30.0,)))
        sender.go_on(_policy(backoff=(30.0,)))
        waits.append(next_retry(still_world.client) or 0)
        still_world.advance(max(0, waits[-1]) / 1000)

    assert waits[:5] == [10_000, 5000, 2500, 1250, 1000]
    assert letters(still_world.client) == ["no_gateway"]


def test_a_message_does_not_come_back_when_its_code_will_be_dead(still_world: World, shop: Caller):
    sender = Sender(shop, first=Scripted(refused("unavailable")), second=Scripted(refused("unavailable")))
    one = shop.start()
    still_world.advance(299)
    sender.deliver(_policy(backoff=(2.0,)))

    assert letters(still_world.client) == ["no_gateway"]
    assert still_world.client.zcard(DELAYED) == 0
    assert [each[3] for each in story(shop, one)] == ["failed", "failed"]


def test_a_message_that_nobody_takes_while_its_code_lives_is_told_as_expired(still_world: World, shop: Caller):
    for gateway in GATEWAYS:
        shop.context.store.health.open(gateway, 3_600_000, "cli:ali")
    sender = Sender(shop, first=Scripted(), second=Scripted())
    one = shop.start()
    sender.deliver()
    still_world.advance(299.999)
    sender.go_on()
    assert story(shop, one) == [(1, 1, None, "queued", None)]
    assert letters(still_world.client) == []
    still_world.advance(0.001)
    sender.go_on()

    assert (sender.held, sender.sent()) == ([], [])
    assert story(shop, one) == [(1, 1, None, "expired", "expired")]
    assert letters(still_world.client) == ["expired"]


def test_a_message_that_is_held_goes_on_soon_after_an_operator_has_closed_a_breaker(shop: Caller):
    for gateway in GATEWAYS:
        shop.context.store.health.open(gateway, 3_600_000, "cli:ali")
    sender = Sender(shop, first=Scripted(), second=Scripted())
    one = shop.start()
    sender.deliver()
    assert [held.milliseconds for held in sender.held] == [MAX_DEFER], "it asks again, however far the turn is"
    shop.context.store.health.close("second")
    sender.go_on()

    assert story(shop, one) == [(1, 1, "second", "sent", None)]


def test_a_message_that_is_held_is_dropped_when_nobody_wants_it_any_more(still_world: World, shop: Caller):
    for gateway in GATEWAYS:
        shop.context.store.health.open(gateway, 3_600_000, "cli:ali")
    sender = Sender(shop, first=Scripted(), second=Scripted())
    one = shop.start()
    sender.deliver()
    shop.cancel(one)
    sender.go_on()

    assert (sender.held, sender.sent()) == ([], [])
    assert story(shop, one) == [(1, 1, None, "failed", "canceled")]
    assert letters(still_world.client) == []


def _approve(shop: Caller, one: str) -> None:
    assert shop.check(one, shop.code(one))[1]


def _exhaust(shop: Caller, one: str) -> None:
    for _ in range(5):
        shop.check(one, shop.wrong(one))


@pytest.mark.parametrize("end", [_approve, _exhaust, Caller.cancel], ids=["approved", "exhausted", "canceled"])
def test_nothing_is_sent_after_the_end_not_even_by_the_next_gateway(
    still_world: World, shop: Caller, end: Callable[[Caller, str], Any]
):
    one = shop.start()

    def end_and_fail() -> None:
        end(shop, one)
        raise refused("unavailable")

    sender = Sender(shop, first=Scripted(end_and_fail), second=Scripted())
    sender.deliver()
    still_world.advance(60)
    sender.deliver()

    assert sender.sent() == ["first"]
    assert letters(still_world.client) == [], "nobody misses it"


@pytest.mark.parametrize("end", [_approve, _exhaust, Caller.cancel], ids=["approved", "exhausted", "canceled"])
def test_nothing_is_sent_after_the_end_not_even_a_retry(
    still_world: World, shop: Caller, end: Callable[[Caller, str], Any]
):
    sender = Sender(shop, first=Scripted(refused("unavailable")), second=Scripted(refused("unavailable")))
    one = shop.start()
    sender.deliver()
    end(shop, one)
    still_world.advance(60)
    sender.deliver()

    assert sender.sent() == ["first", "second"]
    assert letters(still_world.client) == []


def test_nothing_is_sent_after_the_codes_life(still_world: World, shop: Caller):
    def outlive() -> None:
        still_world.advance(300)
        raise refused("unavailable")

    sender = Sender(shop, first=Scripted(outlive), second=Scripted())
    shop.start()
    sender.deliver()

    assert sender.sent() == ["first"]
    assert letters(still_world.client) == ["expired"]


def test_what_is_known_to_have_arrived_is_not_sent_again(still_world: World, shop: Caller):
    """The gateway took it and reported so, but its answer was lost: the receipt spares the second message."""
    one = shop.start()

    def deliver_in_silence() -> None:
        (made,) = still_world.client.scan_iter("otp:{00}:dispatch:*")
        identifier = made.decode().rpartition(":")[2]
        shop.context.store.dispatches.report("00", identifier, "first", DeliveryStatus.DELIVERED, "", "DELIVRD")
        raise timed_out()

    sender = Sender(shop, first=Scripted(deliver_in_silence), second=Scripted())
    sender.deliver()

    assert sender.sent() == ["first"]
    assert story(shop, one) == [(1, 1, "first", "delivered", None)]
    assert letters(still_world.client) == []
    assert sender.deliver() == 0


def test_what_is_known_to_have_arrived_is_told_and_counted_as_no_dead_letter(still_world: World, shop: Caller):
    def deliver_and_refuse() -> None:
        (made,) = still_world.client.scan_iter("otp:{00}:dispatch:*")
        identifier = made.decode().rpartition(":")[2]
        shop.context.store.dispatches.report("00", identifier, "first", DeliveryStatus.DELIVERED, "", "DELIVRD")
        raise refused("rejected", "of this test")

    def counted() -> list[str]:
        return [line for line in metrics.exposition().decode().splitlines() if "dead_letters" in line]

    before, sender = counted(), Sender(shop, first=Scripted(deliver_and_refuse), second=Scripted())
    shop.start()
    with capture_logs() as lines:
        sender.deliver()

    assert [line["following"] for line in lines if line["event"] == "message_dispatched"] == ["done"]
    assert letters(still_world.client) == []
    assert counted() == before


def test_a_defect_of_a_gateway_is_ambiguous_and_takes_nobody_down(shop: Caller):
    def crash() -> None:
        raise ZeroDivisionError("+923001234567")

    sender = Sender(shop, first=Scripted(crash), second=Scripted())
    one = shop.start()
    sender.deliver()

    assert story(shop, one) == [
        (1, 1, "first", "unknown", "unavailable defect"),
        (1, 2, "second", "sent", None),
    ]


def test_a_resend_prefers_the_gateway_that_was_not_tried(shop: Caller):
    sender = Sender(shop, first=Scripted(), second=Scripted())
    one = shop.start()
    sender.deliver()
    shop.resend(one)
    sender.deliver()

    assert choices(shop, one) == [("first", "configured"), ("second", "already_tried")]
    assert len({message.text for gateway in sender.gateways.values() for message in gateway.sent}) == 1, "one code"


@pytest.mark.parametrize("kind", ["unavailable", "account"])
def test_five_failures_open_the_breaker_and_the_next_message_spares_the_call(shop: Caller, kind: str):
    sender = Sender(shop, first=Scripted(*[refused(kind)] * 99), second=Scripted())
    ids = [shop.start() for _ in range(8)]
    sender.deliver()

    assert sender.sent() == ["first"] * 5 + ["second"] * 8
    assert [choices(shop, one)[-1][1] for one in sorted(ids, key=ids.index)].count("breaker") == 3
    assert shop.context.store.health.of(("first",))["first"].state is BreakerState.OPEN


@pytest.mark.parametrize("kind", ["destination", "rejected", "fraud", "channel"])
def test_a_refusal_says_nothing_of_the_gateway(shop: Caller, kind: str):
    """Otherwise a stranger could turn a gateway off with numbers that do not exist."""
    sender = Sender(shop, first=Scripted(*[refused(kind)] * 30))
    for _ in range(30):
        shop.start(channel="voice")
    sender.deliver()

    assert shop.context.store.health.of(("first",))["first"].state is BreakerState.CLOSED


def test_a_gateway_that_refuses_our_account_costs_no_message_and_says_so_until_it_answers_well(
    still_world: World, shop: Caller
):
    first = Scripted(*[refused("account", "20003")] * 5)
    sender = Sender(shop, first=first, second=Scripted())
    ids = [shop.start() for _ in range(9)]
    sender.deliver()
    health = shop.context.store.health
    assert [story(shop, one)[-1][2:4] for one in ids] == [("second", "sent")] * 9
    assert letters(still_world.client) == []
    assert (health.of(("first",))["first"].state, health.of(("first",))["first"].refusal) == ("open", "account 20003")
    health.observe("first", new_dispatch_id("00"), CallResult.WELL)

    assert health.of(("first",))["first"].refusal == ""


def test_slow_answers_open_the_breaker_though_they_are_good(still_world: World):
    shop = _shop(still_world, gateways={"first": {"kind": "sandbox", "slow": 1e-9}, "second": {"kind": "sandbox"}})
    sender = Sender(shop, first=Scripted(), second=Scripted())
    for _ in range(7):
        shop.start()
    sender.deliver()

    assert sender.sent() == ["first"] * 5 + ["second"] * 2


def test_a_gateway_that_throttles_is_left_alone_for_as_long_as_it_asks(still_world: World, shop: Caller):
    sender = Sender(shop, first=Scripted(refused("throttled", retry_after=7.5)), second=Scripted())
    ids = [shop.start() for _ in range(3)]
    sender.deliver()
    assert sender.sent() == ["first", "second", "second", "second"]
    assert sorted(choices(shop, one)[-1] for one in ids) == [("second", "fail_over")] + [("second", "limit")] * 2
    still_world.advance(7.4)
    early = shop.start()
    sender.deliver()
    assert choices(shop, early) == [("second", "limit")]
    still_world.advance(0.1)
    last = shop.start()
    sender.deliver()

    assert choices(shop, last) == [("first", "configured")]


def test_one_gateway_that_throttles_is_tried_again_until_the_code_ends(still_world: World):
    """A storm of refusals is none: the rests between the calls grow."""
    shop = _shop(still_world, gateways={"first": {"kind": "sandbox"}})
    sender = Sender(shop, first=Scripted(*[refused("throttled", "http 429")] * 99))
    policy = _policy(backoff=(1.0,))
    shop.start()
    times = []
    for second in range(301):
        before = len(sender.sent())
        sender.go_on(policy)
        sender.deliver(policy)
        times += [second] * (len(sender.sent()) - before)
        still_world.advance(1)

    assert 10 < len(times) < 20
    assert all(later - earlier >= rest for earlier, later, rest in zip(times, times[1:], (1, 2, 4, 8), strict=False))
    assert times[-1] > 260
    assert letters(still_world.client) == ["expired"]


def test_messages_wait_in_their_order_for_a_turn_that_is_near(still_world: World):
    shop = _shop(still_world, gateways={"first": {"kind": "sandbox", "per_second": 10}})
    sender = Sender(shop, first=Scripted())
    ids = [shop.start() for _ in range(3)]
    sender.deliver()
    waits = []
    while sender.held:
        waits.append([round(held.milliseconds, -1) for held in sender.held])
        still_world.advance(sender.held[0].milliseconds / 1000 + 0.001)  # the server's clock runs on within it
        sender.go_on()

    assert waits == [[100, 100], [100]]
    assert [message.verification_id for message in sender.gateways["first"].sent] == ids


def test_a_message_whose_turn_is_far_stays_in_hand_and_costs_no_dispatch(still_world: World):
    shop = _shop(still_world, gateways={"first": {"kind": "sandbox", "per_second": 0.1}})
    sender = Sender(shop, first=Scripted())
    ids = [shop.start(), shop.start()]
    sender.deliver()
    for _ in range(9):
        assert [held.milliseconds for held in sender.held] == [MAX_DEFER]
        still_world.advance(MAX_DEFER / 1000)
        sender.go_on()
    assert sender.sent() == ["first"]
    assert pending(still_world.client) == 1
    assert still_world.client.zcard(DELAYED) == 0
    still_world.advance(1.001)  # between two looks the server's clock may run on, within its millisecond
    sender.go_on()

    assert sender.sent() == ["first", "first"]
    assert [story(shop, one) for one in ids] == [[(1, 1, "first", "sent", None)]] * 2


def test_a_turn_that_comes_within_the_rest_is_waited_for_in_hand(still_world: World, shop: Caller):
    """Back-off is for a route that failed; another gateway of it that is only busy for a moment has its turn first."""
    shop.context.store.health.observe("second", new_dispatch_id("00"), CallResult.THROTTLED, 900)
    sender = Sender(shop, first=Scripted(refused("unavailable")), second=Scripted())
    one = shop.start()
    sender.deliver()
    (held,) = sender.held
    assert (held.milliseconds, held.job.called) == (900, {"first"})
    still_world.advance(0.9)
    sender.go_on()

    assert sender.sent() == ["first", "second"]
    assert choices(shop, one) == [("first", "configured"), ("second", "fail_over")]


def test_a_turn_that_comes_after_the_rest_is_not_waited_for(still_world: World, shop: Caller):
    shop.context.store.health.observe("second", new_dispatch_id("00"), CallResult.THROTTLED, 1300)
    sender = Sender(shop, first=Scripted(refused("unavailable")), second=Scripted())
    one = shop.start()
    sender.deliver()
    wait = next_retry(still_world.client) or 0
    assert sender.held == []
    assert 1000 <= wait <= 1250
    still_world.advance(wait / 1000)
    sender.deliver()

    assert choices(shop, one) == [("first", "configured"), ("first", "retry")]


def test_a_backlog_that_finds_nobody_free_stays_in_its_queue_in_its_order(still_world: World):
    """Otherwise it would go round and round through Redis; so only the first of it asks."""
    gateways = {"first": {"kind": "sandbox", "max_in_flight": 1, "timeout": 60}}
    shop = _shop(still_world, gateways=gateways)
    outbox, holding = shop.context.store.outbox, DeferredJobs(8)
    shop.start()
    (job,) = jobs_of(shop.context)
    dispatched(shop.context, job, "first", first=paced(in_flight=1, lease=60_000))
    sender = Sender(shop, first=Scripted())
    ids = [shop.start() for _ in range(20)]
    (first,) = jobs_of(shop.context, count=1)
    for _ in range(6):
        held = sender.hand_over(first)
        assert (held.job.id, held.milliseconds) == (ids[0], 50)
        holding.hold(held.job, held.milliseconds)
        assert outbox.take("worker", 100, holding.full_queues()) == []
        assert [one.id for one in holding.take_all()] == ids[:1]
        still_world.advance(0.05)
    assert (pending(still_world.client), still_world.client.zcard(DELAYED)) == (2, 0)
    still_world.advance(60)
    sender.hand_over(first)
    sender.deliver()

    assert [message.verification_id for message in sender.gateways["first"].sent] == ids
    assert all(story(shop, one) == [(1, 1, "first", "sent", None)] for one in ids)


def test_a_breaker_that_opens_and_closes_is_told_and_counted(still_world: World, shop: Caller):
    sender = Sender(shop, first=Scripted(*[refused("unavailable")] * 5), second=Scripted())
    with capture_logs() as lines:
        for _ in range(5):
            shop.start()
        sender.deliver()
        still_world.advance(30)
        shop.start()
        sender.deliver()

    told = [
        (line["log_level"], line["event"], line["gateway"]) for line in lines if line["event"].startswith("breaker")
    ]
    assert told == [("warning", "breaker_open", "first"), ("info", "breaker_closed", "first")]
    exposed = metrics.exposition().decode()
    assert 'otp_service_gateway_breaker_changes_total{gateway="first",state="open"}' in exposed
    assert 'otp_service_gateway_breaker_changes_total{gateway="first",state="closed"}' in exposed
