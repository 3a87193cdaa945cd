"""Files of message templates: read, checked, measured."""

import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from importlib.resources import files
from importlib.resources.abc import Traversable
from itertools import product
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, Field, ValidationError
from pydantic_core import PydanticKnownError

from otp_service.domain.applications import LOCALE_PATTERN, MAX_LOCALE, Application, ClientIpSource
from otp_service.domain.inbound import Meaning
from otp_service.domain.messages import MessageContent, render_message
from otp_service.domain.payments import MAX_NAME_LENGTH, Transaction
from otp_service.domain.segments import MAX_OCTETS, Encoding, encoding_of, not_in_gsm7, octets, segments, units
from otp_service.domain.templates import (
    COMMON_VARIABLES,
    DEFAULT_LANGUAGE,
    MAX_MINUTES,
    PAYMENT_VARIABLES,
    Language,
    MessageTemplates,
    PurposeTemplates,
    Template,
    TemplateError,
    Variable,
    describe_character,
    direction_faults,
    is_right_to_left,
    parse_template,
    plural_form,
    plural_forms,
    reply_faults,
    spoken_faults,
    word_faults,
    written_faults,
)
from otp_service.domain.verification import Channel, Purpose, PurposeKind, Resend
from otp_service.errors import ConfigurationError
from otp_service.settings.schema import Name, Section
from otp_service.settings.settings import Settings
from otp_service.settings.sources import Table, fault_lines, merge

NO_TIME: Final = "none"
"""The form for less than a minute, beside CLDR's plural forms."""
_REPLY_VARIABLES: Final = (Variable.BRAND,)


def _checked_channel(name: str) -> str:
    if name not in set(Channel):
        raise PydanticKnownError("extra_forbidden")
    return name


ChannelName = Annotated[str, AfterValidator(_checked_channel)]
"""Member of a table with a member for each channel; any other name is an unknown member."""


class TemplateTable(Section, extra="allow"):
    """The texts of a purpose, or of a kind of purpose, by channel."""

    __pydantic_extra__: dict[ChannelName, str]

    segments: int = Field(default=1, ge=1, le=10)
    """Maximum segments of the longest ``sms``."""

    @property
    def sources(self) -> dict[Channel, str]:
        """The texts by channel: a written channel has by default the text of ``sms``, without its last line."""
        own = self.__pydantic_extra__
        texts = {
            channel: own.get(channel, None if channel.traits.is_spoken else own.get(Channel.SMS)) for channel in Channel
        }
        return {channel: text for channel, text in texts.items() if text is not None}

    def is_payment(self, name: str) -> bool:
        """Whether the texts of a section with this name are about a payment."""
        if name in set(PurposeKind):
            return name == PurposeKind.TRANSACTION
        return any(f"{{{variable}}}" in source for source in self.sources.values() for variable in PAYMENT_VARIABLES)


class AccountTable(Section):
    """The words for the payer's account, if a payment has an account."""

    written: str
    spoken: str | None = None
    """Default: ``written``."""


class ReplyTable(Section):
    """Replies to messages from people; without a text, the next language's is used."""

    segments: int = Field(default=1, ge=1, le=3)
    """Maximum segments of the longest reply."""
    stop: str | None = None
    """Reply to a person who stops messages."""
    help: str | None = None
    """Reply to a person who asks for the sender."""

    @property
    def sources(self) -> dict[Meaning, str]:
        texts = {Meaning.STOP: self.stop, Meaning.HELP: self.help}
        return {meaning: text for meaning, text in texts.items() if text is not None}


class MessageFile(Section):
    """The texts of a language."""

    version: str = Field(default="1", min_length=1, max_length=32, pattern=r"^[A-Za-z0-9._-]+$")
    """Your name for these texts, which is recorded with each message."""
    alphabet: Encoding
    """Intended encoding of text messages."""
    never_share: str
    minutes: dict[str, str]
    """Lifetime of a code: ``none`` (less than a minute), and the plural forms of CLDR."""
    account: AccountTable
    templates: dict[Name, TemplateTable]
    """Texts by purpose or by kind of purpose."""
    replies: ReplyTable = ReplyTable()


def _language(tag: str, file: MessageFile) -> Language:
    texts: dict[str, PurposeTemplates] = {}
    for name, table in file.templates.items():
        payment = table.is_payment(name)
        templates = {
            channel: parse_template(source, _variables(channel, payment=payment))
            for channel, source in table.sources.items()
        }
        texts[name] = PurposeTemplates(payment, table.segments, templates, name)
    forms = (plural_form(tag, count) if count else NO_TIME for count in range(MAX_MINUTES + 1))
    minutes = (parse_template(file.minutes[form], (Variable.MINUTES,)) for form in forms)
    return Language(
        tag=tag,
        alphabet=file.alphabet,
        never_share=file.never_share,
        minutes=tuple(template.fill({Variable.MINUTES: str(count)}) for count, template in enumerate(minutes)),
        account_written=parse_template(file.account.written, (Variable.ACCOUNT,)),
        account_spoken=parse_template(file.account.spoken or file.account.written, (Variable.ACCOUNT,)),
        texts=texts,
        replies={meaning: parse_template(text, _REPLY_VARIABLES) for meaning, text in file.replies.sources.items()},
        reply_segments=file.replies.segments,
        version=file.version,
    )


