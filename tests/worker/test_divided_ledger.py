"""Workers that record in several ledgers and are killed with -9: what commands tell afterwards is all that happened."""

import json
import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from support_cli import run
from support_outbox import waiting
from support_service import LIMITS, Service, eventually, running
from support_valkey import ValkeyServer

FIRST, SECOND = 24, 24
"""Starts before and after a worker is killed."""


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    valkey = ValkeyServer(tmp_path)
    ledgers = [f"sqlite:///{tmp_path}/{name}.db" for name in ("people", "first", "second")]
    ledger = {"url": ledgers[0], "traffic_urls": ledgers[1:]}
    environ = {"OTP_SERVICE__KEYS__BUCKET_BITS": "3"}
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
    month = told(service, "report", "--exact", "--month", f"{datetime.now(UTC):%Y-%m}")["figures"]
    shown = {one["figure"]: one["shown"] for one in month if one["section"] == "Verifications by country"}
    return shown["started"], shown["approved"]


def test_what_was_recorded_in_several_ledgers_is_all_that_happened(service: Service) -> None:
    numbers = [f"+92300123{number:04}" for number in range(FIRST + SECOND)]
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

    for number, one in zip(numbers, ids, strict=True):
        (found,) = told(service, "find", number)["verifications"]
        assert (found["id"], found["status"] == "approved") == (one, one in ids[::2])
    assert ids[0] in json.dumps(told(service, "subject", "export", numbers[0]))
    tables = {one["table"]: one["rows"] for one in told(service, "ledger", "status")["tables"]}
    assert tables["verifications"] == len(ids)
    assert told(service, "audit", "verify")["flaws"] == []
    assert len(told(service, "audit", "export", "--from", "2020-01-01")["verifications"]) == len(ids)
    head = told(service, "audit", "head")
    assert len({one["ledger"] for one in (head, *head["others"])}) == 3
