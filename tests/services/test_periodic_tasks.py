"""The watch: each duty has its turn again and again, whatever becomes of it and of the others."""

import threading

import pytest
from structlog.testing import capture_logs
from support_service import eventually

from otp_service.errors import LedgerUnavailableError, StoreUnavailableError
from otp_service.services.periodic_tasks import PERIOD, PeriodicTasks

QUICK = 0.01


def test_a_duty_that_takes_long_keeps_no_other_waiting():
    """Such as building a mirror, while a key is revoked."""
    over, turns = threading.Event(), []
    watch = PeriodicTasks({"long": over.wait, "short": lambda: turns.append(1)}, QUICK)
    watch.start()
    eventually(lambda: len(turns) > 3)
    over.set()
    watch.stop()


@pytest.mark.parametrize("error", [LedgerUnavailableError("away"), StoreUnavailableError("away"), ValueError("defect")])
def test_a_duty_that_fails_has_its_turn_again(error):
    turns = []

    def fail() -> None:
        turns.append(1)
        raise error

    with capture_logs() as lines:
        watch = PeriodicTasks({"failing": fail}, QUICK)
        watch.start()
        eventually(lambda: len(turns) > 3)
        watch.stop()

    assert {line["event"] for line in lines} == ({"periodic_task_defect"} if isinstance(error, ValueError) else set())


def test_a_watch_that_is_stopped_looks_no_more():
    turns = []
    watch = PeriodicTasks({"short": lambda: turns.append(1)}, QUICK)
    watch.start()
    eventually(lambda: turns)
    watch.stop()
    seen = len(turns)
    threading.Event().wait(10 * QUICK)

    assert len(turns) == seen


def test_two_looks_lie_no_further_apart_than_a_change_may_take():
    assert PERIOD <= 5.0 / 2
