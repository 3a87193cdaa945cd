"""Amounts as a message shows them: the canonical digits, grouped for the reader's locale, nothing rounded."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NumberStyle:
    """How a locale writes an amount of money, in ASCII characters only."""

    decimal: str
    group: str
    sizes: tuple[int, int]
    """Digits of the group next to the decimal sign, and of every further one: 3 and 2 in ``1,50,000``."""
    currency_first: bool


PLAIN = NumberStyle(decimal=".", group=",", sizes=(3, 3), currency_first=True)
"""For a locale that nobody knows."""


def shown_amount(amount: str, currency: str, style: NumberStyle) -> str:
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
