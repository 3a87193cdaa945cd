"""What metrics tell of starts, resends and checks, whoever asks for them, and what a caller cannot make them say."""

import contextlib
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support_caller import PAYMENT, Caller
from support_installation import World

from otp_service.errors import OtpServiceError
from otp_service.services.start import StartRequest, start
from otp_service.telemetry import metrics

STARTS = "otp_service_verification_starts_total"
RESENDS = "otp_service_verification_resends_total"
CHECKS = "otp_service_verification_checks_total"

Series = dict[tuple[str, ...], float]
"""Counts by application, purpose, country and outcome, or by application and reason."""
LABELS = ("application", "purpose", "country", "outcome", "reason")


def _series(name: str) -> Series:
    return {
        tuple(sample.labels[label] for label in LABELS if label in sample.labels): sample.value
        for family in text_string_to_metric_families(metrics.exposition().decode())
        for sample in family.samples
        if sample.name == name
    }


@contextlib.contextmanager
def _risen(name: str) -> Iterator[Series]:
    """Collect by how much a metric's series rise."""
    before, risen = _series(name), Series()
    yield risen
    after = _series(name)
    risen |= {key: value - before.get(key, 0) for key, value in after.items() if value != before.get(key, 0)}


@pytest.fixture
def shop(still_world: World) -> Caller:
    return Caller(still_world.install(purposes={"login": {"resend_delays": [0], "max_sends": 2}}))


@pytest.mark.parametrize(
    ("members", "labels"),
    [
        ({}, ("login", "PK", "accepted")),
        ({"to": "+447400123456"}, ("login", "GB", "accepted")),
        ({"purpose": "payment", "transaction": PAYMENT}, ("payment", "PK", "accepted")),
        ({"purpose": "payment"}, ("payment", "", "invalid-transaction")),
        ({"to": "+92300"}, ("login", "", "invalid-number")),
        ({"to": "+12025550123"}, ("login", "US", "country-not-allowed")),
        ({"channel": "whatsapp"}, ("login", "PK", "channel-not-available")),
        ({"purpose": "482910"}, ("other", "", "forbidden")),
    ],
)
def test_a_start_is_counted_with_what_was_judged_of_it(shop: Caller, members: dict, labels: tuple[str, ...]):
    with _risen(STARTS) as risen, contextlib.suppress(OtpServiceError):
        shop.start(**members)

    assert risen == {("shop", *labels): 1}


def test_a_start_that_a_limit_refuses_tells_its_country(shop: Caller):
    with _risen(STARTS) as risen, contextlib.suppress(OtpServiceError):
        for _ in range(6):
            shop.start()

    assert risen == {("shop", "login", "PK", "accepted"): 5, ("shop", "login", "PK", "rate-limited"): 1}


def test_a_caller_cannot_make_series(shop: Caller):
    shop.start()
    before = set(_series(STARTS))
    with _risen(STARTS) as risen:
        for number in range(50):
            with contextlib.suppress(OtpServiceError):
                shop.start(purpose=f"made-up-{number}")

    assert risen == {("shop", "other", "", "forbidden"): 50}
    assert set(_series(STARTS)) - before <= set(risen)
    assert "made-up" not in metrics.exposition().decode()


def test_a_purpose_that_only_others_have_is_unknown_too(still_world: World):
    installation = still_world.install(purposes={"secret-offer": {}})
    application = installation.context.applications["bank"]
    with _risen(STARTS) as risen, contextlib.suppress(OtpServiceError):
        start(installation.context, application, StartRequest("+923001234567", purpose="secret-offer"))

    assert risen == {("bank", "other", "", "forbidden"): 1}


def test_resends_are_counted_by_what_became_of_them(shop: Caller):
    one = shop.start()
    with _risen(RESENDS) as risen, _risen(STARTS) as started:
        shop.resend(one)
        for verification, channel in ((one, None), (one, "whatsapp"), ("vf_k1_00" + "0" * 32, None)):
            with contextlib.suppress(OtpServiceError):
                shop.resend(verification, channel=channel)

    assert started == {}
    assert risen == {
        ("shop", "login", "PK", "accepted"): 1,
        ("shop", "login", "PK", "no-sends-left"): 1,
        ("shop", "login", "PK", "channel-not-available"): 1,
        ("shop", "other", "", "not-found"): 1,
    }


def test_checks_are_counted_by_their_results(shop: Caller):
    one = shop.start()
    with _risen(CHECKS) as risen:
        for code in (shop.wrong(one), shop.code(one), shop.code(one)):
            shop.check(one, code)

    assert risen == {("shop", reason): 1 for reason in ("wrong_code", "approved", "already_approved")}
