"""What starts and checks spend: all windows or none, named so that an operator's changes forget nothing."""

import re
from contextlib import suppress
from typing import Any

import pytest
from support_caller import Caller
from support_evaluator import snapshot
from support_frozen import FrozenValkey
from support_installation import NUMBER, key
from support_outbox import deliver_all

from otp_service.bootstrap import Installation
from otp_service.errors import OtpServiceError, RateLimitedError
from otp_service.store import keys

OTHER = "+923007654321"
KEYS = {"root": f"k1:{key()}", "pseudonym": key()}
SHOP = {"name": "Acme Shop", "purposes": ["login"], "countries": ["PK"], "client_ip": "required"}


def _install(frozen: FrozenValkey, **limits: Any) -> Installation:
    roomy = {"number": ["100/hour"], "ip": ["100/hour"], "application": ["100/hour"], "failed_checks": ["100/hour"]}
    return frozen.world().install(keys=KEYS, limits={**roomy, **limits}, applications={"shop": SHOP})


def _rows(frozen: FrozenValkey, *, forgetful: bool) -> dict[bytes, bytes]:
    """Return what is kept of all subjects but numbers after some calls; ``forgetful`` scripts are loaded for each."""
    frozen.reset()
    limits = {"application": ["9/minute", "100/hour"]}
    shop = Caller(frozen.world().install(keys=KEYS, limits=limits, guard={"modes": {}}, applications={"shop": SHOP}))
    for turn in range(40):
        if forgetful:
            frozen.client.function_flush()
        to, client_ip = f"+92300123{4000 + turn % 9}", f"192.0.2.{turn % 3}"
        with suppress(RateLimitedError):
            one = shop.start(to, client_ip=client_ip)
            shop.check(one, shop.code(one) if turn % 3 else shop.wrong(one))
        frozen.advance(3.217)
    rows = [key for key in frozen.client.keys() if re.search(rb":(application_state|country|block|address):", key)]
    return {key: frozen.client.get(key) for key in rows}


def test_rows_that_scripts_remember_are_those_that_are_kept(frozen: FrozenValkey) -> None:
    remembered = _rows(frozen, forgetful=False)

    assert len(remembered) == 1 + 1 + 1 + 3
    assert remembered == _rows(frozen, forgetful=True)


def test_a_row_that_others_wrote_since_is_read(frozen: FrozenValkey) -> None:
    shop, application = Caller(_install(frozen, application=["3/hour"])), keys.application("00", "shop")
    assert _try(shop)
    kept = frozen.client.get(application)
    assert _try(shop)
    frozen.client.set(application, kept, keepttl=True)

    assert [_try(shop) for _ in range(3)] == [True, True, False]


def test_a_row_that_was_written_under_other_settings_is_read(frozen: FrozenValkey) -> None:
    shop = Caller(_install(frozen, application=["3/hour"]))
    assert [_try(shop) for _ in range(2)] == [True, True]
    shop = Caller(_install(frozen, application=["9/minute", "3/hour"]))

    assert [_try(shop) for _ in range(2)] == [True, False]


def _try(shop: Caller, to: str = NUMBER, client_ip: str = "192.0.2.1", **members: Any) -> bool:
    try:
        shop.start(to, client_ip=client_ip, **members)
    except RateLimitedError:
        return False
    return True


@pytest.mark.parametrize(
    "limits",
    [
        {"number": ["1/minute", "50/hour"]},
        {"number": ["50/minute", "1/hour"]},
        {"ip": ["1/minute", "50/hour"]},
        {"ip": ["50/minute", "1/hour"]},
        {"application": ["1/minute", "50/hour"]},
        {"application": ["50/minute", "1/hour"]},
        {"failed_checks": ["1/minute", "50/hour"]},
        {"failed_checks": ["50/minute", "1/hour"]},
    ],
    ids=str,
)
def test_a_refused_start_leaves_every_key_byte_for_byte_as_it_was(frozen: FrozenValkey, limits: Any) -> None:
    shop = Caller(_install(frozen, **limits))
    one = shop.start(client_ip="192.0.2.1")
    shop.check(one, shop.wrong(one))
    frozen.advance(2)
    before = snapshot(frozen.client)
    for place in range(3):
        assert not _try(shop, retry=shop.retry(f"key-{place}", "start", place))

    assert snapshot(frozen.client) == before


@pytest.mark.parametrize(
    "limits", [{"number": ["1/minute"]}, {"application": ["2/minute"]}, {"failed_checks": ["1/minute"]}], ids=str
)
def test_a_refused_resend_leaves_every_key_byte_for_byte_as_it_was(frozen: FrozenValkey, limits: Any) -> None:
    shop = Caller(_install(frozen, **limits))
    one, _ = shop.start(client_ip="192.0.2.1"), shop.start(OTHER, client_ip="192.0.2.1")
    frozen.advance(30)
    shop.check(one, shop.wrong(one))
    before = snapshot(frozen.client)
    with pytest.raises(RateLimitedError):
        shop.resend(one, shop.retry("key", "resend"))

    assert snapshot(frozen.client) == before


def test_a_resend_counts_for_the_number_and_the_application_but_not_for_an_address(frozen: FrozenValkey) -> None:
    shop = Caller(_install(frozen, number=["2/hour"], ip=["2/hour"]))
    one = shop.start(client_ip="192.0.2.1")
    frozen.advance(30)
    assert shop.resend(one).quota.remaining == 98

    assert not _try(shop, client_ip="192.0.2.9")
    assert _try(shop, OTHER)
    assert not _try(shop, "+923007654322")


