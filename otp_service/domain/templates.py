"""Templates of messages: their languages and variables."""

import re
import string
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Final

from babel import Locale, UnknownLocaleError
from babel.numbers import get_decimal_symbol, get_group_symbol, get_territory_currencies

from otp_service.domain.audit import digest_of
from otp_service.domain.inbound import Meaning
from otp_service.domain.payments import PLAIN_STYLE, AmountStyle
from otp_service.domain.segments import Encoding
from otp_service.domain.verification import MAX_CODE_LIFE, Channel, Purpose, PurposeKind

# Callers' texts are never templates, and a value that looks like a variable is not filled in.


class Variable(StrEnum):
    """The variables of templates, without attributes, indexes or formats."""

    BRAND = "brand"
    CODE = "code"
    """The code as one run of ASCII digits, for reading."""
    DIGITS = "digits"
    """The code digit by digit, for listening."""
    MINUTES = "minutes"
    """Remaining life of the code, in the words of the language."""
    NEVER_SHARE = "never_share"
    """The language's phrase against passing the code on."""
    AMOUNT = "amount"
    PAYEE = "payee"
    ACCOUNT = "account"
    """The language's phrase for the payer's account; empty when the payment has none."""


class TemplateError(ValueError):
    """A template cannot be used; ``str(error)`` says why, as the end of a sentence."""


@dataclass(frozen=True, slots=True)
class Template:
    """Text with variables."""

    source: str
    pieces: tuple[tuple[str, str | None], ...]
    """Literal text, and the variable after it, if any."""

    @property
    def names(self) -> tuple[str, ...]:
        """The variables in the order of the text, with repetitions."""
        return tuple(name for _, name in self.pieces if name is not None)

    def fill(self, values: Mapping[str, str]) -> str:
        """Return the text with its values, in which variables are not filled."""
        return "".join(literal + ("" if name is None else values[name]) for literal, name in self.pieces)


@dataclass(frozen=True, slots=True)
class TemplateRef:
    """The template of a text, for approvals and disputes."""

    id: str
    """Language, purpose or kind of purpose, and channel: ``ur/transaction/sms``."""
    version: str
    sha256: str
    """Of all its words, including those of its phrases."""

    def __str__(self) -> str:
        return f"{self.id} {self.version} {self.sha256}"


def parse_template(source: str, allowed: Collection[str]) -> Template:
    """Return a template that names allowed variables only; raise `TemplateError`."""
    try:
        parsed = list(string.Formatter().parse(source))
    except ValueError:
        raise TemplateError("has a single brace: write {{ and }} for braces") from None
    pieces = tuple((literal, name) for literal, name, _, _ in parsed)
    literals = ((literal.replace("{", "{{").replace("}", "}}"), name) for literal, name in pieces)
    if "".join(literal + ("" if name is None else f"{{{name}}}") for literal, name in literals) != source:
        raise TemplateError("has a conversion or a format: variables stand as they are, such as {code}")
    for _, name in pieces:
        if name is not None and name not in allowed:
            variables = ", ".join(f"{{{known}}}" for known in allowed)
            raise TemplateError(f"names {{{name}}}, which is not known here; there are {variables}")
    return Template(source, pieces)


DEFAULT_LANGUAGE: Final = "en"
MAX_MINUTES: Final = MAX_CODE_LIFE // 60


@dataclass(frozen=True, slots=True)
class PurposeTemplates:
    """The templates of one purpose, or of all purposes of a kind, in one language."""

    payment: bool
    segments: int
    templates: Mapping[Channel, Template]
    name: str = ""


