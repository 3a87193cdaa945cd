"""Consent, suppression and what people write back: entries of the ledger and their rules."""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final


class ConsentMode(StrEnum):
    """What an application's starts need."""

    REQUIRED = "required"
    """A start without a consent, its own or an earlier one, is refused."""
    RECORDED = "recorded"
    """What is given is kept, and a withdrawal counts; nothing is demanded."""
    OFF = "off"
    """Neither kept nor looked at."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What shows that somebody agreed."""

    text_version: str
    """The caller's name of the words that were shown."""
    text_sha256: str
    """Their SHA-256, 64 hexadecimal digits."""
    locale: str
    """BCP 47 tag of their language."""
    channel: str
    """Where they were shown, such as ``web`` or ``app``."""
    given: int
    """When: milliseconds since the epoch, as the caller says."""
    source: str
    """Which page, screen or paper it was."""
    address_prefix: str = ""
    """The end user's address without its last part (IPv4 /24, IPv6 /48), empty when it is not known."""

    @property
    def erased(self) -> "Evidence":
        """What is left of it after an erasure: what shows to which words somebody agreed, where and when."""
        return replace(self, text_version="", source="", address_prefix="")

    def repeats(self, other: "Evidence") -> bool:
        """Tell whether it is the same as another: the same words, agreed to at the same time and place."""
        same = (self.text_sha256, self.locale, self.channel, self.given)
        return same == (other.text_sha256, other.locale, other.channel, other.given)


@dataclass(frozen=True, slots=True)
class Consent:
    """One entry: given with its evidence, or withdrawn. It is never changed, only followed by another."""

    pseudonym: str
    application: str
    purpose: str
    evidence: Evidence | None
    """``None`` when it is a withdrawal."""
    counts_from: int | None = None
    """The ledger's place from which on it counts; ``None`` for that at which it is recorded."""
    recorded: int = 0
    """When it was recorded: milliseconds since the epoch, by the ledger's host."""
    said: int = 0
    """When it was said: of a consent when it was given. Of a withdrawal when it was recorded, or later: no earlier than
    what it withdraws was given, by whichever clock. Only what was said later is newer."""

    @property
    def about(self) -> tuple[str, str, str]:
        """What entries have in common that follow each other: number, application and purpose."""
        return self.pseudonym, self.application, self.purpose

    @property
    def withdrawn(self) -> bool:
        """Whether the entry withdraws what was given before."""
        return self.evidence is None


EVERY_APPLICATION: Final = "*"
"""In place of an application's name: all of them, which only an operator may say."""
MAX_REASON: Final = 200
"""Characters of a reason."""


class SuppressionScope(StrEnum):
    """Which messages a suppression keeps back."""

    ALL = "all"
    """Every message, codes that the number's holder asked for included."""
    MARKETING_ONLY = "marketing_only"
    """None of this service's, which sends no marketing: codes that somebody asks for are left alone."""
    FROZEN = "frozen"
    """Every message, and no code is approved: fraud was reported. It follows only its own scope: nothing but an
    unfreeze lifts it, no START, no list, and no lift of another scope."""


SETTABLE_SCOPES: Final = (SuppressionScope.ALL, SuppressionScope.MARKETING_ONLY)
"""Scopes that a call, a command or a list may name. A freeze is made and lifted in its own way only."""
BLOCKING_SCOPES: Final = frozenset({SuppressionScope.ALL, SuppressionScope.FROZEN})
"""Scopes that keep back what this service sends: starts and dispatches have to know of them."""


class SuppressionSource(StrEnum):
    """How we came to know."""

    API = "api"
    """An application said so."""
    OPERATOR = "operator"
    """An operator did, by hand."""
    INBOUND = "inbound"
    """The holder answered a message, such as with STOP."""
    GATEWAY = "gateway"
    """A gateway answered that the holder wants no messages."""
    IMPORT = "import"
    """It came in a list."""


HOLDER_SOURCES: Final = frozenset({SuppressionSource.INBOUND, SuppressionSource.GATEWAY})
"""Sources of what the holder of a number said himself, and may take back."""


@dataclass(frozen=True, slots=True)
class Suppression:
    """One entry: suppressed, or lifted again. It is never changed, only followed by another."""

    pseudonym: str
    application: str
    """Or `EVERY_APPLICATION`."""
    scope: SuppressionScope
    source: SuppressionSource
    reason: str = ""
    until: int | None = None
    """When it ends by itself: milliseconds since the epoch; ``None`` for never."""
    lifted: bool = False
    """Whether the entry lifts what was suppressed before, of the same application and scope."""
    recorded: int = 0
    """When it was recorded: milliseconds since the epoch, by the ledger's host."""

    @property
    def about(self) -> tuple[str, str, SuppressionScope]:
        """What entries have in common that follow each other: number, application and scope."""
        return self.pseudonym, self.application, self.scope

    def is_active(self, now: int) -> bool:
        """Tell whether it keeps messages back at ``now`` (milliseconds since the epoch)."""
        return not self.lifted and (self.until is None or self.until > now)

    def repeats(self, other: "Suppression", now: int) -> bool:
        """Tell whether it says at ``now`` what another one would: of the same, by whom, why, and for as long."""
        same = (self.about, self.source, self.reason) == (other.about, other.source, other.reason)
        return same and not other.lifted and self.is_active(now) and _later(self.until, other.until) == self.until