def _file_faults(tag: str, file: MessageFile) -> Iterator[tuple[str, str]]:
    """Yield the faults of a file: the place, and the fault as the end of a sentence."""
    for kind, channel in product(PurposeKind, Channel):
        needed = not channel.traits.is_spoken or tag.lower() == DEFAULT_LANGUAGE
        if needed and (kind not in file.templates or channel not in file.templates[kind].sources):
            yield f"templates.{kind}.{channel}", "is missing"
    yield from _phrase_faults(tag, file)
    for meaning, source in file.replies.sources.items():
        yield from ((f"replies.{meaning}", fault) for fault in _text_faults(source, _REPLY_VARIABLES, reply_faults))
    for name, table in file.templates.items():
        payment = table.is_payment(name)
        for channel in map(Channel, table.__pydantic_extra__):
            source, variables = table.sources[channel], _variables(channel, payment=payment)
            if channel.traits.is_spoken:
                faults = _text_faults(source, variables, partial(spoken_faults, payment=payment), account=None)
            else:
                written = partial(written_faults, payment=payment)
                faults = _text_faults(source, variables, written, account=file.account.written)
            yield from ((f"templates.{name}.{channel}", fault) for fault in faults)


def _phrase_faults(tag: str, file: MessageFile) -> Iterator[tuple[str, str]]:
    reached = {NO_TIME, *(plural_form(tag, count) for count in range(1, MAX_MINUTES + 1))}
    for form in sorted(reached - file.minutes.keys()):
        yield f"minutes.{form}", f"is missing: the language has {', '.join(sorted(reached))} from 0 to {MAX_MINUTES}"
    for form in sorted(file.minutes.keys() - plural_forms(tag) - {NO_TIME}):
        yield f"minutes.{form}", "is no plural form of the language"
    if not file.never_share.strip() or file.never_share != file.never_share.strip():
        yield "never_share", "is empty, or begins or ends with a space"
    phrases: list[tuple[str, str, tuple[Variable, ...]]] = [("never_share", file.never_share, ())]
    phrases += [(f"minutes.{form}", text, (Variable.MINUTES,)) for form, text in file.minutes.items()]
    for form in sorted(file.account.model_fields_set):
        text = getattr(file.account, form)
        phrases.append((f"account.{form}", text, (Variable.ACCOUNT,)))
        if "{account}" not in text:
            yield f"account.{form}", "does not name {account}"
    for place, text, allowed in phrases:
        yield from ((place, fault) for fault in _text_faults(text, allowed, account=None))


def _text_faults(
    source: str,
    allowed: Sequence[Variable],
    rules: Callable[[Template], Iterable[str]] | None = None,
    account: str | None = "",
) -> Iterator[str]:
    """Yield the faults of a text; ``account``: the account's words in a text that is read, else ``None``."""
    try:
        template = parse_template(source, allowed)
    except TemplateError as unreadable:
        yield str(unreadable)
        return
    yield from word_faults(source)
    if rules:
        yield from rules(template)
    if account is not None and is_right_to_left(source):
        yield from direction_faults(source.replace("{account}", account))


def _variables(channel: Channel, *, payment: bool) -> tuple[Variable, ...]:
    code = Variable.DIGITS if channel.traits.is_spoken else Variable.CODE
    return (code, *COMMON_VARIABLES, *(PAYMENT_VARIABLES if payment else ()))


# --- Reading ---

_SUFFIX: Final = ".toml"


def read_templates(settings: Settings) -> MessageTemplates:
    """Return the texts of messages; raise `ConfigurationError` with a line for each fault: file, place, fault."""
    built_in, own = _built_in_tables(), _own_tables(settings.messages.directory)
    languages: dict[str, Language] = {}
    faults: list[str] = []
    for key in sorted(built_in.keys() | own.keys()):
        tag, path, table = built_in.get(key) or own[key]
        if key in own:
            path, table = own[key][1], merge(table, own[key][2])
        language, own_faults = _read(tag, table) if key in own else _built_in_language(key)
        purpose_faults = _purpose_faults(language, settings) if language else ()
        faults += [f"{path}: {fault}" for fault in (*own_faults, *purpose_faults)]
        if language:
            languages[key] = language
    if faults:
        raise ConfigurationError("\n".join(faults))
    return MessageTemplates(languages)