@dataclass(frozen=True, slots=True)
class Language:
    """The content of a file of messages."""

    tag: str
    alphabet: Encoding
    """The intended encoding of its text messages."""
    never_share: str
    minutes: tuple[str, ...]
    """Durations in words, by whole minutes from 0 to `MAX_MINUTES`."""
    account_written: Template
    account_spoken: Template
    texts: Mapping[str, PurposeTemplates]
    """By purpose, or by kind of purpose."""
    replies: Mapping[Meaning, Template] = field(default_factory=dict)
    reply_segments: int = 1
    version: str = "1"
    references: Mapping[tuple[str, Channel], TemplateRef] = field(init=False, repr=False, compare=False)
    """By purpose or kind of purpose (`reply_name` for replies), and channel."""

    def __post_init__(self) -> None:
        """Take the digests once: each message needs them."""
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

    def texts_for(self, purpose: Purpose, channel: Channel) -> PurposeTemplates | None:
        """Return the texts of a purpose that have a channel, or else those of its kind."""
        payment = purpose.kind is PurposeKind.TRANSACTION
        for name in (purpose.name, purpose.kind):
            texts = self.texts.get(name)
            if texts and texts.payment is payment and channel in texts.templates:
                return texts
        return None

    def duration(self, minutes: int) -> str:
        """Return a time in words, rounded down."""
        return self.minutes[min(minutes, MAX_MINUTES)]


@dataclass(frozen=True, slots=True)
class ChosenTemplate:
    """The words that one message gets."""

    language: Language
    texts: PurposeTemplates
    template: Template
    locale: str
    """BCP 47: the requested locale where the language is a form of it."""

    def reference(self, channel: Channel) -> TemplateRef:
        """Return its template's reference."""
        return self.language.references[self.texts.name, channel]


_MAX_LOCALES = 1024


@dataclass(frozen=True, slots=True)
class MessageTemplates:
    """All languages of an installation, by tag in lower case."""

    languages: Mapping[str, Language]
    _locales: dict[tuple[str, ...], str] = field(default_factory=dict, init=False, repr=False, compare=False)

    def locale(self, purpose: Purpose, channel: Channel, *requested: str, only: tuple[str, ...] = ()) -> str:
        """Return the locale that `choose` returns, from a cache."""
        key = (purpose.name, purpose.kind, channel, *requested, "", *only)
        locale = self._locales.get(key)
        if locale is None:
            if len(self._locales) >= _MAX_LOCALES:  # callers may request any
                self._locales.clear()
            locale = self._locales[key] = self.choose(purpose, channel, *requested, only=only).locale
        return locale

    def choose(self, purpose: Purpose, channel: Channel, *requested: str, only: Collection[str] = ()) -> ChosenTemplate:
        """Return the words of the first locale that has them: requested (if ``only`` allows it), ``only``, English."""
        for locale, tag, language in self._languages(requested, only):
            if texts := language.texts_for(purpose, channel):
                return ChosenTemplate(language, texts, texts.templates[channel], _locale_of(locale, tag, language))
        raise LookupError("the templates are complete for English")

    def choose_reply(
        self, meaning: Meaning, *requested: str, only: Collection[str] = ()
    ) -> tuple[Template, TemplateRef, str]:
        """Return the reply to a message, its template and the locale, chosen as `choose` does."""
        for locale, tag, language in self._languages(requested, only):
            if meaning in language.replies:
                reference = language.references[reply_name(meaning), Channel.SMS]
                return language.replies[meaning], reference, _locale_of(locale, tag, language)
        raise LookupError("the templates are complete for English")

    def supports(self, locale: str) -> bool:
        """Tell whether a locale's language and script have words."""
        tag = next((tag for tag in fallback_tags(locale) if tag.lower() in self.languages), None)
        return tag is not None and _locale_of(locale, tag, self.languages[tag.lower()]) == locale

    def _languages(self, requested: Iterable[str], only: Collection[str]) -> Iterator[tuple[str, str, Language]]:
        """Yield the languages to try, each with its locale and tag."""
        allowed = {tag.lower() for tag in only}
        for locale in (*requested, *only):
            for tag in fallback_tags(locale):
                language = self.languages.get(tag.lower())
                if language and (not only or tag.lower() in allowed):
                    yield locale, tag, language
        yield DEFAULT_LANGUAGE, DEFAULT_LANGUAGE, self.languages[DEFAULT_LANGUAGE]


