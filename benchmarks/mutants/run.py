"""Put every defect into the scripts, one at a time, and see whether the tests notice: ``make mutants``.

The tests are collected once. Each defect is put into a fork of that process, which runs them until the first one fails:
the one that noticed it the last time (``noticed.json``, which is kept up), then those that are about its subject, that
noticed a defect of the same script, or that call it.

Prints a table; ends with 1 when a defect survives, when one does not fit the scripts as they are now, or when the tests
fail without any.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, settings
from mutants import LIKELY, MUTANTS, faults

from otp_service.store import library
from otp_service.store.script_runner import ScriptCall, ScriptRunner
from otp_service.store.signatures.signature import Signature

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.append(str(ROOT / "tests"))

import support_ledger  # noqa: E402 - from there
import support_memory  # noqa: E402

TESTS = (
    *("tests/store", "tests/services", "tests/model", "tests/api/test_human_check.py"),
    *("tests/api/test_factors.py", "tests/api/test_factor_policy.py", "tests/api/test_proofs.py"),
    *("tests/api/test_evidence.py", "tests/api/test_factor_retries.py"),
)
APART = ("tests/store/test_scripts.py", "tests/store/test_connection.py", "tests/store/test_signatures.py")
"""How a server fails, how it is spoken to, and the check of names, which is off here."""
CHOICE = "not real_time and not every_code and not Flask"
"""What is slow, or is done twice."""
NOTICED = Path(__file__).with_name("noticed.json")
"""The test that noticed each defect the last time."""
PATIENCE = 1800
"""Seconds for all of them, where nothing else is said."""
FORK = get_context("fork")
Ran = tuple[int, float, str, frozenset[str]]
"""Of a test: its place in the list of all, the seconds it took, how it failed, if it did, and the scripts it called."""
Act = Callable[..., None]
"""What a fork does, told where to send what it `Ran`, a list."""
Task = tuple[str, Act, tuple[Any, ...]]
"""What a fork is about, what it does, and with what."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the tests said of one defect: the first that failed, as its place in the list of all, if any did."""

    name: str
    noticed_by: int | None
    all_ran: bool
    """All that call the script, or one that it is a part of."""
    seconds: float

    @property
    def noticed(self) -> bool:
        """Whether a test failed."""
        return self.noticed_by is not None


