"""A freeze over HTTP, against checks and starts at two API processes at once; and its lift, which revives nothing."""

import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from support_service import Service, in_parallel, running
from support_valkey import ValkeyServer

COUNT = 40
"""Verifications that wait for their codes: twice as many as are remembered of a number."""
CALLERS = 8
PERMISSIVE: dict[str, Any] = {
    "limits": {"number": ["100000/hour"], "application": [], "ip": [], "failed_checks": ["1000/hour"]},
    "purposes": {"login": {"resend_delays": [0], "channels": ["sms"]}},
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    valkey = ValkeyServer(folder)
    try:
        with running(folder, valkey, **PERMISSIVE) as made:
            yield made
    finally:
        valkey.stop()


@pytest.mark.parametrize("number", [f"+92300765440{round_}" for round_ in range(3)])
def test_an_approval_comes_before_the_answer_of_a_freeze_or_never(service: Service, number: str) -> None:
    begun = [service.start(number) for _ in range(COUNT)]
    codes = {one: service.code(one) for one in begun}
    waits = begun[COUNT // 4 :]
    told: list[tuple[float, str, Any]] = []

    def freeze() -> float:
        """Freeze as soon as some are checked; return when that was answered."""
        while len(waits) > COUNT // 2:
            time.sleep(0.001)
        assert service.post("/v1/subjects/freeze", {"to": number}).status_code == 200
        return time.monotonic()

    def begin() -> None:
        """Start verifications until one is refused."""
        status = 0
        while status != 403:
            began = time.monotonic()
            status = service.post("/v1/verifications", {"to": number}).status_code
            told.append((began, "started", status))

    def check() -> None:
        """Check right codes, those first that a freeze finds first."""
        while waits:
            began, one = time.monotonic(), waits.pop()
            told.append((began, one, service.check(one, codes[one])["valid"]))

    (frozen, *_) = in_parallel(
        CALLERS, lambda place: freeze() if place == 0 else begin() if place % 4 == 3 else check()
    )
    late = Counter(answer for began, what, answer in told if began > frozen)
    approved = {what for _, what, answer in told if answer is True}

    assert late[True] == late[201] == 0
    assert approved
    assert len(approved) < COUNT
    assert service.post("/v1/subjects/unfreeze", {"to": number}).json()["frozen"] is False
    again = {one: service.check(one, codes[one]) for one in begun if one not in approved}
    assert {answer["valid"] for answer in again.values()} == {False}
    assert {service.get(f"/v1/verifications/{one}").json()["status"] for one in again} == {"canceled"}
    taken_back = {service.get(f"/v1/verifications/{one}").json()["status"] for one in approved}
    assert taken_back == {"canceled"}, "what was approved before a freeze is not valid after it"
    fresh = service.start(number)
    assert service.check(fresh, service.code(fresh))["valid"]
