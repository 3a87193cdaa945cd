"""Messages that people write back: which of them mean stop, start or help, in the languages of our messages.

Only a whole message counts: who writes that he cannot stop laughing has not asked for silence.
"""

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final


class Meaning(StrEnum):
    """What a message asks for."""

    STOP = "stop"
    """No more messages."""
    START = "start"
    """Messages again."""
    HELP = "help"
    """Who this is, and how to end it."""
    OTHER = "other"
    """Anything else, which is not for a machine to judge."""


WORDS: Final[Mapping[Meaning, Mapping[str, tuple[str, ...]]]] = {
    Meaning.STOP: {
        "en": (
            "stop", "stopall", "stop all", "unsubscribe", "cancel", "end", "quit", "optout", "opt-out", "opt out",
            "revoke",
        ),
        "ur": (
            "بند", "بند کریں", "بند کرو", "بند کر دیں", "بند کردیں", "بند کر دو", "بند کردو",
            "رکیں", "رکو", "رک جائیں", "روکیں", "روکو",
            "روک دیں", "روک دو", "ختم", "ختم کریں", "منسوخ", "منسوخ کریں",
        ),
        "ur-Latn": (
            "band", "band karo", "band karein", "band karen", "band kar do", "band kardo", "band kar dein", "ruko",
            "rukein", "ruken", "roko", "rokein", "roken", "rok do", "rok dein", "khatam", "khatam karo",
            "khatam karein", "khatam karen", "mansookh",
        ),
        "ar": ("إيقاف", "أوقف", "توقف", "قف", "إلغاء", "إلغاء الاشتراك", "إنهاء"),
    },
    Meaning.START: {
        "en": ("start", "unstop", "optin", "opt-in", "opt in"),
        "ur": ("شروع", "شروع کریں", "شروع کرو", "بحال", "بحال کریں"),
        "ur-Latn": ("shuru", "shuru karo", "shuru karein", "shuru karen", "bahal", "bahal karo", "bahal karein"),
        "ar": ("ابدأ", "بدء", "استئناف", "استأنف"),
    },
    Meaning.HELP: {
        "en": ("help", "info"),
        "ur": ("مدد", "معلومات"),
        "ur-Latn": ("madad", "maloomat"),
        "ar": ("مساعدة",),
    },
}  # fmt: skip
"""By language. ``yes`` is not among those of *start*: people answer so to much else, and it would undo a refusal."""

LONGEST: Final = 100
"""Characters of a message that is read; a longer one is no word of ours."""
_SAME_LETTER: Final = str.maketrans(
    "\u064a\u0649\u0643\u06c1\u06c3\u0629\u06be", "\u06cc\u06cc\u06a9\u0647\u0647\u0647\u0647"
)
"""Forms of yeh, kaf and heh: Arabic and Urdu keyboards write others, and handsets show hardly any difference."""
_MARK_OF_A_WORD: Final = 9
"""Greatest combining class of marks without which a word is another one, such as those of Devanagari."""
_OF_SYMBOLS: Final = frozenset(map(chr, range(0xFE00, 0xFE10)))
"""Variation selectors: how a symbol is drawn."""


class Vocabulary:
    """The words and what they mean."""

    def __init__(self, further: Mapping[Meaning, Iterable[str]] | None = None) -> None:
        """Take our words and ``further`` ones; raise `ValueError` for an empty word and for one of two meanings."""
        self._meanings: dict[str, Meaning] = {}
        for meaning, languages in WORDS.items():
            self._add(meaning, (word for words in languages.values() for word in words))
        for meaning, words in (further or {}).items():
            self._add(meaning, words)

    def meaning(self, text: str) -> Meaning:
        """Return what a message means."""
        return self._meanings.get(plain(text), Meaning.OTHER) if len(text) <= LONGEST else Meaning.OTHER

    def _add(self, meaning: Meaning, words: Iterable[str]) -> None:
        for word in words:
            key = plain(word)
            if not key or len(word) > LONGEST:
                raise ValueError(f"a word for {meaning} is empty, or longer than {LONGEST} characters")
            if self._meanings.setdefault(key, meaning) is not meaning:
                raise ValueError(f"{key!r} means {self._meanings[key]} already")


@dataclass(frozen=True, slots=True)
class InboundPolicy:
    """How messages from people are read and answered."""

    vocabulary: Vocabulary = field(default_factory=Vocabulary)
    region: str | None = None
    """Region (ISO 3166-1 alpha-2) of senders in national spelling."""
    replies: frozenset[Meaning] = frozenset({Meaning.STOP, Meaning.HELP})
    """Meanings that are answered."""


def plain(text: str) -> str:
    """Return a message as it is compared.

    Letters of any width and case are alike, accents and vowel signs are dropped, and so are invisible characters,
    among them marks of direction, and all signs around the words. Blanks within are single.
    """
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    letters = "".join(_as_compared(one) for one in folded if one.isspace() or _is_seen(one))
    return " ".join(_without_signs(letters).split()).translate(_SAME_LETTER)


def _as_compared(character: str) -> str:
    """Return a character, or the blank or hyphen that it stands for."""
    if character.isspace():
        return " "
    return "-" if unicodedata.category(character) == "Pd" else character


def _is_seen(character: str) -> bool:
    """Tell whether a character makes a difference."""
    invisible = unicodedata.category(character) in {"Cc", "Cf"} or character in _OF_SYMBOLS
    return not invisible and unicodedata.combining(character) <= _MARK_OF_A_WORD


def _without_signs(text: str) -> str:
    """Return a text without the punctuation, symbols and blanks at both of its ends."""
    begin, end = 0, len(text)
    while begin < end and unicodedata.category(text[begin])[0] in "CPSZ":
        begin += 1
    while begin < end and unicodedata.category(text[end - 1])[0] in "CPSZ":
        end -= 1
    return text[begin:end]
