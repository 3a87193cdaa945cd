"""A rolling restart under load: ``make rolling``. Two minutes.

Two services of two processes and two workers share a Redis and a ledger. Callers start verifications, read the codes
that were sent, and check them, through HAProxy with the configuration of the compose file. Meanwhile every worker and
every service is restarted, one after the other, again and again. Ends with 1 when a call failed, a message was lost or
sent twice, the ledger lacks one, or a process did not end well.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy
from breaches import ended_with
from rig import percentile
from support_installation import tree
from support_ledger import make_ledger
from support_outbox import waiting
from support_proxy import Proxy, proxied
from support_rotation import FREE, Load
from support_service import Service, eventually
from support_valkey import ValkeyServer, free_port

HERE = Path(__file__).parent.parent
SHUTDOWN_DELAY = 4.0
"""Seconds that a service still serves after it has said that it is not ready, as in the compose file."""
GRACE = {"serve": SHUTDOWN_DELAY + 12, "worker": 15.0}
"""Seconds within which a process has ended."""
READ_WITHIN = 60.0
"""Seconds within which the ledger has what happened."""
_MAIN = "from otp_service.cli.main import main; main()"


@dataclass
class Books:
    """What it came to."""

    ends: dict[str, list[float]] = field(default_factory=lambda: {"serve": [], "worker": []})
    """Seconds that each process took to end."""
    breaches: list[str] = field(default_factory=list)


@dataclass
class Place:
    """Where a process runs, one after the other."""

    command: str
    base: str = ""
    """Its address, of a service."""
    process: subprocess.Popen[bytes] | None = None
    log: Path = Path()


class Fleet:
    """The processes, and what they share."""

    def __init__(self, folder: Path, valkey: ValkeyServer) -> None:
        self.valkey = valkey
        self.ledger = f"sqlite:///{folder / 'ledger.db'}"
        self.services = [Place("serve", f"http://127.0.0.1:{free_port()}") for _ in range(2)]
        self.workers = [Place("worker") for _ in range(2)]
        self.folder = folder
        self._config = folder / "fleet.json"
        self._launched = 0
        make_ledger(self.ledger)
        sections = {"limits": FREE, "ledger": {"url": self.ledger}, "worker": {"metrics_port": 0}}
        settings = tree(valkey.url, **sections)
        settings["http"] = {"processes": 2, "threads": 2, "metrics_port": 0}
        keys = settings.pop("keys")
        self._config.write_text(json.dumps(settings))
        self._keys = {"OTP_SERVICE_ROOT_KEYS": keys["root"], "OTP_SERVICE_PSEUDONYM_KEY": keys["pseudonym"]}

    def launch(self, place: Place) -> None:
        """Start a process, and wait until it works."""
        self._launched += 1
        place.log = self.folder / f"{place.command}-{self._launched}.log"
        environment = {**os.environ, **self._keys, "PYTHONPATH": str(HERE), "PYTHONSAFEPATH": "1"}
        if place.base:
            environment["OTP_SERVICE__HTTP__PORT"] = place.base.rpartition(":")[2]
            environment["OTP_SERVICE__HTTP__SHUTDOWN_DELAY"] = str(SHUTDOWN_DELAY)
        with place.log.open("wb") as output:
            place.process = subprocess.Popen(
                [sys.executable, "-c", _MAIN, place.command, "--config", self._config],
                env=environment, stdout=output, stderr=output,
            )  # fmt: skip
        told = '"worker_started"' if place.command == "worker" else '"serving"'
        eventually(lambda: told in place.log.read_text() or _has_ended(place))

    def end(self, place: Place, books: Books) -> None:
        """Ask a process to end, and note how it did."""
        if place.process is None:
            return
        began = time.monotonic()
        place.process.send_signal(signal.SIGTERM)
        try:
            code: int | None = place.process.wait(GRACE[place.command])
        except subprocess.TimeoutExpired:
            place.process.kill()
            code = None
        books.ends[place.command].append(time.monotonic() - began)
        log = place.log.read_text()
        if code != 0:
            books.breaches.append(f"{place.log.name} ended with {code}: {log[-300:]}")
        books.breaches += [f"{place.log.name} tells of {word}" for word in ("Traceback", "panicked") if word in log]


def _has_ended(place: Place) -> bool:
    if place.process is not None and place.process.poll() is not None:
        raise SystemExit(f"A {place.command} did not start: {place.log.read_text()[-2000:]}")
    return False


def main() -> int:
    """Restart, settle the books, print them; return 1 when they show what must not be."""
    options = _options()
    books = Books()
    with _fleet(books) as fleet:
        ports = [int(place.base.rpartition(":")[2]) for place in fleet.services]
        with proxied(fleet.folder, ports) as proxy:
            eventually(lambda: proxy.is_up(0) and proxy.is_up(1))
            with Load(Service(proxy.base, Path(), Path(), fleet.valkey, {}), options.callers) as load:
                load.goes_on(options.verifications)
                for _ in range(options.rounds):
                    for place in (*fleet.workers, *fleet.services):  # the workers first, as docs/operations.md has it
                        _restart(fleet, place, proxy, books)
                        load.goes_on(options.verifications)
        _settle(fleet, load, books)
    breaches = books.breaches + load.failures
    _print(options, books, load)
    return ended_with(breaches)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--callers", type=int, default=8)
    parser.add_argument("--verifications", type=int, default=200, help="that are approved between two restarts")
    return parser.parse_args()


@contextmanager
def _fleet(books: Books) -> Iterator[Fleet]:
    with tempfile.TemporaryDirectory(prefix="otp-service-rolling-") as name, ExitStack() as stack:
        folder = Path(name)
        valkey = ValkeyServer(folder)
        stack.callback(valkey.stop)
        fleet = Fleet(folder, valkey)
        places = (*fleet.services, *fleet.workers)
        for place in places:
            stack.callback(fleet.end, place, books)
            fleet.launch(place)
        yield fleet


def _restart(fleet: Fleet, place: Place, proxy: Proxy, books: Books) -> None:
    """Let a new process take the place of one that is asked to end; return when the proxy asks it."""
    fleet.end(place, books)
    fleet.launch(place)
    if place in fleet.services:
        eventually(lambda: proxy.is_up(fleet.services.index(place)))


def _settle(fleet: Fleet, load: Load, books: Books) -> None:
    """Compare what was started with what was sent, checked and recorded."""
    service = Service(fleet.services[0].base, Path(), Path(), fleet.valkey, {})
    held_back = [one for one, code in load.held_back if not service.check(one, code)["valid"]]
    books.breaches += [f"{one}: its code was not accepted" for one in held_back]
    eventually(lambda: not waiting(fleet.valkey.client))
    counts = {one: len(service.texts(one)) for one in load.started}
    books.breaches += [f"{one}: sent {count} times" for one, count in counts.items() if count != 1]
    wanted = {"started": len(load.started), "approved": load.approved + len(load.held_back) - len(held_back)}
    end = time.monotonic() + READ_WITHIN
    while (recorded := _recorded(fleet.ledger)) != wanted and time.monotonic() < end:
        time.sleep(0.2)
    if recorded != wanted:
        books.breaches.append(f"the ledger has {recorded}, and {wanted} happened")


def _recorded(ledger: str) -> dict[str, int]:
    """Return how many verifications the ledger knows as started, and as approved."""
    engine = sqlalchemy.create_engine(ledger)
    with engine.connect() as connection:
        count = "select count(*) from verifications"
        asked = {"started": count, "approved": f"{count} where status = 'approved'"}
        found = {name: int(connection.execute(sqlalchemy.text(query)).scalar_one()) for name, query in asked.items()}
    engine.dispose()
    return found


def _print(options: argparse.Namespace, books: Books, load: Load) -> None:
    rows = {
        "calls, failed": f"{load.calls:,}, {len(load.failures)}",
        "verifications started, each sent once and recorded": f"{len(load.started):,}",
        "slowest call": f"{load.slowest:.2f} s",
    }
    for command, seconds in books.ends.items():
        half, longest = (percentile(seconds, share) for share in (0.5, 1))
        rows[f"{command} ended after, p50, max"] = f"{half:.1f} s, {longest:.1f} s"
    print(
        f"\n{options.rounds} rounds of restarts, {options.callers} callers, 2 services of 2 processes, 2 workers:\n\n"
        "| | |\n|---|---:|"
    )
    for name, figure in rows.items():
        print(f"| {name} | {figure} |")


if __name__ == "__main__":
    sys.exit(main())
