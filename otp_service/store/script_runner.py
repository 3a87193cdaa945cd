"""Calls the scripts, over a connection for each thread and server; loads the library and registers rules as needed."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, NamedTuple, NoReturn, Self

import redis
from redis.exceptions import MovedError, ReadOnlyError, ResponseError
from redis.sentinel import MasterNotFoundError

from otp_service.errors import StoreUnavailableError
from otp_service.store import keys
from otp_service.store.blocked_commands import BlockedCommands
from otp_service.store.cluster import Peer, SlotMap
from otp_service.store.connection import (
    Argument,
    Connection,
    NoSentinelError,
    follows,
    had_no_more,
    has_sentinels,
    raise_translated,
    servers_of_primary,
)
from otp_service.store.keys import tag_of
from otp_service.store.library import UNREGISTERED, fenced_scripts, library, script_names
from otp_service.store.rulesets import CompiledPlan, CompiledRuleset
from otp_service.store.signatures import servers as signed
from otp_service.store.signatures.gateways import GatewayKeys
from otp_service.store.signatures.signature import ArgumentsT, KeysT, NoArguments, ReplyT, Signature

# A script is sent once. When its answer is lost, it is unknown whether it ran. The caller gets an error, and may try
# again with an idempotency key.

Rules = CompiledRuleset | CompiledPlan
"""Registered with a server that a script runs on."""
ScriptContext = Callable[[str], AbstractContextManager[None]]
"""Wraps each call of a script, by its name."""
_NO_CONTEXT: Final = nullcontext()

_NOT_FOUND = "Function not found"
_EXISTS = "already exists"
_MAX_LOADS: Final = 5
"""A process of another release deletes the scripts of this release when it starts, perhaps while they are loaded."""
DURABLE: Final = frozenset({"share_move"})
"""Scripts on a cluster that wait for the server's append-only file too: another server may have the other half of a
move. A single server forgets its last writes first."""
REPLICATED: Final = frozenset(
    {
        "cancel", "check", "evidence_claim", "factor_check", "factor_enrol", "page_redeem", "proof_redeem",
        "replicas_await", "resend", "share_move", "start", "user_claim", "user_guess",
    }
)  # fmt: skip
"""Scripts that wait for replicas. They approve, use up, count guesses or spend: none of that may be forgotten.
`replicas_await` only waits."""
FENCE_LIFE: Final = 1000 * keys.fence.seconds
"""Life of a fence in milliseconds. No start from before the fence outlives it: a record lives for 20 minutes at most, a
start's idempotency key for a day. If the clock of the new server is behind, a record lives longer by the difference;
there is room for that."""
_PATIENCE: Final = 10_000
"""Milliseconds within which enough servers must follow a server that took over (`ScriptRunner._is_whole`)."""
_TRACE_LIFE: Final = 1000 * keys.replicated.seconds
_FIRST_KEY: Final = 3
"""Place of the first key in an ``FCALL``."""
_SYNC_TIMEOUT: Final = 200
_MAX_SYNCS: Final = 10
"""Milliseconds of a wait for a server's append-only file, and how many waits: by default it is synced each second."""
_MEET_PAUSE: Final = 0.1
_MAX_MEETINGS: Final = 5
"""A server that took over, and may lack something, is checked again after this pause (seconds), so many times."""


class NotDurableError(Exception):
    """The server may forget writes, so the script was not called."""


@dataclass(frozen=True, slots=True)
class Replication:
    """Settings for a server that a replica may replace."""

    replicas: int
    """Number of replicas that must have the writes of `REPLICATED` scripts before the answer; 0 for none."""
    timeout: int
    """Milliseconds to wait for them."""
    buckets: tuple[str, ...]
    """Buckets of numbers that are fenced when a server takes over."""
    note_fenced: Callable[[], None]
    """Called when a server that took over was fenced."""


_NOT_RUN: Final = object()
"""In place of the answer of a script that did not run, and is called again."""


