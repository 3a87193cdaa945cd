"""What every code of every gateway means: whose fault it is, and so what comes next. Each goes over the wire."""

import json
import re
from dataclasses import replace

import pytest
from support_gateways import make
from support_missing import missing
from support_outbox import FREE
from support_smpp import SmppProvider, attempt, gateway_at

from otp_service.domain.routing import CallResult
from otp_service.gateways.base import FailureKind, GatewayError, Receipt
from otp_service.gateways.smpp.protocol import FAILURES as SMPP
from otp_service.gateways.twilio import FAILURES as TWILIO
from otp_service.gateways.twilio import receipt_of_message
from otp_service.gateways.vonage import FAILURES as VONAGE
from otp_service.services.call_outcomes import call_result, result_after_failure
from otp_service.store.outbox import NextStep
from otp_service.testing.provider import FakeProvider
from otp_service.testing.samples import MESSAGE, CannedResponse

try:
    from otp_service.gateways.sns import FAILURES as SNS
except ImportError:
    missing("boto3")

STATUSES = [*range(300, 309), *range(400, 418), 421, 422, 426, 429, 431, 451, *range(500, 512), *range(520, 527), 530]
CODES = {
    "http": STATUSES,
    "sandbox": list(FailureKind),
    "smpp": list(SMPP),
    "sns": [*SNS, "AccessDenied", "InvalidClientTokenId", "SignatureDoesNotMatch", "InvalidParameter", "NotFound"],
    "twilio": list(TWILIO),
    "vonage": list(VONAGE),
}
EVERY = [(gateway, code) for gateway, codes in CODES.items() for code in codes]

REFUSES_US = {
    "http": {*range(300, 309), 401, 402, 403, 404, 405, 407, 410, 421, 426, 451},
    "sandbox": {"account"},
    "smpp": {0x03, 0x0A, 0x0D, 0x0E, 0x0F, 0x15, 0x48, 0x49, 0x50, 0x51, 0x53},
    "sns": {
        "AuthorizationError", "ExpiredToken", "IncompleteSignature", "NotAuthorized", "OptInRequired", "RequestExpired",
        "UnrecognizedClient", "AccessDenied", "InvalidClientTokenId", "SignatureDoesNotMatch", "NotFound",
    },
    "twilio": {
        20003, 20005, 21210, 21212, 21219, 21606, 21608, 30002, 30024, 30029, 30030, 30032, 30033, 30034, 30035, 30037,
        63001, 63007,
    },
    "vonage": {"4", "8", "9", "11", "14", "15", "29", "32"},
}  # fmt: skip
"""Our key, credit, sender, address or rights: another gateway may be well."""
REFUSES_THE_MESSAGE = {
    "http": {400, 406, 409, *range(411, 418), 422, 431},
    "sandbox": {"rejected", "destination", "channel", "fraud"},
    "smpp": {
        code for code in SMPP if code not in {0x04, 0x05, 0x08, 0x14, 0x45, 0x58, 0x64, 0xFE, 0xFF, *REFUSES_US["smpp"]}
    },
    "sns": {"OptedOut", "InvalidParameter"},
    "twilio": {
        21211, 21214, 21216, 21217, 21610, 21614, 21635, 30005, 30006, 30450, 30453, 63003, 63005, 63013, 63014, 63016,
        63021, 63024, 63027, 63028,
    },
    "vonage": {"2", "3", "6", "7", "12", "22", "23", "33"},
}  # fmt: skip
"""Its number, its text or its channel: no other gateway is asked."""
BREAKS_OFF = {
    "http": {500, 501, 502, *range(505, 511), 520},
    "sandbox": {"error"},
    "smpp": {0x08, 0xFF},
    "sns": {"InternalError", "InternalFailure"},
    "twilio": {30500, 63012},
    "vonage": {"5"},
}
"""It failed while it had the message in hand: nobody knows what it did."""
OF_THE_NUMBER = {("twilio", 21219), ("twilio", 21608), ("vonage", "29")}
"""Of those that refuse us, what a stranger brings about by the number that he picks: a trial account's list."""
OF_THE_SENDER = {
    *(("twilio", code) for code in (21210, 21212, 21606, 30024, 30032, 30033, 30034, 30035, 63007)),
    *(("smpp", code) for code in (0x0A, 0x48, 0x49)),
    ("vonage", "15"),
}
"""Those that are about the message where it has a sender of its own, as an application's registered one is."""
SETTINGS = {
    "http": {"url": "{server}"},
    "sns": {
        "region": "eu-west-1", "access_key_id": "AKIAEXAMPLE", "secret_access_key": "secret", "base_url": "{server}",
    },
    "twilio": {
        "account_sid": "AC" + "0" * 32, "auth_token": "secret", "from": "+15005550006", "redact": False,
        "base_url": "{server}",
    },
    "vonage": {"api_key": "key", "api_secret": "secret", "from": "Acme", "base_url": "{server}"},
}  # fmt: skip


