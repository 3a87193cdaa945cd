"""Redis connections and the scripts in Lua: loading, calling, time limits, errors."""

import hashlib
import json
import re
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import cache
from graphlib import TopologicalSorter
from importlib.resources import files
from itertools import pairwise
from typing import Any, Final, Protocol, cast

import hiredis
import redis
from redis.backoff import NoBackoff
from redis.exceptions import (
    ClusterDownError,
    ExecAbortError,
    InvalidResponse,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
)
from redis.retry import Retry

from otp_service.domain.guard import Ruleset, Window
from otp_service.errors import StoreUnavailableError
from otp_service.store import keys

# Each file in ``lua/`` that is no part of others is a function of one library, named by a hash of its text: releases
# that share a server do not meet. Rulesets are registered with the library by a hash of theirs; it keeps them until the
# server restarts.

PREFIX = "otp_service_"
"""Begins the names of all libraries of this service, of this release or another."""
UNKNOWN_RULES = b"ruleset-unknown"
"""Answer of a function whose ruleset is not registered; it has done nothing."""

_INCLUDES = re.compile(r"^-- include (.+)$", re.MULTILINE)
_RULESET = re.compile(r"\bruleset\.")
_LUA = files("otp_service.store") / "lua"
_SUFFIX = ".lua"
_PART = "include_"
_NAME = "@name@"
_BEGIN = f"""#!lua name={_NAME}
local KEYS, ARGV, ruleset -- of the call at hand
local rulesets = {{}}
redis.register_function('{_NAME}_register_ruleset', function(_, taught)
  rulesets[taught[1]] = cjson.decode(taught[2])
  return 'OK'
end)
"""
_TAKE = "KEYS, ARGV = keys, arguments"
_TAKE_RULES = f"""KEYS, ARGV, ruleset = keys, arguments, rulesets[table.remove(arguments)]
if not ruleset then return {{ '{UNKNOWN_RULES.decode()}' }} end"""
_READ = {"clock": "clock.read()", "fence": f"fence.read('{keys.FENCE}')"}
"""What is read when a script begins that includes the part, in this order."""


@dataclass(frozen=True, slots=True)
class Library:
    """All scripts, as ``FUNCTION LOAD`` takes them."""

    name: str
    text: str

    def function(self, script: str) -> str:
        """Return the name of a script's function."""
        return f"{self.name}_{script}"

    @property
    def register_ruleset(self) -> str:
        """The function that is taught a ruleset: its name, and the ruleset as JSON."""
        return self.function("register_ruleset")


@cache
def script_names() -> tuple[str, ...]:
    """Return the names of all scripts: the files in ``lua/`` that are not parts of others."""
    names = sorted(file.name.removesuffix(_SUFFIX) for file in _LUA.iterdir() if file.name.endswith(_SUFFIX))
    return tuple(name for name in names if not name.startswith(_PART))


@cache
def library() -> Library:
    """Return the library of this release."""
    bodies = {name: _read(name) for name in script_names()}
    names = order(map(included, bodies.values()))
    parts = dict(zip(names, part_texts(names), strict=True))
    functions = [_function(name, body, parts) for name, body in bodies.items()]
    text = "\n".join([_BEGIN, *parts.values(), *functions])
    name = PREFIX + hashlib.sha256(text.encode()).hexdigest()[:12]
    return Library(name, text.replace(_NAME, name))


def part_texts(parts: Iterable[str]) -> list[str]:
    """Return the texts of parts, by their names."""
    return [_read(f"{_PART}{part}") for part in parts]


def included(body: str) -> list[str]:
    """Return the names of the parts that a script includes, in their order."""
    return [part for line in _INCLUDES.findall(body) for part in line.split()]


def order(includes: Iterable[list[str]]) -> list[str]:
    """Return all parts in an order that is each script's own, for a part uses those before it."""
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for parts in includes:
        for before, after in pairwise(parts):
            sorter.add(after, before)
        for part in parts:
            sorter.add(part)
    return list(sorter.static_order())


