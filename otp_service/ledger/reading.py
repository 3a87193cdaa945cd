"""What readers ask: a replica of the ledger answers, where there is one that lacks nothing, else the primary."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeVar

from sqlalchemy import Connection, text

from otp_service.errors import LedgerUnavailableError
from otp_service.ledger.database import Database

Answer = TypeVar("Answer")

_PATIENCE: Final = 0.25
"""Seconds that a question waits for a replica to catch up with the primary."""
_PAUSE: Final = 0.02
"""Seconds between two looks at it."""
_REST: Final = 10.0
"""Seconds for which a replica that did not serve is not asked again."""


class ReplicaState(StrEnum):
    """Whether a replica answers readers."""

    OK = "ok"
    BEHIND = "behind"
    AWAY = "away"
    FOREIGN = "foreign"
    """Another ledger is there."""
    WRITABLE = "writable"
    """A server that takes writes: no replica, or not one any more."""


@dataclass(frozen=True, slots=True)
class ReplicaStatus:
    """How far a replica has come."""

    state: ReplicaState
    lag: int = 0
    """Bytes of the primary's log that it lacks."""
    seconds: float = 0.0
    """For how long it has lacked them."""

    @property
    def is_fit(self) -> bool:
        """Whether it serves, or is about to."""
        return self.state is ReplicaState.OK or (self.state is ReplicaState.BEHIND and self.seconds <= _REST)


class Reading:
    """Asks a replica or the primary. Raises `LedgerUnavailableError` when neither can serve."""

    def __init__(
        self,
        primary: Database,
        replica: Database | None = None,
        most_behind: float = 0.0,
        on_rest: Callable[[ReplicaState], None] = lambda _: None,
    ) -> None:
        """``most_behind``: seconds for which it may lack something; ``on_rest`` is told why it is not asked."""
        self._primary = primary
        self._replica = replica
        self._most_behind = most_behind
        self._on_rest = on_rest
        self._rests_until = 0.0

    def ask(self, question: Callable[[Connection], Answer], *, whole: bool = False) -> Answer:
        """Return what a question finds; ``whole``: whether nothing that is recorded may be missing.

        Where the primary is away the replica answers what need not be whole: meanwhile nothing is recorded.
        """
        if self._replica is not None and self._may_answer(self._replica, whole=whole):
            try:
                with self._replica.read() as connection:
                    return question(connection)
            except LedgerUnavailableError:
                self._rest(ReplicaState.AWAY)
        with self._primary.read() as connection:
            return question(connection)

    def inspect(self) -> ReplicaStatus | None:
        """Return how far the replica has come, ``None`` where there is none; raises where the primary is away."""
        if self._replica is None:
            return None
        written = _written(self._primary)
        try:
            return _status(self._replica, written)
        except LedgerUnavailableError:
            return ReplicaStatus(ReplicaState.AWAY)

    def close(self) -> None:
        """Close the connections to the replica that are not in use."""
        if self._replica is not None:
            self._replica.close()

    def _may_answer(self, replica: Database, *, whole: bool) -> bool:
        """Tell whether a replica has what the primary has by now, and wait a moment for that."""
        if time.monotonic() < self._rests_until:
            return False
        try:
            written = _written(self._primary)
        except LedgerUnavailableError:
            if whole:
                raise
            written = None
        try:
            status = _catch_up(replica, written, 0.0 if whole else self._most_behind)
        except LedgerUnavailableError:
            status = ReplicaStatus(ReplicaState.AWAY)
        if status.state is not ReplicaState.OK:
            self._rest(status.state)
        return status.state is ReplicaState.OK

    def _rest(self, why: ReplicaState) -> None:
        self._rests_until = time.monotonic() + _REST
        self._on_rest(why)


_Written = tuple[str, int]
"""The name of a ledger, and where the log of its server ends."""


def _written(primary: Database) -> _Written:
    with primary.read() as connection:
        row = connection.execute(_WRITTEN).one()
    return row.identity, int(row.place)


def _catch_up(replica: Database, written: _Written | None, most_behind: float) -> ReplicaStatus:
    """Return how a replica is, which has a moment to catch up, but for what may be missing."""
    end = time.monotonic() + _PATIENCE
    while (status := _status(replica, written)).state is ReplicaState.BEHIND and time.monotonic() < end:
        if status.seconds <= most_behind:
            return ReplicaStatus(ReplicaState.OK)
        time.sleep(_PAUSE)
    return status


def _status(replica: Database, written: _Written | None) -> ReplicaStatus:
    """Return how far a replica has come, of what the primary had ``written``; ``None``: nobody knows."""
    with replica.read() as connection:
        row = connection.execute(_REPLAYED).one()
    identity, place = written or (row.identity, 0)
    if identity != row.identity:
        return ReplicaStatus(ReplicaState.FOREIGN)
    if row.place is None:
        return ReplicaStatus(ReplicaState.WRITABLE)
    lag = max(0, place - int(row.place))
    return ReplicaStatus(ReplicaState.BEHIND, lag, float(row.seconds)) if lag else ReplicaStatus(ReplicaState.OK)


_WRITTEN: Final = text("SELECT identity, pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0') AS place FROM head")
_REPLAYED: Final = text(
    "SELECT identity, "
    "CASE WHEN pg_is_in_recovery() THEN pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0') END AS place, "
    "EXTRACT(epoch FROM clock_timestamp() - coalesce(pg_last_xact_replay_timestamp(), 'epoch')) AS seconds FROM head"
)
"""A log's place is bytes. It is asked before the question, whose transaction then sees no less."""
