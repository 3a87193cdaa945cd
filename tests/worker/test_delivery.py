"""Delivery by real worker processes: what is accepted is delivered or reported."""

import json
import random
import re
import signal
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from support_cli import run
from support_installation import tree
from support_outbox import DEAD, DELAYED, queue, waiting
from support_service import PATIENCE, Service, eventually, in_parallel, running
from support_valkey import ValkeyServer, free_port

from otp_service import __version__

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


GATEWAYS = {
    "sandbox": {"kind": "sandbox", "timeout": 5.0},
    "second": {"kind": "sandbox", "timeout": 5.0},
    "slow": {"kind": "sandbox", "timeout": 5.0, "delay": 1.0},
    "reporting": {
        "kind": "sandbox",
        "timeout": 5.0,
        "report": "delivered",
        "receipt_secret": "a test's own secret, long enough",
    },
    **{
        fail: {"kind": "sandbox", "timeout": 5.0, "fail": fail}
        for fail in ("unavailable", "account", "rejected", "destination", "fraud", "throttled")
    },
}
ROUTES = {
    "login": ["sandbox"],
    "slow": ["slow"],
    "reporting": ["reporting"],
    "unavailable": ["unavailable", "second"],
    "account": ["account", "sandbox"],
    "rejected": ["rejected", "sandbox"],
    "destination": ["destination", "sandbox"],
    "fraud": ["fraud", "sandbox"],
    "throttled": ["throttled"],
}
"""Gateways by purpose: each test has one of its own."""
LIFE = 12
"""Seconds that a code lives which nobody ever gets."""


@dataclass
class Site:
    """A service and a worker for tests that do not disturb each other."""

    service: Service
    metrics: int
    """The worker's port."""
    unwanted: str
    """A verification that was canceled before the worker came."""
    throttled: str
    """One that no gateway ever takes."""
    began: float
    """When that one was started, by the clock of this host, which is Redis' too."""

    def start(self, purpose: str, last: int = 0) -> str:
        """Start a verification of a number that no other test has."""
        return self.service.start(f"+92300124{list(ROUTES).index(purpose):02d}{last:02d}", purpose=purpose)

    def verification(self, one: str) -> dict[str, Any]:
        return dict(self.service.get(f"/v1/verifications/{one}").json())

    def story(self, one: str) -> list[dict[str, Any]]:
        return list(self.verification(one)["deliveries"])

    def letters(self, one: str) -> list[tuple[bytes, dict[bytes, bytes]]]:
        """Return the dead letters of a verification."""
        return [letter for letter in self.service.valkey.client.xrange(DEAD) if letter[1][b"id"].decode() == one]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder, metrics = tmp_path_factory.mktemp("site"), free_port()
    valkey = ValkeyServer(folder)
    shop = tree("")["applications"]["shop"]
    sections: dict[str, Any] = {
        "gateways": GATEWAYS,
        "routes": [{"purposes": [purpose], "gateways": names} for purpose, names in ROUTES.items()],
        "purposes": {
            purpose: {"ttl": LIFE if purpose == "throttled" else 300, "channels": ["sms"]} for purpose in ROUTES
        },
        "applications": {"shop": {**shop, "purposes": list(ROUTES)}},
        "worker": {"metrics_port": metrics, "backoff": [0.1, 0.2]},
        "breaker": {"throttled_for": 0.3},
        "limits": FREE,
    }
    try:
        with running(folder, valkey, workers=0, **sections) as service:
            unwanted = service.start("+923001249999")
            assert service.post(f"/v1/verifications/{unwanted}/cancel").status_code == 200
            service.launch_worker()
            eventually(lambda: service.told("worker_started"))
            began = time.time()
            yield Site(service, metrics, unwanted, service.start("+923001249998", purpose="throttled"), began)
    finally:
        valkey.stop()


