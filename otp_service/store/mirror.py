"""The mirror of the ledger in Redis, the fence, and the identity of this installation."""

import json
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass
from operator import attrgetter
from typing import Any, Final, NamedTuple

import redis

from otp_service.domain.consents import ConsentMode, LedgerPosition, MirrorChanges, NumberState
from otp_service.domain.keyring import Keyring
from otp_service.errors import RefusalName, StartRefusal, StartRefusedError, StoreUnavailableError
from otp_service.store import keys
from otp_service.store.cluster import ClusterClient, servers
from otp_service.store.connection import (
    PrimaryReplacedError,
    begin_failover,
    begin_failover_to,
    follows,
    had_no_more,
    has_sentinels,
    present_primary,
    primary_address,
    server_time,
    servers_of_primary,
    translate_errors,
)
from otp_service.store.endpoint import MissingCommand, missing_commands
from otp_service.store.keys import tag_of
from otp_service.store.library import PREFIX
from otp_service.store.rulesets import CompiledRuleset
from otp_service.store.script_runner import FENCE_LIFE, ScriptCall, ScriptRunner, pairs_to_dict
from otp_service.store.signatures.mirror import (
    FENCE_PUT,
    MIRROR_BUILD,
    MIRROR_KNOWN,
    MIRROR_VOUCH,
    MIRROR_WRITE,
    SERVER_NOTE,
    FencePutArguments,
    FencePutKeys,
    HeadsKeys,
    MirrorBuildArguments,
    MirrorBuildKeys,
    MirrorVouchArguments,
    MirrorWriteArguments,
    MirrorWriteKeys,
    ServerNoteArguments,
)
from otp_service.store.signatures.signature import ArgumentsT, KeysT, NoArguments, ReplyT, Signature

# It is written whenever the ledger changes, and carries its place in the ledger's history. While it is behind the place
# that a process knows, was lost, or is of another history, nothing is accepted and nothing is sent. So neither a flush
# nor a restored backup forgets that somebody said stop.

EMPTY_STATE_LIFE: Final = 1000 * keys.mirrored.seconds
"""Milliseconds to remember a number of which nothing holds: longer than any write of its state takes."""
_BUILD_LEASE = 30_000
"""Milliseconds after which a process that builds the mirror, and is silent, is taken for dead."""
_FOR_EVER = ""
_SCAN_COUNT = 1000
"""Keys that are looked at, and deleted, in one step."""
_ALL_NUMBERS = keys.mirrored("[0-9a-f][0-9a-f]", "*")


@dataclass(frozen=True, slots=True)
class MirrorQuery:
    """What a script has to know to ask the mirror whether a message may go."""

    identity: str
    """Of the ledger."""
    min_sequence: int
    """Place that the ledger is known to have come to."""
    consent_mode: ConsentMode
    """Which consent is needed."""
    evidence: str = ""
    """The consent that comes with a start, as JSON: then no other is needed, if nothing newer withdraws it."""


class MirrorHead(NamedTuple):
    """The mirror's head, of a bucket or several."""

    place: LedgerPosition | None
    """Place in a ledger's history that the mirror has come to, in the last of the buckets; ``None``: no mirror."""
    is_closed: bool = False
    """Whether its history was seen not to be the ledger's, and no operator has decided since."""
    restored: int | None = None
    """Fence behind which the store was restored from a copy, if no process has vouched for the ledger since."""


def _parse_head(fields: Sequence[bytes | None]) -> MirrorHead:
    *place, closed, restored = fields
    identity, sequence, entry, link = (field.decode() if field else "" for field in place)
    return MirrorHead(
        None if None in place else LedgerPosition(identity, int(sequence), int(entry), link),
        closed is not None,
        int(restored) if restored else None,
    )


def _merge_heads(heads: Sequence[MirrorHead]) -> MirrorHead:
    places = [head.place for head in heads if head.place]
    return MirrorHead(
        min(places, key=attrgetter("sequence")) if len(places) == len(heads) else None,
        any(head.is_closed for head in heads),
        max((head.restored for head in heads if head.restored), default=None),
    )


