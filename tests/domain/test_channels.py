"""Channels: what sets each apart is told in one place, and the rest goes by it."""

import pytest

from otp_service.domain.prices import Prices
from otp_service.domain.proofs import METHODS
from otp_service.domain.verification import Channel


def having(trait: str) -> set[str]:
    return {channel for channel in Channel if getattr(channel.traits, trait)}


@pytest.mark.parametrize(
    ("trait", "channels"),
    [
        ("in_segments", {"sms"}),
        ("is_spoken", {"voice"}),
        ("goes_to_sim", {"sms", "voice"}),
        ("is_regulated", {"sms"}),
        ("shows_words", {"sms", "voice", "whatsapp"}),
        ("app", {"whatsapp", "telegram"}),
    ],
)
def test_each_trait_belongs_to_the_channels_that_have_it(trait: str, channels: set[str]):
    assert having(trait) == channels


def test_a_channel_is_its_name():
    assert [str(channel) for channel in Channel] == ["sms", "voice", "whatsapp", "telegram"]
    assert Channel("telegram") is Channel.TELEGRAM


def test_proofs_say_of_a_channel_what_the_registry_has_or_its_name():
    assert METHODS == {"sms": "sms", "voice": "tel", "whatsapp": "whatsapp", "telegram": "telegram"}


@pytest.mark.parametrize(("channel", "price"), [("sms", 6), ("voice", 2), ("whatsapp", 2), ("telegram", 2)])
def test_only_what_has_segments_is_paid_by_them(channel: str, price: int):
    assert Prices({"*": 2}).price("PK", channel, 3) == price
