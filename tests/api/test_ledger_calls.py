"""Calls that ask the ledger leave threads to others, whatever it does."""

import threading
import time

import pytest

from otp_service.api.exchange import PATIENCE, Turns
from otp_service.errors import LedgerUnavailableError


def in_another_thread(act) -> threading.Thread:
    thread = threading.Thread(target=act)
    thread.start()
    return thread


def test_a_turn_that_comes_soon_is_waited_for():
    turns, taken = Turns(1), threading.Event()

    def take() -> None:
        with turns.turn():
            taken.set()
            time.sleep(PATIENCE / 4)

    other = in_another_thread(take)
    taken.wait()
    with turns.turn():
        pass
    other.join()


def test_while_somebody_waits_for_the_ledger_all_others_are_refused_at_once():
    turns, stop, taken = Turns(1), threading.Event(), threading.Event()

    def take() -> None:
        with turns.turn():
            taken.set()
            stop.wait(10)

    other = in_another_thread(take)
    taken.wait()
    time.sleep(PATIENCE)
    begun = time.monotonic()
    for _ in range(50):
        with pytest.raises(LedgerUnavailableError), turns.turn():
            pass
    seconds = time.monotonic() - begun
    stop.set()
    other.join()

    assert seconds < PATIENCE
    with turns.turn():
        pass
