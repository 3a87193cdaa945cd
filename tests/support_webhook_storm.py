"""Webhooks while workers and the database are killed with -9: then the books must balance."""

import contextlib
import hashlib
import random
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import requests
from sqlalchemy import func, select
from standardwebhooks.webhooks import Webhook as Verifier
from support_service import Service
from support_webhooks import Receiver, Request

from otp_service.domain.webhooks import TYPES, WebhookDeliveryStatus
from otp_service.errors import LedgerUnavailableError
from otp_service.ledger.ledger import Ledger
from otp_service.ledger.schema import deliveries, events
from otp_service.store import keys
from otp_service.store.events import GROUP

CRASHES = 3
"""Of the database, one for two workers; an endless series would leave nobody time to settle anything."""
KILLS = 3
"""Of workers, at least."""
_CREATED = 201


@dataclass
class Books:
    """What a storm came to."""

    accepted: list[str] = field(default_factory=list)
    """Verifications."""
    received: Counter[str] = field(default_factory=Counter)
    """How often each webhook was taken with 2xx, by its id."""
    kinds: set[tuple[str, str]] = field(default_factory=set)
    """Type and verification of those."""
    forged: list[str] = field(default_factory=list)
    """What did not verify, and why."""
    cut_short: list[int] = field(default_factory=list)
    """Of calls that ended before they were complete, the bytes of the body: 0, for it is sent at once."""
    refused: int = 0
    """Webhooks that the receiver answered 500 the first time."""
    kills: Counter[str] = field(default_factory=Counter)
    ended: int = 0
    """Workers that ended by themselves."""
    recorded: set[str] = field(default_factory=set)
    """Ids of the webhooks of all events in the ledger."""
    seconds: float = 0.0

    def breaches(self) -> list[str]:
        """Return what is not as it must be."""
        lost, invented = self.recorded - set(self.received), set(self.received) - self.recorded
        untold = [one for one in self.accepted if ("verification.started", one) not in self.kinds]
        faults = {
            f"{len(lost)} of {len(self.recorded)} webhooks were lost": lost,
            f"{len(invented)} tell of no event": invented,
            f"{len(untold)} of {len(self.accepted)} starts were not told": untold,
            f"{len(self.forged)} were not signed as they must be: {'; '.join(self.forged)}": self.forged,
            f"of {sum(map(bool, self.cut_short))} bodies only a part came": any(self.cut_short),
            f"{self.ended} workers ended by themselves": self.ended,
        }
        return [sentence for sentence, found in faults.items() if found]


def storm(
    service: Service,
    receiver: Receiver,
    ledger: Ledger,
    starts: int,
    crash_database: Callable[[], None] | None = None,
    seed: int = 7,
) -> Books:
    """Start verifications while one worker after the other is killed, and wait until all is told."""
    books, began = Books(), time.monotonic()
    made = service.post("/v1/endpoints", {"url": f"{receiver.url}/hook", "types": ["verification", "delivery"]}).json()
    receiver.decide = _judge(books, Verifier(made["secret"]))
    load = threading.Thread(target=_start_all, args=(service, starts, books))
    load.start()
    chance = random.Random(seed)
    kills = {"workers": KILLS, "database": CRASHES if crash_database else 0}
    while (
        load.is_alive()
        or any(books.kills[victim] < least for victim, least in kills.items())
        or not _settled(service, ledger)
    ):
        _strike(service, chance, books, crash_database)
        time.sleep(chance.uniform(0.5, 2.0))
    load.join()
    with ledger.database.read() as connection:
        named = connection.execute(select(events.c.id).where(events.c.type.in_(TYPES))).scalars()
        books.recorded = {f"wh_{hashlib.sha256(one.encode()).hexdigest()[:32]}" for one in named}
    books.cut_short = receiver.cut_short
    books.seconds = time.monotonic() - began
    return books


def _judge(books: Books, verifier: Verifier) -> Callable[[Request], int]:
    """Return what verifies each request, and answers 500 to the first of every sixteenth webhook."""
    lock, seen = threading.Lock(), set[str]()

    def judge(request: Request) -> int:
        try:
            told = verifier.verify(request.body, request.headers)
        except Exception as fault:  # noqa: BLE001 - whatever it is, it must not be
            with lock:
                books.forged.append(f"{request.headers}, {len(request.body)} bytes: {fault!r}")
            return 400
        with lock:
            first, _ = request.id not in seen, seen.add(request.id)
            if first and request.id.endswith("0"):
                books.refused += 1
                return 500
            books.received[request.id] += 1
            books.kinds.add((told["type"], told["data"].get("verification", "")))
            return 200

    return judge


def _start_all(service: Service, starts: int, books: Books) -> None:
    def start(place: int) -> None:
        with contextlib.suppress(requests.RequestException):
            answer = service.post("/v1/verifications", {"to": f"+92345{place:07d}"})
            if answer.status_code == _CREATED:
                books.accepted.append(answer.json()["id"])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(start, range(starts)))


def _strike(service: Service, chance: random.Random, books: Books, crash_database: Callable[[], None] | None) -> None:
    for ended in [one for one in service.workers if one.poll() is not None]:
        _replace(service, ended)
        books.ended += 1
    if service.told("worker_started") < len(service.workers) + books.kills["workers"]:
        return  # one that only starts loses nothing, and ends where the database is away
    if crash_database and books.kills["database"] < CRASHES and books.kills["workers"] >= 2 * books.kills["database"]:
        crash_database()
        books.kills["database"] += 1
    victim = chance.choice(service.workers)
    victim.kill()
    victim.wait()
    _replace(service, victim)
    books.kills["workers"] += 1


def _replace(service: Service, worker: subprocess.Popen[bytes]) -> None:
    """Start another worker, as a supervisor does."""
    service.workers.remove(worker)
    service.launch_worker()


def _settled(service: Service, ledger: Ledger) -> bool:
    groups = service.valkey.client.xinfo_groups(keys.events("00"))
    if any(one["pending"] or one["lag"] for one in groups if one["name"] == GROUP.encode()):
        return False
    open_ones = (
        select(func.count()).select_from(deliveries).where(deliveries.c.status != WebhookDeliveryStatus.DELIVERED)
    )
    with contextlib.suppress(LedgerUnavailableError), ledger.database.read() as connection:
        return connection.execute(open_ones).scalar_one() == 0
    return False
