"""Registrations: names of senders, and templates, that a regulator or the operators of a country know and allow."""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Final

from otp_service.core.templates import TemplateRef

LONGEST_MASK: Final = 11
"""Characters of a sender's name that fit on the air (3GPP TS 23.040, 9.1.2.5)."""
NOTICE: Final = 30
"""Days before its end from which on it is announced that a registration ends."""

_MASK = re.compile(r"[A-Za-z0-9 ]+")


@dataclass(frozen=True, slots=True)
class Registration:
    """What senders and templates have in common: where they are allowed, under which reference, and until when."""

    name: str
    """In the configuration."""
    country: str
    """ISO 3166-1 alpha-2."""
    reference: str
    """Of whoever registered it."""
    valid_until: date | None
    """Its last day; ``None``: it has no end."""

    def is_over(self, today: date) -> bool:
        """Tell whether its last day has passed."""
        return self.valid_until is not None and today > self.valid_until

    def days_left(self, today: date) -> int | None:
        """Return for how many days it is still good after today, negative when it has ended; ``None`` without end."""
        return None if self.valid_until is None else (self.valid_until - today).days

    def ends_soon(self, today: date) -> bool:
        """Tell whether its end is to be announced, or it has ended."""
        left = self.days_left(today)
        return left is not None and left <= NOTICE


@dataclass(frozen=True, slots=True)
class Sender(Registration):
    """A name that handsets show as the sender of a text message: a mask."""

    mask: str
    category: str
    """What it may be used for: ``transactional`` or ``promotional``."""
    applications: frozenset[str]
    """Who may send under it; empty: every application."""

    def serves(self, application: str) -> bool:
        """Tell whether an application may send under it."""
        return not self.applications or application in self.applications


@dataclass(frozen=True, slots=True)
class Approval(Registration):
    """That a template is allowed, word by word."""

    template: str
    """Its id: language, purpose, channel."""
    sha256: str
    """Of all its words (`TemplateRef.sha256`)."""

    def is_of(self, template: TemplateRef | None) -> bool:
        """Tell whether it is of this template, and of its words as they are."""
        return template is not None and (self.template, self.sha256) == (template.id, template.sha256)


def faults_of_mask(mask: str, reserved: Collection[str] = ()) -> Iterator[str]:
    """Yield what is wrong with a sender's name, as the end of a sentence; ``reserved`` names say nothing of anybody."""
    if len(mask) > LONGEST_MASK:
        yield f"has {len(mask)} characters: at most {LONGEST_MASK} fit"
    if not _MASK.fullmatch(mask) or mask != mask.strip():
        yield "has other characters than letters A to Z, digits, and blanks between them"
    elif not any(character.isalpha() for character in mask):
        yield "has no letter: a number is no name"
    if "  " in mask:
        yield "has two blanks in a row"
    if _bare(mask) in {_bare(word) for word in reserved}:
        yield "is a word that anybody could use: it tells nobody who sends"


def _bare(word: str) -> str:
    """Return a word as it is taken for another: without case, blanks, and digits at its end."""
    return word.upper().replace(" ", "").rstrip("0123456789")