def _checked(answer: object) -> object:
    """Return an answer or a `StoreUnavailableError`; `_NOT_RUN` if the server lacks the slot, the scripts or the rules.

    Raises errors that are defects of ours.
    """
    if not isinstance(answer, ResponseError):
        return _NOT_RUN if answer == [UNREGISTERED] else answer
    if isinstance(answer, MovedError) or _NOT_FOUND in str(answer):
        return _NOT_RUN
    return _caught(raise_translated, answer)


def _caught(act: Callable[..., Any], *arguments: Any) -> Any:  # noqa: ANN401
    """Return the answer or the `StoreUnavailableError`."""
    try:
        return act(*arguments)
    except StoreUnavailableError as error:
        return error


def _has_timed_out(answer: object) -> bool:
    return isinstance(answer, StoreUnavailableError) and isinstance(answer.__cause__, redis.TimeoutError)


def _trace(key: str) -> tuple[Argument, ...]:
    """Return a command that writes to the slot of a key, for ``WAIT`` to wait for."""
    return "SET", keys.replicated(tag_of(key)), "", "PX", _TRACE_LIFE


class ScriptCall(NamedTuple):
    """A call of a script, with the rules that it needs, if any."""

    name: str
    keys: tuple[str, ...]
    arguments: tuple[Argument, ...]
    rules: Rules | None = None

    @classmethod
    def of(
        cls, script: Signature[KeysT, ArgumentsT, Any], keys: KeysT, arguments: ArgumentsT, rules: Rules | None = None
    ) -> Self:
        """Return the call of a script by its signature."""
        return cls(script.script, script.flat_keys(keys), script.flat_arguments(arguments), rules)


def _by_peer(peers: Sequence[Peer], calls: Sequence[ScriptCall]) -> dict[Peer, list[ScriptCall]]:
    calls_of: dict[Peer, list[ScriptCall]] = {}
    for peer, call in zip(peers, calls, strict=True):
        calls_of.setdefault(peer, []).append(call)
    return calls_of


class _Link(Connection):
    """A thread's connection to a server."""

    def __init__(self, client: redis.Redis, peer: Peer, on_open: Callable[["_Link"], None] | None) -> None:
        super().__init__(client, peer.address)
        self.peer = peer
        self.met: dict[str, int] = {}
        """Buckets that were met on this connection, each with the version of the slot map then: the server may lose a
        slot, and get it back."""
        self.bucket = ""
        """Hash tag of the present call."""
        self.silences = 0
        """Silences of the server when the connection was opened."""
        self._on_open = on_open

    def _begin(self) -> None:
        self.met.clear()
        self.silences = self.peer.fail_fast.silences
        self.peer.sentinels_away.reset()
        if self._on_open:
            self._on_open(self)


