"""When keys were used last: noted in memory by whoever serves a call, and written by the watch, many at once."""

import threading
from collections.abc import Mapping

from otp_service.errors import LedgerUnavailableError
from otp_service.ledger.access import ApiKeys

MINUTE = 60_000
"""Milliseconds: as exactly as the last use is known."""


class KeyUses:
    """The uses that one process has seen. Safe to be used by several threads."""

    def __init__(self, api_keys: ApiKeys) -> None:
        self._api_keys = api_keys
        self._seen: dict[str, int] = {}
        self._unwritten: dict[str, int] = {}
        self._lock = threading.Lock()

    def note(self, key_id: str, now: int) -> None:
        """Note that a key is used ``now`` (milliseconds since the epoch); once a minute that is news."""
        minute = now - now % MINUTE
        if self._seen.get(key_id) == minute:
            return
        with self._lock:
            self._seen[key_id] = self._unwritten[key_id] = minute

    def write(self) -> None:
        """Write what was noted into the ledger; raise `LedgerUnavailableError`, and keep it for the next time."""
        with self._lock:
            taken, self._unwritten = self._unwritten, {}
        try:
            self._api_keys.note_uses(taken)
        except LedgerUnavailableError:
            self._put_back(taken)
            raise

    def _put_back(self, taken: Mapping[str, int]) -> None:
        with self._lock:
            self._unwritten = {**taken, **self._unwritten}
