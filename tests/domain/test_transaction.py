"""Transactions: one canonical form, and nothing in a message that is not what it seems."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support_messages import UNSAFE_NAMES

from otp_service.domain import payments
from otp_service.domain.payments import Transaction, broken_name_rule
from otp_service.errors import InvalidTransactionError


def made(trusted_payees: frozenset[str] = frozenset(), **members: str | None):
    return Transaction(**{"amount": "1500", "currency": "PKR", "payee": "Daraz", **members}).canonical(trusted_payees)


@pytest.mark.parametrize(
    ("amount", "currency", "canonical"),
    [
        ("25000", "PKR", "25000.00"),
        ("25000.0", "PKR", "25000.00"),
        ("25000.00", "PKR", "25000.00"),
        ("25000", "JPY", "25000"),
        ("1.5", "KWD", "1.500"),
        ("0.01", "USD", "0.01"),
        ("999999999999.99", "PKR", "999999999999.99"),
    ],
)
def test_equal_amounts_have_one_form(amount: str, currency: str, canonical: str):
    assert made(amount=amount, currency=currency).amount == canonical


@pytest.mark.parametrize(
    "amount",
    [
        "",
        "-1",
        "+1",
        "1e3",
        "1E3",
        "25,000.00",
        "01",
        "1.",
        ".5",
        "1.001",
        " 1",
        "1 ",
        "NaN",
        "Infinity",
        "۱۵۰۰",
        "1_000",
        "1" * 13,
        "0x10",
        "1\n",
    ],
)
def test_amounts_with_more_than_one_reading_are_refused(amount: str):
    with pytest.raises(InvalidTransactionError):
        made(amount=amount)


@pytest.mark.parametrize("currency", ["", "pkr", "PK", "XTS", "PKRR", "₨"])
def test_unknown_currencies_are_refused(currency: str):
    with pytest.raises(InvalidTransactionError):
        made(currency=currency)


def test_a_currency_without_minor_digits_takes_none():
    with pytest.raises(InvalidTransactionError):
        made(amount="100.5", currency="JPY")


@pytest.mark.parametrize(
    "payee",
    [
        "Daraz",
        "K-Electric",
        "Dr. Ali & Sons",
        "Sana's Boutique",
        "دراز",
        "ہم مارٹ",
        "Café Zoë",
        "7 Eleven",
        "Shop 24 A 365",
        "अमूल",
        "A. B. Traders",
    ],
)
def test_names_of_any_script_are_payees(payee: str):
    assert made(payee=payee).payee == payee


@given(st.text("aZ .&'-15\n", max_size=31))
@example("K-Electric & Sons' Shop No. A")
@example("a\n")
def test_the_short_way_for_plain_names_judges_them_as_the_rules_do(name: str):
    told = broken_name_rule(name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(payments, "_PLAIN_NAME", re.compile("(?!)"))
        assert broken_name_rule(name) == told


def test_a_name_is_composed():
    assert made(payee="Cafe\u0301").payee == "Café"


@pytest.mark.parametrize(
    "payee",
    [*UNSAFE_NAMES, "bit.ly/x", "https://x", "www.evil.com", "daraz.pk", "E.ON", "evil-.com"],
)
def test_names_that_could_carry_a_link_or_a_second_code_are_refused(payee: str):
    with pytest.raises(InvalidTransactionError):
        made(payee=payee)


def test_a_name_like_a_domain_is_allowed_where_the_application_lists_it():
    assert made(payee="Food.pk", trusted_payees=frozenset({"Food.pk"})).payee == "Food.pk"
    with pytest.raises(InvalidTransactionError):
        made(payee="Fo0d.pk", trusted_payees=frozenset({"Food.pk"}))


@pytest.mark.parametrize("account", ["", "482", "48211", "48a1", "۴۸۲۱", "4821\n"])
def test_an_account_is_its_last_four_digits(account: str):
    with pytest.raises(InvalidTransactionError):
        made(account=account)


@pytest.mark.parametrize("reference", ["", "x" * 36, "a\nb", "a#b", "@a", " a", "مرجع"])
def test_references_are_plain(reference: str):
    with pytest.raises(InvalidTransactionError):
        made(reference=reference)


def test_an_absent_member_is_not_an_empty_one():
    assert len({made().parts, made(account="1234").parts, made(reference="1234").parts}) == 3
