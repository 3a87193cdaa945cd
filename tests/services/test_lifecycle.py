"""A verification's life through the use cases, on a real Valkey."""

import pytest
from support_caller import PAYMENT, Caller
from support_installation import World
from support_outbox import deliver_all, waiting
from support_records import record_of

from otp_service.domain.keyring import IdempotentRequest
from otp_service.domain.payments import Transaction
from otp_service.domain.verification import CheckFailure, Status
from otp_service.errors import (
    ConflictError,
    IdempotencyMismatchError,
    InvalidCodeError,
    InvalidTransactionError,
    NoSendsLeftError,
    NotFoundError,
    NumberMismatchError,
    RateLimitedError,
    ResendTooSoonError,
)


def status_of(caller: Caller, verification_id: str) -> Status:
    return caller.read(verification_id).verification.status


@pytest.fixture
def shop(world: World) -> Caller:
    return Caller(world.install())


def test_a_right_code_is_approved_once(shop: Caller):
    one = shop.start()
    code = shop.code(one)

    assert shop.check(one, code) == (Status.APPROVED, True, 4, None)
    assert shop.check(one, code) == (Status.APPROVED, False, 0, CheckFailure.ALREADY_APPROVED)


def test_the_last_allowed_guess_may_be_right(shop: Caller):
    one = shop.start()
    wrong = shop.wrong(one)
    for left in (4, 3, 2, 1):
        assert shop.check(one, wrong) == (Status.PENDING, False, left, CheckFailure.WRONG_CODE)

    assert shop.check(one, shop.code(one)) == (Status.APPROVED, True, 0, None)


def test_after_the_last_wrong_guess_right_and_wrong_are_answered_alike(shop: Caller):
    one = shop.start()
    right, wrong = shop.code(one), shop.wrong(one)
    answers = [shop.check(one, wrong) for _ in range(5)]

    assert answers[-1] == (Status.MAX_ATTEMPTS_REACHED, False, 0, CheckFailure.WRONG_CODE)
    assert shop.check(one, right) == shop.check(one, wrong)
    assert shop.check(one, right) == (Status.MAX_ATTEMPTS_REACHED, False, 0, CheckFailure.MAX_ATTEMPTS_REACHED)


def test_a_code_expires_exactly_and_is_then_still_known(world: World):
    shop = Caller(world.install())
    one, other = shop.start(), shop.start("+923001234568")
    code, late = shop.code(one), shop.code(other)
    world.advance(299)
    assert shop.check(one, code)[1]
    world.advance(1.5)

    assert status_of(shop, other) is Status.EXPIRED
    assert shop.check(other, late) == (Status.EXPIRED, False, 0, CheckFailure.EXPIRED)
    world.advance(600)
    with pytest.raises(NotFoundError):
        shop.check(other, late)


def test_a_resend_does_not_lengthen_the_life_of_a_code(world: World):
    shop = Caller(world.install())
    one = shop.start()
    expires = shop.read(one).verification.expires
    world.advance(31)
    shop.resend(one)

    assert shop.read(one).verification.expires == expires


def test_resends_wait_longer_each_time_and_end(world: World):
    shop = Caller(world.install())
    one = shop.start()
    with pytest.raises(ResendTooSoonError) as soon:
        shop.resend(one)
    assert soon.value.retry_after in {29, 30}
    world.advance(30)
    shop.resend(one)
    world.advance(31)
    with pytest.raises(ResendTooSoonError):
        shop.resend(one)
    world.advance(30)
    view = shop.resend(one).verification

    assert (view.sends, view.sends_left, view.resend_after) == (3, 0, None)
    assert [(each.message, each.status) for each in view.deliveries] == [(1, "queued"), (2, "queued"), (3, "queued")]
    world.advance(120)
    with pytest.raises(NoSendsLeftError):
        shop.resend(one)


def test_a_resend_carries_the_same_code_by_default(world: World):
    shop = Caller(world.install())
    one = shop.start()
    code = shop.code(one)
    world.advance(31)
    shop.resend(one)

    assert shop.code(one) == code
    assert shop.check(one, code)[1]


def test_a_resend_with_new_code_kills_the_old_one(world: World):
    shop = Caller(world.install(purposes={"login": {"resend": "new_code", "resend_delays": [0]}}))
    one = shop.start()
    old = shop.code(one)
    shop.resend(one)
    new = shop.code(one)

    assert new != old
    assert shop.check(one, old) == (Status.PENDING, False, 4, CheckFailure.WRONG_CODE)
    assert shop.check(one, new)[1]


