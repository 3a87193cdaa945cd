"""The rehearsal's windows at their very edges, as the limits library counts: to the millisecond."""

import pytest

from otp_service.domain.guard import BackoffRule, LimitScope, Window
from otp_service.domain.guard_replay import ExpiringItems, MovingWindow, Reputation, Streak

MOVING = Window("test", LimitScope.NUMBER, 2, 60)


def test_a_moving_window_is_full_until_its_oldest_event_is_older_than_the_window() -> None:
    window = MovingWindow()
    for now in (0, 10_000):
        assert window.wait(MOVING, 2, now) == 0
        window.spend(MOVING, now)

    waits = [window.wait(MOVING, 2, now) for now in (10_000, 59_000, 59_999, 60_000, 60_001)]
    assert waits == [50_000, 1000, 1, 1, 0]
    assert window.wait(MOVING, 1, 60_001) == 9999, "a stranger's share is full for longer"


@pytest.mark.parametrize(("now", "left"), [(0, 30_000), (29_999, 1), (30_000, 0), (3_600_000, 0)])
def test_a_wait_ends_to_the_millisecond(now: int, left: int) -> None:
    assert Streak(1, 0).left(BackoffRule("test", (30_000, 60_000), 3_600_000), now) == left


def test_the_last_wait_repeats_and_a_run_that_is_old_begins_anew() -> None:
    rule, run = BackoffRule("test", (30_000, 60_000), 3_600_000), Streak()
    for now in (0, 100_000, 200_000):
        run = run.longer(rule, now)
    assert (run.length, run.left(rule, 200_000)) == (3, 60_000)

    assert run.longer(rule, 200_000 + 3_600_000).length == 1
    assert run.longer(rule, 200_000 + 3_599_999).length == 4


def test_of_many_contexts_of_an_application_the_oldest_is_forgotten() -> None:
    standing = Reputation()
    for now, context in enumerate(["one", "two", "one", "three"]):
        standing.approve(context, "shop", 2, now)
    standing.approve("four", "bank", 2, 4)

    assert standing.devices == {"shop": {"one": 2, "three": 3}, "bank": {"four": 4}}
    assert (standing.approved, standing.anywhere) == (4, 4)


def test_what_is_not_kept_again_is_forgotten_in_time() -> None:
    shelf = ExpiringItems(set)
    shelf.put("somebody", {1}, 1000)

    assert shelf.get("somebody", 999) == {1}
    assert shelf.get("somebody", 1000) == set()
