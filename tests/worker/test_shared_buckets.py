"""Workers that share buckets: whichever comes, goes or is killed, each message is sent once and each event recorded."""

import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from support_outbox import waiting
from support_service import Service, eventually, running
from support_valkey import ValkeyServer

from otp_service.store import keys

FREE = {"number": ["100/10 minutes"], "application": ["1000000/minute"], "ip": ["100000/minute"]}
BUCKETS = [f"{bucket:02x}" for bucket in range(16)]


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    valkey = ValkeyServer(tmp_path)
    environ = {"OTP_SERVICE__KEYS__BUCKETS": "16"}
    try:
        with running(tmp_path, valkey, workers=3, environ=environ, limits=FREE, http={"processes": 1}) as started:
            eventually(lambda: _leases(started) == [3, 3])
            yield started
    finally:
        valkey.stop()


def _leases(service: Service) -> list[int]:
    return [service.valkey.client.zcard(keys.leases(duty)) for duty in ("deliver", "record")]


def _started(service: Service, first: int) -> list[str]:
    return [service.start(f"+92300123{number:04}") for number in range(first, first + 48)]


def _texts(service: Service, ids: list[str]) -> Counter[int]:
    return Counter(len(service.texts(one)) for one in ids)


def _unrecorded(service: Service) -> int:
    client = service.valkey.client
    groups = [group for bucket in BUCKETS for group in client.xinfo_groups(keys.events(bucket))]
    return sum(group["pending"] + (group["lag"] or 0) for group in groups)


def test_what_a_killed_worker_served_is_served_by_others_within_seconds(service: Service) -> None:
    ids = _started(service, 0)
    eventually(lambda: not waiting(service.valkey.client))
    victim = service.workers.pop()
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    began = time.monotonic()
    ids += _started(service, 100)
    eventually(lambda: not waiting(service.valkey.client))
    took = time.monotonic() - began
    eventually(lambda: not _unrecorded(service))

    assert _texts(service, ids) == {1: 96}
    assert took < 10
    assert eventually(lambda: _leases(service) == [2, 2])


def test_workers_come_and_go_and_nothing_waits_or_is_sent_twice(service: Service) -> None:
    ids = _started(service, 0)
    service.launch_worker()
    ids += _started(service, 100)
    leaving = service.workers.pop(0)
    leaving.terminate()
    ids += _started(service, 200)
    assert leaving.wait(30) == 0
    eventually(lambda: not waiting(service.valkey.client) and not _unrecorded(service))

    assert _texts(service, ids) == {1: 144}
    assert eventually(lambda: _leases(service) == [3, 3])
