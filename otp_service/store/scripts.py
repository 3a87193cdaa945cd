"""The Lua scripts: loaded with the parts they include, and run over a connection held by each thread.

A script is sent once. When its answer is lost nobody knows whether it ran, so it is never sent again by itself:
the caller is told, and may ask again with an idempotency key.
"""

import hashlib
import re
import threading
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final, Protocol, cast

import hiredis
import redis
from redis.exceptions import (
    BusyLoadingError,
    ExecAbortError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import (
    TimeoutError as RedisTimeoutError,
)

from otp_service.core.errors import StoreUnavailableError

_INCLUDES = re.compile(r"^-- include (.+)$", re.MULTILINE)
_UNAVAILABLE: Final = (
    RedisConnectionError,
    RedisTimeoutError,
    BusyLoadingError,
    OutOfMemoryError,
    ReadOnlyError,
    ExecAbortError,
)
_REFUSALS = ("BUSY", "OOM", "MISCONF", "NOREPLICAS", "CLUSTERDOWN", "READONLY", "LOADING", "MASTERDOWN")
"""Answers of a server that is there but cannot write now."""

Argument = str | bytes | int


@dataclass(frozen=True, slots=True)
class Script:
    """One script with its parts."""

    name: str
    text: str
    sha: str


@cache
def script(name: str) -> Script:
    """Return the script of a file in ``lua/``, the parts named in its ``-- include`` line put before it."""
    body = _read(name)
    includes = _INCLUDES.search(body)
    parts = [_read(f"include_{part}") for part in (includes[1].split() if includes else ())]
    text = "\n".join([*parts, body])
    return Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


def _read(name: str) -> str:
    return (files("otp_service.store") / "lua" / f"{name}.lua").read_text()


class _Connection(Protocol):
    """The part of redis-py's connection that is used here."""

    def can_read(self, timeout: float = 0) -> bool: ...
    def connect(self) -> None: ...
    def disconnect(self) -> None: ...
    def send_packed_command(self, command: list[bytes], check_health: bool = True) -> None: ...  # noqa: FBT001, FBT002
    def read_response(self) -> Any: ...  # noqa: ANN401 - whatever the script returns


class ScriptRunner:
    """Runs scripts by their hash, each in one round trip."""

    def __init__(self, client: redis.Redis) -> None:
        """Take a client for its connection settings; each thread opens a connection of its own and holds it.

        The command layer of redis-py costs more processor time than the server's answer, so it is left out.
        """
        self._pool = client.connection_pool
        self._held = threading.local()

    def run(self, name: str, keys: tuple[str, ...], arguments: tuple[Argument, ...]) -> Any:  # noqa: ANN401
        """Return the script's answer; raise `StoreUnavailableError` when there is none."""
        loaded = script(name)
        try:
            connection = self._connection()
            try:
                return _ask(connection, "EVALSHA", loaded.sha, len(keys), *keys, *arguments)
            except NoScriptError:  # nothing ran: the server was restarted, or never saw it
                return _ask(connection, "EVAL", loaded.text, len(keys), *keys, *arguments)
        except _UNAVAILABLE as lost:
            self._drop()
            raise StoreUnavailableError("The store does not answer.") from lost
        except ResponseError as refused:
            if not str(refused).startswith(_REFUSALS):
                raise
            raise StoreUnavailableError("The store cannot write now.") from refused
        except BaseException:  # broken off between question and answer
            self._drop()
            raise

    def _connection(self) -> _Connection:
        """Return this thread's connection, a new one when the server has closed it meanwhile."""
        held = cast("_Connection | None", getattr(self._held, "connection", None))
        if held is None:
            held = cast("_Connection", self._pool.connection_class(**self._pool.connection_kwargs))
            held.connect()
            self._held.connection = held
        elif _is_over(held):
            held.disconnect()
            held.connect()
        return held

    def _drop(self) -> None:
        """Close this thread's connection: an answer that comes late must not be taken for another's."""
        held = getattr(self._held, "connection", None)
        self._held.connection = None
        if held is not None:
            held.disconnect()


def _is_over(connection: _Connection) -> bool:
    """Tell whether the server has closed a connection: nothing was asked, so what can be read is the end."""
    try:
        return connection.can_read()
    except RedisConnectionError:
        return True


def _ask(connection: _Connection, *command: Argument) -> Any:  # noqa: ANN401
    # Packed by hiredis itself: redis-py first looks at the type of each of the hundred arguments.
    connection.send_packed_command([hiredis.pack_command(command)], check_health=False)  # type: ignore[arg-type]
    return connection.read_response()
