"""Dead letters: they say why, and they can be put back while somebody still waits for the code."""

import pytest
from support_caller import Caller
from support_frozen import START, FrozenValkey
from support_keys import assert_all_keys_expire
from support_outbox import (
    DEAD,
    Scripted,
    Sender,
    dispatched,
    events,
    jobs_of,
    letters,
    queue,
    refused,
    report,
    settle,
    timed_out,
    waiting,
)  # fmt: skip

from otp_service.domain.verification import DeliveryStatus
from otp_service.gateways.base import GatewayError
from otp_service.store.outbox import DeadLetter, DeadLetters, DispatchResult, NextStep, RedriveResult, count_reasons


@pytest.fixture
def shop(frozen: FrozenValkey) -> Caller:
    purposes = {"login": {"resend": "new_code", "resend_delays": [0], "channels": ["sms"]}}
    return Caller(frozen.world().install(limits={"number": ["1000/hour"]}, purposes=purposes))


@pytest.fixture
def dead(shop: Caller) -> DeadLetters:
    return shop.context.store.dead_letters


def given_up(shop: Caller, *answers: object) -> str:
    """Start a verification whose message is given up; return its id."""
    one = shop.start()
    Sender(shop, sandbox=Scripted(*answers or (refused("rejected", "20003"),))).deliver()  # type: ignore[arg-type]
    return one


def newest(dead: DeadLetters) -> DeadLetter:
    (letter,) = dead.newest(1)
    return letter


def test_a_letter_says_when_why_and_of_which_verification(shop: Caller, dead: DeadLetters) -> None:
    one = given_up(shop)
    letter = newest(dead)

    assert (letter.at, letter.reason, letter.member("id")) == (START, "rejected 20003", one)
    assert [letter.member(name) for name in ("application", "purpose", "country", "channel", "nothing")] == [
        "shop", "login", "PK", "sms", "",
    ]  # fmt: skip
    assert dead.find(letter.id) == letter


def test_the_newest_letters_come_first_over_all_buckets(frozen: FrozenValkey) -> None:
    shop = Caller(frozen.world().install(limits={"number": ["1000/hour"]}, keys={"buckets": 4}))
    numbers = [f"+9230012{digit}4567" for digit in range(8)]
    ids = []
    for number in numbers:
        ids.append(shop.start(number))
        Sender(shop, sandbox=Scripted(refused("rejected"))).deliver()
        frozen.advance(1)
    dead = shop.context.store.dead_letters

    assert len({letter.bucket for letter in dead.newest(8)}) > 1
    assert [letter.member("id") for letter in dead.newest(3)] == ids[:-4:-1]
    assert [letter.member("id") for letter in dead.since(2500)] == ids[:-3:-1]
    assert dead.count() == 8


@pytest.mark.parametrize(
    "name", ["", "00", "00:", "00:x", "00:1-x", "00:1-0", "99:1-0", "1-0", "00:-", "00:+", "00:²-0"]
)
def test_a_letter_that_is_not_there_has_no_name(shop: Caller, dead: DeadLetters, name: str) -> None:
    given_up(shop)

    assert dead.find(name) is None


def test_a_letter_that_is_put_back_is_delivered_once(frozen: FrozenValkey, shop: Caller, dead: DeadLetters) -> None:
    one = given_up(shop)
    letter = newest(dead)

    assert dead.redrive(letter) == (RedriveResult.REDRIVEN, "")
    assert (letters(frozen.client), frozen.client.xlen(queue(kind="retry"))) == ([], 1)
    sending = Sender(shop, sandbox=Scripted())
    sending.deliver()
    assert [message.text.count(shop.code(one)) > 0 for message in sending.gateways["sandbox"].sent] == [True]
    assert shop.read(one).verification.deliveries[-1].status == "sent"
    assert waiting(frozen.client) == 0
    assert_all_keys_expire(frozen.client)


def test_a_letter_is_put_back_once(frozen: FrozenValkey, shop: Caller, dead: DeadLetters) -> None:
    given_up(shop)
    letter = newest(dead)

    assert [dead.redrive(letter)[0] for _ in range(2)] == [RedriveResult.REDRIVEN, RedriveResult.GONE]
    assert waiting(frozen.client) == 1


def test_that_a_letter_was_put_back_is_an_event(frozen: FrozenValkey, shop: Caller, dead: DeadLetters) -> None:
    given_up(shop)
    dead.redrive(newest(dead))

    assert events(frozen.client)[-2:] == ["message.given_up", "message.redriven"]


