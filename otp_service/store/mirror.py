"""The mirror of the ledger in Redis, the fence, and the identity of this installation."""

import json
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass
from functools import partial
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

# The mirror is written whenever the ledger changes, and carries its place in the ledger's history. While it is behind
# the place that a process knows, was lost, or is of another history, nothing is accepted and nothing is sent. So
# neither a flush nor a restored backup forgets an opt-out.

_EMPTY_STATE_LIFE: Final = 1000 * keys.mirrored.seconds
"""Milliseconds to remember a number without any state: longer than any write of its state takes."""
_BUILD_LEASE = 30_000
"""Milliseconds after which a silent builder of the mirror is taken for dead."""
_FOR_EVER = ""
_SCAN_COUNT = 1000
"""Keys that are scanned and deleted in a step."""
_ALL_NUMBERS = keys.mirrored("[0-9a-f][0-9a-f]", "*")


@dataclass(frozen=True, slots=True)
class MirrorQuery:
    """A script's question to the mirror whether a message may go."""

    identity: str
    """Of the ledger."""
    min_sequence: int
    """Place that the ledger is known to have reached."""
    consent_mode: ConsentMode
    evidence: str = ""
    """The consent of a start, as JSON, which suffices if no newer withdrawal follows."""


class MirrorHead(NamedTuple):
    """The mirror's head, of a bucket or several."""

    place: LedgerPosition | None
    """Place in a ledger's history, of the bucket that is furthest behind; ``None``: no mirror."""
    is_closed: bool = False
    """Whether its history is not the ledger's, and no operator has decided since."""
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
    """The mirror in the buckets that a call may touch together: all, or on a cluster each alone."""

    def __init__(self, buckets: Sequence[str]) -> None:
        self.buckets: Final = frozenset(buckets)
        self.heads: Final = tuple(map(keys.mirror, buckets))
        self.builders: Final = tuple(map(keys.mirror_builder, buckets))

    def writes(
        self, changes: MirrorChanges, buckets: Iterable[str], builder: str
    ) -> tuple[MirrorWriteKeys, MirrorWriteArguments]:
        """Return the call that writes the states of this part's numbers; ``builder`` is empty outside a build."""
        states = {
            keys.mirrored(bucket, number.pseudonym): json.dumps(_fields(number))
            for bucket, number in zip(buckets, changes.numbers, strict=True)
            if bucket in self.buckets
        }
        after, reached = changes.after, changes.reached
        names = (*self.heads, *self.builders, *states)
        return MirrorWriteKeys(names), MirrorWriteArguments(
            builder=builder,
            heads=len(self.heads),
            identity=after.identity,
            after=after.link,
            sequence=reached.sequence,
            entry=reached.entry,
            link=reached.link,
            read_at=changes.read_at,
            grace=_EMPTY_STATE_LIFE,
            rest=tuple(states.values()),
        )


def _replies(
    scripts: ScriptRunner, script: Signature[KeysT, ArgumentsT, ReplyT], calls: Sequence[tuple[KeysT, ArgumentsT]]
) -> list[ReplyT]:
    """Return the replies to all calls of a script; raise `StoreUnavailableError` if any has none."""
    replies: list[ReplyT] = []
    for reply in scripts.call_all(script, calls):
        if isinstance(reply, StoreUnavailableError):
            raise reply
        replies.append(reply)
    return replies