def latest_entries(entries: Iterable[Suppression]) -> tuple[Suppression, ...]:
    """Return the last entry of each number, application and scope; they come oldest first.

    One that follows another without that being lifted does not shorten it: of their ends the later one counts.
    """
    last: dict[tuple[str, str, SuppressionScope], Suppression] = {}
    for entry in entries:
        before = last.get(entry.about)
        goes_on = before is not None and not before.lifted and not entry.lifted
        last[entry.about] = replace(entry, until=_later(before.until, entry.until)) if before and goes_on else entry
    return tuple(last.values())


def _later(one: int | None, other: int | None) -> int | None:
    """Return the later of two ends, of which ``None`` is never."""
    return None if one is None or other is None else max(one, other)


def is_suppressed(entries: Iterable[Suppression], now: int) -> bool:
    """Tell whether entries, oldest first, suppress a number at ``now`` (milliseconds since the epoch).

    A freeze is another thing: `active_freezes`.
    """
    return any(one.scope is SuppressionScope.ALL and one.is_active(now) for one in latest_entries(entries))


def active_freezes(entries: Iterable[Suppression]) -> tuple[Suppression, ...]:
    """Return the entries that freeze a number, of those given oldest first: each that no later one lifts."""
    standing: list[Suppression] = []
    for entry in entries:
        if entry.scope is SuppressionScope.FROZEN:
            others = [one for one in standing if one.about != entry.about]
            standing = others if entry.lifted else [*standing, entry]
    return tuple(standing)


class OperatorAction(StrEnum):
    """What was done."""

    API_KEY_ISSUED = "api-key-issued"
    API_KEY_ROTATED = "api-key-rotated"
    API_KEY_REVOKED = "api-key-revoked"
    APPLICATION_ADDED = "application-added"
    APPLICATION_CHANGED = "application-changed"
    LIMITS_RESET = "limits-reset"
    """What was counted for a number was forgotten."""
    GUARD_UNBLOCKED = "guard-unblocked"
    """What rules kept back was let through."""
    MIRROR_REBUILT = "mirror-rebuilt"
    """What Redis knew of opt-outs and consents was given up for what the ledger says."""
    STORE_FENCED = "store-fenced"
    """Everything that was in Redis was ended."""
    SUBJECT_FROZEN = "subject-frozen"
    SUBJECT_UNFROZEN = "subject-unfrozen"
    SUBJECT_ERASED = "subject-erased"
    SUPPRESSION_ADDED = "suppression-added"
    SUPPRESSION_LIFTED = "suppression-lifted"
    SUPPRESSIONS_IMPORTED = "suppressions-imported"
    GATEWAY_PAUSED = "gateway-paused"
    """No message goes through it."""
    GATEWAY_RESUMED = "gateway-resumed"
    """Messages go through it again."""
    MESSAGES_REDRIVEN = "messages-redriven"
    """Dead letters were to be put back."""


@dataclass(frozen=True, slots=True)
class OperatorActionEntry:
    """One act, as it is recorded."""

    act: str
    """One of `OperatorAction`; of what was read also that of a later release, or a forged one, which the audit chain tells."""
    by: str
    """Who did it: the login of a person at a command line (``cli:ali``), or the name of an operator's API key."""
    application: str = ""
    """Whose it was; empty where that is nobody's, or all of them."""
    about: str = ""
    """What it was done to: the name of a key, or what kind of thing; never a number."""
    at: int = 0
    """When: milliseconds since the epoch."""
    id: str = ""
    """Random name of the row; empty until it is recorded."""


@dataclass(frozen=True, slots=True)
class LedgerPosition:
    """A point in the history of a ledger: how far the ledger, or its mirror, has come."""

    identity: str
    """Random name of the ledger."""
    sequence: int
    """Number of the last change that the mirror has to know."""
    entry: int
    """Number of that change's entry in the audit chain; 0 before the first change."""
    link: str
    """That entry's link: it names everything that was recorded until then, so no other history has it."""


@dataclass(frozen=True, slots=True)
class NumberState:
    """A number's state, as it was when the ledger had come to a certain change."""

    pseudonym: str
    suppressed: Mapping[str, int | None]
    """By application (`suppression.EVERY_APPLICATION` for all): until when, in milliseconds since the epoch; ``None``
    for ever. Only suppressions that keep codes back, without freezes."""
    consents: Mapping[tuple[str, str], tuple[bool, int, int]]
    """By application and purpose: whether it is given, from which place of the ledger on that counts, and after which
    time a consent has to be given to be newer."""
    frozen: frozenset[str] = frozenset()
    """The applications that it is frozen for (`suppression.EVERY_APPLICATION` for all)."""
    lifted: Mapping[str, int] = field(default_factory=dict)
    """The applications of which a freeze was lifted lately (`suppression.EVERY_APPLICATION` for all): at which place of
    the ledger. What was started before that stays ended."""


