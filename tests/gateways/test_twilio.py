"""Twilio, beyond what the contract samples show."""

import logging
from dataclasses import replace

import pytest
from pydantic import ValidationError
from support_gateways import MESSAGE, make

from otp_service.gateways.base import GatewayError
from otp_service.gateways.contract.samples import CannedResponse
from otp_service.gateways.twilio import TwilioSettings

ACCOUNT = {"account_sid": "AC0123456789abcdef0123456789abcdef", "auth_token": "token-of-the-test"}
SERVICE = {"messaging_service_sid": "MG0123456789abcdef0123456789abcdef"}


@pytest.fixture
def twilio(provider):
    provider.response = CannedResponse(status=201, body='{"sid": "SM1"}')
    return provider


def test_a_messaging_service_takes_the_place_of_a_number(twilio):
    make("twilio", **ACCOUNT, **SERVICE, base_url=twilio.url).send(MESSAGE)

    form = twilio.received[0].form
    assert form["MessagingServiceSid"] == SERVICE["messaging_service_sid"]
    assert "From" not in form


@pytest.mark.parametrize("sender", [{}, {**SERVICE, "from": "+15005550006"}])
def test_there_is_exactly_one_sender(sender):
    with pytest.raises(ValidationError, match="either from or messaging_service_sid"):
        TwilioSettings.model_validate({**ACCOUNT, **sender})


@pytest.mark.parametrize(("expires_in", "validity"), [(0, "1"), (1, "1"), (287, "287"), (36_001, "36000")])
def test_a_message_lives_no_longer_than_its_code(twilio, expires_in, validity):
    make("twilio", **ACCOUNT, **SERVICE, base_url=twilio.url).send(replace(MESSAGE, expires_in=expires_in))

    assert twilio.received[0].form["ValidityPeriod"] == validity


def test_without_a_receipt_address_there_is_no_callback(twilio):
    make("twilio", **ACCOUNT, **SERVICE, base_url=twilio.url).send(replace(MESSAGE, receipt_url=None))

    assert "StatusCallback" not in twilio.received[0].form


def test_a_region_in_the_environment_does_not_move_the_base_url(twilio, monkeypatch):
    monkeypatch.setenv("TWILIO_REGION", "au1")
    monkeypatch.setenv("TWILIO_EDGE", "sydney")
    make("twilio", **ACCOUNT, **SERVICE, base_url=f"{twilio.url}/behind/a/prefix/").send(MESSAGE)

    assert twilio.received[0].path.startswith("/behind/a/prefix/2010-04-01/Accounts/")


def test_its_sdk_logs_nothing_of_a_call_at_any_level(twilio, caplog):
    for name in ("", "twilio", "twilio.http_client", "urllib3"):
        caplog.set_level(logging.DEBUG, logger=name)
    make("twilio", **ACCOUNT, **SERVICE, base_url=twilio.url).send(MESSAGE)

    assert caplog.records == []


def test_words_of_twilio_that_repeat_the_number_are_not_kept(twilio):
    twilio.response = CannedResponse(status=400, body=f'{{"code": 21211, "message": "{MESSAGE.to} is not valid"}}')
    with pytest.raises(GatewayError) as failed:
        make("twilio", **ACCOUNT, **SERVICE, base_url=twilio.url).send(MESSAGE)

    assert str(failed.value) == "destination: 21211"
    assert failed.value.__context__ is None
