"""A process' calls to gateways: their limits, and their results for the breaker.

A gateway gets another call only while more threads are free than it holds: at most half of them, and a third each for
two hanging gateways. Silent gateways share a limit.

The breaker counts calls in the order of their begin: counted at their end, slow calls would come last, and a gateway
with every fifth call slow would look dead. A call is bad as soon as it has lasted for the gateway's ``slow``: no call
waits longer to be counted.
"""

import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from otp_service.domain.routing import CallResult, CountedCalls, GatewayLimits, Room

_SILENCE: Final = 1.0
"""Seconds without an answer after which a gateway counts as silent."""


@dataclass(slots=True, eq=False)
class TrackedCall:
    """A call to a gateway."""

    gateway: str
    dispatch_id: str
    began: float
    """By the monotonic clock."""
    result: CallResult | None = None
    """``None`` until it has ended or lasts too long."""


class GatewayCalls:
    """The calls of this process. Thread-safe."""

    def __init__(self, threads: int, limits: Mapping[str, GatewayLimits]) -> None:
        """Share ``threads`` among the gateways; a single gateway may have all of them."""
        self._threads = threads
        self._limits = limits
        self._lock = threading.Lock()
        self._callers = 0
        """Threads that call or choose a gateway."""
        self._places = dict.fromkeys(limits, 0)
        """These threads by gateway: a choosing thread has a place at each gateway that it may call."""
        self._suspended: set[str] = set()
        self._in_flight: dict[str, dict[TrackedCall, None]] = {name: {} for name in limits}
        """Calls by gateway, oldest first."""
        self._answered = dict.fromkeys(limits, 0.0)
        """Times of the last answers, by the monotonic clock."""
        self._uncounted: dict[str, deque[TrackedCall]] = {name: deque() for name in limits}
        """Calls that the breaker has not counted, oldest first."""

    def reserve(self, gateways: Iterable[str]) -> Mapping[str, Room]:
        """Take a place at each gateway that has room; return the room of each."""
        with self._lock:
            rooms = {gateway: self._room(gateway) for gateway in gateways}
            for gateway, room in rooms.items():
                self._places[gateway] += room is Room.FREE
            self._callers += Room.FREE in rooms.values()
            return rooms

    def keep(self, rooms: Mapping[str, Room], chosen: str | None) -> None:
        """Give back the places that `reserve` took, except at the chosen gateway."""
        with self._lock:
            for gateway, room in rooms.items():
                self._places[gateway] -= room is Room.FREE and gateway != chosen
            self._callers -= chosen is None and Room.FREE in rooms.values()

    def leave(self, gateway: str) -> None:
        """Give back the place at the chosen gateway."""
        with self._lock:
            self._places[gateway] -= 1
            self._callers -= 1

    def suspend(self, gateway: str) -> bool:
        """Suspend a gateway that has no calls in flight; return whether it is suspended."""
        with self._lock:
            if not self._places[gateway]:
                self._suspended.add(gateway)
            return gateway in self._suspended

    def resume(self, gateway: str) -> None:
        with self._lock:
            self._suspended.discard(gateway)

    def _room(self, gateway: str) -> Room:
        if gateway in self._suspended:
            return Room.FULL
        if len(self._limits) == 1:
            return Room.FREE
        silent = self._is_silent(gateway)
        group = [name for name in self._limits if self._is_silent(name)] if silent else [gateway]
        if sum(self._places[name] for name in group) < self._threads - self._callers:
            return Room.FREE
        return Room.SILENT if silent else Room.FULL

    def _is_silent(self, gateway: str) -> bool:
        """Tell whether a gateway has not answered since its oldest call in flight began, `_SILENCE` ago."""
        oldest = next(iter(self._in_flight[gateway]), None)
        return oldest is not None and self._answered[gateway] <= oldest.began < time.monotonic() - _SILENCE

    def begin(self, gateway: str, dispatch_id: str) -> TrackedCall:
        with self._lock:
            call = TrackedCall(gateway, dispatch_id, time.monotonic())
            self._in_flight[gateway][call] = None
            self._uncounted[gateway].append(call)
            return call

    def end(self, call: TrackedCall, result: CallResult) -> tuple[CountedCalls, ...]:
        """Note the end of a call; return the calls that the breaker counts now, in their order."""
        with self._lock:
            del self._in_flight[call.gateway][call]
            if result is not CallResult.BAD:
                self._answered[call.gateway] = time.monotonic()
            call.result = call.result or result
            return self._take_judged(call.gateway)

    def judge_slow(self) -> list[tuple[TrackedCall, tuple[CountedCalls, ...]]]:
        """Judge the calls in flight that last too long; return each with the calls that the breaker counts now."""
        with self._lock:
            now, judged = time.monotonic(), []
            for gateway, calls in self._in_flight.items():
                for call in calls:
                    if call.result is None and now - call.began >= self._limits[gateway].slow:
                        call.result = CallResult.BAD
                        judged.append((call, self._take_judged(gateway)))
            return judged

    def _take_judged(self, gateway: str) -> tuple[CountedCalls, ...]:
        """Take the calls before the first without a result; equal results in a row are counted together."""
        waiting, judged, now = self._uncounted[gateway], list[TrackedCall](), time.monotonic()
        while waiting and waiting[0].result:
            judged.append(waiting.popleft())
        counted = [call for call in judged if call.result in {CallResult.WELL, CallResult.BAD}]
        rows = [(result, list(calls)) for result, calls in groupby(counted, key=lambda call: call.result) if result]
        return tuple(CountedCalls(result, len(calls), round(1000 * (now - calls[0].began))) for result, calls in rows)

    def in_flight(self) -> Mapping[str, int]:
        with self._lock:
            return {gateway: len(calls) for gateway, calls in self._in_flight.items()}
