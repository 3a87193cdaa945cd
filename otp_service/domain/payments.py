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


# What a person sees is what the code is bound to (PSD2 RTS, article 5): equal transactions have one canonical
# form, and a payee's name can carry neither a link nor a second code into a message.

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
    """A payment, as a caller wrote it or `canonical`: only so may it be shown, recorded or made a code of."""

    amount: str
    """Canonical with exactly the currency's number of minor digits: ``25000.00``, ``25000`` for JPY."""
    currency: str
    """ISO 4217."""
    payee: str
    account: str | None = None
    """The last four digits of the payer's own account."""
    reference: str | None = None

    @property
    def parts(self) -> tuple[str, ...]:
        """All members as the input of a MAC; an absent one differs from every present one."""
        members = (self.amount, self.currency, self.payee, self.account, self.reference)
        return tuple("-" if member is None else f"+{member}" for member in members)

    def canonical(self, trusted_payees: frozenset[str] = frozenset()) -> "Transaction":
        """Return the canonical form; raise `InvalidTransactionError` when it cannot be shown safely.

        ``trusted_payees`` are the names that an application may use although they look like a domain.
        """
        if self.account is not None and not _ACCOUNT.fullmatch(self.account):
            raise InvalidTransactionError("account is the last four digits of the payer's own account.")
        if self.reference is not None and not _REFERENCE.fullmatch(self.reference):
            raise InvalidTransactionError("reference has 1 to 35 ASCII letters, digits, spaces and . / _ -")
        amount, payee = _canonical_amount(self.amount, self.currency), _canonical_payee(self.payee, trusted_payees)
        return Transaction(amount, self.currency, payee, self.account, self.reference)


@dataclass(frozen=True, slots=True)
class PaymentHashes:
    """Under which a payment can be found later, by who knows it: keyed hashes (`Keyring.payment_names`)."""

    payment: str = ""
    """Empty without a payment."""
    reference: str = ""
    """Empty without one."""


NO_TRANSACTION = ""


def _canonical_amount(amount: str, currency: str) -> str:
    digits = minor_digits(currency)
    if digits is None:
        raise InvalidTransactionError("currency is an ISO 4217 code such as PKR.")
    match = _AMOUNT.fullmatch(amount)
    if not match or len(match[2] or "") > digits:
        raise InvalidTransactionError(f"amount is a decimal such as 1500 with at most {digits} minor digits.")
    return f"{match[1]}.{match[2] or '':0<{digits}}" if digits else match[1]


def _canonical_payee(payee: str, trusted_payees: frozenset[str]) -> str:
    name = unicodedata.normalize("NFC", payee)
    if rule := broken_name_rule(name):
        raise InvalidTransactionError(f"payee {rule}.")
    if _DOMAIN.search(name) and name not in trusted_payees:
        raise InvalidTransactionError("payee looks like a domain name; the application does not list it as one.")
    return name


def broken_name_rule(name: str) -> str | None:
    """Return the rule that a name breaks which stands in a message: a payee, or who sends it; ``None`` for none."""
    if not 1 <= len(name) <= MAX_NAME_LENGTH or name != name.strip() or "  " in name:
        return f"has 1 to {MAX_NAME_LENGTH} characters and no superfluous space"
    if _PLAIN_NAME.fullmatch(name):
        return None
    if not all(_may_stand_in_a_name(character) for character in name):
        return "has letters, digits, spaces and the signs . - & ' only"
    if _DIGIT_RUN.search(_joined_digits(name)):
        return "has at most 3 digits in a row: more could pass for a code"
    return None if any(map(str.isalpha, name)) else "has at least one letter"


def _joined_digits(name: str) -> str:
    """Return the name with ASCII digits, without signs and marks: ``482 910`` passes for a code like ``482910``."""
    plain = (character for character in name if unicodedata.category(character)[0] != "M")
    return "".join(
        str(unicodedata.decimal(character, character)) for character in plain if character not in _NAME_SIGNS
    )


def _may_stand_in_a_name(character: str) -> bool:
    category = unicodedata.category(character)
    shown = category[0] == "L" or category in {"Mn", "Mc", "Nd"} or character in _NAME_SIGNS
    return shown and character not in _INVISIBLE


@dataclass(frozen=True, slots=True)
class AmountStyle:
    """How a locale writes an amount of money, in ASCII characters only."""

    decimal: str
    group: str
    sizes: tuple[int, int]
    """Digits of the last group, and of the others: 3 and 2 in ``1,50,000``."""
    currency_first: bool


PLAIN_STYLE = AmountStyle(decimal=".", group=",", sizes=(3, 3), currency_first=True)


def format_amount(amount: str, currency: str, style: AmountStyle) -> str:
    """Return a canonical amount with its ISO 4217 code, such as ``PKR 1,500.00``.

    The digits are those that the code is bound to, one for one: a symbol such as ``$`` or ``Rs`` would leave open
    which dollar or rupee is meant, and rounding would show what was not agreed to.
    """
    whole, _, minor = amount.partition(".")
    number = style.group.join(_groups(whole, style.sizes)) + (style.decimal + minor if minor else "")
    return f"{currency} {number}" if style.currency_first else f"{number} {currency}"


def _groups(whole: str, sizes: tuple[int, int]) -> list[str]:
    first, further = sizes
    groups = [whole[-first:]]
    rest = whole[:-first]
    while rest:
        groups.insert(0, rest[-further:])
        rest = rest[:-further]
    return groups