class MirrorPart:
    """The mirror in the buckets that a call reads or writes together: all, or on a cluster each alone."""

    def __init__(self, buckets: Sequence[str]) -> None:
        self.buckets: Final = frozenset(buckets)
        self.heads: Final = tuple(map(keys.mirror, buckets))
        self.builders: Final = tuple(map(keys.mirror_builder, buckets))

    def writes(
        self, changes: MirrorChanges, buckets: Iterable[str], builder: str
    ) -> tuple[MirrorWriteKeys, MirrorWriteArguments]:
        """Return what writes states of numbers, and where that leads to; ``builder`` is empty where it is built."""
        of_here = [
            (keys.mirrored(bucket, one.pseudonym), json.dumps(_fields(one)))
            for bucket, one in zip(buckets, changes.numbers, strict=True)
            if bucket in self.buckets
        ]
        after, reached = changes.after, changes.reached
        names = (*self.heads, *self.builders, *(name for name, _ in of_here))
        return MirrorWriteKeys(names), MirrorWriteArguments(
            builder=builder,
            heads=len(self.heads),
            identity=after.identity,
            after=after.link,
            sequence=reached.sequence,
            entry=reached.entry,
            link=reached.link,
            read_at=changes.read_at,
            grace=EMPTY_STATE_LIFE,
            rest=tuple(state for _, state in of_here),
        )

    def keeps_turn(
        self, builder: str, milliseconds: int, place: LedgerPosition | None = None, forgotten: Iterable[str] = ()
    ) -> tuple[MirrorBuildKeys, MirrorBuildArguments]:
        """Return what keeps a builder's turn, or ends it; the mirror is built of a ``place``, where one is given."""
        names = MirrorBuildKeys((*self.heads, *self.builders, *forgotten))
        built = astuple(place) if place else ()
        return names, MirrorBuildArguments(builder, len(self.heads), milliseconds, *built)


def _replies(
    scripts: ScriptRunner, script: Signature[KeysT, ArgumentsT, ReplyT], calls: Sequence[tuple[KeysT, ArgumentsT]]
) -> list[ReplyT]:
    """Return the replies to all calls of a script; raise `StoreUnavailableError` where a call has none."""
    replies: list[ReplyT] = []
    for reply in scripts.call_all(script, calls):
        if isinstance(reply, StoreUnavailableError):
            raise reply
        replies.append(reply)
    return replies


