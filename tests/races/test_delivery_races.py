"""Races of workers: processes that reach for the same gateway, message, letter or report at the same moment."""

import hmac
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests
from support_caller import PAYMENT, Caller
from support_outbox import DEAD, Scripted, Sender, dispatched, jobs_of, queue, refused, story, waiting
from support_race_actions import (
    SILENT,
    choose,
    choose_the_only_one,
    claim,
    learn,
    move_retries,
    redrive,
    report,
    resend,
    take,
    take_over_and_choose,
)
from support_racers import Racers, racing
from support_service import Service, eventually, in_parallel, running
from support_valkey import ValkeyServer

from otp_service.bootstrap import Installation
from otp_service.domain.keyring import new_dispatch_id
from otp_service.domain.routing import CallResult
from otp_service.store import keys
from otp_service.store.outbox import CONSUMER_GROUP, Job

COUNT = 8
"""Processes."""
ROUNDS = range(5)
SECRET = "a test's own secret, long enough"
PERMISSIVE: dict[str, Any] = {
    "limits": {"number": ["100000/hour"], "application": [], "failed_checks": ["1000/hour"]},
    "purposes": {"login": {"resend_delays": [0], "max_sends": 3, "channels": ["sms", "voice"]}},
}


@pytest.fixture(scope="module")
def track(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Racers, Installation, ValkeyServer]]:
    valkey = ValkeyServer(tmp_path_factory.mktemp("valkey"))
    try:
        with racing(COUNT, valkey.url, **PERMISSIVE) as (racers, installation):
            yield racers, installation, valkey
    finally:
        valkey.stop()


@pytest.fixture
def racers(track: tuple[Racers, Installation, ValkeyServer]) -> Racers:
    track[2].client.flushall()
    track[1].context.mirror_sync.refresh()
    return track[0]


@pytest.fixture
def shop(track: tuple[Racers, Installation, ValkeyServer]) -> Caller:
    return Caller(track[1])


@pytest.fixture
def valkey(track: tuple[Racers, Installation, ValkeyServer]) -> ValkeyServer:
    return track[2]


def _jobs(shop: Caller, count: int = COUNT) -> list[Job]:
    for _ in range(count):
        shop.start()
    return jobs_of(shop.context, count=count)


def _break(shop: Caller) -> None:
    """Let calls of the first gateway fail until its breaker opens."""
    for _ in range(5):
        shop.context.store.health.observe("first", new_dispatch_id("00"), CallResult.BAD)


@pytest.mark.parametrize("repetition", ROUNDS)
def test_of_all_workers_exactly_one_tries_a_gateway_whose_breaker_is_half_open(
    racers: Racers, shop: Caller, valkey: ValkeyServer, repetition: int
) -> None:
    jobs = _jobs(shop)
    _break(shop)
    valkey.client.hset(keys.health("gateways", "first"), "until", 1)  # its time is over
    chosen = Counter(racers.race(choose, [(job, {}) for job in jobs]))

    assert chosen == {("first", "configured"): 1, ("second", "breaker"): COUNT - 1}


@pytest.mark.parametrize("repetition", ROUNDS)
def test_of_all_workers_exactly_one_tries_the_last_resort(racers: Racers, shop: Caller, repetition: int) -> None:
    jobs = _jobs(shop)
    _break(shop)
    chosen = Counter(racers.race(choose_the_only_one, jobs))

    assert chosen == {"last_resort": 1, "": COUNT - 1}


@pytest.mark.parametrize("repetition", ROUNDS)
def test_workers_together_open_a_breaker_once(racers: Racers, repetition: int) -> None:
    assert Counter(racers.race(learn, [CallResult.BAD] * COUNT)) == {"open": 1, "None": COUNT - 1}


@pytest.mark.parametrize("repetition", ROUNDS)
def test_of_all_workers_as_many_call_a_gateway_as_it_takes_at_once(
    racers: Racers, shop: Caller, repetition: int
) -> None:
    chosen = Counter(racers.race(choose, [(job, {"in_flight": 3, "lease": 30_000}) for job in _jobs(shop)]))

    assert chosen == {("first", "configured"): 3, ("second", "limit"): COUNT - 3}


@pytest.mark.parametrize("repetition", ROUNDS)
def test_of_all_workers_one_gets_the_turn_of_a_slow_operator(racers: Racers, shop: Caller, repetition: int) -> None:
    chosen = Counter(racers.race(choose, [(job, {"per_second": 0.01}) for job in _jobs(shop)]))

    assert chosen == {("first", "configured"): 1, ("second", "limit"): COUNT - 1}


