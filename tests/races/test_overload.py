"""More requests than the service can answer: behind its proxy it says so early, does what it can, and recovers."""

import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from statistics import quantiles

import pytest
import requests
from support_crowd import CHECKED, STARTED, Crowd
from support_missing import missing
from support_proxy import HAPROXY, proxied
from support_rotation import FREE
from support_service import eventually, in_parallel, running
from support_slow import far_away
from support_valkey import ValkeyServer

CALLERS = 80
LATENCY = 0.05
MOST = 4 / LATENCY
"""Requests a second that four threads can answer, whatever the machine: each waits so long for Redis."""
SECONDS = 3.0
IN_TIME = 1.5
"""Seconds within which 19 of 20 are answered: half a second in the queue, and those passed on before. The others may
have met a disk or a machine that stood still for a moment."""
TOLD_IN = 1.0
"""Seconds within which whoever is refused knows: half a second in the queue, which needs the proxy alone."""

if HAPROXY is None:
    missing("HAProxy")


@pytest.fixture
def valkey(tmp_path: Path):
    server = ValkeyServer(tmp_path)
    yield server
    server.stop()


@pytest.mark.timeout(120)
def test_overload_is_told_early_and_is_over_with_the_load(tmp_path: Path, valkey: ValkeyServer):
    with far_away(valkey.port) as redis:
        sections = {"redis": {"url": f"redis://127.0.0.1:{redis.port}/0"}, "limits": FREE}
        with running(tmp_path, valkey, workers=0, **sections) as service:
            all_connect = [{"to": f"+9230299{place:05d}"} for place in range(24)]
            in_parallel(24, lambda place: service.post("/v1/verifications", all_connect[place]))
            redis.set(LATENCY)
            probes = []
            port = int(service.base.rpartition(":")[2])
            with proxied(tmp_path, [port]) as proxy:
                behind = replace(service, base=proxy.base)
                eventually(lambda: proxy.is_up(0))
                with Crowd(behind, CALLERS) as crowd:
                    end = time.monotonic() + SECONDS
                    while time.monotonic() < end:
                        probes += [_probed(f"{behind.base}/{path}") for path in ("healthz", "readyz")]
                        time.sleep(0.1)
                redis.set(0.0)
                after = in_parallel(8, lambda place: behind.post("/v1/verifications", {"to": f"+9230199{place:05d}"}))

    refused = [one for one in crowd.answers if one.what == (503, "overloaded")]
    answered = [one for one in crowd.answers if one.what in {STARTED, CHECKED}]
    assert crowd.failures == []
    assert {one.what for one in crowd.answers} == {STARTED, CHECKED, (503, "overloaded")}
    assert {one.retry_after for one in refused} == {"1"}
    assert max(one.seconds for one in refused) < TOLD_IN + crowd.held_up
    assert _most(one.seconds for one in answered) < IN_TIME + crowd.held_up
    assert len(answered) > MOST * SECONDS / 2, "it goes on to do what it can"
    assert {status for status, _ in probes} == {200}
    assert _most(seconds for _, seconds in probes) < IN_TIME + crowd.held_up
    assert {answer.status_code for answer in after} == {201}


def _most(seconds: Iterable[float]) -> float:
    """Return the longest of all but the slowest twentieth."""
    return quantiles(seconds, n=20)[-1]


def _probed(url: str) -> tuple[int, float]:
    began = time.monotonic()
    status = requests.get(url, timeout=10).status_code
    return status, time.monotonic() - began