class Mirror:
    """What Redis knows of the ledger. Raises `StoreUnavailableError` when Redis does not answer in time."""

    def __init__(self, client: redis.Redis, scripts: ScriptRunner, buckets: tuple[str, ...]) -> None:
        self._client = client
        self._scripts = scripts
        self.parts: Final = tuple(MirrorPart(group) for group in scripts.spread(buckets))

    def heads(self, parts: Sequence[MirrorPart]) -> list[MirrorHead | StoreUnavailableError]:
        """Return the head of each part; an error in the place of one whose server does not answer."""
        with translate_errors(), self._client.pipeline(transaction=False) as pipeline:
            for part in parts:
                for head in part.heads:
                    pipeline.hmget(head, ["identity", "sequence", "entry", "link", "closed", "restored"])
            answers: Iterator[Any] = iter(pipeline.execute(raise_on_error=False))
        heads: list[MirrorHead | StoreUnavailableError] = []
        for part in parts:
            of_part = [next(answers) for _ in part.heads]
            try:
                with translate_errors():
                    if failures := [answer for answer in of_part if isinstance(answer, Exception)]:
                        raise failures[0]
                heads.append(_merge_heads(list(map(_parse_head, of_part))))
            except StoreUnavailableError as error:
                heads.append(error)
        return heads

    def head(self) -> MirrorHead:
        """Return the head of all buckets."""
        heads = self.heads(self.parts)
        if failures := [head for head in heads if isinstance(head, StoreUnavailableError)]:
            raise failures[0]
        return _merge_heads([head for head in heads if isinstance(head, MirrorHead)])

    def vouch(self, restored: Mapping[MirrorPart, int]) -> None:
        """Reopen starts in parts, each behind its fence: the ledger was seen to lack nothing."""
        calls = [(HeadsKeys(part.heads), MirrorVouchArguments(fence)) for part, fence in restored.items()]
        _replies(self._scripts, MIRROR_VOUCH, calls)

    def write(
        self, changes: MirrorChanges, buckets: Sequence[str], parts: Sequence[MirrorPart]
    ) -> list[bool | StoreUnavailableError]:
        """Write the states of numbers, given with their buckets, and bring parts to the place that they lead to.

        Return for each part whether it is there now: one that is not at the place after which the changes come is left
        as it is. Or an error, where its server does not answer.
        """
        replies = self._scripts.call_all(MIRROR_WRITE, [part.writes(changes, buckets, "") for part in parts])
        return [reply if isinstance(reply, StoreUnavailableError) else bool(reply) for reply in replies]

    def write_nowait(self, changes: MirrorChanges, buckets: Sequence[str], parts: Sequence[MirrorPart]) -> None:
        """Write as `write` does, without waiting for answers; skip parts that cannot be reached."""
        self._scripts.send_all([ScriptCall.of(MIRROR_WRITE, *part.writes(changes, buckets, "")) for part in parts])

    def await_replicas(self, parts: Sequence[MirrorPart]) -> None:
        """Return once replicas have what was mirrored in parts, where they are waited for."""
        self._scripts.await_replicas(head for part in parts for head in part.heads)

    def close(self) -> None:
        """Let nothing through until an operator has the mirror built anew: the ledger may lack opt-outs."""
        with translate_errors(), self._client.pipeline() as pipeline:
            for part in self.parts:
                for head in part.heads:
                    pipeline.hset(head, "closed", 1)
            pipeline.execute()

    def drop(self) -> None:
        """Delete the mirror's heads: it is built anew."""
        with translate_errors():
            for part in self.parts:
                self._client.delete(*part.heads)

    def note_server(self, parts: Sequence[MirrorPart], *, is_current: bool) -> None:
        """Let checks of factors wait where the server was restarted, or is another: it may lack the last ones.

        ``is_current``: whether the parts were just seen to be at the ledger's place; `known_place` reads it.
        """
        arguments = ServerNoteArguments(int(is_current))
        _replies(self._scripts, SERVER_NOTE, [(HeadsKeys(part.heads), arguments) for part in parts])

    def known_place(self) -> LedgerPosition | None:
        """Return the ledger's place by the mirror, for processes that cannot ask the ledger; ``None`` if not known.

        It is known if a process has seen, since this server started, that the mirror is at the ledger's place. If
        buckets are at different places, the last one is returned: those that are behind stay closed.
        """
        calls = [(HeadsKeys(part.heads), NoArguments()) for part in self.parts]
        known = [head for reply in _replies(self._scripts, MIRROR_KNOWN, calls) for head in reply.places]
        if not known or not all(known) or len({identity for identity, *_ in known}) > 1:
            return None
        positions = (
            LedgerPosition(identity.decode(), int(sequence), int(entry), link.decode())
            for identity, sequence, entry, link in known
        )
        return max(positions, key=attrgetter("sequence"))

    def begin(self, identity: str) -> "MirrorBuild | None":
        """Return a lease to build the mirror of a ledger; ``None`` when another process has it."""
        builder = f"{identity}/{secrets.token_hex(8)}"
        names = [name for part in self.parts for name in part.builders]
        with translate_errors(), self._client.pipeline() as pipeline:
            for one in names:
                pipeline.set(one, builder, nx=True, px=_BUILD_LEASE)
            taken = [one for one, mine in zip(names, pipeline.execute(), strict=True) if mine]
            for one in taken if len(taken) < len(names) else ():
                self._client.delete(one)
        return MirrorBuild(self._client, self._scripts, self.parts, builder) if len(taken) == len(names) else None


