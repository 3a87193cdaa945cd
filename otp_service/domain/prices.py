"""Prices of messages, and money in millionths of the currency's unit."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from otp_service.domain.verification import Channel

MICRO: Final = 1_000_000
MAX_AMOUNT: Final = Decimal(1_000_000_000)
"""Sums of it stay exact in a script's numbers."""
ANY_COUNTRY: Final = "*"
_AMOUNT = re.compile(r"\d{1,10}(\.\d{1,6})?")


def to_micros(amount: str) -> int:
    """Return an amount such as ``2.50`` in millionths; raise `ValueError` for other texts, or too much."""
    if not _AMOUNT.fullmatch(amount) or Decimal(amount) > MAX_AMOUNT:
        raise ValueError("is an amount such as 2.50, with at most six decimals")
    return int(Decimal(amount) * MICRO)


def format_micros(amount: int) -> str:
    """Return millionths as a decimal number with at least two decimals."""
    whole, rest = divmod(abs(amount), MICRO)
    return f"{'-' if amount < 0 else ''}{whole}.{f'{rest:06d}'.rstrip('0'):0<2}"


@dataclass(frozen=True, slots=True)
class Prices:
    """A gateway's prices of SMS segments and other messages, by ``PK``, ``PK/voice``, ``*`` or ``*/voice``."""

    of: Mapping[str, int] = field(default_factory=dict)

    def unit(self, country: str, channel: str) -> int | None:
        """Return the price of a segment or message by the most precise entry, ``None`` for none."""
        for name in (f"{country}/{channel}", country, f"{ANY_COUNTRY}/{channel}", ANY_COUNTRY):
            if name in self.of:
                return self.of[name]
        return None

    def price(self, country: str, channel: str, segments: int) -> int:
        """Return the cost of a message; 0 without a price."""
        return (self.unit(country, channel) or 0) * (segments if Channel(channel).traits.in_segments else 1)
