"""Which gateways the routes let carry messages to a country."""

from otp_service.domain.verification import Channel
from otp_service.settings.tree import Settings


def carriers(settings: Settings, country: str, *channels: Channel) -> list[str]:
    """Return the names of the gateways that may carry messages of any purpose to a country through channels."""
    found: dict[str, None] = {}
    for purpose in settings.purposes:
        for channel in channels:
            found |= dict.fromkeys(settings.core_routes.gateways_for(country, purpose, channel))
    return list(found)
