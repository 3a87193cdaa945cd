"""A worker process that goes on with another installation: what is in hand is finished, and nothing is sent twice."""

import contextlib
import threading
import time
from typing import Any, ClassVar

import pytest
from redis.exceptions import ResponseError
from support_caller import Caller
from support_installation import World, key, tree
from support_outbox import Scripted, pending, queue, waiting
from support_service import eventually
from support_worker import Gate, Journal

from otp_service import bootstrap
from otp_service.bootstrap import Installation
from otp_service.errors import LedgerUnavailableError
from otp_service.settings import settings_from
from otp_service.store.outbox import CONSUMER_GROUP
from otp_service.worker import worker as worker_module
from otp_service.worker.worker import ReloadableWorker

KEYS = {"root": f"k1:{key()}", "pseudonym": key()}
LIMITS = {"number": ["100/minute"], "application": ["1000/minute"], "ip": ["1000/minute"]}


class Connected:
    """Notes when it is opened and closed."""

    said: ClassVar[list[str]] = []

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def open(self) -> None:
        self.said.append(f"{self._name} opens")

    def close(self) -> None:
        self.said.append(f"{self._name} closes")


class Held(Connected, Journal):
    """A gateway that keeps connections."""


class HeldGate(Connected, Gate):
    """One that answers nobody until it is opened."""


@pytest.fixture
def make(world: World):
    def installed(gateway: Scripted, **sections: Any) -> Installation:
        """Return an installation with a client of its own: it is closed after its shift."""
        settings = settings_from(tree(world.url, **{"keys": KEYS, "limits": LIMITS, **sections}))
        installation = bootstrap.install(settings)
        installation.context.gateways["sandbox"] = gateway
        return installation

    return installed


@contextlib.contextmanager
def at_work(first: Installation):
    shifts = ReloadableWorker(first)
    thread = threading.Thread(target=shifts.run)
    thread.start()
    try:
        yield shifts, thread
    finally:
        shifts.stop()
        thread.join(20)
        assert not thread.is_alive()


def started(caller: Caller) -> str | None:
    """Start a verification; return nothing while the mirror is not there."""
    with contextlib.suppress(LedgerUnavailableError):
        return caller.start()
    return None


def sent(*gateways: Journal) -> list[str]:
    return [one.message.verification_id for gateway in gateways for one in gateway.served]


def test_what_is_being_handed_over_is_finished_and_the_rest_is_the_next_ones(make):
    slow, quick = Journal(lasts=1.0), Journal()
    first, second = make(slow, worker={"concurrency": 2}), make(quick, worker={"concurrency": 2})
    caller = Caller(first)
    with at_work(first) as (shifts, _):
        ids = [caller.start(f"+92300123450{one}") for one in range(6)]
        eventually(lambda: len(slow.served) == 2)
        shifts.reload(second)
        eventually(lambda: len(sent(slow, quick)) == 6)
        assert len(sent(slow)) == 2
        assert sorted(sent(slow, quick)) == sorted(ids), "each of them once"
        eventually(lambda: not waiting(first.client))


def test_the_connections_of_one_shift_are_closed_before_those_of_the_next_are_opened(make):
    Connected.said.clear()
    first, second = make(Held("old")), make(Held("new"))
    with at_work(first) as (shifts, _):
        shifts.reload(second)
        eventually(lambda: Connected.said[-1:] == ["new opens"])
    assert Connected.said == ["old opens", "old closes", "new opens", "new closes"]


def test_messages_go_on_while_calls_from_before_a_reload_are_in_flight(make):
    gate, quick = Gate(), Journal()
    first, second = (make(gateway, worker={"concurrency": 2}) for gateway in (gate, quick))
    caller = Caller(first)
    with at_work(first) as (shifts, _):
        ids = [caller.start(f"+92300123450{one}") for one in range(4)]
        eventually(lambda: len(gate.served) == 2)
        shifts.reload(second)
        ids.append(caller.start())
        eventually(lambda: len(quick.served) == 3)
        eventually(lambda: len(pending_ids(first.client)) == 2)
        assert len(gate.served) == 2, "those calls are still in flight"
        gate.open_for_all()
        eventually(lambda: not waiting(first.client))
    assert sorted(sent(gate, quick)) == sorted(ids), "each of them once"


