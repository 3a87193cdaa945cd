"""What CLDR knows of a locale: how it writes amounts, and its plural forms."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from babel import Locale, UnknownLocaleError
from babel.numbers import get_decimal_symbol, get_group_symbol

from otp_service.domain.payments import PLAIN_STYLE, AmountStyle


def fallback_tags(tag: str) -> Iterator[str]:
    """Yield a language tag and what is left of it, subtag by subtag (RFC 4647, 3.4)."""
    subtags = tag.split("-")
    while subtags:
        yield "-".join(subtags)
        subtags.pop()
        if subtags and len(subtags[-1]) == 1:
            subtags.pop()


# Babel reads its data from files and is slow: it is asked once a locale.

LATIN: Final = "latn"
"""The numbering system: ASCII digits, in every language."""
_ASCII: Final = {"\u00a0": " ", "\u202f": " ", "\u2009": " ", "\u2019": "'", "\u066b": ".", "\u066c": ","}
"""Signs between digits that would make a message UCS-2, or that a handset may not show."""


@lru_cache(maxsize=512)
def amount_style(tag: str) -> AmountStyle:
    """Return how a locale (BCP 47) writes amounts, in ASCII; the plain style for an unknown one.

    The currency's code stands where the locale puts it, but first where letters run from right to left: there code
    and number are one left-to-right run, ``PKR 1,500.00``, which no handset reorders.
    """
    locale = _known(tag)
    if locale is None:
        return PLAIN_STYLE
    decimal = _plain(get_decimal_symbol(locale, numbering_system=LATIN))
    group = _plain(get_group_symbol(locale, numbering_system=LATIN))
    if decimal not in {".", ","} or group not in {".", ",", "'", " "} or decimal == group:
        return PLAIN_STYLE
    first, further, *_ = locale.decimal_formats[None].grouping
    currency = locale.currency_formats["standard"].pattern.split(";")[0]
    leads = locale.character_order == "right-to-left" or currency.index("\u00a4") < currency.index("0")
    return AmountStyle(decimal, group, (first, further), leads)


def plural_form(tag: str, count: int) -> str:
    """Return the CLDR plural category of a count in a language: ``one``, ``two``, ``few``, … ``other``."""
    locale = _known(tag)
    return str(locale.plural_form(count)) if locale else "other"


def plural_forms(tag: str) -> frozenset[str]:
    """Return the plural categories that a language has."""
    locale = _known(tag)
    return frozenset({"other", *(map(str, locale.plural_form.tags) if locale else ())})


@lru_cache(maxsize=512)
def _known(tag: str) -> Locale | None:
    for shorter in fallback_tags(tag):
        try:
            return Locale.parse(shorter, sep="-")
        except (UnknownLocaleError, ValueError):
            continue
    return None


def _plain(sign: str) -> str:
    return _ASCII.get(sign, sign)
