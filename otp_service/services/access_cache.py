"""Applications and API keys of settings and ledger, in memory.

No request reads the ledger. A snapshot is replaced when the ledger has changed; while the ledger is away the last
snapshot stays in force. A process that starts meanwhile takes the copy that others keep in Redis.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum

from otp_service.domain.applications import NO_APPLICATION, ApiKey, Application
from otp_service.errors import LedgerUnavailableError
from otp_service.ledger.access import Access, AccessList, ApiKeys, StoredApplication
from otp_service.store.access import AccessCopy
from otp_service.store.rulesets import CompiledRuleset
from otp_service.telemetry.logging import get_logger

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class CachedApplication:
    """An application and its rules."""

    application: Application
    ruleset: CompiledRuleset


class AccessSource(StrEnum):
    """The source of the snapshot in force."""

    LEDGER = "ledger"
    COPY = "copy"
    """From the copy in Redis, while the ledger has not answered since the process began."""
    CONFIGURATION = "configuration"
    """From the configuration alone: other keys may be valid."""


LoadApplication = Callable[[str, str], CachedApplication]
"""Reads the settings (JSON) of a named application; raises `InvalidApplicationError`."""


@dataclass(frozen=True, slots=True)
class AccessSnapshot:
    """Applications and keys in force at a moment."""

    applications: Mapping[str, Application]
    rulesets: Mapping[str, CompiledRuleset]
    keys: Mapping[str, ApiKey]
    """By hash (``sha256:…``)."""
    browser_origins: frozenset[str]


class AccessCache:
    """The snapshot in force. Thread-safe."""

    def __init__(
        self,
        members: Mapping[str, CachedApplication],
        keys: Mapping[str, ApiKey],
        access: Access,
        load_application: LoadApplication,
    ) -> None:
        """Take the configured applications, by name, and keys, by hash; those of the ledger come with `refresh`."""
        self._configured = members
        self._configured_keys = keys
        self._access = access
        self.load_application = load_application
        self.copy: AccessCopy | None = None
        """Where `follow` stores a copy of the ledger's list."""
        self._stored: dict[str, StoredApplication] = {}
        self._loaded: dict[str, CachedApplication] = {}
        self._listing: AccessList | None = None
        self._is_copy = False
        self._lock = threading.Lock()
        self.snapshot = self._new_snapshot({})
        self.rulesets: Mapping[str, CompiledRuleset] = _Rulesets(self)
        """The rulesets in force at each look-up."""

    def is_configured(self, name: str) -> bool:
        return name in self._configured

    def find(self, name: str) -> Application | None:
        """Return an application, after a `refresh` for an unknown name."""
        if name not in self.snapshot.applications:
            self.refresh()
        return self.snapshot.applications.get(name)

    def refresh(self) -> None:
        """Bring the ledger's list into force, or raise `LedgerUnavailableError` and change nothing."""
        with self._lock:
            listing = self._access.changed_since(self._listing.state if self._listing else "")
            self._is_copy = False
            if listing is not None:
                self._take(listing)

    def follow(self) -> None:
        """As `refresh`, for a serving process: it writes the copy, and reads it while the ledger was never read."""
        try:
            self.refresh()
        except LedgerUnavailableError:
            if self._listing is None and self.copy and (text := self.copy.read()):
                with self._lock:
                    self._take(AccessList.from_json(text))
                    self._is_copy = True
            raise
        if self.copy and self._listing:
            self.copy.keep(self._listing.state, self._listing.to_json())

    @property
    def source(self) -> AccessSource:
        if self._listing is None:
            return AccessSource.CONFIGURATION
        return AccessSource.COPY if self._is_copy else AccessSource.LEDGER

    def get(self, name: str) -> Application | None:
        """As `find`, without a refresh: `LedgerUnavailableError` for an unknown name if the ledger was never read."""
        application = self.snapshot.applications.get(name)
        if application is None:
            self.require_known()
        return application

    def require_known(self) -> None:
        """Raise `LedgerUnavailableError` while only the configuration is known."""
        if self._listing is None:
            raise LedgerUnavailableError("The ledger's applications and API keys are not known right now.")

    def _take(self, listing: AccessList) -> None:
        """Bring a list into force. No application is ever dropped: its verifications may be under way."""
        for stored in listing.applications:
            if self._stored.get(stored.name) == stored:
                continue
            self._stored[stored.name] = stored
            if self.is_configured(stored.name):
                _log.warning("application_is_configured_too", application=stored.name)
                continue
            try:
                self._loaded[stored.name] = self.load_application(stored.name, stored.settings)
            except Exception as unusable:  # noqa: BLE001 - whatever it is, it must not keep a revoked key in force
                _log.error("application_unusable", application=stored.name, fault=str(unusable))
        before, self.snapshot = self.snapshot, self._new_snapshot({key.hash: key for key in listing.keys})
        is_first, self._listing = self._listing is None, listing
        if not is_first:
            _log_changes(before, self.snapshot)

    def refresh_if_possible(self) -> None:
        """Bring a recent change into force; while the ledger is away, the periodic refresh will."""
        with suppress(LedgerUnavailableError):
            self.refresh()

    def _new_snapshot(self, keys: Mapping[str, ApiKey]) -> AccessSnapshot:
        """Return a snapshot: the configuration outweighs the ledger; a key without application is left out."""
        members = {**self._loaded, **self._configured}
        owners = {NO_APPLICATION, *members}
        return AccessSnapshot(
            applications={name: member.application for name, member in members.items()},
            rulesets={name: member.ruleset for name, member in members.items()},
            keys={name: key for name, key in {**keys, **self._configured_keys}.items() if key.application in owners},
            browser_origins=frozenset().union(*(member.application.browser_origins for member in members.values())),
        )