class MirrorBuild:
    """One process' lease to build the mirror; once it is lost, every call fails."""

    def __init__(self, client: redis.Redis, scripts: ScriptRunner, parts: Sequence[MirrorPart], builder: str) -> None:
        self._client = client
        self._scripts = scripts
        self._parts = parts
        self._builder = builder

    def renew(self) -> bool:
        """Renew the lease; return whether it is still ours."""
        return self._keep_turn(_BUILD_LEASE)

    def write(self, changes: MirrorChanges, buckets: Iterable[str]) -> bool:
        """Write the states of numbers; return whether the lease is still ours."""
        calls = [part.writes(changes, buckets, self._builder) for part in self._parts]
        written = _replies(self._scripts, MIRROR_WRITE, calls)
        return all(written) and self.renew()

    def finish(self, place: LedgerPosition) -> bool:
        """Record the place that the mirror is built of; tell whether it may be relied on."""
        return self._keep_turn(0, place)

    def give_up(self) -> None:
        """End the lease: another process may try."""
        self._keep_turn(0)

    def forget(self) -> None:
        """Delete all of the mirror: it is another ledger's, or its numbers are not to be trusted."""
        heads = [head for part in self._parts for head in part.heads]
        if not self._keep_turn(_BUILD_LEASE, forgotten=heads):
            return
        for server in servers(self._client):
            cursor = -1
            while cursor != 0:
                with translate_errors():
                    cursor, names = server.scan(max(cursor, 0), match=_ALL_NUMBERS, count=_SCAN_COUNT)
                found = [name.decode() for name in names if isinstance(name, bytes)]
                if not self._keep_turn(_BUILD_LEASE, forgotten=found):
                    return

    def _keep_turn(self, milliseconds: int, place: LedgerPosition | None = None, forgotten: Sequence[str] = ()) -> bool:
        """Keep the turn or end it everywhere; on a cluster each place forgets what is there."""
        calls = [
            part.keeps_turn(self._builder, milliseconds, place, self._keys_in(part, forgotten)) for part in self._parts
        ]
        still_ours = _replies(self._scripts, MIRROR_BUILD, calls)
        return all(still_ours)

    def _keys_in(self, part: MirrorPart, names: Sequence[str]) -> Sequence[str]:
        return [name for name in names if tag_of(name) in part.buckets] if self._scripts.is_cluster else names


def _fields(one: NumberState) -> dict[str, str]:
    """Return the fields of a number's hash.

    ``s:<application>`` has until when it is suppressed, in milliseconds, empty for ever; ``f:<application>`` is there,
    and empty, while it is frozen; ``l:<application>`` has the place in the ledger at which a freeze was lifted last;
    ``c:<application>:<purpose>`` has ``given`` or ``withdrawn``, the place in the ledger from which on that counts, and
    the time after which a consent has to be given to be newer; ``e:<application>`` has the place in the ledger at which
    it was erased last; ``t:<factor>`` has an active factor of a user, packed.
    """
    suppressed = {
        f"s:{application}": _FOR_EVER if until is None else str(until) for application, until in one.suppressed.items()
    }
    consents = {
        f"c:{application}:{purpose}": f"{'given' if given else 'withdrawn'}|{place}|{said}"
        for (application, purpose), (given, place, said) in one.consents.items()
    }
    frozen = {f"f:{application}": _FOR_EVER for application in one.frozen}
    lifted = {f"l:{application}": str(place) for application, place in one.lifted.items()}
    erased = {f"e:{application}": str(place) for application, place in one.erased.items()}
    factors = {f"t:{factor}": packed for factor, packed in one.factors.items()}
    return suppressed | frozen | lifted | erased | consents | factors


class Fences:
    """The fence, which expires what was started before Redis lost writes (``lua/include_fence.lua``).

    It is named by when it was put: milliseconds since the epoch, by Redis' clock. Raises `StoreUnavailableError` when
    Redis does not answer in time.
    """

    def __init__(self, client: redis.Redis, scripts: ScriptRunner, buckets: tuple[str, ...]) -> None:
        self._client = client
        self._scripts = scripts
        self._buckets = buckets

    def put(self, *, restored: bool = False) -> int:
        """Put a fence for all buckets, in the place of one that stands. The server need not have the scripts.

        ``restored``: whether the store may be a copy; then starts are closed until it is known that the ledger is none.
        """
        calls = []
        for group in self._scripts.spread(self._buckets):
            fences = tuple(map(keys.fence, group))
            heads = tuple(map(keys.mirror, group)) if restored else ()
            calls.append((FencePutKeys(fences + heads), FencePutArguments(FENCE_LIFE, len(fences))))
        return max(_replies(self._scripts, FENCE_PUT, calls))

    def current(self, buckets: Iterable[str] = ()) -> int | None:
        """Return the newest fence that stands, if one does: of some buckets, or of all."""
        with translate_errors(), self._client.pipeline(transaction=False) as pipeline:
            for bucket in buckets or self._buckets:
                pipeline.hget(keys.fence(bucket), "at")
            return max((int(at) for at in pipeline.execute() if at), default=None)


