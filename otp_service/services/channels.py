"""Which channel a message takes."""

from collections.abc import Collection

from otp_service.domain.verification import Channel, Purpose
from otp_service.errors import ChannelNotAvailableError
from otp_service.services.context import Context


def channel_for(context: Context, purpose: Purpose, country: str, wanted: str) -> str:
    """Return the wanted channel.

    Raises `ChannelNotAvailableError` when the purpose does not offer it, or no gateway carries it to the country.
    """
    if wanted not in purpose.channels:
        raise ChannelNotAvailableError(f"The purpose {purpose.name!r} does not offer {wanted}.")
    if not context.routes.gateways_for(country, purpose.name, wanted):
        raise ChannelNotAvailableError(f"No gateway carries {wanted} to {country}.")
    return wanted


def next_channel(
    context: Context, purpose: Purpose, country: str, channel: str, *, among: Collection[str] = tuple(Channel)
) -> str | None:
    """Return the first of some channels that follows one that does not do; ``None`` when there is none."""
    following = (one for one in purpose.channels_after(channel) if one in among)
    return next((one for one in following if context.routes.gateways_for(country, purpose.name, one)), None)
