"""One file of messages: its form, what makes it unusable, and the language that it becomes."""

from collections.abc import Iterator, Sequence
from typing import Final

from pydantic import Field

from otp_service.domain.people import Meaning
from otp_service.domain.templates import (
    COMMON,
    DEFAULT,
    MAX_MINUTES,
    PAYMENT,
    Encoding,
    Language,
    TemplateError,
    Texts,
    Variable,
    faults_of_direction,
    faults_of_reply,
    faults_of_spoken,
    faults_of_words,
    faults_of_written,
    is_right_to_left,
    parse_template,
    plural_form,
    plural_forms,
)
from otp_service.domain.verification import Channel, PurposeKind
from otp_service.settings.policy import Name
from otp_service.settings.sections import Section

NO_TIME: Final = "none"
"""The form of less than a minute, beside CLDR's plural forms."""

_OF_REPLIES: Final = (Variable.BRAND,)
_Place = tuple[str, str]
"""Where in the file, and what is wrong there, as the end of a sentence."""


class TemplateTable(Section):
    """The texts of one purpose, or of one kind of purpose."""

    segments: int = Field(default=1, ge=1, le=10)
    """Short messages that the longest ``sms`` may take."""
    sms: str | None = None
    voice: str | None = None
    whatsapp: str | None = None
    """By default the text of ``sms``, without its last line."""

    @property
    def sources(self) -> dict[Channel, str]:
        """The texts by channel."""
        texts = {
            Channel.SMS: self.sms,
            Channel.VOICE: self.voice,
            Channel.WHATSAPP: self.sms if self.whatsapp is None else self.whatsapp,
        }
        return {channel: text for channel, text in texts.items() if text is not None}

    def is_payment(self, name: str) -> bool:
        """Tell whether the texts are about a payment, in a section of this name."""
        if name in set(PurposeKind):
            return name == PurposeKind.TRANSACTION
        return any(f"{{{variable}}}" in source for source in self.sources.values() for variable in PAYMENT)


class AccountTable(Section):
    """What is said of the payer's account when a payment names one."""

    written: str
    spoken: str | None = None
    """By default as written."""


class ReplyTable(Section):
    """What somebody is answered who wrote back; without a text of its own, the next language is asked."""

    segments: int = Field(default=1, ge=1, le=3)
    """Short messages that the longest may take."""
    stop: str | None = None
    """To whom wants no more messages."""
    help: str | None = None
    """To whom wants to know who this is."""

    @property
    def sources(self) -> dict[Meaning, str]:
        """The texts by what they answer."""
        texts = {Meaning.STOP: self.stop, Meaning.HELP: self.help}
        return {meaning: text for meaning, text in texts.items() if text is not None}


class MessageFile(Section):
    """A language's words."""

    version: str = Field(default="1", min_length=1, max_length=32, pattern=r"^[A-Za-z0-9._-]+$")
    """Your name of these words: it is recorded with each message that has them."""
    alphabet: Encoding
    """What text messages are meant to be encoded in."""
    never_share: str
    minutes: dict[str, str]
    """How long a code is valid: ``none`` (less than a minute), and the plural forms of CLDR."""
    account: AccountTable
    templates: dict[Name, TemplateTable]
    """By purpose or by kind of purpose."""
    replies: ReplyTable = ReplyTable()


def language_of(tag: str, file: MessageFile) -> Language:
    """Return the language of a file without faults."""
    return Language(
        tag=tag,
        alphabet=file.alphabet,
        never_share=file.never_share,
        minutes=tuple(_lasting(tag, file, count) for count in range(MAX_MINUTES + 1)),
        account_written=parse_template(file.account.written, (Variable.ACCOUNT,)),
        account_spoken=parse_template(file.account.spoken or file.account.written, (Variable.ACCOUNT,)),
        texts={name: _texts(name, table) for name, table in file.templates.items()},
        replies={meaning: parse_template(text, _OF_REPLIES) for meaning, text in file.replies.sources.items()},
        reply_segments=file.replies.segments,
        version=file.version,
    )


def _lasting(tag: str, file: MessageFile, count: int) -> str:
    form = plural_form(tag, count) if count else NO_TIME
    return parse_template(file.minutes[form], (Variable.MINUTES,)).filled({Variable.MINUTES: str(count)})


def _texts(name: str, table: TemplateTable) -> Texts:
    payment = table.is_payment(name)
    templates = {
        channel: parse_template(source, _variables(channel, payment=payment))
        for channel, source in table.sources.items()
    }
    return Texts(payment, table.segments, templates, name)


def faults_of(tag: str, file: MessageFile) -> Iterator[_Place]:
    """Yield what makes a file unusable, each with its place."""
    yield from _incomplete(tag, file)
    yield from _forms(tag, file)
    yield from _phrases(file)
    for meaning, source in file.replies.sources.items():
        yield from ((f"replies.{meaning}", fault) for fault in _reply_faults(source))
    for name, table in file.templates.items():
        for channel in filter(table.model_fields_set.__contains__, table.sources):
            place = f"templates.{name}.{channel}"
            yield from ((place, fault) for fault in _template_faults(file, name, table, channel))


def _incomplete(tag: str, file: MessageFile) -> Iterator[_Place]:
    for kind in PurposeKind:
        there = file.templates[kind].sources if kind in file.templates else {}
        for channel in (Channel.SMS, Channel.VOICE) if tag.lower() == DEFAULT else (Channel.SMS,):
            if channel not in there:
                yield f"templates.{kind}.{channel}", "is missing"


def _forms(tag: str, file: MessageFile) -> Iterator[_Place]:
    reached = {NO_TIME, *(plural_form(tag, count) for count in range(1, MAX_MINUTES + 1))}
    for form in sorted(reached - file.minutes.keys()):
        yield f"minutes.{form}", f"is missing: the language has {', '.join(sorted(reached))} from 0 to {MAX_MINUTES}"
    for form in sorted(file.minutes.keys() - plural_forms(tag) - {NO_TIME}):
        yield f"minutes.{form}", "is no plural form of the language"


def _phrases(file: MessageFile) -> Iterator[_Place]:
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
        yield from ((place, fault) for fault in (*_unreadable(text, allowed), *faults_of_words(text)))


def _template_faults(file: MessageFile, name: str, table: TemplateTable, channel: Channel) -> Iterator[str]:
    source, payment = table.sources[channel], table.is_payment(name)
    allowed = _variables(channel, payment=payment)
    if unreadable := _unreadable(source, allowed):
        yield from unreadable
        return
    template = parse_template(source, allowed)
    yield from faults_of_words(source)
    if channel is Channel.VOICE:
        yield from faults_of_spoken(template, payment=payment)
        return
    yield from faults_of_written(template, payment=payment)
    if is_right_to_left(source):
        yield from faults_of_direction(source.replace("{account}", file.account.written))


def _reply_faults(source: str) -> Iterator[str]:
    if unreadable := _unreadable(source, _OF_REPLIES):
        yield from unreadable
        return
    yield from faults_of_words(source)
    yield from faults_of_reply(parse_template(source, _OF_REPLIES))
    if is_right_to_left(source):
        yield from faults_of_direction(source)


def _unreadable(source: str, allowed: Sequence[Variable]) -> list[str]:
    try:
        parse_template(source, allowed)
    except TemplateError as fault:
        return [str(fault)]
    return []


def _variables(channel: Channel, *, payment: bool) -> tuple[Variable, ...]:
    code = Variable.DIGITS if channel is Channel.VOICE else Variable.CODE
    return (code, *COMMON, *(PAYMENT if payment else ()))