@pytest.mark.parametrize(("failure", "budget"), [(timed_out(), 2), (refused("error", "http 500"), 4)])
def test_a_letter_has_all_its_dispatches_again(
    frozen: FrozenValkey, shop: Caller, dead: DeadLetters, failure: GatewayError, budget: int
) -> None:
    """The budget was used up; put back, the message may be called for as often again, and not once more."""
    shop.start()
    sending = Sender(shop, sandbox=Scripted(*[failure] * 9))
    calls = []
    for _ in range(2):
        while not dead.count():
            sending.deliver()
            sending.go_on()
            frozen.advance(2)
        calls.append(len(sending.gateways["sandbox"].sent))
        dead.redrive(newest(dead))

    assert calls == [budget, 2 * budget]


def test_what_nobody_waits_for_any_more_stays(frozen: FrozenValkey, shop: Caller, dead: DeadLetters) -> None:
    canceled = given_up(shop)
    shop.cancel(canceled)
    approved = given_up(shop)
    shop.check(approved, shop.code(approved))
    superseded = given_up(shop)
    shop.resend(superseded)
    became = {letter.member("id"): dead.redrive(letter) for letter in dead.newest(9)}

    assert became == {
        canceled: (RedriveResult.UNWANTED, "canceled"),
        superseded: (RedriveResult.UNWANTED, "superseded"),
        approved: (RedriveResult.UNWANTED, "approved"),
    }
    assert len(letters(frozen.client)) == 3


@pytest.mark.parametrize(
    ("seconds", "became"),
    [
        (299, (RedriveResult.REDRIVEN, "")),
        (300, (RedriveResult.UNWANTED, "expired")),
        (901, (RedriveResult.GONE, "")),
    ],
)
def test_a_letter_whose_code_has_died_stays(
    frozen: FrozenValkey, shop: Caller, dead: DeadLetters, seconds: int, became: tuple[RedriveResult, str]
) -> None:
    given_up(shop)
    frozen.advance(seconds)

    assert dead.redrive(newest(dead)) == became


def test_a_letter_that_is_put_back_is_given_new_doubts(frozen: FrozenValkey, shop: Caller, dead: DeadLetters) -> None:
    """Calls before it was put back do not count, however many of them may have been sent."""
    shop.start()
    (job,) = jobs_of(shop.context)
    unknown = DispatchResult(NextStep.DEAD, DeliveryStatus.UNKNOWN, reason="too_many_ambiguous")
    settle(shop.context, job, dispatched(shop.context, job), unknown)
    dead.redrive(newest(dead))
    (again,) = jobs_of(shop.context)

    assert dispatched(shop.context, again, max_ambiguous=0).number == 2


@pytest.mark.parametrize("status", ["sent", "delivered"])
def test_a_letter_whose_message_turns_out_to_have_arrived_is_not_sent_again(
    frozen: FrozenValkey, shop: Caller, dead: DeadLetters, status: str
) -> None:
    shop.start()
    (job,) = jobs_of(shop.context)
    made = dispatched(shop.context, job)
    settle(shop.context, job, made, DispatchResult(NextStep.DEAD, DeliveryStatus.UNKNOWN, reason="too_many_ambiguous"))
    report(shop.context, made, status)

    assert dead.redrive(newest(dead)) == (RedriveResult.UNWANTED, "sent")
    assert waiting(frozen.client) == 0


@pytest.mark.parametrize("fields", [{"odd": "1"}, {"v": "9", "id": "vf_1"}, {"v": "1", "id": "vf_1"}])
def test_what_cannot_be_read_cannot_be_put_back(
    frozen: FrozenValkey, dead: DeadLetters, fields: dict[str, str]
) -> None:
    frozen.client.xadd(DEAD, {"reason": "unreadable", **fields})  # type: ignore[arg-type]

    assert dead.redrive(newest(dead)) == (RedriveResult.UNWANTED, "unreadable")
    assert letters(frozen.client) == ["unreadable"]


def test_a_message_that_may_have_been_sent_can_be_put_back_too(
    frozen: FrozenValkey, shop: Caller, dead: DeadLetters
) -> None:
    one = given_up(shop, timed_out())
    frozen.advance(2)
    Sender(shop, sandbox=Scripted(timed_out())).deliver()
    assert dead.redrive(newest(dead)) == (RedriveResult.REDRIVEN, "")
    Sender(shop, sandbox=Scripted()).deliver()

    assert [each.status for each in shop.read(one).verification.deliveries][-1] == "sent"


def test_reasons_are_counted_without_a_gateway_s_own_code(shop: Caller, dead: DeadLetters) -> None:
    given_up(shop, refused("rejected", "20003"))
    given_up(shop, refused("rejected", "20404"))
    given_up(shop, refused("destination", "21211"))

    assert count_reasons(dead.newest(9)) == {"rejected": 2, "destination": 1}
