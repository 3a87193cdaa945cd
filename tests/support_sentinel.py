"""A primary, its replica, and Sentinels: real ones, or one that says what it is told."""

import contextlib
import socket
import socketserver
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import redis
from support_tls import Secured
from support_valkey import free_port, server_program

SERVICE = "otp"
"""The name under which Sentinels watch the primary."""
URL = f"redis://{SERVICE}/0"
DOWN_AFTER = 2000
"""Milliseconds after which a silent primary is taken for dead."""
PERIODS = ("INFO-PERIOD", 1000, "PUBLISH-PERIOD", 500)
"""As docs/install.md tells: a primary that was paused is made a replica in three seconds, not in ten to twelve."""


class Node:
    """A server that keeps an append-only file; started again, it follows whom it is told."""

    appends = "yes"
    """Else it starts from the last snapshot."""

    def __init__(self, folder: Path, follows: int | None = None, secured: Secured | None = None) -> None:
        self.port = free_port()
        self.folder = folder
        self.secured = secured
        folder.mkdir()
        self.client = _client(self.port, secured)
        self.start(follows)

    def start(self, follows: int | None = None, *, reaches: bool = True) -> None:
        command = [
            _program(self.secured), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder),
            "--save", "", "--appendonly", self.appends, "--repl-diskless-sync-delay", "0",
            "--hash-max-listpack-value", "1024",
            *(self.secured.options(self.port) if self.secured else ()),
            *(("--replicaof", f"127.0.0.1 {follows}") if follows else ()),
        ]  # fmt: skip
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        wait_until(self._answers)
        if follows and reaches:
            wait_until(lambda: self.replication()["master_link_status"] == "up")

    def snapshot(self) -> None:
        """Keep what there is now as all that it starts from."""
        self.client.save()
        self.appends = "no"

    def replication(self) -> dict[str, Any]:
        return dict(self.client.info("replication"))

    def _answers(self) -> bool:
        with contextlib.suppress(redis.RedisError):
            return bool(self.client.ping())
        return False

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def nodes(*started: Node) -> Iterator[None]:
    """Kill servers at the end."""
    try:
        yield
    finally:
        for one in started:
            one.kill()


def wait_until(what: Any, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


@contextlib.contextmanager
def sentinels(
    folder: Path, primary: int, count: int = 3, patience: int = 4000, secured: Secured | None = None
) -> Iterator[list[int]]:
    """Let real Sentinels watch a primary, and know each other and its replica; yield their ports.

    ``patience``: milliseconds after which they give a fail-over up.
    """
    ports, running = [free_port() for _ in range(count)], []
    try:
        for port in ports:
            config = folder / f"sentinel-{port}.conf"
            config.write_text(
                f"port {port}\nbind 127.0.0.1\ndir {folder}\nsentinel monitor {SERVICE} 127.0.0.1 {primary} 2\n"
                f"sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER}\n"
                f"sentinel failover-timeout {SERVICE} {patience}\n"
                + (secured.of_sentinel(port, SERVICE) if secured else "")
            )
            command = [_program(secured), str(config), "--sentinel"]
            running.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))
        for port in ports:
            wait_until(lambda port=port: _knows_all(_client(port, secured), count - 1))
            _client(port, secured).execute_command("SENTINEL DEBUG", *PERIODS)
        yield ports
    finally:
        for process in running:
            process.kill()
            process.wait()


def _program(secured: Secured | None) -> str:
    return secured.program if secured else server_program()


def _client(port: int, secured: Secured | None) -> redis.Redis:
    return secured.client(port) if secured else redis.Redis(port=port, socket_timeout=2.0)


def _knows_all(sentinel: redis.Redis, others: int) -> bool:
    with contextlib.suppress(redis.RedisError), sentinel as client:
        told: Any = client.sentinel_master(SERVICE)
        return bool(told["num-other-sentinels"] == others and told["num-slaves"] >= 1)
    return False


def primary_of(ports: Sequence[int]) -> int | None:
    """Return the port of the primary by the first Sentinel."""
    with redis.Redis(port=ports[0]) as client:
        told: Any = client.sentinel_get_master_addr_by_name(SERVICE)
        return int(told[1]) if told else None


class TellingSentinel:
    """Says where the primary is, as it was told: enough for clients, and it changes nothing by itself."""

    def __init__(self, certificate: Path | None = None) -> None:
        self.primary = 0
        self.epoch = 0
        """Raised by whoever replaces a primary."""
        self.flags = "master"
        self.replicas: list[int] = []
        """Ports of all other servers that it knows, the former primary too."""
        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), _handler(self), bind_and_activate=True)
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.server.daemon_threads = True
        self.address = f"127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def answer(self, command: list[bytes]) -> bytes:
        if command[0].upper() != b"SENTINEL":
            return b"+OK\r\n"
        if command[1].upper() == b"FAILOVER":
            return b"-NOGOODSLAVE No suitable replica to promote\r\n"
        if command[1].upper() == b"SLAVES":
            return _states(*({"ip": "127.0.0.1", "port": str(one), "flags": "slave"} for one in self.replicas))
        primary = {"name": SERVICE, "ip": "127.0.0.1", "port": str(self.primary), "flags": self.flags}
        counts = {"config-epoch": str(self.epoch), "num-other-sentinels": "0", "num-slaves": "1", "quorum": "1"}
        return _states({**primary, **counts})


def _states(*states: Mapping[str, str]) -> bytes:
    arrays = [_array([one for pair in state.items() for one in pair]) for state in states]
    return f"*{len(arrays)}\r\n".encode() + b"".join(arrays)


def _array(texts: Sequence[str]) -> bytes:
    return f"*{len(texts)}\r\n".encode() + b"".join(f"${len(one)}\r\n{one}\r\n".encode() for one in texts)


def _handler(sentinel: TellingSentinel) -> type[socketserver.StreamRequestHandler]:
    class Handler(socketserver.StreamRequestHandler):
        wbufsize: ClassVar[int] = 0

        def handle(self) -> None:
            self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with contextlib.suppress(OSError):
                while line := self.rfile.readline():
                    command = []
                    for _ in range(int(line[1:])):
                        size = int(self.rfile.readline()[1:])
                        command.append(self.rfile.read(size + 2)[:size])
                    self.wfile.write(sentinel.answer(command))

    return Handler
