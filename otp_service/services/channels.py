"""Which channel a message takes."""

from otp_service.core.errors import ChannelNotAvailableError
from otp_service.core.purpose import Purpose
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


def next_channel(context: Context, purpose: Purpose, country: str, channel: str) -> str | None:
    """Return the channel that follows one that does not reach a number; ``None`` when there is none."""
    following = purpose.channels_after(channel)
    return next((one for one in following if context.routes.gateways_for(country, purpose.name, one)), None)
