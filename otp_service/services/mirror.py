"""Keeps the mirror of the ledger in Redis up to date, and reports its state."""

import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from enum import StrEnum
from operator import attrgetter
from typing import Final, NamedTuple

from otp_service.domain.consents import ConsentMode, LedgerPosition, MirrorChanges
from otp_service.domain.keyring import Keyring
from otp_service.errors import LedgerMismatchError, LedgerUnavailableError, StoreUnavailableError
from otp_service.ledger.ledger import Ledger
from otp_service.store.mirror import Mirror, MirrorBuild, MirrorHead, MirrorPart, MirrorQuery
from otp_service.telemetry.logging import get_logger
from otp_service.telemetry.redaction import SafeNumber

# The mirror names the history that it was built of. If that is not the ledger's history, one of them was restored from
# a copy, and neither has every opt-out: nothing is sent until an operator decides.

BATCH_SIZE = 500
"""Numbers written in one step."""
_ROUND: Final = 8
"""Runs of `MirrorSync.follow` that read all parts, while nothing changes."""
_log = get_logger(__name__)


class MirrorState(StrEnum):
    """How the mirror compared with the ledger when it was last read."""

    UNKNOWN = "unknown"
    OK = "ok"
    UNAVAILABLE = "unavailable"
    """The ledger did not answer: the last known position stays in force."""
    REPLACED = "replaced"
    """The ledger's file was replaced: nothing is written, and the last known position stays in force."""
    BEHIND = "behind"
    """The mirror is being built."""
    DIVERGED = "diverged"
    """The mirror's history is not the ledger's."""
    FOREIGN = "foreign"
    """The mirror is another ledger's."""
    RESTORED = "restored"
    """The store was restored from a copy, and no process that ran before has vouched for the ledger."""
    LOST = "lost"
    """The mirror is gone: Redis was emptied or is another server."""
    ABSENT = "absent"
    """No mirror was built yet."""


MISMATCHES: Final[Mapping[MirrorState, str]] = {
    MirrorState.DIVERGED: "Redis and the ledger have different histories: one of them was restored from a copy.",
    MirrorState.FOREIGN: "Redis belongs to another ledger.",
    MirrorState.RESTORED: "Redis was restored from a copy, and cannot tell whether the ledger was, too.",
    MirrorState.LOST: "Redis was emptied or is another one, and cannot tell whether the ledger is the latest.",
}
"""The states in which nothing is sent until an operator has decided."""


class MirrorStatus(NamedTuple):
    """How the mirror compares with the ledger."""

    state: MirrorState
    changes: int
    """Number of the ledger's last change."""
    mirrored: int = 0
    """Number of the mirror's last change."""
    next: MirrorChanges | None = None
    """The next changes to mirror, if any."""

    @property
    def lag(self) -> int:
        """Number of changes that the mirror lacks."""
        return self.changes - self.mirrored


class _SyncResult(NamedTuple):
    """The result of bringing parts of the mirror to the ledger's position."""

    state: MirrorState
    reached: dict[MirrorPart, int | None]
    """Parts at the ledger's position; each with the fence behind which it was restored, if any."""
    failures: list[StoreUnavailableError]
    written: MirrorChanges | None = None
    """The last written changes."""


