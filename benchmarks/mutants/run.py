"""Put every defect into the scripts, one at a time, and see whether the tests notice: ``make mutants``.

Prints a table; ends with 1 when a defect survives, when one does not fit the scripts as they are now, or when the tests
fail without any.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from mutants import MUTANTS, faults

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TESTS = (
    "tests/services/test_lifecycle.py",
    "tests/services/test_fail_over.py",
    "tests/services/test_fall_back.py",
    "tests/services/test_receipt_recorder.py",
    "tests/store/test_guard_waits.py",
    "tests/store/test_guard_trust.py",
    "tests/store/test_guard_money.py",
    "tests/store/test_guard_ceilings.py",
    "tests/store/test_guard_fraud.py",
    "tests/store/test_guard_breakers.py",
    "tests/store/test_guard_failures.py",
    "tests/store/test_guard_decisions.py",
    "tests/store/test_mirror.py",
    "tests/store/test_fence.py",
    "tests/store/test_fence_limits.py",
    "tests/services/test_mirror_sync.py",
    "tests/store/test_taking.py",
    "tests/store/test_ownership.py",
    "tests/store/test_routing.py",
    "tests/store/test_health.py",
    "tests/store/test_retries.py",
    "tests/store/test_outbox.py",
    "tests/store/test_dead_letters.py",
    "tests/services/test_freeze.py",
    "tests/store",
    "tests/services",
    "tests/model",
)
"""The quickest first."""
_GUARD = """store/test_guard_waits.py store/test_guard_trust.py store/test_guard_fraud.py store/test_guard_breakers.py
    store/test_guard_giving_back.py store/test_guard_[acdfmr]*.py store/test_windows.py store/test_limits_oracle.py
    store/test_guard_oracle.py"""
_DELIVERY = """services/test_lifecycle.py services/test_fail_over.py services/test_fall_back.py
    services/test_receipt_recorder.py store/test_outbox.py store/test_ownership.py store/test_retries.py"""
_SUBJECTS = (
    (
        "start check resend cancel include_idempotency include_record",
        f"services/test_lifecycle.py store/test_write_formats.py store/test_keys.py store/test_privacy.py {_GUARD}",
    ),
    (
        "include_number include_limits include_guard include_fraud include_approvals include_conversions",
        _GUARD,
    ),
    (
        "include_rule_hits include_rows include_buckets include_failure_alarm include_streaks include_asked",
        _GUARD,
    ),
    ("include_counters include_spending ruleset_register guard_forget guard_give_back", _GUARD),
    ("include_newcomers traffic_commit", "services/test_traffic_judge.py api/test_human_check.py"),
    ("former_convert", "store/test_upgrade.py"),
    ("dispatch dispatch_settle include_deliveries receipt", _DELIVERY),
    ("include_routing include_health gateway_observe", f"store/test_health.py store/test_routing.py {_DELIVERY}"),
    ("include_streams jobs_take jobs_claim jobs_renew queues_sweep retries_requeue", "store/test_[oqrst]*.py"),
    ("dead_letter_redrive", "store/test_dead_letters.py"),
    ("include_fence fence_put", "store/test_fence*.py services/test_freeze.py"),
    ("include_mirror mirror_write mirror_build mirror_allows", "store/test_mirror.py services/test_mirror_sync.py"),
)
FIRST = {file: tests.split() for files, tests in _SUBJECTS for file in files.split()}
"""The tests of a script's own subject, asked before all of them: most of its defects are noticed there."""
APART = ("tests/store/test_scripts.py",)
"""How a server fails, which is no matter of the scripts' text."""
CHOICE = "not real_time and not every_code"
"""What is slow, or is done twice."""
PATIENCE = 600
"""Seconds for all of them, one that never ends by itself included."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the tests said of one defect."""

    name: str
    noticed: bool
    by: str
    seconds: float


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
    return _put_in(options.names or list(MUTANTS))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help="a defect to put in; without any, all of them")
    parser.add_argument("--list", action="store_true", help="print the names of all defects, and do nothing")
    parser.add_argument("--check", action="store_true", help="see that all of them fit the scripts, and test nothing")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in MUTANTS]
    if unknown:
        parser.error(f"there is no {', '.join(unknown)}")
    return options


def _put_in(names: list[str]) -> int:
    """Put these in, one at a time; return the exit status."""
    healthy = _run(None)
    if healthy.noticed:
        print(f"The tests fail without any defect: {healthy.by}")
        return 1
    began = time.monotonic()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        outcomes = list(pool.map(_report, names))
    survivors = [outcome.name for outcome in outcomes if not outcome.noticed]
    print(f"\n{len(outcomes) - len(survivors)} of {len(outcomes)} noticed in {time.monotonic() - began:.0f} s")
    print(f"SURVIVED: {', '.join(survivors)}" if survivors else "none survived")
    return 1 if survivors else 0


def _report(name: str) -> Outcome:
    outcome = _run(name)
    ending = f"noticed by {outcome.by}" if outcome.noticed else "SURVIVED"
    print(f"{name:44} {outcome.seconds:5.1f} s  {ending}", flush=True)
    return outcome


def _run(name: str | None) -> Outcome:
    """Ask the tests of the script's subject, then all."""
    began = time.monotonic()
    first = FIRST.get(MUTANTS[name].file, ()) if name else ()
    found = _test(
        name, [str(path.relative_to(ROOT)) for pattern in first for path in sorted((ROOT / "tests").glob(pattern))]
    )
    found = found or _test(name, TESTS)
    return Outcome(name or "none", bool(found), found, time.monotonic() - began)


def _test(name: str | None, tests: Sequence[str]) -> str:
    """Return the first of the tests that notices the defect; empty when none does."""
    if not tests:
        return ""
    options = ["--mutant", name] if name else []
    command = [
        *(sys.executable, "-m", "pytest", "-x", "-q", "--no-header"),
        *("-p", "no:cacheprovider", "-p", "mutant_plugin", *options),
        *(*tests, *(f"--ignore={path}" for path in APART), "-k", CHOICE),
    ]
    paths = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    if done.returncode not in {0, 1} or "ERROR collecting" in done.stdout:  # noticed by nobody: nothing was tested
        raise RuntimeError(f"{name}: pytest ended with {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return _first_failure(done.stdout) if done.returncode == 1 else ""


def _first_failure(report: str) -> str:
    failed = [line for line in report.splitlines() if line.startswith(("FAILED ", "ERROR "))]
    return failed[0].split(" ")[1].rpartition("/")[2] if failed else ""


if __name__ == "__main__":
    sys.exit(main())
