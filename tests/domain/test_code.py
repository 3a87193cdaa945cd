"""Codes: derived, uniform, and typed in any script."""

from collections import Counter

import pytest

from otp_service.domain.codes import generate_code, normalise_code
from otp_service.errors import InvalidCodeError


def test_codes_are_the_hotp_values_of_rfc_4226():
    key = b"12345678901234567890"

    assert [generate_code(key, count, 6) for count in range(4)] == ["755224", "287082", "359152", "969429"]
    assert generate_code(key, 0, 8) == "84755224"


def test_codes_are_uniform_and_keep_leading_zeros():
    codes = [generate_code(number.to_bytes(32, "big"), 0, 6) for number in range(20_000)]
    first = Counter(code[0] for code in codes)

    assert {len(code) for code in codes} == {6}
    chi_square = sum((first[str(digit)] - 2000) ** 2 / 2000 for digit in range(10))
    assert chi_square < 33.7, "p < 0.0001 for nine degrees of freedom"


@pytest.mark.parametrize(
    "typed", ["123456", "۱۲۳۴۵۶", "١٢٣٤٥٦", "１２３４５６", "123 456", "123-456", " 123456 ", "123\u00a0456", "12۳۴56"]
)
def test_what_a_person_types_is_understood(typed: str):
    assert normalise_code(typed) == "123456"


@pytest.mark.parametrize(
    "typed",
    [
        "", "12345", "123456789", "²²²²²²", "①②③④⑤⑥", "123456\n", "123456\n6", "12.456", "+123456", "12345a",
        "123456\x00", "1" * 10_000, "\u202e123456", "𝟏𝟐𝟑𝟒𝟓",
    ],
)  # fmt: skip
def test_what_cannot_be_a_code_is_refused(typed: str):
    with pytest.raises(InvalidCodeError):
        normalise_code(typed)


def test_leading_zeros_count():
    assert normalise_code("012345") == "012345"
