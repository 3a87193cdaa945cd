"""Mirror and fence are in each bucket, and all processes agree on them."""

from typing import Any

import pytest
from support_caller import Caller
from support_frozen import FrozenValkey
from support_installation import tree

from otp_service.bootstrap import Installation
from otp_service.domain.consents import ConsentMode, LedgerPosition, MirrorChanges, NumberState
from otp_service.errors import LedgerUnavailableError, SuppressedError
from otp_service.services.operator_actions import fence_store
from otp_service.store import keys

NUMBERS = [f"+923001{place}4567" for place in range(10, 99)]
IDENTITY = "i" * 32


@pytest.fixture
def shared(frozen: FrozenValkey) -> dict[str, Any]:
    return tree(frozen.url)


def install(frozen: FrozenValkey, shared: dict[str, Any], **sections: Any) -> Installation:
    """Return a process' installation."""
    return frozen.world().install(**{"ledger": shared["ledger"], "keys": shared["keys"], **sections})


@pytest.fixture
def two(frozen: FrozenValkey, shared: dict[str, Any]) -> tuple[Caller, Caller]:
    """Two processes of one store."""
    one, other = (install(frozen, shared) for _ in range(2))
    for installation in (one, other):
        installation.context.mirror_sync.refresh()
    return Caller(one), Caller(other)


def test_a_fence_holds_for_both_and_what_comes_after_it_lives_for_both(two):
    one, other = two
    before = [caller.start(number) for caller, number in zip(two, NUMBERS, strict=False)]
    put = fence_store(one.context)
    after = [caller.start(number) for caller, number in zip(two, NUMBERS[2:], strict=False)]

    assert [other.check(each, other.code(each))[0] for each in before] == ["expired", "expired"]
    assert other.check(after[0], other.code(after[0]))[0] == "approved"
    assert one.check(after[1], one.code(after[1]))[0] == "approved"
    assert other.context.store.fences.current() == put


def test_each_fence_has_a_name_that_none_had_before(two):
    one, other = two
    first = fence_store(one.context)

    assert fence_store(other.context) > first


def suppress(caller: Caller, number: str) -> None:
    """Let the ledger's mirror know of a suppression, as a process that has recorded it does."""
    mirror, keyring = caller.context.store.mirror, caller.context.keyring
    pseudonym = keyring.pseudonym(number)
    before = mirror.head().place
    after = LedgerPosition(before.identity, before.sequence + 1, before.entry + 1, f"{before.link}+")
    changes = MirrorChanges(before, after, after.sequence, (NumberState(pseudonym, {"shop": None}, {}),))
    assert mirror.write(changes, [keyring.bucket(pseudonym)], mirror.parts) == [True] * len(mirror.parts)


def test_what_one_mirrors_is_in_force_for_both(two):
    one, other = two
    suppress(one, NUMBERS[0])
    suppress(other, NUMBERS[1])

    assert one.context.store.mirror.head() == other.context.store.mirror.head()
    for caller in two:
        for number in NUMBERS[:2]:
            with pytest.raises(SuppressedError):
                caller.start(number)
        assert caller.start(NUMBERS[2 + two.index(caller)])


def test_what_one_closes_or_builds_anew_is_closed_and_built_for_both(two):
    one, other = two
    one.context.store.mirror.close()
    for caller in two:
        with pytest.raises(LedgerUnavailableError):
            caller.start()
    one.context.mirror_sync.rebuild()
    other.context.mirror_sync.refresh()

    for caller in two:
        assert caller.context.store.mirror.head().is_closed is False
        assert caller.start()


def test_one_of_both_builds_at_a_time(two):
    one, other = (caller.context.store.mirror for caller in two)
    building = one.begin(IDENTITY)

    assert other.begin(IDENTITY) is None
    building.give_up()
    assert other.begin(IDENTITY)


# --- several buckets ----------------------------------------------------------------------------------------------


@pytest.fixture
def spread(frozen: FrozenValkey, shared: dict[str, Any]) -> Caller:
    """An installation of four buckets."""
    made = install(frozen, shared, keys={**shared["keys"], "buckets": 4})
    made.context.mirror_sync.refresh()
    return Caller(made)


def one_of_each(caller: Caller) -> dict[str, str]:
    """Return a number of each bucket."""
    keyring = caller.context.keyring
    found = {keyring.bucket(keyring.pseudonym(one)): one for one in NUMBERS}
    assert sorted(found) == list(keyring.buckets)
    return found


def test_a_change_brings_the_mirror_of_all_buckets_to_its_place(frozen, spread):
    numbers = one_of_each(spread)
    suppress(spread, numbers["02"])
    sequences = {frozen.client.hget(keys.mirror(bucket), "sequence") for bucket in numbers}
    assert len(sequences) == 1
    assert not frozen.client.exists(keys.mirror("04"))
    with pytest.raises(SuppressedError):
        spread.start(numbers["02"])

    for bucket in ("00", "01", "03"):
        assert spread.start(numbers[bucket])


def test_a_mirror_that_is_behind_in_one_bucket_is_behind(frozen, spread):
    place = spread.context.store.mirror.head().place
    frozen.client.hincrby(keys.mirror("02"), "sequence", -1)
    assert spread.context.store.mirror.head().place.sequence == place.sequence - 1
    frozen.client.delete(keys.mirror("02"))

    assert spread.context.store.mirror.head().place is None


def test_a_fence_is_put_in_all_buckets_and_has_one_name(spread):
    numbers = one_of_each(spread)
    begun = [spread.start(number) for number in numbers.values()]
    put = fence_store(spread.context)

    assert {spread.check(one, spread.code(one))[0] for one in begun} == {"expired"}
    assert {spread.context.store.fences.current((bucket,)) for bucket in numbers} == {put}


def test_the_name_of_a_fence_is_new_to_all_buckets(frozen, spread):
    frozen.client.hset(keys.fence("01"), mapping={"at": frozen.now + 99})

    assert fence_store(spread.context) == frozen.now + 100


def test_starts_are_refused_by_the_buckets_that_are_closed_and_readiness_tells_when_all_are(frozen, spread):
    numbers = one_of_each(spread)
    query = spread.context.mirror_sync.query("00", ConsentMode.OFF)

    def told():
        return spread.context.store.verifications.unavailable_reason(lambda _: query, spread.context.keyring.buckets)

    for bucket in ("00", "01", "03"):
        frozen.client.hset(keys.mirror(bucket), "sequence", -1)
    with pytest.raises(LedgerUnavailableError):
        spread.start(numbers["00"])
    assert spread.start(numbers["02"])
    assert told() is None
    frozen.client.delete(keys.mirror("02"))

    assert told() == "mirror-behind"
