"""Addresses that a library would read otherwise than we do: what is judged must be what is called."""

import pytest
from pydantic import ValidationError
from support_gateways import require

from otp_service.gateways.base import GATEWAY_KINDS

TWILIO = {"account_sid": "AC" + "0" * 32, "auth_token": "of-this-test", "from": "Acme"}
VONAGE = {"api_key": "abcd1234", "api_secret": "of-this-test", "from": "Acme"}
SNS = {"region": "eu-west-1"}
ODD = [" http://sms.example", "\thttp://sms.example", "http://sms.example\\@localhost/x", "https://sms.example/a b"]


@pytest.mark.parametrize("address", ODD)
@pytest.mark.parametrize(
    ("kind", "settings", "member"),
    [
        ("twilio", TWILIO, "base_url"),
        ("vonage", VONAGE, "base_url"),
        ("sns", SNS, "base_url"),
        ("http", {"form": {"text": "{text}"}}, "url"),
    ],
)
def test_an_address_with_blanks_or_backslashes_is_refused(kind: str, settings: dict, member: str, address: str):
    if kind == "sns":
        require("boto3")
    with pytest.raises(ValidationError):
        GATEWAY_KINDS.find(kind).Settings.model_validate({**settings, member: address})
