"""Waits between messages and after wrong codes, and the lock: how they grow, and what ends them."""

from typing import Any

import pytest
from support_caller import Caller
from support_cli import configured, run
from support_frozen import FrozenValkey
from support_guard import approve, guarded, guess, guesses, later, modes, number, passes, refused
from support_outbox import waiting

from otp_service.bootstrap import install
from otp_service.settings import load_settings
from otp_service.store import keys

VICTIM = number(1)
DAY = 86_400


def _shop(frozen: FrozenValkey, *rules: str, **of_number: Any) -> Caller:
    return Caller(guarded(frozen, *rules, guard={"number": of_number}))


def test_the_wait_before_the_next_message_grows_and_its_last_step_repeats(frozen: FrozenValkey) -> None:
    shop = _shop(frozen, "number.cooldown")
    assert passes(shop, VICTIM)
    for wait in (30, 60, 120, 120, 120):
        later(frozen, wait - 0.001)
        assert not passes(shop, VICTIM)
        later(frozen, 0.001)
        assert passes(shop, VICTIM)


def test_a_resend_does_not_wait_but_lengthens_the_row(frozen: FrozenValkey) -> None:
    """It has the delays of its purpose."""
    shop = _shop(frozen, "number.cooldown")
    one = shop.start(VICTIM)
    shop.resend(one)
    assert not passes(shop, VICTIM)
    frozen.advance(59.999)
    assert not passes(shop, VICTIM)
    frozen.advance(0.001)

    assert passes(shop, VICTIM)


def test_the_wait_is_of_all_applications_together_and_of_one_number(frozen: FrozenValkey) -> None:
    installation = guarded(frozen, "number.cooldown")
    shop, bank = Caller(installation), Caller(installation, "bank")
    shop.start(VICTIM)

    assert not passes(bank, VICTIM)
    assert passes(bank, number(2))


def test_an_approval_ends_the_wait_between_messages(frozen: FrozenValkey) -> None:
    shop = _shop(frozen, "number.cooldown")
    shop.start(VICTIM)
    later(frozen, 30)
    approve(shop, VICTIM)

    assert passes(shop, VICTIM)
    later(frozen, 30)
    assert passes(shop, VICTIM), "the row began anew"


def test_an_hour_without_a_message_ends_the_row(frozen: FrozenValkey) -> None:
    shop = _shop(frozen, "number.cooldown")
    for wait in (30, 60, 3599):
        assert passes(shop, VICTIM)
        later(frozen, wait)
    assert passes(shop, VICTIM), "the fourth in its row"
    later(frozen, 119)
    assert not passes(shop, VICTIM)
    later(frozen, 3481)
    assert passes(shop, VICTIM)
    later(frozen, 30)

    assert passes(shop, VICTIM)


def test_after_wrong_codes_a_guess_and_a_message_wait_longer_each_time(frozen: FrozenValkey) -> None:
    shop = _shop(frozen, "number.guess_wait", guess_waits=[0, 0, 30, 60])
    one = shop.start(VICTIM)
    assert [guess(shop, one) for _ in range(4)] == ["wrong_code"] * 3 + ["number_locked"]
    assert not passes(shop, VICTIM)
    assert refused(lambda: shop.resend(one))
    frozen.advance(29.999)
    assert shop.check(one, shop.code(one))[3] == "number_locked"
    later(frozen, 0.001)
    assert guess(shop, one) == "wrong_code"
    later(frozen, 59)
    assert not passes(shop, VICTIM)
    later(frozen, 1)

    assert passes(shop, VICTIM)


@pytest.mark.parametrize(("ends", "reason"), [("approval", "wrong_code"), ("day", "wrong_code"), ("", "number_locked")])
def test_an_approval_or_a_day_ends_the_wait_after_wrong_codes(frozen: FrozenValkey, ends: str, reason: str) -> None:
    shop = _shop(frozen, "number.guess_wait", guess_waits=[0, 30])
    one = shop.start(VICTIM)
    assert [guess(shop, one) for _ in range(2)] == ["wrong_code"] * 2
    later(frozen, 31)
    if ends == "approval":
        assert shop.check(one, shop.code(one))[1]
    later(frozen, DAY if ends == "day" else DAY - 32)
    another = shop.start(VICTIM)

    assert [guess(shop, another) for _ in range(2)] == ["wrong_code", reason]


