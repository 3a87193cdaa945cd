"""One of the two checkouts that `ledger.py` compares: for each line of its input it records so many events.

Says at first how large its recorder's batches are, and then how many seconds each turn took. All modules but this one
are those of that checkout.
"""

import json
import random
import sys
import time
from collections.abc import Iterator
from itertools import count, islice

from otp_service.domain.audit import Event
from otp_service.ledger.ledger import Ledger
from otp_service.worker.recorder import BATCH_SIZE

EVERY = 20
"""Milliseconds between two starts."""
LIFE = 23_000
"""From a start to its approval: two turns later."""


def main() -> None:
    """Record until the input ends."""
    url, per_turn = sys.argv[1], int(sys.argv[2])
    ledger = Ledger(url, 20.0)
    ledger.upgrade()
    print(BATCH_SIZE, flush=True)
    happened = stream(round(time.time() * 1000))
    for _ in sys.stdin:
        batches = [list(islice(happened, BATCH_SIZE)) for _ in range(per_turn // BATCH_SIZE)]
        with ledger.database.write() as connection:  # what autovacuum does in its own time
            connection.exec_driver_sql("ANALYZE")
        begun = time.perf_counter()
        for one in batches:
            ledger.verifications.record(one)
        print(json.dumps(time.perf_counter() - begun), flush=True)


def stream(begin: int) -> Iterator[Event]:
    """Yield events in the order in which they happen: starts, what became of their messages, approvals."""
    chance = random.Random(1)
    waiting: list[list[Event]] = []
    for n in count():
        waiting.append(list(_verification(n, begin + n * EVERY, chance)))
        if len(waiting) > LIFE // EVERY:
            oldest = waiting.pop(0)
            yield from (waiting[-1][0], waiting[-25][1], waiting[-125][2], oldest[3])


def _verification(n: int, at: int, chance: random.Random) -> Iterator[Event]:
    name, bits = f"vf_r1_00{n:032x}", chance.getrandbits
    about = {"id": name, "application": "shop", "purpose": "login", "country": chance.choice(["PK", "PK", "GB", "AE"])}
    guard = f"nc9230{n % 5}.bu3600 "
    sent = {**about, "channel": "sms", "gateway": "one", "slot": "d1.1", "choice": "primary", "reason": ""}
    start = {
        **about, "channel": "sms", "pseudonym": f"{bits(128):022x}"[:22], "ledger": "0", "attempt": "a|b|c|home|300000",
        "guard": guard, "expires": str(at + 300_000), "payment": "", "payment_reference": "",
    }  # fmt: skip
    yield _event(at, n, "verification.started", start)
    yield _event(at + 500, n, "delivery.sent", {**sent, "cost": "2500000", "reference": f"{bits(64):016x}"})
    yield _event(at + 2500, n, "delivery.delivered", {**sent, "raw_status": "DELIVRD"})
    approved = {**about, "known": "0", "guard": guard, "created": str(at), "reason": ""}
    yield _event(at + LIFE, n, "verification.approved", approved)


def _event(at: int, n: int, kind: str, fields: dict[str, str]) -> Event:
    return Event(f"00:{at}-0:{n:08x}", at, kind, fields)


if __name__ == "__main__":
    main()
