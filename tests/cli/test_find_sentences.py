"""The sentence for support, where a message was called for many times."""

import pytest
from support_caller import Caller
from support_cli import configured, run
from support_installation import NUMBER
from support_outbox import Scripted, Sender, refused

from otp_service.bootstrap import install
from otp_service.domain.verification import Delivery, DeliveryStatus, Status
from otp_service.services.explanations import sentence
from otp_service.services.number_history import (
    DeliveryExplanation,
    ExplainedVerification,
    NumberHistory,
    VerificationHistory,
    Why,
)
from otp_service.settings import load_settings

HTTP, LOST = "throttled 429", "unavailable x"


def told(*failures):
    """Return the sentence about calls that failed, each a gateway and a reason."""
    calls = tuple(
        Delivery(1, number, "sms", gateway, DeliveryStatus.FAILED, 0, reason)
        for number, (gateway, reason) in enumerate(failures, 1)
    )
    history = VerificationHistory("vf_1", "shop", "login", "PK", "+92 •••", 0, Status.EXPIRED, 0, calls)
    case = ExplainedVerification(history, DeliveryExplanation(Why.ALL_FAILED, calls[-1], calls), {})
    return str(sentence(case, NumberHistory(verifications=(case,), complete=True, reporting=frozenset())))


@pytest.mark.parametrize(
    ("failures", "words"),
    [
        ([("a", HTTP)], "a failed (throttled 429)"),
        ([("a", HTTP), ("a", HTTP), ("a", HTTP)], "a failed 3 times (throttled 429)"),
        ([("a", HTTP), ("b", HTTP)], "a failed (throttled 429) and b failed (throttled 429)"),
        (
            [("a", HTTP), ("b", LOST), ("a", HTTP), ("a", LOST)],
            "a failed 2 times (throttled 429), b failed (unavailable x) and a failed (unavailable x)",
        ),
    ],
)
def test_each_way_in_which_a_gateway_failed_is_told_once(failures, words):
    assert told(*failures) == f"The code was not sent: {words}."


def test_rounds_through_a_gateway_that_is_away_are_one_clause(valkey, tmp_path):
    environ = configured(tmp_path, valkey.url)
    shop = Caller(install(load_settings(environ=environ)))
    shop.start()
    sender = Sender(shop, sandbox=Scripted(*[refused("unavailable")] * 3))
    for _ in range(3):
        assert sender.deliver() == 1
        valkey.advance(20)

    (line,) = (line for line in run("find", NUMBER, environ=environ).stdout.splitlines() if line.startswith("→"))
    assert line.startswith("→ The code was not sent yet: sandbox failed 3 times (unavailable http 503); ")
