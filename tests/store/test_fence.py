"""The fence: what was started before it has expired for everybody, whatever the clocks say; what comes after lives."""

import pytest
from support_caller import PAYMENT, Caller
from support_frozen import START, FrozenValkey
from support_installation import NUMBER, key
from support_keys import assert_all_keys_expire
from support_outbox import BUCKET, Scripted, Sender, deliver_all, events, jobs_of, letters, refused, story

from otp_service.domain.numbers import parse_destination
from otp_service.domain.payments import Transaction
from otp_service.domain.verification import DeliveryStatus
from otp_service.errors import ConflictError, RateLimitedError
from otp_service.gateways.base import Receipt
from otp_service.services.number_history import find_number_history
from otp_service.services.operator_actions import fence_store
from otp_service.services.receipts import record_receipt
from otp_service.store import keys
from otp_service.store.outbox import RedriveResult

OTHERS = [f"+9230012345{place}" for place in range(10, 99)]
HOUR = 3600
DAY = 24 * HOUR


@pytest.fixture
def installed(frozen: FrozenValkey):
    """The same installation for everybody, its mirror at the ledger's place."""
    installation = frozen.world().install(
        keys={"root": f"k1:{key()}", "pseudonym": key()},
        purposes={"login": {"resend_delays": [30], "channels": ["sms", "voice"]}},
    )
    installation.context.mirror_sync.refresh()
    return installation


@pytest.fixture
def shop(installed) -> Caller:
    return Caller(installed)


def ends(shop: Caller, one: str) -> tuple[str, int]:
    found = shop.read(one).verification
    return str(found.status), found.expires


def test_the_right_code_of_what_was_started_before_is_expired_and_reported_once(frozen, shop):
    one = shop.start()
    code = shop.code(one)
    frozen.advance(5)
    fence_store(shop.context)
    frozen.advance(0.001)

    assert shop.check(one, code) == ("expired", False, 0, "expired")
    assert shop.check(one, code) == ("expired", False, 0, "expired")
    assert ends(shop, one) == ("expired", START + 5000)
    assert events(frozen.client) == ["verification.started", "verification.expired"]


def test_a_fence_holds_in_its_own_millisecond_and_lets_what_comes_after_it_live(shop):
    before = shop.start()
    fence_store(shop.context)
    after = shop.start(OTHERS[0])

    assert shop.check(before, shop.code(before))[3] == "expired"
    assert shop.check(after, shop.code(after)) == ("approved", True, 4, None)


def test_what_was_started_before_is_read_canceled_and_sent_again_as_what_has_expired(frozen, shop):
    one = shop.start()
    frozen.advance(31)
    fence_store(shop.context)

    assert shop.read(one).verification.sends_left == 0
    for action in (shop.cancel, shop.resend):
        with pytest.raises(ConflictError):
            action(one)
    assert events(frozen.client) == ["verification.started"]


def test_what_had_ended_stays_as_it_ended(shop):
    approved, canceled, spent = (shop.start(number) for number in OTHERS[:3])
    shop.check(approved, shop.code(approved))
    shop.cancel(canceled)
    for _ in range(5):
        shop.check(spent, shop.wrong(spent))
    fence_store(shop.context)

    assert shop.check(approved, shop.code(approved))[3] == "already_approved"
    assert [ends(shop, one)[0] for one in (approved, canceled, spent)] == [
        "approved",
        "canceled",
        "max_attempts_reached",
    ]


def test_a_payment_whose_details_are_changed_is_expired_and_not_failed(shop):
    one = shop.start(purpose="payment", transaction=PAYMENT)
    fence_store(shop.context)

    assert shop.check(one, shop.code(one), Transaction("1", "PKR", "Daraz"))[3] == "expired"


def test_a_repeated_start_tells_what_became_of_the_first_and_sends_nothing(frozen, shop):
    retry = shop.retry("order 1", "start", NUMBER)
    one = shop.start(retry=retry)
    fence_store(shop.context)
    frozen.advance(1)
    again = shop.send(retry=retry).verification

    assert (again.id, str(again.status), again.expires) == (one, "expired", START)
    assert len(jobs_of(shop.context)) == 1


@pytest.mark.parametrize("fences_before", [0, 1])
def test_so_it_is_when_its_record_has_gone(frozen, shop, fences_before):
    for _ in range(fences_before):
        fence_store(shop.context)
    retry = shop.retry("order 1", "start", NUMBER)
    one = shop.start(retry=retry)
    fence_store(shop.context)
    frozen.client.delete(keys.record(BUCKET, one))
    again = shop.send(retry=retry).verification

    assert (again.id, str(again.status), again.expires) == (one, "expired", START)


def test_a_repeated_start_of_one_that_came_after_it_tells_its_own_end(frozen, shop):
    fence_store(shop.context)
    frozen.advance(10)
    retry = shop.retry("order 1", "start", NUMBER)
    shop.start(retry=retry)
    deliver_all(shop.context)
    assert str(shop.send(retry=retry).verification.status) == "pending"
    frozen.advance(2000)

    assert shop.send(retry=retry).verification.expires == START + 310_000
    assert not jobs_of(shop.context)


def test_the_other_repeated_requests_tell_it_too(shop, frozen):
    checked, sent = shop.start(OTHERS[0]), shop.start(OTHERS[1])
    wrong, retries = shop.wrong(checked), (shop.retry("one", "check"), shop.retry("two", "resend"))
    frozen.advance(31)
    shop.check(checked, wrong, retry=retries[0])
    shop.resend(sent, retries[1])
    fence_store(shop.context)

    assert shop.check(checked, wrong, retry=retries[0]) == ("expired", False, 4, "wrong_code")
    assert str(shop.resend(sent, retries[1]).verification.status) == "expired"
    assert len(jobs_of(shop.context)) == 3


