"""No webhook is lost: ``make storm-webhooks``. A few minutes for each database.

Verifications are started while the workers, which record events and send webhooks, are killed with -9 one after the
other, and PostgreSQL is killed and started again. A receiver verifies each webhook with the official package, and
answers 500 to every sixteenth the first time. Then the books are settled: every event in the ledger that has a type of
webhooks was taken by the receiver, and nothing else was. Ends with 1 when that does not hold.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from support_ledger import make_ledger
from support_postgres import PostgresServer
from support_service import running
from support_valkey import ValkeyServer
from support_webhook_storm import Books, storm
from support_webhooks import LOOPBACK, receiving

from otp_service.ledger.ledger import Ledger

LEAST_KILLS = 10
"""Workers killed in a run that proves anything."""
FREE = {"number": ["100/10 minutes"], "application": ["1000000/minute"], "ip": ["1000000/minute"]}


def main() -> int:
    """Raise the storm, print its books; return 1 when they show what must not be."""
    options = _options()
    with ExitStack() as stack:
        books = _rage(stack, options)
    rows = {
        "starts accepted": len(books.accepted),
        "webhooks of events in the ledger": len(books.recorded),
        "webhooks that the receiver took": len(books.received),
        "of these more than once": sum(count > 1 for count in books.received.values()),
        "refused the first time": books.refused,
        "calls that ended before their bodies": len(books.cut_short),
        "workers, database killed with -9": f"{books.kills['workers']}, {books.kills['database']}",
        "workers that ended by themselves": books.ended,
        "seconds": f"{books.seconds:.0f}",
    }
    print(f"\n{options.database}, seed {options.seed}:\n\n| | |\n|---|---:|")
    for name, figure in rows.items():
        print(f"| {name} | {figure} |")
    breaches = books.breaches()
    if len(books.recorded) < options.webhooks:
        breaches.append(f"only {len(books.recorded)} of {options.webhooks} webhooks")
    if books.kills["workers"] < LEAST_KILLS:
        breaches.append(f"only {books.kills['workers']} of {LEAST_KILLS} workers were killed")
    for breach in breaches:
        print(f"BREACH {breach}", file=sys.stderr)
    return 1 if breaches else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--webhooks", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def _rage(stack: ExitStack, options: argparse.Namespace) -> Books:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="otp-service-webhooks-")))
    (folder / "valkey").mkdir()
    valkey = ValkeyServer(folder / "valkey")
    stack.callback(valkey.stop)
    url, crash = _database(stack, options.database, folder)
    receiver = stack.enter_context(receiving())
    sections: dict[str, Any] = {
        "webhooks": {"networks": LOOPBACK, "timeout": 2.0, "per_endpoint": 16},
        "ledger": {"url": url, "timeout": 2.0},
        "worker": {"concurrency": 16},
    }
    service = stack.enter_context(running(folder, valkey, workers=2, limits=FREE, **sections))
    ledger = Ledger(url, 5.0)
    with closing(ledger.database):
        # Two webhooks a start at least: that it was started, and that its message was sent.
        return storm(service, receiver, ledger, options.webhooks // 2 + options.webhooks // 20, crash, options.seed)


def _database(stack: ExitStack, kind: str, folder: Path) -> tuple[str, Callable[[], None] | None]:
    """Return the address of a new ledger, and what crashes its server."""
    if kind == "sqlite":
        return f"sqlite:///{folder / 'ledger.db'}", None
    server = PostgresServer()
    stack.callback(server.stop)
    url = server.url(server.create())
    make_ledger(url)

    def crash() -> None:
        server.kill()
        time.sleep(0.3)
        server.start()

    return url, crash


if __name__ == "__main__":
    sys.exit(main())
