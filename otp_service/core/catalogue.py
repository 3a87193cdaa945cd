"""The catalogue: the words of messages by language, purpose and channel, and which of them a message gets."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from otp_service.core.chain import digest_of
from otp_service.core.inbound import Meaning
from otp_service.core.purpose import LONGEST_LIFE, Channel, Purpose, PurposeKind
from otp_service.core.segments import Encoding
from otp_service.core.templates import Template, TemplateRef, Variable

DEFAULT: Final = "en"
"""The language that is always there."""
MAX_MINUTES: Final = LONGEST_LIFE // 60
"""Whole minutes that a code can be valid."""


@dataclass(frozen=True, slots=True)
class Texts:
    """The templates of one purpose, or of all purposes of a kind, in one language."""

    payment: bool
    """Whether they name a payment."""
    segments: int
    """Short messages that the longest text message may take."""
    templates: Mapping[Channel, Template]
    name: str = ""
    """The purpose, or the kind of purpose."""


@dataclass(frozen=True, slots=True)
class Language:
    """What one file of messages says."""

    tag: str
    """BCP 47, as the file is named."""
    alphabet: Encoding
    """What its text messages are meant to be encoded in."""
    never_share: str
    minutes: tuple[str, ...]
    """How long, in words, by whole minutes from 0 to `MAX_MINUTES`."""
    account_written: Template
    account_spoken: Template
    texts: Mapping[str, Texts]
    """By purpose, or by kind of purpose."""
    replies: Mapping[Meaning, Template] = field(default_factory=dict)
    """What somebody is answered, by what he wrote."""
    reply_segments: int = 1
    """Short messages that the longest reply may take."""
    version: str = "1"
    """Of its words, as its file says."""

    def texts_for(self, purpose: Purpose, channel: Channel) -> Texts | None:
        """Return the texts of a purpose that have a channel, or else those of its kind."""
        payment = purpose.kind is PurposeKind.TRANSACTION
        for name in (purpose.name, purpose.kind):
            texts = self.texts.get(name)
            if texts and texts.payment is payment and channel in texts.templates:
                return texts
        return None

    def lasting(self, minutes: int) -> str:
        """Return a time in words, rounded down."""
        return self.minutes[min(minutes, MAX_MINUTES)]


@dataclass(frozen=True, slots=True)
class Words:
    """The words that one message gets."""

    language: Language
    texts: Texts
    template: Template
    locale: str
    """BCP 47: what was asked for, where the language is a form of it."""

    def reference(self, channel: Channel) -> TemplateRef:
        """Return which template it is, with a digest of all words that can be in its text."""
        language, names = self.language, self.template.names
        account = language.account_spoken if channel is Channel.VOICE else language.account_written
        words: dict[str, object] = {"template": self.template.source}
        words |= {"never_share": language.never_share} if Variable.NEVER_SHARE in names else {}
        words |= {"minutes": language.minutes} if Variable.MINUTES in names else {}
        words |= {"account": account.source} if Variable.ACCOUNT in names else {}
        return TemplateRef(f"{language.tag}/{self.texts.name}/{channel}", language.version, digest_of(words))


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All languages of an installation, by tag in lower case."""

    languages: Mapping[str, Language]

    def choose(self, purpose: Purpose, channel: Channel, *wanted: str) -> Words:
        """Return the words for the first of some locales that has them, or the English ones."""
        for locale in (*wanted, DEFAULT):
            for tag in lookup(locale):
                language = self.languages.get(tag.lower())
                texts = language.texts_for(purpose, channel) if language else None
                if language and texts:
                    return Words(language, texts, texts.templates[channel], _as_asked(locale, tag, language))
        raise LookupError("the catalogue is complete for English")

    def choose_reply(self, meaning: Meaning, *wanted: str) -> tuple[Template, str]:
        """Return what a message is answered, and in which locale: the first of some that has words, or English."""
        for locale in (*wanted, DEFAULT):
            for tag in lookup(locale):
                language = self.languages.get(tag.lower())
                if language and meaning in language.replies:
                    return language.replies[meaning], _as_asked(locale, tag, language)
        raise LookupError("the catalogue is complete for English")


def lookup(tag: str) -> Iterator[str]:
    """Yield a language tag and what is left of it, subtag by subtag (RFC 4647, 3.4)."""
    subtags = tag.split("-")
    while subtags:
        yield "-".join(subtags)
        subtags.pop()
        if subtags and len(subtags[-1]) == 1:
            subtags.pop()


def _as_asked(locale: str, tag: str, language: Language) -> str:
    """Return the locale, unless it asked for a script that the language is not written in."""
    dropped = locale[len(tag) :].split("-")
    return language.tag if any(len(subtag) == 4 and subtag.isalpha() for subtag in dropped) else locale  # noqa: PLR2004 - ISO 15924