class Mirror:
    """The ledger's states in Redis. Raises `StoreUnavailableError` when Redis does not answer in time."""

    def __init__(self, client: redis.Redis, scripts: ScriptRunner, buckets: tuple[str, ...]) -> None:
        self._client = client
        self._scripts = scripts
        self.parts: Final = tuple(MirrorPart(group) for group in scripts.spread(buckets))

    def heads(self, parts: Sequence[MirrorPart]) -> list[MirrorHead | StoreUnavailableError]:
        """Return the head of each part, or an error if its server does not answer."""
        with translate_errors(), self._client.pipeline(transaction=False) as pipeline:
            for part in parts:
                for head in part.heads:
                    pipeline.hmget(head, ["identity", "sequence", "entry", "link", "closed", "restored"])
            answers: Iterator[Any] = iter(pipeline.execute(raise_on_error=False))
        heads: list[MirrorHead | StoreUnavailableError] = []
        for part in parts:
            part_answers = [next(answers) for _ in part.heads]
            try:
                with translate_errors():
                    if failures := [answer for answer in part_answers if isinstance(answer, Exception)]:
                        raise failures[0]
                heads.append(_merge_heads(list(map(_parse_head, part_answers))))
            except StoreUnavailableError as error:
                heads.append(error)
        return heads

    def head(self) -> MirrorHead:
        """Return the head of all buckets."""
        heads: list[MirrorHead] = []
        for head in self.heads(self.parts):
            if isinstance(head, StoreUnavailableError):
                raise head
            heads.append(head)
        return _merge_heads(heads)

    def vouch(self, restored: Mapping[MirrorPart, int]) -> None:
        """Reopen starts in parts, each behind its fence: the ledger lacks nothing."""
        calls = [(HeadsKeys(part.heads), MirrorVouchArguments(fence)) for part, fence in restored.items()]
        _replies(self._scripts, MIRROR_VOUCH, calls)

    def write(
        self, changes: MirrorChanges, buckets: Sequence[str], parts: Sequence[MirrorPart]
    ) -> list[bool | StoreUnavailableError]:
        """Write the states of numbers, with the bucket of each, and bring parts to the place that they lead to.

        Returns whether each part has reached it, or an error if its server does not answer. A part at another place
        than the changes begin at is left unchanged.
        """
        replies = self._scripts.call_all(MIRROR_WRITE, [part.writes(changes, buckets, "") for part in parts])
        return [reply if isinstance(reply, StoreUnavailableError) else bool(reply) for reply in replies]

    def write_nowait(self, changes: MirrorChanges, buckets: Sequence[str], parts: Sequence[MirrorPart]) -> None:
        """Write as `write` does, without waiting for answers; skip parts that cannot be reached."""
        self._scripts.send_all([ScriptCall.of(MIRROR_WRITE, *part.writes(changes, buckets, "")) for part in parts])

    def await_replicas(self, parts: Sequence[MirrorPart]) -> None:
        """Return once the awaited replicas have the mirror of parts."""
        self._scripts.await_replicas(head for part in parts for head in part.heads)

    def close(self) -> None:
        """Refuse every message until an operator has the mirror rebuilt: the ledger may lack opt-outs."""
        with translate_errors(), self._client.pipeline() as pipeline:
            for part in self.parts:
                for head in part.heads:
                    pipeline.hset(head, "closed", 1)
            pipeline.execute()

    def drop(self) -> None:
        """Delete the mirror's heads, so that it is rebuilt."""
        with translate_errors():
            for part in self.parts:
                self._client.delete(*part.heads)

    def note_server(self, parts: Sequence[MirrorPart], *, is_current: bool) -> None:
        """Pause checks of factors if the server was restarted or replaced: it may lack the last checks.

        ``is_current``: whether the parts are at the ledger's place; `known_place` reads it.
        """
        arguments = ServerNoteArguments(int(is_current))
        _replies(self._scripts, SERVER_NOTE, [(HeadsKeys(part.heads), arguments) for part in parts])

    def known_place(self) -> LedgerPosition | None:
        """Return the ledger's place by the mirror, for processes that cannot ask the ledger; ``None`` if unknown.

        It is known if a process has seen, since this server started, that the mirror is at the ledger's place. If
        buckets differ, the last place is returned: buckets behind it stay closed.
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
            for name in names:
                pipeline.set(name, builder, nx=True, px=_BUILD_LEASE)
            taken = [name for name, is_taken in zip(names, pipeline.execute(), strict=True) if is_taken]
            if len(taken) == len(names):
                return MirrorBuild(self._client, self._scripts, self.parts, builder)
            for name in taken:
                self._client.delete(name)
        return None


class MirrorBuild:
    """A process' lease to build the mirror; once it is lost, every call fails."""

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
        """Record the place that the mirror is built of; return whether the lease was still ours."""
        return self._keep_turn(0, place)

    def give_up(self) -> None:
        """End the lease, so that another process may build."""
        self._keep_turn(0)

    def forget(self) -> None:
        """Delete the whole mirror: it is another ledger's, or its numbers cannot be trusted."""
        heads = [head for part in self._parts for head in part.heads]
        if not self._keep_turn(_BUILD_LEASE, forgotten=heads):
            return
        for server in servers(self._client):
            cursor = -1
            while cursor != 0:
                with translate_errors():
                    cursor, names = server.scan(max(cursor, 0), match=_ALL_NUMBERS, count=_SCAN_COUNT)
                found_names = [name.decode() for name in names if isinstance(name, bytes)]
                if not self._keep_turn(_BUILD_LEASE, forgotten=found_names):
                    return

    def _keep_turn(self, milliseconds: int, place: LedgerPosition | None = None, forgotten: Sequence[str] = ()) -> bool:
        """Renew the lease in all parts, or end it with 0; each part deletes its ``forgotten`` keys."""
        built = astuple(place) if place else ()
        calls: list[tuple[MirrorBuildKeys, MirrorBuildArguments]] = []
        for part in self._parts:
            own = forgotten
            if self._scripts.is_cluster:
                own = [name for name in forgotten if tag_of(name) in part.buckets]
            arguments = MirrorBuildArguments(self._builder, len(part.heads), milliseconds, *built)
            calls.append((MirrorBuildKeys((*part.heads, *part.builders, *own)), arguments))
        replies = _replies(self._scripts, MIRROR_BUILD, calls)
        return all(replies)