def reply_name(meaning: Meaning) -> str:
    """Return the part of a reply's template id that is a purpose in others."""
    return f"reply-{meaning}"


def _reference(language: Language, name: str, channel: Channel, template: Template) -> TemplateRef:
    account = language.account_spoken if channel.traits.is_spoken else language.account_written
    words: dict[str, object] = {"template": template.source}
    words |= {"never_share": language.never_share} if Variable.NEVER_SHARE in template.names else {}
    words |= {"minutes": language.minutes} if Variable.MINUTES in template.names else {}
    words |= {"account": account.source} if Variable.ACCOUNT in template.names else {}
    return TemplateRef(f"{language.tag}/{name}/{channel}", language.version, digest_of(words))


def _locale_of(locale: str, tag: str, language: Language) -> str:
    """Return the locale, or the language's tag where the locale has another script."""
    dropped = locale[len(tag) :].split("-")
    return language.tag if any(len(subtag) == 4 and subtag.isalpha() for subtag in dropped) else locale  # noqa: PLR2004 - ISO 15924


# --- Rules of safety: a text that breaks one is refused when its file is read ---

COMMON_VARIABLES: Final = (Variable.BRAND, Variable.MINUTES, Variable.NEVER_SHARE)
PAYMENT_VARIABLES: Final = (Variable.AMOUNT, Variable.PAYEE, Variable.ACCOUNT)
_VALUES: Final = frozenset({Variable.BRAND, Variable.CODE, Variable.AMOUNT, Variable.PAYEE, Variable.ACCOUNT})
"""Variables with letters or digits of their own direction."""
_LINK = re.compile(
    r"\w*://\S*|(?:[\w-]+\.)+\w{2,}|www\.|\d{1,3}(?:\.\d{1,3}){3}|\b(?:intent|mailto|market|sms|tel|upi):\S+",
    re.IGNORECASE,
)
"""Text that handsets show as a link."""
_LIKE_A_CODE = re.compile(r"(?<!\d)\d{6,8}(?!\d)")
_NON_JOINER = "\u200c"
"""Invisible, but part of the spelling of some languages in Arabic letters."""


def word_faults(text: str) -> Iterator[str]:
    """Yield the faults of any text of a file, each as the end of a sentence."""
    plain = re.sub(r"\{\w+\}", "x", text)
    for link in links_in(plain)[:1]:
        yield f"holds a link or a domain name at {link!r}: a person must never learn to follow one"
    if set("@#") & set(text):
        yield "holds @ or #, which browsers read as the origin-bound last line"
    if _LIKE_A_CODE.search(plain):
        yield "holds 6 to 8 digits in a row, which could pass for a code"
    for character in sorted(set(text)):
        if unicodedata.category(character) in {"Cc", "Cf", "Zl", "Zp"} and character not in {"\n", _NON_JOINER}:
            yield f"holds the control or invisible character {describe_character(character)}"


def links_in(text: str) -> list[str]:
    """Return the parts that a handset may show as a link, in any Unicode form."""
    seen = unicodedata.normalize("NFKC", text).replace(_NON_JOINER, "")
    return [match[0] for match in _LINK.finditer(seen)]


def is_own_link(link: str, origin: str | None) -> bool:
    """Tell whether a link is the domain name of an application's ``origin``, or a parent of it."""
    return origin is not None and f".{origin}".endswith(f".{link.casefold()}")


def reply_faults(template: Template) -> Iterator[str]:
    """Yield the faults of a reply."""
    yield from _missing(template.names, (Variable.BRAND,))
    yield from _edges(template)


def written_faults(template: Template, *, payment: bool) -> Iterator[str]:
    """Yield the faults of a text to read: sms, whatsapp."""
    names = template.names
    yield from _missing(names, (*COMMON_VARIABLES, *(PAYMENT_VARIABLES if payment else ())))
    if names.count(Variable.CODE) != 1:
        yield "names {code} not exactly once"
    if names and names[0] == Variable.CODE and not template.pieces[0][0].strip():
        yield "starts with {code}: lock screens show the first words"
    if re.search(r"[\w}]\{code\}|\{code\}[\w{]", template.source):
        yield "has something right beside {code}: the code is a run of digits of its own"
    yield from _edges(template)


