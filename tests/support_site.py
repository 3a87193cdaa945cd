"""An installation over a Valkey and a ledger of a test's own, which come, go and are restored from copies."""

import contextlib
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support_api import Api
from support_installation import World, key, tree
from support_valkey import ValkeyServer

from otp_service.bootstrap import Installation, install, open_installation
from otp_service.errors import LedgerUnavailableError
from otp_service.services.health import readiness
from otp_service.settings import settings_from

FILE = ("--appendonly", "yes", "--appendfsync", "always")


@dataclass
class Site:
    """A Valkey of the test's own, and a ledger that comes and goes with its folder."""

    valkey: ValkeyServer
    folder: Path
    opened: contextlib.ExitStack
    keys: dict[str, str] = field(default_factory=lambda: {"root": f"k1:{key()}", "pseudonym": key()})

    def settings(self, **ledger: Any) -> dict[str, Any]:
        url = f"sqlite:///{self.folder / 'ledger.db'}"
        return tree(self.valkey.url, keys=self.keys, ledger={"url": url, "timeout": 0.5, **ledger})

    def open(self, *, waits: bool = True, **ledger: Any) -> Installation:
        """Open an installation as a process does."""
        installation = open_installation(settings_from(self.settings(**ledger)), waits_for_ledger=waits)
        self.opened.callback(installation.close)
        return installation

    def wire(self) -> Installation:
        """Return an installation as a command has it, which is not prepared."""
        installation = install(settings_from(self.settings()))
        self.opened.callback(installation.close)
        return installation

    def take_ledger_away(self) -> None:
        """Put a file where its folder is: nothing can be opened or made there."""
        self.folder.rename(self.folder.with_suffix(".away"))
        self.folder.touch()

    def bring_ledger_back(self) -> None:
        self.folder.unlink()
        self.folder.with_suffix(".away").rename(self.folder)

    def restart_valkey(self) -> None:
        self.valkey.stop()
        self.valkey.start()

    def copy(self) -> None:
        """Copy Redis, then the ledger, as docs/backup-and-restore.md says."""
        self.valkey.client.save()
        shutil.copy(self.valkey.folder / "dump.rdb", self.valkey.folder / "copy.rdb")
        with _database(self.folder / "ledger.db") as old, _database(self.valkey.folder / "copy.db") as new:
            old.backup(new)

    def restore_valkey(self) -> None:
        """Put the copy of Redis in its place."""
        self.valkey.stop()
        shutil.rmtree(self.valkey.folder / "appendonlydir", ignore_errors=True)
        shutil.copy(self.valkey.folder / "copy.rdb", self.valkey.folder / "dump.rdb")
        self.valkey._options = ("--appendonly", "no")
        self.valkey.start()

    def restore_ledger(self) -> None:
        """Put the copy of the ledger in its place, under those that have it open."""
        with _database(self.valkey.folder / "copy.db") as old, _database(self.folder / "ledger.db") as new:
            old.backup(new)


class Opened(World):
    """A world whose installation is there already."""

    def __init__(self, installation: Installation) -> None:
        super().__init__(installation.client, "", lambda _: None)
        object.__setattr__(self, "made", installation)

    def install(self, **_: Any) -> Installation:
        return self.made  # type: ignore[attr-defined, no-any-return]


def api(installation: Installation, **options: Any) -> Api:
    return Api(Opened(installation), **options)


def follow(installation: Installation) -> None:
    """Look once as the duties of a process do, whatever is away."""
    for look in (installation.context.access_cache.follow, installation.context.mirror_sync.refresh):
        with contextlib.suppress(LedgerUnavailableError):
            look()


def told(installation: Installation) -> dict[str, object]:
    details = readiness(installation.context).details
    return {name: details[name] for name in ("ledger", "access", "starts")}


@contextlib.contextmanager
def new_site(folder: Path) -> Iterator[Site]:
    """Yield a site in a folder."""
    valkey = ValkeyServer(folder, options=FILE)
    (folder / "ledger").mkdir()
    with contextlib.ExitStack() as opened:
        yield Site(valkey, folder / "ledger", opened)
    valkey.stop()


@contextlib.contextmanager
def _database(file: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(file)) as opened:
        yield opened
