"""How locales write amounts, against Babel's own formatting."""

import re
from decimal import Decimal

import pytest
from babel import Locale
from babel.localedata import locale_identifiers
from babel.numbers import format_currency
from hypothesis import given
from hypothesis import strategies as st

from otp_service.domain.payments import PLAIN_STYLE, Transaction, format_amount, minor_digits
from otp_service.domain.templates import amount_style, plural_form, plural_forms

SIGNS = {"\u00a0": " ", "\u202f": " ", "\u2019": "'"}


@pytest.mark.parametrize(
    ("tag", "text"),
    [
        ("en", "PKR 1,234,567.80"),
        ("en-PK", "PKR 1,234,567.80"),
        ("en-IN", "PKR 12,34,567.80"),
        ("ur-PK", "PKR 1,234,567.80"),
        ("ur-Latn", "PKR 1,234,567.80"),
        ("ar", "PKR 1,234,567.80"),
        ("ar-EG", "PKR 1,234,567.80"),
        ("ar-DZ", "PKR 1.234.567,80"),
        ("he", "PKR 1,234,567.80"),
        ("de", "1.234.567,80 PKR"),
        ("fr", "1 234 567,80 PKR"),
        ("de-CH", "PKR 1'234'567.80"),
        ("xx", "PKR 1,234,567.80"),
        ("x-y", "PKR 1,234,567.80"),
        ("en-x-private", "PKR 1,234,567.80"),
    ],
)
def test_an_amount_is_written_as_the_locale_does_in_ascii(tag, text):
    assert format_amount("1234567.80", "PKR", amount_style(tag)) == text


def test_in_every_locale_that_is_known_an_amount_shows_its_digits_in_ascii_and_nothing_hidden():
    for identifier in locale_identifiers():
        if "_" not in identifier:
            shown = format_amount("1234567.80", "PKR", amount_style(identifier))
            assert re.fullmatch(r"(PKR )?[1-9][0-9., ']+[.,]80( PKR)?", shown), identifier
            assert re.sub(r"[^0-9]", "", shown) == "123456780", identifier


@pytest.mark.parametrize("tag", ["en", "en-IN", "ur", "ar", "de", "fr", "hi", "de-CH", "tr"])
@given(amount=st.decimals(0, 999_999_999_999, places=3), currency=st.sampled_from(["PKR", "JPY", "KWD", "USD"]))
def test_the_number_is_the_one_that_babel_writes(tag, amount, currency):
    exact = f"{amount:.{minor_digits(currency)}f}"
    canonical = Transaction(exact, currency, "Daraz").canonical().amount
    locale = Locale.parse(tag, sep="-")
    pattern = re.sub(r"[\u200e\u200f\u00a4\s]", "", locale.currency_formats["standard"].pattern.split(";")[0])
    babel = format_currency(Decimal(canonical), currency, pattern, locale=locale, numbering_system="latn")
    ours = format_amount(canonical, currency, amount_style(tag))

    assert ours.replace(currency, "").strip() == "".join(SIGNS.get(sign, sign) for sign in babel)


@given(st.integers(0, 10**12 - 1), st.integers(0, 999), st.sampled_from(["en", "en-IN", "ar", "de", "fr", "xx"]))
def test_what_is_shown_is_exactly_what_the_code_is_bound_to(whole, minor, tag):
    style = amount_style(tag)
    shown = format_amount(f"{whole}.{minor:03d}", "KWD", style)
    number = shown.replace("KWD", "").strip()

    assert number.replace(style.group, "").replace(style.decimal, ".") == f"{whole}.{minor:03d}"


def test_an_unknown_locale_is_written_plainly():
    assert amount_style("xx-YY") == PLAIN_STYLE


def test_plural_forms_come_from_cldr():
    assert [plural_form("ar", count) for count in (1, 2, 3, 10, 11)] == ["one", "two", "few", "few", "many"]
    assert [plural_form("ur-Latn", count) for count in (1, 2)] == ["one", "other"]
    assert plural_form("xx", 1) == "other"
    assert plural_forms("ar") == {"zero", "one", "two", "few", "many", "other"}
    assert plural_forms("xx") == {"other"}
