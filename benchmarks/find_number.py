"""How long support waits for the story of a number or an identifier: ``make bench-find``. A minute. Needs PostgreSQL.

A million verifications of others are in the ledger, each with its start and its delivery, and 200,000 events of theirs
in the stream, all of the last minutes, the last ones not recorded yet. The records of the number that is asked for have
gone. Rows are made by the databases themselves; the audit chain, which nobody reads here, has no entries of them.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rig_workers import BUCKET
from sqlalchemy import text
from support_caller import Caller
from support_events import record_events
from support_installation import NUMBER, World
from support_outbox import Scripted, Sender
from support_postgres import PostgresServer
from support_valkey import ValkeyServer

from otp_service.domain.keyring import new_request_id
from otp_service.domain.numbers import Destination, parse_destination
from otp_service.ledger.database import POSTGRESQL, Database
from otp_service.ledger.ledger import Ledger
from otp_service.services.context import Context
from otp_service.services.identifiers import identify
from otp_service.services.number_history import NumberHistory, find_number_history, find_verification
from otp_service.store import keys
from otp_service.store.events import GROUP
from otp_service.telemetry.logging import Renderer, configure_logging, log_context

AT_MOST = 300.0
"""Milliseconds that an answer may take."""
WITHOUT_LEDGER = "the number, while the ledger is away: from Redis alone"
REPEATED = 15
MINE = 20
_COUNTED = "WITH RECURSIVE counted(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM counted WHERE i < :many)"
_VERIFICATIONS = """
INSERT INTO verifications (id, application, pseudonym, purpose, country, started, payment, payment_reference, expires,
    status, ended)
