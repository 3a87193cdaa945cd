"""Buckets share limits while processes and primaries die: ``make cluster-limits``. Ten minutes, none of them midnight.

A cluster of three primaries, a replica each; numbers in 16 buckets. In each of 50 races three processes start
verifications at once: more than an application may pay for, a part of them with numbers of one block; those of
colleagues behind an address, fewer than its limit, with numbers of one block; the same with numbers of many; and those
of an attacker. Two more processes sum limits, as workers do. A process of each kind and a primary are killed with -9
in each race and started again; every other time the primary's replica takes over first. A start without an answer is
repeated with its idempotency key. Ends with 1 when an application paid for more than its ceiling, or was refused while
the buckets together had room; when a colleague was refused; or when an attacker got fewer than the limit or more than
it in each bucket.
"""

import argparse
import json
import multiprocessing
import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from itertools import count
from multiprocessing.connection import Connection
from random import Random
from typing import Any, Final, NamedTuple

from breaches import ended_with
from support_caller import Caller
from support_cluster import SLOTS, Cluster, ClusterNode
from support_guard import PERMISSIVE, modes
from support_installation import tree
from support_memory import folder_in_memory
from support_outbox import forget_queues
from support_sentinel import wait_until

from otp_service import bootstrap
from otp_service.bootstrap import Installation
from otp_service.domain.guard_replay import AttemptKind
from otp_service.domain.prices import MICRO
from otp_service.errors import LedgerUnavailableError, StoreUnavailableError, TooManyError
from otp_service.settings import settings_from
from otp_service.store import keys
from otp_service.store.signatures.guard import GUARD_READ, SubjectKeys, SubjectRead
from otp_service.store.signatures.signature import NoArguments
from otp_service.telemetry.logging import Renderer, configure_logging

BUCKETS: Final = 16
CEILING, BUYERS = 48, 70
"""Messages that an application may pay for in a day, and that it tries to send."""
LIMIT, COLLEAGUES, ATTACKS = 64, 50, 200
"""Starts of an address in ten minutes, of its colleagues, and of an attacker."""
THREADS: Final = 6
PAUSE: Final = 0.1
"""Seconds between two starts of a thread."""
PATIENCE: Final = 90.0
"""Seconds in which each start must have an answer."""
BLOCK, ATTACKED = "colleagues of a block", "attacker"
BOUGHT, COLLEAGUE = "bought", "colleagues of many blocks"
STARTED, REFUSED = "started", "refused"
SPAWN = multiprocessing.get_context("spawn")


class Task(NamedTuple):
    """A verification to start."""

    key: str
    """The idempotency key."""
    role: str
    application: str
    to: str
    address: str | None