class MirrorSync:
    """Keeps the mirror at the ledger's position. Safe to be used by several threads."""

    def __init__(self, ledger: Ledger, mirror: Mirror, keyring: Keyring, *, rebuild_lost: bool = False) -> None:
        """``rebuild_lost``: rebuild a lost mirror without an operator's decision."""
        self._ledger = ledger
        self._mirror = mirror
        self._keyring = keyring
        self.rebuilds_lost: Final = rebuild_lost
        self._known: dict[str, LedgerPosition] = {}
        """By bucket, the ledger's position that the mirror must have reached there."""
        self._read_at: LedgerPosition | None = None
        """The ledger's position when the mirror was last read in all buckets."""
        self._turn = 0
        """Index of the part that is read next while nothing changes."""
        self._knew_both = False
        """Whether the mirror was at the ledger's place, in a store that was not restored."""
        self._noted = False
        """Whether the ledger has recorded that it is mirrored."""
        self._lock = threading.Lock()
        self._aborted = False
        self.state = MirrorState.UNKNOWN
        self.built = 0
        """Numbers in the mirror that is being built, or was built last."""

    def query(self, bucket: str, demand: ConsentMode, evidence: str = "") -> MirrorQuery:
        """Return the query by which scripts of a bucket ask the mirror whether a message may go.

        Reads the ledger the first time only. Raises `LedgerUnavailableError` while its position is unknown, and
        `LedgerMismatchError` until an operator decides.
        """
        if bucket not in self._known:
            try:
                self.refresh()
            except LedgerUnavailableError:
                if bucket not in self._known:
                    raise
        if self.state in MISMATCHES:
            raise LedgerMismatchError(MISMATCHES[self.state])
        if (known := self._known.get(bucket)) is None:
            raise LedgerUnavailableError("Opt-outs cannot be checked right now.")
        return MirrorQuery(known.identity, known.sequence, demand, evidence)

    @property
    def is_known(self) -> bool:
        """Whether the ledger's position is known."""
        return bool(self._known)

    def refresh(self) -> None:
        """Bring the mirror to the ledger's position; build it if it is absent and no operator has to decide.

        Parts whose servers do not answer stay behind. Raises `StoreUnavailableError` if no server answers. If the
        ledger does not answer, raises `LedgerUnavailableError`, and the last known position stays in force, or that of
        other processes (`Mirror.known_place`).
        """
        self._refresh(self._mirror.parts, is_complete=True)

    def follow(self) -> None:
        """Refresh an eighth of the parts, in turn; all of them when the ledger has changed."""
        parts = self._mirror.parts
        begin, size = self._turn % len(parts), -(-len(parts) // _ROUND)
        self._turn = begin + size
        self._refresh(parts[begin : begin + size], is_complete=False)

    def _refresh(self, due: Sequence[MirrorPart], *, is_complete: bool) -> None:
        """Bring parts to the ledger's position: those that are due, or all if any may be behind."""
        try:
            last = self._ledger.mirror_source.head()
            parts = due if is_complete or self._read_at == last else self._mirror.parts
            with self._lock:
                known = max(self._known.values(), key=attrgetter("sequence"), default=None)
            result = self._sync(last, parts, known)
            self._set_state(result.state)
            is_read = self.state is MirrorState.OK and result.reached.keys() >= set(parts)
            self._read_at = last if is_read else None
            present = [part for part in due if part in result.reached]
            self._mirror.note_server(present, is_current=self.state is MirrorState.OK)
        except LedgerUnavailableError as failed:
            if failed.file_replaced:
                if self.state is not MirrorState.REPLACED:
                    _log.error("ledger_replaced", reason=str(failed))
                self.state = MirrorState.REPLACED
                raise
            if not self._known and (place := self._mirror.known_place()):
                self._note_position(place, self._mirror.parts)
            if self.state not in MISMATCHES:
                self.state = MirrorState.UNAVAILABLE
            raise

    def write_through(self, place: LedgerPosition, pseudonyms: Iterable[str]) -> None:
        """Mirror the changes of numbers and users, up to a place that the ledger has just recorded.

        Returns once their own buckets have them, without waiting for others. The changes are recorded even if this
        raises `StoreUnavailableError` or `LedgerUnavailableError` (they are mirrored later, and their buckets accept
        nothing until then), or `LedgerMismatchError` (they are not in force until an operator decides).
        """
        buckets = {self._keyring.bucket(pseudonym) for pseudonym in pseudonyms}
        own = [part for part in self._mirror.parts if part.buckets & buckets]
        try:
            result = self._sync(self._ledger.mirror_source.head(), own, place)
        finally:
            self._note_position(place, own)
        if result.state is not MirrorState.OK or len(own) == len(self._mirror.parts):
            self._set_state(result.state)
        if result.state in {MirrorState.DIVERGED, MirrorState.FOREIGN}:
            raise LedgerMismatchError(f"It is recorded, and not in force. {MISMATCHES[result.state]}")
        if result.failures:
            raise result.failures[0]
        self._mirror.await_replicas(own)  # a server that takes over has to know of a freeze
        if result.written:
            others = [part for part in self._mirror.parts if part not in own]
            self._mirror.write_nowait(result.written, self._buckets(result.written), others)

    def rebuild(self) -> None:
        """Take the ledger for a new ledger, and rebuild the mirror: an operator decided to forget all other states."""
        old = self._mirror.head().place
        self._ledger.mirror_source.rename(old.sequence if old else 0)
        self._mirror.drop()
        self.refresh()

    def abort_build(self) -> None:
        """Abort a build of the mirror in this process; another process goes on."""
        self._aborted = True

    def _sync(self, last: LedgerPosition, parts: Sequence[MirrorPart], known: LedgerPosition | None) -> _SyncResult:
        """Bring parts to the ledger's position, and make scripts require that position there.

        If the ledger's history lacks the ``known`` position, an older copy of the ledger was restored.
        """
        if known and known != last and known.identity == last.identity and not self._ledger.mirror_source.has(known):
            return _SyncResult(self._close_diverged(last.identity), {}, [])
        try:
            result = self._bring(last, parts)
        finally:
            self._note_position(last, parts)
        if result.state is not MirrorState.OK:
            return result
        if not result.reached:
            raise result.failures[0]
        # from then on a missing mirror counts as lost
        if not self._noted and not self._ledger.mirror_source.was_mirrored():
            self._ledger.mirror_source.note_mirrored()
        self._noted = True
        return result._replace(state=self._vouch_or_wait(result.reached))

    def _bring(self, last: LedgerPosition, parts: Sequence[MirrorPart]) -> _SyncResult:
        """Bring parts to the ledger's position, except those whose servers do not answer."""
        result = _SyncResult(MirrorState.OK, {}, [])
        while parts:
            groups: dict[MirrorHead, list[MirrorPart]] = {}
            for part, head in zip(parts, self._mirror.heads(parts), strict=True):
                if isinstance(head, StoreUnavailableError):
                    result.failures.append(head)
                else:
                    groups.setdefault(head, []).append(part)
            parts = []
            for head, group in groups.items():
                status = self._compare(last, head)
                if status.next:
                    parts += self._write(status.next, last, head, group, result)
                    result = result._replace(written=status.next)
                elif status.state is MirrorState.ABSENT:
                    built = self._build(last.identity)
                    return self._bring(last, self._mirror.parts) if built else _SyncResult(MirrorState.BEHIND, {}, [])
                elif status.state is MirrorState.OK:
                    result.reached.update(dict.fromkeys(group, head.restored))
                else:
                    is_diverged = status.state is MirrorState.DIVERGED
                    return _SyncResult(self._close_diverged(last.identity) if is_diverged else status.state, {}, [])
        return result

    def _write(
        self,
        changes: MirrorChanges,
        last: LedgerPosition,
        head: MirrorHead,
        group: list[MirrorPart],
        result: _SyncResult,
    ) -> list[MirrorPart]:
        """Write changes to parts that have the same head; return parts that are still behind the ledger."""
        behind = []
        written = self._mirror.write(changes, self._buckets(changes), group)
        for part, is_written in zip(group, written, strict=True):
            if isinstance(is_written, StoreUnavailableError):
                result.failures.append(is_written)
            elif is_written and changes.reached.sequence >= last.sequence:
                result.reached[part] = head.restored
            else:
                behind.append(part)
        return behind

    def _vouch_or_wait(self, reached: Mapping[MirrorPart, int | None]) -> MirrorState:
        """Return whether the store was restored; vouch for the ledger if this process knew its mirror before."""
        restored = {part: fence for part, fence in reached.items() if fence is not None}
        if not restored:
            self._knew_both |= reached.keys() >= set(self._mirror.parts)
        elif self._knew_both:
            self._mirror.vouch(restored)
            _log.warning("ledger_vouched_for", fence=SafeNumber(max(restored.values())))
        return MirrorState.OK if self._knew_both or not restored else MirrorState.RESTORED

    def inspect(self) -> MirrorStatus:
        """Compare the mirror with the ledger, and change nothing.

        Raises `LedgerUnavailableError` and `StoreUnavailableError`.
        """
        last, head = self._ledger.mirror_source.head(), self._mirror.head()
        status = self._compare(last, head)
        waits = status.state is MirrorState.OK and head.restored is not None
        return status._replace(state=MirrorState.RESTORED) if waits else status

    def _compare(self, last: LedgerPosition, head: MirrorHead) -> MirrorStatus:
        place = head.place
        if place and place.identity != last.identity:
            return MirrorStatus(MirrorState.FOREIGN, last.sequence)
        if (place is None or self.state is not MirrorState.OK) and self._ledger.mirror_source.is_diverged():
            return MirrorStatus(MirrorState.DIVERGED, last.sequence)  # also where Redis was flushed or restored since
        if place is None:
            lost = self._ledger.mirror_source.was_mirrored() and not self.rebuilds_lost
            return MirrorStatus(MirrorState.LOST if lost else MirrorState.ABSENT, last.sequence)
        if place == last and not head.is_closed:
            return MirrorStatus(MirrorState.OK, last.sequence, place.sequence)
        changes = None if head.is_closed else self._ledger.mirror_source.since(place, BATCH_SIZE)
        if changes is None:
            return MirrorStatus(MirrorState.DIVERGED, last.sequence)
        state = MirrorState.BEHIND if changes.read_at > place.sequence else MirrorState.OK
        return MirrorStatus(state, changes.read_at, place.sequence, changes)

    def _close_diverged(self, identity: str) -> MirrorState:
        """Close a diverged mirror of this ledger; leave another ledger's mirror to its processes."""
        heads = [head for head in self._mirror.heads(self._mirror.parts) if isinstance(head, MirrorHead) and head.place]
        if any(head.place.identity != identity for head in heads if head.place):
            return MirrorState.FOREIGN
        try:
            if not all(head.is_closed for head in heads):
                self._mirror.close()
        finally:
            self._ledger.mirror_source.note_diverged(identity)
        return MirrorState.DIVERGED

    def _build(self, identity: str) -> bool:
        """Write the states of all numbers; return ``False`` if another process builds."""
        building = self._mirror.begin(identity)
        if building is None:
            return False
        _log.info("mirror_build_begins", ledger=identity)
        try:
            building.forget()
            begun = self._ledger.mirror_source.head()
            finished = begun.identity == identity and self._write_all(building, begun) and building.finish(begun)
        except BaseException:
            with suppress(StoreUnavailableError):
                building.give_up()
            raise
        if not finished:
            building.give_up()
        self._noted = False
        return finished

    def _write_all(self, building: MirrorBuild, begun: LedgerPosition) -> bool:
        """Write the states of all numbers; return whether the lease lasted, and the history is still the same."""
        after, self.built = "", 0
        while (changes := self._ledger.mirror_source.all_after(after, BATCH_SIZE, begun)) and changes.numbers:
            if self._aborted or not building.write(changes, self._buckets(changes)):
                return False
            after, self.built = changes.numbers[-1].pseudonym, self.built + len(changes.numbers)
        if changes is None:
            return False
        _log.info("mirror_built", numbers=SafeNumber(self.built))
        return True

    def _buckets(self, changes: MirrorChanges) -> list[str]:
        return [self._keyring.bucket(number.pseudonym) for number in changes.numbers]

    def _note_position(self, place: LedgerPosition, parts: Sequence[MirrorPart]) -> None:
        """Note the ledger's position in the buckets of parts, if it is later than the known one."""
        with self._lock:
            for bucket in (bucket for part in parts for bucket in part.buckets):
                known = self._known.get(bucket)
                if known is None or known.identity != place.identity or known.sequence < place.sequence:
                    self._known[bucket] = place

    def _set_state(self, state: MirrorState) -> None:
        if state in MISMATCHES and state is not self.state:
            _log.error("ledger_mismatch", state=str(state), advice="otp-service doctor")
        self.state = state
