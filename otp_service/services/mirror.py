"""Keep the mirror of the ledger in Redis up to date, and tell whether it is."""

import threading
from collections.abc import Mapping
from contextlib import suppress
from enum import StrEnum
from typing import Final, NamedTuple

from otp_service.domain.consents import ConsentMode, LedgerPosition, MirrorChanges
from otp_service.domain.keyring import Keyring
from otp_service.errors import LedgerMismatchError, LedgerUnavailableError, StoreUnavailableError
from otp_service.ledger.ledger import Ledger
from otp_service.store.mirror import Mirror, MirrorBuild, MirrorQuery
from otp_service.telemetry.logging import get_logger
from otp_service.telemetry.redaction import SafeNumber

# The mirror names the history that it was built of. Where that is not the history of the ledger, one of them was
# restored from a copy, and neither knows all that was said: an operator has to decide, and until then nothing is sent.

BATCH_SIZE = 500
"""Numbers written in one step."""
_log = get_logger(__name__)


class MirrorState(StrEnum):
    """How the mirror and the ledger were found at the last look."""

    UNKNOWN = "unknown"
    """Nobody has looked yet."""
    OK = "ok"
    UNAVAILABLE = "unavailable"
    """The ledger did not answer: what was known stays in force."""
    REPLACED = "replaced"
    """Its file was replaced under this process: nothing is written, and what was known stays in force."""
    BEHIND = "behind"
    """The mirror is being built."""
    DIVERGED = "diverged"
    """The mirror's history is not the ledger's."""
    FOREIGN = "foreign"
    """The mirror is another ledger's."""
    RESTORED = "restored"
    """The store was restored from a copy, and no process that ran before has seen that the ledger was not."""
    LOST = "lost"
    """There is no mirror, though there was one: Redis was emptied or is another one."""
    ABSENT = "absent"
    """There is no mirror yet."""


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
    """What the mirror is to be told next; ``None`` where that is nothing."""

    @property
    def lag(self) -> int:
        """How many changes the mirror lacks."""
        return self.changes - self.mirrored


