"""SNS, beyond what the contract samples show: against moto's server, with real signatures, and in silence."""

import logging
from dataclasses import replace

import pytest
from pydantic import ValidationError
from support_gateways import MESSAGE, require

from otp_service.gateways.base import FailureKind, GatewayError
from otp_service.testing.provider import gateway_context
from otp_service.testing.samples import CannedResponse

require("boto3", "moto")

from moto.server import ThreadedMotoServer  # noqa: E402 - after what tells that it is missing
from moto.sns.models import sns_backends  # noqa: E402

from otp_service.gateways.sns import SnsGateway, SnsSettings  # noqa: E402

REGION = "eu-west-1"
KEYS = {"access_key_id": "AKIDEXAMPLE", "secret_access_key": "secret-of-the-test"}
ACCEPTED = "<PublishResponse><PublishResult><MessageId>1-2</MessageId></PublishResult></PublishResponse>"


def gateway(**settings):
    return SnsGateway(SnsSettings.model_validate({"region": REGION, **settings}), gateway_context())


@pytest.fixture(scope="module")
def aws():
    """Run moto's server; yield its address."""
    with pytest.MonkeyPatch.context() as world:
        world.setenv("no_proxy", "127.0.0.1")
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
        server.stop()


@pytest.fixture
def sns(provider):
    provider.response = CannedResponse(body=ACCEPTED)
    return provider


def test_moto_takes_the_message_to_the_number(aws):
    accepted = gateway(**KEYS, base_url=aws).send(MESSAGE)

    sent = sns_backends["123456789012"][REGION].sms_messages
    assert sent[accepted.reference][0] == MESSAGE.to
    assert sent[accepted.reference][1] == MESSAGE.text


def test_moto_refuses_what_is_no_number(aws):
    with pytest.raises(GatewayError) as refused:
        gateway(**KEYS, base_url=aws).send(replace(MESSAGE, to="+44notanumber"))

    assert (refused.value.kind, refused.value.provider_code) == (FailureKind.DESTINATION, "InvalidParameter")
    assert refused.value.__context__ is None


def test_requests_are_signed_for_the_region(sns):
    gateway(**KEYS, base_url=sns.url).send(MESSAGE)

    given = sns.received[0].headers["authorization"]
    assert given.startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
    assert f"/{REGION}/sns/aws4_request" in given


def test_without_keys_of_its_own_it_takes_those_of_the_default_chain(sns, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDOFTHEHOST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-of-the-host")
    gateway(base_url=sns.url).send(MESSAGE)

    assert "Credential=AKIDOFTHEHOST/" in sns.received[0].headers["authorization"]


def test_without_any_keys_nothing_is_sent(sns, monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(GatewayError) as refused:
        gateway(base_url=sns.url).send(MESSAGE)

    assert (refused.value.kind, refused.value.provider_code) == (FailureKind.ACCOUNT, "NoCredentialsError")
    assert sns.received == []


def test_an_endpoint_in_the_environment_does_not_win(sns, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_SNS", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")

    assert gateway(**KEYS)._client.meta.endpoint_url == f"https://sns.{REGION}.amazonaws.com"
    assert gateway(**KEYS, base_url=sns.url).send(MESSAGE).reference == "1-2"


def test_attempts_in_the_environment_do_not_send_twice(sns, monkeypatch):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "5")
    monkeypatch.setenv("AWS_RETRY_MODE", "legacy")
    sns.response = CannedResponse(status=500)
    with pytest.raises(GatewayError):
        gateway(**KEYS, base_url=sns.url).send(MESSAGE)

    assert len(sns.received) == 1


def test_its_sdk_logs_nothing_of_a_call_at_any_level(sns, caplog):
    sending = gateway(**KEYS, base_url=sns.url)
    for name in ("", *logging.Logger.manager.loggerDict):
        caplog.set_level(logging.DEBUG, logger=name)
    caplog.clear()
    sending.send(MESSAGE)

    assert caplog.records == []


def test_between_our_calls_the_sdk_may_log(sns, caplog):
    gateway(**KEYS, base_url=sns.url).send(MESSAGE)
    caplog.set_level(logging.DEBUG, logger="botocore.hooks")
    caplog.clear()
    logging.getLogger("botocore.hooks").debug("of a call of somebody else's")

    assert [record.name for record in caplog.records] == ["botocore.hooks"]


@pytest.mark.parametrize("missing", KEYS)
def test_keys_come_in_pairs(missing):
    keys = {name: value for name, value in KEYS.items() if name != missing}
    with pytest.raises(ValidationError, match="both access_key_id and secret_access_key"):
        SnsSettings.model_validate({"region": REGION, **keys})


@pytest.mark.parametrize(
    "wrong", [{"region": "Europe"}, {"sender_id": "12345"}, {"sender_id": "Acme Shop"}, {"max_price": 0}]
)
def test_a_setting_that_aws_would_refuse_is_refused_at_start(wrong):
    with pytest.raises(ValidationError):
        SnsSettings.model_validate({"region": REGION, **wrong})