class _Rulesets(Mapping[str, CompiledRuleset]):
    def __init__(self, access_cache: AccessCache) -> None:
        self._access_cache = access_cache

    def __getitem__(self, name: str) -> CompiledRuleset:
        return self._access_cache.snapshot.rulesets[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._access_cache.snapshot.rulesets)

    def __len__(self) -> int:
        return len(self._access_cache.snapshot.rulesets)


def _log_changes(before: AccessSnapshot, now: AccessSnapshot) -> None:
    old, new = ({key.id: key for key in entries.keys.values() if key.id} for entries in (before, now))
    _log.info(
        "access_changed",
        applications=sorted(name for name, entry in now.applications.items() if before.applications.get(name) != entry),
        keys_added=sorted(new.keys() - old.keys()),
        keys_changed=sorted(name for name in new.keys() & old.keys() if new[name].expires != old[name].expires),
        keys_gone=sorted(old.keys() - new.keys()),
    )


USE_RESOLUTION = 60_000
"""Precision of the last use of a key, in milliseconds."""


class KeyUsage:
    """Last uses of keys that are not in the ledger yet. Thread-safe."""

    def __init__(self, api_keys: ApiKeys) -> None:
        self._api_keys = api_keys
        self._seen: dict[str, int] = {}
        self._unwritten: dict[str, int] = {}
        self._lock = threading.Lock()

    def note(self, key_id: str, now: int) -> None:
        """Note the use of a key ``now`` (milliseconds since the epoch), at most once a minute."""
        minute = now - now % USE_RESOLUTION
        if self._seen.get(key_id) == minute:
            return
        with self._lock:
            self._seen[key_id] = self._unwritten[key_id] = minute

    def write(self) -> None:
        """Write the uses into the ledger, or raise `LedgerUnavailableError` and keep them for the next time."""
        with self._lock:
            taken, self._unwritten = self._unwritten, {}
        try:
            self._api_keys.note_uses(taken)
        except LedgerUnavailableError:
            with self._lock:
                self._unwritten = {**taken, **self._unwritten}
            raise
