"""Routes: which gateways may carry a message, in which order."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Route:
    """Gateways for the messages that match; an empty set matches all."""

    gateways: tuple[str, ...]
    """Names, the preferred one first."""
    countries: frozenset[str] = frozenset()
    purposes: frozenset[str] = frozenset()
    channels: frozenset[str] = frozenset()

    def matches(self, country: str, purpose: str, channel: str) -> bool:
        """Tell whether the route serves such a message."""
        return (
            (not self.countries or country in self.countries)
            and (not self.purposes or purpose in self.purposes)
            and (not self.channels or channel in self.channels)
        )


@dataclass(frozen=True, slots=True)
class Routes:
    """The routing table; the first route that matches decides."""

    routes: tuple[Route, ...]
    channels_of: dict[str, frozenset[str]]
    """What each gateway can carry, by its name."""

    def gateways_for(self, country: str, purpose: str, channel: str) -> tuple[str, ...]:
        """Return the gateways that may carry a message, the preferred one first; empty when there is none."""
        for route in self.routes:
            if route.matches(country, purpose, channel):
                return tuple(name for name in route.gateways if channel in self.channels_of[name])
        return ()
