"""Runs the Lua scripts, over a connection held by each thread.

A script is sent once. When its answer is lost nobody knows whether it ran, so it is never sent again by itself:
the caller is told, and may ask again with an idempotency key.
"""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final, Protocol, cast

import hiredis
import redis
from redis.exceptions import ResponseError

from otp_service.store.connection import answered
from otp_service.store.library import UNKNOWN_RULES, library
from otp_service.store.rulesets import LoadedRuleset
from otp_service.store.silence import Silence

Argument = str | bytes | int
Around = Callable[[str], AbstractContextManager[None]]
"""What is done around a script, by its name."""

_NOTHING: Final = nullcontext()
_NOT_FOUND = "Function not found"
_EXISTS = "already exists"


class _Connection(Protocol):
    """The part of redis-py's connection that is used here."""

    def can_read(self, timeout: float = 0) -> bool: ...
    def connect(self) -> None: ...
    def disconnect(self) -> None: ...
    def send_packed_command(self, command: list[bytes], check_health: bool = True) -> None: ...  # noqa: FBT001, FBT002
    def read_response(self) -> Any: ...  # noqa: ANN401 - whatever the script returns


class ScriptRunner:
    """Runs scripts by their hash, each in one round trip."""

    def __init__(self, client: redis.Redis, around: Around | None = None) -> None:
        """Take a client for its connection settings; each thread opens a connection of its own and holds it.

        The command layer of redis-py costs more processor time than the server's answer, so it is left out.
        """
        self._pool = client.connection_pool
        self._held = threading.local()
        self._silence = Silence()
        self._around = around

    def run(
        self,
        name: str,
        keys: tuple[str, ...],
        arguments: tuple[Argument, ...],
        ruleset: LoadedRuleset | None = None,
    ) -> Any:  # noqa: ANN401 - whatever the script returns
        """Return the script's answer, under a ruleset where it needs one.

        Raises `StoreUnavailableError` when there is no answer.
        """
        with self._around(name) if self._around else _NOTHING:
            return self._converse(lambda connection: _call(connection, name, keys, arguments, ruleset))

    def teach(self, ruleset: LoadedRuleset) -> None:
        """Teach the scripts a ruleset; they are loaded where they are not. Raises as `run` does."""
        self._converse(lambda connection: _teach(connection, ruleset))

    def _converse(self, ask: Callable[[_Connection], Any]) -> Any:  # noqa: ANN401
        """Return what is answered over this thread's connection, which is dropped when no answer came."""
        self._silence.respect()
        with answered():
            try:
                answer = ask(self._connection())
            except ResponseError:  # an answer, and nothing comes after it
                self._silence.end()
                raise
            except BaseException as lost:  # or broken off between question and answer
                if isinstance(lost, redis.TimeoutError):
                    self._silence.begin()
                else:  # refused, closed or loading: told at once, so it is not silent
                    self._silence.end()
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


def _call(
    connection: _Connection,
    name: str,
    keys: tuple[str, ...],
    arguments: tuple[Argument, ...],
    ruleset: LoadedRuleset | None,
) -> Any:  # noqa: ANN401
    rules = (ruleset.name,) if ruleset else ()
    command = ("FCALL", library().function(name), len(keys), *keys, *arguments, *rules)
    answer = _ask_loaded(connection, command)
    if ruleset and answer == [UNKNOWN_RULES]:  # nothing was done: the server was restarted, or never heard of them
        _teach(connection, ruleset)
        answer = _ask_loaded(connection, command)
    return answer


def _teach(connection: _Connection, ruleset: LoadedRuleset) -> None:
    _ask_loaded(connection, ("FCALL", library().teach, 0, ruleset.name, ruleset.text))


def _ask_loaded(connection: _Connection, command: tuple[Argument, ...]) -> Any:  # noqa: ANN401
    try:
        return _ask(connection, *command)
    except ResponseError as error:
        if _NOT_FOUND not in str(error):
            raise
    _load(connection)  # nothing ran: the server lost its functions, or never had these
    return _ask(connection, *command)


def _load(connection: _Connection) -> None:
    try:
        _ask(connection, "FUNCTION", "LOAD", library().text)
    except ResponseError as error:  # another process was faster
        if _EXISTS not in str(error):
            raise


def _ask(connection: _Connection, *command: Argument) -> Any:  # noqa: ANN401
    # Packed by hiredis itself: redis-py first looks at the type of each of the hundred arguments.
    connection.send_packed_command([hiredis.pack_command(command)], check_health=False)  # type: ignore[arg-type]
    return connection.read_response()
