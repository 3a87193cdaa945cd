"""Delivery by real worker processes: what is accepted is delivered or reported."""

import random
import re
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
import requests
from support_cli import run
from support_outbox import DEAD, DELAYED, queue, waiting
from support_service import Service, eventually, in_parallel, running
from support_valkey import ValkeyServer, free_port

FREE = {"number": ["100/10 minutes"], "application": ["1000000/minute"], "ip": ["100000/minute"]}


@pytest.fixture
def valkey(tmp_path: Path):
    server = ValkeyServer(tmp_path)
    yield server
    server.stop()


def _killed_at_random(service: Service, remaining) -> int:
    """Kill a worker with -9 again and again, and start another, until nothing remains."""
    chance, kills = random.Random(7), 0
    while remaining():
        _all_at_work(service, kills)  # one that only starts loses nothing
        victim = chance.choice(service.workers)
        eventually(lambda: waiting(service.valkey.client) or not remaining())
        victim.send_signal(signal.SIGKILL)
        victim.wait()
        service.workers.remove(victim)
        service.launch_worker()
        kills += 1
        try:
            eventually(lambda: not remaining(), chance.uniform(0.5, 1.5))
        except AssertionError:
            continue
    return kills


def _all_at_work(service: Service, killed: int) -> None:
    eventually(lambda: service.told("worker_started") == len(service.workers) + killed)


def test_workers_killed_at_random_lose_nothing_and_repeat_only_what_was_in_flight(tmp_path: Path, valkey: ValkeyServer):
    gateways = {"sandbox": {"kind": "sandbox", "timeout": 1.0, "delay": 0.15}}
    with running(tmp_path, valkey, workers=2, limits=FREE, gateways=gateways, worker={"concurrency": 4}) as service:
        ids = in_parallel(20, lambda place: [service.start(f"+92300{place:02d}{one:05d}") for one in range(10)])
        ids = [one for some in ids for one in some]

        def remaining() -> int:
            return waiting(service.valkey.client) + int(service.valkey.client.zcard(DELAYED))

        kills = _killed_at_random(service, remaining)
        texts = {one: len(service.texts(one)) for one in ids}
        stories = {one: service.get(f"/v1/verifications/{one}").json()["deliveries"] for one in ids}
        letters = {fields[b"id"].decode(): fields[b"reason"] for _, fields in service.valkey.client.xrange(DEAD)}

    received = Counter(texts.values())
    interrupted = {one: sum(call["reason"] == "interrupted" for call in story) for one, story in stories.items()}
    in_flight = sum(interrupted.values())
    twice = [one for one, times in interrupted.items() if times == 2]
    assert kills >= 3
    assert letters == dict.fromkeys(twice, b"too_many_ambiguous"), "it may have been sent twice: nobody tries once more"
    assert all(stories[one][-1]["status"] == "sent" and texts[one] for one in ids if one not in letters), "lost"
    assert received[2] + 2 * received[3] <= in_flight <= kills * 4, (received, in_flight, kills)


def test_a_worker_that_is_asked_to_stop_finishes_what_is_in_flight(tmp_path: Path, valkey: ValkeyServer):
    gateways = {"sandbox": {"kind": "sandbox", "timeout": 5.0, "delay": 1.0}}
    with running(tmp_path, valkey, gateways=gateways) as service:
        one = service.start()
        eventually(lambda: service.get(f"/v1/verifications/{one}").json()["deliveries"][0]["gateway"])
        (worker,) = service.workers
        worker.send_signal(signal.SIGTERM)

        assert worker.wait(10) == 0
        assert len(service.texts(one)) == 1
        assert waiting(service.valkey.client) == 0
        assert not any(one["pending"] for one in service.valkey.client.xinfo_consumers(queue(), "workers"))


def test_a_failed_gateway_hands_over_to_the_next_one(tmp_path: Path, valkey: ValkeyServer):
    gateways = {
        "first": {"kind": "sandbox", "timeout": 1.0, "fail": "unavailable"},
        "second": {"kind": "sandbox", "timeout": 1.0},
        "sandbox": {"kind": "sandbox", "timeout": 1.0},
    }
    routes = [{"gateways": ["first", "second"]}]
    with running(tmp_path, valkey, gateways=gateways, routes=routes) as service:
        one = service.start()
        service.code(one)
        story = (
            eventually(
                lambda: [
                    d for d in service.get(f"/v1/verifications/{one}").json()["deliveries"] if d["status"] == "sent"
                ]
            )
            and service.get(f"/v1/verifications/{one}").json()["deliveries"]
        )

    assert [(dispatch["gateway"], dispatch["status"]) for dispatch in story] == [
        ("first", "failed"),
        ("second", "sent"),
    ]
    assert story[0]["reason"].startswith("unavailable")


