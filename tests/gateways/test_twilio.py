"""Twilio, beyond what the contract samples show."""

import json
import logging
import re
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from support_gateways import MESSAGE, make

from otp_service.domain.verification import DeliveryStatus
from otp_service.gateways.base import FailureKind, ForgedRequestError, GatewayError, ReceiptRequest
from otp_service.gateways.twilio import DEFAULT_VOICE, FAILURES, MESSAGE_SPECIFIC, TwilioSettings, twiml, voice_for
from otp_service.settings.schema import ConfiguredGateway
from otp_service.testing.provider import assert_holds_nothing_private, exception_text
from otp_service.testing.samples import CannedResponse

ACCOUNT = {"account_sid": "AC0123456789abcdef0123456789abcdef", "auth_token": "token-of-the-test"}
XML_ONLY = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
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


def test_sms_have_one_sender():
    with pytest.raises(ValidationError, match="either from or messaging_service_sid"):
        TwilioSettings.model_validate({**ACCOUNT, **SERVICE, "from": "+15005550006"})


def test_there_is_a_sender():
    with pytest.raises(ValidationError, match="needs from, messaging_service_sid, voice_from or whatsapp_from"):
        TwilioSettings.model_validate(ACCOUNT)


@pytest.mark.parametrize(
    ("senders", "channels"),
    [
        (SERVICE, {"sms"}),
        ({"from": "Acme"}, {"sms"}),
        ({"voice_from": "+15005550007"}, {"voice"}),
        ({"whatsapp_from": "+15005550008"}, {"whatsapp"}),
        ({"voice_from": "+15005550007", "whatsapp_from": "+15005550008"}, {"voice", "whatsapp"}),
    ],
)
def test_it_carries_the_channels_that_have_a_sender(senders, channels):
    assert make("twilio", **ACCOUNT, **senders).channels == channels
    configured = ConfiguredGateway.model_validate({"kind": "twilio", **ACCOUNT, **senders})
    assert configured.channels == frozenset(channels)


@pytest.mark.parametrize(
    ("member", "variables", "fault"),
    [
        ("whatsapp_payment_content_variables", {"1": "code"}, "needs code, amount, payee"),
        ("whatsapp_payment_content_variables", {"1": "amount", "2": "payee"}, "needs code, amount, payee"),
        ("whatsapp_payment_content_variables", {"1": "code", "2": "amount", "3": "payee", "4": "iban"}, "names iban"),
        ("whatsapp_content_variables", {"1": "brand"}, "needs code"),
        ("whatsapp_content_variables", {"1": "code", "2": "amount"}, "names amount; known are brand, code, minutes"),
    ],
)
def test_a_template_that_no_message_could_fill_or_that_hides_what_matters_is_refused(member, variables, fault):
    with pytest.raises(ValidationError, match=f"{member} {fault}"):
        TwilioSettings.model_validate({**ACCOUNT, **SERVICE, member: variables})


@pytest.mark.parametrize(
    ("locale", "language"),
    [
        ("en", "en-US"),
        ("en-GB", "en-GB"),
        ("en-ZA", "en-US"),
        ("en-PK", "en-IN"),
        ("ar", "arb"),
        ("ar-SA", "arb"),
        ("hi-IN", "hi-IN"),
        ("zh-Hant-TW", "zh-CN"),
        ("pt_BR", "pt-BR"),
        ("ur-Latn-PK", "hi-IN"),
        ("ur-PK", "en-US"),
        ("tlh", "en-US"),
    ],
)
def test_a_call_is_spoken_in_the_language_of_the_locale_or_else_in_english(locale, language):
    assert voice_for(locale, {}).language == language


def test_a_voice_of_the_configuration_comes_first(twilio):
    voices = {"ur": {"language": "ur-IN", "voice": "Google.ur-IN-Wavenet-A"}}
    settings = {"voice_from": "+15005550007", "voices": voices, "base_url": twilio.url}
    make("twilio", **ACCOUNT, **settings).send(replace(MESSAGE, channel="voice", locale="ur-PK"))

    assert '<Say language="ur-IN" voice="Google.ur-IN-Wavenet-A">' in twilio.received[0].form["Twiml"]


@pytest.mark.parametrize(
    "voice", [{"language": 'en"><Play', "voice": "man"}, {"language": "en", "voice": '"/><Hangup'}]
)
def test_a_voice_is_no_markup(voice):
    with pytest.raises(ValidationError):
        TwilioSettings.model_validate({**ACCOUNT, "voice_from": "+15005550007", "voices": {"en": voice}})


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_whatever_a_text_has_a_call_says_it_and_does_nothing_else(text):
    document = ET.fromstring(twiml(text, DEFAULT_VOICE))  # noqa: S314 - our own document

    assert [(element.tag, len(element)) for element in document.iter()] == [("Response", 1), ("Say", 0)]
    assert "".join((document[0].text or "").split()) == "".join(XML_ONLY.sub(" ", text).split())


