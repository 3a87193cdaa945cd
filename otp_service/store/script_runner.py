"""Calling the scripts: over one connection a thread and server, loading and teaching what a server does not have."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, NamedTuple

import redis
from redis.exceptions import MovedError, ReadOnlyError, ResponseError
from redis.sentinel import MasterNotFoundError

from otp_service.domain.proofs import EarlierApproval
from otp_service.errors import StoreUnavailableError
from otp_service.store import keys
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
from otp_service.store.signatures.servers import (
    REPLICAS_AWAIT,
    SERVER_MEET,
    Fenced,
    ReplicasAwaitKeys,
    Same,
    ServerMeetArguments,
    ServerMeetKeys,
    Undecided,
)
from otp_service.store.signatures.signature import ArgumentsT, KeysT, NoArguments, ReplyT, Signature

# A script is sent once. When its answer is lost nobody knows whether it ran: the caller is told, and may ask again with
# an idempotency key.

ScriptContext = Callable[[str], AbstractContextManager[None]]
"""Wraps each call of a script, given its name."""

_NOT_FOUND = "Function not found"
_EXISTS = "already exists"
_TEACH_TIMES: Final = 5
"""Processes of another release that start delete the scripts of this one: perhaps while they are loaded and taught."""
REPLICATED: Final = frozenset(
    {
        "cancel", "check", "evidence_claim", "factor_check", "factor_enrol", "page_redeem", "proof_redeem",
        "replicas_await", "resend", "start", "user_claim", "user_guess",
    }
)  # fmt: skip
"""Scripts after which replicas are waited for. They approve, use up, count guesses, or spend, and to forget that breaks
a promise; `replicas_await` changes nothing."""


FENCE_LIFE: Final = 1000 * keys.fence.seconds
"""Milliseconds for which a fence is kept. Then nothing is left that was started before. A record, and what names it,
lives for 20 minutes at most; but a start's idempotency key, which tells what became of it, for a day. On a server whose
clock is behind that of the lost one a record lives longer by as much: there is room for that too."""


_PATIENCE: Final = 10_000
"""Milliseconds within which enough servers have to follow one that took over (`ScriptRunner._is_whole`)."""
_TRACE_LIFE: Final = 1000 * keys.replicated.seconds
_FIRST_KEY: Final = 3
"""Place of the first key in an ``FCALL``."""
_MEET_AGAIN: Final = 0.1
_MEET_TIMES: Final = 5
"""Seconds after which a server that took over, and may lack something, is looked at again, and how often."""


@dataclass(frozen=True, slots=True)
class Replication:
    """How a server that may be replaced by a replica is used."""

    replicas: int
    """How many replicas must have what `REPLICATED` scripts did before it is answered; 0 for none."""
    timeout: int
    """Milliseconds in which they must."""
    buckets: tuple[str, ...]
    """Buckets of numbers: their fences are put where a server took over."""
    note_fenced: Callable[[], None]
    """Called when a server that took over was fenced."""


_NOT_RUN: Final = object()
"""In the place of an answer: the script did nothing, and is asked for again."""


def _judged(answer: object) -> object:
    """Return an answer, `_NOT_RUN` where the server has not the slot, the scripts or the rules, or why there is none.

    Raises an error that is a defect of ours.
    """
    if not isinstance(answer, ResponseError):
        return _NOT_RUN if answer == [UNREGISTERED] else answer
    if isinstance(answer, MovedError) or _NOT_FOUND in str(answer):
        return _NOT_RUN
    return _caught(raise_translated, answer)


def _caught(ask: Callable[..., Any], *about: Any) -> Any:  # noqa: ANN401
    """Return an answer, or why there is none."""
    try:
        return ask(*about)
    except StoreUnavailableError as lost:
        return lost


def _waited_in_vain(answer: object) -> bool:
    """Tell whether there is no answer because a server was silent for all the time that it has."""
    return isinstance(answer, StoreUnavailableError) and isinstance(answer.__cause__, redis.TimeoutError)


def _note_loss(peer: Peer, lost: redis.RedisError) -> None:
    """Note what it tells of a server that it gave no answer."""
    if isinstance(lost, NoSentinelError):
        peer.sentinels_away.trip()
    elif isinstance(lost, (redis.TimeoutError, MasterNotFoundError)):
        peer.fail_fast.trip()
        return
    peer.fail_fast.reset()  # it may be there, or was refused, closed or loading: told at once, so it is not silent


def _trace(key: str) -> tuple[Argument, ...]:
    """Return a command that writes something beside a key, which replicas are waited for to have."""
    return "SET", keys.replicated(tag_of(key)), "", "PX", _TRACE_LIFE


class ScriptCall(NamedTuple):
    """A script that is to be called."""

    name: str
    keys: tuple[str, ...]
    arguments: tuple[Argument, ...]
    taught: CompiledRuleset | CompiledPlan | None = None


def _by_peer(peers: Sequence[Peer], calls: Sequence[ScriptCall]) -> dict[Peer, list[ScriptCall]]:
    """Return the calls of each server."""
    asked: dict[Peer, list[ScriptCall]] = {}
    for peer, call in zip(peers, calls, strict=True):
        asked.setdefault(peer, []).append(call)
    return asked


class _Link(Connection):
    """A thread's connection to a server."""

    def __init__(self, client: redis.Redis, peer: Peer, on_open: Callable[["_Link"], None] | None) -> None:
        super().__init__(client, peer.address)
        self.peer = peer
        self.met: dict[str, int] = {}
        """Buckets that the server was met for since it was opened, and the version of the slot map then: a server may
        lose a slot and get it again meanwhile."""
        self.bucket = ""
        """Of what is asked for; or another tag."""
        self.silences = 0
        """Those of the server when it was opened."""
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
        """Take a client for its address; each thread opens a connection of its own and holds it.

        With ``replication`` each new connection learns first whether another server took over, and fences it. With the
        ``slots`` of a cluster each thread has a connection to each server, and learns that for each bucket.
        """
        self._client = client
        self._slots = slots
        self._only = Peer()
        self._library = library()
        self._functions = {name: self._library.function(name) for name in script_names()}
        self._fenced = fenced_scripts()
        self._fence_of = cache(keys.fence)
        self._held = threading.local()
        self._script_context = script_context
        self._replication = replication or Replication(0, 0, (), lambda: None)
        self._buckets = frozenset(self._replication.buckets)
        self._waited = REPLICATED if self._replication.replicas else frozenset()
        self._patience = _PATIENCE if self._waited and (slots or has_sentinels(client)) else 0
        meet = self._meet_server if slots is None else self._meet_again
        self._on_open = meet if replication else None

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
            return self._reach(name, keys, arguments, taught)
        with self._script_context(name):
            return self._reach(name, keys, arguments, taught)

    def call(
        self,
        script: Signature[KeysT, ArgumentsT, ReplyT],
        keys: KeysT,
        arguments: ArgumentsT,
        taught: CompiledRuleset | CompiledPlan | None = None,
    ) -> ReplyT:
        """Return the script's reply by name; raises as `run` does."""
        return script.read(self.run(script.script, script.flat_keys(keys), script.flat_arguments(arguments), taught))

    def call_all(
        self, script: Signature[KeysT, ArgumentsT, ReplyT], calls: Sequence[tuple[KeysT, ArgumentsT]]
    ) -> list[ReplyT | StoreUnavailableError]:
        """Return the replies to calls of a script, and `StoreUnavailableError` in the place of one that has none."""
        answers = self.run_all(
            [
                ScriptCall(script.script, script.flat_keys(keys), script.flat_arguments(arguments))
                for keys, arguments in calls
            ]
        )
        return [answer if isinstance(answer, StoreUnavailableError) else script.read(answer) for answer in answers]

    def run_all(self, calls: Sequence[ScriptCall]) -> list[Any]:
        """Return the answers of scripts, and `StoreUnavailableError` in the place of one that has none.

        Each server of a cluster is sent its calls before the first answer is awaited; all of them have the time of one.
        """
        if self._slots is None:
            return [_caught(self.run, *call) for call in calls]
        peers = [_caught(self._slots.peer_of, call.keys[0]) for call in calls]
        asked = _by_peer(peers, calls)
        links: dict[Peer, Any] = {}
        try:
            self._send_each(asked, self._write, links)
            told = self._read_each(asked, links)
        except BaseException:  # what was not read would be taken for answers to others
            for link in links.values():
                if isinstance(link, _Link):
                    link.close()
            raise
        answers = [(next(told[peer]), call) for peer, call in zip(peers, calls, strict=True)]
        return [_caught(self._reach, *call) if answer is _NOT_RUN else answer for answer, call in answers]

    def send_all(self, calls: Sequence[ScriptCall]) -> None:
        """Call scripts and, on a cluster, wait for no answer: what its server cannot do now is not done.

        They are done before anything that this thread asks of their servers afterwards.
        """
        if self._slots is None:
            self.run_all(calls)
            return
        peers = [_caught(self._slots.peer_of, call.keys[0]) for call in calls]
        self._send_each(_by_peer(peers, calls), self._send, {})

    def _send_each(
        self, asked: Mapping[Peer, Sequence[ScriptCall]], send: Callable[..., _Link], links: dict[Peer, Any]
    ) -> None:
        """Send each server its calls; note over which connection, or why not.

        Once one was waited for in vain, others that were silent before are left for another time.
        """
        in_vain = False
        for peer, own in asked.items():
            if not isinstance(peer, Peer):
                links[peer] = peer
            elif in_vain and peer.fail_fast.is_silent:
                links[peer] = StoreUnavailableError("The store does not answer.", nothing_ran=True)
            else:
                links[peer] = _caught(self._converse, peer, send, own)
                in_vain |= _waited_in_vain(links[peer])

    def _read_each(
        self, asked: Mapping[Peer, Sequence[ScriptCall]], links: Mapping[Peer, Any]
    ) -> dict[Peer, Iterator[Any]]:
        """Return the answers to calls that were sent together, or why there are none for each.

        Once one was waited for in vain, the others have had as long: what has come of theirs is read.
        """
        told: dict[Peer, Iterator[Any]] = {}
        in_vain = False
        for peer, own in asked.items():
            answers = links[peer]
            if isinstance(answers, _Link):
                answers = _caught(self._over, answers, self._read_answers, own, not in_vain)
                in_vain |= _waited_in_vain(answers)
            told[peer] = iter(answers if isinstance(answers, list) else [answers] * len(own))
        return told

    def spread(self, buckets: Sequence[str]) -> Sequence[Sequence[str]]:
        """Return the buckets whose keys one call may touch together: all, or on a cluster each alone."""
        return [buckets] if self._slots is None else [[one] for one in buckets]

    def meet_command(self, buckets: Sequence[str], confirmed: str | bytes, patience: int) -> tuple[Argument, ...]:
        """Return the command that meets a server, which is known to have all of the ``confirmed`` history."""
        names = SERVER_MEET.flat_keys(
            ServerMeetKeys(
                server=keys.server(buckets[0]) if self.is_cluster else keys.INSTALLATION,
                rest=(*map(keys.fence, buckets), *map(keys.mirror, buckets)),
            )
        )
        arguments = ServerMeetArguments(
            life=FENCE_LIFE,
            confirmed=confirmed,
            patience=patience,
            is_cluster=int(self.is_cluster),
            replicas=self._replication.replicas,
        )
        return ("FCALL", self._functions[SERVER_MEET.script], len(names), *names, *arguments)

    def await_replicas(self, names: Iterable[str]) -> None:
        """Return once replicas have all that was written to the servers of some keys; at once if none is awaited.

        Raises `StoreUnavailableError` where too few have it in time.
        """
        calls = [(ReplicasAwaitKeys(name), NoArguments()) for name in names] if self._waited else []
        for lost in self.call_all(REPLICAS_AWAIT, calls):
            if isinstance(lost, StoreUnavailableError):
                raise lost

    @property
    def is_cluster(self) -> bool:
        """Whether keys of different tags may be on different servers."""
        return self._slots is not None

    def of_gateway(self, kind: keys.Key, gateway: str, *further: str) -> str:
        """Return a key of what is kept of a gateway: on a cluster each has a slot of its own."""
        return kind(gateway if self.is_cluster else "gateways", gateway, *further)

    def gateway_state(self, gateway: str) -> tuple[str, str]:
        """Return the keys of a gateway's health and of its calls in flight."""
        return self.of_gateway(keys.health, gateway), self.of_gateway(keys.in_flight, gateway)

    def reaches(self, bucket: str, other: str) -> bool:
        """Tell whether a script of a bucket can touch keys of another."""
        return bucket == other or not self.is_cluster

    def evidence(self, earlier: EarlierApproval | None, bucket: str) -> tuple[str, ...]:
        """Return the key of the evidence of an approval, where a script of a bucket can touch it."""
        return (keys.evidence(earlier.bucket, earlier.id),) if earlier and self.reaches(bucket, earlier.bucket) else ()

    @property
    def library_name(self) -> str:
        """The name of the library that it calls."""
        return self._library.name

    def reconnect(self) -> None:
        """Let each thread open another connection when it calls a script next."""
        self._held = threading.local()

    def register_ruleset(self, ruleset: CompiledRuleset) -> None:
        """Teach the scripts a ruleset; they are loaded where they are not. Raises as `run` does."""
        for peer in [self._only] if self._slots is None else self._slots.peers():
            self._converse(peer, self._register, ruleset)

    def _reach(self, name: str, keys: tuple[str, ...], *further: Any) -> Any:  # noqa: ANN401
        """Return the answer of the server that has the keys."""
        if self._slots is None:
            return self._converse(self._only, self._call, name, keys, *further)
        try:
            return self._converse(self._slots.peer_of(keys[0]), self._call, name, keys, *further)
        except StoreUnavailableError as refused:
            if not isinstance(elsewhere := refused.__cause__, MovedError):
                raise
        return self._converse(self._slots.learn(elsewhere), self._call, name, keys, *further)  # nothing ran

    def _converse(self, peer: Peer, ask: Callable[..., Any], *about: Any) -> Any:  # noqa: ANN401
        """Return what is answered over this thread's connection to a server, which is closed when no answer came."""
        peer.fail_fast.check()
        connection = self._connection(peer)
        if not connection.is_open:
            peer.sentinels_away.check()
        return self._over(connection, ask, *about)

    def _over(self, connection: _Link, ask: Callable[..., Any], *about: Any) -> Any:  # noqa: ANN401
        fail_fast = connection.peer.fail_fast
        try:
            answer = ask(connection, *about)
        except ResponseError as refused:  # an answer, and nothing comes after it
            fail_fast.reset()
            if isinstance(refused, ReadOnlyError):  # it is the primary no more: the next connection goes elsewhere
                connection.close()
            raise_translated(refused, nothing_ran=True)
        except redis.RedisError as lost:
            _note_loss(connection.peer, lost)
            connection.close()
            if self._slots:
                self._slots.suspect(connection.peer)
            raise_translated(lost, nothing_ran=not connection.asked)
        except BaseException:  # broken off between question and answer
            fail_fast.reset()
            connection.close()
            raise
        if answer is not connection:  # which says that it was only sent
            fail_fast.reset()
        return answer

    def _connection(self, peer: Peer) -> _Link:
        """Return this thread's connection to a server: another one where the server was silent meanwhile."""
        if peer is self._only:
            link: _Link | None = getattr(self._held, "connection", None)
            if link is None:
                link = self._held.connection = _Link(self._client, peer, self._on_open)
        else:
            links: dict[Peer, _Link] | None = getattr(self._held, "links", None)
            if links is None:
                links = self._held.links = {}
            if (link := links.get(peer)) is None:
                link = links[peer] = _Link(self._client, peer, self._on_open)
        if link.silences != peer.fail_fast.silences:
            link.close()
        return link

    def _meet_server(self, connection: _Link) -> None:
        self._meet(connection, self._replication.buckets, list)

    def _meet_bucket(self, connection: _Link, bucket: str) -> None:
        """Meet the server for a bucket; where it took over, for all that it has, before one of them is moved on."""
        connection.bucket = bucket
        version = self._slots.version if self._slots else 0
        if bucket not in self._buckets or connection.met.get(bucket) == version:
            return
        self._meet(connection, (bucket,), lambda: self._others_of(connection.peer, bucket))
        connection.met[bucket] = version

    def _others_of(self, peer: Peer, bucket: str) -> list[tuple[str, ...]]:
        """Return the other buckets that a server of the cluster has, each alone."""
        others = (other for other in self._replication.buckets if other != bucket)
        return [(other,) for other in others if self._slots and self._slots.peer_of(keys.server(other)) is peer]

    def _meet_again(self, connection: _Link) -> None:
        """Meet a server over a connection that was opened anew, before it is asked for what it is opened for."""
        with suppress(MovedError):  # it is told to whoever asks
            self._meet_bucket(connection, connection.bucket)

    def _meet(self, connection: _Link, buckets: tuple[str, ...], others: Callable[[], list[tuple[str, ...]]]) -> None:
        """Meet a server before anything else is asked of it; fence it if it took over and may lack something.

        That is for some buckets and, if it took over, for ``others``, before one of them is moved. Raises
        `redis.ConnectionError` while it is not known whether the server lacks something.
        """
        reply = self._ask_met(connection, buckets, self._patience)
        if isinstance(reply, Same):
            return
        replies = {buckets: reply} | self._ask_all_met(connection, others(), self._patience)
        for _ in range(_MEET_TIMES):
            if any(isinstance(reply, Fenced) for reply in replies.values()):
                self._replication.note_fenced()
            undecided = {group: reply for group, reply in replies.items() if isinstance(reply, Undecided)}
            if not undecided:
                return
            first = next(iter(undecided.values()))
            is_whole = self._is_whole(connection.peer, first.former.decode(), first.history.decode(), first.replicas)
            if is_whole is None:
                time.sleep(_MEET_AGAIN)
            patience = 0 if is_whole is False else self._patience
            replies = self._ask_all_met(connection, undecided, patience, first.former if is_whole else b"")
        raise redis.ConnectionError("It is not known yet whether the server that took over has all that was answered.")

    def _ask_all_met(
        self, connection: _Link, groups: Iterable[tuple[str, ...]], patience: int, confirmed: bytes = b""
    ) -> dict[tuple[str, ...], Same | Fenced | Undecided]:
        replies = {}
        for group in groups:
            with suppress(MovedError):  # the next call of the bucket reports it
                replies[group] = self._ask_met(connection, group, patience, confirmed)
        return replies

    def _ask_met(
        self, connection: _Link, buckets: tuple[str, ...], patience: int, confirmed: bytes = b""
    ) -> Same | Fenced | Undecided:
        command = self.meet_command(buckets, confirmed, patience)
        return SERVER_MEET.read(self._ask_loaded(connection, command))

    def _is_whole(self, peer: Peer, former: str, present: str, replicas: int) -> bool | None:
        """Tell whether a server that took over has all that was answered; ``None`` while others may still show it.

        The former primary had whatever was answered, and ``replicas`` others. So of all known servers but ``replicas``
        one had it: where this server and others that had no more than it are so many, this one has it.
        """
        if not self._patience:
            return None
        known, there = self._slots.shard_of(peer) if self._slots else servers_of_primary(self._client)
        others = known - 1
        missing = others - replicas
        if missing < 0:  # whoever was asked has not heard of all of them yet
            return None
        for server in there if missing > 0 else ():
            with suppress(redis.RedisError):  # it is away
                replication = server.info("replication")
                if follows(replication) and replication["master_replid"] == present:
                    others -= 1
                    missing -= had_no_more(replication, former)
        if missing <= 0:
            return True
        return False if missing > others else None

    def _call(
        self,
        connection: _Link,
        name: str,
        keys: tuple[str, ...],
        arguments: tuple[Argument, ...],
        taught: CompiledRuleset | CompiledPlan | None,
    ) -> Any:  # noqa: ANN401
        if self._slots is not None:
            self._meet_bucket(connection, tag_of(keys[0]))
        command = self._command(name, keys, arguments, taught)
        replicas = self._replication.replicas if name in self._waited else 0
        for _ in range(_TEACH_TIMES):
            answer = self._ask_loaded(connection, command, replicas)
            if not taught or answer != [UNREGISTERED]:
                return answer
            self._register(connection, taught)  # nothing was done: the server was restarted, or never heard of them
        raise redis.ConnectionError("The server forgets its rules again and again.")

    def _command(
        self,
        name: str,
        keys: tuple[str, ...],
        arguments: tuple[Argument, ...],
        taught: CompiledRuleset | CompiledPlan | None,
    ) -> tuple[Argument, ...]:
        if name in self._fenced:
            keys += (self._fence_of(tag_of(keys[0])),)
        if taught:
            arguments += (taught.name,)
        return ("FCALL", self._functions[name], len(keys), *keys, *arguments)

    def _write(self, connection: _Link, calls: Sequence[ScriptCall]) -> _Link:
        """Send calls together; return the connection, over which their answers come."""
        commands: list[tuple[Argument, ...]] = []
        for call in calls:
            self._meet_bucket(connection, tag_of(call.keys[0]))
            commands.append(self._command(*call))
            if call.name in self._waited:
                commands.append(_trace(call.keys[0]))
        if len(commands) > len(calls):
            connection.peer.replicas_away.check()
            commands.append(("WAIT", self._replication.replicas, self._replication.timeout))
        connection.write(*commands)
        return connection

    def _send(self, connection: _Link, calls: Sequence[ScriptCall]) -> _Link:
        connection.write_only(*(self._command(*call) for call in calls))
        return connection

    def _read_answers(self, connection: _Link, calls: Sequence[ScriptCall], wait: bool) -> list[Any]:  # noqa: FBT001
        """Return the answers to calls that were sent together, `_NOT_RUN` in the place of one that did nothing."""
        waited = [call.name in self._waited for call in calls]
        told = iter(connection.read(len(calls) + sum(waited) + any(waited), wait=wait))
        answers = []
        for of_trace in waited:
            answers.append(next(told))
            if of_trace:
                next(told)
        if any(waited) and not self._have_all(connection, next(told)):
            connection.close()
            away = StoreUnavailableError("Too few replicas have what was done.")
            answers = [away if one else answer for one, answer in zip(waited, answers, strict=True)]
        return [_judged(answer) for answer in answers]

    def _have_all(self, connection: _Link, have: int | ResponseError) -> bool:
        """Tell whether so many replicas have what was done, and note it."""
        if isinstance(have, ResponseError) or have < self._replication.replicas:
            connection.peer.replicas_away.trip()
            return False
        connection.peer.replicas_away.reset()
        return True

    def _register(self, connection: _Link, taught: CompiledRuleset | CompiledPlan) -> None:
        if isinstance(taught, CompiledPlan):
            self._register(connection, taught.ruleset)
        script = "plan_register" if isinstance(taught, CompiledPlan) else "ruleset_register"
        self._ask_loaded(connection, ("FCALL", self._functions[script], 0, taught.name, taught.text))

    def _ask_loaded(self, connection: _Link, command: tuple[Argument, ...], replicas: int = 0) -> Any:  # noqa: ANN401
        for _ in range(_TEACH_TIMES):
            try:
                return self._ask_replicated(replicas, connection, command) if replicas else connection.ask(*command)
            except ResponseError as error:
                if _NOT_FOUND not in str(error):
                    raise
            self._load(connection)  # nothing ran: the server lost its functions, or never had these
        raise redis.ConnectionError("The server forgets its functions again and again.")

    def _ask_replicated(self, replicas: int, connection: _Link, command: tuple[Argument, ...]) -> Any:  # noqa: ANN401
        """Return the answer once so many replicas have what was done; raise `redis.ConnectionError` where they do not.

        ``WAIT`` asks for what this connection wrote. An answer that is only repeated (an idempotency key, a used code)
        was perhaps written over another one, which waited in vain: so each writes something.
        """
        connection.peer.replicas_away.check()
        wait = ("WAIT", replicas, self._replication.timeout)
        answer, _, have = connection.ask_all(command, _trace(str(command[_FIRST_KEY])), wait)
        if isinstance(answer, ResponseError):
            raise answer
        if not self._have_all(connection, have):
            raise redis.ConnectionError("Too few replicas have what was done.")
        return answer

    def _load(self, connection: _Link) -> None:
        try:
            connection.ask("FUNCTION", "LOAD", self._library.text)
        except ResponseError as error:  # another process was faster
            if _EXISTS not in str(error):
                raise


def pairs_to_dict(flat: list[bytes]) -> dict[str, bytes]:
    """Return the hash that a script returned as a flat list."""
    names = iter(flat)
    return {name.decode(): value for name, value in zip(names, names, strict=True)}