def _fields(number: NumberState) -> dict[str, str]:
    """Return the fields of a number's hash.

    ``s:<application>``: end of its suppression in milliseconds, empty for ever; ``f:<application>``: empty, present
    while it is frozen; ``l:<application>``: the ledger's place at which a freeze was lifted last;
    ``c:<application>:<purpose>``: ``given`` or ``withdrawn``, the ledger's place from which that counts, and the time
    after which a consent is newer; ``e:<application>``: the ledger's place at which it was erased last;
    ``t:<factor>``: an active factor of a user, packed.
    """
    fields = {f"s:{name}": _FOR_EVER if until is None else str(until) for name, until in number.suppressed.items()}
    fields |= {f"f:{name}": _FOR_EVER for name in number.frozen}
    fields |= {f"l:{name}": str(place) for name, place in number.lifted.items()}
    fields |= {f"e:{name}": str(place) for name, place in number.erased.items()}
    for (name, purpose), (is_valid, place, since) in number.consents.items():
        fields[f"c:{name}:{purpose}"] = f"{'given' if is_valid else 'withdrawn'}|{place}|{since}"
    return fields | {f"t:{factor}": packed for factor, packed in number.factors.items()}


class Fences:
    """The fence, which expires verifications from before Redis lost writes (``lua/include_fence.lua``).

    Its name is its time: milliseconds since the epoch, by Redis' clock. Raises `StoreUnavailableError` when Redis does
    not answer in time.
    """

    def __init__(self, client: redis.Redis, scripts: ScriptRunner, buckets: tuple[str, ...]) -> None:
        self._client = client
        self._scripts = scripts
        self._buckets = buckets

    def put(self, *, restored: bool = False) -> int:
        """Put a fence for all buckets, and replace an older fence. The server need not have the scripts.

        ``restored``: whether the store may be a copy; then starts are closed until the ledger is known not to be.
        """
        calls = []
        for group in self._scripts.spread(self._buckets):
            fences = tuple(map(keys.fence, group))
            heads = tuple(map(keys.mirror, group)) if restored else ()
            calls.append((FencePutKeys(fences + heads), FencePutArguments(FENCE_LIFE, len(fences))))
        return max(_replies(self._scripts, FENCE_PUT, calls))

    def current(self, buckets: Iterable[str] = ()) -> int | None:
        """Return the newest fence of some buckets, or of all; ``None`` without any."""
        with translate_errors(), self._client.pipeline(transaction=False) as pipeline:
            for bucket in buckets or self._buckets:
                pipeline.hget(keys.fence(bucket), "at")
            return max((int(at) for at in pipeline.execute() if at), default=None)


NO_EVICTION: Final = "noeviction"


def eviction_refusal(policy: str) -> StartRefusal:
    """Return the refusal of a server with a ``maxmemory-policy`` other than ``noeviction``."""
    return StartRefusal(
        RefusalName.EVICTION,
        "maxmemory-policy",
        f"With {policy} Redis may evict counters, and an evicted counter is a free guess.",
        "CONFIG SET maxmemory-policy noeviction, and in its configuration file.",
    )


def installation_refusal(differences: Sequence[str]) -> StartRefusal:
    """Return the refusal of another installation's server, with the names of its differences."""
    return StartRefusal(
        RefusalName.OTHER_INSTALLATION,
        "installation",
        f"Redis was first used with another {' and another '.join(differences)}: budgets would be forgotten.",
        "Restore the original, or use another Redis.",
    )


def format_refusal(data_format: str) -> StartRefusal:
    """Return the refusal of a server with data of another format."""
    return StartRefusal(
        RefusalName.OTHER_FORMAT,
        "installation",
        f"Redis has data of format {data_format}: this release reads format {keys.FORMAT} only.",
        "Use the release that wrote the data, or an empty Redis.",
    )