@pytest.mark.parametrize(("expires_in", "ringing"), [(0, "1"), (12, "12"), (287, "60")])
def test_a_call_rings_no_longer_than_its_code_lives(twilio, expires_in, ringing):
    message = replace(MESSAGE, channel="voice", expires_in=expires_in)
    make("twilio", **ACCOUNT, voice_from="+15005550007", base_url=twilio.url).send(message)

    assert twilio.received[0].form["Timeout"] == ringing


def test_a_call_without_a_receipt_address_asks_for_no_events(twilio):
    message = replace(MESSAGE, channel="voice", receipt_url=None)
    make("twilio", **ACCOUNT, voice_from="+15005550007", base_url=twilio.url).send(message)

    assert twilio.received[0].form.keys() & {"StatusCallback", "StatusCallbackEvent"} == set()


def test_the_signature_is_the_one_of_twilios_own_example():
    """From "Webhooks security" of its documentation."""
    form = {
        "CallSid": "CA1234567890ABCDE",
        "Caller": "+14158675309",
        "Digits": "1234",
        "From": "+14158675309",
        "To": "+18005551212",
    }
    example = ReceiptRequest(
        method="POST",
        url="https://mycompany.com/myapp.php?foo=1&bar=2",
        headers={"x-twilio-signature": "RSOYDt4T1cUTdK1PDd93/VVr8B8="},
        query={"foo": "1", "bar": "2"},
        form=form,
        body=b"",
        peer="192.0.2.7",
        dispatch_id=MESSAGE.dispatch_id,
    )
    gateway = make("twilio", **{**ACCOUNT, "auth_token": "12345"}, **SERVICE)

    assert gateway.parse_receipt(example).status is DeliveryStatus.UNKNOWN
    for forged in (replace(example, url=example.url + "0"), replace(example, form={**form, "Digits": "1235"})):
        with pytest.raises(ForgedRequestError):
            gateway.parse_receipt(forged)


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


@pytest.mark.parametrize(
    ("status", "body", "failure"),
    [
        (400, {"code": {}, "message": MESSAGE.to}, "rejected: http 400"),
        (400, {"code": [21211], "message": MESSAGE.to}, "rejected: http 400"),
        (400, {"code": int(MESSAGE.to[1:]), "message": MESSAGE.to}, "rejected: http 400"),
        (400, {"code": 482913, "message": MESSAGE.to}, "rejected: http 400"),
        (400, {"code": True, "message": MESSAGE.to}, "rejected: http 400"),
        (503, {"type": "a", "title": MESSAGE.to, "status": "503", "code": 1}, "unavailable: http 503"),
        (400, {"type": "a", "title": MESSAGE.to, "status": 503, "code": 29999}, "rejected: 29999"),
        (400, [MESSAGE.to], "rejected: http 400"),
    ],
)
def test_a_refusal_of_any_form_is_judged_and_gives_nothing_away(twilio, status, body, failure):
    twilio.response = CannedResponse(status=status, body=json.dumps(body))
    with pytest.raises(GatewayError) as failed:
        make("twilio", **ACCOUNT, **SERVICE, base_url=twilio.url).send(MESSAGE)

    assert (str(failed.value), failed.value.ambiguous) == (failure, False)
    assert_holds_nothing_private(exception_text(failed.value), TwilioSettings(**ACCOUNT, **SERVICE), "the failure")


def test_an_answer_nested_beyond_reading_is_ambiguous(twilio):
    twilio.response = CannedResponse(status=201, body='{"sid": ' + "[" * 20_000)
    with pytest.raises(GatewayError) as failed:
        make("twilio", **ACCOUNT, **SERVICE, base_url=twilio.url).send(MESSAGE)

    assert (str(failed.value), failed.value.ambiguous) == ("unavailable: malformed answer", True)


def test_it_is_left_alone_for_as_long_as_it_asks(twilio):
    twilio.response = CannedResponse(status=429, headers={"Retry-After": "7"}, body='{"code": 20429}')
    with pytest.raises(GatewayError) as failed:
        make("twilio", **ACCOUNT, **SERVICE, base_url=twilio.url).send(MESSAGE)

    assert (str(failed.value), failed.value.retry_after) == ("throttled: 20429", 7.0)


@pytest.mark.parametrize(
    ("code", "kind", "message_specific"),
    [
        pytest.param(21612, "unavailable", True, id="no route from this sender"),
        pytest.param(10004, "throttled", False, id="calls"),
    ],
)
def test_what_is_of_this_account_alone_lets_another_gateway_try(twilio, code, kind, message_specific):
    twilio.response = CannedResponse(status=400, body=f'{{"code": {code}}}')
    with pytest.raises(GatewayError) as failed:
        make("twilio", **ACCOUNT, **SERVICE, base_url=twilio.url).send(MESSAGE)

    assert (str(failed.value), failed.value.message_specific) == (f"{kind}: {code}", message_specific)


def test_a_failure_that_a_caller_can_cause_by_the_choice_of_a_number_is_message_specific():
    unavailable = {code for code, kind in FAILURES.items() if kind is FailureKind.UNAVAILABLE}

    assert unavailable - MESSAGE_SPECIFIC == {30008, 30036, 30046, 30410}  # Twilio's own, or nobody knows whose
    assert MESSAGE_SPECIFIC - unavailable == {21219, 21608}  # a trial account's list of numbers
