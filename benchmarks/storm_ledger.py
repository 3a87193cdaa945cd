"""Nothing that happened is lost on its way into the ledger: ``make storm-ledger``. Two minutes for each database.

Verifications are started at a steady pace while the workers, in which the recorders are, are killed with -9 one after
the other, the database is killed and started again, and Redis too (append-only file, ``appendfsync always``). Then the
books are settled: every event of the stream is in the ledger once, every start that was accepted has its verification,
its number and its events there, and the hourly stats are those that are counted anew from these events. A start that
got no answer, or a 503, may have been done or not: it is told as ambiguous, and counts neither as lost nor as double.
Ends with 1 when that does not hold.

``--database replicated``, ``make ledger-failover``: PostgreSQL with a replica that each commit waits for
(``synchronous_standby_names = '*'``, ``synchronous_commit = on``). By turns the replica is killed and comes back, and
the primary is killed and the replica takes its place and address.
"""

import argparse
import itertools
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
from ledger_entries import unrecorded
from rig import Rig, until
from rig_workers import BUCKET
from sqlalchemy import func, select
from support_postgres import PostgresServer, ReplicatedServer
from support_valkey import ValkeyServer

from otp_service.errors import OtpServiceError
from otp_service.ledger.ledger import Ledger
from otp_service.ledger.schema import events, hourly_delays, hourly_stats, verifications
from otp_service.store import keys

STRUCK = ("workers", "database", "redis")
SERVERS: dict[str, type[PostgresServer | ReplicatedServer]] = {
    "postgresql": PostgresServer,
    "replicated": ReplicatedServer,
}
ALWAYS = ("--appendonly", "yes", "--appendfsync", "always")
SETTLED = 120.0
"""Seconds after the last start in which all is to be recorded."""
_ANSWER = 10.0
_CREATED = 201


@dataclass
class Answers:
    """What the starts were answered with."""

    accepted: list[str] = field(default_factory=list)
    """Identifiers."""
    ambiguous: list[str] = field(default_factory=list)
    """Numbers whose start got a 503 or no answer."""
    refusals: Counter[str] = field(default_factory=Counter)
    """Why it was 503."""
    others: Counter[int] = field(default_factory=Counter)
    """Statuses of any other answer."""


@dataclass
class Site:
    """What is killed and started again."""

    rig: Rig
    valkey: ValkeyServer
    postgres: PostgresServer | ReplicatedServer | None
    seed: int
    kills: Counter[str] = field(default_factory=Counter)

    def kill_worker(self) -> None:
        """End a worker in the midst of whatever it does, and start another one."""
        worker = self.rig.workers.pop(0)
        worker.kill()
        self.kills["workers"] += 1
        self.rig.launch_worker()

    def kill_database(self) -> None:
        """End the database, and start it again."""
        if self.postgres is not None:
            self.postgres.kill()
            time.sleep(0.5)
            self.postgres.start()
            self.kills["database"] += 1

    def kill_redis(self) -> None:
        """End Redis, and start it again from its append-only file."""
        self.valkey.stop(kill=True)
        self.valkey.start()
        self.kills["redis"] += 1


def main() -> int:
    """Raise the storm, settle the books, print them; return 1 when they show what must not be."""
    options = _options()
    with ExitStack() as stack:
        site, ledger = _build(stack, options)
        answers, seconds = _rage(site, options)
        waited = _wait(site)
        rows, breaches = _settle(site, ledger, answers)
    pace = (len(answers.accepted) + len(answers.ambiguous)) / seconds
    replaced = site.postgres.replaced if isinstance(site.postgres, ReplicatedServer) else 0
    rows = {
        "starts a second": f"{pace:.0f} of {options.per_second:g}",
        "workers, database, Redis killed with -9": ", ".join(
            str(site.kills[one]) for one in ("workers", "database", "redis")
        ),
        **({"primaries replaced": str(replaced)} if replaced else {}),
        "all was recorded after the last start": f"{waited:.1f} s",
        **rows,
    }
    print(f"\n{options.database}, {seconds:.0f} s, seed {options.seed}:\n\n| | |\n|---|---:|")
    for name, figure in rows.items():
        print(f"| {name} | {figure} |")
    short = [] if site.kills["workers"] >= options.kills else [f"only {site.kills['workers']} kills"]
    for breach in (*breaches, *short):
        print(f"BREACH {breach}", file=sys.stderr)
    print(f"\n{'Everything as it must be.' if not breaches and not short else 'Not as it must be.'}")
    return 1 if breaches or short else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", choices=["sqlite", *SERVERS], default="sqlite")
    parser.add_argument("--per-second", type=float, default=200)
    parser.add_argument("--kills", type=int, default=50, help="of workers, one a second")
    parser.add_argument("--restarts", type=int, default=3, help="of the database, and of Redis")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def _build(stack: ExitStack, options: argparse.Namespace) -> tuple[Site, Ledger]:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="otp-service-recording-")))
    (folder / "valkey").mkdir()
    valkey = ValkeyServer(folder / "valkey", options=ALWAYS)
    stack.callback(valkey.stop)
    postgres, url = None, f"sqlite:///{folder / 'ledger.db'}"
    if options.database in SERVERS:
        postgres = SERVERS[options.database]()
        stack.callback(postgres.stop)
        url = postgres.url(postgres.create())
    rig = Rig.over(
        stack, folder, valkey.url, {"sandbox": {"kind": "sandbox"}},
        ledger={"url": url, "timeout": 2.0}, worker={"metrics_port": 0, "claim_margin": 0.5, "concurrency": 16},
    )  # fmt: skip
    for _ in range(2):
        rig.launch_worker()
    rig.wait_for_workers()
    return Site(rig, valkey, postgres, options.seed), Ledger(url, 10.0)


