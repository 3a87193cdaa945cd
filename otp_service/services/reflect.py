"""Keep the mirror in Redis true to the ledger, and know how far the ledger has come: what starts are allowed by."""

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Literal

from otp_service.core.consent import ConsentMode
from otp_service.core.errors import LedgerUnavailableError, StoreUnavailableError
from otp_service.core.keyring import Keyring
from otp_service.core.mirrored import Changes
from otp_service.ledger.head import Head
from otp_service.ledger.ledger import Ledger
from otp_service.store.mirror import FOREIGN, Building, Mirror, Permission
from otp_service.telemetry.logging import get_logger
from otp_service.telemetry.redaction import Count

AT_ONCE = 500
"""Numbers that are written in one step."""

_log = get_logger(__name__)


class Reflection:
    """The ledger and its mirror, as one process knows them. Safe to be used by several threads."""

    def __init__(self, ledger: Ledger, mirror: Mirror, keyring: Keyring) -> None:
        self._ledger = ledger
        self._mirror = mirror
        self._keyring = keyring
        self._known: Head | None = None
        self._seen: int | None = None
        """Where the mirror was at the last look."""
        self._lock = threading.Lock()
        self._ending = False
        self.standing: Literal["unknown", "ok", "unavailable", "not mirrored"] = "unknown"
        """At the last look. ``not mirrored``: Redis lacks it, or has another or a later one, so starts are refused."""

    def permission(self, demand: ConsentMode, evidence: str = "") -> Permission:
        """Return what a script is told to look up whether a message may go; asks the ledger only if nobody did before.

        Raises `LedgerUnavailableError` while it is not known how far the ledger has come.
        """
        if self._known is None:
            self.refresh()
        if self._known is None:
            raise LedgerUnavailableError("It cannot be told now who wants no messages.")
        return Permission(self._known.identity, self._known.sequence, demand, evidence)

    @property
    def is_known(self) -> bool:
        """Whether it is known how far the ledger has come."""
        return self._known is not None

    def refresh(self) -> None:
        """Ask the ledger how far it has come, and see that the mirror is there; build it where it is lost.

        While it moves by itself, who writes is about to bring it there: it is left to him until the next look. What was
        known stays in force when the ledger does not answer. Raises `LedgerUnavailableError` then, and
        `StoreUnavailableError` when Redis does not.
        """
        try:
            self.standing = "ok" if self._look() else "not mirrored"
        except LedgerUnavailableError:
            self.standing = "unavailable"
            raise

    def _look(self) -> bool:
        """Do what `refresh` does; tell whether starts may go on by what is mirrored."""
        place = self._ledger.mirrored.head()
        try:
            found = self._mirror.place(place.identity)
        except StoreUnavailableError:  # it may come back as it was some time ago: then it is behind this place
            self._note(place)
            raise
        if found is None:
            found = self._build(place.identity)
            place = self._ledger.mirrored.head()  # it may have gone on meanwhile
        elif found == FOREIGN:  # ours is not looked up there: nothing goes out from here, and others are left alone
            if self._seen != FOREIGN:
                _log.error("mirror_of_another_ledger", ledger=place.identity, advice="otp-service doctor")
            self._seen = found
            self._note(place)
            return False
        elif found > place.sequence:  # written through since we asked; or the ledger is an old copy
            place = self._ledger.mirrored.head()
            if found > place.sequence:
                self._shut(place)
        moves, self._seen = found != self._seen and self._known is not None, found
        if found is None or found >= place.sequence or not moves:
            self._follow(place, lambda: self._catch_up(found, place.sequence))
        return found is not None and not self._mirror.is_ahead()

    def wind_up(self) -> None:
        """Give up the mirror that is being built here, if one is: another process goes on."""
        self._ending = True

    def rebuild(self) -> None:
        """Take the ledger for a new one, and mirror it anew: an operator decided to forget what it does not say."""
        old = self._mirror.place(self._ledger.mirrored.head().identity)
        self._ledger.mirrored.disown(old or 0)
        self._mirror.drop()
        self.refresh()

    def write_through(self, pseudonyms: tuple[str, ...], new: int, place: Head) -> None:
        """Mirror the last ``new`` changes of the ledger up to a place, of some numbers.

        They are recorded, whatever this raises: `StoreUnavailableError` or `LedgerUnavailableError` when one does not
        answer, so that they are mirrored later, and nothing is let through here before; `LedgerUnavailableError` also
        when Redis mirrors another ledger, where they are not in force.
        """
        self._follow(place, lambda: self._write(pseudonyms, place.sequence - new, place.sequence))

    def _write(self, pseudonyms: tuple[str, ...], after: int, last: int) -> None:
        for begin in range(0, len(pseudonyms), AT_ONCE):
            changes = self._ledger.mirrored.states(pseudonyms[begin : begin + AT_ONCE])
            complete = begin + AT_ONCE >= len(pseudonyms)
            found = self._reflect(replace(changes, upto=last if complete else after), after)
        if found is None:
            self.refresh()
            if self._seen == FOREIGN:
                raise LedgerUnavailableError("It is recorded, and not in force: Redis mirrors another ledger.")
        else:
            self._catch_up(found, last)

    def _follow(self, place: Head, mirror: Callable[[], None]) -> None:
        """Bring the mirror to a place, and then let nothing through that does not know of it; also where that fails."""
        try:
            mirror()
        finally:
            self._note(place)

    def _catch_up(self, place: int | None, newest: int) -> None:
        while place is not None and place < newest:
            place = self._reflect(self._ledger.mirrored.since(place, AT_ONCE), place)

    def _build(self, identity: str) -> int | None:
        """Write the states of all numbers; return the place that the mirror has come to, ``None`` on another's turn."""
        building = self._mirror.begin(identity)
        if building is None:
            return None
        _log.info("mirror_build_begins", ledger=identity)
        try:
            building.forget()
            begun = self._ledger.mirrored.head()
            same = begun.identity == identity and self._write_all(building, identity)
            finished = same and building.finish(identity, begun.sequence)
        except BaseException:
            with suppress(StoreUnavailableError):
                building.give_up()
            raise
        if not finished:
            building.give_up()
            return None
        return begun.sequence

    def _write_all(self, building: Building, identity: str) -> bool:
        """Write the states of all numbers; tell whether the turn lasted for that, and the ledger is still the same."""
        after, count, lasts = "", 0, True
        while lasts and (changes := self._ledger.mirrored.after(after, AT_ONCE)).numbers:
            self._reflect(changes, 0)
            after, count = changes.numbers[-1].pseudonym, count + len(changes.numbers)
            lasts = changes.identity == identity and not self._ending and building.go_on()
        if lasts:
            _log.info("mirror_built", numbers=Count(count))
        return lasts

    def _reflect(self, changes: Changes, after: int) -> int | None:
        buckets = (self._keyring.bucket(one.pseudonym) for one in changes.numbers)
        return self._mirror.reflect(changes, after, buckets)

    def _note(self, place: Head) -> None:
        """Note how far the ledger has come, never less far than was known."""
        with self._lock:
            known = self._known
            if known is None or known.identity != place.identity or known.sequence < place.sequence:
                self._known = place

    def _shut(self, place: Head) -> None:
        """Let nothing through: the ledger is an old copy, and who said stop since then is not in it."""
        if not self._mirror.is_ahead():
            _log.error("ledger_older_than_mirror", ledger=place.identity, advice="otp-service doctor")
        self._mirror.shut()
