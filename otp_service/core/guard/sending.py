"""A message that is about to be sent, as the guard sees it: whom it concerns, what it costs, and no personal data."""

from dataclasses import dataclass
from enum import StrEnum


class Place(StrEnum):
    """Where a country is for an application."""

    HOME = "home"
    """Its own: traffic into it is large, and never cut off altogether."""
    ABROAD = "abroad"


@dataclass(frozen=True, slots=True)
class Sending:
    """The first message of a verification. All names are pseudonyms."""

    number: str
    block: str
    """The number without its last four digits."""
    network: str = ""
    """The end user's IPv4 address or IPv6 /64; empty where addresses do not count."""
    wide_network: str = ""
    """The IPv6 /48; empty for IPv4."""
    provider: str = ""
    """The IPv6 /32; empty for IPv4."""
    context: str = ""
    """The application's device or browser; empty when it named none."""
    place: Place = Place.HOME
    safe: bool = False
    """Whether the number is on the safe list: the rules against fraud pass it."""
    price: int = 0
    """The most that it may cost, in millionths."""
    noted: tuple[str, ...] = ()
    """Rules that only record, and would have refused it without counting anything."""

    @property
    def packed(self) -> str:
        """All of it in one string, for the log of attempts; `unpacked` reads it."""
        flags = f"{self.place}{'+safe' if self.safe else ''}"
        networks = (self.network, self.wide_network, self.provider)
        return "|".join((self.number, self.block, *networks, self.context, flags, str(self.price)))


def unpacked(text: str) -> Sending:
    """Return what `Sending.packed` wrote."""
    number, block, network, wide_network, provider, context, flags, price = text.split("|")
    place, _, safe = flags.partition("+")
    return Sending(number, block, network, wide_network, provider, context, Place(place), safe == "safe", int(price))
