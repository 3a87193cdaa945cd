"""More messages than the gateways take: what is accepted arrives in time and in its order, the rest is refused.

By a worker in simulated time, on a real server.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from support_caller import Caller
from support_frozen import FrozenValkey
from support_outbox import letters, refused, waiting
from support_simulation import Clocked, Simulation

from otp_service.errors import BacklogFullError

LIFE = 20
"""Seconds that a code lives."""
NUMBERS = {"PK": "+923001234567", "GB": "+447400123456"}
FREE: dict[str, Any] = {"kind": "sandbox"}
PACED = {**FREE, "per_second": 5}
SLOW = {**FREE, "per_second": 2}
BOTH = [{"gateways": ["first", "second"]}]


class Crowd:
    """People who ask for codes while a worker works."""

    def __init__(self, frozen: FrozenValkey, monkeypatch: pytest.MonkeyPatch, **sections: Any) -> None:
        base = {
            "limits": {"number": ["1000000/hour"], "application": []},
            "purposes": {"login": {"ttl": LIFE, "channels": ["sms"]}},
            "worker": {"backoff": [1.0]},
        }
        installation = frozen.world().install(**{**base, **sections})
        self._frozen = frozen
        self.shop = Caller(installation)
        self.context = installation.context
        self.simulation = Simulation(frozen, installation, monkeypatch)
        self.accepted: dict[str, float] = {}
        self.refused = dict.fromkeys(NUMBERS, 0)

    def gateway(self, name: str, *script: Any) -> Clocked:
        """Put a gateway in the place of a configured one."""
        made = Clocked(self._frozen, *script)
        self.context.gateways[name] = made  # type: ignore[index] # filled once by the composition root
        return made

    def asks(self, country: str = "PK") -> Callable[[], None]:
        """Return what asks for a code."""

        def ask() -> None:
            try:
                one = self.shop.start(NUMBERS[country])
            except BacklogFullError:
                self.refused[country] += 1
            else:
                self.accepted[one] = self.simulation.seconds

        return ask

    def waits(self, gateway: Clocked) -> list[float]:
        """Return for how long each message that was sent had waited."""
        return [at - self.accepted[one] for one, at in gateway.calls]


@pytest.mark.parametrize("starts", [4, 6, 12, 25])
def test_what_is_accepted_arrives_while_there_is_time_to_type_it(
    frozen: FrozenValkey, monkeypatch: pytest.MonkeyPatch, starts: int
) -> None:
    crowd = Crowd(frozen, monkeypatch, gateways={"slow": PACED}, routes=[{"gateways": ["slow"]}])
    gateway = crowd.gateway("slow")
    crowd.simulation.each_second(starts, 40, crowd.asks())
    crowd.simulation.run(40 + LIFE)

    assert [one for one, _ in gateway.calls] == list(crowd.accepted), "all of them, in their order"
    assert max(crowd.waits(gateway)) <= 0.8 * LIFE
    assert len(crowd.accepted) >= 40 * min(starts, 5) - 1, "and not one refused that could have been carried"
    assert all(later - earlier >= 0.199 for earlier, later in pairwise(gateway.times))
    assert waiting(frozen.client) == 0


def test_a_gateway_that_is_opened_by_hand_closes_the_door_of_what_it_alone_carries(
    frozen: FrozenValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    routes = [{"countries": ["PK"], "gateways": ["first"]}, {"gateways": ["second"]}]
    crowd = Crowd(frozen, monkeypatch, gateways={"first": FREE, "second": FREE}, routes=routes)
    first, second = crowd.gateway("first"), crowd.gateway("second")
    crowd.context.store.health.open("first", 3_600_000, "cli:ali")
    crowd.simulation.each_second(5, 19, crowd.asks("PK"))
    crowd.simulation.each_second(5, 40, crowd.asks("GB"))
    crowd.simulation.at(19, lambda: crowd.context.store.health.close("first"))
    crowd.simulation.at(30, crowd.asks("PK"))
    crowd.simulation.run(40)

    assert crowd.refused == {"PK": 5 * (19 - 15), "GB": 0}, "after three quarters of a code's life"
    assert len(second.calls) == 200
    assert max(crowd.waits(second)) <= 0.01
    assert len(first.calls) == 75 + 1, "what was accepted before is delivered at last, and the door is open again"
    assert {at for at in first.times if at < 30} <= {19 + each / 1000 for each in range(1100)}
    assert letters(frozen.client) == []


def test_a_queue_that_comes_to_a_halt_closes_whatever_its_pace_was(
    frozen: FrozenValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    crowd = Crowd(frozen, monkeypatch, gateways={"slow": PACED}, routes=[{"gateways": ["slow"]}])
    gateway = crowd.gateway("slow")
    for place in range(60):
        crowd.simulation.at(place / 1000, crowd.asks())
    crowd.simulation.at(7.5, lambda: crowd.context.store.health.open("slow", 3_600_000, "cli:ali"))
    crowd.simulation.at(14.9, crowd.asks())
    crowd.simulation.at(15.1, crowd.asks())
    crowd.simulation.run(15.2)

    assert len(gateway.calls) == 38
    assert (len(crowd.accepted), crowd.refused["PK"]) == (61, 1)


def test_fresh_messages_do_not_overtake_those_that_wait(frozen: FrozenValkey, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many threads are free, and whichever messages are in hand already."""
    crowd = Crowd(frozen, monkeypatch, gateways={"slow": PACED}, routes=[{"gateways": ["slow"]}])
    gateway = crowd.gateway("slow")
    for place in range(20):
        crowd.simulation.at(place / 1000, crowd.asks())
    crowd.simulation.each_second(5, 10, crowd.asks())
    crowd.simulation.run(15)

    assert [one for one, _ in gateway.calls] == list(crowd.accepted)
    assert len(gateway.calls) == 70


