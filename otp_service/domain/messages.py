"""The text of a message: a filled template."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache

from otp_service.domain.applications import Application
from otp_service.domain.payments import Transaction, format_amount
from otp_service.domain.segments import segments
from otp_service.domain.templates import MessageTemplates, TemplateRef, Variable, amount_style
from otp_service.domain.verification import Channel, Purpose

_ON_THE_WAY = 5
"""Maximum seconds by which a message overstates the life of its code."""


def stated_minutes(seconds: int) -> int:
    """Return the remaining life of a code for its message, in whole minutes."""
    return (seconds + _ON_THE_WAY) // 60


@dataclass(frozen=True, slots=True)
class MessageContent:
    """The content of a message. The ``repr`` shows no code and no payment."""

    application: Application
    purpose: Purpose
    channel: Channel
    locale: str
    """BCP 47, requested by the start."""
    code: str = field(repr=False)
    minutes: int
    """Remaining life of the code, rounded down."""
    transaction: Transaction | None = field(default=None, repr=False)
    languages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RenderedMessage:
    """A text with its variables and template. The ``repr`` shows none."""

    text: str = field(repr=False)
    locale: str
    variables: Mapping[str, str] = field(repr=False)
    template: TemplateRef = field(repr=False)


def render_message(templates: MessageTemplates, content: MessageContent) -> RenderedMessage:
    """Return the text of a message in the requested locale, the application's, or English."""
    locales = (content.locale, content.application.locale)
    words = templates.choose(content.purpose, content.channel, *locales, only=content.languages)
    variables = {
        Variable.BRAND.value: content.application.brand,
        Variable.CODE.value: content.code,
        Variable.MINUTES.value: words.language.duration(content.minutes),
    }
    account = ""
    if payment := content.transaction:
        style = amount_style(words.locale)
        variables[Variable.AMOUNT.value] = format_amount(payment.amount, payment.currency, style)
        variables[Variable.PAYEE.value] = payment.payee
    if payment and payment.account:
        variables[Variable.ACCOUNT.value] = payment.account
        if content.channel.traits.is_spoken:
            account = words.language.account_spoken.fill({Variable.ACCOUNT: spell_digits(payment.account)})
        else:
            account = words.language.account_written.fill({Variable.ACCOUNT: payment.account})
    values = {
        **variables,
        Variable.DIGITS: spell_digits(content.code),
        Variable.NEVER_SHARE: words.language.never_share,
        Variable.ACCOUNT: account,
    }
    text = words.template.fill(values)
    if content.channel is Channel.SMS:
        # By the WICG's "Origin-bound one-time codes delivered via SMS" browsers offer the code on that site only. The
        # parser reads the last line, and ignores text after the code, such as the hash of Android's SMS Retriever.
        origin, app_hash = content.application.origin, content.application.app_hash
        marks = ([f"@{origin}", f"#{content.code}"] if origin else []) + ([app_hash] if app_hash else [])
        text += "\n" + " ".join(marks) if marks else ""
    return RenderedMessage(text, words.locale, variables, words.reference(content.channel))


def spell_digits(digits: str) -> str:
    """Return digits apart, so that a voice says them one by one."""
    return ", ".join(digits)


@dataclass(frozen=True, slots=True)
class Message:
    """One message to one handset. The ``repr`` shows neither number nor text."""

    to: str = field(repr=False)
    """E.164."""
    text: str = field(repr=False)
    channel: str
    locale: str
    expires_in: int
    """Remaining life of the code in seconds; later the message is worthless."""
    dispatch_id: str
    """Unique to this call; fits as the provider's reference."""
    receipt_url: str | None = field(repr=False)
    """The provider's address for receipts; ``None`` without a public address."""
    verification_id: str
    application: str
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The template's values by name, for providers with their own templates."""
    sender: str | None = None
    """The sender's name on the handset; ``None`` for the gateway's own."""
    template: TemplateRef | None = None
    """``None`` for a test message."""


def max_segments(templates: MessageTemplates, content: MessageContent) -> int:
    """Return the maximum segments of a text message until its code ends: fewer minutes may take more words."""
    versions = (replace(content, minutes=minutes) for minutes in range(content.minutes + 1))
    return max(len(segments(render_message(templates, version).text)) for version in versions)


SegmentCounter = Callable[[Application, Purpose, str], int]


def segment_counter(templates: MessageTemplates) -> SegmentCounter:
    """Return a cached function for the maximum segments of a text message without a payment, by language tag."""

    @lru_cache(maxsize=4096)
    def count(application: Application, purpose: Purpose, tag: str) -> int:
        code, minutes = "0" * purpose.code_length, stated_minutes(purpose.ttl)
        return max_segments(templates, MessageContent(application, purpose, Channel.SMS, tag, code, minutes))

    return count