def test_guesses_of_a_number_are_counted_over_verifications_and_resends(world: World):
    shop = Caller(world.install(limits={"failed_checks": ["7/day"], "number": ["100/day"]}))
    first = shop.start()
    for _ in range(4):
        shop.check(first, shop.wrong(first))
    world.advance(31)
    shop.resend(first)
    shop.check(first, shop.wrong(first))
    second = shop.start()
    assert [shop.check(second, shop.wrong(second))[3] for _ in range(3)] == [
        CheckFailure.WRONG_CODE, CheckFailure.WRONG_CODE, CheckFailure.NUMBER_LOCKED,
    ]  # fmt: skip

    assert shop.check(second, shop.code(second)) == (Status.PENDING, False, 3, CheckFailure.NUMBER_LOCKED)
    with pytest.raises(RateLimitedError):
        shop.start()


def test_a_shop_cannot_lock_a_number_for_a_bank(world: World):
    installation = world.install(limits={"failed_checks": ["3/day"]})
    shop, bank = Caller(installation), Caller(installation, "bank")
    one = shop.start()
    for _ in range(3):
        shop.check(one, shop.wrong(one))
    other = bank.start()

    assert bank.check(other, bank.code(other))[1]


def test_sends_to_a_number_count_over_all_applications(world: World):
    installation = world.install(limits={"number": ["2/day"]})
    Caller(installation).start()
    Caller(installation, "bank").start("0300 1234567")

    with pytest.raises(RateLimitedError) as refused:
        Caller(installation).start("+92 (0)300 1234567")
    assert refused.value.quota is None


def test_a_changed_payment_ends_the_verification_without_a_guess(shop: Caller):
    one = shop.start(purpose="payment", transaction=PAYMENT)
    code = shop.code(one)
    changed = Transaction("1500.01", "PKR", "Daraz")

    assert shop.check(one, code, changed) == (Status.FAILED, False, 0, CheckFailure.TRANSACTION_CHANGED)
    assert shop.check(one, code, PAYMENT) == (Status.FAILED, False, 0, CheckFailure.FAILED)


def test_a_check_of_another_number_is_refused_and_is_no_guess(shop: Caller):
    one = shop.start()
    for typed in (shop.code(one), shop.wrong(one)):
        with pytest.raises(NumberMismatchError):
            shop.check(one, typed, to="+923007654321")

    assert shop.check(one, shop.code(one), to="03001234567") == (Status.APPROVED, True, 4, None)


@pytest.mark.parametrize("amount", ["1500", "1500.0", "1500.00"])
def test_equal_amounts_are_the_same_payment(shop: Caller, amount: str):
    one = shop.start(purpose="payment", transaction=PAYMENT)

    assert shop.check(one, shop.code(one), Transaction(amount, "PKR", "Daraz"))[1]


@pytest.mark.parametrize(
    ("purpose", "started_with", "checked_with"), [("payment", PAYMENT, None), ("login", None, PAYMENT)]
)
def test_a_transaction_that_does_not_fit_the_purpose_costs_nothing(shop: Caller, purpose, started_with, checked_with):
    one = shop.start(purpose=purpose, transaction=started_with)
    with pytest.raises(InvalidTransactionError):
        shop.check(one, "000000", checked_with)

    assert shop.read(one).verification.checks == 0


@pytest.mark.parametrize("typed", ["12345", "1234567", "12345678", "123456789", "abcdef", "", "²²²²²²", "1" * 10_000])
def test_what_cannot_be_the_code_is_not_a_guess(shop: Caller, typed: str):
    one = shop.start()
    with pytest.raises(InvalidCodeError):
        shop.check(one, typed)

    assert shop.read(one).verification.checks == 0


def test_another_applications_verification_does_not_exist(world: World):
    installation = world.install()
    shop, bank = Caller(installation), Caller(installation, "bank")
    one = shop.start()
    for act in (
        lambda: bank.check(one, "123456"),
        lambda: status_of(bank, one),
        lambda: bank.resend(one),
        lambda: bank.cancel(one),
    ):
        with pytest.raises(NotFoundError):
            act()

    assert shop.read(one).verification.checks == 0