SELECT 'vf_other_' || i, 'shop', 'other' || (CAST(i AS BIGINT) * 7919) % 300007, 'login', 'PK',
    :now - 2000 * CAST(:many - i AS BIGINT), '', '', :now, 'approved', :now FROM counted"""
_STARTS = """
INSERT INTO events (id, verification, type, at, gateway, details)
SELECT '00:' || i || '-0:other', 'vf_other_' || i, 'verification.started', :now - 2000 * CAST(:many - i AS BIGINT), '',
    :start FROM counted"""
_DELIVERIES = """
INSERT INTO events (id, verification, type, at, gateway, details)
SELECT '00:' || i || '-1:other', 'vf_other_' || i, 'delivery.delivered', :now - 2000 * CAST(:many - i AS BIGINT),
    'sandbox', :delivery FROM counted"""
_DELIVERED = {"channel": "sms", "slot": "d1.1", "raw_status": "delivered", "reference": "SM0123456789abcdef"}
_CHUNK = 5000


@dataclass(frozen=True)
class Site:
    """An installation whose ledger and stream are full."""

    context: Context
    to: Destination
    ids: tuple[str, ...]
    dispatch: str
    """Of the first of them."""
    request: str
    """That started all of them."""


def main() -> int:
    """Build and ask on each database; return 1 when an answer was too slow, or not whole."""
    options = _options()
    configure_logging("CRITICAL", Renderer.CONSOLE)
    print("| | median, ms | slowest, ms |\n|---|---:|---:|", flush=True)
    failed = False
    for database in options.databases:
        with ExitStack() as stack:
            site = _build(stack, database, options)
            for name, ask in _questions(site):
                spent, whole = _measure(ask)
                told = f"{statistics.median(spent):.1f} | {max(spent):.1f}"
                print(f"| {database}: {name} | {told} |{'' if whole else ' not whole'}", flush=True)
                failed |= not whole or (name != WITHOUT_LEDGER and statistics.median(spent) > AT_MOST)
    return int(failed)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("databases", nargs="*", default=["sqlite", "postgresql"])
    parser.add_argument("--verifications", type=int, default=1_000_000)
    parser.add_argument("--events", type=int, default=200_000, help="in the stream")
    parser.add_argument("--unrecorded", type=int, default=2_000, help="of them: what a recorder is behind")
    return parser.parse_args()


def _build(stack: ExitStack, database: str, options: argparse.Namespace) -> Site:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="otp-service-finding-")))
    url = ledger_url(stack, database, folder)
    ledger = Ledger(url, 600.0)
    ledger.upgrade()
    began = time.monotonic()
    details = {"start": json.dumps({"channel": "sms"}), "delivery": json.dumps(_DELIVERED)}
    fill(ledger.database, (_VERIFICATIONS, _STARTS, _DELIVERIES), many=options.verifications, **details)
    ledger.database.close()
    print(f"{database}: {options.verifications:,} verifications in {time.monotonic() - began:.0f} s", file=sys.stderr)
    valkey = ValkeyServer(folder)
    stack.callback(valkey.stop)
    installation = World(valkey.client, valkey.url, lambda _: None).install(
        ledger={"url": url}, limits={"number": ["1000/hour"]}
    )
    stack.callback(installation.close)
    shop = Caller(installation)
    request = new_request_id(time.time_ns() // 1_000_000)
    with log_context(request_id=request):
        ids = tuple(reversed([shop.start() for _ in range(MINE)]))
    Sender(shop, sandbox=Scripted()).deliver()
    (dispatch,) = (one.dispatch_id or "" for one in shop.read(ids[0]).verification.deliveries)
    record_events(shop.context)
    valkey.client.delete(keys.dispatch(BUCKET, dispatch), *(keys.record(BUCKET, one) for one in ids))
    _happen(valkey, options.events - options.unrecorded - valkey.client.xlen(keys.events(BUCKET)))
    valkey.client.xgroup_setid(keys.events(BUCKET), GROUP, "$")
    _happen(valkey, options.unrecorded)
    return Site(shop.context, parse_destination(NUMBER, None), ids, dispatch, request)


def ledger_url(stack: ExitStack, database: str, folder: Path) -> str:
    """Return the address of a new database, which ends with the stack."""
    if database != POSTGRESQL:
        return f"sqlite:///{folder / 'ledger.db'}"
    server = PostgresServer()
    stack.callback(server.stop)
    return server.url(server.create())


def fill(database: Database, statements: Iterable[str], **values: Any) -> None:
    """Let a database make its rows: statements insert what they select ``FROM counted``, from 1 to ``:many``."""
    values["now"] = time.time_ns() // 1_000_000
    with database.write(any_key=True) as connection:
        for statement in statements:
            connection.execute(text(statement.replace("SELECT", f"{_COUNTED} SELECT", 1)), values)
        connection.execute(text("ANALYZE"))


def _happen(valkey: ValkeyServer, count: int) -> None:
    """Let events of others happen."""
    told = {"type": "delivery.delivered", "application": "shop", "purpose": "login", "country": "PK",
            "gateway": "sandbox", **_DELIVERED}  # fmt: skip
    for first in range(0, count, _CHUNK):
        pipeline = valkey.client.pipeline(transaction=False)
        for place in range(first, min(first + _CHUNK, count)):
            pipeline.xadd(keys.events(BUCKET), {"json": json.dumps({**told, "id": f"vf_k1_00{place:032x}"})})
        pipeline.execute()


def _questions(site: Site) -> Iterator[tuple[str, Callable[[], bool]]]:
    alone = replace(site.context, ledger=Ledger("sqlite:////nowhere/ledger.db", 1.0))

    def by_number() -> bool:
        return _is_whole(find_number_history(site.context, site.to), site.ids)

    def by_id() -> bool:
        return _is_whole(find_verification(site.context, site.ids[0]), site.ids[:1])

    def by_dispatch() -> bool:
        return identify(site.context, site.dispatch).verifications == site.ids[:1]

    def by_reference() -> bool:
        return {*identify(site.context, "SM1").verifications} == {*site.ids}

    def by_request() -> bool:
        return {*identify(site.context, site.request).verifications} == {*site.ids}

    def without_ledger() -> bool:
        return _is_whole(find_number_history(alone, site.to), site.ids, from_ledger=False)

    yield "a number whose records have gone", by_number
    yield "one of its verifications, by its identifier", by_id
    yield "the identifier of a request, to verifications", by_request
    yield "that of a dispatch, of two days", by_dispatch
    yield "a gateway's reference, of two days", by_reference
    yield WITHOUT_LEDGER, without_ledger


def _is_whole(found: NumberHistory, ids: tuple[str, ...], *, from_ledger: bool = True) -> bool:
    told = [(one.history.id, len(one.history.deliveries), one.explanation.why) for one in found.verifications]
    return (
        found.complete >= from_ledger
        and found.from_ledger == from_ledger
        and told == [(one, 1, "taken") for one in ids]
    )


def _measure(ask: Callable[[], bool]) -> tuple[list[float], bool]:
    spent, whole = [], True
    for _ in range(REPEATED):
        began = time.perf_counter()
        whole &= ask()
        spent.append(1000 * (time.perf_counter() - began))
    return spent, whole


if __name__ == "__main__":
    raise SystemExit(main())
