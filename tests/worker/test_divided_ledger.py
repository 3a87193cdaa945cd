"""Workers that record in several ledgers: commands tell all that happened, whoever dies and whatever is away."""

import json
import signal
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select
from structlog.testing import capture_logs
from support_caller import Caller
from support_cli import run
from support_guard import PERMISSIVE
from support_installation import World
from support_ledger import another_ledger
from support_outbox import waiting
from support_service import LIMITS, Service, eventually, running
from support_valkey import ValkeyServer

from otp_service.ledger.ledger import Ledger
from otp_service.ledger.schema import verifications
from otp_service.telemetry import metrics
from otp_service.worker.recorder import recorders

FIRST, SECOND = 24, 24
"""Starts before and after a worker is killed."""


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    valkey = ValkeyServer(tmp_path)
    ledgers = [f"sqlite:///{tmp_path}/{name}.db" for name in ("people", "first", "second")]
    ledger = {"url": ledgers[0], "traffic_urls": ledgers[1:]}
    environ = {"OTP_SERVICE__KEYS__BUCKETS": "8"}
    sections: dict[str, Any] = {"limits": LIMITS, "http": {"processes": 1}, "ledger": ledger}
    try:
        with running(tmp_path, valkey, workers=2, environ=environ, **sections) as started:
            yield started
    finally:
        valkey.stop()


def told(service: Service, *command: str) -> Any:
    result = run(*command, "--json", environ={**service.keys, "OTP_SERVICE_CONFIG": str(service.config)})
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def counted(service: Service) -> tuple[str, str]:
    """Return how many were started and approved, as the report of the month says."""
    month = told(service, "report", "--exact", "--month", f"{datetime.now(UTC):%Y-%m}")["stats"]
    shown = {one["figure"]: one["shown"] for one in month if one["section"] == "Verifications by country"}
    return shown["started"], shown["approved"]


def test_what_was_recorded_in_several_ledgers_is_all_that_happened(service: Service) -> None:
    numbers = [f"+9230{last:04}4567" for last in range(FIRST + SECOND)]
    ids = [service.start(one) for one in numbers[:FIRST]]
    victim = service.workers.pop()
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    ids += [service.start(one) for one in numbers[FIRST:]]
    eventually(lambda: not waiting(service.valkey.client))
    for one in ids[::2]:
        assert service.check(one, service.code(one))["valid"]
    eventually(lambda: counted(service) == ("48", "24"), 90)
    service.stop()
    service.valkey.client.flushall()

    for to, one in zip(numbers, ids, strict=True):
        (found,) = told(service, "find", to)["verifications"]
        assert (found["id"], found["status"] == "approved") == (one, one in ids[::2])
    assert ids[0] in json.dumps(told(service, "subject", "export", numbers[0]))
    tables = {one["table"]: one["rows"] for one in told(service, "ledger", "status")["tables"]}
    assert tables["verifications"] == len(ids)
    assert told(service, "audit", "verify")["flaws"] == []
    assert len(told(service, "audit", "export", "--from", "2020-01-01")["verifications"]) == len(ids)
    head = told(service, "audit", "head")
    assert len({one["ledger"] for one in (head, *head["others"])}) == 3


def rows(ledger: Ledger) -> int:
    with ledger.database.read() as connection:
        return int(connection.execute(select(func.count()).select_from(verifications)).scalar_one())


@pytest.mark.parametrize("kept", ["events", "verifications"])
def test_while_one_ledger_is_away_the_others_record(world: World, monkeypatch: pytest.MonkeyPatch, kept: str) -> None:
    for interval, seconds in (("_UPKEEP_INTERVAL", 0.1), ("_TELL_INTERVAL", 600.0)):
        monkeypatch.setattr(f"otp_service.worker.recorder.{interval}", seconds)
    urls = [another_ledger() for _ in range(3)]
    ledger = {"url": urls[0], "traffic_urls": urls[1:], "timeout": 0.5, "rows": kept}
    shop = Caller(world.install(ledger=ledger, keys={"buckets": 8}, limits=PERMISSIVE))
    _, first, second = shop.context.ledger.every
    theirs = [0, 0]

    def come_and_go() -> None:
        for number in (f"+923001{last:02}4567" for last in range(20)):
            theirs[int(shop.context.keyring.bucket(shop.context.keyring.pseudonym(number)), 16) % 2] += 1
            shop.cancel(shop.start(number))

    def errors() -> float:
        return metrics.REGISTRY.get_sample_value("otp_service_ledger_errors_total", {"operation": "recorder"}) or 0

    running = recorders(shop.context, "worker", 0.5, 0.2, whole=kept == "verifications")
    before = errors()
    with sqlite3.connect(urls[2].removeprefix("sqlite:///"), isolation_level=None) as holder, capture_logs() as lines:
        holder.execute("BEGIN IMMEDIATE")
        for recorder in running:
            recorder.start()
        try:
            for _ in range(2):
                come_and_go()
                eventually(lambda: rows(first) == theirs[0])
            eventually(lambda: errors() >= before + 3)
            assert rows(second) == 0
            left = metrics.REGISTRY.get_sample_value
            eventually(lambda: left("otp_service_events_unrecorded") == shop.context.store.events.unrecorded())
            holder.execute("ROLLBACK")
            eventually(lambda: rows(second) == theirs[1])
            eventually(lambda: left("otp_service_events_unrecorded") == 0)
        finally:
            for recorder in running:
                recorder.stop()

    counted = {one.of[0]: one.times for one in shop.context.ledger.stats.sums(0, 1 << 50, ("what",))}
    assert counted["verification.started"] == counted["verification.canceled"] == sum(theirs) == 40
    away = [one["recorder"] for one in lines if one["event"] == "ledger_unavailable"]
    assert away.count("worker-2-of-2") == 1, "however often it was tried"