def test_a_failed_gateway_hands_over_to_the_next_one(site: Site):
    one = site.start("unavailable")
    story = eventually(lambda: story if (story := site.story(one))[-1]["status"] == "sent" else [])

    assert len(site.service.texts(one)) == 1
    assert [(dispatch["gateway"], dispatch["status"]) for dispatch in story] == [
        ("unavailable", "failed"),
        ("second", "sent"),
    ]
    assert story[0]["reason"].startswith("unavailable")


def test_a_gateway_that_refuses_our_account_is_passed_over_left_alone_and_named(site: Site):
    ones = [site.start("account", last) for last in range(7)]
    for one in ones:
        site.service.code(one)
    eventually(lambda: '"account"' in json.dumps(site.service.events("breaker_open")))
    given_up = [letter for one in ones for letter in site.letters(one)]
    told = run("doctor", "--config", str(site.service.config), environ=site.service.keys)
    exposed = requests.get(f"http://127.0.0.1:{site.metrics}/metrics", timeout=30).text
    health = requests.get(f"http://127.0.0.1:{site.metrics}/healthz", timeout=30)

    assert given_up == [], "every message came through by the second gateway"
    assert (health.status_code, health.json()) == (200, {"status": "ok"}), "a gateway that fails is no failure of ours"
    assert f'otp_service_build_info{{version="{__version__}"}} 1.0' in exposed.splitlines()
    assert re.search(r"^process_open_fds [1-9]", exposed, re.MULTILINE)
    assert re.search(
        r"fail +gateways\.account: It refuses our account, for the last time .* ago: account sandbox", told.output
    )
    assert re.search(r"warn +gateways\.account: It is resting since it refuses our account", told.output)
    assert told.exit_code == 1
    (refusals,) = re.findall(r'^otp_service_gateway_account_errors_total{gateway="(\w+)"} (\d)', exposed, re.MULTILINE)
    assert refusals[0] == "account"
    assert int(refusals[1]) >= 5, "so many open the breaker"


@pytest.mark.parametrize("kind", ["rejected", "destination", "fraud"])
def test_a_failure_that_no_other_gateway_mends_is_given_up_with_a_reason(site: Site, kind: str):
    one = site.start(kind)
    (letter,) = eventually(lambda: site.letters(one))
    verification = site.verification(one)

    assert letter[1][b"reason"].decode().startswith(kind)
    assert [dispatch["status"] for dispatch in verification["deliveries"]] == ["failed"]
    assert verification["status"] == "pending", "a failed delivery does not end a verification"


def test_a_message_that_is_no_longer_wanted_is_dropped(site: Site):
    assert site.service.code(site.start("login")), "the worker has been at work"
    assert site.service.texts(site.unwanted) == []
    assert site.letters(site.unwanted) == []


def test_a_receipt_is_recorded_and_approves_nothing(site: Site):
    one = site.start("reporting")
    eventually(lambda: site.story(one)[0]["status"] == "delivered")

    assert site.verification(one)["status"] == "pending"


def test_a_gateway_that_is_down_is_tried_again_within_the_codes_life(site: Site):
    """The life goes by while the tests before this one run."""
    (letter,) = eventually(lambda: site.letters(site.throttled), 2 * PATIENCE)
    story = site.story(site.throttled)

    assert letter[1][b"reason"] in {b"no_gateway", b"expired"}
    assert len(story) >= 5
    assert int(letter[0].partition(b"-")[0]) / 1000 - site.began > LIFE - 2


def test_a_worker_that_is_asked_to_stop_finishes_what_is_in_flight(site: Site):
    service = site.service
    client = service.valkey.client
    eventually(lambda: not waiting(client) and not client.exists(DELAYED))  # what other tests started
    one = site.start("slow")
    eventually(lambda: site.story(one)[0]["gateway"])
    (worker,) = service.workers
    worker.send_signal(signal.SIGTERM)

    assert worker.wait(10) == 0
    assert len(service.texts(one)) == 1
    assert waiting(client) == 0
    assert not any(one["pending"] for one in client.xinfo_consumers(queue(), "workers"))
