"""Calls that ask the ledger leave threads to others, whatever it does."""

import threading
import time

import pytest
from support_api import START, Api, code_of
from support_installation import NUMBER, World

from otp_service.api.app import all_routes
from otp_service.api.dialects import load_dialects
from otp_service.api.exchange import SLOT_WAIT, CallSlots
from otp_service.errors import LedgerUnavailableError


def in_another_thread(act) -> threading.Thread:
    thread = threading.Thread(target=act)
    thread.start()
    return thread


def test_a_turn_that_comes_soon_is_waited_for():
    ledger_slots, taken = CallSlots(1), threading.Event()

    def take() -> None:
        with ledger_slots.slot():
            taken.set()
            time.sleep(SLOT_WAIT / 4)

    other = in_another_thread(take)
    taken.wait()
    with ledger_slots.slot():
        pass
    other.join()


def test_while_somebody_waits_for_the_ledger_all_others_are_refused_at_once():
    ledger_slots, stop, taken = CallSlots(1), threading.Event(), threading.Event()

    def take() -> None:
        with ledger_slots.slot():
            taken.set()
            stop.wait(10)

    other = in_another_thread(take)
    taken.wait()
    time.sleep(SLOT_WAIT)
    begun = time.monotonic()
    for _ in range(50):
        with pytest.raises(LedgerUnavailableError), ledger_slots.slot():
            pass
    seconds = time.monotonic() - begun
    stop.set()
    other.join()

    assert seconds < SLOT_WAIT
    with ledger_slots.slot():
        pass


def test_a_call_that_hangs_refuses_nobody_while_others_return():
    ledger_slots, stop, taken = CallSlots(2), threading.Event(), threading.Event()

    def hang() -> None:
        with ledger_slots.slot():
            taken.set()
            stop.wait(10)

    def take() -> None:
        with ledger_slots.slot():
            time.sleep(SLOT_WAIT / 4)

    hanging = in_another_thread(hang)
    taken.wait()
    time.sleep(SLOT_WAIT)
    other = in_another_thread(take)
    time.sleep(SLOT_WAIT / 8)
    with ledger_slots.slot():
        pass
    stop.set()
    hanging.join()
    other.join()


@pytest.mark.parametrize("path", ["/v1/consents/find", "/v1/suppressions/find", "/v1/subjects/export"])
def test_while_no_turn_is_left_only_calls_that_ask_the_ledger_are_refused(real_world: World, path: str):
    api = Api(real_world, http={"ledger_calls": 1})
    with api.app.wsgi_app._shared.ledger_slots.slot():
        time.sleep(SLOT_WAIT)

        assert code_of(api.post(path, {"to": NUMBER})) == (503, "ledger-unavailable")
        assert api.get(f"{START}/{api.start()}").status_code == 200
    assert api.post(path, {"to": NUMBER}).status_code == 200


def test_the_calls_that_ask_the_ledger_are_those_of_what_it_keeps():
    asking = {
        route.resource.name for route in all_routes(with_metrics=True, dialects=load_dialects()) if route.asks_ledger
    }

    assert asking == {
        *(
            "consents",
            "suppressions",
            "subjects",
            "applications",
            "api_keys",
            "endpoints",
            "webhooks",
            "proofs",
            "factors",
            "recovery-codes",
            "users",
            "twilio",
            "stats",
        )
    }