def test_messages_that_wait_become_dead_letters_and_are_not_put_back(frozen, shop):
    gateway = Scripted()
    sender = Sender(shop, sandbox=gateway)
    one = shop.start()
    fence_store(shop.context)
    after = shop.start(OTHERS[0])
    sender.deliver()

    assert [message.verification_id for message in gateway.sent] == [after]
    assert story(shop, one) == [(1, 1, None, "expired", "expired")]
    assert letters(frozen.client) == ["expired"]
    (letter,) = shop.context.store.dead_letters.newest(10)
    assert shop.context.store.dead_letters.redrive(letter) == (RedriveResult.UNWANTED, "expired")


def test_a_message_whose_call_fails_meanwhile_is_not_sent_again(frozen, shop):
    def fails() -> None:
        fence_store(shop.context)
        raise refused("unavailable")

    sender = Sender(shop, sandbox=Scripted(fails))
    one = shop.start()
    for _ in range(3):
        sender.deliver()
        frozen.advance(2)

    assert sender.sent() == ["sandbox"]
    assert story(shop, one) == [(1, 1, "sandbox", "failed", "unavailable http 503")]
    assert letters(frozen.client) == ["expired"]


def test_a_late_receipt_is_recorded_and_nothing_follows_by_another_channel(shop):
    gateway = Scripted()
    sender = Sender(shop, sandbox=gateway)
    one = shop.start()
    sender.deliver()
    fence_store(shop.context)
    record_receipt(shop.context, "sandbox", gateway.sent[0].dispatch_id, Receipt(DeliveryStatus.UNDELIVERED, "UNDELIV"))
    sender.deliver()

    assert story(shop, one) == [(1, 1, "sandbox", "undelivered", None)]
    assert sender.sent() == ["sandbox"]


def test_support_sees_that_it_expired(frozen, shop):
    shop.start()
    frozen.advance(3)
    fence_store(shop.context)
    (case,) = find_number_history(shop.context, parse_destination(NUMBER, None)).verifications

    assert (str(case.history.status), str(case.explanation.why)) == ("expired", "too_late")


@pytest.mark.parametrize("behind", [0.001, 5, 600])
def test_the_clock_of_a_server_that_took_over_may_be_behind(frozen, shop, behind):
    """What was started before then seems to come from the future."""
    one = shop.start()
    frozen.move_to(START - round(behind * 1000))
    fence_store(shop.context)
    frozen.move_to(START + 1000)

    assert shop.check(one, shop.code(one))[3] == "expired"


def test_a_clock_that_is_set_back_after_the_fence_opens_nothing(frozen, shop):
    one = shop.start()
    frozen.advance(120)
    fence_store(shop.context)
    frozen.move_to(START + 1000)

    assert shop.check(one, shop.code(one))[3] == "expired"


@pytest.mark.parametrize("later", [0, 10, -10], ids=["at once", "later", "with the clock set back"])
def test_a_second_fence_is_for_what_came_after_the_first_too(frozen, shop, later):
    first = fence_store(shop.context)
    one = shop.start()
    frozen.move_to(START + 1000 * later)
    second = fence_store(shop.context)

    assert second > first
    assert ends(shop, one)[0] == "expired"
    assert shop.check(one, shop.code(one))[3] == "expired"


def test_a_fence_stands_for_a_day_and_what_it_let_live_outlives_it(frozen, shop):
    retry = shop.retry("order 1", "start", NUMBER)
    shop.start(retry=retry)
    deliver_all(shop.context)
    put = fence_store(shop.context)
    assert shop.context.store.fences.current() == put
    frozen.advance(DAY - 1)
    assert shop.context.store.fences.current() == put
    after = shop.start(OTHERS[0])
    frozen.advance(1.001)

    assert shop.context.store.fences.current() is None
    assert shop.check(after, shop.code(after))[0] == "approved"
    assert not frozen.client.keys("otp:*:idempotency:*"), "of before nothing is left that could answer"
    assert_all_keys_expire(frozen.client)


def test_what_ends_with_its_own_life_is_not_lengthened(frozen, shop):
    one = shop.start()
    frozen.advance(301)
    fence_store(shop.context)

    assert ends(shop, one) == ("expired", START + 300_000)


@pytest.mark.parametrize("scope", ["number", "ip", "application"])
def test_a_fence_halves_no_limit(frozen, scope):
    limits = {one: ["5/day" if one == scope else "1000/hour"] for one in ("number", "ip", "application")}
    shop = Caller(frozen.world().install(keys={"root": f"k1:{key()}", "pseudonym": key()}, limits=limits))
    shop.context.mirror_sync.refresh()
    fence_store(shop.context)
    address = "192.0.2.1" if scope == "ip" else None
    for place in range(5):
        shop.start(NUMBER if scope == "number" else OTHERS[place], client_ip=address)

    with pytest.raises(RateLimitedError):
        shop.start(NUMBER if scope == "number" else OTHERS[5], client_ip=address)


def test_nothing_is_written_but_the_fence(frozen, shop):
    shop.start()
    before = {name: frozen.client.dump(name) for name in frozen.client.keys("*")}
    fence_store(shop.context)

    written = {name.decode() for name in frozen.client.keys("*") if frozen.client.dump(name) != before.get(name)}
    assert written == {keys.fence("00")}
    assert_all_keys_expire(frozen.client)
