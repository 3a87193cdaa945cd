"""A verification that the release before started lacks all that the guard remembers: it lives on all the same."""

from typing import Any

import pytest
from support_caller import Caller
from support_frozen import FrozenValkey
from support_guard import ADDRESS, decisions, number, spent
from support_installation import tree
from support_outbox import Scripted, Sender, story, timed_out

from otp_service.store import keys

OF_THE_GUARD = {"guard", "block", "network", "wide", "provider", "context", "p1", "r1.1"}
"""Fields of a record that the release before did not write."""


@pytest.fixture
def shop(frozen: FrozenValkey) -> Caller:
    """Every rule holds, with its own numbers; money too."""
    own: dict[str, Any] = tree(frozen.url)["applications"]
    prices = {name: {"kind": "sandbox", "prices": {"*": "1"}} for name in ("sandbox", "first", "second")}
    installation = frozen.world().install(
        guard={"modes": {}},
        gateways=prices,
        routes=[{"gateways": ["first", "second"]}],
        applications={**own, "shop": {**own["shop"], "spend": {"day": "100"}}},
    )
    return Caller(installation)


def keys_of(frozen: FrozenValkey, part: str) -> list[bytes]:
    return list(frozen.client.scan_iter(f"otp:{{*}}:{part}:*"))


@pytest.fixture
def old(frozen: FrozenValkey, shop: Caller) -> str:
    """A verification as the release before wrote it; nothing was counted then."""
    one = shop.start(number(1), client_ip=ADDRESS, context="own phone")
    record = keys.record("00", one)
    written = {name.decode() for name in frozen.client.hkeys(record)}
    assert written & OF_THE_GUARD == OF_THE_GUARD - {"wide", "provider"}
    frozen.client.hdel(record, *OF_THE_GUARD)
    parts = ("number", "address", "block", "country", "application")
    subjects = [key for part in parts for key in keys_of(frozen, part)]
    frozen.client.delete(*subjects, keys.decisions("00"))
    return one


def test_it_is_delivered_and_fails_over(shop: Caller, old: str) -> None:
    sender = Sender(shop, first=Scripted(timed_out()), second=Scripted())
    sender.deliver()

    assert [each[2:4] for each in story(shop, old)] == [("first", "unknown"), ("second", "sent")]
    assert spent(shop) == {"day": 0}, "nothing was reserved for it"


def test_a_wrong_code_counts_and_the_right_one_is_approved(frozen: FrozenValkey, shop: Caller, old: str) -> None:
    assert shop.check(old, shop.wrong(old))[3] == "wrong_code"
    assert shop.check(old, shop.code(old))[:2] == ("approved", True)
    assert decisions(shop) == []

    assert keys_of(frozen, "number"), "the number is known from then on"


def test_it_is_resent_and_what_is_sent_now_counts_and_is_paid_for(frozen: FrozenValkey, shop: Caller, old: str) -> None:
    frozen.advance(30)
    assert shop.resend(old).verification.sends == 2
    assert spent(shop) == {"day": 1}
    Sender(shop, first=Scripted(), second=Scripted()).deliver()

    assert spent(shop) == {"day": 1}
    assert shop.check(old, shop.code(old))[1]


def test_it_is_canceled_and_its_message_dropped(shop: Caller, old: str) -> None:
    assert shop.cancel(old).verification.status == "canceled"
    sender = Sender(shop, first=Scripted(), second=Scripted())
    sender.deliver()

    assert sender.sent() == []
    assert spent(shop) == {"day": 0}
