"""Amounts as they are shown."""

import pytest

from otp_service.domain.payments import PLAIN_STYLE, AmountStyle, format_amount

INDIAN = AmountStyle(".", ",", (3, 2), currency_first=True)
GERMAN = AmountStyle(",", ".", (3, 3), currency_first=False)


@pytest.mark.parametrize(
    ("amount", "currency", "style", "text"),
    [
        ("0.00", "PKR", PLAIN_STYLE, "PKR 0.00"),
        ("999.99", "PKR", PLAIN_STYLE, "PKR 999.99"),
        ("1500.00", "PKR", PLAIN_STYLE, "PKR 1,500.00"),
        ("999999999999.999", "KWD", PLAIN_STYLE, "KWD 999,999,999,999.999"),
        ("25000", "JPY", PLAIN_STYLE, "JPY 25,000"),
        ("0.005", "KWD", PLAIN_STYLE, "KWD 0.005"),
        ("1234567.80", "INR", INDIAN, "INR 12,34,567.80"),
        ("100000.00", "INR", INDIAN, "INR 1,00,000.00"),
        ("1234567.80", "EUR", GERMAN, "1.234.567,80 EUR"),
    ],
)
def test_every_digit_is_shown_and_grouped(amount, currency, style, text):
    assert format_amount(amount, currency, style) == text
