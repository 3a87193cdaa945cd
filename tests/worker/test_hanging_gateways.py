"""A gateway or policy that hangs has a part of a worker's threads, and the messages of others go on."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from support_caller import PAYMENT, Caller
from support_installation import World
from support_outbox import waiting
from support_policies import Judge, asked, under
from support_service import eventually
from support_worker import Gate, Journal, working

from otp_service.bootstrap import Installation
from otp_service.domain.routing import BreakerState
from otp_service.policies.base import ALLOW, Verdict

PK, GB = "+9230012345{:02d}", "+4474001234{:02d}"
HANGS = {"kind": "sandbox", "timeout": 60.0}
ROUTES = [{"countries": ["GB"], "gateways": ["well"]}, {"gateways": ["hangs"]}]
QUICK = 5.0
"""Seconds within which a message is there that waits for nobody, also on a busy machine."""


@pytest.fixture
def install(real_world: World):
    def installed(routes: list[dict[str, Any]], threads: int = 16, **gateways: Any) -> Installation:
        return real_world.install(
            limits={"number": ["100000/hour"], "application": []},
            gateways={"well": {"kind": "sandbox"}, "hangs": HANGS, **gateways},
            routes=routes,
            worker={"concurrency": threads},
        )

    return installed


@contextmanager
def opened_at_last(*gates: Gate) -> Iterator[None]:
    """Open gates also when a test fails: a worker waits for its calls."""
    try:
        yield
    finally:
        for gate in gates:
            gate.open_for_all()


def test_messages_through_other_gateways_go_on(install: Any) -> None:
    installation, hangs, well = install(ROUTES), Gate(), Journal()
    shop = Caller(installation)
    started = [shop.start(PK.format(each)) for each in range(40)]
    with working(installation, hangs=hangs, well=well), opened_at_last(hangs):
        eventually(lambda: len(hangs.served) >= 8)
        for each in range(20):
            shop.start(GB.format(each))
            eventually(lambda expected=each + 1: len(well.served) == expected, QUICK)

        assert len(hangs.served) == 8, "half of the threads"
        hangs.open_for_all()
        eventually(lambda: not waiting(installation.client))
    served = [one.message.verification_id for one in hangs.served]
    assert sorted(served) == sorted(started), "each once"
    assert max(abs(served.index(one) - place) for place, one in enumerate(started)) < 16, "in their order"


def test_two_gateways_that_hang_do_not_have_all_threads_together(install: Any) -> None:
    routes = [ROUTES[0], {"purposes": ["payment"], "gateways": ["hangs-too"]}, ROUTES[1]]
    installation = install(routes, **{"hangs-too": HANGS})
    gates, well = [Gate(), Gate()], Journal()
    shop = Caller(installation)
    for each in range(20):
        shop.start(PK.format(each))
        shop.start(PK.format(each), purpose="payment", transaction=PAYMENT)
    with working(installation, well=well, **{"hangs": gates[0], "hangs-too": gates[1]}), opened_at_last(*gates):
        eventually(lambda: all(len(gate.served) >= 5 for gate in gates))
        for each in range(20):
            shop.start(GB.format(each))
            eventually(lambda expected=each + 1: len(well.served) == expected, QUICK)

        assert sum(len(gate.served) for gate in gates) <= 12


def test_a_message_of_another_gateway_of_the_route_does_not_wait_for_one_that_hangs(install: Any) -> None:
    installation, hangs, well = install([{"gateways": ["hangs", "well"]}]), Gate(), Journal()
    shop = Caller(installation)
    started = [shop.start(PK.format(each)) for each in range(20)]
    with working(installation, hangs=hangs, well=well), opened_at_last(hangs):
        eventually(lambda: len(well.served) == 12, QUICK)
        assert len(hangs.served) == 8
        told = shop.read(well.served[0].message.verification_id).verification.deliveries
    assert [(one.gateway, one.choice) for one in told] == [("well", "limit")]
    assert sorted(one.message.verification_id for one in (*hangs.served, *well.served)) == sorted(started)


def test_a_message_waits_for_the_first_gateway_of_its_route_while_that_answers(install: Any) -> None:
    """The second may be dearer: it is not for what the first one takes in a moment."""
    installation, first, second = install([{"gateways": ["hangs", "well"]}]), Journal(0.05), Journal()
    shop = Caller(installation)
    for each in range(60):
        shop.start(PK.format(each))
    with working(installation, hangs=first, well=second):
        eventually(lambda: not waiting(installation.client))
    assert (len(first.served), len(second.served)) == (60, 0)
    assert first.most_at_once == 8


def test_a_gateway_that_hangs_is_left_alone_once_its_calls_are_slow_and_before_they_end(install: Any) -> None:
    installation, hangs = install(ROUTES, hangs={**HANGS, "slow": 0.5}), Gate()
    shop, health = Caller(installation), installation.context.store.health
    for each in range(20):
        shop.start(PK.format(each))
    with working(installation, hangs=hangs), opened_at_last(hangs):
        eventually(lambda: health.of(("hangs",))["hangs"].state is BreakerState.OPEN, QUICK)
        assert len(hangs.served) == 8
        assert health.of(("well",))["well"].state is BreakerState.CLOSED


def test_applications_take_turns_at_a_gateway_that_has_its_part_of_the_threads(install: Any) -> None:
    installation, slow = install(ROUTES, threads=8), Journal(0.1)
    shop, bank = Caller(installation), Caller(installation, "bank")
    for each in range(80):
        shop.start(PK.format(each))
    with working(installation, hangs=slow):
        eventually(lambda: len(slow.served) >= 8)
        before = len(slow.served)
        banks = [bank.start(PK.format(90 + each)) for each in range(3)]
        places = [eventually(lambda one=one: slow.place_of(one)) for one in banks]
        assert len(slow.served) < 70, "the flood is still there"
        eventually(lambda: not waiting(installation.client))
    assert max(places) - before < 24


def test_a_gateway_without_others_may_have_all_threads(real_world: World) -> None:
    installation, gate = real_world.install(limits={"number": ["100/hour"]}, worker={"concurrency": 4}), Gate()
    shop = Caller(installation)
    for each in range(6):
        shop.start(PK.format(each))
    with working(installation, sandbox=gate), opened_at_last(gate):
        eventually(lambda: len(gate.served) == 4)


def test_messages_that_no_policy_concerns_go_on_while_one_hangs(install: Any) -> None:
    """A policy waits in the thread of its message, for up to five seconds."""
    answered = threading.Event()

    def hang() -> Verdict:
        answered.wait(30)
        return ALLOW

    judge, well = Judge(hang), Journal()
    policy = asked("swap", judge, 16, applications=["bank"], timeout=5)
    installation = under(install([{"gateways": ["well"]}]), policy)
    shop, bank = Caller(installation), Caller(installation, "bank")
    banks = [bank.start(PK.format(each)) for each in range(40)]
    with working(installation, well=well):
        eventually(lambda: len(judge.requests) >= 8)
        shops = [shop.start(GB.format(each)) for each in range(20)]
        eventually(lambda: len(well.served) == 20, 4.0)

        assert len(judge.requests) == 8, "half of the threads"
        answered.set()
        eventually(lambda: not waiting(installation.client))
    served = [one.message.verification_id for one in well.served]
    assert sorted(served[:20]) == sorted(shops)
    assert sorted(served[20:]) == sorted(banks), "each once"