def answer(gateway, code):
    """Return what the provider answers that refuses with a code."""
    match gateway:
        case "http":
            notice = {"Location": "https://portal.example/suspended"} if code < 400 else {}
            return CannedResponse(status=code, headers=notice, body="<html>Your account is suspended</html>")
        case "twilio":
            status = 429 if TWILIO[code] is FailureKind.THROTTLED else 400
            return CannedResponse(status=status, body=json.dumps({"code": code, "message": MESSAGE.to}))
        case "vonage":
            return CannedResponse(body=json.dumps({"message-count": "1", "messages": [{"status": code}]}))
        case _:
            by_right = {"AccessDenied", "InvalidClientTokenId", "SignatureDoesNotMatch"}
            status = 403 if code in by_right else 404 if code == "NotFound" else 400
            told = f"<Error><Code>{code}</Code><Message>Invalid parameter: PhoneNumber</Message></Error>"
            return CannedResponse(status=status, body=f"<ErrorResponse>{told}</ErrorResponse>")


def failure(gateway, code, monkeypatch, message=MESSAGE):
    """Return what a gateway makes of a code that its provider answers."""
    if gateway == "sandbox":
        return attempt(make("sandbox", fail=code), message)
    if gateway == "smpp":
        with SmppProvider() as smsc:
            smsc.response = CannedResponse(status=code)
            with gateway_at(smsc) as link:
                return attempt(link, message)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with FakeProvider() as provider:
        provider.response = answer(gateway, code)
        filled = {name: provider.url if told == "{server}" else told for name, told in SETTINGS[gateway].items()}
        return attempt(make(gateway, **filled), message)


def test_every_code_belongs_to_one_side():
    assert [one for one in EVERY if one[1] in REFUSES_US[one[0]] & REFUSES_THE_MESSAGE[one[0]]] == []
    for gateway, codes in CODES.items():
        assert REFUSES_US[gateway] | REFUSES_THE_MESSAGE[gateway] <= set(codes), gateway
    assert {*OF_THE_NUMBER, *OF_THE_SENDER} <= {one for one in EVERY if one[1] in REFUSES_US[one[0]]}


@pytest.mark.parametrize(("gateway", "code"), EVERY)
def test_a_refused_account_goes_on_to_the_next_gateway_and_a_refused_message_does_not(gateway, code, monkeypatch):
    failed = failure(gateway, code, monkeypatch)
    refuses_us, refuses_it = code in REFUSES_US[gateway], code in REFUSES_THE_MESSAGE[gateway]
    follows = result_after_failure(failed, None, 0)

    assert isinstance(failed, GatewayError)
    assert (failed.kind == "account") is refuses_us, failed
    assert (failed.kind == "error") is (code in BREAKS_OFF[gateway]), failed
    assert (follows.next is NextStep.DEAD) is refuses_it, failed
    assert follows.next in {NextStep.NEXT, NextStep.DEAD}
    if refuses_us:
        counts = (gateway, code) not in OF_THE_NUMBER
        assert call_result(failed, 0.0, FREE) is (CallResult.BAD if counts else CallResult.WELL)
        assert not failed.ambiguous, "it was not taken"
    if failed.kind == "error":
        assert call_result(failed, 0.0, FREE) is CallResult.BAD
    if refuses_it:
        assert call_result(failed, 0.0, FREE) is CallResult.WELL


@pytest.mark.parametrize(("gateway", "code"), sorted(OF_THE_SENDER, key=str))
def test_a_refused_sender_of_one_application_is_not_held_against_the_account_of_all(gateway, code, monkeypatch):
    failed = failure(gateway, code, monkeypatch, replace(MESSAGE, sender="ACME"))

    assert (failed.kind, failed.message_specific) == ("account", True)
    assert call_result(failed, 0.0, FREE) is CallResult.WELL


@pytest.mark.parametrize("code", [0x0D, 0x0E, 0x0F, 0x53])
def test_an_smsc_that_refuses_to_bind_our_account_says_so(code):
    with SmppProvider() as smsc:
        smsc.bind_status = code
        with gateway_at(smsc, rebind_after=60.0) as gateway:
            failed = attempt(gateway, MESSAGE)

    assert failed.kind == "account"
    assert re.fullmatch(r"bind ESME_R\w+", failed.provider_code)


@pytest.mark.parametrize("code", sorted(REFUSES_US["twilio"]))
def test_a_report_of_a_refused_account_is_known_as_one(code):
    read = receipt_of_message({"MessageStatus": "failed", "ErrorCode": str(code)})

    assert isinstance(read, Receipt)
    assert (read.kind, read.reason) == ("account", f"account {code}")