def test_a_gateway_that_refuses_our_account_is_passed_over_left_alone_and_named(tmp_path: Path, valkey: ValkeyServer):
    gateways = {
        "first": {"kind": "sandbox", "timeout": 5.0, "fail": "account"},
        "sandbox": {"kind": "sandbox", "timeout": 5.0},
    }
    metrics = free_port()
    sections = {"routes": [{"gateways": ["first", "sandbox"]}], "worker": {"metrics_port": metrics}, "limits": FREE}
    with running(tmp_path, valkey, gateways=gateways, **sections) as service:
        for one in [service.start(f"+9230012345{place}") for place in range(60, 67)]:
            service.code(one)
        eventually(lambda: service.told("breaker_open"))
        given_up = valkey.client.xlen(DEAD)
        told = run("doctor", "--config", str(service.config), environ=service.keys)
        exposed = requests.get(f"http://127.0.0.1:{metrics}/metrics", timeout=30).text

    assert given_up == 0, "every message came through by the second gateway"
    assert re.search(
        r"fail +gateways\.first: It refuses our account, for the last time .* ago: account sandbox", told.output
    )
    assert re.search(r"warn +gateways\.first: It is resting since it refuses our account", told.output)
    assert told.exit_code == 1
    (refusals,) = re.findall(r'^otp_service_gateway_account_errors_total{gateway="(\w+)"} (\d)', exposed, re.MULTILINE)
    assert refusals[0] == "first"
    assert int(refusals[1]) >= 5, "so many open the breaker"


@pytest.mark.parametrize("kind", ["rejected", "destination", "fraud"])
def test_a_failure_that_no_other_gateway_mends_is_given_up_with_a_reason(
    tmp_path: Path, valkey: ValkeyServer, kind: str
):
    gateways = {"sandbox": {"kind": "sandbox", "timeout": 1.0, "fail": kind}, "other": {"kind": "sandbox"}}
    with running(tmp_path, valkey, gateways=gateways) as service:
        one = service.start()
        (letter,) = eventually(lambda: service.valkey.client.xrange(DEAD))
        verification = service.get(f"/v1/verifications/{one}").json()

    assert letter[1][b"reason"].decode().startswith(kind)
    assert letter[1][b"id"].decode() == one
    assert [dispatch["status"] for dispatch in verification["deliveries"]] == ["failed"]
    assert verification["status"] == "pending", "a failed delivery does not end a verification"


def test_a_gateway_that_is_down_is_tried_again_within_the_codes_life(tmp_path: Path, valkey: ValkeyServer):
    gateways = {"sandbox": {"kind": "sandbox", "timeout": 1.0, "fail": "throttled"}}
    worker = {"backoff": [0.1, 0.2]}
    purposes = {"login": {"ttl": 30}}
    with running(tmp_path, valkey, gateways=gateways, worker=worker, purposes=purposes) as service:
        one = service.start()
        began = time.monotonic()
        (letter,) = eventually(lambda: service.valkey.client.xrange(DEAD), 60)
        lived = time.monotonic() - began
        story = service.get(f"/v1/verifications/{one}").json()["deliveries"]

    assert letter[1][b"reason"] in {b"no_gateway", b"expired"}
    assert len(story) >= 5
    assert lived > 25


def test_a_message_that_is_no_longer_wanted_is_dropped(tmp_path: Path, valkey: ValkeyServer):
    with running(tmp_path, valkey, workers=0) as service:
        one = service.start()
        assert service.post(f"/v1/verifications/{one}/cancel").status_code == 200
        service.launch_worker()
        eventually(lambda: not waiting(service.valkey.client))

        assert service.texts(one) == []
        assert service.valkey.client.xlen(DEAD) == 0


def test_a_receipt_is_recorded_and_approves_nothing(tmp_path: Path, valkey: ValkeyServer):
    gateways = {
        "sandbox": {
            "kind": "sandbox",
            "timeout": 1.0,
            "report": "delivered",
            "receipt_secret": "a test's own secret, long enough",
        }
    }
    with running(tmp_path, valkey, gateways=gateways) as service:
        one = service.start()

        def delivered():
            verification = service.get(f"/v1/verifications/{one}").json()
            return verification if verification["deliveries"][0]["status"] == "delivered" else None

        assert eventually(delivered)["status"] == "pending"
