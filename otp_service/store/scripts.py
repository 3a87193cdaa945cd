"""The scripts in Lua: how they are put together, taught rulesets, and called; and the streams that they write."""

import hashlib
import json
import re
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from functools import cache, partial
from graphlib import TopologicalSorter
from importlib.resources import files
from itertools import pairwise
from typing import Any, Final, NamedTuple

import redis
from redis.exceptions import ReadOnlyError, ResponseError
from redis.sentinel import MasterNotFoundError

from otp_service.domain.guard import DAY, LimitScope, Ruleset, Window
from otp_service.errors import StoreUnavailableError
from otp_service.store import keys
from otp_service.store.connection import Argument, Connection, FailFast, raise_translated, translate_errors
from otp_service.store.keys import tag_of

# Each file in ``lua/`` that is no part of others is a function of one library, named by a hash of its text: releases
# that share a server do not meet. Rulesets and plans are registered with the library by a hash of theirs; it keeps
# them until the server restarts, or thousands of others were registered.

PREFIX = "otp_service_"
"""Begins the names of all libraries of this service, of this release or another."""
UNREGISTERED = b"unregistered"
"""Answer of a function whose ruleset or plan is not registered; it has done nothing."""
WRITE_FORMAT = 2
"""Of records, events and jobs as this release writes them; 1 is what the release before writes, and reads."""

_INCLUDES = re.compile(r"^-- include (.+)$", re.MULTILINE)
_PLAN = re.compile(r"\bplan\.")
_RULESET = re.compile(r"\bruleset\.")
_LUA = files("otp_service.store") / "lua"
_SUFFIX = ".lua"
_PART = "include_"
_NAME, _FORMAT = "@name@", "@format@"
_BEGIN = f"""#!lua name={_NAME}
local WRITE_FORMAT = {_FORMAT}
local KEYS, ARGV, ruleset, plan -- of the call at hand
local rulesets, plans, taught = {{}}, {{}}, 0
-- To look globals up took 2 % of a start: the first call keeps them here. Before it there is redis only, to register.
local redis, string, struct, math, table, tonumber, unpack, ipairs = redis

local function keep_globals(all)
  redis, string, struct, math, table = all.redis, all.string, all.struct, all.math, all.table
  tonumber, unpack, ipairs = all.tonumber, all.unpack, all.ipairs
end

local function make_room() -- what is forgotten is taught again when it is used
  taught = taught + 1
  if taught > 20000 then rulesets, plans, taught = {{}}, {{}}, 1 end
end

local function by_name(list) -- name, value, …
  local values = {{}}
  for i = 1, #list, 2 do values[list[i]] = list[i + 1] end
  return values
end
"""
_KEEP = "if not string then keep_globals(_G) end"
_TAKE = "KEYS, ARGV = keys, arguments"
_TAKE_RULESET = "KEYS, ARGV, ruleset = keys, arguments, rulesets[table.remove(arguments)]"
_TAKE_PLAN = """KEYS, ARGV, plan = keys, arguments, plans[table.remove(arguments)]
ruleset = plan and rulesets[plan.ruleset]"""
_REQUIRE_RULESET = f"if not ruleset then return {{ '{UNREGISTERED.decode()}' }} end"
_READ = {"clock": "clock.read()", "fence": "fence.read(table.remove(KEYS))"}
"""What is read when a script begins that includes the part, in this order."""
MIXED_SLOTS: Final[Mapping[str, str]] = {
    "start": "limits and money of application, country, block and network",
    "resend": "limits and money of application, country and block",
    "check": "wrong codes of the application",
    "dispatch": "health of the gateways; money of application and country",
    "dispatch_settle": "money of application and country",
    "guard_give_back": "buckets of application, country, block and network",
    "server_meet": "the installation is one for all buckets",
    "former_places": "the release before knew no cluster",
    "former_convert": "the release before knew no cluster",
}
"""Scripts whose keys have several hash tags, each with what for: they need one server. While the release before has
places of its own, `mirror_write`, `mirror_build` and `fence_put` write those too."""


@dataclass(frozen=True, slots=True)
class Library:
    """All scripts, as ``FUNCTION LOAD`` takes them."""

    name: str
    text: str

    def function(self, script: str) -> str:
        """Return the name of a script's function."""
        return f"{self.name}_{script}"


