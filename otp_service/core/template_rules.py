"""What every text of a message must keep to, whoever wrote it and in whatever language.

The rules are about safety: a text that breaks one is refused when its file is read. What a text costs is measured
elsewhere (`otp_service.services.lint`).
"""

import re
import unicodedata
from collections.abc import Iterator
from typing import Final

from otp_service.core.templates import Template, Variable

COMMON: Final = (Variable.BRAND, Variable.MINUTES, Variable.NEVER_SHARE)
PAYMENT: Final = (Variable.AMOUNT, Variable.PAYEE, Variable.ACCOUNT)

_VALUES: Final = frozenset({Variable.BRAND, Variable.CODE, Variable.AMOUNT, Variable.PAYEE, Variable.ACCOUNT})
"""Variables whose values bring letters or digits of their own direction."""
_LINK = re.compile(
    r"\w*://\S*|(?:[\w-]+\.)+\w{2,}|www\.|\d{1,3}(?:\.\d{1,3}){3}|\b(?:intent|mailto|market|sms|tel|upi):\S+",
    re.IGNORECASE,
)
"""What handsets show as something to follow."""
_LIKE_A_CODE = re.compile(r"(?<!\d)\d{6,8}(?!\d)")
_NON_JOINER = "\u200c"
"""Invisible, but part of the spelling of some languages in Arabic letters."""


def faults_of_words(text: str) -> Iterator[str]:
    """Yield what is wrong with a text of a file, whatever it is for, each as the end of a sentence."""
    plain = re.sub(r"\{\w+\}", "x", text)
    for link in links_in(plain)[:1]:
        yield f"holds a link or a domain name at {link!r}: a person must never learn to follow one"
    if set("@#") & set(text):
        yield "holds @ or #, which browsers read as the origin-bound last line"
    if _LIKE_A_CODE.search(plain):
        yield "holds 6 to 8 digits in a row, which could pass for a code"
    for character in sorted(set(text)):
        if unicodedata.category(character) in {"Cc", "Cf", "Zl", "Zp"} and character not in {"\n", _NON_JOINER}:
            yield f"holds the control or invisible character {named(character)}"


def links_in(text: str) -> list[str]:
    """Return what a handset may show as a link, however its letters and dots are written."""
    seen = unicodedata.normalize("NFKC", text).replace(_NON_JOINER, "")
    return [found[0] for found in _LINK.finditer(seen)]


def is_own_link(link: str, origin: str | None) -> bool:
    """Tell whether a link is the domain name of an application's ``origin``, or of what that belongs to."""
    return origin is not None and f".{origin}".endswith(f".{link.casefold()}")


def faults_of_reply(template: Template) -> Iterator[str]:
    """Yield what is wrong with what somebody is answered."""
    yield from _missing(template.names, (Variable.BRAND,))
    yield from _edges(template)


def faults_of_written(template: Template, *, payment: bool) -> Iterator[str]:
    """Yield what is wrong with a text that is read: sms, whatsapp."""
    names = template.names
    yield from _missing(names, (*COMMON, *(PAYMENT if payment else ())))
    if names.count(Variable.CODE) != 1:
        yield "names {code} not exactly once"
    if names and names[0] == Variable.CODE and not template.pieces[0][0].strip():
        yield "starts with {code}: lock screens show the first words"
    if re.search(r"[\w}]\{code\}|\{code\}[\w{]", template.source):
        yield "has something right beside {code}: the code is a run of digits of its own"
    yield from _edges(template)


def faults_of_spoken(template: Template, *, payment: bool) -> Iterator[str]:
    """Yield what is wrong with a text that is heard: voice."""
    yield from _missing(template.names, (*COMMON, *(PAYMENT if payment else ())))
    if template.names.count(Variable.DIGITS) != 2:  # noqa: PLR2004 - once, and once again
        yield "names {digits} not exactly twice: who misses the code cannot scroll back"


def faults_of_direction(source: str) -> Iterator[str]:
    """Yield where a text with right-to-left letters would be shown out of order (UAX #9).

    A line is a paragraph to the bidirectional algorithm. One that starts with a right-to-left letter, and holds
    one value at most, cannot reorder values among each other; so no invisible mark is needed, which would cost
    a unit each and which a handset may show as a box.
    """
    for line in source.split("\n"):
        if not any(_is_right_to_left(character) for character in line):
            if line.strip() != "{code}" and _VALUES & set(_names(line)):
                yield f"has a line without a word of its own, {line!r}"
            continue
        if len(_VALUES & set(_names(line))) > 1:
            yield f"has two values in the right-to-left line {line!r}: they could change places"
        if "{code}" in line:
            yield "has {code} beside right-to-left letters: it stands alone in its line"
        if not _is_right_to_left(line[0]):
            yield f"has a right-to-left line that does not start with a right-to-left letter, {line!r}"


def is_right_to_left(text: str) -> bool:
    """Tell whether a text has right-to-left letters."""
    return any(map(_is_right_to_left, text))


def named(character: str) -> str:
    """Return how a character is told to a person who may not see it."""
    return f"U+{ord(character):04X} {unicodedata.name(character, 'without a name')}"


def _missing(names: tuple[str, ...], needed: tuple[Variable, ...]) -> Iterator[str]:
    for name in needed:
        if name not in names:
            yield f"does not name {{{name}}}"


def _edges(template: Template) -> Iterator[str]:
    if template.source != template.source.strip():
        yield "begins or ends with a space or an empty line"


def _names(line: str) -> list[str]:
    return re.findall(r"\{(\w+)\}", line)


def _is_right_to_left(character: str) -> bool:
    return unicodedata.bidirectional(character) in {"R", "AL"}
