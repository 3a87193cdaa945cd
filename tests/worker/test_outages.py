"""Gateways that are down for a while: what certainly was not sent goes on as long as its code lives.

What a gateway answered with an error of its own may have been sent: that is tried a few times only.
"""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from support_caller import Caller
from support_frozen import START, FrozenValkey
from support_outbox import DEAD, DELAYED, letters, refused, timed_out, waiting
from support_service import eventually, running
from support_simulation import Clocked, Simulation
from support_valkey import ValkeyServer

from otp_service.domain.messages import Message
from otp_service.gateways.base import Accepted, GatewayError

LIFE = 300
"""Seconds that a code lives, by default."""
FAILURES = {
    "unavailable": refused("unavailable"),
    "throttled": refused("throttled", "http 429"),
    "about this message": refused("unavailable", message_specific=True),
}
ERROR = refused("error", "http 500")
MOST_ERRORS = 4
"""Calls through one gateway for one message that it may answer so: in rounds at 0, 1, 6 and 21 seconds."""
OUTAGES = [5, 15, 60, 240]
LASTED_OUT = [
    *((failure, outage) for failure in FAILURES.values() for outage in OUTAGES),
    *((ERROR, outage) for outage in OUTAGES if outage < 21),
]
NAMES = ["first", "second", "third", "fourth"]


class Down(Clocked):
    """A gateway that fails in one way until a time, in seconds from the beginning, and then takes everything."""

    def __init__(self, valkey: FrozenValkey, until: float, failure: GatewayError) -> None:
        super().__init__(valkey)
        self.fail_with(failure, until)
        self.took: Counter[str] = Counter()

    def fail_with(self, failure: GatewayError, until: float) -> None:
        self._failure, self._until = failure, until

    def send(self, message: Message) -> Accepted:
        accepted = super().send(message)
        if self.times[-1] < self._until:
            raise self._failure
        self.took[message.verification_id] += 1
        return accepted


class Site:
    """Some gateways in a route, with all settings as they are by default, and a little traffic."""

    def __init__(self, frozen: FrozenValkey, monkeypatch: pytest.MonkeyPatch, gateways: int) -> None:
        names = self._names = NAMES[:gateways]
        installation = frozen.world().install(
            limits={"number": ["1000000/hour"], "application": []},
            purposes={"login": {"channels": ["sms"]}},
            gateways={name: {"kind": "sandbox"} for name in names},
            routes=[{"gateways": names}],
        )
        self._frozen = frozen
        self.shop = Caller(installation)
        self.simulation = Simulation(frozen, installation, monkeypatch)
        self.started: dict[str, float] = {}

    def start(self) -> None:
        self.started[self.shop.start()] = self.simulation.seconds

    def fail(self, until: float, failure: GatewayError) -> list[Down]:
        """Put gateways that are down in the place of the configured ones."""
        made = {name: Down(self._frozen, until, failure) for name in self._names}
        self.shop.context.gateways.update(made)  # type: ignore[attr-defined] # filled once by the composition root
        return list(made.values())

    def run(self, until: float) -> None:
        """Let the worker work until a time, or until it has nothing more to do."""
        while self.simulation.seconds < until and (waiting(self._frozen.client) or self._frozen.client.exists(DELAYED)):
            self.simulation.run(min(until, self.simulation.seconds + 2))


@pytest.mark.parametrize(("failure", "outage"), LASTED_OUT, ids=str)
@pytest.mark.parametrize("gateways", [1, 2, 3, 4])
def test_nothing_is_lost_in_an_outage(
    frozen: FrozenValkey, monkeypatch: pytest.MonkeyPatch, gateways: int, outage: int, failure: GatewayError
) -> None:
    site = Site(frozen, monkeypatch, gateways)
    route = site.fail(outage, failure)
    for place in range(5):
        site.simulation.at(place * outage / 4, site.start)
    site.simulation.run(outage + 1)
    site.run(max(LIFE, outage + 60))
    took = sum((one.took for one in route), Counter())
    arrived = {one: at for gateway in route for one, at in gateway.calls if at >= outage}

    assert letters(frozen.client) == []
    assert took == dict.fromkeys(site.started, 1)
    assert waiting(frozen.client) == 0
    assert max(arrived.values()) <= outage + 50, "the longest rest, and a probe of the breaker"
    assert max(Counter(one for gateway in route for one, _ in gateway.calls).values()) <= 20 * gateways


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("gateways", [1, 2, 4])
def test_a_message_is_given_up_when_its_code_ends_and_not_before(
    frozen: FrozenValkey, monkeypatch: pytest.MonkeyPatch, gateways: int, failure: str
) -> None:
    site = Site(frozen, monkeypatch, gateways)
    route = site.fail(10 * LIFE, FAILURES[failure])
    site.simulation.at(1, site.start)
    site.simulation.run(2)
    site.run(LIFE + 10)
    ((entry, fields),) = frozen.client.xrange(DEAD)
    given_up = (int(entry.partition(b"-")[0]) - START) / 1000

    assert fields[b"reason"] in {b"no_gateway", b"expired"}
    assert LIFE - 2 <= given_up - 1 <= LIFE + 1
    assert sum(len(one.calls) for one in route) <= 20 * gateways


def _calls_by_message(gateway: Down) -> list[int]:
    return sorted(Counter(one for one, _ in gateway.calls).values())