@pytest.mark.parametrize("scope", ["number", "ip", "application"])
def test_a_changed_amount_in_the_configuration_forgets_nothing(frozen: FrozenValkey, scope: str) -> None:
    def allowed(amount: int) -> int:
        shop = Caller(_install(frozen, **{scope: [f"{amount}/day"]}))
        return sum(_try(shop) for _ in range(5))

    assert [allowed(amount) for amount in (3, 4, 2, 4, 6)] == [3, 1, 0, 0, 2]


def test_a_changed_amount_of_failed_checks_forgets_nothing(frozen: FrozenValkey) -> None:
    def compared(amount: int) -> int:
        shop = Caller(_install(frozen, failed_checks=[f"{amount}/day"]))
        try:
            one = shop.start(client_ip="192.0.2.1")
        except RateLimitedError:
            return 0
        return sum(shop.check(one, shop.wrong(one))[3] == "wrong_code" for _ in range(5))

    assert [compared(amount) for amount in (3, 4, 2, 4, 6)] == [3, 1, 0, 0, 2]


def test_a_full_budget_on_both_sides_of_an_edge_is_not_twice_the_budget(frozen: FrozenValkey) -> None:
    shop = Caller(_install(frozen, number=["3/minute"]))
    assert [_try(shop) for _ in range(4)] == [True, True, True, False]
    frozen.advance(59.9)
    assert not _try(shop)
    frozen.advance(0.2)

    assert [_try(shop) for _ in range(4)] == [True, True, True, False]


def test_each_window_leaves_its_events_at_its_own_time(frozen: FrozenValkey) -> None:
    shop = Caller(_install(frozen, number=["2/minute", "3/hour"]))
    assert [_try(shop), _try(shop), _try(shop)] == [True, True, False]
    frozen.advance(60.001)
    assert [_try(shop), _try(shop)] == [True, False]
    deliver_all(shop.context)
    frozen.advance(3539.998)
    assert not _try(shop)
    frozen.advance(0.002)

    assert [_try(shop), _try(shop), _try(shop)] == [True, True, False]


def test_addresses_count_by_their_network_and_numbers_by_the_number(frozen: FrozenValkey) -> None:
    shop = Caller(_install(frozen, ip=["1/hour"], number=["2/hour"]))

    assert _try(shop, client_ip="2001:db8:1:2::1")
    assert not _try(shop, client_ip="2001:db8:1:2:ffff::9")
    assert _try(shop, client_ip="2001:db8:1:3::1")
    assert not _try(shop, "0300 1234567", client_ip="192.0.2.77", region="PK")
    assert _try(shop, OTHER, client_ip="::ffff:192.0.2.77")
    assert not _try(shop, OTHER, client_ip="192.0.2.77")


def test_the_quota_counts_down_and_names_the_narrowest_window(frozen: FrozenValkey) -> None:
    shop = Caller(_install(frozen, application=["50/hour", "3/minute"]))
    quotas = [shop.send(client_ip="192.0.2.1").quota for _ in range(3)]

    assert [(one.amount, one.seconds, one.remaining) for one in quotas] == [(3, 60, 2), (3, 60, 1), (3, 60, 0)]
    with pytest.raises(RateLimitedError) as refused:
        shop.send(client_ip="192.0.2.1")
    assert refused.value.quota.remaining == 0
    assert refused.value.retry_after == 61, "at the very end of the interval it still counts"


def test_an_application_without_limits_has_no_quota(frozen: FrozenValkey) -> None:
    shop = Caller(_install(frozen, application=[]))

    assert shop.send(client_ip="192.0.2.1").quota is None


def test_the_wait_of_a_recipients_limits_is_told_coarsely_and_alike(frozen: FrozenValkey) -> None:
    """Which of two windows refused, or whether the number is locked, is not to be seen."""
    refusals = []
    for limits in ({"number": ["1/minute"]}, {"ip": ["1/minute"]}, {"failed_checks": ["1/minute"]}):
        frozen.reset()
        shop = Caller(_install(frozen, **limits))
        one = shop.start(client_ip="192.0.2.1")
        shop.check(one, shop.wrong(one))
        frozen.advance(13)
        with pytest.raises(RateLimitedError) as refused:
            shop.start(client_ip="192.0.2.1")
        refusals.append((str(refused.value), refused.value.code, refused.value.retry_after, refused.value.quota))

    assert len(set(refusals)) == 1
    assert refusals[0][2] == 50


def test_an_operator_sees_and_clears_a_numbers_windows(frozen: FrozenValkey) -> None:
    installation = _install(frozen, number=["2/hour"], failed_checks=["3/day"])
    shop, reader = Caller(installation), installation.context.store.limits
    pseudonym = installation.context.keyring.pseudonym(NUMBER)
    one = shop.start(client_ip="192.0.2.1")
    shop.check(one, shop.wrong(one))
    shop.start(client_ip="192.0.2.1")
    frozen.advance(1)

    states = reader.windows("00", pseudonym, ["shop"])
    assert [(state.application, state.used, state.remaining) for state in states] == [(None, 2, 0), ("shop", 1, 2)]
    assert [round(state.reset_in) for state in states] == [3599, 86399]
    assert reader.reset("00", pseudonym, ["shop"]) == 2
    assert reader.reset("00", pseudonym, ["shop"]) == 0
    assert [state.used for state in reader.windows("00", pseudonym, ["shop"])] == [0, 0]
    assert _try(shop)


def test_bad_input_spends_nothing(frozen: FrozenValkey) -> None:
    shop = Caller(_install(frozen))
    for members in (
        {"to": "+923"},
        {"client_ip": None},
        {"purpose": "unknown"},
        {"channel": "whatsapp"},
        {"region": "XX"},
    ):
        with pytest.raises(OtpServiceError):
            shop.start(**{"to": NUMBER, "client_ip": "192.0.2.1", **members})

    assert frozen.client.dbsize() == 0
