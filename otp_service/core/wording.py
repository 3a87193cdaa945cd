"""Wording: the values of one message, and the text that they become."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from otp_service.core.amount import NumberStyle, shown_amount
from otp_service.core.application import Application
from otp_service.core.catalogue import Words
from otp_service.core.purpose import Channel, Purpose
from otp_service.core.templates import TemplateRef, Variable
from otp_service.core.transaction import Transaction

_ON_THE_WAY = 5
"""Seconds by which a message may overstate how long its code is valid."""


def minutes_told(seconds: int) -> int:
    """Return the whole minutes that a message tells of the remaining life of its code."""
    return (seconds + _ON_THE_WAY) // 60


@dataclass(frozen=True, slots=True)
class Wording:
    """What one message has to say, and to whom. The ``repr`` shows no code and no payment."""

    application: Application
    purpose: Purpose
    channel: Channel
    locale: str
    """BCP 47, as the start asked for it."""
    code: str = field(repr=False)
    minutes: int
    """Whole minutes that the code is still valid, rounded down."""
    transaction: Transaction | None = field(default=None, repr=False)
    languages: tuple[str, ...] = ()
    """Tags of the languages that it may be in; empty: all there are."""


@dataclass(frozen=True, slots=True)
class Written:
    """A text, and what it was made of. The ``repr`` shows neither."""

    text: str = field(repr=False)
    locale: str
    """BCP 47 of the text."""
    variables: Mapping[str, str] = field(repr=False)
    template: TemplateRef = field(repr=False)


def written(wording: Wording, words: Words, style: NumberStyle) -> Written:
    """Return the text of a message in the words of its language, amounts in a locale's style."""
    variables = _variables(wording, words, style)
    values = {
        **variables,
        Variable.DIGITS: spoken(wording.code),
        Variable.NEVER_SHARE: words.language.never_share,
        Variable.ACCOUNT: _account(wording, words),
    }
    lines = [words.template.filled(values)]
    if wording.channel is Channel.SMS:
        lines += last_line(wording.application, wording.code)
    return Written("\n".join(lines), words.locale, variables, words.reference(wording.channel))


def last_line(application: Application, code: str) -> list[str]:
    """Return the line that machines read, or none: ``@origin #code``, an app's hash, or both.

    The form of the WICG's "Origin-bound one-time codes delivered via SMS": browsers offer the code on that site
    only. Its parser ignores what follows the code, so that the hash of Android's SMS Retriever can stand there;
    a line of its own after the origin would hide the origin from the parser.
    """
    origin = (f"@{application.origin}", f"#{code}") if application.origin else ()
    app_hash = (application.app_hash,) if application.app_hash else ()
    line = " ".join((*origin, *app_hash))
    return [line] if line else []


def spoken(digits: str) -> str:
    """Return digits apart, so that a voice says them one by one."""
    return ", ".join(digits)


def _variables(wording: Wording, words: Words, style: NumberStyle) -> dict[str, str]:
    """Return what a provider's own template may name: nothing that is not in the text."""
    values = {
        Variable.BRAND: wording.application.title,
        Variable.CODE: wording.code,
        Variable.MINUTES: words.language.lasting(wording.minutes),
    }
    payment = wording.transaction
    if payment:
        values[Variable.AMOUNT] = shown_amount(payment.amount, payment.currency, style)
        values[Variable.PAYEE] = payment.payee
    if payment and payment.account:
        values[Variable.ACCOUNT] = payment.account
    return {str(name): value for name, value in values.items()}


def _account(wording: Wording, words: Words) -> str:
    account = wording.transaction.account if wording.transaction else None
    if not account:
        return ""
    if wording.channel is Channel.VOICE:
        return words.language.account_spoken.filled({Variable.ACCOUNT: spoken(account)})
    return words.language.account_written.filled({Variable.ACCOUNT: account})
