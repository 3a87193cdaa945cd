"""What a call takes without a server around it: processor time of the thread that makes it, in this process.

By the hot path and by Flask's way, in turns. One right after the other, so that all of it is in the processor's caches,
and with a pause before each, as it is in a server whose threads wait for Redis and for the next request.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from wsgiref.types import WSGIApplication, WSGIEnvironment

import floor
import redis
from calls import EXTRAS, Calls, answer, post
from seeding import BenchSettings, forget_messages

TURNS, AT_ONCE = 60, 20
"""Turns, and calls of each kind in a turn."""
PAUSE = 0.0005
"""Seconds."""
_CONSTANT = "the constant answer"


@dataclass(frozen=True)
class Within:
    """What one kind of call takes: microseconds, the median of each turn."""

    call: str
    hot: list[float] = field(default_factory=list)
    flask: list[float] = field(default_factory=list)
    """By Flask's way; of the constant answer, which has no other, the same again."""
    paused: list[float] = field(default_factory=list)
    """By the hot path, with a pause before each."""


@dataclass(frozen=True)
class _Kind:
    """A kind of call."""

    name: str
    requests: Callable[[int], Sequence[WSGIEnvironment]]
    hot: WSGIApplication
    flask: WSGIApplication
    around: Callable[[], Any] = ExitStack
    """What is done around its calls."""


def within(client: redis.Redis, settings: BenchSettings, folder: Path) -> list[Within]:
    """Measure the constant answer, checks, starts, and starts that come with more."""
    with ExitStack() as stack:
        kinds = _kinds(Calls(stack, settings, folder), settings)
        found = {kind.name: Within(kind.name) for kind in kinds}
        for turn in range(TURNS + 1):
            forget_messages(client)
            for kind in kinds:
                took = _turn(kind)
                if turn:  # the first one warms up
                    one = found[kind.name]
                    for kept, microseconds in zip((one.hot, one.flask, one.paused), took, strict=True):
                        kept.append(microseconds)
        return list(found.values())


def ratio(over: Sequence[float], under: Sequence[float]) -> float:
    """Return the median of the ratios of what was measured turn by turn."""
    return statistics.median(one / other for one, other in zip(over, under, strict=True))


def _kinds(calls: Calls, settings: BenchSettings) -> list[_Kind]:
    hot, flask, constant = calls.app.wsgi_app, calls.app.wsgi_app.flask, floor.constant()  # type: ignore[attr-defined]

    def constants(count: int) -> list[WSGIEnvironment]:
        return [post("/", "{}", settings.api_key) for _ in range(count)]

    return [
        _Kind(_CONSTANT, constants, constant, constant),
        _Kind("a check, Redis left out", calls.checks, hot, flask, lambda: _without_redis(settings)),
        _Kind("a check", calls.checks, hot, flask),
        _Kind("a start", calls.starts, hot, flask),
        *(_Kind(f"a start with {name}", partial(calls.starts_with, [name]), hot, flask) for name in EXTRAS),
        _Kind("a start with all of them", partial(calls.starts_with, EXTRAS), hot, flask),
    ]


def _turn(kind: _Kind) -> tuple[float, float, float]:
    requests = kind.requests(3 * AT_ONCE)
    with kind.around():
        hot = _measured(kind.hot, requests[:AT_ONCE])
        flask = _measured(kind.flask, requests[AT_ONCE : 2 * AT_ONCE])
        paused = _measured(kind.hot, requests[2 * AT_ONCE :], PAUSE)
    return hot, flask, paused


def _measured(app: WSGIApplication, requests: Sequence[WSGIEnvironment], pause: float = 0.0) -> float:
    took = []
    for environ in requests:
        time.sleep(pause)
        began = time.thread_time_ns()
        answer(app, environ)
        took.append((time.thread_time_ns() - began) / 1000)
    return statistics.median(took)


@contextmanager
def _without_redis(settings: BenchSettings) -> Iterator[None]:
    """Answer in place of Redis, as it answers a right code."""
    scripts = settings.installation.context.store.verifications._scripts  # noqa: SLF001 - there is no other way in
    scripts.run = lambda *_: [b"checked", b"approved", b"", 4, 0, 0, []]  # type: ignore[method-assign]
    try:
        yield
    finally:
        del scripts.run
