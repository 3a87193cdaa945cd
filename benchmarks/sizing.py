"""The figures that ``otp-service size`` calculates with, measured on this machine: ``make bench-size``.

People prove their numbers, each on a device and from an address of their own: a start, its delivery with a receipt, a
check, and the events into the ledger. What each step asks of Valkey is counted. Then each kind of key is put into an
empty Valkey by itself, to see what it takes; and others come to an installation with one row a verification. Ends with
1 where bytes differ by more than a tenth from those in `otp_service/domain/sizing.py`; processor time depends on the
machine, and is told only. Needs PostgreSQL. Three minutes.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis
import throughput
from find_number import ledger_url
from gateway_standin import StandIn
from machine import describe
from permissive_guard import PERMISSIVE
from sqlalchemy import text
from support_caller import Caller
from support_events import events_of, record_events
from support_installation import World
from support_outbox import Scripted, Sender
from support_valkey import ValkeyServer

from otp_service.domain.messages import Message
from otp_service.domain.sizing import FIGURES
from otp_service.domain.verification import DeliveryStatus
from otp_service.gateways.base import Accepted, Receipt
from otp_service.ledger.database import POSTGRESQL
from otp_service.ledger.ledger import open_ledger
from otp_service.services.receipts import record_receipt
from otp_service.store import keys
from otp_service.telemetry.logging import Renderer, configure_logging

TOLERANCE = 0.1
"""Share by which bytes may differ."""
KINDS = {
    "number": keys.number,
    "network": keys.address,
    "record": keys.record,
    "dispatch": keys.dispatch,
}
TABLES = {"ledger_verification": "verifications", "ledger_event": "events", "ledger_audit_entry": "audit"}
_SIZE = """
SELECT coalesce(
    (SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree('{table}') WHERE pg_relation_size(relid) > 0),
    pg_total_relation_size('{table}')) * 1.0 / greatest(count(*), 1) FROM {table}"""
"""A table with partitions takes nothing itself; of those only one has rows here."""
DELIVERED = Receipt(DeliveryStatus.DELIVERED, "delivered")
_WARM, _FURTHER = 10, 4
_PART = 1000
_TOGETHER = 200
"""People whose events are one batch."""
_SETTLED = 1.5
"""Seconds after which Valkey has written what it was asked, and grown its tables."""
_LIMITS = {"application": ["100000000/minute"], "number": ["1000/hour"]}
_SETTINGS: dict[str, Any] = {
    "limits": _LIMITS,
    "guard": {**PERMISSIVE, "modes": {"number.cooldown": "off"}},
    "streams": {"max_outbox": 10_000_000, "max_events": 10_000_000},
    "gateways": {"sandbox": {"kind": "sandbox", "prices": {"*": "2.50"}}},
}


class Taking(Scripted):
    """A gateway that takes each message under a reference of its own."""

    def send(self, message: Message) -> Accepted:
        """Take it."""
        self.sent.append(message)
        return Accepted(f"SM{len(self.sent):032x}")


@dataclass
class Site:
    """An installation, and the people who come."""

    shop: Caller
    client: redis.Redis
    gateway: Taking = field(default_factory=Taking)

    @classmethod
    def build(cls, stack: ExitStack, folder: Path, rows: str) -> "Site":
        """Start Valkey, as in production with an append-only file, and PostgreSQL; they end with the stack."""
        folder.mkdir()
        url = ledger_url(stack, POSTGRESQL, folder)
        ledger = open_ledger(url, 60.0)
        ledger.upgrade()
        ledger.database.close()
        valkey = ValkeyServer(folder, options=("--appendonly", "yes", "--auto-aof-rewrite-percentage", "0"))
        stack.callback(valkey.stop)
        world = World(valkey.client, valkey.url, lambda _: None)
        installation = world.install(ledger={"url": url, "rows": rows}, **_SETTINGS)
        stack.callback(installation.close)
        return cls(Caller(installation), valkey.client)

    def start(self, people: Iterable[int], *, retry: bool = False) -> list[str]:
        """Start a verification of each, with an idempotency key or without."""
        return [
            self.shop.start(
                f"+92345{one:07d}",
                self.shop.retry(f"{one:032x}", "start", one) if retry else None,
                client_ip=f"10.{one >> 16 & 255}.{one >> 8 & 255}.{one & 255}",
                context=f"{one:032x}",
            )
            for one in people
        ]

    def deliver(self) -> None:
        """Deliver all messages, and report each as delivered."""
        sender, told = Sender(self.shop, sandbox=self.gateway), len(self.gateway.sent)
        while sender.deliver():
            pass
        for one in self.gateway.sent[told:]:
            if not record_receipt(self.shop.context, "sandbox", one.dispatch_id, DELIVERED):
                raise SystemExit("A receipt was not taken.")

    def check(self, codes: Iterable[tuple[str, str]]) -> None:
        """Check the right code of each."""
        for one, code in codes:
            if not self.shop.check(one, code)[1]:
                raise SystemExit("A right code was not approved.")

    def record(self) -> None:
        """Bring all events into the ledger."""
        record_events(self.shop.context)  # the first time there is no group yet that could tell how many wait
        while self.shop.context.store.events.unrecorded():
            record_events(self.shop.context)


def main() -> int:
    """Measure and print; return 1 where bytes are others than in the code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=20_000)
    parser.add_argument("--messages", type=int, default=3000, help="through a worker")
    options = parser.parse_args()
    configure_logging("CRITICAL", Renderer.CONSOLE)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="otp-service-sizing-")))
        site = Site.build(stack, folder / "events", "events")
        print(describe(site.client), flush=True)
        found = {**_steps(site, options.people), **_rows(site), **_sizes(site)}
        found |= _whole(Site.build(stack, folder / "whole", "verifications"), options.people // 4, found["events"])
        flow = throughput.push(folder / "worker", StandIn("http", milliseconds=throughput.CALL), options.messages)
    found |= {"worker_message": flow.cost, "worker_busy": flow.per_second / throughput.MOST}
    return _tell(found)


def _steps(site: Site, count: int) -> dict[str, float]:
    """Let people prove their numbers; return what each step asks of Valkey, and the time of an event's record."""
    site.start(range(count, count + _WARM))
    site.deliver()
    site.record()
    found: dict[str, float] = {}
    ids: list[str] = []

    def measure(step: str, act: Callable[[], object], times: int) -> None:
        before, began = _look(site.client), time.monotonic()
        act()
        found[f"{step}_seconds"] = (time.monotonic() - began) / times
        for what, after in _look(site.client).items():
            found[f"{what}_{step}"] = (after - before[what]) / times

    measure("start", lambda: ids.extend(site.start(range(count))), count)
    measure("delivery", site.deliver, count)
    codes = [(one, site.shop.code(one)) for one in ids]
    measure("check", lambda: site.check(codes), count)
    events = site.shop.context.store.events.unrecorded()
    measure("event", site.record, events)
    print(f"{events / count:g} events a verification")
    return {**found, "recording": 1e6 * found["event_seconds"], "events": events / count}


def _whole(site: Site, count: int, events: float) -> dict[str, float]:
    """Let people prove their numbers, some at once; return what it takes until it is in a row, and there."""
    spent: list[float] = []
    waiting = 0
    for first in range(0, count, _TOGETHER):
        ids = site.start(range(first, first + _TOGETHER))
        site.deliver()
        site.check((one, site.shop.code(one)) for one in ids)
        if not first:
            events_of(site.shop.context)  # they are a recorder's from then on
            waiting = _usage(site, keys.events)
        began = time.monotonic()
        record_events(site.shop.context, whole=True)
        spent.append(time.monotonic() - began)
    with site.shop.context.ledger.database.read() as connection:
        happened = float(
            connection.execute(text("SELECT avg(pg_column_size(happened)) FROM verifications")).scalar_one()
        )
    return {
        "waiting_event": waiting / _TOGETHER / events,
        "ledger_folded_verification": _rows(site)["ledger_verification"] - happened,
        "ledger_folded_event": happened / events,
        "recording_folded": 1e6 * statistics.median(spent) / _TOGETHER / events,
    }


def _look(client: redis.Redis) -> dict[str, float]:
    info = client.info("everything")
    return {
        "valkey": 1e6 * (info["used_cpu_user_main_thread"] + info["used_cpu_sys_main_thread"]),
        "wire": info["total_net_input_bytes"] + info["total_net_output_bytes"],
        "replicated": info["aof_current_size"],
    }


def _rows(site: Site) -> dict[str, float]:
    """Return the bytes of a row of each table, with its indexes."""
    with site.shop.context.ledger.database.read() as connection:
        return {
            name: float(connection.execute(text(_SIZE.format(table=table))).scalar_one())
            for name, table in TABLES.items()
        }


def _sizes(site: Site) -> dict[str, float]:
    """Return the bytes of a key of each kind by itself, and of each verification that a number's state names."""
    some = range(_PART)
    kept = {name: list(_dumped(site.client, kind)) for name, kind in KINDS.items()}
    site.start(some, retry=True)
    kept["idempotency_key"] = list(_dumped(site.client, keys.idempotency))
    before = _usage(site, keys.number)
    for _ in range(_FURTHER):
        site.start(some)
    further = (_usage(site, keys.number) - before) / _PART / _FURTHER
    return {**{name: _restored(site.client, one) for name, one in kept.items()}, "number_verification": further}


def _usage(site: Site, kind: keys.Key) -> int:
    pipeline = site.client.pipeline(transaction=False)
    for key in _of(site.client, kind):
        pipeline.memory_usage(key)
    return sum(pipeline.execute())


def _of(client: redis.Redis, kind: keys.Key) -> Iterator[bytes]:
    return (key for key in client.scan_iter(count=10_000) if kind.has(key.decode()))


def _dumped(client: redis.Redis, kind: keys.Key) -> Iterator[tuple[bytes, bytes]]:
    for key in list(_of(client, kind)):
        yield key, client.dump(key)


def _restored(client: redis.Redis, dumped: Sequence[tuple[bytes, bytes]]) -> float:
    """Return what a key takes of an empty Valkey's memory, with its place in the table of keys."""
    client.flushall(asynchronous=False)
    before = _data(client)
    for place in range(0, len(dumped), _PART):
        pipeline = client.pipeline(transaction=False)
        for key, value in dumped[place : place + _PART]:
            pipeline.restore(key, 3_600_000, value)
        pipeline.execute()
    return (_data(client) - before) / client.dbsize()


def _data(client: redis.Redis) -> int:
    """Return the bytes in use, without what connections and the append-only file hold for a moment."""
    time.sleep(_SETTLED)
    memory: dict[str, int] = client.info("memory")
    return memory["used_memory"] - memory["mem_clients_normal"] - memory["mem_aof_buffer"]


def _tell(found: dict[str, float]) -> int:
    missed = False
    for name, (value, unit, source) in FIGURES.items():
        here = found.get(name)
        if here is None:
            print(f"{name:20} {value:9,.4g} {unit:14}           {source}")
            continue
        is_other = unit == "bytes" and abs(here / value - 1) > TOLERANCE
        missed |= is_other
        print(f"{name:20} {value:9,.4g} {unit:14} {here:9,.4g} {'OTHER' if is_other else ''}")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
