"""The small rules: addresses, limits, routes, messages, purposes, retries."""

import pytest

from otp_service.domain.guard import LimitScope, ceil_seconds, coarse_retry_after, parse_limits
from otp_service.domain.keyring import Keyring, idempotent_request
from otp_service.domain.messages import Message
from otp_service.domain.numbers import ip_prefix_of
from otp_service.domain.routing import Route, Routes
from otp_service.domain.verification import Channel, Purpose, PurposeKind, Resend
from otp_service.errors import ConfigurationError, InvalidRequestError

KEYRING = Keyring({"k1": bytes(range(32))}, bytes(range(32, 64)))


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:aaaa::1", "2001:db8:1:2::"),
        ("2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::"),
        ("2001:DB8:1:3::1", "2001:db8:1:3::"),
        ("2002:c000:207::1", "192.0.2.7"),
        ("2002:c000:207:ffff:aaaa::1", "192.0.2.7"),
        ("2001:0:4136:e378:8000:63bf:3fff:fdf8", "192.0.2.7"),
        ("2001:0:1:2:0:0:3fff:fdf8", "192.0.2.7"),
        ("64:ff9b::192.0.2.7", "192.0.2.7"),
        ("::ffff:0:192.0.2.7", "192.0.2.7"),
        ("::192.0.2.7", "192.0.2.7"),
        ("2001:1::1", "2001:1::"),
        ("64:ff9b:0:0:0:1::7", "64:ff9b::"),
        ("::1", "::"),
    ],
)
def test_an_address_counts_by_its_network(address: str, network: str):
    assert ip_prefix_of(address) == network


@pytest.mark.parametrize("address", ["", "1.2.3", "1.2.3.4/32", "localhost", "1.2.3.4:80", "[::1]", "fe80::1%eth0x y"])
def test_what_is_no_address_is_a_malformed_request(address: str):
    with pytest.raises(InvalidRequestError) as refused:
        ip_prefix_of(address)

    assert refused.value.faults[0].pointer == "/client_ip"


def test_limits_are_written_like_the_limits_library_and_ordered_by_window():
    limits = parse_limits(LimitScope.NUMBER, ("10/day", "5/10 minutes"))

    assert [(limit.amount, limit.seconds) for limit in limits] == [(5, 600), (10, 86400)]
    assert {(limit.scope, limit.seconds) for limit in limits} == {("number", 600), ("number", 86400)}


@pytest.mark.parametrize("notations", [("often",), ("0/day",), ("5/day", "7/24 hours"), ("",)])
def test_a_limit_that_makes_no_sense_refuses_to_start(notations: tuple[str, ...]):
    with pytest.raises(ConfigurationError):
        parse_limits(LimitScope.NUMBER, notations)


@pytest.mark.parametrize(
    ("milliseconds", "seconds"),
    [
        (1, 10),
        (9_999, 10),
        (10_001, 20),
        (60_000, 60),
        (60_001, 120),
        (3_600_000, 3600),
        (3_600_001, 7200),
        (86_400_000, 86400),
    ],
)
def test_a_wait_is_told_coarsely_and_never_too_short(milliseconds: int, seconds: int):
    assert coarse_retry_after(milliseconds) == seconds


@pytest.mark.parametrize(("milliseconds", "seconds"), [(0, 1), (1, 1), (1000, 1), (1001, 2), (29_001, 30)])
def test_whole_seconds_are_at_least_one_and_never_too_few(milliseconds: int, seconds: int):
    assert ceil_seconds(milliseconds) == seconds


def test_the_first_route_that_matches_decides():
    routes = Routes(
        (
            Route(("pay",), purposes=frozenset({"payment"})),
            Route(("local", "voice"), countries=frozenset({"PK"})),
            Route(("world",)),
        ),
        {
            "pay": frozenset({"sms"}),
            "local": frozenset({"sms"}),
            "voice": frozenset({"sms", "voice"}),
            "world": frozenset({"sms"}),
        },
    )

    assert routes.gateways_for("GB", "payment", "sms") == ("pay",)
    assert routes.gateways_for("PK", "login", "sms") == ("local", "voice")
    assert routes.gateways_for("PK", "login", "voice") == ("voice",)
    assert routes.gateways_for("GB", "login", "sms") == ("world",)
    assert routes.gateways_for("GB", "login", "whatsapp") == ()


def test_a_message_shows_neither_number_nor_text():
    message = Message("+923001234567", "code 012345", "sms", "en", 300, "dp_1", "http://x", "vf_1", "shop")

    assert "012345" not in repr(message)
    assert "3001234567" not in repr(message)


def test_the_last_resend_delay_repeats():
    purpose = Purpose("login", PurposeKind.POSSESSION, 6, 300, 5, 5, (30, 60), Resend.SAME_CODE, (Channel.SMS,))

    assert [purpose.resend_delay(sends) for sends in (1, 2, 3, 4)] == [30, 60, 60, 60]


def test_a_retry_is_the_same_request_by_the_same_application():
    body = {"to": "+923001234567", "purpose": "login"}
    one = idempotent_request(KEYRING, "shop", "start", '"key"', body)

    assert idempotent_request(KEYRING, "shop", "start", "key", dict(reversed(body.items()))) == one
    assert idempotent_request(KEYRING, "bank", "start", "key", body).key != one.key
    assert idempotent_request(KEYRING, "shop", "cancel", "key", body).fingerprint != one.fingerprint
    assert idempotent_request(KEYRING, "shop", "start", "key", {}).fingerprint != one.fingerprint


@pytest.mark.parametrize("header", ["", " ", '""', "a b", "a\tb", "x" * 256, "ключ", "a\nb", "a,b"])
def test_a_malformed_idempotency_key_is_refused(header: str):
    with pytest.raises(InvalidRequestError):
        idempotent_request(KEYRING, "shop", "start", header, {})
