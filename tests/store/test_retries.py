"""What is asked twice is done once, and what is done at the same time is not done twice."""

import pytest
from support_caller import PAYMENT, Caller
from support_frozen import FrozenValkey
from support_outbox import deliver_all, waiting

from otp_service.domain.codes import derive_tag
from otp_service.domain.consents import ConsentMode
from otp_service.domain.payments import Transaction
from otp_service.errors import (
    ConflictError,
    IdempotencyMismatchError,
    InvalidCodeError,
    RateLimitedError,
    ResendTooSoonError,
)
from otp_service.store.verifications import FurtherMessage, Queued, Refusal


@pytest.fixture
def shop(frozen: FrozenValkey) -> Caller:
    return Caller(
        frozen.world().install(
            limits={"number": ["5/10 minutes", "20/day"], "failed_checks": ["6/day"]},
            purposes={"login": {"resend": "new_code", "resend_delays": [0], "max_sends": 4}},
        )
    )


def test_an_answer_that_is_asked_for_after_the_end_tells_the_status_of_now(frozen: FrozenValkey, shop: Caller) -> None:
    one = shop.start()
    retry = shop.retry("key", "check")
    assert shop.check(one, shop.wrong(one), retry=retry) == ("pending", False, 4, "wrong_code")
    frozen.advance(300)

    assert shop.check(one, "123456", retry=retry) == ("expired", False, 4, "wrong_code")


def test_an_approval_can_be_asked_for_until_the_record_goes(frozen: FrozenValkey, shop: Caller) -> None:
    one = shop.start()
    retry = shop.retry("key", "check")
    first = shop.check(one, shop.code(one), retry=retry)
    frozen.advance(899)

    assert shop.check(one, "123456", retry=retry) == first == ("approved", True, 4, None)


def test_a_refusal_is_not_remembered(shop: Caller) -> None:
    one = shop.start()
    retry = shop.retry("key", "check")
    with pytest.raises(InvalidCodeError):
        shop.check(one, "12345678", retry=retry)

    assert shop.check(one, shop.code(one), retry=shop.retry("key", "another check"))[1]


def test_one_key_for_two_requests_is_refused_and_does_nothing(frozen: FrozenValkey, shop: Caller) -> None:
    one = shop.start(retry=shop.retry("key", "start"))
    code = shop.code(one)
    for act in (
        lambda retry: shop.start("+923001234568", retry),
        lambda retry: shop.resend(one, retry),
        lambda retry: shop.check(one, code, retry=retry),
        lambda retry: shop.cancel(one, retry),
    ):
        with pytest.raises(IdempotencyMismatchError):
            act(shop.retry("key", "something else"))

    assert waiting(frozen.client) == 1
    assert shop.check(one, code) == ("approved", True, 4, None)


def test_two_applications_may_use_the_same_key(frozen: FrozenValkey) -> None:
    installation = frozen.world().install()
    shop, bank = Caller(installation), Caller(installation, "bank")

    assert shop.start(retry=shop.retry("key", "start")) != bank.start(retry=bank.retry("key", "start"))


def test_of_two_resends_that_read_the_same_record_one_is_overtaken(frozen: FrozenValkey, shop: Caller) -> None:
    """Both derived the same next tag; were both accepted, a generation would have another one's tag."""
    one = shop.start()
    stale = shop.read(one).verification
    store, context = shop.context.store.verifications, shop.context
    further = FurtherMessage("sms", derive_tag(context.keyring, stale, 1))
    given = (context.mirror_sync.query("00", ConsentMode.OFF), context.rulesets["shop"])

    assert isinstance(store.resend("00", stale, further, *given), Queued)
    assert store.resend("00", stale, further, *given) is Refusal.CONFLICT
    assert waiting(frozen.client) == 2
    assert shop.check(one, shop.code(one))[1]


