"""The evaluator of limits agrees with the limits library's own strategies, on the same Redis at the same time."""

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import fakeredis
import pytest
import redis
import time_machine
from support_evaluator import Verdict, hit, item, library, snapshot, window
from support_frozen import START
from support_installation import World
from support_valkey import ValkeyServer

from otp_service.domain.guard import LimitScope
from otp_service.store import keys
from otp_service.store.verifications import Window

SCOPES = [LimitScope.NUMBER, LimitScope.IP]
"""One of each strategy."""
JUMPS = [0.0, 0.001, 0.4, 0.999, 1.0, 1.001, 2.5, 4.999, 5.0, 5.001, 9.999, 10.0, 10.001, 30.0]


@dataclass
class Laboratory:
    """A Redis and this process, whose clocks are equal."""

    client: redis.Redis
    advance: Callable[[float], None]
    exact: bool
    """Whether the clocks agree to the microsecond, so that a window's very edge may be tried."""


@pytest.fixture
def real_laboratory(still_world: World) -> Laboratory:
    return Laboratory(still_world.client, still_world.advance, exact=False)


@pytest.fixture
def fake_laboratory() -> Iterator[Laboratory]:
    with time_machine.travel(START / 1000, tick=False) as clock:
        client = fakeredis.FakeRedis(protocol=2)
        yield Laboratory(client, clock.shift, exact=True)
        client.close()


@pytest.fixture(params=["valkey", "fakeredis"])
def laboratory(request: pytest.FixtureRequest) -> Laboratory:
    fixture = "real_laboratory" if request.param == "valkey" else "fake_laboratory"
    made: Laboratory = request.getfixturevalue(fixture)
    return made


