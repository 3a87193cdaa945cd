"""Starts that come after an approval: one for each proof, and none once its user is frozen."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from support_race_actions import live_through_a_freeze_of_a_user
from support_racers import Racers, racing
from support_service import SHOP, Service, in_parallel, running
from support_valkey import ValkeyServer

COUNT = 5
"""Processes: one freezes the user who transfers money in the others."""
PURPOSES = {
    "login": {"resend_delays": [0], "channels": ["sms"]},
    "transfer": {"resend_delays": [0], "channels": ["sms"], "after": ["login"]},
}
SECTIONS: dict[str, Any] = {
    "limits": {"number": ["100000/hour"], "application": [], "ip": [], "failed_checks": ["1000/hour"]},
    "purposes": PURPOSES,
    "proofs": {"issuer": "https://otp.example"},
    "applications": {"shop": {**SHOP, "purposes": [*PURPOSES], "client_ip": "none", "proofs": True}},
}


@pytest.fixture(scope="module", params=[1, 16], ids=["one bucket", "16 buckets"])
def racers(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Racers]:
    server = ValkeyServer(tmp_path_factory.mktemp("valkey"))
    try:
        with racing(COUNT, server.url, **SECTIONS, keys={"buckets": request.param}) as (made, _):
            yield made
    finally:
        server.stop()


@pytest.mark.parametrize("user", [f"user-{round_}" for round_ in range(3)])
def test_after_the_answer_of_a_freeze_no_proof_starts_anything_and_no_transfer_is_approved(
    racers: Racers, user: str
) -> None:
    told = racers.race(live_through_a_freeze_of_a_user, [(user, 0 if place else COUNT - 1) for place in range(COUNT)])
    ((_, frozen),) = told[0]
    done = [one for each in told[1:] for one in each]
    before, after = (Counter(what for what, began in done if (began > frozen) is late) for late in (False, True))

    assert set(after) == {"refused"}
    assert after["refused"] >= 5 * (COUNT - 1)
    assert {"started", "approved"} <= set(before), "it was in use until then"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    server = ValkeyServer(tmp_path_factory.mktemp("valkey"))
    try:
        with running(tmp_path_factory.mktemp("service"), server, **SECTIONS) as made:
            yield made
    finally:
        server.stop()


def test_of_sixty_starts_with_one_proof_at_once_one_passes(service: Service) -> None:
    one = service.start(user="user")
    proof = service.check(one, service.code(one))["proof"]
    body = {"to": "+923007654321", "user": "user", "purpose": "transfer", "after": proof}

    answers = in_parallel(60, lambda _: service.post("/v1/verifications", body))

    assert Counter(answer.status_code for answer in answers) == {201: 1, 403: 59}
    assert {answer.json()["code"] for answer in answers if answer.status_code == 403} == {"step-up-required"}