@pytest.mark.parametrize("repetition", ROUNDS)
def test_of_all_that_hold_a_message_only_the_one_whose_it_is_dispatches_it(
    racers: Racers, shop: Caller, repetition: int
) -> None:
    (job,) = _jobs(shop, 1)
    workers = [job.consumer, *(f"worker-{one}" for one in range(1, COUNT))]
    chosen = Counter(racers.race(choose, [(replace(job, consumer=worker), {}) for worker in workers]))

    assert chosen == {("first", "configured"): 1, ("", "overtaken"): COUNT - 1}
    assert [each[:4] for each in story(shop, job.id)] == [(1, 1, "first", "queued")]


@pytest.mark.parametrize("repetition", ROUNDS)
def test_one_message_in_many_hands_is_dispatched_no_more_often_than_allowed(
    racers: Racers, shop: Caller, repetition: int
) -> None:
    (job,) = _jobs(shop, 1)
    chosen = racers.race(choose, [(job, {})] * COUNT)

    assert Counter(reason for gateway, reason in chosen if not gateway) == {"too_many_ambiguous": COUNT - 3}
    assert sorted(gateway for gateway, _ in chosen if gateway) == ["first", "first", "second"]
    assert [each[:2] for each in story(shop, job.id)] == [(1, 1), (1, 2), (1, 3)]


@pytest.mark.parametrize("repetition", ROUNDS)
def test_a_message_that_one_takes_over_from_the_other_is_dispatched_by_those_whose_it_is(
    racers: Racers, shop: Caller, repetition: int
) -> None:
    """Who was overtaken between taking it over and the dispatch makes no call; the last one is never overtaken."""
    (job,) = _jobs(shop, 1)
    chosen = racers.race(take_over_and_choose, [f"worker-{one}" for one in range(COUNT)])
    called = [gateway for gateway, _ in chosen if gateway]
    told = story(shop, job.id)

    assert {reason for gateway, reason in chosen if not gateway} <= {"overtaken", "too_many_ambiguous"}
    assert [each[2] for each in told] == ["first", "second", "first"][: len(called)]
    assert Counter(each[2] for each in told) == Counter(called)
    assert called


@pytest.mark.parametrize("repetition", ROUNDS)
def test_each_message_is_taken_by_one_worker(racers: Racers, shop: Caller, repetition: int) -> None:
    for _ in range(20):
        shop.start()
        shop.start(purpose="payment", transaction=PAYMENT)
    taken = [entry for entries in racers.race(take, [f"worker-{one}" for one in range(COUNT)]) for entry in entries]

    assert len(taken) == len(set(taken)) == 40


@pytest.mark.parametrize("repetition", ROUNDS)
def test_what_a_dead_worker_held_is_taken_over_by_one(
    racers: Racers, shop: Caller, valkey: ValkeyServer, repetition: int
) -> None:
    """One that claims makes it young again: within its time nobody else does."""
    held = Counter(job.entry for job in _jobs(shop, 20))
    eventually(lambda: len(valkey.client.xpending_range(queue(), CONSUMER_GROUP, "-", "+", 20, idle=SILENT)) == 20)
    owners = racers.race(claim, [f"worker-{one}" for one in range(COUNT)])

    assert Counter(entry for entries in owners for entry in entries) == held


@pytest.mark.parametrize("repetition", ROUNDS)
def test_a_retry_that_is_due_comes_back_once(
    racers: Racers, shop: Caller, valkey: ValkeyServer, repetition: int
) -> None:
    sender = Sender(shop, sandbox=Scripted(*[refused("unavailable")] * 4))
    for _ in range(4):
        shop.start()
    sender.deliver()
    valkey.client.zadd("otp:{00}:delayed", dict.fromkeys(valkey.client.zrange("otp:{00}:delayed", 0, -1), 1.0))
    racers.race(move_retries, [None] * COUNT)

    assert waiting(valkey.client) == 4


@pytest.mark.parametrize("repetition", ROUNDS)
def test_a_dead_letter_is_put_back_once(racers: Racers, shop: Caller, valkey: ValkeyServer, repetition: int) -> None:
    shop.start()
    Sender(shop, sandbox=Scripted(refused("rejected"))).deliver()
    (letter,) = shop.context.store.dead_letters.newest(1)
    answers = Counter(racers.race(redrive, [letter] * COUNT))

    assert answers == {"redriven": 1, "gone": COUNT - 1}
    assert (waiting(valkey.client), valkey.client.xlen(DEAD)) == (1, 0)