def test_waits_after_wrong_codes_are_of_one_application(frozen: FrozenValkey) -> None:
    installation = guarded(frozen, "number.guess_wait", guard={"number": {"guess_waits": [60]}})
    shop, bank = Caller(installation), Caller(installation, "bank")
    guess(shop, shop.start(VICTIM))

    assert not passes(shop, VICTIM)
    assert guess(bank, bank.start(VICTIM)) == "wrong_code"


def test_so_many_wrong_codes_in_a_row_lock_a_number_over_verifications_and_resends(frozen: FrozenValkey) -> None:
    shop = _shop(frozen, "number.lock", lock_after=12, lock_days=30)
    one = shop.start(VICTIM)
    assert [guess(shop, one) for _ in range(4)] == ["wrong_code"] * 4
    shop.resend(one)
    assert guesses(shop, VICTIM, 7) == 7
    another = shop.start(VICTIM)
    assert guess(shop, one) == "wrong_code", "the twelfth is still compared"
    before = waiting(frozen.client)

    assert shop.check(another, shop.code(another))[3] == "number_locked"
    assert refused(lambda: shop.resend(another))
    assert not passes(shop, VICTIM)
    assert waiting(frozen.client) == before


def test_an_approval_ends_the_row_that_would_lock(frozen: FrozenValkey) -> None:
    shop = _shop(frozen, "number.lock", lock_after=10)
    for _ in range(3):
        assert guesses(shop, VICTIM, 9) == 9
        approve(shop, VICTIM)

    assert passes(shop, VICTIM)


def test_a_lock_ends_by_itself(frozen: FrozenValkey) -> None:
    shop = _shop(frozen, "number.lock", lock_after=10, lock_days=30)
    assert guesses(shop, VICTIM, 11) == 10
    later(frozen, 30 * DAY - 0.001)
    assert not passes(shop, VICTIM)
    later(frozen, 0.001)

    assert guesses(shop, VICTIM, 11) == 10, "and the next row is as long"


def test_an_operator_lifts_a_lock_and_the_waits(frozen: FrozenValkey, tmp_path: Any) -> None:
    rules = modes("number.lock", "number.cooldown", "number.guess_wait")
    own = {"lock_after": 10, "cooldown": [600], "guess_waits": [0] * 9 + [600]}
    environ = configured(
        tmp_path, frozen.url, guard={"modes": rules, "number": own}, limits={"failed_checks": ["100/day"]}
    )
    shop = Caller(install(load_settings(environ=environ)))
    pseudonym = shop.context.keyring.pseudonym(VICTIM)
    bucket, ones = shop.context.keyring.bucket(pseudonym), []
    for _ in range(2):
        ones.append(shop.start(VICTIM))
        later(frozen, 1)
        assert shop.context.store.guard.forget_number(bucket, pseudonym, ["shop"]) == 1
    for one in ones:
        for _ in range(5):
            guess(shop, one)
    assert not passes(shop, VICTIM)
    result = run("guard", "unblock", "--number", VICTIM, "--yes", environ=environ)

    assert (result.exit_code, result.stdout) == (0, "Lifted. The counters start from zero.\n")
    assert passes(shop, VICTIM)
    assert not passes(shop, VICTIM), "the wait after that message"
    assert run("guard", "unblock", "--number", VICTIM, "--yes", environ=environ).exit_code == 0
    assert passes(shop, VICTIM)


def test_locks_of_several_applications_are_lifted_at_once_and_of_nobody_nothing_is_kept(frozen: FrozenValkey) -> None:
    installation = guarded(frozen, "number.lock", guard={"number": {"lock_after": 10}})
    shop, bank = Caller(installation), Caller(installation, "bank")
    pseudonym = installation.context.keyring.pseudonym(VICTIM)
    about = "00", pseudonym, ["shop", "bank"]
    assert shop.context.store.guard.forget_number(*about) == 0
    assert not frozen.client.exists(keys.number("00", pseudonym))
    for caller in (shop, bank):
        assert guesses(caller, VICTIM, 11) == 10

    assert shop.context.store.guard.forget_number(*about) == 2
    assert passes(bank, VICTIM)


def test_what_nobody_needs_of_another_application_is_not_kept_for_ever(frozen: FrozenValkey) -> None:
    installation = guarded(frozen, "number.guess_wait", guard={"number": {"known_days": 1}})
    shop, bank = Caller(installation), Caller(installation, "bank")
    guess(bank, bank.start(VICTIM))
    state = keys.number("00", shop.context.keyring.pseudonym(VICTIM))
    shop.start(VICTIM)
    assert b"bank" in frozen.client.get(state)
    later(frozen, 2 * DAY)
    shop.start(VICTIM)

    assert b"bank" not in frozen.client.get(state)
