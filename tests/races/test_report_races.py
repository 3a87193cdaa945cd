"""A gateway's report and its answer, in either order and at the same moment: what follows is one further call."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from support_outbox import DEAD, DELAYED, waiting
from support_service import Service, eventually, in_parallel, running
from support_valkey import ValkeyServer

COUNT = 8
"""Messages of each kind, at about the same time."""
CALLERS = 4
UNDELIVERED = {"status": "undelivered"}
EARLY, LATE = {**UNDELIVERED, "before_response": True}, UNDELIVERED
"""Before the call's answer; in the same moment as it, while the next call is prepared."""
CASES: dict[str, dict[str, Any]] = {
    "11": {"connection": "timeout", "reports": [EARLY]},
    "12": {"connection": "timeout", "reports": [LATE]},
    "13": {"connection": "lost", "delay": 0.2, "reports": [EARLY]},
    "14": {"connection": "lost", "delay": 0.2, "reports": [LATE]},
    "15": {"delay": 0.2, "reports": [EARLY]},
    "16": {"reports": [LATE]},
    "17": {"connection": "timeout", "reports": [{**UNDELIVERED, "after": 0.02}]},
    "18": {"connection": "timeout", "reports": [EARLY, LATE]},
}
"""What becomes of text messages, by two digits of the number; calls by voice are well."""


@pytest.fixture
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    server = ValkeyServer(tmp_path_factory.mktemp("valkey"))
    cases = [{"to": f"+92300{digits}*", "channels": ["sms"], **case} for digits, case in CASES.items()]
    gateways = {
        "first": {"kind": "sandbox", "timeout": 0.5, "receipt_secret": "a test's own secret", "cases": cases},
        "second": {"kind": "sandbox"},
    }
    sections = {
        "gateways": gateways,
        "routes": [{"gateways": ["first", "second"]}],
        "purposes": {"login": {"channels": ["sms", "voice"], "resend_delays": [0]}},
        "limits": {"ip": ["100000/minute"], "application": ["100000/minute"]},
        "breaker": {"bad_in_a_row": 1000, "min_calls": 100_000},
        "worker": {"concurrency": 32},
    }
    try:
        with running(tmp_path_factory.mktemp("service"), server, workers=2, **sections) as started:
            yield started
    finally:
        server.stop()


def test_a_failure_that_is_reported_and_answered_is_followed_once(service: Service) -> None:
    numbers = [f"+92300{digits}{place:05d}" for digits in CASES for place in range(COUNT)]
    started = in_parallel(CALLERS, lambda place: [(to, service.start(to)) for to in numbers[place::CALLERS]])
    numbers, ids = zip(*(one for some in started for one in some), strict=True)
    client = service.valkey.client
    eventually(lambda: not waiting(client) and not client.exists(DELAYED))
    stories = {one: service.get(f"/v1/verifications/{one}").json()["deliveries"] for one in ids}
    further = Counter((to[6:8], len(stories[one]) - 1) for to, one in zip(numbers, ids, strict=True))
    ways = Counter((story[-1]["gateway"], story[-1]["channel"]) for story in stories.values())

    assert further == {(digits, 1): COUNT for digits in CASES}, "one further call each"
    assert {one: len(service.texts(one)) for one in ids} == dict.fromkeys(ids, 2)
    assert set(ways) == {("first", "voice"), ("second", "sms")}, "by the report, and by the answer"
    assert not client.exists(DEAD)