@dataclass(eq=False, slots=True)
class Mutation:
    """A plugin of pytest that puts defects in instead of running the tests once."""

    names: Sequence[str]
    patience: int
    outcomes: list[Outcome] = field(default_factory=list)
    failing: list[str] = field(default_factory=list)
    _seconds: dict[int, float] = field(default_factory=dict)
    _called: dict[int, frozenset[str]] = field(default_factory=dict)
    _noticed: dict[str, set[int]] = field(default_factory=dict)
    _known: dict[str, str] = field(default_factory=lambda: json.loads(NOTICED.read_text()))
    _failure: str = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember how a test failed."""
        if report.failed:
            self._failure = report.longreprtext or report.nodeid

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run all tests without a defect, then as many as are needed with each.

        Those that noticed one run once more without: what else changed meanwhile would be taken for the defects.
        """
        self._measure(session, range(len(session.items)))
        if not self.failing:
            for outcome in self._put_in(session):
                self.outcomes.append(outcome)
                _report(outcome, session.items)
            self._measure(session, sorted(set().union(*self._noticed.values())))
        return True

    def _measure(self, session: pytest.Session, places: Sequence[int]) -> None:
        """See how long each of these tests takes, which scripts it calls, and that none fails twice.

        Those of fail-overs may be late where the host is busy.
        """
        if failed := self._failures(session, places):
            self.failing += self._failures(session, sorted(failed)).values()

    def _failures(self, session: pytest.Session, places: Sequence[int]) -> dict[int, str]:
        """Run these tests; return how each failed that did, by its place."""
        failures = dict[int, str]()
        share = os.cpu_count() or 1
        files = list(dict.fromkeys(item.path for item in session.items))
        parts = [
            [place for place in places if files.index(session.items[place].path) % share == part]
            for part in range(share)
        ]
        ran = 0
        tasks = ((str(part), self._run, (session, None, parts[part])) for part in range(share))
        for _, told in _in_forks(tasks, PATIENCE):
            ran += len(told)
            for place, seconds, failure, called in told:
                self._seconds[place], self._called[place] = seconds, called
                if failure:
                    failures[place] = f"{session.items[place].nodeid}\n{failure}"
        if ran < len(places):
            self.failing.append("a process that ended early")
        return failures

    def _put_in(self, session: pytest.Session) -> Iterator[Outcome]:
        began: dict[str, float] = {}
        orders: dict[str, list[int]] = {}

        def tasks() -> Iterator[Task]:
            for name in self.names:
                began[name] = time.monotonic()
                orders[name] = self._order(name, session.items)
                yield name, self._run, (session, name, orders[name])

        for name, told in _in_forks(tasks(), 2 * self.patience):
            by = next((place for place, _, failure, _ in told if failure), None)
            if by is not None:
                self._noticed.setdefault(MUTANTS[name].file, set()).add(by)
                self._known[name] = session.items[by].nodeid
                NOTICED.write_text(json.dumps(self._known, indent=1, sort_keys=True) + "\n")
            yield Outcome(name, by, len(told) == len(orders[name]), time.monotonic() - began[name])

    def _order(self, name: str, items: Sequence[pytest.Item]) -> list[int]:
        """Return the tests that may notice a defect, likely and quick files first.

        Some of its subject evaluate parts of scripts by themselves, and call none. Tests of a file stay together: what
        they share is made once.
        """
        known, file = self._known.get(name), MUTANTS[name].file
        noticed, users = self._noticed.get(file, set()), _users(file)
        own = {place for place, item in enumerate(items) if any(item.path.match(one) for one in LIKELY[name])}

        chosen = own | {place for place, called in self._called.items() if called & users}
        likely, seconds = dict[Path, int](), dict[Path, float]()
        for place in chosen:
            path = items[place].path
            rank = 0 if items[place].nodeid == known else 1 if place in own else 2 if place in noticed else 3
            likely[path] = min(rank, likely.get(path, rank))
            seconds[path] = seconds.get(path, 0.0) + self._seconds[place]

        def order(place: int) -> tuple[int, float, Path, bool, bool, float]:
            path = items[place].path
            unknown = items[place].nodeid != known
            return likely[path], seconds[path], path, unknown, place not in noticed, self._seconds[place]

        return sorted(chosen, key=order)

    def _run(self, told: Connection, session: pytest.Session, name: str | None, places: Sequence[int]) -> None:
        """Run tests in this process, with a defect until one fails; tell what they `Ran`."""
        if name:
            _put_into_scripts(name)
        found, ends, called = [], time.monotonic() + self.patience, _noted_calls()
        for place, following in zip(places, [*places[1:], None], strict=True):
            began, self._failure = time.monotonic(), ""
            called.clear()
            session.config.hook.pytest_runtest_protocol(
                item=session.items[place], nextitem=None if following is None else session.items[following]
            )
            found.append((place, time.monotonic() - began, self._failure, frozenset(called)))
            if name and (self._failure or time.monotonic() > ends):
                break
        session.config.hook.pytest_sessionfinish(session=session, exitstatus=0)  # stops the servers
        told.send(found)


def _in_forks(tasks: Iterable[Task], longest: int) -> Iterator[tuple[str, list[Ran]]]:
    """Run each task in a process of its own, as many at a time as there are processors; yield what they tell.

    A process that is killed, as after the ``longest`` time in seconds, tells nothing: an empty list.
    """
    running: dict[Connection, tuple[str, BaseProcess, tempfile.TemporaryDirectory[str]]] = {}
    waiting = iter(tasks)
    while True:
        while len(running) < (os.cpu_count() or 1) and (task := next(waiting, None)):
            name, act, arguments = task
            here, there = FORK.Pipe(duplex=False)
            folder = tempfile.TemporaryDirectory(prefix="otp-service-mutants-", dir=support_memory.MEMORY)
            Path(folder.name).chmod(0o755)  # PostgreSQL runs as somebody else
            process = FORK.Process(target=_alone, args=(folder.name, longest, act, there, *arguments))
            process.start()
            there.close()
            running[here] = (name, process, folder)
        if not running:
            return
        for ready in wait(list(running)):
            name, process, folder = running.pop(ready)
            try:
                told = ready.recv()
            except EOFError:
                told = []
            process.join()
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # the servers of one that was killed itself
            folder.cleanup()
            yield name, told


