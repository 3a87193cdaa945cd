"""The payment that a code confirms: amount, currency, payee."""

import re
import unicodedata
from dataclasses import dataclass

from otp_service.errors import InvalidTransactionError

_TWO = """
AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CNY COP
CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR
JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN
NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP
SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG
"""
_NONE = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF"
_THREE = "BHD IQD JOD KWD LYD OMR TND"

_MINOR_DIGITS = {
    currency: digits for digits, currencies in ((2, _TWO), (0, _NONE), (3, _THREE)) for currency in currencies.split()
}


def minor_digits(currency: str) -> int | None:
    """Return the number of digits after the decimal point, ``None`` for an unknown currency."""
    return _MINOR_DIGITS.get(currency)


# The code is bound to the transaction in the message (PSD2 RTS, article 5): equal transactions have one canonical form,
# and a payee's name brings neither a link nor a second code into a message.

MAX_NAME_LENGTH = 30
_AMOUNT = re.compile(r"(0|[1-9][0-9]{0,11})(?:\.([0-9]{1,3}))?")
_ACCOUNT = re.compile(r"[0-9]{4}")
_REFERENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ./_-]{0,34}")
_NAME_SIGNS = frozenset(" .-&'")
_PLAIN_NAME = re.compile(r"[A-Za-z][A-Za-z .&'-]*")
"""Names that need no check of single characters."""
_DIGIT_RUN = re.compile(r"[0-9]{4,}")
_DOMAIN = re.compile(r"[\w-]\.\w{2,}", re.UNICODE)
_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0") | frozenset(
    map(chr, (*range(0x180B, 0x1810), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)))
)
"""Letters and marks that show nothing (Unicode: Default_Ignorable_Code_Point)."""


@dataclass(frozen=True, slots=True)
class Transaction:
    """A payment by a caller; only a `canonical` one may be shown, recorded or bound to a code."""

    amount: str
    """Canonical with exactly the currency's number of minor digits: ``25000.00``, ``25000`` for JPY."""
    currency: str
    payee: str
    account: str | None = None
    """The last four digits of the payer's own account."""
    reference: str | None = None

    @property
    def parts(self) -> tuple[str, ...]:
        """All members for a MAC; an absent member differs from any present one."""
        members = (self.amount, self.currency, self.payee, self.account, self.reference)
        return tuple("-" if member is None else f"+{member}" for member in members)

    def canonical(self, trusted_payees: frozenset[str] = frozenset()) -> "Transaction":
        """Return the canonical form, with any payee in ``trusted_payees``; raise `InvalidTransactionError`."""
        if self.account is not None and not _ACCOUNT.fullmatch(self.account):
            raise InvalidTransactionError("account is the last four digits of the payer's own account.")
        if self.reference is not None and not _REFERENCE.fullmatch(self.reference):
            raise InvalidTransactionError("reference has 1 to 35 ASCII letters, digits, spaces and . / _ -")
        payee = unicodedata.normalize("NFC", self.payee)
        if rule := broken_name_rule(payee):
            raise InvalidTransactionError(f"payee {rule}.")
        if _DOMAIN.search(payee) and payee not in trusted_payees:
            raise InvalidTransactionError("payee looks like a domain name; the application does not list it as one.")
        digits = minor_digits(self.currency)
        if digits is None:
            raise InvalidTransactionError("currency is an ISO 4217 code such as PKR.")
        match = _AMOUNT.fullmatch(self.amount)
        if not match or len(match[2] or "") > digits:
            raise InvalidTransactionError(f"amount is a decimal such as 1500 with at most {digits} minor digits.")
        amount = f"{match[1]}.{match[2] or '':0<{digits}}" if digits else match[1]
        return Transaction(amount, self.currency, payee, self.account, self.reference)


@dataclass(frozen=True, slots=True)
class PaymentHashes:
    """Keyed hashes of a payment (`Keyring.payment_names`)."""

    payment: str = ""
    reference: str = ""


NO_TRANSACTION = ""


def broken_name_rule(name: str) -> str | None:
    """Return the rule that a payee's or brand's name breaks, ``None`` for none."""
    if not 1 <= len(name) <= MAX_NAME_LENGTH or name != name.strip() or "  " in name:
        return f"has 1 to {MAX_NAME_LENGTH} characters and no superfluous space"
    if _PLAIN_NAME.fullmatch(name):
        return None
    if not all(map(_is_name_character, name)):
        return "has letters, digits, spaces and the signs . - & ' only"
    # the digits in ASCII, without signs and marks: ``482 910`` passes for a code like ``482910``
    plain = (sign for sign in name if sign not in _NAME_SIGNS and unicodedata.category(sign)[0] != "M")
    if _DIGIT_RUN.search("".join(str(unicodedata.decimal(character, character)) for character in plain)):
        return "has at most 3 digits in a row: more could pass for a code"
    return None if any(map(str.isalpha, name)) else "has at least one letter"


def _is_name_character(character: str) -> bool:
    category = unicodedata.category(character)
    shown = category[0] == "L" or category in {"Mn", "Mc", "Nd"} or character in _NAME_SIGNS
    return shown and character not in _INVISIBLE


@dataclass(frozen=True, slots=True)
class AmountStyle:
    """A locale's style of amounts, in ASCII."""

    decimal: str
    group: str
    sizes: tuple[int, int]
    """Digits of the last group, and of the others: 3 and 2 in ``1,50,000``."""
    currency_first: bool


PLAIN_STYLE = AmountStyle(decimal=".", group=",", sizes=(3, 3), currency_first=True)


def format_amount(amount: str, currency: str, style: AmountStyle) -> str:
    """Return a canonical amount with its ISO 4217 code, such as ``PKR 1,500.00``, without rounding.

    A symbol such as ``$`` or ``Rs`` would leave open which dollar or rupee is meant.
    """
    whole, _, minor = amount.partition(".")
    first, further = style.sizes
    groups, rest = [whole[-first:]], whole[:-first]
    while rest:
        groups.insert(0, rest[-further:])
        rest = rest[:-further]
    number = style.group.join(groups) + (style.decimal + minor if minor else "")
    return f"{currency} {number}" if style.currency_first else f"{number} {currency}"