def test_a_gateway_that_answers_with_errors_is_left_out_and_another_one_goes_on(
    frozen: FrozenValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site(frozen, monkeypatch, 2)
    broken, down = site.fail(LIFE - 60, FAILURES["unavailable"])
    broken.fail_with(ERROR, 10 * LIFE)
    for at in (1, 2, 3):
        site.simulation.at(at, site.start)
    site.simulation.run(4)
    site.run(LIFE + 10)

    assert _calls_by_message(broken) == [MOST_ERRORS] * 3
    assert down.took == dict.fromkeys(site.started, 1)
    assert letters(frozen.client) == []


@pytest.mark.parametrize("gateways", [1, 2, 4])
def test_a_message_that_all_gateways_answer_with_errors_is_given_up_at_once(
    frozen: FrozenValkey, monkeypatch: pytest.MonkeyPatch, gateways: int
) -> None:
    site = Site(frozen, monkeypatch, gateways)
    route = site.fail(10 * LIFE, ERROR)
    site.simulation.at(1, site.start)
    site.simulation.run(2)
    site.run(LIFE + 10)
    last = max(at for one in route for _, at in one.calls)
    ((entry, _),) = frozen.client.xrange(DEAD)

    assert letters(frozen.client) == ["too_many_errors"]
    assert [len(one.calls) for one in route] == [MOST_ERRORS] * gateways
    assert (int(entry.partition(b"-")[0]) - START) / 1000 <= last + 1 < 60, "long before the code ends"


@pytest.mark.parametrize("gateways", [1, 2, 3, 4])
def test_what_may_have_been_sent_goes_on_once_however_many_gateways_there_are(
    frozen: FrozenValkey, monkeypatch: pytest.MonkeyPatch, gateways: int
) -> None:
    site = Site(frozen, monkeypatch, gateways)
    route = site.fail(10 * LIFE, timed_out())
    site.simulation.at(1, site.start)
    site.simulation.run(2)
    site.run(60)

    assert letters(frozen.client) == ["too_many_ambiguous"]
    assert sum(len(one.calls) for one in route) == 2


@pytest.mark.parametrize("gateways", [1, 2, 3, 4])
def test_one_time_out_among_certain_failures_loses_nothing(
    frozen: FrozenValkey, monkeypatch: pytest.MonkeyPatch, gateways: int
) -> None:
    site = Site(frozen, monkeypatch, gateways)
    route = site.fail(30, FAILURES["unavailable"])
    route[0].script[:] = [timed_out()]
    site.simulation.at(1, site.start)
    site.simulation.run(2)
    site.run(120)

    assert letters(frozen.client) == []
    assert sum((one.took for one in route), Counter()) == dict.fromkeys(site.started, 1)


def test_rests_grow_and_messages_that_failed_together_do_not_come_back_together(
    frozen: FrozenValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site(frozen, monkeypatch, 1)
    (only,) = site.fail(10 * LIFE, FAILURES["about this message"])  # which says nothing of the gateway: no breaker
    for _ in range(20):
        site.simulation.at(1, site.start)
    site.simulation.run(60)
    times = {one: [at for name, at in only.calls if name == one] for one in site.started}
    rests = [[later - earlier for earlier, later in pairwise(each)] for each in times.values()]

    for place, least in enumerate((1, 5, 15)):
        kind = [each[place] for each in rests]
        assert all(least <= rest <= 1.25 * least + 0.6 for rest in kind), kind
        assert max(kind) - min(kind) > least / 20


# --- real processes ----------------------------------------------------------------------------------------------


class Provider(ThreadingHTTPServer):
    """A provider that answers 503 while it is down, and keeps whom it took a message for."""

    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.down = threading.Event()
        self.took: list[str] = []
        self.refused = 0


class _Handler(BaseHTTPRequestHandler):
    server: Provider

    def do_POST(self) -> None:
        to = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self._count(to)
        self.send_response(503 if self.server.down.is_set() else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _count(self, to: str) -> None:
        if self.server.down.is_set():
            self.server.refused += 1
        else:
            self.server.took.append(to)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def _serving(port: int = 0) -> Iterator[Provider]:
    provider = Provider(port)
    thread = threading.Thread(target=provider.serve_forever, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        provider.shutdown()
        provider.server_close()
        thread.join()


def test_two_gateways_that_are_down_for_six_seconds_lose_no_message(tmp_path: Path) -> None:
    """One answers 503, nobody listens at the other; a message comes every half second."""
    valkey = ValkeyServer(tmp_path)
    with _serving() as first, _serving() as second:
        port = second.server_address[1]
        first.down.set()
        second.shutdown()
        second.server_close()
        gateways = {
            name: {"kind": "http", "url": f"http://127.0.0.1:{where}/", "json": {"to": "{to}"}, "timeout": 3.0}
            for name, where in (("first", first.server_address[1]), ("second", port))
        }
        routes = [{"gateways": ["first", "second"]}]
        breaker = {"open_for": 5.0}  # not half a minute
        numbers = [f"+92300555{place:04d}" for place in range(22)]
        try:
            with running(tmp_path, valkey, workers=2, gateways=gateways, routes=routes, breaker=breaker) as service:
                eventually(lambda: service.told("worker_started") == 2)
                began, ids = time.monotonic(), []
                for place, to in enumerate(numbers[:12]):
                    time.sleep(max(0.0, began + place / 2 - time.monotonic()))
                    ids.append(service.start(to))
                first.down.clear()
                with _serving(port) as again:
                    ids += [service.start(to) for to in numbers[12:]]
                    eventually(lambda: not waiting(valkey.client) and not valkey.client.exists(DELAYED), 90)
                    took = Counter([*first.took, *again.took])
                stories = [service.get(f"/v1/verifications/{one}").json()["deliveries"] for one in ids]
        finally:
            valkey.stop()

    assert first.refused > 5
    assert [story[-1]["status"] for story in stories] == ["sent"] * len(ids), "0 lost"
    assert len(took) == len(numbers)
    assert set(took.values()) == {1}