@cache
def script_names() -> tuple[str, ...]:
    """Return the names of all scripts: the files in ``lua/`` that are not parts of others."""
    names = sorted(file.name.removesuffix(_SUFFIX) for file in _LUA.iterdir() if file.name.endswith(_SUFFIX))
    return tuple(name for name in names if not name.startswith(_PART))


@cache
def library(write_format: int = WRITE_FORMAT) -> Library:
    """Return the library of this release, which writes records, events and jobs in a format."""
    bodies = {name: _read(name) for name in script_names()}
    names = order(map(included, bodies.values()))
    parts = dict(zip(names, part_texts(names), strict=True))
    functions = [_function(name, body, parts) for name, body in bodies.items()]
    text = "\n".join([_BEGIN, *parts.values(), *functions]).replace(_FORMAT, str(write_format))
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
    """Return a script as a function.

    One that reads a plan is given its name at the end; one that reads a ruleset, itself or in a part, that name.
    """
    own = included(body)
    rules = any(_RULESET.search(text) for text in (body, *(parts[part] for part in own)))
    take = (_TAKE_PLAN, _REQUIRE_RULESET) if _PLAN.search(body) else (_TAKE_RULESET, _REQUIRE_RULESET)
    lines = [
        f"redis.register_function('{_NAME}_{name}', function(keys, arguments)",
        _KEEP,
        *(take if rules else (_TAKE,)),
        *(read for part, read in _READ.items() if part in own),
        f"{body}end)\n",
    ]
    return "\n".join(lines)


@cache
def fenced_scripts() -> frozenset[str]:
    """Return the names of the scripts that read the fence, whose key is their last one."""
    return frozenset(name for name in script_names() if "fence" in included(_read(name)))


def _read(name: str) -> str:
    return (_LUA / f"{name}{_SUFFIX}").read_text()


_PARTS: Final = ("country", "block", "address", "network", "provider")
"""Subjects in which unapproved messages count, in the order of their rules: a block's follow what a country's found."""
_WINDOWS_OF: Final = {LimitScope.IP: "address", LimitScope.APPLICATION: "application"}
"""Subjects that hold the counters of a scope; the windows of other scopes are texts in a number's state."""

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
    lives: Mapping[str, int]
    """For how many milliseconds each subject is kept after a write, at most."""


def compile_ruleset(ruleset: Ruleset, remembered: int = 7 * DAY) -> CompiledRuleset:
    """Return a ruleset as the scripts read it; a number's last verifications are ``remembered`` for milliseconds."""
    data = asdict(ruleset)
    data["lifetimes"] = {"guesses": ruleset.known, **ruleset.lifetimes}
    data["windows"] = {scope: [one for one in data["windows"] if one["scope"] == scope] for scope in LimitScope}
    data["parts"] = _parts(data.pop("buckets"), data.pop("breakers"))
    ttls = _ttls(ruleset, remembered)
    text = json.dumps(_without_nulls({**data, "layouts": _layouts(ruleset), "ttls": ttls}))
    name = _digest(text)
    quota = next((window for window in ruleset.windows if window.quota), None)
    known = max(ruleset.known, ruleset.lock.length if ruleset.lock else 0)
    return CompiledRuleset(ruleset, name, text, quota, {**ttls, "number": max(ttls["number"], known)})


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _layouts(ruleset: Ruleset) -> dict[str, str]:
    """Return the names of what is kept of each subject but a number (see ``include_rows.lua``), in their order."""
    names: dict[str, dict[str, None]] = {part: {"ends": None, "time": None} for part in _PARTS}
    for bucket in ruleset.buckets:
        names[bucket.part] |= {f"l{bucket.name}": None, **{f"a{one // 1000}": None for one in bucket.approval_windows}}
    for breaker in ruleset.breakers:
        names[breaker.part]["b"] = None
    names["country"] |= dict.fromkeys(("tsuspicion", "ntrickle", "nchecked", "lusual", "ltrickle", "ttrickle"))
    names["application"] = {"ends": None}
    if ruleset.failures:
        names["application"] |= dict.fromkeys(("awrong", "aright", "ntold"))
    for window in ruleset.windows:
        if subject := _WINDOWS_OF.get(window.scope):
            names[subject][f"w{window.seconds}"] = None
    names["application"] |= {f"s{ceiling.name}": None for ceiling in ruleset.ceilings}
    of_countries = (ceiling for ceilings in ruleset.ceilings_of_countries.values() for ceiling in ceilings)
    names["country"] |= {f"s{ceiling.name}": None for ceiling in of_countries}
    return {subject: " ".join(of_subject) for subject, of_subject in names.items()}