@pytest.mark.parametrize("repetition", ROUNDS)
def test_of_reports_at_once_the_first_terminal_one_counts(racers: Racers, shop: Caller, repetition: int) -> None:
    (job,) = _jobs(shop, 1)
    made = dispatched(shop.context, job)
    statuses = ["delivered", "undelivered", "failed", "expired"] * 2
    news = racers.race(report, [(made.dispatch_id, status) for status in statuses])
    (told,) = story(shop, job.id)

    assert news.count(True) == 1
    assert told[3] == statuses[news.index(True)]


@pytest.mark.parametrize("repetition", ROUNDS)
def test_of_resends_at_once_no_more_are_accepted_than_there_are_messages(
    racers: Racers, shop: Caller, valkey: ValkeyServer, repetition: int
) -> None:
    one = shop.start()

    assert Counter(racers.race(resend, [one] * COUNT)) == {True: 2, False: COUNT - 2}
    assert waiting(valkey.client) == 3


# --- against the running service ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder: Path = tmp_path_factory.mktemp("service")
    server = ValkeyServer(tmp_path_factory.mktemp("valkey"))
    gateways = {"sandbox": {"kind": "sandbox", "timeout": 1.0, "receipt_secret": SECRET}}
    purposes = {"login": {"resend_delays": [0], "channels": ["sms", "voice"], "max_sends": 5}}
    limits = {"number": ["1000/hour"], "ip": ["100000/minute"], "application": ["100000/minute"]}
    try:
        with running(folder, server, workers=2, gateways=gateways, purposes=purposes, limits=limits) as started:
            yield started
    finally:
        server.stop()


def _deliveries(service: Service, one: str) -> list[dict[str, Any]]:
    return list(service.get(f"/v1/verifications/{one}").json()["deliveries"])


def _post_receipt(service: Service, dispatch_id: str, status: str) -> int:
    url, body = f"{service.base}/v1/receipts/sandbox/{dispatch_id}", json.dumps({"status": status}).encode()
    signature = hmac.digest(SECRET.encode(), url.encode() + b"\n" + body, "sha256").hex()
    return requests.post(url, data=body, headers={"X-Sandbox-Signature": signature}, timeout=30).status_code


def _dispatch_of(service: Service, one: str) -> str:
    """Return the dispatch of a verification's first message, once it was sent."""
    eventually(lambda: _deliveries(service, one)[0]["status"] == "sent")
    names = [name.decode() for name in service.valkey.client.scan_iter("otp:{00}:dispatch:*", count=1000)]
    (found,) = [name for name in names if one.encode() in service.valkey.client.hget(name, "record")]
    return found.rpartition(":")[2]


@pytest.mark.parametrize("repetition", range(3))
def test_a_report_that_comes_thirty_times_at_once_sends_one_further_message(service: Service, repetition: int) -> None:
    one = service.start()
    identifier = _dispatch_of(service, one)
    answers = in_parallel(30, lambda _: _post_receipt(service, identifier, "undelivered"))
    eventually(lambda: len(service.texts(one)) == 2)
    eventually(lambda: not waiting(service.valkey.client))

    assert set(answers) == {204}
    assert [(each["message"], each["channel"], each["status"]) for each in _deliveries(service, one)] == [
        (1, "sms", "undelivered"),
        (2, "voice", "sent"),
    ]
    assert len(service.texts(one)) == 2


@pytest.mark.parametrize("repetition", range(3))
def test_a_report_and_a_resend_at_once_never_exceed_the_messages_of_a_verification(
    service: Service, repetition: int
) -> None:
    one = service.start()
    identifier = _dispatch_of(service, one)

    def act(place: int) -> int:
        if place % 2:
            return _post_receipt(service, identifier, "undelivered")
        return service.post(f"/v1/verifications/{one}/resend").status_code

    answers = Counter(in_parallel(20, act))
    eventually(lambda: not waiting(service.valkey.client))
    sent = [each for each in _deliveries(service, one) if each["status"] in {"sent", "undelivered"}]

    assert answers[204] == 10
    assert len({each["message"] for each in sent}) == 5
    assert service.get(f"/v1/verifications/{one}").json()["sends_left"] == 0