def test_of_two_reports_that_read_the_same_record_one_falls_back(frozen: FrozenValkey, shop: Caller) -> None:
    one = shop.start()
    deliver_all(shop.context)
    stale = shop.read(one).verification
    store, context = shop.context.store.verifications, shop.context
    first, second = (FurtherMessage("voice", falls_back_from=message, after_dispatch=1) for message in (1, 2))
    given = (context.mirror_sync.query("00", ConsentMode.OFF), context.rulesets["shop"])

    assert isinstance(store.resend("00", stale, first, *given), Queued)
    assert store.resend("00", stale, first, *given) is Refusal.CONFLICT
    deliver_all(shop.context)
    assert isinstance(store.resend("00", stale, second, *given), Queued)
    assert waiting(frozen.client) == 1


def test_a_resend_is_refused_exactly_when_the_code_has_expired(frozen: FrozenValkey, shop: Caller) -> None:
    one, other = shop.start(), shop.start()
    deliver_all(shop.context)
    frozen.advance(299.999)
    shop.resend(one)
    frozen.advance(0.001)
    for act in (shop.resend, shop.cancel):
        with pytest.raises(ConflictError, match="expired"):
            act(other)


def test_a_right_code_is_approved_until_the_last_millisecond_of_its_life(frozen: FrozenValkey, shop: Caller) -> None:
    one, other = shop.start(), shop.start()
    codes = shop.code(one), shop.code(other)
    frozen.advance(299.999)
    assert shop.check(one, codes[0])[1]
    frozen.advance(0.001)

    assert shop.check(other, codes[1]) == ("expired", False, 0, "expired")


def test_a_resend_brings_no_new_guesses(shop: Caller) -> None:
    one = shop.start()
    shop.check(one, shop.wrong(one))
    shop.check(one, shop.wrong(one))

    assert shop.resend(one).verification.checks_left == 3
    assert shop.check(one, shop.wrong(one))[2] == 2


def test_the_last_delay_of_a_resend_repeats(frozen: FrozenValkey) -> None:
    shop = Caller(frozen.world().install(purposes={"login": {"resend_delays": [10, 20], "max_sends": 4}}))
    one = shop.start()
    for delay in (10, 20, 20):
        frozen.advance(delay - 0.001)
        with pytest.raises(ResendTooSoonError):
            shop.resend(one)
        frozen.advance(0.001)
        shop.resend(one)


def test_a_right_code_is_counted_too(shop: Caller) -> None:
    one = shop.start()
    shop.check(one, shop.code(one))

    assert shop.read(one).verification.checks == 1


def test_a_locked_number_is_answered_alike_for_right_and_wrong_codes(shop: Caller) -> None:
    first, second = shop.start(), shop.start()
    for one, guesses in ((first, 4), (second, 2)):
        for _ in range(guesses):
            shop.check(one, shop.wrong(one))

    assert shop.check(second, shop.wrong(second)) == shop.check(second, shop.code(second))
    assert shop.check(second, shop.code(second)) == ("pending", False, 3, "number_locked")
    for act in (shop.start, lambda: shop.resend(second)):
        with pytest.raises(RateLimitedError):
            act()


def test_a_right_code_spends_no_guess_of_the_number(shop: Caller) -> None:
    for _ in range(4):
        one = shop.start()
        assert shop.check(one, shop.code(one))[1]
    one = shop.start()
    for _ in range(5):
        shop.check(one, shop.wrong(one))

    assert shop.check(one, shop.code(one))[3] == "max_attempts_reached"


@pytest.mark.parametrize(
    "changed",
    [
        Transaction("1500.01", "PKR", "Daraz"),
        Transaction("1500", "USD", "Daraz"),
        Transaction("1500", "PKR", "Darez"),
        Transaction("1500", "PKR", "Daraz", account="1234"),
        Transaction("1500", "PKR", "Daraz", reference="INV1"),
    ],
)
def test_any_change_of_a_payment_ends_it_without_a_guess(
    frozen: FrozenValkey, shop: Caller, changed: Transaction
) -> None:
    one = shop.start(purpose="payment", transaction=PAYMENT)
    code = shop.code(one)

    assert shop.check(one, code, changed) == ("failed", False, 0, "transaction_changed")
    assert shop.check(one, code, PAYMENT) == ("failed", False, 0, "failed")
    assert shop.read(one).verification.checks == 0
    pseudonym = shop.read(one).verification.pseudonym
    *_, failed = shop.context.store.limits.windows("00", pseudonym, ["shop"])
    assert failed.used == 0