_File = tuple[str, str, Table]
"""Tag, path and content."""


@cache
def _built_in_tables() -> dict[str, _File]:
    return _tables(files("otp_service") / "messages")


@cache
def _built_in_language(key: str) -> tuple[Language | None, list[str]]:
    tag, _, table = _built_in_tables()[key]
    return _read(tag, table)


def _own_tables(folder: str | None) -> dict[str, _File]:
    if not folder:
        return {}
    try:
        tables = _tables(Path(folder))
    except OSError as unreadable:
        raise ConfigurationError(f"messages.directory: {folder} cannot be read: {unreadable.strerror}.") from unreadable
    if not tables:
        raise ConfigurationError(f"messages.directory: {folder} has no file such as en{_SUFFIX}.")
    return tables


def _tables(folder: Traversable) -> dict[str, _File]:
    """Return the files of a folder by their tags in lower case."""
    tables: dict[str, _File] = {}
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        if not file.name.endswith(_SUFFIX):
            continue
        tag = file.name.removesuffix(_SUFFIX)
        if len(tag) > MAX_LOCALE or not re.fullmatch(LOCALE_PATTERN, tag):
            raise ConfigurationError(f"{file}: is not named by a language tag (BCP 47), such as en{_SUFFIX}.")
        if tag.lower() in tables:
            raise ConfigurationError(f"{file}: the language has a file already, {tables[tag.lower()][1]}.")
        try:
            tables[tag.lower()] = (tag, str(file), tomllib.loads(file.read_text(encoding="utf-8")))
        except ValueError as malformed:
            raise ConfigurationError(f"{file}: {malformed}.") from malformed
    return tables


def _read(tag: str, table: Table) -> tuple[Language | None, list[str]]:
    try:
        file = MessageFile.model_validate(table)
    except ValidationError as invalid:
        return None, list(fault_lines(invalid, MessageFile))
    faults = [f"{place}: {sentence}." for place, sentence in _file_faults(tag, file)]
    return (None, faults) if faults else (_language(tag, file), [])


def _purpose_faults(language: Language, settings: Settings) -> Iterator[str]:
    kinds = {name: purpose.kind for name, purpose in settings.purposes.items()}
    for name, texts in language.texts.items():
        kind = kinds.get(name, name)
        if kind not in set(PurposeKind):
            yield f"templates.{name}: there is no section purposes.{name}."
        elif texts.payment is not (kind == PurposeKind.TRANSACTION):
            yield f"templates.{name}: purposes.{name} is of kind {kind}, but the text is not."


MAX_CODE_LENGTH: Final = 8
SAMPLE_LONG_PAYMENT: Final = Transaction("999999999999.999", "KWD", "M" * MAX_NAME_LENGTH, "9999")
"""The longest payment of a message."""
ORDINARY_PAYMENT: Final = Transaction("25000.00", "PKR", "Corner Store", "4821")
ORDINARY_MINUTES: Final = 5
SAMPLE_CODE: Final = "123456"
SAMPLE_APPLICATION: Final = Application(
    name="",
    brand="Acme Bank",
    purposes=frozenset(),
    countries=None,
    region=None,
    locale="en",
    client_ip=ClientIpSource.NONE,
)
"""An application for messages without a configured application."""


@dataclass(frozen=True, slots=True)
class MeasuredText:
    """A text of a template, for an application or for any."""

    language: Language
    texts: PurposeTemplates
    purpose: str
    """Purpose, or the meaning that a reply answers."""
    channel: Channel
    application: Application | None
    """``None``: the longest brand, and no last line."""
    ordinary: str
    """The message with ordinary values."""
    longest: str
    """The message with the longest values."""

    @property
    def where(self) -> str:
        parts = (self.language.tag, self.purpose, self.channel, self.application.name if self.application else "")
        return " ".join(filter(None, parts))


def sample_purposes(purposes: Mapping[str, Purpose]) -> dict[str, Purpose]:
    kinds = {
        kind.value: Purpose(kind, kind, MAX_CODE_LENGTH, 600, 5, 5, (30,), Resend.SAME_CODE, tuple(Channel))
        for kind in PurposeKind
    }
    return kinds | dict(purposes)


def measure_texts(
    templates: MessageTemplates, purposes: Mapping[str, Purpose], applications: Iterable[Application] = ()
) -> Iterator[MeasuredText]:
    """Yield every text and reply of the templates, then the text messages of each application in every language."""
    known = sample_purposes(purposes)
    for language in templates.languages.values():
        for name, texts in language.texts.items():
            for channel in filter(lambda channel: channel.traits.shows_words, texts.templates):
                yield _measure(language, texts, known[name], channel, None)
        yield from (_measure_reply(language, meaning, reply) for meaning, reply in language.replies.items())
    for application in applications:
        for name, language in product(sorted(application.purposes), templates.languages.values()):
            if own := language.texts_for(known[name], Channel.SMS):
                yield _measure(language, own, known[name], Channel.SMS, application)


