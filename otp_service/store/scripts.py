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
from typing import Any, Protocol, cast

import hiredis
import redis
from redis.exceptions import NoScriptError, ResponseError

from otp_service.store.connection import answered
from otp_service.store.silence import Silence

_INCLUDES = re.compile(r"^-- include (.+)$", re.MULTILINE)
_RULESET = re.compile(r"\bruleset\.")
_LUA = files("otp_service.store") / "lua"
_SUFFIX = ".lua"
_PART = "include_"

Argument = str | bytes | int


@dataclass(frozen=True, slots=True)
class Script:
    """One script with its parts."""

    name: str
    text: str
    sha: str

    @property
    def needs_ruleset(self) -> bool:
        """Whether it reads the rules of an application, which are put before it."""
        return _RULESET.search(self.text) is not None


@cache
def script_names() -> tuple[str, ...]:
    """Return the names of all scripts: the files in ``lua/`` that are not parts of others."""
    names = sorted(file.name.removesuffix(_SUFFIX) for file in _LUA.iterdir() if file.name.endswith(_SUFFIX))
    return tuple(name for name in names if not name.startswith(_PART))


@cache
def script(name: str, prelude: str = "") -> Script:
    """Return the script of a file in ``lua/``, the parts named in its ``-- include`` lines put before it.

    ``prelude`` is the text that declares a ruleset, for those that need one.
    """
    body = _read(name)
    parts = [_read(f"{_PART}{part}") for line in _INCLUDES.findall(body) for part in line.split()]
    text = prelude + "\n".join([*parts, body])
    return Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


def _read(name: str) -> str:
    return (_LUA / f"{name}{_SUFFIX}").read_text()


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
        self._silence = Silence()

    def run(self, name: str, keys: tuple[str, ...], arguments: tuple[Argument, ...], prelude: str = "") -> Any:  # noqa: ANN401
        """Return the script's answer, under the rules that ``prelude`` declares.

        Raises `StoreUnavailableError` when there is no answer.
        """
        self._silence.respect()
        with answered():
            try:
                answer = _evaluate(self._connection(), script(name, prelude), keys, arguments)
            except ResponseError:  # an answer, and nothing comes after it
                self._silence.end()
                raise
            except BaseException as lost:  # or broken off between question and answer
                if isinstance(lost, redis.TimeoutError):
                    self._silence.begin()
                self._drop()
                raise
            self._silence.end()
            return answer

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
    except redis.ConnectionError:
        return True


def _evaluate(connection: _Connection, loaded: Script, keys: tuple[str, ...], arguments: tuple[Argument, ...]) -> Any:  # noqa: ANN401
    try:
        return _ask(connection, "EVALSHA", loaded.sha, len(keys), *keys, *arguments)
    except NoScriptError:  # nothing ran: the server was restarted, or never saw it
        return _ask(connection, "EVAL", loaded.text, len(keys), *keys, *arguments)


def _ask(connection: _Connection, *command: Argument) -> Any:  # noqa: ANN401
    # Packed by hiredis itself: redis-py first looks at the type of each of the hundred arguments.
    connection.send_packed_command([hiredis.pack_command(command)], check_health=False)  # type: ignore[arg-type]
    return connection.read_response()
