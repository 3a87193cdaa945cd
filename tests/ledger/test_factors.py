"""Authenticator apps and recovery codes in the ledger, on either database."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from support_factors import factor
from support_ledger_events import event, mirrored

from otp_service.domain.totp import MAX_FACTORS, FactorFailure, SealedFactor
from otp_service.errors import ConflictError, FactorLimitError
from otp_service.ledger.database import LedgerDefectError
from otp_service.ledger.ledger import Ledger
from otp_service.ledger.schema import factor_changes

USER, OTHER = "u" * 22, "v" * 22


def approved(factor_id: str, step: int, at: int = 1000):
    return event("factor.approved", factor_id, at, step=str(step))


def test_an_active_factor_is_mirrored_with_its_last_step_until_it_is_removed(ledger: Ledger):
    ledger.factors.activate(factor("fa_1", USER))
    ledger.verifications.record([approved("fa_1", 9), approved("fa_1", 8)])

    (packed,) = mirrored(ledger, USER).factors.values()
    assert SealedFactor.unpack("fa_1", packed).last_step == 9
    ledger.factors.remove("fa_1", "lost")
    assert mirrored(ledger, USER).factors == {}


def test_a_mirror_catches_up_with_every_change_but_a_new_label(ledger: Ledger):
    begun = ledger.mirror_source.head()
    ledger.factors.activate(factor("fa_1", USER))
    after_one = ledger.mirror_source.head()
    assert ledger.factors.rename("fa_1", "k1.other")
    assert ledger.mirror_source.head() == after_one
    ledger.factors.activate(factor("fa_2", OTHER))
    ledger.factors.remove("fa_1", "lost")

    one = ledger.mirror_source.since(begun, 1)
    assert (one.reached, [state.pseudonym for state in one.numbers]) == (after_one, [USER])
    rest = ledger.mirror_source.since(one.reached, 10)
    assert rest.reached == ledger.mirror_source.head()
    assert {state.pseudonym: [*state.factors] for state in rest.numbers} == {USER: [], OTHER: ["fa_2"]}


def test_users_and_numbers_are_read_page_by_page(ledger: Ledger):
    names = [f"{letter}{'x' * 21}" for letter in "abcdefg"]
    for place, name in enumerate(names):
        ledger.factors.activate(factor(f"fa_{place}", name))
    ledger.factors.remove("fa_3", "lost")

    found, after, place = [], "", ledger.mirror_source.head()
    while (changes := ledger.mirror_source.all_after(after, 2, place)).numbers:
        found += [one.pseudonym for one in changes.numbers]
        after = found[-1]
    assert found == [name for name in names if name != names[3]]
    assert ledger.mirror_source.count() == 6


def test_a_factor_is_activated_once_and_a_user_has_five(ledger: Ledger):
    for place in range(MAX_FACTORS):
        ledger.factors.activate(factor(f"fa_{place}", USER))
    with pytest.raises(ConflictError):
        ledger.factors.activate(factor("fa_0", USER))
    with pytest.raises(FactorLimitError):
        ledger.factors.activate(factor("fa_5", USER))

    ledger.factors.activate(factor("fa_5", USER, application="bank"))
    assert len(ledger.factors.of(USER, "shop")) == MAX_FACTORS
    assert mirrored(ledger, USER).factors.keys() == {f"fa_{place}" for place in range(6)}


def test_what_was_recorded_of_a_factor_is_never_changed(ledger: Ledger):
    ledger.factors.activate(factor("fa_1", USER))

    with pytest.raises(LedgerDefectError, match="never changed"), ledger.database.write() as connection:
        connection.execute(factor_changes.update().values(change="removed"))


def test_a_removal_takes_secret_and_label_and_is_recorded_once(ledger: Ledger):
    ledger.factors.activate(factor("fa_1", USER))

    assert ledger.factors.remove("fa_1", "lost") is not None
    assert ledger.factors.remove("fa_1", "stolen") is None
    gone = ledger.factors.find("fa_1")
    assert (gone.sealed.secret, gone.label, gone.removed is None) == ("", "", False)
    assert ledger.factors.root_keys() == {}


def test_secrets_are_counted_by_root_key_and_sealed_anew_where_nothing_changed(ledger: Ledger):
    for place in range(3):
        ledger.factors.activate(factor(f"fa_{place}", USER, root="old"))
    ledger.factors.activate(factor("fa_3", USER, root="new"))
    assert ledger.factors.root_keys() == {"old": 3, "new": 1}

    some = ledger.factors.sealed_by_others("new", 2)
    ledger.factors.rename(some[0].id, "old.another")
    ledger.factors.reseal([(one, "new.secret", "new.label") for one in some])
    assert ledger.factors.root_keys() == {"old": 2, "new": 2}
    assert ledger.factors.find(some[0].id).label == "old.another"


def test_steps_never_go_back_however_recorders_race(ledger: Ledger):
    ledger.factors.activate(factor("fa_1", USER))
    ledger.factors.activate(factor("fa_2", USER))
    batches = [
        [approved(f"fa_{1 + step % 2}", step, 1000 + step) for step in range(place, 60, 6)] for place in range(6)
    ]

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(ledger.verifications.record, batches))

    assert [ledger.factors.find(one).sealed.last_step for one in ("fa_1", "fa_2")] == [58, 59]
    assert [ledger.factors.find(one).used for one in ("fa_1", "fa_2")] == [1058, 1059]


def test_of_parallel_uses_of_a_recovery_code_one_succeeds(ledger: Ledger):
    ledger.recovery_codes.replace(USER, "shop", [f"hash-{place}" for place in range(10)])

    def spend(place: int) -> FactorFailure | None:
        return ledger.recovery_codes.spend("hash-0", f"new-{place}", USER, "shop")

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(spend, range(8)))

    assert Counter(results) == {None: 1, FactorFailure.CODE_USED: 7}
    assert len(ledger.recovery_codes.usable(USER, "shop")) == 10


@pytest.mark.parametrize(("user", "application"), [(OTHER, "shop"), (USER, "bank")])
def test_a_recovery_code_is_of_its_user_and_application(ledger: Ledger, user: str, application: str):
    ledger.recovery_codes.replace(USER, "shop", ["hash"])

    assert ledger.recovery_codes.spend("hash", "new", user, application) == FactorFailure.WRONG_CODE
    assert ledger.recovery_codes.spend("hash", "new", USER, "shop") is None
    assert ledger.recovery_codes.spend("hash", "new", user, application) == FactorFailure.WRONG_CODE


def test_of_two_series_that_are_made_at_once_one_is_left(ledger: Ledger):
    with ThreadPoolExecutor(4) as pool:
        series = [[f"{place}-{code}" for code in range(10)] for place in range(4)]
        list(pool.map(lambda hashes: ledger.recovery_codes.replace(USER, "shop", hashes), series))

    assert len(ledger.recovery_codes.usable(USER, "shop")) == 10


def test_of_two_first_series_at_once_one_is_recorded(ledger):
    """Two activations of a user's apps at once would each show codes, and those of one would be dead."""
    ledger.factors.activate(factor("fa_1", "u" * 22))
    with ThreadPoolExecutor(2) as both:
        made = list(both.map(lambda name: ledger.recovery_codes.replace("u" * 22, "shop", [name], first=True), "ab"))

    assert sorted(made) == [False, True]
    assert len(ledger.recovery_codes.usable("u" * 22, "shop")) == 1