def _measure(
    language: Language, texts: PurposeTemplates, purpose: Purpose, channel: Channel, application: Application | None
) -> MeasuredText:
    only = MessageTemplates({language.tag.lower(): replace(language, texts={purpose.name: texts})})
    longest = max(range(MAX_MINUTES + 1), key=lambda minutes: units(language.minutes[minutes]))
    content = MessageContent(
        application or SAMPLE_APPLICATION, purpose, channel, language.tag, SAMPLE_CODE, ORDINARY_MINUTES
    )
    extreme = replace(
        content,
        application=application or replace(SAMPLE_APPLICATION, brand="M" * MAX_NAME_LENGTH),
        code="9" * (purpose.code_length if application else MAX_CODE_LENGTH),
        minutes=longest,
    )
    if texts.payment:
        content = replace(content, transaction=ORDINARY_PAYMENT)
        extreme = replace(extreme, transaction=SAMPLE_LONG_PAYMENT)
    ordinary, longer = (render_message(only, version).text for version in (content, extreme))
    return MeasuredText(language, texts, purpose.name, channel, application, ordinary, longer)


def _measure_reply(language: Language, meaning: Meaning, template: Template) -> MeasuredText:
    texts = PurposeTemplates(payment=False, segments=language.reply_segments, templates={Channel.SMS: template})
    ordinary, longest = (
        template.fill({Variable.BRAND: title}) for title in (SAMPLE_APPLICATION.brand, "M" * MAX_NAME_LENGTH)
    )
    return MeasuredText(language, texts, f"reply to {meaning}", Channel.SMS, None, ordinary, longest)


def cost_faults(measured: Iterable[MeasuredText]) -> Iterator[str]:
    """Yield a line for each text message that exceeds its file's budget or the limit of its reader."""
    for text in measured:
        if not text.channel.traits.in_segments:
            continue
        needed, budget = len(segments(text.longest)), text.texts.segments
        if needed > budget:
            brand, reason = text.application.brand if text.application else "", ""
            if text.language.alphabet is not Encoding.UCS2 and (positions := not_in_gsm7(brand)):
                character = describe_character(brand[positions[0]])
                reason = f"; the brand has {character}, which is not in the GSM 7-bit alphabet"
            yield (
                f"{text.where}: takes up to {needed} segments, {units(text.longest)} units of "
                f"{encoding_of(text.longest).label}; the budget in the file is {budget}{reason}."
            )
        if _is_own_language(text):
            yield from _too_long_for_retriever(text)


def cost_notes(measured: Iterable[MeasuredText]) -> Iterator[str]:
    """Yield a line for each text message in a language other than the application's that its reader truncates."""
    for text in measured:
        if text.channel is Channel.SMS and not _is_own_language(text):
            yield from _too_long_for_retriever(text)


def locale_faults(templates: MessageTemplates, locale: str) -> Iterator[str]:
    if not templates.supports(locale):
        yield f"locale: there is no file of messages for {locale}."


def _too_long_for_retriever(text: MeasuredText) -> Iterator[str]:
    if text.application and text.application.app_hash and octets(text.ordinary) > MAX_OCTETS:
        yield (
            f"{text.where}: has {octets(text.ordinary)} bytes with ordinary values; Android's SMS Retriever reads "
            f"messages of at most {MAX_OCTETS}."
        )


def _is_own_language(text: MeasuredText) -> bool:
    locale = text.application.locale if text.application else ""
    return f"{locale}-".lower().startswith(f"{text.language.tag}-".lower())


def alphabet_faults(templates: MessageTemplates) -> Iterator[str]:
    """Yield each character, with its place, that would make a text message of a GSM-7 file UCS-2."""
    for language in templates.languages.values():
        if language.alphabet is Encoding.GSM7:
            for place, text in _sources(language):
                for position in not_in_gsm7(text):
                    character = describe_character(text[position])
                    yield (
                        f"{language.tag} {place}: character {position + 1}, {character}, is not in the "
                        "GSM 7-bit alphabet; it would make every such message UCS-2."
                    )


def _sources(language: Language) -> Iterator[tuple[str, str]]:
    yield "never_share", language.never_share
    yield "account.written", language.account_written.source
    for count, text in enumerate(language.minutes):
        yield f"minutes, {count}", text
    for name, texts in language.texts.items():
        if template := texts.templates.get(Channel.SMS):
            yield f"templates.{name}.sms", template.source
    for meaning, reply in language.replies.items():
        yield f"replies.{meaning}", reply.source