NO_EVICTION: Final = "noeviction"


def eviction_refusal(policy: str) -> StartRefusal:
    """Return why a server with this ``maxmemory-policy``, which is not ``noeviction``, is refused."""
    return StartRefusal(
        RefusalName.EVICTION,
        "maxmemory-policy",
        f"With {policy} Redis may evict counters, and an evicted counter is a free guess.",
        "CONFIG SET maxmemory-policy noeviction, and in its configuration file.",
    )


def installation_refusal(differences: Sequence[str]) -> StartRefusal:
    """Return why a server is refused that was first used with something else: the names of what differs."""
    return StartRefusal(
        RefusalName.OTHER_INSTALLATION,
        "installation",
        f"Redis was first used with another {' and another '.join(differences)}: budgets would be forgotten.",
        "Restore the original, or use another Redis.",
    )


def format_refusal(found: str) -> StartRefusal:
    """Return why a server with data of another format is refused."""
    return StartRefusal(
        RefusalName.OTHER_FORMAT,
        "installation",
        f"Redis has data of format {found}: this release reads format {keys.FORMAT} only.",
        "Use the release that wrote the data, or an empty Redis.",
    )


_PLANNED_TAKES: Final = 20_000
"""Milliseconds that a planned fail-over may take."""
_ELECTION: Final = 4.0
"""Seconds after which a fail-over is asked for again: on busy hosts servers may not have agreed on it."""


@contextmanager
def _announced(server: redis.Redis, places: Iterable[str]) -> Iterator[None]:
    """Note in places that a fail-over is planned; where it is refused (`ValueError`) it is not."""
    noted = list(places)
    for place in noted:
        server.hset(place, "failover", server_time(server) + _PLANNED_TAKES)
    try:
        yield
    except ValueError:
        for place in noted:
            server.hdel(place, "failover")
        raise


def _followed(before: redis.Redis, history: str, confirm: Callable[[], None], ask_again: Callable[[], object]) -> bool:
    """Wait until a server that was the primary follows one that has its history; then confirm it. Tell whether it did.

    While it is the primary yet, it is asked again from time to time.
    """
    now = time.monotonic()
    end, again = now + _PLANNED_TAKES / 1000, now + _ELECTION
    while time.monotonic() < end:
        with suppress(redis.RedisError, ValueError):  # who tells of the new primary does so a little later
            told = before.info("replication")
            if follows(told) and had_no_more(told, history):
                confirm()
                return True
            if told["role"] == "master" and time.monotonic() > again:
                again += _ELECTION
                ask_again()
        time.sleep(0.01)
    return False


def _setting(server: redis.Redis, name: str) -> str | None:
    try:
        return server.config_get(name).get(name)
    except redis.ResponseError:
        return None


_RIGHTS: Final = ("TIME", "FUNCTION LOAD")


def _is_denied(server: redis.Redis, command: str) -> bool:
    """Tell whether the server forbids our user a command. Of a library it is given none: it changes nothing."""
    with translate_errors():
        try:
            server.execute_command(command, *([""] if command == "FUNCTION LOAD" else []))  # type: ignore[no-untyped-call]
        except redis.exceptions.NoPermissionError:
            return True
        except redis.ResponseError:
            return False  # it is no library
    return False


def _version(server: redis.Redis) -> str:
    """Return name and version of a server, empty if it refuses ``INFO``."""
    try:
        info = server.info("server")
    except redis.ResponseError:
        return ""
    valkey = info.get("valkey_version")
    return f"Valkey {valkey}" if valkey else f"Redis {info.get('redis_version', 'unknown')}"


