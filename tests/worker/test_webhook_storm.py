"""Webhooks by real worker processes that are killed with -9, over a database that crashes: none is lost."""

import time

import pytest
from support_service import running
from support_valkey import ValkeyServer
from support_webhook_storm import CRASHES, KILLS, storm
from support_webhooks import LOOPBACK, receiving

from otp_service.ledger.ledger import Ledger

FREE = {"number": ["100/10 minutes"], "application": ["1000000/minute"], "ip": ["100000/minute"]}
STARTS = 120


@pytest.fixture
def valkey(tmp_path):
    server = ValkeyServer(tmp_path)
    yield server
    server.stop()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_no_webhook_is_lost_when_workers_and_the_database_are_killed(tmp_path, valkey, request, kind):
    url, crash = f"sqlite:///{tmp_path / 'ledger.db'}", None
    if kind == "postgresql":
        server = request.getfixturevalue("postgres_server")
        url = server.url(server.create(request.getfixturevalue("postgres_template")))

        def crash():
            server.kill()
            time.sleep(0.3)
            server.start()

    sections = {"webhooks": {"networks": LOOPBACK, "timeout": 2.0}, "ledger": {"url": url, "timeout": 2.0}}
    with (
        receiving() as receiver,
        running(tmp_path, valkey, workers=2, limits=FREE, worker={"concurrency": 4}, **sections) as service,
    ):
        ledger = Ledger(url, 5.0)
        books = storm(service, receiver, ledger, STARTS, crash)
        ledger.database.close()

    assert books.breaches() == []
    assert len(books.recorded) >= 2 * STARTS * 0.9
    assert books.kills["workers"] >= KILLS
    assert books.kills["database"] == (CRASHES if crash else 0)
    assert books.refused > 0
