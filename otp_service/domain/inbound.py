"""Inbound messages: STOP, START, HELP, and their keywords."""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

# Only a whole message counts, or, to stop, its first line: "cannot stop laughing" is no request.


class Meaning(StrEnum):
    """The request of a message."""

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
"""Forms of yeh, kaf, heh, noon and alef, which differ between Arabic and Urdu keyboards, and the stretching sign."""
_MARK_OF_A_WORD: Final = 9
"""Highest combining class of marks that distinguish words, such as those of Devanagari."""
_OF_SYMBOLS: Final = frozenset(map(chr, range(0xFE00, 0xFE10)))
"""Variation selectors."""
_NUMBER: Final = re.compile(r"\d(?:[\s.()/\-]{0,3}\d){3,}")
_STRETCHED: Final = re.compile(r"(.)\1{2,}")


@dataclass(frozen=True, slots=True)
class Keywords:
    """The keywords of a meaning in a language."""

    whole: tuple[str, ...]
    firm: tuple[str, ...] = ()
    """To stop; also beside words of ``beside`` and ``messages``."""
    of_messages: tuple[str, ...] = ()
    """To stop; only beside a word of ``messages``: alone they may mean an order."""
    messages: tuple[str, ...] = ()
    """Words for messages and calls."""
    beside: tuple[str, ...] = ()
    """Words for codes, and polite or urgent words."""


class KeywordMatcher:
    """The keywords of all languages."""

    def __init__(self, ours: Mapping[Meaning, Iterable[Keywords]], further: Mapping[Meaning, Iterable[str]]) -> None:
        """Take our words and ``further`` ones; raise `ValueError` for an empty word, or a word of two meanings."""
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
        """Return the meaning of a message.

        To stop, the first line is enough, since handsets add lines; words may be repeated, and letters held down. START
        has to be the whole message, since it undoes a refusal.
        """
        meaning = self._meanings.get(_joined(text)) if len(text) <= MAX_KEYWORD_LENGTH else None
        lines = text.lstrip()[: MAX_KEYWORD_LENGTH + 1].splitlines()
        first = next((line for line in lines if any(map(str.isalnum, line))), "")
        return meaning or (Meaning.STOP if self._stops(first) else Meaning.OTHER)

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
    """Rules on inbound messages and their replies."""

    keywords: KeywordMatcher
    region: str | None = None
    """ISO 3166-1 alpha-2, for senders in national spelling."""
    replies: frozenset[Meaning] = frozenset({Meaning.STOP, Meaning.HELP})
    inbox: bool = True
    """Whether other messages wait for support."""


def normalise_message(text: str) -> str:
    """Return the letters and digits of a message, without case, accents and signs, and single blanks between words."""
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    seen = "".join(" " if character.isspace() else _as_compared(character) for character in folded)
    return " ".join(seen.translate(_SAME_LETTER).split())


def readable_text(text: str) -> str:
    """Return a message for support, without numbers of four digits or more; empty without letters."""
    without_numbers = _NUMBER.sub("####", text.strip())
    return without_numbers if any(map(str.isalpha, without_numbers)) else ""


def _any_of(phrases: set[str]) -> re.Pattern[str]:
    """Return a pattern of the normalised phrases as whole words, the longest first."""
    alternatives = "|".join(sorted(map(re.escape, phrases), key=len, reverse=True))
    return re.compile(rf"(?<!\S)(?:{alternatives})(?!\S)" if alternatives else r"(?!)")


def _as_compared(character: str) -> str:
    """Return a character, a blank for a sign, or nothing for an invisible character or accent."""
    category = unicodedata.category(character)
    if category in {"Cc", "Cf"} or character in _OF_SYMBOLS or unicodedata.combining(character) > _MARK_OF_A_WORD:
        return ""
    return " " if category[0] in "CPSZ" else character


def _joined(text: str) -> str:
    """Return a message for the look-up: people join and separate words as they like."""
    return normalise_message(text).replace(" ", "")


def _collapsed(joined: str) -> str:
    """Return the repeated part of a message: ``stopstop`` is ``stop``."""
    return joined[: (joined * 2).find(joined, 1)] if joined else joined