def test_a_gateway_that_just_failed_is_not_called_while_the_turn_of_another_is_near(
    frozen: FrozenValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    crowd = Crowd(frozen, monkeypatch, gateways={"first": FREE, "second": SLOW}, routes=BOTH)
    first = crowd.gateway("first", *[refused("unavailable")] * 4, *[refused("throttled", retry_after=60.0)])
    second = crowd.gateway("second")
    for place in range(4):
        crowd.simulation.at(place / 1000, crowd.asks())
    crowd.simulation.run(5)

    assert len(first.calls) == len({one for one, _ in first.calls}) == 4, "once for each message"
    assert [one for one, _ in second.calls] == list(crowd.accepted)
    assert second.times == pytest.approx([0, 0.5, 1, 1.5], abs=0.05)


def test_a_message_that_all_refused_comes_back_after_its_rest_and_not_before(
    frozen: FrozenValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    crowd = Crowd(frozen, monkeypatch, gateways={"first": FREE, "second": SLOW}, routes=BOTH)
    first = crowd.gateway("first", *[refused("unavailable")] * 2)
    second = crowd.gateway("second", *[refused("unavailable")] * 2)
    crowd.asks()()
    crowd.simulation.at(0.01, crowd.asks())
    crowd.simulation.run(3)
    one, other = crowd.accepted

    assert first.calls[:2] == [(one, pytest.approx(0, abs=0.01)), (other, pytest.approx(0.01, abs=0.01))]
    assert second.calls == [(one, pytest.approx(0, abs=0.01)), (other, pytest.approx(0.5, abs=0.02))]
    rests = {one: at - (0, 0.5)[one == other] for one, at in first.calls[2:]}
    assert rests == {one: pytest.approx(1.125, abs=0.175), other: pytest.approx(1.125, abs=0.175)}


def test_a_queue_that_waits_holds_up_no_other(frozen: FrozenValkey, monkeypatch: pytest.MonkeyPatch) -> None:
    routes = [{"countries": ["PK"], "gateways": ["slow"]}, {"gateways": ["quick"]}]
    crowd = Crowd(
        frozen, monkeypatch, gateways={"slow": PACED, "quick": FREE}, routes=routes, worker={"concurrency": 1}
    )
    crowd.gateway("slow")
    quick = crowd.gateway("quick")
    crowd.simulation.each_second(6, 10, crowd.asks("PK"))
    crowd.simulation.each_second(6, 10, crowd.asks("GB"))
    crowd.simulation.run(15)

    assert len(quick.calls) == 60
    assert max(crowd.waits(quick)) <= 0.05


def test_what_is_held_when_a_worker_stops_is_there_for_others_at_once(
    frozen: FrozenValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    crowd = Crowd(frozen, monkeypatch, gateways={"slow": PACED}, routes=[{"gateways": ["slow"]}])
    crowd.gateway("slow")
    for _ in range(3):
        crowd.asks()()
    crowd.simulation.run(0.1)
    crowd.simulation.worker._hand_back()
    claimed = crowd.context.store.outbox.claim("heir", 10, 15_000)
    new = crowd.context.store.outbox.take("heir", 10)

    assert [job.id for job in (*claimed, *new)] == list(crowd.accepted)[1:]
    assert claimed
