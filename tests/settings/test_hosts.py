"""Hosts: this one or another, and those that may be reached without encryption."""

import pytest
from support_refusals import HTTP, written

from otp_service.errors import ConfigurationError
from otp_service.settings import load_settings
from otp_service.settings.urls import host_of, is_local


@pytest.mark.parametrize(
    ("url", "host", "local"),
    [
        ("http://LOCALHOST:80/x", "localhost", True),
        ("redis://", "localhost", True),
        ("unix:///run/redis.sock", "localhost", True),
        ("http://127.8.9.10", "127.8.9.10", True),
        ("http://[0:0::1]", "::1", True),
        ("http://[FD00:0::5]/", "fd00::5", False),
        ("http://0.0.0.0/", "0.0.0.0", False),  # noqa: S104 - nothing listens here
        ("http://localhost.example/", "localhost.example", False),
        ("http://localhost@sms.example/", "sms.example", False),
        ("http://127.0.0.1.example/", "127.0.0.1.example", False),
        ("http://[hunter2", "", False),
    ],
)
def test_an_address_leads_to_this_host_or_to_another(url, host, local):
    assert (host_of(url), is_local(host_of(url))) == (host, local)


def test_an_address_of_ipv4_that_is_written_as_ipv6_is_what_it_means():
    assert is_local(host_of("http://[::ffff:127.0.0.1]/"))
    assert not is_local(host_of("http://[::ffff:10.0.0.5]/"))


@pytest.mark.parametrize("host", ["*", "10.0.0.0/8", "redis://redis", "redis:6379", "", "a b", ".internal", "-"])
def test_an_exception_is_one_host(host, tmp_path):
    with pytest.raises(ConfigurationError) as refusal:
        load_settings(environ=written(tmp_path, {"plaintext_hosts": [host]}))

    assert str(refusal.value) == (
        "plaintext_hosts.0: is a host such as redis.internal or 10.0.0.5: no scheme, port, network or *."
    )


def test_an_exception_may_be_spelled_otherwise(tmp_path):
    given = {"redis.url": "redis://[fd00::0:5]/0", "plaintext_hosts": ["FD00:0::5", "Redis.Internal"]}

    assert load_settings(environ=written(tmp_path, given)).plaintext_hosts == ("fd00::5", "redis.internal")


def test_what_a_template_holds_is_no_address_that_is_reached(tmp_path):
    linking = {**HTTP, "form": {"to": "{to}", "text": "{text}", "dlr": "http://otp.example/{dispatch_id}"}}

    assert load_settings(environ=written(tmp_path, {"gateways.primary": linking}))