def test_a_canceled_verification_stays_canceled(shop: Caller):
    one = shop.start()
    code = shop.code(one)
    assert shop.cancel(one).verification.status is Status.CANCELED
    assert shop.cancel(one).verification.status is Status.CANCELED

    assert shop.check(one, code) == (Status.CANCELED, False, 0, CheckFailure.CANCELED)
    with pytest.raises(ConflictError):
        shop.resend(one)


def test_an_approved_verification_cannot_be_canceled(shop: Caller):
    one = shop.start()
    shop.check(one, shop.code(one))

    with pytest.raises(ConflictError):
        shop.cancel(one)


def test_a_final_verification_keeps_no_number(world: World):
    shop = Caller(world.install())
    one = shop.start()
    assert record_of(world.client, f"otp:{{00}}:v:{one}")["destination"]
    shop.check(one, shop.code(one))

    assert not record_of(world.client, f"otp:{{00}}:v:{one}")["destination"]


def test_a_start_asked_again_is_answered_again_and_sends_nothing(world: World):
    shop = Caller(world.install())
    retry = IdempotentRequest("key", "request")
    first, again = shop.send(retry=retry), shop.send(retry=retry)

    assert again.verification == first.verification
    assert waiting(world.client) == 1
    with pytest.raises(IdempotencyMismatchError):
        shop.send(retry=IdempotentRequest("key", "another request"))


def test_a_start_asked_again_after_its_record_is_gone_tells_the_outcome(world: World):
    shop = Caller(world.install())
    retry = IdempotentRequest("key", "request")
    first = shop.send(retry=retry)
    one = first.verification.id
    deliver_all(shop.context)
    shop.check(one, shop.code(one))
    world.advance(1000)
    again = shop.send(retry=retry).verification

    assert (again.id, again.status, again.created) == (one, Status.APPROVED, first.verification.created)
    assert waiting(world.client) == 0
    world.advance(24 * 3600)
    assert shop.start(retry=retry) != one


def test_a_repeated_start_is_expired_after_its_record_and_code(world: World):
    shop = Caller(world.install())
    retry = IdempotentRequest("key", "request")
    first = shop.send(retry=retry).verification
    world.advance(1000)
    again = shop.send(retry=retry).verification

    assert (again.id, again.status, again.expires) == (first.id, Status.EXPIRED, first.expires)


def test_a_refused_start_remembers_nothing(world: World):
    shop = Caller(world.install(limits={"number": ["1/minute"]}))
    shop.start()
    retry = IdempotentRequest("key", "request")
    with pytest.raises(RateLimitedError):
        shop.start(retry=retry)
    world.advance(61)

    assert status_of(shop, shop.start(retry=retry)) is Status.PENDING


def test_a_check_asked_again_counts_once_and_an_approval_can_be_asked_for_again(shop: Caller):
    one = shop.start()
    wrong, right = IdempotentRequest("wrong", "a"), IdempotentRequest("right", "b")
    first = shop.check(one, shop.wrong(one), retry=wrong)
    assert shop.check(one, shop.wrong(one), retry=wrong) == first
    approval = shop.check(one, shop.code(one), retry=right)

    assert approval == (Status.APPROVED, True, 3, None)
    assert shop.check(one, shop.code(one), retry=right) == approval
    assert shop.check(one, shop.wrong(one), retry=wrong) == (Status.APPROVED, False, 4, CheckFailure.WRONG_CODE)


def test_a_resend_asked_again_sends_once(world: World):
    shop = Caller(world.install(purposes={"login": {"resend_delays": [0]}}))
    one = shop.start()
    retry = IdempotentRequest("key", "request")
    first = shop.resend(one, retry)
    again = shop.resend(one, retry)

    assert first.verification == again.verification
    assert waiting(world.client) == 2


def test_a_policy_change_does_not_touch_live_verifications(world: World):
    keys = {
        "root": f"k1:{'QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY='}",
        "pseudonym": "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY=",
    }
    before = Caller(world.install(keys=keys))
    one = before.start()
    after = Caller(world.install(keys=keys, purposes={"login": {"max_checks": 1, "code_length": 8}}))

    assert after.check(one, after.wrong(one)) == (Status.PENDING, False, 4, CheckFailure.WRONG_CODE)
    assert after.check(one, before.code(one))[1]