_MAX_FAILOVER: Final = 20_000
"""Milliseconds that a planned fail-over may take."""
_ELECTION: Final = 4.0
"""Seconds after which a fail-over is begun again: on busy hosts servers may not have agreed on it."""


def _fail_over(
    former: redis.Redis, noted: Sequence[str], begin: Callable[[], None], confirm: Callable[[str], None]
) -> bool:
    """Begin a fail-over from a primary, which is noted in some keys, and wait until the primary follows its successor.

    Confirms the successor, which has the former history, and returns whether that happened in time. Raises `ValueError`
    if the fail-over is refused.
    """
    with translate_errors():
        history = former.info("replication")["master_replid"]
        for name in noted:
            former.hset(name, "failover", server_time(former) + _MAX_FAILOVER)
        try:
            begin()
        except ValueError:
            for name in noted:
                former.hdel(name, "failover")
            raise
    now = time.monotonic()
    end, again = now + _MAX_FAILOVER / 1000, now + _ELECTION
    while time.monotonic() < end:
        with suppress(redis.RedisError, ValueError):  # Sentinels name the new primary a little later
            replication = former.info("replication")
            if follows(replication) and had_no_more(replication, history):
                confirm(history)
                return True
            if replication["role"] == "master" and time.monotonic() > again:
                again += _ELECTION
                begin()
        time.sleep(0.01)
    return False


def _setting(server: redis.Redis, name: str) -> str | None:
    try:
        return server.config_get(name).get(name)
    except redis.ResponseError:
        return None


_RIGHTS: Final = ("TIME", "FUNCTION LOAD")


def _is_denied(server: redis.Redis, command: str) -> bool:
    """Tell whether the server forbids our user a command; ``FUNCTION LOAD`` gets no library, and changes nothing."""
    with translate_errors():
        try:
            server.execute_command(command, *([""] if command == "FUNCTION LOAD" else []))  # type: ignore[no-untyped-call]
        except redis.exceptions.NoPermissionError:
            return True
        except redis.ResponseError:
            return False  # the library is empty
    return False


def _info(server: redis.Redis, section: str) -> Mapping[str, Any] | None:
    """Return a section of ``INFO``; ``None`` if the server refuses it."""
    try:
        return server.info(section)
    except redis.ResponseError:
        return None