def _alone(folder: str, longest: int, act: Act, told: Connection, *arguments: Any) -> None:
    """Act in a forked process that says nothing, has a folder of its own, and ends when it takes too long."""
    os.setsid()
    support_memory.MEMORY = Path(folder)
    support_ledger.template.cache_clear()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    signal.alarm(longest)
    act(told, *arguments)


def _noted_calls() -> set[str]:
    """Return a set to which the name of each script is added that is called from now on."""
    called: set[str] = set()
    run = ScriptRunner.run

    def noted(runner: ScriptRunner, call: ScriptCall) -> Any:
        called.add(call.name)
        return run(runner, call)

    ScriptRunner.run = noted  # type: ignore[method-assign]
    return called


def _users(file: str) -> set[str]:
    """Return the scripts that a file is, or is a part of; those that teach rules and plans are behind all others."""
    names = library.script_names()
    if file.endswith("_register"):
        return set(names)
    part = file.removeprefix("include_")
    return {name for name in names if name == file or part in library.included(library._read(name))}  # noqa: SLF001


def _put_into_scripts(name: str) -> None:
    mutant, read = MUTANTS[name], library._read  # noqa: SLF001 - there is no other way in, and should be none
    library._read = lambda file: mutant.text() if file == mutant.file else read(file)  # noqa: SLF001
    Signature.check = lambda *_: None  # type: ignore[method-assign] - a defect may leave a name unused
    library.library.cache_clear()


def _report(outcome: Outcome, items: Sequence[pytest.Item]) -> None:
    by = "nobody"
    if outcome.noticed_by is not None:
        by = items[outcome.noticed_by].nodeid.removeprefix("tests/")
    unnoticed = "SURVIVED" if outcome.all_ran else "not noticed in time"
    ending = f"noticed by {by}" if outcome.noticed else unnoticed
    print(f"{outcome.name:44} {outcome.seconds:5.1f} s  {ending}", flush=True)


def main() -> int:
    """Do what the command line asks for; return the exit status."""
    options = _options()
    if options.list:
        print("\n".join(MUTANTS))
        return 0
    unfit = faults()
    for fault in unfit:
        print(f"UNFIT {fault}")
    if unfit or options.check:
        print(f"{len(unfit)} faults in {len(MUTANTS)} defects")
        return 1 if unfit else 0
    return _put_in(options.names or list(MUTANTS), options.patience)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help="a defect to put in; without any, all of them")
    parser.add_argument("--list", action="store_true", help="print the names of all defects, and do nothing")
    parser.add_argument("--check", action="store_true", help="see that all of them fit the scripts, and test nothing")
    parser.add_argument("--patience", type=int, default=PATIENCE, metavar="SECONDS", help="of tests for each defect")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in MUTANTS]
    if unknown:
        parser.error(f"there is no {', '.join(unknown)}")
    return options


def _put_in(names: Sequence[str], patience: int) -> int:
    """Put these in, one at a time; return the exit status."""
    os.chdir(ROOT)
    settings.register_profile("mutant", phases=[Phase.generate])  # a failing example need not be made small
    settings.load_profile("mutant")
    began, mutation = time.monotonic(), Mutation(names, patience)
    chosen = (*TESTS, *(f"--ignore={path}" for path in APART), "-k", CHOICE)
    pytest.main(["-q", "-s", "--no-header", "-p", "no:cacheprovider", *chosen], plugins=[mutation])
    if mutation.failing or len(mutation.outcomes) < len(names):
        print("The tests fail without any defect:", *mutation.failing, sep="\n")
        return 1
    survivors = [outcome.name for outcome in mutation.outcomes if not outcome.noticed]
    print(f"\n{len(names) - len(survivors)} of {len(names)} noticed in {time.monotonic() - began:.0f} s")
    print(f"SURVIVED: {', '.join(survivors)}" if survivors else "none survived")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
