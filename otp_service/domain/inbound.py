"""Inbound messages: STOP, START, HELP, and how a message is read."""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

# Only a whole message counts, or, to stop, its first line: "cannot stop laughing" is no request.


class Meaning(StrEnum):
    """What a message asks for."""

    STOP = "stop"
    START = "start"
    HELP = "help"
    OTHER = "other"
    """A message for support to read."""


MAX_KEYWORD_LENGTH: Final = 100
"""Longer messages hold no keyword."""
_SAME_LETTER: Final = str.maketrans(
    {
        **dict.fromkeys("\u064a\u0649\u06d2", "\u06cc"),
        **dict.fromkeys("\u0643\u06aa", "\u06a9"),
        **dict.fromkeys("\u06c1\u06c3\u0629\u06be\u06d5", "\u0647"),
        "\u06ba": "\u0646",
        "\u0671": "\u0627",
        "\u0640": None,
    }
)
"""Forms of yeh, kaf, heh, noon and alef: Arabic and Urdu keyboards write others, and handsets show hardly any
difference; and the sign that only stretches a word."""
_MARK_OF_A_WORD: Final = 9
"""Highest combining class of marks that distinguish words, such as those of Devanagari."""
_OF_SYMBOLS: Final = frozenset(map(chr, range(0xFE00, 0xFE10)))
"""Variation selectors: how a symbol is drawn."""
_NUMBER: Final = re.compile(r"\d(?:[\s.()/\-]{0,3}\d){3,}")
_STRETCHED: Final = re.compile(r"(.)\1{2,}")
"""A letter that is held down."""


@dataclass(frozen=True, slots=True)
class Keywords:
    """The keywords of a meaning in a language."""

    whole: tuple[str, ...]
    """Only as a whole message."""
    firm: tuple[str, ...] = ()
    """To stop; also beside words of ``beside`` and ``messages``."""
    of_messages: tuple[str, ...] = ()
    """To stop; only beside a word of ``messages``: alone they may mean an order."""
    messages: tuple[str, ...] = ()
    """Words for messages and calls."""
    beside: tuple[str, ...] = ()
    """Words for codes, and polite or urgent words."""


class KeywordMatcher:
    """The words and what they mean."""

    def __init__(self, ours: Mapping[Meaning, Iterable[Keywords]], further: Mapping[Meaning, Iterable[str]]) -> None:
        """Take our words and ``further`` ones; raise `ValueError` for an empty word and for one of two meanings."""
        self._meanings: dict[str, Meaning] = {}
        self._firm: set[str] = set()
        self._of_messages: set[str] = set()
        beside: set[str] = set()
        messages: set[str] = set()
        for meaning, languages in ours.items():
            for words in languages:
                self._add(meaning, (*words.whole, *words.firm))
                self._firm.update(map(_joined, words.firm))
                self._of_messages.update(map(_joined, words.of_messages))
                beside.update(map(normalise_message, words.beside))
                messages.update(map(normalise_message, words.messages))
        for meaning, further_words in further.items():
            self._add(meaning, further_words)
        self._messages = _any_of(messages)
        self._beside = _any_of(beside | messages)

    def meaning(self, text: str) -> Meaning:
        """Return what a message means.

        To stop, the first line is enough, for handsets add to it; words may be said twice, and letters held down. To
        get messages again all of it has to be the word: that undoes a refusal.
        """
        meaning = self._meanings.get(_joined(text)) if len(text) <= MAX_KEYWORD_LENGTH else None
        return meaning or (Meaning.STOP if self._stops(_first_line(text)) else Meaning.OTHER)

    def _stops(self, line: str) -> bool:
        if len(line) > MAX_KEYWORD_LENGTH:
            return False
        bare = normalise_message(line)
        rest = _collapsed(_joined(self._beside.sub(" ", bare)))
        if rest in self._firm or (rest in self._of_messages and self._messages.search(bare)):
            return True
        joined = _joined(bare)
        spellings = map(_collapsed, (joined, _STRETCHED.sub(r"\1", joined)))
        return Meaning.STOP in map(self._meanings.get, spellings)

    def _add(self, meaning: Meaning, words: Iterable[str]) -> None:
        for word in words:
            key = _joined(word)
            if not key or len(word) > MAX_KEYWORD_LENGTH:
                raise ValueError(f"a word for {meaning} is empty, or longer than {MAX_KEYWORD_LENGTH} characters")
            if self._meanings.setdefault(key, meaning) is not meaning:
                raise ValueError(f"{key!r} means {self._meanings[key]} already")


@dataclass(frozen=True, slots=True)
class InboundRules:
    """How messages from people are read and answered."""

    keywords: KeywordMatcher
    region: str | None = None
    """ISO 3166-1 alpha-2, for senders in national spelling."""
    replies: frozenset[Meaning] = frozenset({Meaning.STOP, Meaning.HELP})
    """Meanings with a reply."""
    inbox: bool = True
    """Whether other messages wait for support."""


def normalise_message(text: str) -> str:
    """Return a message as it is compared: its letters and digits, with single blanks between words.

    Letters of any width and case are alike, accents and vowel signs are dropped, and so are invisible characters,
    among them marks of direction. Signs are blanks.
    """
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    seen = "".join(" " if character.isspace() else _as_compared(character) for character in folded)
    return " ".join(seen.translate(_SAME_LETTER).split())


def readable_text(text: str) -> str:
    """Return a message as support may read it, without numbers of four digits or more; empty when no letter is left.

    A reply that is only a code, a card number or a phone number asks for nothing.
    """
    without_numbers = _NUMBER.sub("####", text.strip())
    return without_numbers if any(map(str.isalpha, without_numbers)) else ""


def _any_of(phrases: set[str]) -> re.Pattern[str]:
    """Return a pattern that finds any of the normalised phrases as whole words, the longest first."""
    alternatives = "|".join(sorted(map(re.escape, phrases), key=len, reverse=True))
    return re.compile(rf"(?<!\S)(?:{alternatives})(?!\S)" if alternatives else r"(?!)")


def _as_compared(character: str) -> str:
    """Return a character, the blank that a sign stands for, or nothing for what makes no difference."""
    category = unicodedata.category(character)
    if category in {"Cc", "Cf"} or character in _OF_SYMBOLS or unicodedata.combining(character) > _MARK_OF_A_WORD:
        return ""
    return " " if category[0] in "CPSZ" else character


def _joined(text: str) -> str:
    """Return a message as it is looked up: people join words, and part them, as they like."""
    return normalise_message(text).replace(" ", "")


def _collapsed(joined: str) -> str:
    """Return what a message repeats: ``stopstop`` is ``stop``."""
    return joined[: (joined * 2).find(joined, 1)] if joined else joined


def _first_line(text: str) -> str:
    """Return the first line that has a letter or a digit; a part of it where it is too long."""
    lines = text.lstrip()[: MAX_KEYWORD_LENGTH + 1].splitlines()
    return next((line for line in lines if any(map(str.isalnum, line))), "")