class ScriptRunner:
    """Calls the functions of the library, each in one round trip."""

    def __init__(
        self,
        client: redis.Redis,
        script_context: ScriptContext | None = None,
        replication: Replication | None = None,
        slots: SlotMap | None = None,
    ) -> None:
        """Take a client for its address and credentials; each thread has a connection of its own.

        With ``replication`` each new connection first detects a server that took over, and fences it. With the
        ``slots`` of a cluster each thread has a connection to each server, and does that for each bucket.
        """
        self._client = client
        self._slots = slots
        self._server = Peer()
        self._library = library()
        self._functions = {name: self._library.function(name) for name in script_names()}
        self._fenced = fenced_scripts()
        self._fence_of = cache(keys.fence)
        self.gateway_keys = cache(self._gateway_keys)
        """Returns the keys of a gateway, by its name."""
        self._local = threading.local()
        self._script_context = script_context
        self._replication = replication or Replication(0, 0, (), lambda: None)
        self._buckets = frozenset(self._replication.buckets)
        self._replicated = REPLICATED if self._replication.replicas else frozenset()
        self._durable = DURABLE if slots else frozenset()
        self._patience = _PATIENCE if self._replicated and (slots or has_sentinels(client)) else 0
        meet = self._meet_server if slots is None else self._meet_again
        self._on_open = meet if replication else None

    def run(self, call: ScriptCall) -> Any:  # noqa: ANN401 - as the script
        """Return the script's answer. Registers the rules that it needs.

        Raises `StoreUnavailableError` if there is no answer.
        """
        with self._script_context(call.name) if self._script_context else _NO_CONTEXT:
            if self._slots is None:
                return self._ask(self._server, call)
            return self._ask_cluster(self._slots, call)

    def _ask(self, peer: Peer, call: ScriptCall) -> Any:  # noqa: ANN401
        """Return a server's answer, over this thread's connection."""
        link = self._connection(peer)
        replicas = self._replication.replicas if call.name in self._replicated else 0
        try:
            if self._slots is not None:
                self._meet_bucket(link, tag_of(call.keys[0]))
            command = self._command(call)
            for _ in range(_MAX_LOADS):
                answer = self._ask_loaded(link, command, replicas, call.name in self._durable)
                if not call.rules or answer != [UNREGISTERED]:
                    peer.fail_fast.reset()
                    return answer
                self._register(link, call.rules)  # the server was restarted, or never had them; the script did nothing
        except redis.RedisError as error:
            self._fail(link, error)
        except BaseException:  # interrupted between command and answer
            peer.fail_fast.reset()
            link.close()
            raise
        peer.fail_fast.reset()
        link.close()
        raise StoreUnavailableError("The server forgets its rules again and again.")

    def _fail(self, link: _Link, error: redis.RedisError) -> NoReturn:
        """Raise an error as `run` does; close the connection, unless the error is the last answer."""
        if isinstance(error, ResponseError):
            link.peer.fail_fast.reset()
            if isinstance(error, ReadOnlyError):  # no longer the primary: the next connection finds the new primary
                link.close()
            raise_translated(error, nothing_ran=True)
        if isinstance(error, NoSentinelError):
            link.peer.sentinels_away.trip()
            link.peer.fail_fast.reset()
        elif isinstance(error, (redis.TimeoutError, MasterNotFoundError)):
            link.peer.fail_fast.trip()
        else:  # refused, closed or loading: the error came at once
            link.peer.fail_fast.reset()
        link.close()
        if self._slots:
            self._slots.suspect(link.peer)
        raise_translated(error, nothing_ran=not link.asked)

    def _ask_cluster(self, slots: SlotMap, call: ScriptCall) -> Any:  # noqa: ANN401
        """Return the answer of the server that has the keys."""
        try:
            return self._ask(slots.peer_of(call.keys[0]), call)
        except StoreUnavailableError as refused:
            if not isinstance(moved := refused.__cause__, MovedError):
                raise
        return self._ask(slots.learn(moved), call)  # the script did not run

    def call(
        self,
        script: Signature[KeysT, ArgumentsT, ReplyT],
        keys: KeysT,
        arguments: ArgumentsT,
        rules: Rules | None = None,
    ) -> ReplyT:
        """Return the script's reply by name; raises as `run` does."""
        return script.read(self.run(ScriptCall.of(script, keys, arguments, rules)))

    def call_all(
        self,
        script: Signature[KeysT, ArgumentsT, ReplyT],
        calls: Sequence[tuple[KeysT, ArgumentsT]],
        rules: Rules | None = None,
    ) -> list[ReplyT | StoreUnavailableError]:
        """Return the replies to calls of a script, with a `StoreUnavailableError` for each missing answer."""
        answers = self.run_all([ScriptCall.of(script, keys, arguments, rules) for keys, arguments in calls])
        return [answer if isinstance(answer, StoreUnavailableError) else script.read(answer) for answer in answers]

    def run_all(self, calls: Sequence[ScriptCall]) -> list[Any]:
        """Return the answers of scripts, with a `StoreUnavailableError` for each missing answer.

        On a cluster, each server gets its calls before the first answer is read, and all share the time of a call.
        """
        if self._slots is None:
            return [_caught(self.run, call) for call in calls]
        peers = [_caught(self._slots.peer_of, call.keys[0]) for call in calls]
        calls_of = _by_peer(peers, calls)
        links: dict[Peer, Any] = {}
        try:
            self._send_each(calls_of, self._write, links)
            answers_of = self._read_each(calls_of, links)
        except BaseException:  # an unread answer would be taken for a later call's
            for link in links.values():
                if isinstance(link, _Link):
                    link.close()
            raise
        answers = [next(answers_of[peer]) for peer in peers]
        return [
            _caught(self._ask_cluster, self._slots, call) if answer is _NOT_RUN else answer
            for answer, call in zip(answers, calls, strict=True)
        ]

    def send_all(self, calls: Sequence[ScriptCall]) -> None:
        """Call scripts; on a cluster, do not wait for answers, and skip the calls that fail.

        They run before any later call of this thread to the same server.
        """
        if self._slots is None:
            self.run_all(calls)
            return
        peers = [_caught(self._slots.peer_of, call.keys[0]) for call in calls]
        self._send_each(_by_peer(peers, calls), self._send, {})

    def _send_each(
        self, calls_of: Mapping[Peer, Sequence[ScriptCall]], send: Callable[..., _Link], links: dict[Peer, Any]
    ) -> None:
        """Send each server its calls; put the connection or the error into ``links``.

        After a server timed out, servers that were silent before are skipped.
        """
        timed_out = False
        for peer, calls in calls_of.items():
            if not isinstance(peer, Peer):
                links[peer] = peer
            elif timed_out and peer.fail_fast.is_silent:
                links[peer] = StoreUnavailableError("The store does not answer.", nothing_ran=True)
            else:
                links[peer] = _caught(self._converse, peer, send, calls)
                timed_out |= _has_timed_out(links[peer])

    def _read_each(
        self, calls_of: Mapping[Peer, Sequence[ScriptCall]], links: Mapping[Peer, Any]
    ) -> dict[Peer, Iterator[Any]]:
        """Return the answers of each server to its calls, or an error for each call.

        After a server timed out, the others have had as long: only arrived answers are read.
        """
        answers_of: dict[Peer, Iterator[Any]] = {}
        timed_out = False
        for peer, calls in calls_of.items():
            answers = links[peer]
            if isinstance(answers, _Link):
                answers = _caught(self._over, answers, self._read_answers, calls, not timed_out)
                timed_out |= _has_timed_out(answers)
            answers_of[peer] = iter(answers if isinstance(answers, list) else [answers] * len(calls))
        return answers_of

    def spread(self, buckets: Sequence[str]) -> Sequence[Sequence[str]]:
        """Return the groups of buckets that a call may touch together: all, or on a cluster each alone."""
        return [buckets] if self._slots is None else [[bucket] for bucket in buckets]

    def blocked_commands(
        self, key: Callable[[str], str], command: Callable[[str], tuple[Argument, ...]]
    ) -> BlockedCommands | None:
        """Return blocking commands on a cluster, by a bucket's key and command; ``None`` for a single server."""
        return BlockedCommands(self._client, self._slots, key, command) if self._slots else None

    def meet_command(self, buckets: Sequence[str], confirmed: str | bytes, patience: int) -> tuple[Argument, ...]:
        """Return the command that meets a server, which has all of the ``confirmed`` history."""
        server = keys.server(buckets[0]) if self.is_cluster else keys.INSTALLATION
        rest = (*map(keys.fence, buckets), *map(keys.mirror, buckets))
        names = signed.DETECT_FAILOVER.flat_keys(signed.DetectFailoverKeys(server, rest))
        arguments = signed.DetectFailoverArguments(
            life=FENCE_LIFE,
            confirmed=confirmed,
            patience=patience,
            is_cluster=int(self.is_cluster),
            replicas=self._replication.replicas,
        )
        return ("FCALL", self._functions[signed.DETECT_FAILOVER.script], len(names), *names, *arguments)

    def await_replicas(self, names: Iterable[str]) -> None:
        """Return once replicas have all writes of the servers of some keys; at once with 0 replicas.

        Raises `StoreUnavailableError` if too few have it in time.
        """
        calls = [(signed.ReplicasAwaitKeys(name), NoArguments()) for name in names] if self._replicated else []
        for answer in self.call_all(signed.REPLICAS_AWAIT, calls):
            if isinstance(answer, StoreUnavailableError):
                raise answer

    @property
    def awaited_replicas(self) -> int:
        """Number of replicas that must have the writes of `REPLICATED` scripts before the answer."""
        return self._replication.replicas

    @property
    def is_cluster(self) -> bool:
        """Whether keys of different tags may be on different servers."""
        return self._slots is not None

    def of_gateway(self, kind: keys.Key, gateway: str, *further: str) -> str:
        """Return a gateway's key of a kind. On a cluster each gateway has a slot of its own."""
        return kind(gateway if self.is_cluster else "gateways", gateway, *further)

    def _gateway_keys(self, gateway: str) -> GatewayKeys:
        return GatewayKeys(self.of_gateway(keys.health, gateway), self.of_gateway(keys.in_flight, gateway))

    @property
    def library_name(self) -> str:
        return self._library.name

    def reconnect(self) -> None:
        """Have each thread open a new connection for its next call."""
        self._local = threading.local()

    def register_ruleset(self, ruleset: CompiledRuleset) -> None:
        """Register a ruleset with each server; load the scripts first if needed. Raises as `run` does."""
        for peer in [self._server] if self._slots is None else self._slots.peers():
            self._converse(peer, self._register, ruleset)

    def _converse(self, peer: Peer, act: Callable[..., Any], *arguments: Any) -> Any:  # noqa: ANN401
        return self._over(self._connection(peer), act, *arguments)

    def _over(self, link: _Link, act: Callable[..., Any], *arguments: Any) -> Any:  # noqa: ANN401
        """Return the result of ``act``, which is the connection itself if it only sends."""
        try:
            result = act(link, *arguments)
        except redis.RedisError as error:
            self._fail(link, error)
        except BaseException:  # interrupted between command and answer
            link.peer.fail_fast.reset()
            link.close()
            raise
        if result is not link:
            link.peer.fail_fast.reset()
        return result

    def _connection(self, peer: Peer) -> _Link:
        """Return this thread's connection to a server, closed if the server was silent since it was opened.

        Raises `StoreUnavailableError` while the server, or each Sentinel that names it, is silent.
        """
        peer.fail_fast.check()
        if peer is self._server:
            link: _Link | None = getattr(self._local, "connection", None)
            if link is None:
                link = self._local.connection = _Link(self._client, peer, self._on_open)
        else:
            links: dict[Peer, _Link] | None = getattr(self._local, "links", None)
            if links is None:
                links = self._local.links = {}
            if (link := links.get(peer)) is None:
                link = links[peer] = _Link(self._client, peer, self._on_open)
        if link.silences != peer.fail_fast.silences:
            link.close()
        if not link.is_open:
            peer.sentinels_away.check()
        return link

    def _meet_server(self, link: _Link) -> None:
        self._meet(link, self._replication.buckets, list)

    def _meet_bucket(self, link: _Link, bucket: str) -> None:
        """Meet the server for a bucket; if it took over, for all of its buckets, before a bucket is moved on."""
        link.bucket = bucket
        version = self._slots.version if self._slots else 0
        if bucket not in self._buckets or link.met.get(bucket) == version:
            return

        def others() -> list[tuple[str, ...]]:
            names = (other for other in self._replication.buckets if other != bucket)
            return [(name,) for name in names if self._slots and self._slots.peer_of(keys.server(name)) is link.peer]

        self._meet(link, (bucket,), others)
        link.met[bucket] = version

    def _meet_again(self, link: _Link) -> None:
        """Meet a server on a reopened connection, before its first call."""
        with suppress(MovedError):  # the call gets the same error
            self._meet_bucket(link, link.bucket)

    def _meet(self, link: _Link, buckets: tuple[str, ...], others: Callable[[], list[tuple[str, ...]]]) -> None:
        """Meet a server before its first call: fence buckets if it took over, and may lack answered writes.

        If it took over, the groups of ``others`` are met too, before a bucket is moved on. Raises
        `redis.ConnectionError` while it is unknown whether the server lacks writes.
        """
        reply = self._ask_met(link, buckets, self._patience)
        if isinstance(reply, signed.Same):
            return
        replies = {buckets: reply} | self._ask_all_met(link, others(), self._patience)
        for _ in range(_MAX_MEETINGS):
            if any(isinstance(reply, signed.Fenced) for reply in replies.values()):
                self._replication.note_fenced()
            undecided = {group: reply for group, reply in replies.items() if isinstance(reply, signed.Undecided)}
            if not undecided:
                return
            first = next(iter(undecided.values()))
            is_whole = self._is_whole(link.peer, first.former.decode(), first.history.decode(), first.replicas)
            if is_whole is None:
                time.sleep(_MEET_PAUSE)
            patience = 0 if is_whole is False else self._patience
            replies = self._ask_all_met(link, undecided, patience, first.former if is_whole else b"")
        raise redis.ConnectionError("It is unknown yet whether the server that took over has all that was answered.")

    def _ask_all_met(
        self, link: _Link, groups: Iterable[tuple[str, ...]], patience: int, confirmed: bytes = b""
    ) -> dict[tuple[str, ...], signed.Same | signed.Fenced | signed.Undecided]:
        replies = {}
        for group in groups:
            with suppress(MovedError):  # the next call of the bucket reports it
                replies[group] = self._ask_met(link, group, patience, confirmed)
        return replies

    def _ask_met(
        self, link: _Link, buckets: tuple[str, ...], patience: int, confirmed: bytes = b""
    ) -> signed.Same | signed.Fenced | signed.Undecided:
        command = self.meet_command(buckets, confirmed, patience)
        return signed.DETECT_FAILOVER.read(self._ask_loaded(link, command))

    def _is_whole(self, peer: Peer, former: str, present: str, replicas: int) -> bool | None:
        """Return whether a server that took over has all answered writes; ``None`` while other servers may show it.

        The former primary and ``replicas`` others had all of them. So at most `known - 1 - replicas` servers lacked
        some. If more servers, this server included, had no more than this server, it has all.
        """
        if not self._patience:
            return None
        known, followers = self._slots.shard_of(peer) if self._slots else servers_of_primary(self._client)
        others = known - 1
        missing = others - replicas
        if missing < 0:  # not all servers are known yet
            return None
        for server in followers if missing > 0 else ():
            with suppress(redis.RedisError):  # the server is down
                replication = server.info("replication")
                if follows(replication) and replication["master_replid"] == present:
                    others -= 1
                    missing -= had_no_more(replication, former)
        if missing <= 0:
            return True
        return False if missing > others else None

    def _command(self, call: ScriptCall) -> tuple[Argument, ...]:
        name, keys, arguments, rules = call
        if name in self._fenced:
            keys += (self._fence_of(tag_of(keys[0])),)
        if rules:
            arguments += (rules.name,)
        return ("FCALL", self._functions[name], len(keys), *keys, *arguments)

    def _write(self, link: _Link, calls: Sequence[ScriptCall]) -> _Link:
        """Send calls together; return the connection, to read their answers from."""
        commands: list[tuple[Argument, ...]] = []
        for call in calls:
            self._meet_bucket(link, tag_of(call.keys[0]))
            commands.append(self._command(call))
            if call.name in self._replicated:
                commands.append(_trace(call.keys[0]))
        if len(commands) > len(calls):
            link.peer.replicas_away.check()
            commands.append(("WAIT", self._replication.replicas, self._replication.timeout))
        link.write(*commands)
        return link

    def _send(self, link: _Link, calls: Sequence[ScriptCall]) -> _Link:
        link.write_only(*map(self._command, calls))
        return link

    def _read_answers(self, link: _Link, calls: Sequence[ScriptCall], wait: bool) -> list[Any]:  # noqa: FBT001
        """Return the answers to calls that were sent together, `_NOT_RUN` for a script that did not run."""
        replicated = [call.name in self._replicated for call in calls]
        replies = iter(link.read(len(calls) + sum(replicated) + any(replicated), wait=wait))
        answers = []
        for has_trace in replicated:
            answers.append(next(replies))
            if has_trace:
                next(replies)
        if any(replicated) and not self._have_all(link, next(replies)):
            link.close()
            away = StoreUnavailableError("Too few replicas have the writes.")
            answers = [away if waits else answer for waits, answer in zip(replicated, answers, strict=True)]
        return [_checked(answer) for answer in answers]

    def _have_all(self, link: _Link, count: int | ResponseError) -> bool:
        """Return whether enough replicas have the writes, by the answer to ``WAIT``, and note it."""
        if isinstance(count, ResponseError) or count < self._replication.replicas:
            link.peer.replicas_away.trip()
            return False
        link.peer.replicas_away.reset()
        return True

    def _register(self, link: _Link, rules: Rules) -> None:
        if isinstance(rules, CompiledPlan):
            self._register(link, rules.ruleset)
        script = "plan_register" if isinstance(rules, CompiledPlan) else "ruleset_register"
        self._ask_loaded(link, ("FCALL", self._functions[script], 0, rules.name, rules.text))

    def _ask_loaded(
        self,
        link: _Link,
        command: tuple[Argument, ...],
        replicas: int = 0,
        is_durable: bool = False,  # noqa: FBT001, FBT002
    ) -> Any:  # noqa: ANN401
        for _ in range(_MAX_LOADS):
            try:
                if is_durable:
                    return self._ask_durable(replicas, link, command)
                return self._ask_replicated(replicas, link, command) if replicas else link.ask(*command)
            except ResponseError as error:
                if _NOT_FOUND not in str(error):
                    raise
            self._load(link)  # the script did not run: the server lost the library, or never had it
        raise redis.ConnectionError("The server forgets its functions again and again.")

    def _ask_durable(self, replicas: int, link: _Link, command: tuple[Argument, ...]) -> Any:  # noqa: ANN401
        """Return the answer once neither a fail-over nor a restart undoes the writes.

        Raises `NotDurableError` before the call if the server has neither replicas nor a file.
        """
        sync = ("WAITAOF", 1, 0, _SYNC_TIMEOUT)
        (synced,) = link.ask_all(sync)
        has_file = not isinstance(synced, ResponseError)
        if not (replicas or has_file):
            raise NotDurableError("The server has neither replicas nor an append-only file.")
        return self._ask_replicated(replicas, link, command, (sync,) * _MAX_SYNCS if has_file else ())

    def _ask_replicated(
        self, replicas: int, link: _Link, command: tuple[Argument, ...], syncs: tuple[tuple[Argument, ...], ...] = ()
    ) -> Any:  # noqa: ANN401
        """Return the answer once enough replicas have the writes; raise `redis.ConnectionError` if they do not.

        ``WAIT`` covers the writes of this connection only. A repeated answer (an idempotency key, a used code) may rest
        on writes of another connection that no replica has: so each call writes a trace.
        """
        link.peer.replicas_away.check()
        wait = ("WAIT", replicas, self._replication.timeout)
        answer, _, count, *synced = link.ask_all(command, _trace(str(command[_FIRST_KEY])), wait, *syncs)
        if isinstance(answer, ResponseError):
            raise answer
        if not self._have_all(link, count):
            raise redis.ConnectionError("Too few replicas have the writes.")
        if syncs and not any(isinstance(files, list) and files[0] for files in synced):
            raise redis.ConnectionError("The server's append-only file lacks the writes.")
        return answer

    def _load(self, link: _Link) -> None:
        try:
            link.ask("FUNCTION", "LOAD", self._library.text)
        except ResponseError as error:  # another process loaded it meanwhile
            if _EXISTS not in str(error):
                raise


def pairs_to_dict(flat: list[bytes]) -> dict[str, bytes]:
    """Return the hash that a script returned as a flat list."""
    names = iter(flat)
    return {name.decode(): value for name, value in zip(names, names, strict=True)}
