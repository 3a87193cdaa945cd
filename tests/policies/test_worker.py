"""A worker whose policies hang, are slow, or speak to an operator: what waits for them, and for how long."""

import threading
import time

import pytest
from pytest_httpserver import HTTPServer
from support_caller import Caller
from support_installation import NUMBER, World
from support_outbox import letters
from support_policies import Judge, asked, under
from support_service import eventually
from support_valkey import ValkeyServer
from support_worker import Journal, working

from otp_service.policies.base import DENY
from otp_service.testing.provider import Behaviour, FakeProvider

SIMSWAP = {"kind": "camara_sim_swap", "unknown": "deny", "timeout": 0.4, "token": "given"}


@pytest.fixture
def world(valkey: ValkeyServer) -> World:
    return World(valkey.client, valkey.url, time.sleep)


def test_a_policy_that_never_answers_holds_no_thread_for_longer_than_its_limit(world: World):
    over, gateway = threading.Event(), Journal()
    hanging = asked("hanging", Judge(over.wait), threads=2, timeout=0.2)
    installation = under(world.install(worker={"concurrency": 2, "claim_margin": 0.5}), hanging)
    shop, began = Caller(installation), time.monotonic()
    for last in range(6):
        shop.start(f"+92300123456{last}")
    with working(installation, sandbox=gateway):
        eventually(lambda: len(gateway.served) == 6, 10)
        took = time.monotonic() - began
    over.set()

    assert took < 3  # three rounds of two messages, each of 0.2 s


def test_messages_that_no_policy_concerns_are_not_held_up_by_one_that_hangs(world: World):
    over, gateway = threading.Event(), Journal()
    hanging = asked("hanging", Judge(over.wait), timeout=1.0, applications=["bank"])
    installation = under(world.install(), hanging)
    Caller(installation, "bank").start()
    one, began = Caller(installation).start("+923001234568"), time.monotonic()
    with working(installation, sandbox=gateway):
        eventually(lambda: gateway.place_of(one) is not None, 5)
        assert time.monotonic() - began < 0.9
        eventually(lambda: len(gateway.served) == 2, 5)
    over.set()


@pytest.mark.parametrize(
    "behaviour", [Behaviour.SILENT, Behaviour.DRIP, Behaviour.FLOOD, Behaviour.CUT, Behaviour.ECHO]
)
@pytest.mark.parametrize("unknown", ["allow", "deny"])
def test_an_operator_that_misbehaves_is_unknown_in_time(world: World, behaviour: Behaviour, unknown: str):
    with FakeProvider() as provider:
        provider.behaviour = behaviour
        policy = {**SIMSWAP, "unknown": unknown, "base_url": provider.url}
        installation, gateway = world.install(policies={"simswap": policy}), Journal()
        Caller(installation).start()
        with working(installation, sandbox=gateway):
            began = time.monotonic()
            eventually(lambda: gateway.served or letters(world.client), 5)
            took = time.monotonic() - began

    assert (len(gateway.served), letters(world.client)) == (
        (1, []) if unknown == "allow" else (0, ["no_verdict simswap"])
    )
    assert took < 1.2


def test_a_swapped_sim_gets_no_message_and_another_one_does(world: World, httpserver: HTTPServer):
    for number, swapped in ((NUMBER, True), ("+923001234568", False)):
        httpserver.expect_request("/check", json={"phoneNumber": number, "maxAge": 240}).respond_with_json(
            {"swapped": swapped}
        )
    policy = {**SIMSWAP, "base_url": httpserver.url_for("").rstrip("/"), "timeout": 2.0}
    installation, gateway = world.install(policies={"simswap": policy}), Journal()
    shop = Caller(installation)
    swapped, other = shop.start(), shop.start("+923001234568")
    with working(installation, sandbox=gateway):
        eventually(lambda: gateway.place_of(other) == 0 and letters(world.client), 5)

    assert gateway.place_of(swapped) is None
    assert letters(world.client) == ["policy simswap"]
    assert [one.reason for one in shop.read(swapped).verification.deliveries] == ["policy simswap"]


def test_a_denied_flood_leaves_no_call_behind(world: World):
    judge, gateway = Judge(DENY), Journal()
    installation = under(world.install(limits={"number": ["1000/day"]}), asked("denying", judge, threads=8))
    shop = Caller(installation)
    for last in range(40):
        shop.start(f"+9230012345{last:02d}")
    with working(installation, installation, sandbox=gateway):
        eventually(lambda: len(letters(world.client)) == 40, 10)

    assert gateway.served == []
    assert len(judge.requests) == 40