class MirrorSync:
    """Keeps the mirror at the ledger's position. Safe to be used by several threads."""

    def __init__(self, ledger: Ledger, mirror: Mirror, keyring: Keyring, *, rebuild_lost: bool = False) -> None:
        """``rebuild_lost``: rebuild a mirror that is gone without asking an operator."""
        self._ledger = ledger
        self._mirror = mirror
        self._keyring = keyring
        self.rebuilds_lost: Final = rebuild_lost
        self._known: LedgerPosition | None = None
        self._knew_both = False
        """Whether the mirror was at the ledger's place, in a store that was not restored."""
        self._noted = False
        """Whether the ledger has recorded that it is mirrored."""
        self._lock = threading.Lock()
        self._aborted = False
        self.state = MirrorState.UNKNOWN
        self.built = 0
        """Numbers that are in the mirror which is being built here, or was last."""

    def query(self, demand: ConsentMode, evidence: str = "") -> MirrorQuery:
        """Return what scripts need to ask the mirror whether a message may go; asks the ledger the first time only.

        Raises `LedgerUnavailableError` while it is not known how far the ledger has come, and `LedgerMismatchError`
        while an operator has to decide.
        """
        if self._known is None:
            self._look_first()
        if self.state in MISMATCHES:
            raise LedgerMismatchError(MISMATCHES[self.state])
        if self._known is None:
            raise LedgerUnavailableError("Opt-outs cannot be checked right now.")
        return MirrorQuery(self._known.identity, self._known.sequence, demand, evidence)

    def _look_first(self) -> None:
        try:
            self.refresh()
        except LedgerUnavailableError:
            if self._known is None:
                raise

    @property
    def is_known(self) -> bool:
        """Whether the ledger's position is known."""
        return self._known is not None

    def refresh(self) -> None:
        """Bring the mirror to the ledger's position; build it where there is none and no operator has to decide.

        When the ledger does not answer, the position that was known stays in force, or the one that others noted in
        Redis (`Mirror.known_place`). Raises `LedgerUnavailableError` then, and `StoreUnavailableError` when Redis does
        not answer.
        """
        try:
            self._set_state(self._sync(self._known))
            self._mirror.note_server(is_current=self.state is MirrorState.OK)
        except LedgerUnavailableError as failed:
            if failed.file_replaced:
                if self.state is not MirrorState.REPLACED:
                    _log.error("ledger_replaced", reason=str(failed))
                self.state = MirrorState.REPLACED
                raise
            if self._known is None and (place := self._mirror.known_place()):
                self._note_position(place)
            if self.state not in MISMATCHES:
                self.state = MirrorState.UNAVAILABLE
            raise

    def write_through(self, place: LedgerPosition) -> None:
        """Mirror the changes of the ledger up to a place that was just recorded.

        They are recorded, whatever this raises: `StoreUnavailableError` or `LedgerUnavailableError` when one does not
        answer, so that they are mirrored later, and nothing is let through here before; `LedgerMismatchError` when they
        are not in force, because an operator has to decide which ledger is.
        """
        try:
            state = self._sync(place)
        finally:
            self._note_position(place)
        self._set_state(state)
        if state in {MirrorState.DIVERGED, MirrorState.FOREIGN}:
            raise LedgerMismatchError(f"It is recorded, and not in force. {MISMATCHES[state]}")
        self._mirror.await_replicas()  # a server that takes over has to know of a freeze

    def rebuild(self) -> None:
        """Take the ledger for a new one, and mirror it anew: an operator decided to forget what it does not say."""
        old, _ = self._mirror.head()
        self._ledger.mirror_source.rename(old.sequence if old else 0)
        self._mirror.drop()
        self.refresh()

    def abort_build(self) -> None:
        """Abort a build of the mirror here; another process goes on."""
        self._aborted = True

    def _sync(self, known: LedgerPosition | None) -> MirrorState:
        """Bring the mirror to the ledger's position, and make scripts require that position.

        A place that is ``known`` of the ledger, and is not in its history, tells that an older copy was restored.
        """
        last = self._ledger.mirror_source.head()
        if known and known != last and known.identity == last.identity and not self._ledger.mirror_source.has(known):
            return self._close_diverged(last.identity)
        try:
            return self._sync_to(last)
        finally:
            self._note_position(last)

    def _sync_to(self, last: LedgerPosition) -> MirrorState:
        while True:
            found = self._compare(last)
            if changes := found.next:
                if self._mirror.write(changes, self._buckets(changes)) and changes.reached.sequence >= last.sequence:
                    break
            elif found.state is MirrorState.ABSENT:
                if not self._build(last.identity):
                    return MirrorState.BEHIND
            elif found.state is MirrorState.OK:
                break
            else:
                return self._close_diverged(last.identity) if found.state is MirrorState.DIVERGED else found.state
        self._note_mirrored()
        return self._vouch_or_wait()

    def _vouch_or_wait(self) -> MirrorState:
        """Look whether the store was restored; vouch for the ledger if it has all that was known here before."""
        fence = self._mirror.restored()
        if fence is None:
            self._knew_both = True
        elif self._knew_both:
            self._mirror.vouch(fence)
            _log.warning("ledger_vouched_for", fence=SafeNumber(fence))
        return MirrorState.OK if self._knew_both else MirrorState.RESTORED

    def inspect(self) -> MirrorStatus:
        """Compare the mirror with the ledger, and change nothing.

        Raises `LedgerUnavailableError` and `StoreUnavailableError`.
        """
        found = self._compare(self._ledger.mirror_source.head())
        waits = found.state is MirrorState.OK and self._mirror.restored() is not None
        return found._replace(state=MirrorState.RESTORED) if waits else found

    def _compare(self, last: LedgerPosition) -> MirrorStatus:
        """Compare the mirror with the ledger's position."""
        place, closed = self._mirror.head()
        if place and place.identity != last.identity:
            return MirrorStatus(MirrorState.FOREIGN, last.sequence)
        if (place is None or self.state is not MirrorState.OK) and self._ledger.mirror_source.is_diverged():
            return MirrorStatus(MirrorState.DIVERGED, last.sequence)  # also where Redis was flushed or restored since
        if place is None:
            lost = self._ledger.mirror_source.was_mirrored() and not self.rebuilds_lost
            return MirrorStatus(MirrorState.LOST if lost else MirrorState.ABSENT, last.sequence)
        if place == last and not closed:
            return MirrorStatus(MirrorState.OK, last.sequence, place.sequence)
        changes = None if closed else self._ledger.mirror_source.since(place, BATCH_SIZE)
        if changes is None:
            return MirrorStatus(MirrorState.DIVERGED, last.sequence)
        state = MirrorState.BEHIND if changes.read_at > place.sequence else MirrorState.OK
        return MirrorStatus(state, changes.read_at, place.sequence, changes)

    def _close_diverged(self, identity: str) -> MirrorState:
        """Close a mirror of this ledger, of another history; leave another ledger's alone, which others may rely on."""
        place, closed = self._mirror.head()
        if place and place.identity != identity:
            return MirrorState.FOREIGN
        if place and not closed:
            self._mirror.close()
        self._ledger.mirror_source.note_diverged(identity)
        return MirrorState.DIVERGED

    def _build(self, identity: str) -> bool:
        """Write the states of all numbers; tell whether the mirror was built, ``False`` on another's turn."""
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
        """Write the states of all numbers; tell whether the turn lasted for that, and the history is still the same."""
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
        return [self._keyring.bucket(one.pseudonym) for one in changes.numbers]

    def _note_position(self, place: LedgerPosition) -> None:
        """Note the ledger's position, if it is later than the known one."""
        with self._lock:
            known = self._known
            if known is None or known.identity != place.identity or known.sequence < place.sequence:
                self._known = place

    def _note_mirrored(self) -> None:
        """Record in the ledger, once, that it is mirrored: from then on a missing mirror counts as lost."""
        if not self._noted and not self._ledger.mirror_source.was_mirrored():
            self._ledger.mirror_source.note_mirrored()
        self._noted = True

    def _set_state(self, state: MirrorState) -> None:
        if state in MISMATCHES and state is not self.state:
            _log.error("ledger_mismatch", state=str(state), advice="otp-service doctor")
        self.state = state
