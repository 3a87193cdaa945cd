"""Who is known keeps a share that strangers cannot use up; both together never pass what a number may have."""

from typing import Any

import pytest
from support_caller import Caller
from support_frozen import FrozenValkey
from support_guard import ADDRESS, approve, guarded, guess, guesses, later, number, passed, passes, refused
from support_installation import key
from support_outbox import waiting

from otp_service.bootstrap import Installation

VICTIM = number(1)
DAY = 86_400
SENDS: dict[str, Any] = {"limits": {"number": ["10/day"]}}
GUESSES: dict[str, Any] = {"limits": {"failed_checks": ["10/day"]}}


def _installed(frozen: FrozenValkey, *rules: str, **sections: Any) -> tuple[Caller, Caller]:
    installation: Installation = guarded(frozen, *rules, **sections)
    return Caller(installation), Caller(installation, "bank")


def test_unknown_contexts_cannot_use_up_the_messages_reserved_for_a_known_one(frozen: FrozenValkey) -> None:
    shop, _ = _installed(frozen, "number.sends", **SENDS)
    approve(shop, VICTIM, context="own phone")

    assert passed(shop, VICTIM, 20) == 5, "with the owner's own message it is 60 % of ten"
    assert passed(shop, VICTIM, 20, context="own phone") == 4, "the rest of ten, and not one more"
    assert not passes(shop, VICTIM)


def test_messages_that_known_contexts_used_are_not_available_to_unknown_ones(frozen: FrozenValkey) -> None:
    shop, _ = _installed(frozen, "number.sends", **SENDS)
    approve(shop, VICTIM, context="own phone")
    assert passed(shop, VICTIM, 7, context="own phone") == 7

    assert passed(shop, VICTIM, 20) == 0
    assert passed(shop, VICTIM, 20, context="own phone") == 2


def test_unknown_contexts_cannot_use_up_the_guesses_reserved_for_a_known_one(frozen: FrozenValkey) -> None:
    shop, _ = _installed(frozen, "number.guesses", **GUESSES)
    approve(shop, VICTIM, context="own phone")
    theirs, own = shop.start(VICTIM), shop.start(VICTIM, context="own phone")

    assert guesses(shop, VICTIM, 30) == 6
    assert guess(shop, theirs) == "number_locked"
    assert not passes(shop, VICTIM), "refused before a message is paid for"
    assert [guess(shop, own) for _ in range(2)] == ["wrong_code"] * 2
    assert shop.check(own, shop.code(own))[1], "the owner comes in, during the attack"
    assert guesses(shop, VICTIM, 30, context="own phone") == 2
    assert not passes(shop, VICTIM, context="own phone"), "six, and four: not one more"


def test_a_verification_keeps_the_trust_of_its_context_to_its_end(frozen: FrozenValkey) -> None:
    """Even when eight others came in meanwhile, and its context is no longer remembered."""
    shop, _ = _installed(frozen, "number.guesses", **GUESSES)
    approve(shop, VICTIM, context="own phone")
    own = shop.start(VICTIM, context="own phone")
    for place in range(8):
        later(frozen, 0.01)
        approve(shop, VICTIM, context=f"other {place}")
    assert guesses(shop, VICTIM, 30) == 6

    assert guess(shop, own) == "wrong_code"
    assert not passes(shop, VICTIM, context="own phone"), "a new one does not know it"


def test_a_shared_address_gives_no_trust(frozen: FrozenValkey) -> None:
    shop, _ = _installed(frozen, "number.sends", **SENDS)
    approve(shop, VICTIM, context="own phone", client_ip=ADDRESS)

    assert passed(shop, VICTIM, 20, client_ip=ADDRESS) == 5
    assert passed(shop, VICTIM, 20, client_ip=ADDRESS, context="another") == 0
    assert passes(shop, VICTIM, client_ip="198.51.100.9", context="own phone"), "wherever the owner is"


def test_a_context_of_the_same_name_at_another_application_is_not_known(frozen: FrozenValkey) -> None:
    shop, bank = _installed(frozen, "number.sends", **SENDS)
    approve(shop, VICTIM, context="phone")

    assert passed(bank, VICTIM, 20, context="phone") == 5
    assert passed(shop, VICTIM, 20, context="phone") == 4


