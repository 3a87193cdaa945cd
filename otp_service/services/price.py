"""What a message may cost, and what it did."""

from collections.abc import Iterator

from otp_service.domain.applications import Application
from otp_service.domain.guard import Prices, dearest
from otp_service.domain.payments import Transaction
from otp_service.domain.templates import Message, Wording, minutes_told, segments, write
from otp_service.domain.verification import Channel, Purpose, Verification
from otp_service.services.context import Context
from otp_service.services.view import transaction_in


def dearest_price(
    context: Context,
    application: Application,
    purpose: Purpose,
    country: str,
    channel: str,
    locale: str,
    transaction: Transaction | None,
) -> int:
    """Return the most that one dispatch of a message may cost, in millionths; 0 where no price is configured.

    Through any gateway of its route, and of the channels that it may go on through.
    """
    if not _priced(context):
        return 0
    channels = (Channel(channel), *purpose.channels_after(channel))
    return max(
        dearest(
            _prices(context, purpose, country, one),
            country,
            one,
            _segments(context, application, purpose, country, one, locale, transaction),
        )
        for one in channels
    )


def price_of_further(context: Context, verification: Verification, channel: str) -> int:
    """Return the most that one dispatch of a further message of a verification may cost, in millionths.

    Raises `SealBrokenError` when the payment of its text cannot be read any more.
    """
    if not _priced(context):
        return 0
    return dearest_price(
        context,
        context.applications[verification.application],
        verification.purpose,
        verification.country,
        channel,
        verification.locale,
        transaction_in(context.keyring, verification),
    )


def _priced(context: Context) -> bool:
    return any(one.of for one in context.prices.values())


def _prices(context: Context, purpose: Purpose, country: str, channel: str) -> Iterator[Prices]:
    for gateway in context.routes.gateways_for(country, purpose.name, channel):
        yield context.prices[gateway]


def _segments(
    context: Context,
    application: Application,
    purpose: Purpose,
    country: str,
    channel: Channel,
    locale: str,
    transaction: Transaction | None,
) -> int:
    """Return the most segments of an SMS, however late it is written; 1 of any other message.

    The words for fewer minutes may be the longer ones.
    """
    if channel is not Channel.SMS:
        return 1
    code, languages = "0" * purpose.code_length, context.clearance.rules_of(country).languages
    wordings = (
        Wording(application, purpose, channel, locale, code, minutes, transaction, languages)
        for minutes in range(minutes_told(purpose.ttl) + 1)
    )
    return max(len(segments(write(context.catalogue, one).text)) for one in wordings)


def cost_of(context: Context, gateway: str, message: Message, country: str) -> int:
    """Return what a message costs that a gateway took, in millionths."""
    return context.prices[gateway].price(country, message.channel, len(segments(message.text)))