def test_a_gateway_that_keeps_connections_waits_for_its_own_calls_and_no_other_does(make):
    sections = {
        "gateways": {"sandbox": {"kind": "sandbox", "timeout": 20.0}, "other": {"kind": "sandbox", "timeout": 20.0}},
        "routes": [{"countries": ["GB"], "gateways": ["other"]}, {"gateways": ["sandbox"]}],
    }
    Connected.said.clear()
    old, new, other, gate = HeldGate("old"), Held("new"), Journal(), Gate()
    first, second = make(old, **sections), make(new, **sections)
    first.context.gateways["other"], second.context.gateways["other"] = gate, other
    caller = Caller(first)
    with at_work(first) as (shifts, _):
        before = [caller.start(), caller.start("+447400123456")]
        eventually(lambda: len(sent(old, gate)) == 2)
        shifts.reload(second)
        after = [caller.start(), caller.start("+447400123456")]
        eventually(lambda: sent(other) == after[1:])
        time.sleep(0.5)
        assert (Connected.said, sent(new)) == (["old opens"], [])
        old.open_for_all()
        eventually(lambda: sent(new) == after[:1])
        assert Connected.said == ["old opens", "old closes", "new opens"], "the call of the other gateway lasts"
        gate.open_for_all()
    assert sent(old, gate) == before


def test_a_reload_waits_while_four_workers_finish_their_calls(make):
    gates = [Gate() for _ in range(6)]
    first, *others = (make(gate) for gate in gates)
    caller = Caller(first)
    with at_work(first) as (shifts, _):
        for gate, following in zip(gates, others, strict=False):
            caller.start()
            eventually(lambda gate=gate: gate.served)
            reloading = threading.Thread(target=shifts.reload, args=(following,))
            reloading.start()
            reloading.join(20 if gate is not gates[4] else 0.5)
        assert reloading.is_alive()
        gates[0].open_for_all()
        reloading.join(20)
        assert not reloading.is_alive()
        for gate in gates:
            gate.open_for_all()


def pending_ids(client):
    """Return the entries that workers hold."""
    return [one["message_id"] for one in client.xpending_range(queue(), CONSUMER_GROUP, "-", "+", 99)]


def in_hand(client):
    """Return what the worker holds; nothing while there is no group of workers yet."""
    with contextlib.suppress(ResponseError):
        return pending(client)


def test_a_message_that_waits_for_a_gateways_turn_is_handed_back(make):
    free = Journal()
    bounded = {"gateways": {"sandbox": {"kind": "sandbox", "timeout": 1.0, "per_second": 0.01}}}
    first, second = make(Journal(), **bounded), make(free)
    caller = Caller(first)
    with at_work(first) as (shifts, _):
        for one in range(3):
            caller.start(f"+92300123450{one}")
        eventually(lambda: in_hand(first.client))
        began = time.monotonic()
        shifts.reload(second)
        eventually(lambda: len(free.served) == 2)
        assert time.monotonic() - began < 5, "it did not have to be claimed from a worker that is silent"


def test_who_stops_while_a_shift_is_handed_over_is_obeyed(make):
    slow = Journal(lasts=1.0)
    first, second = make(slow), make(Journal())
    with at_work(first) as (shifts, thread):
        Caller(first).start()
        eventually(lambda: slow.served)
        waits = threading.Thread(target=shifts.reload, args=(second,))
        waits.start()
        time.sleep(0.1)
        shifts.stop()
        thread.join(10)
        assert not thread.is_alive()
        waits.join(1)
        assert not waits.is_alive()
    assert len(slow.served) == 1


def test_many_handed_over_at_once_end_with_the_last_one(make):
    first, *others = (make(Journal()) for _ in range(8))
    last = Journal()
    with at_work(first) as (shifts, _):
        for one in (*others, make(last)):
            shifts.reload(one)
        eventually(lambda: started(Caller(first)))  # one may have ended while it built the mirror; the next one does
        eventually(lambda: last.served)


def test_no_thread_is_left_behind(make):
    with at_work(make(Journal())) as (shifts, _):
        shifts.reload(make(Journal()))
        eventually(lambda: shifts.present)
        time.sleep(1.0)
        before = threading.active_count()
        for _ in range(3):
            shifts.reload(make(Journal()))
        time.sleep(1.0)
        assert threading.active_count() <= before


def test_a_worker_that_looks_for_no_messages_any_more_is_not_healthy(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "_STALLED_AFTER", 1.0)
    installation, hanging, goes_on = make(Journal()), threading.Event(), threading.Event()
    take = installation.context.store.outbox.take

    def take_or_hang(*arguments: Any) -> Any:
        if hanging.is_set():
            goes_on.wait(20)
        return take(*arguments)

    monkeypatch.setattr(installation.context.store.outbox, "take", take_or_hang)
    with at_work(installation) as (workers, _):
        time.sleep(2)
        assert workers.is_healthy(), "it has nothing to do, and goes on looking"
        hanging.set()
        eventually(lambda: not workers.is_healthy())
        goes_on.set()
        eventually(workers.is_healthy)