def test_unknown_contexts_of_another_application_have_all_guesses_which_each_counts_apart(frozen: FrozenValkey) -> None:
    """Nobody is known there, for whom a share could be kept."""
    shop, bank = _installed(frozen, "number.guesses", **GUESSES)
    approve(shop, VICTIM, context="own phone")

    assert guesses(bank, VICTIM, 8) == 8
    assert passes(bank, VICTIM), "nor do its starts leave a share"
    assert guesses(bank, VICTIM, 30) == 2
    assert guesses(shop, VICTIM, 30) == 6
    assert not passes(shop, VICTIM)


def test_messages_count_over_all_applications_and_so_is_a_share_kept_at_all(frozen: FrozenValkey) -> None:
    shop, bank = _installed(frozen, "number.sends", **SENDS)
    approve(shop, VICTIM, context="own phone")

    assert passed(bank, VICTIM, 20) == 5
    assert passed(shop, VICTIM, 20, context="own phone") == 4


def test_a_context_is_known_to_the_number_that_it_verified_and_to_no_other(frozen: FrozenValkey) -> None:
    shop, _ = _installed(frozen, "number.sends", **SENDS)
    approve(shop, VICTIM, context="own phone")
    approve(shop, number(2), context="another phone")

    assert passed(shop, VICTIM, 20, context="another phone") == 5
    assert passed(shop, number(2), 20, context="own phone") == 5


def test_only_a_right_code_makes_a_context_known(frozen: FrozenValkey) -> None:
    shop, _ = _installed(frozen, "number.sends", **SENDS)
    approve(shop, VICTIM, context="own phone")
    one = shop.start(VICTIM, context="thief")
    guess(shop, one)
    shop.cancel(one)

    assert passed(shop, VICTIM, 20, context="thief") == 4


@pytest.mark.parametrize("context", [None, "own phone"])
def test_before_any_context_is_known_all_messages_are_available(frozen: FrozenValkey, context: str | None) -> None:
    shop, _ = _installed(frozen, "number.sends", "number.guesses", limits={**SENDS["limits"], **GUESSES["limits"]})
    approve(shop, VICTIM)  # without a context nobody can be known

    assert passed(shop, VICTIM, 20, context=context) == 9


@pytest.mark.parametrize("days", [90, 7])
def test_after_known_days_a_context_is_unknown_again(frozen: FrozenValkey, days: int) -> None:
    shop, _ = _installed(frozen, "number.sends", guard={"number": {"known_days": days}}, **SENDS)
    approve(shop, VICTIM, context="own phone")
    later(frozen, days * DAY - 1)
    assert passed(shop, VICTIM, 20) == 6
    assert passed(shop, VICTIM, 20, context="own phone") == 4
    later(frozen, DAY + 1)

    assert passed(shop, VICTIM, 20) == 10, "nobody is known: nothing is reserved"


def test_an_approval_renews_the_days(frozen: FrozenValkey) -> None:
    shop, _ = _installed(frozen, "number.sends", **SENDS)
    for _ in range(3):
        approve(shop, VICTIM, context="own phone")
        later(frozen, 60 * DAY)

    assert passed(shop, VICTIM, 20) == 6
    assert passed(shop, VICTIM, 20, context="own phone") == 4


def test_each_context_has_its_own_days(frozen: FrozenValkey) -> None:
    shop, _ = _installed(frozen, "number.sends", **SENDS)
    approve(shop, VICTIM, context="old phone")
    later(frozen, 60 * DAY)
    approve(shop, VICTIM, context="new phone")
    later(frozen, 30 * DAY - 1)
    assert passes(shop, VICTIM, context="old phone")
    later(frozen, 1)
    assert passed(shop, VICTIM, 20, context="old phone") == 5
    assert passed(shop, VICTIM, 20, context="new phone") == 4