def _function(name: str, body: str, parts: Mapping[str, str]) -> str:
    """Return a script as a function; one that reads a ruleset, itself or in a part, is given its name at the end."""
    own = included(body)
    rules = any(_RULESET.search(text) for text in (body, *(parts[part] for part in own)))
    lines = [
        f"redis.register_function('{_NAME}_{name}', function(keys, arguments)",
        _TAKE_RULES if rules else _TAKE,
        *(read for part, read in _READ.items() if part in own),
        f"{body}end)\n",
    ]
    return "\n".join(lines)


def _read(name: str) -> str:
    return (_LUA / f"{name}{_SUFFIX}").read_text()


PAUSE = 0.5
"""Seconds after a time-out in which nobody asks."""
_PROBE = 2.0
"""Seconds in which nobody else asks while one does; longer than connecting and waiting for an answer, which ends
them."""


class FailFast:
    """Refuses at once while the server does not answer.

    Otherwise every request would wait for a time-out of its own, in turn on the few threads of a process.
    """

    def __init__(self) -> None:
        self._until = 0.0
        self._turn = threading.Lock()

    def check(self) -> None:
        """Raise `StoreUnavailableError` while the server is silent, except for the one that asks again."""
        if not self._until:
            return
        with self._turn:
            if not self._until:  # whoever had the turn was answered
                return
            now = time.monotonic()
            if now < self._until:
                raise StoreUnavailableError("The store does not answer.")
            self._until = now + _PROBE

    def trip(self) -> None:
        """Note that a question got no answer in time."""
        self._until = time.monotonic() + PAUSE

    def reset(self) -> None:
        """Note that there was an answer, or that the server told at once that there will be none."""
        self._until = 0.0


Rule = dict[str, Any]
"""A rule in plain values."""


@dataclass(frozen=True, slots=True)
class CompiledRuleset:
    """A ruleset, its text, and the name under which the scripts know it."""

    ruleset: Ruleset
    name: str
    text: str
    quota: Window | None
    """The one that the application is told."""
    parts: frozenset[str]
    """Parts of the guard in which it counts unapproved messages."""


def compile_ruleset(ruleset: Ruleset) -> CompiledRuleset:
    """Return a ruleset as the scripts read it."""
    data = asdict(ruleset)
    buckets, breakers = data.pop("buckets"), data.pop("breakers")
    parts = _parts(buckets, breakers)
    text = json.dumps(_without_nulls({**data, "parts": parts}))
    name = hashlib.sha256(text.encode()).hexdigest()[:16]
    quota = next((window for window in ruleset.windows if window.quota), None)
    return CompiledRuleset(ruleset, name, text, quota, frozenset(part["name"] for part in parts))


def _parts(buckets: tuple[Rule, ...], breakers: tuple[Rule, ...]) -> tuple[Rule, ...]:
    """Return the rules against fraud by the part that they count in: they are spared, and written, together."""
    names = dict.fromkeys(one["part"] for one in (*breakers, *buckets))
    return tuple(_part(name, buckets, breakers) for name in names)


def _part(name: str, buckets: tuple[Rule, ...], breakers: tuple[Rule, ...]) -> Rule:
    own = [one for one in buckets if one["part"] == name]
    judging = [one for one in breakers if one["part"] == name]
    first = (own + judging)[0]
    return {
        "name": name,
        "exempts": first["exempts"],
        "starts": first.get("starts", False),
        "buckets": tuple(map(_without_part, own)),
        "breakers": tuple(map(_without_part, judging)),
    }


def _without_part(rule: Rule) -> Rule:
    return {member: value for member, value in rule.items() if member not in {"part", "exempts", "starts"}}


def _without_nulls(value: object) -> object:
    """Leave out what says nothing: in Lua it is nil, as JSON's null is not."""
    match value:
        case Mapping():
            return {name: _without_nulls(one) for name, one in value.items() if one is not None and one is not False}
        case tuple() | list():
            return list(map(_without_nulls, value))
        case _:
            return value


NO_RULES = compile_ruleset(Ruleset())
"""For what belongs to an application that the configuration has lost."""


