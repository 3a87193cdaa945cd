"""Restores of the ledger in any order, and at any moment: ``make storm-restores``. Some minutes.

Each order is a random sequence of what operators, applications and accidents do: copy the ledger, say stop, withdraw,
freeze, and take that back, restore a copy while processes run (also between a commit and the mirror) or are stopped,
import, rebuild, empty Redis, restart. After each step every number is started in every process. None may be accepted
that the last acknowledged word forbids, unless an operator decided so after ``doctor`` had failed and starts were
closed. Ends with 1 when one was.
"""

import argparse
import contextlib
import random
import shutil
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support_installation import key, tree
from support_ledger import make_ledger
from support_postgres import PostgresServer
from support_valkey import ValkeyServer

from otp_service import bootstrap
from otp_service.bootstrap import Installation
from otp_service.cli.checks import Level
from otp_service.cli.doctor import mirror_diagnosis
from otp_service.domain.consents import (
    EVERY_APPLICATION,
    ConsentEvidence,
    Suppression,
    SuppressionScope,
    SuppressionSource,
)
from otp_service.domain.guard import GUARD_RULES
from otp_service.domain.numbers import parse_destination, subject_key
from otp_service.errors import (
    ConsentRequiredError,
    FrozenError,
    LedgerUnavailableError,
    OtpServiceError,
    StoreUnavailableError,
    SuppressedError,
)
from otp_service.services.consents import add_suppressions, end_consent, give_consent, import_suppressions
from otp_service.services.mirror import MISMATCHES
from otp_service.services.start import StartRequest, start
from otp_service.services.subjects import freeze, unfreeze
from otp_service.settings import settings_from

NUMBERS = tuple(f"+92300123450{digit}" for digit in range(5))
STEPS = 25
PROCESSES = 2
Word = dict[str, bool | None]
"""Whether the last acknowledged word forbids, by what it was about; ``None`` where nobody was answered."""


