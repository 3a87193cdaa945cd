"""Prices of messages: the maximum before a dispatch, and the cost after it."""

from otp_service.domain.applications import Application
from otp_service.domain.codes import unseal_details
from otp_service.domain.messages import Message, MessageContent, max_segments, stated_minutes
from otp_service.domain.payments import Transaction
from otp_service.domain.segments import segments
from otp_service.domain.verification import Channel, Verification
from otp_service.services.context import Context


def max_price(
    context: Context,
    application: Application,
    verification: Verification,
    channel: str,
    transaction: Transaction | None,
) -> int:
    """Return the maximum price of a dispatch through any gateway and channel to fall back to, in millionths."""
    if not _has_prices(context):
        return 0
    purpose, country, prices = verification.purpose, verification.country, []
    for used in (Channel(channel), *purpose.channels_after(channel)):
        count = _max_segments(context, application, verification, transaction) if used.traits.in_segments else 1
        gateways = context.routes.gateways_for(country, purpose.name, used)
        prices += [context.prices[gateway].price(country, used, count) for gateway in gateways]
    return max(prices, default=0)


def max_resend_price(context: Context, verification: Verification, channel: str) -> int:
    """As `max_price`, for a further message of a verification; raises `SealBrokenError` for an unreadable payment."""
    if not _has_prices(context):
        return 0
    transaction = unseal_details(context.keyring, verification).transaction
    return max_price(context, context.applications[verification.application], verification, channel, transaction)


def _has_prices(context: Context) -> bool:
    return any(prices.of for prices in context.prices.values())


def _max_segments(
    context: Context, application: Application, verification: Verification, transaction: Transaction | None
) -> int:
    """Return the maximum number of segments of a text message, however late it is written."""
    purpose, languages = verification.purpose, context.sending_rules.rules_of(verification.country).languages
    if transaction is None:
        locales = (verification.locale, application.locale)
        words = context.templates.choose(purpose, Channel.SMS, *locales, only=languages)
        return context.text_segments(application, purpose, words.language.tag)
    code, minutes = "0" * purpose.code_length, stated_minutes(purpose.ttl)
    return max_segments(
        context.templates,
        MessageContent(application, purpose, Channel.SMS, verification.locale, code, minutes, transaction, languages),
    )


def message_cost(context: Context, gateway: str, message: Message, country: str) -> int:
    """Return the cost of a message through a gateway, in millionths."""
    return context.prices[gateway].price(country, message.channel, len(segments(message.text)))
