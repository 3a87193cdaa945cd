"""Prices in a gateway's section: what a message costs, by country and channel."""

from typing import Annotated

from pydantic import AfterValidator

from otp_service.domain.guard import ANY, micros
from otp_service.domain.numbers import is_region

_CHANNELS = ("sms", "voice", "whatsapp")


def _price_key(key: str) -> str:
    country, slash, channel = key.partition("/")
    if not (country == ANY or is_region(country)) or (slash and channel not in _CHANNELS):
        raise ValueError("is a country such as PK, or *; with a channel behind it PK/sms, PK/voice or PK/whatsapp")
    return key


PriceKey = Annotated[str, AfterValidator(_price_key)]


def _price(amount: str) -> str:
    micros(amount)
    return amount


Price = Annotated[str, AfterValidator(_price)]