class Sqlite:
    """A ledger in a file."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._file = folder, folder / "ledger.db"
        self.url = f"sqlite:///{self._file}"
        make_ledger(self.url)

    def copy(self, name: str) -> None:
        """Make a copy beside the running processes."""
        self._over(self._file, self._folder / name)

    def restore_hot(self, name: str) -> None:
        """Put a copy in place under running processes."""
        self._over(self._folder / name, self._file)

    def restore_cold(self, name: str) -> None:
        """Put a copy in place while no process runs."""
        for path in self._folder.glob("ledger.db*"):
            path.unlink()
        shutil.copy(self._folder / name, self._file)

    @staticmethod
    def _over(source: Path, target: Path) -> None:
        with contextlib.closing(sqlite3.connect(source)) as old, contextlib.closing(sqlite3.connect(target)) as new:
            old.backup(new)


class Postgresql:
    """A ledger in a database, restored as docs/backup-and-restore.md says: beside the old one, then renamed."""

    def __init__(self, server: PostgresServer) -> None:
        self._server, self._name = server, server.create()
        self.url = server.url(self._name)
        make_ledger(self.url)
        self._copies: dict[str, str] = {}

    def copy(self, name: str) -> None:
        """Make a copy; who is connected is sent away for a moment."""
        with self._server.alone(self._name):
            self._copies[name] = self._server.create(self._name)

    def restore_hot(self, name: str) -> None:
        """Put a copy in place under running processes."""
        self._server.replace(self._name, self._server.create(self._copies[name]))

    restore_cold = restore_hot


@dataclass
class Order:
    """One random order, as far as it has come."""

    ledger: Sqlite | Postgresql
    redis: ValkeyServer
    chance: random.Random
    keys: dict[str, str] = field(default_factory=lambda: {"root": f"k1:{key()}", "pseudonym": key()})
    processes: list[Installation] = field(default_factory=list)
    words: dict[str, Word] = field(default_factory=lambda: {one: {} for one in NUMBERS})
    copies: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def run(self) -> None:
        """Do what an order does, and settle after each step."""
        self.redis.client.flushall()
        self.restart()
        steps: list[Callable[[], None]] = [
            self.copy, self.restore_hot, self.restore_cold, self.restore_within, self.flush, *[self.rebuild] * 3,
            self.restart, self.look, self.import_some, self.write_without_redis, *[self.say] * 9,
        ]  # fmt: skip
        for _ in range(STEPS):
            step = self.chance.choice(steps)
            self.done.append(step.__name__)
            step()
            self._settle()
        for one in self.processes:
            one.close()

    # --- what operators and accidents do

    def copy(self) -> None:
        """Copy the ledger."""
        self.copies.append(f"copy-{len(self.copies)}")
        self.ledger.copy(self.copies[-1])

    def restore_hot(self) -> None:
        """Restore a copy under the processes; perhaps much is said, or Redis emptied, before anybody looks."""
        if self.copies:
            self.ledger.restore_hot(self.chance.choice(self.copies))
        for step in self.chance.sample([*[self.say] * 4, self.import_some, self.flush], self.chance.randint(0, 4)):
            step()

    def restore_cold(self) -> None:
        """Stop all, restore a copy, perhaps import or empty Redis, and start."""
        for one in self.processes:
            one.close()
        self.processes.clear()
        if self.copies:
            self.ledger.restore_cold(self.chance.choice(self.copies))
        operator = self._installed(prepared=False)
        for step in self.chance.sample([self.flush, lambda: self.import_some(operator)], self.chance.randint(0, 2)):
            step()
        operator.close()
        self.restart()

    def restore_within(self) -> None:
        """Restore a copy between the commit of a word and its way into the mirror."""
        one = self._process()
        mirror_sync = one.context.mirror_sync
        follow = mirror_sync.write_through

        def restored(place: Any, pseudonyms: Any) -> None:
            self.restore_hot()
            follow(place, pseudonyms)

        mirror_sync.write_through = restored  # type: ignore[method-assign]
        self.say(one)
        del mirror_sync.write_through

    def flush(self) -> None:
        """Empty Redis."""
        self.redis.client.flushall()

    def rebuild(self) -> None:
        """Decide: go by the ledger alone."""
        one = self._installed(prepared=False)
        told = self._doctor_fails(one)
        one.context.mirror_sync.rebuild()
        if told:
            self.words = {number: self._of_ledger(one, number) for number in NUMBERS}
        one.close()

    def restart(self) -> None:
        """Start all processes anew."""
        for one in self.processes:
            one.close()
        self.processes = [self._installed() for _ in range(PROCESSES)]

    def look(self) -> None:
        """Let a process have its look at the ledger, as each does once a second."""
        with contextlib.suppress(LedgerUnavailableError):
            self._process().context.mirror_sync.refresh()

    def import_some(self, operator: Installation | None = None) -> None:
        """Import a list of stops."""
        lines = self.chance.sample(NUMBERS, 2)
        entry = Suppression("", "shop", SuppressionScope.ALL, SuppressionSource.IMPORT)

        def write(installation: Installation) -> None:
            for _ in import_suppressions(installation.context, lines, entry, None, "operator"):
                pass

        self._say(operator or self._process(), lines, "stop", write, forbids=True)

    def write_without_redis(self) -> None:
        """Say something while Redis does not answer."""
        one = self._process()
        mirror = one.context.store.mirror

        def silent() -> None:
            raise StoreUnavailableError("away")

        mirror.head = silent  # type: ignore[method-assign, assignment]
        self.say(one)
        del mirror.head

    # --- what people say

    def say(self, installation: Installation | None = None) -> None:
        """Let somebody say something, through any process."""
        one, number = installation or self._process(), self.chance.choice(NUMBERS)
        to = subject_key(one.context.keyring, parse_destination(number, None))
        shop = one.context.applications["shop"]
        evidence = ConsentEvidence("v1", "0" * 64, "en", "web", time.time_ns() // 1_000_000, "checkout")
        about, forbids, write = self.chance.choice([
            ("stop", True, lambda it: add_suppressions(it.context, [_stop(to.pseudonym)])),
            ("stop", False, lambda it: add_suppressions(it.context, [_stop(to.pseudonym, lifted=True)])),
            ("consent", True, lambda it: end_consent(it.context, shop, to, "login")),
            ("consent", False, lambda it: give_consent(it.context, shop, to, "login", evidence)),
            ("freeze", True, lambda it: freeze(it.context, to, EVERY_APPLICATION, SuppressionSource.OPERATOR)),
            ("freeze", False, lambda it: unfreeze(it.context, to, EVERY_APPLICATION, SuppressionSource.OPERATOR)),
        ])  # fmt: skip
        self._say(one, [number], about, write, forbids=forbids)

    def _say(
        self, one: Installation, numbers: list[str], about: str, write: Callable[[Installation], Any], *, forbids: bool
    ) -> None:
        said: bool | None = forbids
        try:
            write(one)
        except OtpServiceError:
            said = None  # it may be recorded, and may not
        for number in numbers:
            known = self.words[number].get(about)
            self.words[number][about] = said if said is not None or known is not True else None
        self.counts["acknowledged" if said is not None else "not acknowledged"] += 1

    # --- the books

    def _settle(self) -> None:
        """Start every number in every process; note what was accepted and must not be."""
        for place, one in enumerate(self.processes):
            for number in NUMBERS:
                accepted = self._accepted(one, number)
                self.counts[accepted] += 1
                if accepted == "accepted" and any(self.words[number].values()):
                    self.wrong.append(f"{number} in process {place} after {' '.join(self.done)}")
        for one in self.processes:
            closed = one.context.mirror_sync.state in MISMATCHES
            self.counts["closed"] += closed
            if closed and not self._doctor_fails(one):
                with contextlib.suppress(LedgerUnavailableError):
                    one.context.mirror_sync.refresh()  # it has not looked since an operator decided
                if one.context.mirror_sync.state in MISMATCHES and not self._doctor_fails(one):
                    self.wrong.append(f"closed, and doctor is content, after {' '.join(self.done)}")

    @staticmethod
    def _accepted(one: Installation, number: str) -> str:
        try:
            start(one.context, one.context.applications["shop"], StartRequest(number))
        except (SuppressedError, FrozenError, ConsentRequiredError):
            return "refused"
        except (LedgerUnavailableError, StoreUnavailableError):
            return "closed"
        return "accepted"

    @staticmethod
    def _doctor_fails(one: Installation) -> bool:
        return mirror_diagnosis(one.context).level is Level.FAIL

    @staticmethod
    def _of_ledger(one: Installation, number: str) -> Word:
        ledger, pseudonym = one.context.ledger, one.context.keyring.pseudonym(number)
        consents = ledger.consents.of(pseudonym, "shop", "login")
        return {
            "stop": bool(ledger.suppressions.in_force(pseudonym, "shop", SuppressionScope.ALL)),
            "freeze": bool(ledger.suppressions.in_force(pseudonym, EVERY_APPLICATION, SuppressionScope.FROZEN)),
            "consent": bool(consents and consents[-1].withdrawn),
        }

    def _process(self) -> Installation:
        return self.chance.choice(self.processes)

    def _installed(self, *, prepared: bool = True) -> Installation:
        sections = tree(
            self.redis.url,
            keys=self.keys,
            ledger={"url": self.ledger.url, "rebuild_lost_mirror": False},
            applications={"shop": {"consent": "recorded", "client_ip": "none", "countries": ["PK"]}},
            guard={"modes": dict.fromkeys(GUARD_RULES, "off")},
        )
        sections["applications"]["shop"].update(purposes=["login"], region="PK")
        made = bootstrap.install(settings_from(sections))
        if prepared:
            bootstrap.prepare(made)
        return made


def _stop(pseudonym: str, *, lifted: bool = False) -> Suppression:
    return Suppression(pseudonym, "shop", SuppressionScope.ALL, SuppressionSource.API, lifted=lifted)


def orders(kind: str, count: int, seed: int, folder: Path) -> Iterator[Order]:
    """Run orders on one kind of database; yield each when it is done."""
    with contextlib.ExitStack() as stack:
        valkey = ValkeyServer(folder)
        stack.callback(valkey.stop)
        postgres = PostgresServer() if kind == "postgresql" else None
        if postgres:
            stack.callback(postgres.stop)
        for number in range(count):
            own = folder / f"order-{number}"
            own.mkdir()
            ledger = Postgresql(postgres) if postgres else Sqlite(own)
            order = Order(ledger, valkey, random.Random(f"{seed} {number}"))
            order.run()
            yield order


def main() -> None:
    """Run the storm; tell what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), action="append")
    parser.add_argument("--orders", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    wrong = 0
    for kind in options.database or ("sqlite", "postgresql"):
        counts, failed, begun = Counter[str](), 0, time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            for order in orders(kind, options.orders, options.seed, Path(folder)):
                counts += order.counts
                failed += bool(order.wrong)
                for sentence in order.wrong[:3]:
                    print(f"  {sentence}")
        wrong += failed
        print(
            f"{kind}: {options.orders} orders of {STEPS} steps, seed {options.seed}, {time.monotonic() - begun:.0f} s."
        )
        print(f"  words: {counts['acknowledged']} acknowledged, {counts['not acknowledged']} not;", end=" ")
        print(f"starts: {counts['accepted']} accepted, {counts['refused']} refused, {counts['closed']} closed.")
        print(f"  orders with a start that must not be: {failed}")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
