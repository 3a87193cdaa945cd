"""Many clients enrol apps at a service with its default settings, whose ledger is a PostgreSQL."""

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http import HTTPStatus
from pathlib import Path

import psycopg
import pyotp
import pytest
import requests
from support_installation import API_KEY
from support_postgres import PostgresServer
from support_service import LIMITS, Service, eventually, in_parallel, running
from support_valkey import ValkeyServer

CLIENTS = 10
EACH = 10
MANY = 60
"""Requests at once: more than all threads of the service."""
HANGS = 20.0
"""Seconds after which a call to the ledger is given up."""
pytestmark = pytest.mark.timeout(400)


@pytest.fixture
def ledger(postgres_server: PostgresServer, postgres_template: str) -> str:
    """The address of a new ledger."""
    return postgres_server.url(postgres_server.create(postgres_template))


def test_no_enrolment_of_ten_clients_is_refused(ledger: str, tmp_path: Path, valkey: ValkeyServer):
    with running(tmp_path, valkey, workers=0, ledger={"url": ledger}, limits=LIMITS) as service:
        answers = in_parallel(CLIENTS, lambda client: _enrol(service, client))

    statuses = Counter(status for client in answers for status in client)
    assert statuses == {HTTPStatus.CREATED: CLIENTS * EACH, HTTPStatus.OK: CLIENTS * EACH}


def test_while_the_ledger_hangs_starts_and_checks_go_on(ledger: str, tmp_path: Path, valkey: ValkeyServer):
    bodies = [{"user": f"user-{number}", "label": "ali@example.com"} for number in range(MANY)]
    settings = {"ledger": {"url": ledger, "timeout": HANGS}, "limits": LIMITS}
    with running(tmp_path, valkey, workers=0, **settings) as service, ThreadPoolExecutor(MANY) as pool:
        waiting = service.start()
        with closing(psycopg.connect(ledger)) as blocker:
            blocker.execute("LOCK TABLE factors IN ACCESS EXCLUSIVE MODE")
            began = time.monotonic()
            enrolments = [pool.submit(service.post, "/v1/factors", body) for body in bodies]
            eventually(lambda: sum(enrolment.done() for enrolment in enrolments) >= MANY / 2)
            for _ in range(10):
                service.start()
                service.check(waiting, "000000")
            seconds = time.monotonic() - began
            hanging = sum(not enrolment.done() for enrolment in enrolments)
            blocker.rollback()
        codes = Counter(enrolment.result().json().get("code") for enrolment in enrolments)

    assert seconds < HANGS, "no start or check waited for one that hangs"
    assert codes == {None: hanging, "ledger-unavailable": MANY - hanging}
    assert 0 < hanging <= 20


def _enrol(service: Service, client: int) -> list[int]:
    """Enrol and activate apps of as many users, over one connection; return the statuses."""
    statuses = []
    with requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {API_KEY}"
        for number in range(EACH):
            user = {"user": f"user-{client}-{number}", "label": "ali@example.com"}
            enrolled = session.post(f"{service.base}/v1/factors", json=user, timeout=30)
            statuses.append(enrolled.status_code)
            if not enrolled.ok:
                continue
            code = pyotp.parse_uri(enrolled.json()["uri"]).now()
            path = f"{service.base}/v1/factors/{enrolled.json()['factor']['id']}/activate"
            statuses.append(session.post(path, json={"code": code}, timeout=30).status_code)
    return statuses
