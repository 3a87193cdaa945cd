"""How fast a recorder writes into PostgreSQL beside another checkout's, and how soon thirty days of it are gone.

Two processes take turns with the same stream of events (`ledger_side.py`), each with the batches of its recorder and
a database of its own on one server, which keeps its files in memory: what a disk adds is the same for both.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest.mock import patch

from support_postgres import PostgresServer

from otp_service.clock import now
from otp_service.domain.guard import DAY
from otp_service.domain.keyring import Signer
from otp_service.ledger import partitions
from otp_service.ledger.database import Database
from otp_service.ledger.ledger import Ledger
from otp_service.ledger.retention import Purge
from otp_service.ledger.schema import TRAFFIC

HERE = Path(__file__).parent
PER_TURN = 8_000
"""Events of a turn: sixteen batches of 500, four of 2,000."""
DAYS, ROWS_OF_A_DAY = 30, 40_000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("before", type=Path, help="another checkout, in which make setup has run")
    parser.add_argument("--pairs", type=int, default=16)
    options = parser.parse_args()
    with ExitStack() as stack:
        server = PostgresServer()
        stack.callback(server.stop)
        _compare(stack, server, options.before.resolve(), options.pairs)
        _drop(server)


def _compare(stack: ExitStack, server: PostgresServer, before: Path, count: int) -> None:
    both = [_Side(stack, tree, server.url(server.create())) for tree in (before, HERE.parent)]
    pairs = []
    for turn in range(count + 1):
        order = both[:: -1 if turn % 2 else 1]
        rates = {one: one.turn() for one in order}
        if turn:  # the first one warms up
            pairs.append([rates[one] for one in both])
    first, second = (statistics.median(rates) for rates in zip(*pairs, strict=True))
    lower, median, upper = statistics.quantiles([here / there for there, here in pairs], n=4)
    for one, rate in zip(both, (first, second), strict=True):
        print(f"{one.tree.name}, batches of {one.size:,}: {rate:,.0f} events a second", flush=True)
    print(f"here / before: {median:.2f} ({lower:.2f} to {upper:.2f})", flush=True)


class _Side:
    """One of the two checkouts, recording."""

    def __init__(self, stack: ExitStack, tree: Path, url: str) -> None:
        python = tree / ".venv" / "bin" / "python"
        self.tree = tree
        self._process = stack.enter_context(
            subprocess.Popen(
                [python, "-P", str(HERE / "ledger_side.py"), url, str(PER_TURN)], cwd=tree, text=True,
                env={**os.environ, "PYTHONPATH": str(tree)}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            )
        )  # fmt: skip
        stack.callback(self._process.communicate, "")
        self.size = round(self._answer())

    def turn(self) -> float:
        """Let it record; return how many events a second."""
        print("turn", file=self._process.stdin, flush=True)
        return PER_TURN / float(self._answer())

    def _answer(self) -> float:
        return json.loads(self._process.stdout.readline()) if self._process.stdout else 0


def _drop(server: PostgresServer) -> None:
    """Print how long a purge takes that finds thirty days of traffic too old."""
    with _opened(server.url(server.create())) as ledger:
        first = now() // DAY - DAYS - 2
        _fill(ledger.database, first)
        begun = time.perf_counter()
        gone = sum(ledger.purges.run(Purge(TRAFFIC, (first + DAYS) * DAY, now(), Signer(bytes(32)))))
        print(f"{DAYS} days, {gone:,} rows: gone in {time.perf_counter() - begun:.2f} s")


@contextmanager
def _opened(url: str) -> Iterator[Ledger]:
    ledger = Ledger(url, 30.0)
    ledger.upgrade()
    yield ledger
    ledger.database.close()


def _fill(database: Database, first: int) -> None:
    """Put rows into partitions of a day each, from a day on."""
    with database.write() as connection, patch.object(partitions, "FULL", 1):
        for table in partitions.PARTITIONED:  # as of a ledger that was made then
            connection.exec_driver_sql(f"DROP TABLE {table}_before")
        for day in range(first, first + DAYS + 2):
            partitions.make_partitions(connection, day)
    for name, values in {
        "events": "'e' || day || '-' || n, 'v' || n, 'delivery.sent', day * {day} + n, 'one', '{{}}'",
        "verifications": "'v' || day || '-' || n, 'x', 'p', 'login', 'PK', day * {day} + n, '', '', 0, 'approved', 0",
    }.items():
        of_days = f"generate_series({first}::bigint, {first + DAYS + 1}) AS day"
        days = f"{of_days}, generate_series(1, {ROWS_OF_A_DAY}::bigint) AS n"
        with database.write() as connection:
            filled = f"INSERT INTO {name} SELECT {values.format(day=DAY)} FROM {days}"  # noqa: S608 - our own
            connection.exec_driver_sql(filled)


if __name__ == "__main__":
    sys.exit(main())
