"""Keys: until when, from where, and how an address list is read."""

import re

import pytest

from otp_service.domain.applications import APPLICATION_SCOPES, ApiKey, KeyScope, new_key_id, parse_networks
from otp_service.errors import InvalidRequestError

NOW = 1_795_000_000_000


def key(*addresses: str, **members) -> ApiKey:
    return ApiKey("ak_1", "shop", "sha256:1", frozenset({KeyScope.VERIFY}), parse_networks(addresses), **members)


@pytest.mark.parametrize(
    ("members", "valid"),
    [
        ({}, True),
        ({"expires": NOW + 1}, True),
        ({"expires": NOW}, False),
        ({"expires": NOW - 1}, False),
        ({"revoked": NOW - 1}, False),
        ({"revoked": NOW + 1}, False),
        ({"revoked": NOW - 1, "expires": NOW + 1}, False),
    ],
)
def test_a_key_holds_until_it_is_revoked_or_its_end_has_come(members, valid):
    assert key(**members).is_valid(NOW) is valid


@pytest.mark.parametrize(
    ("addresses", "address", "admitted"),
    [
        ([], "203.0.113.9", True),
        ([], None, True),
        (["203.0.113.9"], "203.0.113.9", True),
        (["203.0.113.9"], "203.0.113.10", False),
        (["203.0.113.0/24"], "203.0.113.255", True),
        (["203.0.113.0/24"], "203.0.114.0", False),
        (["203.0.113.0/24"], "::ffff:203.0.113.7", True),
        (["203.0.113.0/24"], "::ffff:203.0.114.7", False),
        (["2001:db8::/48"], "2001:db8:0:ffff::1", True),
        (["2001:db8::/48"], "2001:db8:1::1", False),
        (["192.0.2.1", "2001:db8::/48"], "2001:db8::1", True),
        (["192.0.2.1"], None, False),
        (["0.0.0.0/0"], "2001:db8::1", False),
        (["0.0.0.0/0"], None, False),
    ],
)
def test_a_key_with_an_address_list_is_of_use_from_there_only(addresses, address, admitted):
    assert key(*addresses).admits(address) is admitted


def test_an_address_list_names_each_network_once_in_one_spelling():
    found = parse_networks(["192.0.2.7", "192.0.2.0/255.255.255.0", "2001:DB8:0::/48", "192.0.2.7/32"])

    assert list(map(str, found)) == ["192.0.2.7/32", "192.0.2.0/24", "2001:db8::/48"]


@pytest.mark.parametrize(
    "text",
    ["", "x", "192.0.2", "192.0.2.7/24", "192.0.2.7/33", "010.0.0.1", " 192.0.2.7", "192.0.2.7 192.0.2.8",
     "fe80::1%eth0", "::ffff:192.0.2.7", "::ffff:0:0/96", "2001:db8::1/48", "localhost", "192.0.2.1-192.0.2.9"],
)  # fmt: skip
def test_what_is_no_network_is_refused_with_its_place(text):
    with pytest.raises(InvalidRequestError) as refused:
        parse_networks(["192.0.2.7", text])

    assert [fault.pointer for fault in refused.value.faults] == ["/addresses/1"]


def test_a_name_of_a_key_is_random_and_no_key_shows_its_hash():
    assert re.fullmatch("ak_[0-9a-f]{32}", new_key_id())
    assert new_key_id() != new_key_id()
    assert "sha256" not in repr(key())


def test_no_key_of_an_application_may_administer():
    assert set(KeyScope) - {KeyScope.ADMIN} == APPLICATION_SCOPES