class Server:
    """The Redis or Valkey server behind an installation, or those of a cluster."""

    def __init__(
        self, client: redis.Redis, scripts: ScriptRunner, keyring: Keyring, rulesets: Iterable[CompiledRuleset]
    ) -> None:
        self._client = client
        self._scripts = scripts
        self._rulesets = {ruleset.name: ruleset for ruleset in rulesets}
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

        Another key forgets every budget and opt-out; another number of buckets looks for them in the wrong place.
        """
        self.require_own()
        with translate_errors(), self._client.pipeline(transaction=True) as pipeline:
            for name, value in self._own.items():
                pipeline.hsetnx(keys.INSTALLATION, name, value)
            pipeline.execute()
        self.require_own()

    def require_own(self) -> None:
        """Raise `StartRefusedError` with the `refusal`, if any; write nothing."""
        if refusal := self.refusal():
            raise StartRefusedError(refusal)

    def claimed(self) -> bool:
        """Tell whether any installation has used the server before."""
        with translate_errors():
            return bool(self._client.exists(keys.INSTALLATION))

    def refusal(self) -> StartRefusal | None:
        """Return why the server may not be used: another installation, or a release with another format, uses it."""
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
        """Raise `StartRefusedError` if a server reports that it may evict counters: each is a free guess."""
        for policy in self.settings("maxmemory-policy"):
            if policy not in {None, NO_EVICTION}:
                raise StartRefusedError(eviction_refusal(policy))

    def missing_commands(self) -> list[MissingCommand]:
        """Return the commands that the server, or any of a cluster, lacks or forbids to our user."""
        return missing_commands(self._client, self._scripts.awaited_replicas)

    def settings(self, name: str) -> list[str | None]:
        """Return a setting of each server; ``None`` if it refuses ``CONFIG``, as managed services do."""
        with translate_errors():
            return [_setting(server, name) for server in servers(self._client)]

    def versions(self) -> list[str]:
        """Return name and version of each server, empty if it refuses ``INFO``."""
        with translate_errors():
            reports = [_info(server, "server") for server in servers(self._client)]
        versions = []
        for info in reports:
            if info is None:
                versions.append("")
            elif valkey := info.get("valkey_version"):
                versions.append(f"Valkey {valkey}")
            else:
                versions.append(f"Redis {info.get('redis_version', 'unknown')}")
        return versions

    def missing_rights(self) -> list[str]:
        """Return the commands that our user needs and may not call, of those that no other check shows."""
        return [command for server in servers(self._client) for command in _RIGHTS if _is_denied(server, command)]

    def require_writable(self) -> None:
        """Raise `StoreUnavailableError` if a server takes no writes: it refuses this script, which writes nothing."""
        with translate_errors():
            for server in servers(self._client):
                with suppress(redis.exceptions.NoPermissionError):  # processes need no right to EVAL
                    server.eval("#!lua\nreturn 1", 0)

    def unserved_slots(self) -> int:
        """Return how many slots of a cluster no server has."""
        return self._client.slots.unserved() if isinstance(self._client, ClusterClient) else 0

    def replicas(self) -> list[tuple[int, int]]:
        """Return how many replicas are online, and how many are known, of each server that answers ``INFO``."""
        with translate_errors():
            if isinstance(self._client, ClusterClient):
                shards = [(peer.client, self._client.slots.shard_of(peer)[0]) for peer in self._client.slots.peers()]
            else:
                shards = [(self._client, servers_of_primary(self._client)[0] if has_sentinels(self._client) else 1)]
            reports = [(_info(server, "replication"), known - 1) for server, known in shards]
        counts = []
        for replication, known in reports:
            if replication is not None:
                entries = [entry for entry in replication.values() if isinstance(entry, dict)]
                counts.append((sum(entry.get("state") == "online" for entry in entries), known))
        return counts

    def follow_primary(self) -> None:
        """Leave a server that is no longer the primary: after a pause it goes on answering for seconds.

        Sentinels name the primary, or report that it is being replaced; on a cluster its servers do.
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
        """Let a replica take the primary's place once it has all writes, and wait for that.

        Returns whether nothing was lost: then no fence is put. ``primary`` is host:port on a cluster, else empty.
        Raises `StoreUnavailableError`, and `ValueError` without Sentinels, or if they refuse, as without a replica or
        if they are older than Valkey 9; or if ``primary`` is not a primary with a replica.
        """
        client = self._client
        if isinstance(client, ClusterClient):
            with translate_errors():
                former, replica = client.primary_and_replica(primary)
                peer_of = client.slots.peer_of
                groups = [(name,) for name in self._buckets if peer_of(keys.server(name)).name == primary]
            names = [keys.server(bucket) for (bucket,) in groups]
            confirm = partial(self._confirm, lambda: replica, groups)
            return _fail_over(former, names, partial(begin_failover_to, replica), confirm)
        if primary:
            raise ValueError("This is no cluster: leave out the primary.")
        with translate_errors():
            former = present_primary(client)
        confirm = partial(self._confirm, partial(present_primary, client), [self._buckets])
        return _fail_over(former, [keys.INSTALLATION], partial(begin_failover, client), confirm)

    def _confirm(self, successor: Callable[[], redis.Redis], groups: Iterable[tuple[str, ...]], history: str) -> None:
        """Note at a server that took over that it has all of a history."""
        server = successor()
        for buckets in groups:
            command = self._scripts.meet_command(buckets, history, patience=0)
            server.execute_command(*command)  # type: ignore[no-untyped-call]

    def load_scripts(self) -> None:
        """Load the scripts and register the rules, so that a start shows their errors."""
        for ruleset in self._rulesets.values():
            self._scripts.register_ruleset(ruleset)

    def delete_other_scripts(self) -> None:
        """Delete the scripts of other releases; a process that needs them loads them again."""
        with translate_errors():
            for server in servers(self._client):
                libraries: Any = server.function_list(f"{PREFIX}*")
                for name in (pairs_to_dict(entry)["library_name"].decode() for entry in libraries):
                    if name != self._scripts.library_name:
                        server.function_delete(name)

    def note_worker(self, worker: str, seconds: int) -> None:
        """Record for ``seconds`` that a worker is alive."""
        with translate_errors():
            stamp = self._client.time()[0]
            self._client.set(keys.WORKER, f"{stamp} {worker}", ex=seconds)

    def worker_age(self) -> int | None:
        """Return the seconds since any worker was last seen alive; ``None`` if that is long ago."""
        with translate_errors():
            seen = self._client.get(keys.WORKER)
            return self._client.time()[0] - int(seen.split()[0]) if seen else None
