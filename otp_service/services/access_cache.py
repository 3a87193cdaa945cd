"""Who may call: applications and API keys of settings and ledger, in memory.

No request asks the ledger. A snapshot is never changed, but replaced when the ledger has changed; while the ledger is
away the last one stays in force. A process that starts meanwhile takes the copy that others keep in Redis.
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
    """Where it is known from who may call."""

    LEDGER = "ledger"
    COPY = "copy"
    """From the copy in Redis, while the ledger has not answered since the process began."""
    CONFIGURATION = "configuration"
    """From the configuration alone: other keys may be valid."""


LoadApplication = Callable[[str, str], CachedApplication]
"""Reads an application's settings (JSON), given its name; raises `InvalidApplicationError`."""


@dataclass(frozen=True, slots=True)
class AccessSnapshot:
    """What is in force at one moment."""

    applications: Mapping[str, Application]
    """By name."""
    rulesets: Mapping[str, CompiledRuleset]
    """By the name of the application."""
    keys: Mapping[str, ApiKey]
    """By hash (``sha256:…``)."""
    browser_origins: frozenset[str]
    """Those of all applications."""


class AccessCache:
    """The snapshot in force. Safe to be used by several threads."""

    def __init__(
        self,
        members: Mapping[str, CachedApplication],
        keys: Mapping[str, ApiKey],
        access: Access,
        load_application: LoadApplication,
    ) -> None:
        """Take applications, by name, and keys, by hash, of the configuration; those of the ledger come with `refresh`.

        ``load_application`` reads the settings of an application of the ledger.
        """
        self._configured = members
        self._configured_keys = keys
        self._access = access
        self.load_application = load_application
        self.copy: AccessCopy | None = None
        """Where `follow` keeps a copy of the ledger's."""
        self._stored: dict[str, StoredApplication] = {}
        self._loaded: dict[str, CachedApplication] = {}
        self._listing: AccessList | None = None
        self._is_copy = False
        self._lock = threading.Lock()
        self.snapshot = self._new_snapshot({})
        self.rulesets: Mapping[str, CompiledRuleset] = _Rulesets(self)
        """Those in force whenever it is asked."""

    def is_configured(self, name: str) -> bool:
        """Tell whether an application is one of the configuration."""
        return name in self._configured

    def find(self, name: str) -> Application | None:
        """Return an application; one that is new may be in the ledger only, so that is asked before nobody knows it.

        Raises `LedgerUnavailableError` when it cannot be asked.
        """
        if name not in self.snapshot.applications:
            self.refresh()
        return self.snapshot.applications.get(name)

    def refresh(self) -> None:
        """Bring what the ledger knows into force; raise `LedgerUnavailableError`, and leave all as it was."""
        with self._lock:
            listing = self._access.changed_since(self._listing.state if self._listing else "")
            self._is_copy = False
            if listing is not None:
                self._take(listing)

    def follow(self) -> None:
        """As `refresh`, for a process that serves: it keeps the copy, and takes it while it knows nothing else.

        Raises `StoreUnavailableError`, too.
        """
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
        """Where the snapshot is from."""
        if self._listing is None:
            return AccessSource.CONFIGURATION
        return AccessSource.COPY if self._is_copy else AccessSource.LEDGER

    def get(self, name: str) -> Application | None:
        """Return an application; raise `LedgerUnavailableError` for one that may be in the ledger, which was not read.

        Unlike `find` it does not ask.
        """
        application = self.snapshot.applications.get(name)
        if application is None:
            self.require_known()
        return application

    def require_known(self) -> None:
        """Raise `LedgerUnavailableError` while only the configuration is known here."""
        if self._listing is None:
            raise LedgerUnavailableError("The ledger's applications and API keys are not known right now.")

    def _take(self, listing: AccessList) -> None:
        """Bring what is listed into force."""
        self._load_changed(listing)
        before, self.snapshot = self.snapshot, self._new_snapshot({key.hash: key for key in listing.keys})
        begun, self._listing = self._listing is None, listing
        if not begun:
            _log_changes(before, self.snapshot)

    def refresh_if_possible(self) -> None:
        """Bring a change that was just made into force; while the ledger is away, the periodic refresh will."""
        with suppress(LedgerUnavailableError):
            self.refresh()

    def _load_changed(self, listing: AccessList) -> None:
        """Load the applications that are new or changed.

        None is ever lost: calls and messages of its verifications may be under way.
        """
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

    def _new_snapshot(self, keys: Mapping[str, ApiKey]) -> AccessSnapshot:
        """Return a snapshot: the configuration outweighs the ledger; a key without application is left out."""
        members = {**self._loaded, **self._configured}
        everybody = {NO_APPLICATION, *members}
        return AccessSnapshot(
            applications={name: member.application for name, member in members.items()},
            rulesets={name: member.ruleset for name, member in members.items()},
            keys={name: key for name, key in {**keys, **self._configured_keys}.items() if key.application in everybody},
            browser_origins=frozenset().union(*(member.application.browser_origins for member in members.values())),
        )


class _Rulesets(Mapping[str, CompiledRuleset]):
    """The rulesets in force whenever they are looked up."""

    def __init__(self, access_cache: AccessCache) -> None:
        self._access_cache = access_cache

    def __getitem__(self, name: str) -> CompiledRuleset:
        return self._access_cache.snapshot.rulesets[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._access_cache.snapshot.rulesets)

    def __len__(self) -> int:
        return len(self._access_cache.snapshot.rulesets)


def _log_changes(before: AccessSnapshot, now: AccessSnapshot) -> None:
    """Log what has come into force; keys by their ids."""
    old, new = ({key.id: key for key in entries.keys.values() if key.id} for entries in (before, now))
    _log.info(
        "access_changed",
        applications=sorted(name for name, one in now.applications.items() if before.applications.get(name) != one),
        keys_added=sorted(new.keys() - old.keys()),
        keys_changed=sorted(name for name in new.keys() & old.keys() if new[name].expires != old[name].expires),
        keys_gone=sorted(old.keys() - new.keys()),
    )


USE_RESOLUTION = 60_000
"""Milliseconds: how exactly the last use of a key is known."""


class KeyUsage:
    """When keys were last used here, until that is in the ledger. Safe to be used by several threads."""

    def __init__(self, api_keys: ApiKeys) -> None:
        self._api_keys = api_keys
        self._seen: dict[str, int] = {}
        self._unwritten: dict[str, int] = {}
        self._lock = threading.Lock()

    def note(self, key_id: str, now: int) -> None:
        """Note that a key is used ``now`` (milliseconds since the epoch); once a minute that is news."""
        minute = now - now % USE_RESOLUTION
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
