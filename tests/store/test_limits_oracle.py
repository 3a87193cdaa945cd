"""The evaluator of limits agrees with the limits library's own strategies, on the same Redis at the same time."""

import random
import time

import pytest
from support_evaluator import Verdict, hit, item, library, snapshot, window
from support_installation import World
from support_valkey import ValkeyServer

from otp_service.domain.guard import LimitScope

SCOPES = [LimitScope.NUMBER, LimitScope.IP]
"""One of each strategy."""
JUMPS = [0.0, 0.001, 0.4, 0.999, 1.0, 1.001, 2.5, 4.999, 5.0, 5.001, 9.999, 10.0, 10.001, 30.0]


@pytest.fixture
def laboratory(still_world: World) -> World:
    """A Redis and this process, whose clocks are equal but for microseconds, which the library counts and we do not."""
    return still_world


class Edges:
    """Goes on by a millisecond where microseconds would decide: where an event is just about to leave a window."""

    def __init__(self, laboratory: World, seconds: int) -> None:
        self._laboratory = laboratory
        self._seconds = seconds
        self._events: set[int] = set()

    def leave(self) -> None:
        while any(abs(_now() - 1000 * self._seconds - at) <= 1 for at in self._events):
            self._laboratory.advance(0.001)

    def note(self) -> None:
        self._events.add(_now())


def _now() -> int:
    return round(time.time() * 1000)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("scope", SCOPES)
def test_random_hits_and_jumps_are_allowed_alike(laboratory: World, scope: LimitScope, seed: int) -> None:
    dice = random.Random(f"{scope} {seed}")
    one = window(scope, amount=dice.choice([1, 2, 3, 7]), seconds=dice.choice([1, 5, 10]))
    limiter, edges, answers = library(laboratory.client, scope), Edges(laboratory, one.limit.seconds), []
    for _ in range(120):
        laboratory.advance(dice.choice([0.0, 0.0, dice.choice(JUMPS)]))
        edges.leave()
        ours = hit(laboratory.client, [one])
        assert ours.allowed == limiter.hit(*item(one))
        if ours.allowed:
            edges.note()
        answers.append(ours.allowed)

    assert 10 < sum(answers) < 110


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("used", [1, 3, 5])
def test_the_wait_that_is_told_is_enough_and_hardly_more_than_needed(
    laboratory: World, scope: LimitScope, used: int
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


def test_a_full_moving_window_never_lets_more_than_its_amount_through_in_any_interval(laboratory: World) -> None:
    one, passed, now = window(LimitScope.NUMBER, 5, 10), [], 0.0
    for step in [0.0] * 6 + [9.9] + [0.0] * 6 + [0.2] * 20 + [3.37] * 20 + [9.998, 0.001, 0.002, 0.001] * 5:
        laboratory.advance(step)
        now += step
        passed += [now for _ in range(6) if hit(laboratory.client, [one]).allowed]

    assert len(passed) > 30
    assert all(sum(start <= at < start + 10 for at in passed) <= 5 for start in passed)


def test_a_sliding_counter_lets_through_at_most_its_approximation(laboratory: World) -> None:
    """The previous interval is taken as evenly spread: at worst nearly twice the amount around an edge, not more."""
    one, passed, now = window(LimitScope.IP, 10, 10), [], 0.0
    for step in [0.0, 9.9, 0.2, *[0.5] * 60]:
        laboratory.advance(step)
        now += step
        passed += [now for _ in range(12) if hit(laboratory.client, [one]).allowed]

    most = max(sum(start <= at < start + 10 for at in passed) for start in passed)
    assert 10 <= most < 20
    assert len(passed) <= 10 * (now / 10 + 1) + 1


def test_a_refusal_leaves_every_other_window_as_it_was(laboratory: World) -> None:
    roomy = [window(LimitScope.NUMBER, 9, 60, "roomy"), window(LimitScope.IP, 9, 60, "roomy network")]
    full = [window(LimitScope.NUMBER, 1, 60, "full"), window(LimitScope.IP, 1, 60, "full network")]
    hit(laboratory.client, [*roomy, *full])
    laboratory.advance(1.0)
    before = snapshot(laboratory.client)
    for order in ([*roomy, full[0]], [full[0], *roomy], [*roomy, full[1]], [full[1], *roomy], [*full, *roomy]):
        assert not hit(laboratory.client, order).allowed

    assert snapshot(laboratory.client) == before


@pytest.mark.parametrize("scope", SCOPES)
def test_a_refusal_leaves_a_window_whose_interval_is_over_as_it_was(laboratory: World, scope: LimitScope) -> None:
    old, full = window(scope, 5, 10, "old"), window(LimitScope.NUMBER, 1, 60, "full")
    hit(laboratory.client, [old])
    laboratory.advance(9.0)
    hit(laboratory.client, [full])
    laboratory.advance(2.0)
    before = snapshot(laboratory.client)

    assert not hit(laboratory.client, [old, full]).allowed
    assert snapshot(laboratory.client) == before


@pytest.mark.parametrize("scope", SCOPES)
def test_a_changed_amount_forgets_nothing(laboratory: World, scope: LimitScope) -> None:
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
def test_the_longest_wait_of_all_windows_is_told(laboratory: World, seconds: tuple[int, ...], place: int) -> None:
    windows = [window(LimitScope.NUMBER, 2 if each == 6000 else 1, each) for each in seconds]
    assert hit(laboratory.client, windows).allowed
    laboratory.advance(1.0)
    verdict = hit(laboratory.client, windows)

    assert verdict.place == place
    assert abs(verdict.wait - 599_000) <= 1


@pytest.mark.parametrize("scope", SCOPES)
def test_in_real_time_too_both_agree(valkey: ValkeyServer, scope: LimitScope) -> None:
    one, limiter = window(scope, 3, 1), library(valkey.client, scope)
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