def test_the_oldest_of_nine_contexts_is_forgotten(frozen: FrozenValkey) -> None:
    shop, _ = _installed(frozen, "number.sends", **SENDS)
    for place in range(9):
        later(frozen, 2 * DAY)
        approve(shop, VICTIM, context=f"phone {place}")
    later(frozen, 2 * DAY)
    assert passed(shop, VICTIM, 20) == 6

    assert not passes(shop, VICTIM, context="phone 0")
    assert all(passes(shop, VICTIM, context=f"phone {place}") for place in (1, 4, 8))


def test_when_fewer_contexts_are_kept_than_before_the_oldest_are_forgotten(frozen: FrozenValkey) -> None:
    keys = {"root": f"k1:{key()}", "pseudonym": key()}
    before, _ = _installed(frozen, "number.sends", keys=keys, **SENDS)
    for place in range(5):
        later(frozen, 0.01)
        approve(before, VICTIM, context=f"phone {place}")
    fewer = {"number": {"contexts": 2}}
    shop, _ = _installed(frozen, "number.sends", keys=keys, guard=fewer, **SENDS)
    later(frozen, DAY + 1)
    approve(shop, VICTIM, context="phone 5")
    assert passed(shop, VICTIM, 20) == 5

    assert not passes(shop, VICTIM, context="phone 3")
    assert all(passes(shop, VICTIM, context=f"phone {place}") for place in (4, 5))


def test_a_window_of_one_message_leaves_it_to_unknown_contexts(frozen: FrozenValkey) -> None:
    shop, _ = _installed(frozen, "number.sends", limits={"number": ["1/minute"]})
    approve(shop, VICTIM, context="own phone")
    later(frozen, 61)

    assert passed(shop, VICTIM, 5) == 1


def test_a_resend_has_the_trust_of_its_verification(frozen: FrozenValkey) -> None:
    shop, _ = _installed(frozen, "number.sends", **SENDS)
    approve(shop, VICTIM, context="own phone")
    own, theirs = shop.start(VICTIM, context="own phone"), shop.start(VICTIM)
    assert passed(shop, VICTIM, 20) == 3

    assert refused(lambda: shop.resend(theirs))
    assert not refused(lambda: shop.resend(own))


@pytest.mark.parametrize("trust", [None, "own phone"])
def test_a_lock_after_many_wrong_codes_in_a_row_holds_for_known_and_unknown_contexts(
    frozen: FrozenValkey, trust: str | None
) -> None:
    shop, bank = _installed(frozen, "number.lock", guard={"number": {"lock_after": 10}})
    approve(shop, VICTIM, context="own phone")
    own = shop.start(VICTIM, context="own phone")
    assert guesses(shop, VICTIM, 5) == 5
    assert guesses(shop, VICTIM, 5, context="own phone") == 5
    before = waiting(frozen.client)

    assert not passes(shop, VICTIM, context=trust)
    assert guess(shop, own) == "number_locked"
    assert waiting(frozen.client) == before, "refused before a message is paid for"
    assert passes(bank, VICTIM), "guesses at the shop lock nobody out of the bank"


def test_known_and_unknown_contexts_wait_for_their_own_messages_only(frozen: FrozenValkey) -> None:
    shop, _ = _installed(frozen, "number.cooldown", "number.guess_wait", guard={"number": {"guess_waits": [60]}})
    approve(shop, VICTIM, context="own phone")
    theirs = shop.start(VICTIM)
    guess(shop, theirs)
    assert not passes(shop, VICTIM)

    own = shop.start(VICTIM, context="own phone")
    assert guess(shop, theirs) == "number_locked"
    assert guess(shop, own) == "wrong_code"
    assert guess(shop, own) == "number_locked"


def test_an_approval_ends_the_waits_of_its_own_trust_only(frozen: FrozenValkey) -> None:
    shop, _ = _installed(frozen, "number.cooldown", "number.guess_wait", guard={"number": {"guess_waits": [0, 300]}})
    approve(shop, VICTIM, context="own phone")
    theirs = shop.start(VICTIM)
    own = shop.start(VICTIM, context="own phone")
    for one in (theirs, theirs, own):
        assert guess(shop, one) == "wrong_code"
    assert shop.check(own, shop.code(own))[1]

    assert guess(shop, theirs) == "number_locked"
    assert passes(shop, VICTIM, context="own phone")
    later(frozen, 31)
    assert not passes(shop, VICTIM)
