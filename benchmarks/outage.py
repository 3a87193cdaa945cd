"""How long messages take while the first gateway of their route is dead, from the start's 201 to their acceptance."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway_standin import Behaviour, StandIn
from rig import Rig, Started, until

from otp_service.store import keys

TIMEOUT = 1.0
"""Seconds that either gateway is given for a call."""
MARGIN = 0.5
"""Seconds beyond the time-out within which the second gateway has a message while the breaker is closed."""
ONCE_OPEN = 0.2
"""Seconds within which it has one while the breaker is open."""
CALL = 20
"""Milliseconds that a call takes where it is answered."""
DEATHS: Mapping[str, Behaviour] = {
    "refuses connections": Behaviour.ABSENT,
    "drops packets": Behaviour.DEAF,
    "answers 500": Behaviour.FAIL,
    "takes requests, never answers": Behaviour.SILENT,
}
_FIRST, _SECOND = "first", StandIn("second", Behaviour.ACCEPT, CALL, TIMEOUT)
_PATIENCE = 60


@dataclass(frozen=True)
class Waits:
    """How long messages took."""

    first: str
    """How the first gateway was."""
    breaker: str
    seconds: Sequence[float]
    bound: float
    """Seconds that 95 of 100 may take."""


def at_peace(folder: Path, messages: int, per_second: float) -> Waits:
    """Measure with a first gateway that is well."""
    first = StandIn(_FIRST, Behaviour.ACCEPT, CALL, TIMEOUT)
    with ExitStack() as stack:
        rig = _rig(stack, folder, first)
        return Waits("is well", "closed", _waits(rig, first, "configured", messages, per_second), ONCE_OPEN)


def suffer(folder: Path, death: str, messages: int, per_second: float) -> tuple[Waits, Waits]:
    """Measure with a dead one: so many messages before its breaker opens, and as many after that.

    It is set to open after exactly so many bad calls.
    """
    first = StandIn(_FIRST, DEATHS[death], CALL, TIMEOUT)
    with ExitStack() as stack:
        rig = _rig(stack, folder, first, breaker={"bad_in_a_row": messages, "min_calls": 100_000})
        before = _waits(rig, _SECOND, "fail_over", messages, per_second)
        health = keys.health(_FIRST)
        until(lambda: rig.client.hexists(health, "until"), _PATIENCE, "the breaker has not opened")
        after = _waits(rig, _SECOND, "breaker", messages, per_second)
    return Waits(death, "closed", before, TIMEOUT + MARGIN), Waits(death, "open", after, ONCE_OPEN)


def _rig(stack: ExitStack, folder: Path, first: StandIn, **sections: Any) -> Rig:
    rig = Rig.build(stack, folder, (first, _SECOND), **sections)
    rig.launch_worker()
    rig.wait_for_workers()
    return rig


def _waits(rig: Rig, gateway: StandIn, choice: str, messages: int, per_second: float) -> list[float]:
    """Start verifications and return the seconds until this gateway, chosen for this reason, had taken each."""
    with ThreadPoolExecutor(32) as pool:
        started = rig.start_many(messages, per_second, pool)
        until(lambda: not rig.waiting(), _PATIENCE, "messages are still waiting")
        told = list(pool.map(rig.story, [one.id for one in started]))
    chosen = [(story[-1]["gateway"], story[-1]["choice"]) for story in told]
    if chosen != [(gateway.name, choice)] * messages:
        raise SystemExit(f"Something else was measured: messages went {set(chosen)}, not {(gateway.name, choice)}.")
    return _delays(rig, gateway, started)


def _delays(rig: Rig, gateway: StandIn, started: Sequence[Started]) -> list[float]:
    taken = {rig.slot(one.dispatch)[0]: one.answered for one in gateway.served(rig.folder) if one.accepted}
    return [max(0.0, taken[one.id] - one.at) for one in started]