def _stored(client: redis.Redis, one: Window, prefix: str) -> list[Any]:
    """Return what is kept for a window: values, with times to the millisecond, and lives."""
    names = [prefix + key.removeprefix("otp") for key in one.keys]
    if len(names) == 1:
        return [[round(float(entry) * 1e6) // 1000 for entry in client.lrange(names[0], 0, -1)], client.ttl(names[0])]
    return [(int(client.get(name) or 0), client.pttl(name)) for name in names]


def _shifted(client: redis.Redis, one: Window, prefix: str) -> None:
    """Let the library move a counter that is over to the previous one, as it does whenever it looks."""
    if len(one.keys) == 2:
        limiter = library(client, one.limit.scope, prefix)
        limiter.get_window_stats(*item(one))


def _leave_the_edge(laboratory: Laboratory, one: Window) -> None:
    """Go on by a millisecond where microseconds would decide, and the clocks differ by some."""
    if not laboratory.exact and len(one.keys) == 1:
        times, _ = _stored(laboratory.client, one, "otp")
        while round(time.time() * 1000) - 1000 * one.limit.seconds in times:
            laboratory.advance(0.001)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("scope", SCOPES)
def test_random_hits_and_jumps_are_allowed_and_stored_alike(
    laboratory: Laboratory, scope: LimitScope, seed: int
) -> None:
    dice = random.Random(f"{scope} {seed}")
    one = window(scope, amount=dice.choice([1, 2, 3, 7]), seconds=dice.choice([1, 5, 10]))
    limiter = library(laboratory.client, scope, "oracle")
    answers = []
    for _ in range(120):
        laboratory.advance(dice.choice([0.0, 0.0, dice.choice(JUMPS)]))
        _leave_the_edge(laboratory, one)
        ours = hit(laboratory.client, [one])
        assert ours.allowed == limiter.hit(*item(one))
        _shifted(laboratory.client, one, "otp")
        _shifted(laboratory.client, one, "oracle")
        assert _stored(laboratory.client, one, "otp") == _stored(laboratory.client, one, "oracle")
        answers.append(ours.allowed)

    assert 10 < sum(answers) < 110


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("scope", SCOPES)
def test_the_library_can_go_on_where_we_stopped_and_the_other_way_round(
    laboratory: Laboratory, scope: LimitScope, seed: int
) -> None:
    dice = random.Random(f"{scope} {seed}")
    shared, alone = window(scope, 4, 5, "shared"), window(scope, 4, 5, "alone")
    limiter = library(laboratory.client, scope)
    for _ in range(100):
        laboratory.advance(dice.choice([0.0, 0.0, 0.3, 1.1, 2.3, 5.2, 11.0]))
        wanted = limiter.hit(*item(alone))
        got = hit(laboratory.client, [shared]).allowed if dice.random() < 0.5 else limiter.hit(*item(shared))
        assert got == wanted


@pytest.mark.parametrize("scope", SCOPES)
def test_the_library_reads_and_clears_what_we_counted(laboratory: Laboratory, scope: LimitScope) -> None:
    one, limiter = window(scope, 3, 60), library(laboratory.client, scope)
    for left in (3, 2, 1):
        assert limiter.test(*item(one))
        assert limiter.get_window_stats(*item(one)).remaining == left
        hit(laboratory.client, [one])
    assert not limiter.test(*item(one))
    assert limiter.get_window_stats(*item(one)).remaining == 0
    assert not hit(laboratory.client, [one]).allowed
    limiter.clear(*item(one))

    assert hit(laboratory.client, [one]).allowed
    assert limiter.get_window_stats(*item(one)).remaining == 2


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("used", [1, 3, 5])
def test_the_wait_that_is_told_is_enough_and_hardly_more_than_needed(
    laboratory: Laboratory, scope: LimitScope, used: int
) -> None:
    one = window(scope, 5, 10)
    for _ in range(5):
        hit(laboratory.client, [one])
        laboratory.advance(1.3)
    for _ in range(used):  # further on, where a counter's previous interval still fades
        wait = hit(laboratory.client, [one]).wait
        laboratory.advance(max(0, wait - 3) / 1000)
        assert wait == 0 or not hit(laboratory.client, [one]).allowed
        laboratory.advance(0.005)
        assert hit(laboratory.client, [one]).allowed


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("scope", SCOPES)
def test_behind_a_new_fence_a_limit_is_one_of_half_the_amount_until_that_is_over(
    laboratory: Laboratory, scope: LimitScope, seed: int
) -> None:
    dice = random.Random(f"{scope} {seed}")
    whole = window(scope, dice.choice([1, 2, 3, 7]), 10)
    half, limiter = window(scope, max(1, whole.limit.amount // 2), 10), library(laboratory.client, scope)
    for _ in range(8):
        now = round(time.time() * 1000)
        until = now + dice.choice([3_000, 8_000, 12_345])
        laboratory.client.hset(keys.FENCE, mapping={"at": now, "until": until})
        for _ in range(25):
            laboratory.advance(dice.choice([0.0, 0.0, 0.3, 1.1, 2.3]))
            _leave_the_edge(laboratory, whole)
            one = half if time.time() * 1000 < until else whole
            wanted = limiter.test(*item(one))
            told = hit(laboratory.client, [whole])
            assert told.allowed == wanted
            if not told.allowed and dice.random() < 0.2:
                laboratory.advance(max(0, told.wait - 3) / 1000)
                assert not hit(laboratory.client, [whole]).allowed
                laboratory.advance(0.005)
                assert hit(laboratory.client, [whole]).allowed


def test_a_full_moving_window_never_lets_more_than_its_amount_through_in_any_interval(laboratory: Laboratory) -> None:
    one, passed, now = window(LimitScope.NUMBER, 5, 10), [], 0.0
    for step in [0.0] * 6 + [9.9] + [0.0] * 6 + [0.2] * 20 + [3.37] * 20 + [9.998, 0.001, 0.002, 0.001] * 5:
        laboratory.advance(step)
        now += step
        passed += [now for _ in range(6) if hit(laboratory.client, [one]).allowed]

    assert len(passed) > 30
    assert all(sum(start <= at < start + 10 for at in passed) <= 5 for start in passed)


def test_a_sliding_counter_lets_through_at_most_its_approximation(laboratory: Laboratory) -> None:
    """The previous interval is taken as evenly spread: at worst nearly twice the amount around an edge, not more."""
    one, passed, now = window(LimitScope.IP, 10, 10), [], 0.0
    for step in [0.0, 9.9, 0.2, *[0.5] * 60]:
        laboratory.advance(step)
        now += step
        passed += [now for _ in range(12) if hit(laboratory.client, [one]).allowed]

    most = max(sum(start <= at < start + 10 for at in passed) for start in passed)
    assert 10 <= most < 20
    assert len(passed) <= 10 * (now / 10 + 1) + 1


def test_a_refusal_leaves_every_other_window_as_it_was(laboratory: Laboratory) -> None:
    roomy = [window(LimitScope.NUMBER, 9, 60, "roomy"), window(LimitScope.IP, 9, 60, "roomy network")]
    full = [window(LimitScope.NUMBER, 1, 60, "full"), window(LimitScope.IP, 1, 60, "full network")]
    hit(laboratory.client, [*roomy, *full])
    laboratory.advance(1.0)
    before = snapshot(laboratory.client)
    for order in ([*roomy, full[0]], [full[0], *roomy], [*roomy, full[1]], [full[1], *roomy], [*full, *roomy]):
        assert not hit(laboratory.client, order).allowed

    assert snapshot(laboratory.client) == before


@pytest.mark.parametrize("scope", SCOPES)
def test_a_refusal_leaves_a_window_whose_interval_is_over_as_it_was(laboratory: Laboratory, scope: LimitScope) -> None:
    old, full = window(scope, 5, 10, "old"), window(LimitScope.NUMBER, 1, 60, "full")
    hit(laboratory.client, [old])
    laboratory.advance(9.0)
    hit(laboratory.client, [full])
    laboratory.advance(2.0)
    before = snapshot(laboratory.client)

    assert not hit(laboratory.client, [old, full]).allowed
    assert snapshot(laboratory.client) == before


@pytest.mark.parametrize("scope", SCOPES)
def test_a_changed_amount_forgets_nothing(laboratory: Laboratory, scope: LimitScope) -> None:
    def tries(amount: int) -> list[bool]:
        return [hit(laboratory.client, [window(scope, amount, 86400)]).allowed for _ in range(3)]

    assert tries(2) == [True, True, False]
    assert tries(3) == [True, False, False]
    assert tries(1) == [False, False, False]
    assert tries(4) == [True, False, False]
    assert tries(2) == [False, False, False]
    assert tries(4) == [False, False, False]
    laboratory.advance(86400 * 2 + 1)
    assert tries(4) == [True, True, True]


@pytest.mark.parametrize(("seconds", "place"), [((10, 600, 6000), 2), ((600, 10, 6000), 1)])
def test_the_longest_wait_of_all_windows_is_told(laboratory: Laboratory, seconds: tuple[int, ...], place: int) -> None:
    windows = [window(LimitScope.NUMBER, 2 if each == 6000 else 1, each) for each in seconds]
    assert hit(laboratory.client, windows).allowed
    laboratory.advance(1.0)
    verdict = hit(laboratory.client, windows)

    assert verdict.place == place
    assert abs(verdict.wait - 599_000) <= 1


def test_a_stamp_keeps_the_zeros_of_its_microseconds(laboratory: Laboratory) -> None:
    """Without them 12.000045 would be written 12.45, and be nearly half a second off."""
    one = window(LimitScope.NUMBER, 5, 60)
    hit(laboratory.client, [one])
    (entry,) = laboratory.client.lrange(one.keys[0], 0, -1)

    assert abs(float(entry) - START / 1000) < 0.001
    assert len(entry.split(b".")[1]) == 6


@pytest.mark.parametrize("scope", SCOPES)
def test_in_real_time_too_both_agree(valkey: ValkeyServer, scope: LimitScope) -> None:
    one, limiter = window(scope, 3, 1), library(valkey.client, scope, "oracle")
    ours, theirs = [], []
    until = time.monotonic() + 2.5
    while time.monotonic() < until:
        ours.append(hit(valkey.client, [one]).allowed)
        theirs.append(limiter.hit(*item(one)))
        time.sleep(0.05)

    # Hit by hit they may differ at an edge, since a busy machine pauses between the two: with clocks that stand still
    # they agree exactly, above.
    assert len(ours) == len(theirs) > 6
    assert abs(sum(ours) - sum(theirs)) <= 1
    assert isinstance(hit(valkey.client, [one]), Verdict)