@dataclass(frozen=True, slots=True)
class MirrorChanges:
    """The numbers that changed between two places of a ledger, in their present state."""

    after: LedgerPosition
    upto: LedgerPosition
    read_at: int
    """Number of the ledger's last change when the states were read."""
    numbers: tuple[NumberState, ...]


# Only a whole message counts, or, to stop, its first line: who cannot stop laughing has not asked for silence.


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


MAX_KEYWORD_LENGTH: Final = 100
"""Characters of a message that is read; a longer one is no word of ours."""
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
"""Greatest combining class of marks without which a word is another one, such as those of Devanagari."""
_OF_SYMBOLS: Final = frozenset(map(chr, range(0xFE00, 0xFE10)))
"""Variation selectors: how a symbol is drawn."""
_STRETCHED: Final = re.compile(r"(.)\1{2,}")
"""A letter that is held down."""


@dataclass(frozen=True, slots=True)
class Keywords:
    """What asks for something, in one language."""

    whole: tuple[str, ...]
    """Obeyed as a whole message only."""
    firm: tuple[str, ...] = ()
    """To stop only: obeyed also beside words of ``beside``."""
    beside: tuple[str, ...] = ()
    """What our messages are called, and what makes a wish polite or urgent."""


class KeywordMatcher:
    """The words and what they mean."""

    def __init__(self, ours: Mapping[Meaning, Iterable[Keywords]], further: Mapping[Meaning, Iterable[str]]) -> None:
        """Take our words and ``further`` ones; raise `ValueError` for an empty word and for one of two meanings."""
        self._meanings: dict[str, Meaning] = {}
        self._firm: set[str] = set()
        names: set[str] = set()
        for meaning, languages in ours.items():
            for words in languages:
                self._add(meaning, (*words.whole, *words.firm))
                self._firm.update(map(_joined, words.firm))
                names.update(map(normalise_message, words.beside))
        for meaning, words_of_theirs in further.items():
            self._add(meaning, words_of_theirs)
        some = "|".join(sorted(map(re.escape, names), key=len, reverse=True))
        self._beside = re.compile(rf"(?<!\S)(?:{some})(?!\S)" if some else r"(?!)")

    def meaning(self, text: str) -> Meaning:
        """Return what a message means.

        To stop, the first line is enough, for handsets add to it; words may be said twice, and letters held down. To
        get messages again all of it has to be the word: that undoes a refusal.
        """
        found = self._meanings.get(_joined(text)) if len(text) <= MAX_KEYWORD_LENGTH else None
        return found or (Meaning.STOP if self._stops(_first_line(text)) else Meaning.OTHER)

    def _stops(self, line: str) -> bool:
        if len(line) > MAX_KEYWORD_LENGTH:
            return False
        bare = normalise_message(line)
        rest = _joined(self._beside.sub(" ", bare))
        return self._is_stop(_joined(bare)) or _once(rest) in self._firm

    def _is_stop(self, joined: str) -> bool:
        return Meaning.STOP in {self._meanings.get(_once(one)) for one in (joined, _STRETCHED.sub(r"\1", joined))}

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
    """Region (ISO 3166-1 alpha-2) of senders in national spelling."""
    replies: frozenset[Meaning] = frozenset({Meaning.STOP, Meaning.HELP})
    """Meanings that are answered."""


def normalise_message(text: str) -> str:
    """Return a message as it is compared: its letters and digits, with single blanks between words.

    Letters of any width and case are alike, accents and vowel signs are dropped, and so are invisible characters,
    among them marks of direction. Signs are blanks.
    """
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    seen = "".join(" " if one.isspace() else _as_compared(one) for one in folded)
    return " ".join(seen.translate(_SAME_LETTER).split())


def _as_compared(character: str) -> str:
    """Return a character, the blank that a sign stands for, or nothing for what makes no difference."""
    category = unicodedata.category(character)
    if category in {"Cc", "Cf"} or character in _OF_SYMBOLS or unicodedata.combining(character) > _MARK_OF_A_WORD:
        return ""
    return " " if category[0] in "CPSZ" else character


def _joined(text: str) -> str:
    """Return a message as it is looked up: people join words, and part them, as they like."""
    return normalise_message(text).replace(" ", "")


def _once(joined: str) -> str:
    """Return what is said, where it is said more than once."""
    return joined[: (joined * 2).find(joined, 1)] if joined else joined


def _first_line(text: str) -> str:
    """Return the first line that has a letter or a digit; a part of it where it is too long."""
    lines = text.lstrip()[: MAX_KEYWORD_LENGTH + 1].splitlines()
    return next((line for line in lines if any(map(str.isalnum, line))), "")