def _rage(site: Site, options: argparse.Namespace) -> tuple[Answers, float]:
    """Start verifications at a steady pace while one thing after the other is killed; return for how many seconds."""
    answers, stop, began = Answers(), threading.Event(), time.monotonic()
    with ThreadPoolExecutor(64) as pool:
        load = threading.Thread(target=_load, args=(site.rig, options.per_second, pool, answers, stop))
        load.start()
        for strike in _strikes(site, options):
            strike()
            time.sleep(random.Random(f"{site.seed}{time.monotonic()}").uniform(0.5, 1.1))  # in the midst of anything
        stop.set()
        load.join()
    return answers, time.monotonic() - began


def _strikes(site: Site, options: argparse.Namespace) -> Iterator[Callable[[], None]]:
    every = max(1, options.kills // (2 * options.restarts + 1))
    others = itertools.cycle((site.kill_database, site.kill_redis))
    for place in range(1, options.kills + 1):
        yield site.kill_worker
        if place % every == 0:
            yield next(others)


def _load(rig: Rig, per_second: float, pool: ThreadPoolExecutor, answers: Answers, stop: threading.Event) -> None:
    began, sessions = time.monotonic(), threading.local()
    for place in itertools.count():
        if stop.is_set():
            return
        time.sleep(max(0.0, began + place / per_second - time.monotonic()))
        pool.submit(_start, rig, f"+92345{place:07d}", sessions, answers)


def _start(rig: Rig, to: str, sessions: threading.local, answers: Answers) -> None:
    if not hasattr(sessions, "one"):
        sessions.one = requests.Session()
        sessions.one.headers["Authorization"] = f"Bearer {rig.api_key}"
    try:
        answer = sessions.one.post(f"{rig.base}/v1/verifications", json={"to": to}, timeout=_ANSWER)
    except requests.RequestException:
        answers.ambiguous.append(to)
        return
    if answer.status_code == _CREATED:
        answers.accepted.append(answer.json()["id"])
    elif answer.status_code == 503:  # noqa: PLR2004 - service unavailable
        answers.ambiguous.append(to)
        answers.refusals[answer.json()["code"]] += 1
    else:
        answers.others[answer.status_code] += 1


def _wait(site: Site) -> float:
    """Wait until all is delivered and recorded; return for how many seconds."""
    began = time.monotonic()
    until(
        lambda: not site.rig.waiting() and not unrecorded(site.valkey.client),
        SETTLED,
        "not all is delivered and recorded",
    )
    site.rig.stop()
    return time.monotonic() - began


def _settle(site: Site, ledger: Ledger, answers: Answers) -> tuple[dict[str, str], list[str]]:
    """Compare the stream, the ledger and what callers were told."""
    told = {f"{BUCKET}:{entry.decode()}": fields for entry, fields in site.valkey.client.xrange(keys.events(BUCKET))}
    with ledger.database.read() as connection:
        kept: list[Any] = list(connection.execute(select(events.c.id, events.c.verification, events.c.type)))
        rows = connection.execute(select(verifications.c.id, verifications.c.pseudonym)).all()
        count = connection.execute(select(func.count()).select_from(verifications)).scalar_one()
    started = Counter(one.verification for one in kept if one.type == "verification.started")
    handed = {one.verification for one in kept if one.type.startswith("delivery.")}
    numbers = {row.id: row.pseudonym for row in rows}
    entries = {one.id.rpartition(":")[0] for one in kept}  # the rest of a name is a digest
    missing = {
        "events that are not in the ledger": told.keys() - entries,
        "accepted starts without a verification": set(answers.accepted) - numbers.keys(),
        "accepted starts without a number": {one for one in answers.accepted if not numbers.get(one)},
        "accepted starts without their event": {one for one in answers.accepted if started[one] != 1},
        "accepted starts without a delivery's event": set(answers.accepted) - handed,
        "starts that are there twice": {one for one, times in started.items() if times > 1},
        "answers that are neither 201 nor 503": set(answers.others),
    }
    written = _stats(ledger)
    anew = sum(ledger.stats.recount())
    missing["stats that differ when they are counted anew"] = {str(one) for one in written ^ _stats(ledger)}
    done = count - len(answers.accepted)
    stats = {
        "starts accepted": f"{len(answers.accepted):,}",
        "ambiguous (503, or no answer)": f"{len(answers.ambiguous):,}, {done:,} of them were done",
        "503": ", ".join(f"{code} {times:,}" for code, times in answers.refusals.most_common()) or "none",
        "events in the stream, in the ledger": f"{len(told):,}, {len(kept):,}",
        "stats, of verifications": f"{len(written):,}, {anew:,}",
        **{name: f"{len(found):,}" for name, found in missing.items()},
    }
    return stats, [f"{len(found)} {name}" for name, found in missing.items() if found]


def _stats(ledger: Ledger) -> set[tuple[Any, ...]]:
    """Return the rows of the hourly stats, and of the delays."""
    with ledger.database.read() as connection:
        return {tuple(row) for table in (hourly_stats, hourly_delays) for row in connection.execute(select(table))}


if __name__ == "__main__":
    try:
        sys.exit(main())
    except OtpServiceError as failed:
        sys.exit(str(failed))