_UNAVAILABLE: Final = (
    redis.ConnectionError,  # loading, and a wrong password, too
    redis.TimeoutError,
    ClusterDownError,  # a replica without its primary, too
    ExecAbortError,
    InvalidResponse,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
)
_NO_DATABASE: Final = "DB index is out of range"
_UNAVAILABLE_CODES: Final = frozenset({"BUSY", "MISCONF", "NOGROUP", "NOREPLICAS", "UNBLOCKED"})
"""First words of answers that redis-py has no class for. ``NOGROUP``: the server has lost its data."""
_PIPELINE_PREFIX: Final = " caused error: "
"""What redis-py puts before the server's own words when a command of a pipeline fails."""


def connect(url: str, *, timeout: float, connect_timeout: float) -> redis.Redis:
    """Return a client for a ``redis://``, ``rediss://`` or ``unix://`` address; opens no connection yet.

    Both time-outs in seconds. Nothing is ever sent again by the client: with redis-py's own retries a lost
    answer counted one wrong guess twice and turned an approval into ``already_approved``.
    """
    return redis.Redis.from_url(
        url,
        socket_timeout=timeout,
        socket_connect_timeout=connect_timeout,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
        client_name="otp-service",
    )


def server_time(client: redis.Redis) -> int:
    """Return the server's time in milliseconds since the epoch."""
    return to_milliseconds(client.time())


def to_milliseconds(time: tuple[int, int]) -> int:
    """Return what ``TIME`` answers, seconds and microseconds, in milliseconds."""
    seconds, micros = time
    return seconds * 1000 + micros // 1000


def is_unavailable(error: redis.RedisError) -> bool:
    """Tell whether an error is about the server's state: away, silent, full, busy, not letting us, or no Redis at all.

    Any other, such as a script's own or ``WRONGTYPE``, is a defect of ours: it must stay loud.
    """
    code = error.status_code or str(error).rpartition(_PIPELINE_PREFIX)[2].partition(" ")[0]
    return isinstance(error, _UNAVAILABLE) or code in _UNAVAILABLE_CODES or _NO_DATABASE in str(error)


class ConnectionProblem(StrEnum):
    """What keeps us from a server."""

    SILENT = "silent"
    """It does not answer, or is not able to."""
    USER = "user"
    """It does not know the user, or not with this password."""
    RIGHTS = "rights"
    """The user may not do this."""
    MEMORY = "memory"
    """It is full."""
    REPLICA = "replica"
    """It takes no writes."""
    DATABASE = "database"
    """It has no database of this number."""
    NOT_REDIS = "other-server"
    """It is no Redis."""


_PROBLEMS: Final = (
    (redis.AuthenticationError, ConnectionProblem.USER),
    (NoPermissionError, ConnectionProblem.RIGHTS),
    (OutOfMemoryError, ConnectionProblem.MEMORY),
    (ReadOnlyError, ConnectionProblem.REPLICA),
    (InvalidResponse, ConnectionProblem.NOT_REDIS),
)


def connection_problem(error: StoreUnavailableError) -> ConnectionProblem:
    """Return why the store was not available."""
    cause = error.__cause__
    if _NO_DATABASE in str(cause):
        return ConnectionProblem.DATABASE
    return next((found for kind, found in _PROBLEMS if isinstance(cause, kind)), ConnectionProblem.SILENT)


@contextmanager
def translate_errors() -> Iterator[None]:
    """Turn a failure of Redis into `StoreUnavailableError`; leave a defect of ours as it is."""
    try:
        yield
    except redis.RedisError as failed:
        if is_unavailable(failed):
            raise StoreUnavailableError("The store does not answer, or refuses to.") from failed
        raise


# A script is sent once. When its answer is lost nobody knows whether it ran: the caller is told, and may ask again with
# an idempotency key.