def _ttls(ruleset: Ruleset, remembered: int) -> dict[str, int]:
    """Return for how many milliseconds each subject is kept after a write, a number that was never approved too."""
    ttls = {part: ruleset.lifetimes.get(part, DAY) for part in _PARTS}
    ttls["application"] = max(2 * DAY, ruleset.lifetimes.get("failures", 0))
    ttls["country"] = max(2 * DAY, ttls["country"])  # what is spent counts for a day and its neighbours
    ttls["number"] = max(remembered, ruleset.lifetimes.get("cooldown", 0))
    for window in ruleset.windows:
        subject = _WINDOWS_OF.get(window.scope, "number")
        ttls[subject] = max(ttls[subject], 2000 * window.seconds)
    return ttls


def _parts(buckets: tuple[Rule, ...], breakers: tuple[Rule, ...]) -> tuple[Rule, ...]:
    """Return the rules against fraud by the part that they count in: they are spared, and written, together."""
    ruled = {one["part"] for one in (*breakers, *buckets)}
    return tuple(_part(name, buckets, breakers) for name in _PARTS if name in ruled)


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


@dataclass(frozen=True, slots=True)
class CompiledPlan:
    """What the starts of an application, purpose, country and channel have in common, as the scripts are taught it."""

    name: str
    """Under which the scripts know it."""
    text: str
    """JSON."""
    ruleset: CompiledRuleset


def compile_plan(values: Mapping[str, str | int], ruleset: CompiledRuleset) -> CompiledPlan:
    """Return a plan of these values, by the names under which ``start.lua`` reads them."""
    text = json.dumps({**values, "ruleset": ruleset.name})
    return CompiledPlan(_digest(text), text, ruleset)


# A script is sent once. When its answer is lost nobody knows whether it ran: the caller is told, and may ask again with
# an idempotency key.

ScriptContext = Callable[[str], AbstractContextManager[None]]
"""Wraps each call of a script, given its name."""

_NOT_FOUND = "Function not found"
_EXISTS = "already exists"
REPLICATED: Final = frozenset(
    {
        "cancel", "check", "factor_check", "factor_enrol", "page_redeem", "proof_redeem", "resend", "reserve", "start",
        "user_guess",
    }
)  # fmt: skip
"""Scripts that approve, use up, count guesses, or spend: to forget what they did breaks a promise."""


HALVED_FOR: Final = 3_600_000
"""Milliseconds for which send limits are halved behind a fence: the narrow windows fill again with what is true."""
FENCING: Final = (HALVED_FOR, 1000 * keys.fence.seconds)
"""How the scripts fence: that, and for how many milliseconds a fence is kept. Then nothing is left that was started
before. A record, and what names it, lives for 20 minutes at most; but a start's idempotency key, which tells what
became of it, for a day. On a server whose clock is behind that of the lost one a record lives longer by as much: there
is room for that too."""


def fence_places(buckets: Iterable[str]) -> tuple[str, ...]:
    """Return where a fence is put: for each bucket, and where the release before reads it."""
    return (*map(keys.fence, buckets), keys.former_fence())


_PLANNED: Final = b"planned"
_FENCED: Final = b"fenced"
_TRACE_LIFE: Final = 1000 * keys.replicated.seconds
_FIRST_KEY: Final = 3
"""Place of the first key in an ``FCALL``."""
_MEET_AGAIN: Final = 0.02
_MEET_TIMES: Final = 25
"""Seconds after which a server that takes over as planned is asked again, and how often."""