def _online_replicas(server: redis.Redis) -> int | None:
    """Return the number of replicas that are online; ``None`` if the server refuses ``INFO``."""
    try:
        told: Mapping[str, Any] = server.info("replication")
    except redis.ResponseError:
        return None
    return sum(bool(isinstance(one, dict) and one.get("state") == "online") for one in told.values())


class Server:
    """The Redis or Valkey server behind an installation, or those of a cluster."""

    def __init__(
        self, client: redis.Redis, scripts: ScriptRunner, keyring: Keyring, rulesets: Iterable[CompiledRuleset]
    ) -> None:
        self._client = client
        self._scripts = scripts
        self._rulesets = {one.name: one for one in rulesets}
        self._primary: tuple[str, int] | None = None
        self._buckets = keyring.buckets
        self._own = {
            "pseudonym_key": keyring.installation,
            "buckets": str(len(keyring.buckets)),
            "format": keys.FORMAT,
        }

    def clock_skew(self) -> float:
        """Return by how many seconds this host's clock is ahead of Redis'."""
        with translate_errors():
            seconds, micros = self._client.time()
        return time.time() - (seconds + micros / 1_000_000)

    def claim(self) -> None:
        """Note this installation's pseudonym key, buckets and format; raise `StartRefusedError` for others.

        Under another key every budget and every opt-out would be forgotten; under another number of buckets
        they would be looked for in the wrong place.
        """
        self.require_own()
        with translate_errors(), self._client.pipeline(transaction=True) as pipeline:
            for name, value in self._own.items():
                pipeline.hsetnx(keys.INSTALLATION, name, value)
            pipeline.execute()
        self.require_own()

    def require_own(self) -> None:
        """Raise `StartRefusedError` where `refusal` returns why; nothing is written."""
        if refusal := self.refusal():
            raise StartRefusedError(refusal)

    def claimed(self) -> bool:
        """Tell whether an installation, this one or another, has used the server before."""
        with translate_errors():
            return bool(self._client.exists(keys.INSTALLATION))

    def refusal(self) -> StartRefusal | None:
        """Return why the server may not be used: another installation has, or a release with another format."""
        with translate_errors():
            noted: Any = self._client.hmget(keys.INSTALLATION, list(self._own))
        if not any(noted):  # a new server
            return None
        pairs = zip(self._own.items(), noted, strict=True)
        differences = [name for (name, own), other in pairs if other != own.encode()]
        if differences == ["format"]:
            return format_refusal((noted[-1] or b"1").decode())
        return installation_refusal(differences) if differences else None

    def check_eviction(self) -> None:
        """Raise `StartRefusedError` if the server tells that it may evict counters: an evicted one is a free guess."""
        policies = self.settings("maxmemory-policy")
        if other := next((one for one in policies if one not in {None, NO_EVICTION}), None):
            raise StartRefusedError(eviction_refusal(other))

    def missing_commands(self) -> list[MissingCommand]:
        """Return the commands that the server, or any of a cluster, lacks or forbids to our user."""
        return missing_commands(self._client, self._scripts.awaited_replicas)

    def settings(self, name: str) -> list[str | None]:
        """Return a setting of the server, or of each of a cluster; ``None`` for one that does not tell.

        Managed services forbid that.
        """
        with translate_errors():
            return [_setting(one, name) for one in servers(self._client)]

    def versions(self) -> list[str]:
        """Return name and version of the server, or of each of a cluster."""
        with translate_errors():
            return [_version(one) for one in servers(self._client)]

    def missing_rights(self) -> list[str]:
        """Return the commands that our user needs and may not call, of those that nothing else here would show."""
        return [command for server in servers(self._client) for command in _RIGHTS if _is_denied(server, command)]

    def require_writable(self) -> None:
        """Raise `StoreUnavailableError` where a server takes no writes.

        It judges a script that could write before it runs, and this one writes nothing.
        """
        with translate_errors():
            for server in servers(self._client):
                with suppress(redis.exceptions.NoPermissionError):  # processes need no right to EVAL
                    server.eval("#!lua\nreturn 1", 0)

    def unserved_slots(self) -> int:
        """Return how many slots of a cluster no server has."""
        return self._client.slots.unserved() if isinstance(self._client, ClusterClient) else 0

    def replicas(self) -> list[tuple[int, int]]:
        """Return how many replicas are online, and how many are known: of each server that tells."""
        with translate_errors():
            if isinstance(self._client, ClusterClient):
                shards = [(peer.client, self._client.slots.shard_of(peer)[0]) for peer in self._client.slots.peers()]
            else:
                shards = [(self._client, servers_of_primary(self._client)[0] if has_sentinels(self._client) else 1)]
            counts = [(_online_replicas(server), known - 1) for server, known in shards]
            return [(online, known) for online, known in counts if online is not None]

    def follow_primary(self) -> None:
        """Leave a server that is the primary no more: one that was paused goes on answering for seconds.

        Sentinels tell which one is, or that it is being replaced; or the servers of a cluster.
        """
        if isinstance(self._client, ClusterClient):
            self._client.slots.refresh()
            return
        with translate_errors():
            try:
                address = primary_address(self._client)
            except PrimaryReplacedError:
                self._leave_for(None)
                raise
        if address != self._primary:
            self._leave_for(address)

    def _leave_for(self, address: tuple[str, int] | None) -> None:
        self._primary = address
        self._scripts.reconnect()
        self._client.connection_pool.disconnect(inuse_connections=False)

    def fail_over(self, primary: str = "") -> bool:
        """Let a replica take the server's place once it has all that was written, and wait until it has.

        Sentinels let it, or it does so itself where ``primary`` (host:port) is of a cluster. Returns whether nothing
        was lost: then nobody fences. Raises `StoreUnavailableError`, and `ValueError` where there are no Sentinels, or
        they refuse, as where they have no replica or are older than Valkey 9; or where it is no primary with a replica.
        """
        if isinstance(self._client, ClusterClient):
            return self._fail_over_in_cluster(self._client, primary)
        if primary:
            raise ValueError("This is no cluster: there is one primary.")
        with translate_errors():
            before = present_primary(self._client)
            history = before.info("replication")["master_replid"]
            with _announced(before, [keys.INSTALLATION]):
                begin_failover(self._client)

        def confirm() -> None:
            self._confirm(present_primary(self._client), history, self._buckets)

        return _followed(before, history, confirm, lambda: begin_failover(self._client))

    def _fail_over_in_cluster(self, cluster: ClusterClient, primary: str) -> bool:
        with translate_errors():
            before, replica = cluster.primary_and_replica(primary)
            history = before.info("replication")["master_replid"]
            buckets = [one for one in self._buckets if cluster.slots.peer_of(keys.server(one)).name == primary]
            with _announced(before, map(keys.server, buckets)):
                begin_failover_to(replica)

        def confirm() -> None:
            for bucket in buckets:
                self._confirm(replica, history, (bucket,))

        return _followed(before, history, confirm, lambda: begin_failover_to(replica))

    def _confirm(self, taken_over: redis.Redis, history: str, buckets: tuple[str, ...]) -> None:
        """Tell a server that took over that it has all of a history."""
        command = self._scripts.meet_command(buckets, history, patience=0)
        taken_over.execute_command(*command)  # type: ignore[no-untyped-call]

    def load_scripts(self) -> None:
        """Load the scripts and teach them the rules, so that what is broken is found at the start."""
        for ruleset in self._rulesets.values():
            self._scripts.register_ruleset(ruleset)

    def delete_other_scripts(self) -> None:
        """Delete the scripts of other releases, for nobody else would; a process that needs them loads them again."""
        with translate_errors():
            for server in servers(self._client):
                found: Any = server.function_list(f"{PREFIX}*")
                for name in (pairs_to_dict(one)["library_name"].decode() for one in found):
                    if name != self._scripts.library_name:
                        server.function_delete(name)

    def note_worker(self, worker: str, seconds: int) -> None:
        """Record for ``seconds`` that a worker is alive."""
        with translate_errors():
            stamp = self._client.time()[0]
            self._client.set(keys.WORKER, f"{stamp} {worker}", ex=seconds)

    def worker_age(self) -> int | None:
        """Return the seconds since any worker was last seen alive; ``None`` when none was recently."""
        with translate_errors():
            seen = self._client.get(keys.WORKER)
            return self._client.time()[0] - int(seen.split()[0]) if seen else None