Argument = str | bytes | int
ScriptContext = Callable[[str], AbstractContextManager[None]]
"""Wraps each call of a script, given its name."""

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
    """Calls the functions of the library, each in one round trip."""

    def __init__(self, client: redis.Redis, script_context: ScriptContext | None = None) -> None:
        """Take a client for its connection settings; each thread opens a connection of its own and holds it.

        The command layer of redis-py costs more processor time than the server's answer, so it is left out.
        """
        self._pool = client.connection_pool
        self._held = threading.local()
        self._fail_fast = FailFast()
        self._script_context = script_context

    def run(
        self,
        name: str,
        keys: tuple[str, ...],
        arguments: tuple[Argument, ...],
        ruleset: CompiledRuleset | None = None,
    ) -> Any:  # noqa: ANN401 - whatever the script returns
        """Return the script's answer, under a ruleset where it needs one.

        Raises `StoreUnavailableError` when there is no answer.
        """
        with self._script_context(name) if self._script_context else _NOTHING:
            return self._converse(lambda connection: _call(connection, name, keys, arguments, ruleset))

    def register_ruleset(self, ruleset: CompiledRuleset) -> None:
        """Teach the scripts a ruleset; they are loaded where they are not. Raises as `run` does."""
        self._converse(lambda connection: _register_ruleset(connection, ruleset))

    def _converse(self, ask: Callable[[_Connection], Any]) -> Any:  # noqa: ANN401
        """Return what is answered over this thread's connection, which is dropped when no answer came."""
        self._fail_fast.check()
        with translate_errors():
            try:
                answer = ask(self._connection())
            except ResponseError:  # an answer, and nothing comes after it
                self._fail_fast.reset()
                raise
            except BaseException as lost:  # or broken off between question and answer
                if isinstance(lost, redis.TimeoutError):
                    self._fail_fast.trip()
                else:  # refused, closed or loading: told at once, so it is not silent
                    self._fail_fast.reset()
                self._drop()
                raise
            self._fail_fast.reset()
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
    ruleset: CompiledRuleset | None,
) -> Any:  # noqa: ANN401
    rules = (ruleset.name,) if ruleset else ()
    command = ("FCALL", library().function(name), len(keys), *keys, *arguments, *rules)
    answer = _ask_loaded(connection, command)
    if ruleset and answer == [UNKNOWN_RULES]:  # nothing was done: the server was restarted, or never heard of them
        _register_ruleset(connection, ruleset)
        answer = _ask_loaded(connection, command)
    return answer


def _register_ruleset(connection: _Connection, ruleset: CompiledRuleset) -> None:
    _ask_loaded(connection, ("FCALL", library().register_ruleset, 0, ruleset.name, ruleset.text))


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


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """How much of the streams is kept."""

    age: int
    """Seconds."""
    outbox: int
    """Entries of one queue."""
    events: int
    """Entries, about; those that are not in the ledger yet are kept, up to twice as many: then nothing is accepted."""
    decisions: int = 100_000
    """Entries, about."""

    @property
    def milliseconds(self) -> int:
        """The age as Redis counts it."""
        return self.age * 1000

    @property
    def unrecorded(self) -> int:
        """Events from which on nothing is accepted: so many can only be there while none is recorded."""
        return 2 * self.events

    @property
    def decision_limits(self) -> tuple[int, int]:
        """Age and number of the decisions that are kept, as the scripts take them."""
        return self.milliseconds, self.decisions


_END = 2**64
"""What Redis keeps the parts of an entry in."""


def entry_id(bucket: str, entry: str) -> str:
    """Return how an operator names an entry: bucket, a colon, the entry."""
    return f"{bucket}:{entry}"


def parse_entry_id(name: str, buckets: Collection[str]) -> tuple[str, str] | None:
    """Return bucket and entry of a name; ``None`` when it is none of these buckets."""
    bucket, _, entry = name.partition(":")
    return (bucket, entry) if bucket in buckets and _is_entry(entry) else None


def _is_entry(text: str) -> bool:
    milliseconds, _, sequence = text.partition("-")
    return all(part.isdecimal() and part.isascii() and int(part) < _END for part in (milliseconds, sequence))


def pairs_to_dict(flat: list[bytes]) -> dict[str, bytes]:
    """Return the hash that a script returned as a flat list."""
    names = iter(flat)
    return {name.decode(): value for name, value in zip(names, names, strict=True)}


def read_pages(client: redis.Redis, stream: str, begin: str = "-", end: str = "+", *, size: int) -> Iterator[list[Any]]:
    """Yield the entries of a stream between two identifiers, the oldest first, at most ``size`` at once."""
    while True:
        with translate_errors():
            entries: Any = client.xrange(stream, begin, end, count=size)
        if entries:
            yield entries
        if len(entries) < size:
            return
        begin = "(" + entries[-1][0].decode()