def spoken_faults(template: Template, *, payment: bool) -> Iterator[str]:
    """Yield the faults of a text to hear: voice."""
    yield from _missing(template.names, (*COMMON_VARIABLES, *(PAYMENT_VARIABLES if payment else ())))
    if template.names.count(Variable.DIGITS) != 2:  # noqa: PLR2004 - once, and once again
        yield "names {digits} not exactly twice: who misses the code cannot scroll back"


def direction_faults(source: str) -> Iterator[str]:
    """Yield the lines that the bidirectional algorithm (UAX #9) would show out of order.

    A line that starts with a right-to-left letter, and holds at most one value, needs no invisible mark, which would
    cost a unit and which a handset may show as a box.
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


def describe_character(character: str) -> str:
    """Return the code point and name of a character, which may be invisible."""
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


def fallback_tags(tag: str) -> Iterator[str]:
    """Yield a language tag and its prefixes, the longest first (RFC 4647, 3.4)."""
    subtags = tag.split("-")
    while subtags:
        yield "-".join(subtags)
        subtags.pop()
        if subtags and len(subtags[-1]) == 1:
            subtags.pop()


# Babel reads its data from files and is slow, so its answers are cached.

LATIN: Final = "latn"
_ASCII: Final = {"\u00a0": " ", "\u202f": " ", "\u2009": " ", "\u2019": "'", "\u066b": ".", "\u066c": ","}
"""Replacements for signs that would make a message UCS-2, or that a handset may not show."""


@lru_cache(maxsize=512)
def amount_style(tag: str) -> AmountStyle:
    """Return the ASCII style of amounts in a locale (BCP 47); the plain style for an unknown locale.

    The currency stands as in the locale, but first in right-to-left scripts: there ``PKR 1,500.00`` is one
    left-to-right run, which no handset reorders.
    """
    locale = _known(tag)
    if locale is None:
        return PLAIN_STYLE
    decimal = get_decimal_symbol(locale, numbering_system=LATIN)
    group = get_group_symbol(locale, numbering_system=LATIN)
    decimal, group = _ASCII.get(decimal, decimal), _ASCII.get(group, group)
    if decimal not in {".", ","} or group not in {".", ",", "'", " "} or decimal == group:
        return PLAIN_STYLE
    first, further, *_ = locale.decimal_formats[None].grouping
    currency = locale.currency_formats["standard"].pattern.split(";")[0]
    leads = locale.character_order == "right-to-left" or currency.index("\u00a4") < currency.index("0")
    return AmountStyle(decimal, group, (first, further), leads)


def plural_form(tag: str, count: int) -> str:
    """Return the CLDR plural category of a count in a language: ``one``, ``two``, ``few``, … ``other``."""
    locale = _known(tag)
    return str(locale.plural_form(count)) if locale else "other"


def plural_forms(tag: str) -> frozenset[str]:
    """Return the plural categories that a language has."""
    locale = _known(tag)
    return frozenset({"other", *(map(str, locale.plural_form.tags) if locale else ())})


@lru_cache(maxsize=512)
def _known(tag: str) -> Locale | None:
    for shorter in fallback_tags(tag):
        try:
            return Locale.parse(shorter, sep="-")
        except (UnknownLocaleError, ValueError):
            continue
    return None


@lru_cache(maxsize=300)
def currency_signs(region: str) -> dict[str, str]:
    """Return the currencies (ISO 4217) of a region by their local signs; empty for none."""
    locales = list(filter(None, (_known(f"en-{region}"), _known("en"))))
    currencies = get_territory_currencies(region) if region else ()
    return {locale.currency_symbols.get(currency, currency): currency for currency in currencies for locale in locales}