def start(caller: Caller, task: Task) -> str:
    """Start a verification, and repeat that until it has an answer."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            caller.start(task.to, caller.retry(task.key, "start", task.to), client_ip=task.address)
        except TooManyError:
            return REFUSED
        except (StoreUnavailableError, LedgerUnavailableError):
            time.sleep(0.1)
        else:
            return STARTED
    return "no answer"


def race(pipe: Connection, settings: dict[str, Any]) -> None:
    """Start the verifications that come through a pipe, and send back what became of each."""
    installation = _installed(settings)
    lock = threading.Lock()

    def act(task: Task) -> None:
        result = start(Caller(installation, task.application), task)
        with lock:
            pipe.send((task.key, result))
        time.sleep(PAUSE)

    with ThreadPoolExecutor(THREADS) as hands:
        while True:
            list(hands.map(act, pipe.recv()))


def sum_limits(_: Connection, settings: dict[str, Any]) -> None:
    """Sum limits each second, as a worker does."""
    sums = _installed(settings).context.store.limit_sums
    while True:
        time.sleep(1)
        with suppress(StoreUnavailableError):
            sums.update()


def _installed(settings: dict[str, Any]) -> Installation:
    configure_logging("CRITICAL", Renderer.CONSOLE)
    installation = bootstrap.install(settings_from(settings))
    bootstrap.watch(installation).start()
    return installation


class Worker:
    """A process that can be killed and started again."""

    def __init__(self, target: Any, settings: dict[str, Any]) -> None:
        self._target = target
        self._settings = settings
        self.results: dict[str, str] = {}
        self.tasks: Sequence[Task] = ()
        self._launch()

    def _launch(self) -> None:
        self.pipe, theirs = SPAWN.Pipe()
        self._process = SPAWN.Process(target=self._target, args=(theirs, self._settings), daemon=True)
        self._process.start()
        theirs.close()

    def give(self, tasks: Sequence[Task]) -> None:
        """Send the tasks of a race."""
        self.tasks, self.results = tasks, {}
        self.pipe.send(tasks)

    def read(self, seconds: float) -> None:
        """Read results for some seconds."""
        deadline = time.monotonic() + seconds
        with suppress(EOFError, ConnectionError):
            while self.pipe.poll(max(0.0, deadline - time.monotonic())):
                key, result = self.pipe.recv()
                self.results[key] = result

    @property
    def is_done(self) -> bool:
        """Whether each task of the race has a result."""
        return len(self.results) == len(self.tasks)

    def strike(self) -> None:
        """Kill the process, and start another that does what has no result."""
        self._process.kill()
        self._process.join()
        self.read(0.1)
        self._launch()
        if rest := [task for task in self.tasks if task.key not in self.results]:
            self.pipe.send(rest)

    def stop(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()


@dataclass
class Books:
    """What came of the races."""

    attackers: list[int] = field(default_factory=list)
    """Starts that each got."""
    answers: Counter[str] = field(default_factory=Counter)
    lost: list[float] = field(default_factory=list)
    """What was lost of each ceiling on the way."""
    breaches: list[str] = field(default_factory=list)


def main() -> int:
    """Race, settle the books, print them; return 1 when they show what must not be."""
    options = _options()
    configure_logging("CRITICAL", Renderer.CONSOLE)
    with ExitStack() as stack:
        folder = folder_in_memory("cluster-limits")
        cluster = Cluster(folder / "nodes")
        stack.callback(cluster.stop)
        for number, primary in enumerate(tuple(cluster.nodes)):
            cluster.add_replica(folder / f"replica-{number}", primary)
        settings = _settings(cluster.nodes[0].url, options.races)
        installation = bootstrap.install(settings_from(settings))
        bootstrap.prepare(installation)
        watch = bootstrap.watch(installation)
        watch.start()
        racers = [Worker(race, settings) for _ in range(3)]
        summers = [Worker(sum_limits, settings) for _ in range(2)]
        for worker in (*racers, *summers):
            stack.callback(worker.stop)
        books, draw = Books(), Random(options.seed)
        for number in range(options.races):
            _race(number, draw, cluster, racers, summers)
            _settle(number, installation, racers, books)
            print(f"race {number}: {len(books.breaches)} breaches, an attacker got {books.attackers[-1]}", flush=True)
        _count_events(installation, books)
        watch.stop()
    _print(options, books)
    return ended_with(books.breaches)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--races", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def _settings(url: str, races: int) -> dict[str, Any]:
    own = tree(url)
    shop = {**own["applications"]["shop"], "keys": []}
    applications = {}
    for number in range(races):
        applications[f"buyer-{number}"] = {**shop, "spend": {"day": str(CEILING)}}
        applications[f"office-{number}"] = shop
    return {
        **own,
        "redis": {"url": url},
        "keys": {**own["keys"], "buckets": BUCKETS},
        "applications": applications,
        "guard": {"modes": modes("spend.application", "address.starts", "application.requests")},
        "limits": {**PERMISSIVE, "ip": [f"{LIMIT}/10 minutes"], "application": ["400/10 minutes"]},
        "gateways": {"sandbox": {"kind": "sandbox", "prices": {"*": "1"}}},
    }


def _tasks(race_number: int, draw: Random) -> list[Task]:
    """Return the verifications of a race, in any order."""
    numbers = count()

    def tasks(role: str, amount: int, application: str, address: str | None, block: str = "") -> list[Task]:
        return [
            Task(
                f"{race_number}-{next(numbers)}",
                role,
                f"{application}-{race_number}",
                f"+92300{block or f'{draw.randrange(1000):03}'}{draw.randrange(10_000):04}",
                address,
            )
            for _ in range(amount)
        ]

    network = f"81.{race_number}.0"
    made = [
        *tasks(BOUGHT, BUYERS // 2, "buyer", None, "123"),
        *tasks(BOUGHT, BUYERS // 2, "buyer", None),
        *tasks(BLOCK, COLLEAGUES, "office", f"{network}.1", f"{draw.randrange(1000):03}"),
        *tasks(COLLEAGUE, COLLEAGUES, "office", f"{network}.2"),
        *tasks(ATTACKED, ATTACKS, "office", f"{network}.3"),
    ]
    draw.shuffle(made)
    return made


def _race(
    number: int, draw: Random, cluster: Cluster, racers: Sequence[Worker], summers: Sequence[Worker]
) -> None:  # fmt: skip
    """Race, and strike meanwhile."""
    tasks = _tasks(number, draw)
    for place, racer in enumerate(racers):
        racer.give(tasks[place :: len(racers)])
    began = time.monotonic()
    with ThreadPoolExecutor(1) as hand:
        struck = hand.submit(_strike, number, cluster, draw.uniform(0.2, 1.5))
        time.sleep(draw.uniform(0.2, 1.5))
        draw.choice(racers).strike()
        draw.choice(summers).strike()
        while not all(racer.is_done for racer in racers) and time.monotonic() < began + 2 * PATIENCE:
            for racer in racers:
                racer.read(0.05)
        struck.result()
    for node in cluster.primaries():
        forget_queues(node.client)


def _strike(number: int, cluster: Cluster, wait: float) -> None:
    """Kill a primary, and start it again, every other time after its replica took over."""
    time.sleep(wait)
    slot = number % 3 * -(-SLOTS // 3)
    struck = cluster.primary_of(slot)
    struck.kill()
    if number % 2:
        wait_until(lambda: cluster.living[0].has(slot) not in {struck.port, 0}, PATIENCE)
    struck.start()
    wait_until(lambda: _is_back(cluster, struck), PATIENCE)


def _is_back(cluster: Cluster, node: ClusterNode) -> bool:
    """Tell whether each primary has a replica that follows it."""
    if len(cluster.living) < len(cluster.nodes):
        return False
    primaries = {primary.port for primary in cluster.primaries()}
    return all(other.follows() for other in cluster.nodes if other.port not in primaries) and node in cluster.living


def _settle(number: int, installation: Installation, racers: Sequence[Worker], books: Books) -> None:
    """Compare what was started with what may be."""
    results = {key: result for racer in racers for key, result in racer.results.items()}
    roles = {task.key: task.role for racer in racers for task in racer.tasks}
    counts = Counter((role, results.get(key, "no result")) for key, role in roles.items())
    books.answers.update({f"{role}, {result}": amount for (role, result), amount in counts.items()})
    for (role, result), amount in counts.items():
        if result not in {STARTED, REFUSED}:
            books.breaches.append(f"race {number}: {role}: {amount} have {result}")
    for role in (BLOCK, COLLEAGUE):
        if refused := counts[role, REFUSED]:
            books.breaches.append(f"race {number}: {refused} {role} were refused")
    books.attackers.append(attacked := counts[ATTACKED, STARTED])
    if not LIMIT <= attacked <= BUCKETS * LIMIT:
        books.breaches.append(f"race {number}: an attacker got {attacked} starts")
    _settle_ceiling(number, installation, counts[BOUGHT, STARTED], books)


def _settle_ceiling(number: int, installation: Installation, bought: int, books: Books) -> None:
    """Spend what is left of a ceiling, and see that it is exactly what was not lost."""
    application = f"buyer-{number}"
    time.sleep(2)  # for which it is remembered that nothing was left
    caller = Caller(installation, application)
    for place in range(CEILING):
        task = Task(f"{number}-rest-{place}", BOUGHT, application, f"+92301{place:03}{place:04}", None)
        if start(caller, task) == REFUSED:
            break
        bought += 1
    context = installation.context
    rows = [SubjectKeys(keys.application(bucket, application)) for bucket in context.keyring.buckets]
    replies = context.store.scripts.call_all(GUARD_READ, [(row, NoArguments()) for row in rows])
    moved = [
        json.loads(reply.values or "{}").get("mday", (0, 0))[1] for reply in replies if isinstance(reply, SubjectRead)
    ]
    books.lost.append(lost := -sum(moved) / MICRO)
    if len(moved) < len(rows):
        books.breaches.append(f"race {number}: {len(rows) - len(moved)} buckets do not answer")
    if bought != int(CEILING - max(0.0, lost)):
        books.breaches.append(f"race {number}: {bought} were bought, and {lost:g} of {CEILING} were lost")


def _count_events(installation: Installation, books: Books) -> None:
    """See that no application was sent more than its ceiling, whatever it was told."""
    started = Counter(
        attempt.application
        for attempt in installation.context.store.attempts.all()
        if attempt.kind is AttemptKind.START and not attempt.refused
    )
    books.breaches += [
        f"{application} was sent {amount} messages"
        for application, amount in started.items()
        if application.startswith("buyer") and amount > CEILING
    ]
    books.answers["events of starts"] = started.total()


def _print(options: argparse.Namespace, books: Books) -> None:
    attackers = sorted(books.attackers)
    rows = {
        "races": f"{options.races}",
        **{name: f"{amount:,}" for name, amount in sorted(books.answers.items())},
        f"an attacker got of {LIMIT}: least, median, most": ", ".join(
            f"{amount:g}" for amount in (attackers[0], statistics.median(attackers), attackers[-1])
        ),
        f"lost of a ceiling of {CEILING}: in sum, most": f"{sum(books.lost):g}, {max(books.lost):g}",
    }
    print("\n| | |\n|---|---:|")
    for name, figure in rows.items():
        print(f"| {name} | {figure} |")


if __name__ == "__main__":
    sys.exit(main())
