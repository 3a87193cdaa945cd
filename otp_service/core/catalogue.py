"""The catalogue: the words of messages by language, purpose and channel, and which of them a message gets."""

from collections.abc import Collection, Iterable, Iterator, Mapping
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
    references: Mapping[tuple[str, Channel], TemplateRef] = field(init=False, repr=False, compare=False)
    """Which template each text is, by purpose or kind of purpose (of a reply: `reply_name`), and channel."""

    def __post_init__(self) -> None:
        """Take the digests once: they are asked for with each message."""
        own = {
            (texts.name, channel): _reference(self, texts.name, channel, template)
            for texts in self.texts.values()
            for channel, template in texts.templates.items()
        }
        replies = {
            (reply_name(meaning), Channel.SMS): _reference(self, reply_name(meaning), Channel.SMS, template)
            for meaning, template in self.replies.items()
        }
        object.__setattr__(self, "references", own | replies)

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
        return self.language.references[self.texts.name, channel]


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All languages of an installation, by tag in lower case."""

    languages: Mapping[str, Language]

    def choose(self, purpose: Purpose, channel: Channel, *wanted: str, only: Collection[str] = ()) -> Words:
        """Return the words for the first of some locales that has them, or the English ones.

        Where ``only`` some languages may be used, the first of them that has words comes before English.
        """
        for locale, tag, language in self._languages(wanted, only):
            if texts := language.texts_for(purpose, channel):
                return Words(language, texts, texts.templates[channel], _as_asked(locale, tag, language))
        raise LookupError("the catalogue is complete for English")

    def choose_reply(
        self, meaning: Meaning, *wanted: str, only: Collection[str] = ()
    ) -> tuple[Template, TemplateRef, str]:
        """Return what a message is answered, which template it is, and the locale: chosen as `choose` does."""
        for locale, tag, language in self._languages(wanted, only):
            if meaning in language.replies:
                reference = language.references[reply_name(meaning), Channel.SMS]
                return language.replies[meaning], reference, _as_asked(locale, tag, language)
        raise LookupError("the catalogue is complete for English")

    def speaks(self, locale: str) -> bool:
        """Tell whether there are words in a locale's language, and script."""
        found = next((one for one in lookup(locale) if one.lower() in self.languages), None)
        return found is not None and _as_asked(locale, found, self.languages[found.lower()]) == locale

    def _languages(self, wanted: Iterable[str], only: Collection[str]) -> Iterator[tuple[str, str, Language]]:
        """Yield the languages to be tried, each with the locale that it is for, and the part of it that is its tag."""
        allowed = {tag.lower() for tag in only}
        for locale in (*wanted, *only):
            for tag in lookup(locale):
                language = self.languages.get(tag.lower())
                if language and (not only or tag.lower() in allowed):
                    yield locale, tag, language
        yield DEFAULT, DEFAULT, self.languages[DEFAULT]


def reply_name(meaning: Meaning) -> str:
    """Return what stands in place of a purpose in the id of a reply's template."""
    return f"reply-{meaning}"


def _reference(language: Language, name: str, channel: Channel, template: Template) -> TemplateRef:
    account = language.account_spoken if channel is Channel.VOICE else language.account_written
    words: dict[str, object] = {"template": template.source}
    words |= {"never_share": language.never_share} if Variable.NEVER_SHARE in template.names else {}
    words |= {"minutes": language.minutes} if Variable.MINUTES in template.names else {}
    words |= {"account": account.source} if Variable.ACCOUNT in template.names else {}
    return TemplateRef(f"{language.tag}/{name}/{channel}", language.version, digest_of(words))


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