@dataclass(frozen=True, slots=True)
class Replication:
    """How a server that may be replaced by a replica is used."""

    replicas: int
    """How many replicas must have what `REPLICATED` scripts did before it is answered; 0 for none."""
    timeout: int
    """Milliseconds in which they must."""
    buckets: tuple[str, ...]
    """Buckets of numbers: their fences are put where a server took over."""
    tell_fenced: Callable[[int], None]
    """Is told for how many seconds fewer messages may be sent where a server took over, and was fenced."""


class ScriptCall(NamedTuple):
    """A script that is to be called."""

    name: str
    keys: tuple[str, ...]
    arguments: tuple[Argument, ...]
    taught: CompiledRuleset | CompiledPlan | None = None


class ScriptRunner:
    """Calls the functions of the library, each in one round trip."""

    def __init__(
        self,
        client: redis.Redis,
        script_context: ScriptContext | None = None,
        write_format: int = WRITE_FORMAT,
        replication: Replication | None = None,
    ) -> None:
        """Take a client for its address; each thread opens a connection of its own and holds it.

        With ``replication`` each new connection learns first whether another server took over, and fences it.
        """
        self._client = client
        self._library = library(write_format)
        self._fenced = fenced_scripts()
        self.reads_former: Final = write_format < WRITE_FORMAT
        """Whether mirror and fence are read where the release before has them; they are written in both places."""
        self._held = threading.local()
        self._fail_fast = FailFast()
        self._script_context = script_context
        self._replication = replication or Replication(0, 0, (), lambda _: None)
        self._on_open = self._meet if replication else None
        self._replicas_away = FailFast()

    def run(
        self,
        name: str,
        keys: tuple[str, ...],
        arguments: tuple[Argument, ...],
        taught: CompiledRuleset | CompiledPlan | None = None,
    ) -> Any:  # noqa: ANN401 - whatever the script returns
        """Return the script's answer, under a ruleset or plan where it needs one.

        Raises `StoreUnavailableError` when there is no answer.
        """
        if self._script_context is None:
            return self._converse(self._call, name, keys, arguments, taught)
        with self._script_context(name):
            return self._converse(self._call, name, keys, arguments, taught)

    def run_all(self, calls: Iterable[ScriptCall]) -> list[Any]:
        """Return the answers of several scripts, each called as by `run`; an error in the place of its answer."""
        answers: list[Any] = []
        for call in calls:
            try:
                answers.append(self.run(*call))
            except StoreUnavailableError as unavailable:
                answers.append(unavailable)
        return answers

    def mirror_head(self, bucket: str) -> str:
        """Return the key of the mirror's head that the scripts of a bucket read."""
        return keys.former_mirror() if self.reads_former else keys.mirror(bucket)

    def fence(self, bucket: str) -> str:
        """Return the key of the fence that they read."""
        return keys.former_fence() if self.reads_former else keys.fence(bucket)

    @property
    def library_name(self) -> str:
        """The name of the library that it calls."""
        return self._library.name

    def reconnect(self) -> None:
        """Let each thread open another connection when it calls a script next."""
        self._held = threading.local()

    def register_ruleset(self, ruleset: CompiledRuleset) -> None:
        """Teach the scripts a ruleset; they are loaded where they are not. Raises as `run` does."""
        self._converse(self._register, ruleset)

    def _converse(self, ask: Callable[..., Any], *about: Any) -> Any:  # noqa: ANN401
        """Return what is answered over this thread's connection, which is closed when no answer came."""
        self._fail_fast.check()
        connection = self._connection()
        try:
            answer = ask(connection, *about)
        except ResponseError as refused:  # an answer, and nothing comes after it
            self._fail_fast.reset()
            if isinstance(refused, ReadOnlyError):  # it is the primary no more: the next connection goes elsewhere
                connection.close()
            raise_translated(refused)
        except redis.RedisError as lost:
            if isinstance(lost, (redis.TimeoutError, MasterNotFoundError)):  # each Sentinel may have been silent
                self._fail_fast.trip()
            else:  # refused, closed or loading: told at once, so it is not silent
                self._fail_fast.reset()
            connection.close()
            raise_translated(lost)
        except BaseException:  # broken off between question and answer
            self._fail_fast.reset()
            connection.close()
            raise
        self._fail_fast.reset()
        return answer

    def _connection(self) -> Connection:
        held: Connection | None = getattr(self._held, "connection", None)
        if held is None:
            held = self._held.connection = Connection(self._client, self._on_open)
        return held

    def _meet(self, connection: Connection) -> None:
        """Let a server that took over be fenced before anything else is asked of it."""
        names = (keys.INSTALLATION, *fence_places(self._replication.buckets))
        command: tuple[Argument, ...] = ("FCALL", self._library.function("server_meet"), len(names), *names, *FENCING)
        for _ in range(_MEET_TIMES):
            what, *put = self._ask_loaded(connection, command)
            if what == _FENCED:
                now, _, until = put
                self._replication.tell_fenced((until - now) // 1000)
            if what != _PLANNED:
                return
            time.sleep(_MEET_AGAIN)
        raise redis.ConnectionError("A planned fail-over is not confirmed yet.")

    def _call(
        self,
        connection: Connection,
        name: str,
        keys: tuple[str, ...],
        arguments: tuple[Argument, ...],
        taught: CompiledRuleset | CompiledPlan | None,
    ) -> Any:  # noqa: ANN401
        names = (taught.name,) if taught else ()
        if name in self._fenced:
            keys = (*keys, self.fence(tag_of(keys[0])))
        command = ("FCALL", self._library.function(name), len(keys), *keys, *arguments, *names)
        replicas = self._replication.replicas if name in REPLICATED else 0
        answer = self._ask_loaded(connection, command, replicas)
        if taught and answer == [UNREGISTERED]:  # nothing was done: the server was restarted, or never heard of them
            self._register(connection, taught)
            answer = self._ask_loaded(connection, command, replicas)
        return answer

    def _register(self, connection: Connection, taught: CompiledRuleset | CompiledPlan) -> None:
        if isinstance(taught, CompiledPlan):
            self._register(connection, taught.ruleset)
        script = "plan_register" if isinstance(taught, CompiledPlan) else "ruleset_register"
        self._ask_loaded(connection, ("FCALL", self._library.function(script), 0, taught.name, taught.text))

    def _ask_loaded(self, connection: Connection, command: tuple[Argument, ...], replicas: int = 0) -> Any:  # noqa: ANN401
        ask = partial(self._ask_replicated, replicas) if replicas else Connection.ask
        try:
            return ask(connection, *command)
        except ResponseError as error:
            if _NOT_FOUND not in str(error):
                raise
        self._load(connection)  # nothing ran: the server lost its functions, or never had these
        return ask(connection, *command)

    def _ask_replicated(self, replicas: int, connection: Connection, *command: Argument) -> Any:  # noqa: ANN401
        """Return the answer once so many replicas have what was done; raise `redis.ConnectionError` where they do not.

        ``WAIT`` asks for what this connection wrote. An answer that is only repeated (an idempotency key, a used code)
        was perhaps written over another one, which waited in vain: so each writes something.
        """
        self._replicas_away.check()
        trace = ("SET", keys.replicated(tag_of(str(command[_FIRST_KEY]))), "", "PX", _TRACE_LIFE)
        answer, _, have = connection.ask_all(command, trace, ("WAIT", replicas, self._replication.timeout))
        if isinstance(answer, ResponseError):
            raise answer
        if isinstance(have, ResponseError) or have < replicas:
            self._replicas_away.trip()
            raise redis.ConnectionError("Too few replicas have what was done.")
        self._replicas_away.reset()
        return answer

    def _load(self, connection: Connection) -> None:
        try:
            connection.ask("FUNCTION", "LOAD", self._library.text)
        except ResponseError as error:  # another process was faster
            if _EXISTS not in str(error):
                raise


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


def entry_values(fields: Mapping[bytes, bytes]) -> dict[str, str]:
    """Return what a stream's entry holds: one field of JSON, or a field for each value; what is no text is replaced."""
    values = {name.decode(errors="replace"): value.decode(errors="replace") for name, value in fields.items()}
    if "json" not in values:
        return values
    packed = values.pop("json")
    try:
        return {**values, **{name: str(value) for name, value in json.loads(packed).items()}}
    except (ValueError, AttributeError):
        return {**values, "json": packed}


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
