"""Measure the messages of an installation: what each costs at its longest, and whether that is what was meant."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from otp_service.domain.applications import Application, ClientIp
from otp_service.domain.payments import MAX_NAME, Transaction
from otp_service.domain.people import Meaning
from otp_service.domain.templates import (
    MAX_MINUTES,
    MAX_OCTETS,
    Catalogue,
    Encoding,
    Language,
    Template,
    Texts,
    Variable,
    Wording,
    encoding_of,
    named,
    not_in_gsm7,
    octets,
    segments,
    units,
    write,
)
from otp_service.domain.verification import Channel, Purpose, PurposeKind, Resend

LONGEST_CODE: Final = 8
LONGEST_PAYMENT: Final = Transaction("999999999999.999", "KWD", "M" * MAX_NAME, "9999")
"""The most that a message may have to say of a payment."""
ORDINARY_PAYMENT: Final = Transaction("25000.00", "PKR", "Corner Store", "4821")
ORDINARY_MINUTES: Final = 5
SAMPLE_CODE: Final = "123456"
SAMPLE: Final = Application(
    name="",
    title="Acme Bank",
    purposes=frozenset(),
    countries=None,
    region=None,
    locale="en",
    client_ip=ClientIp.NONE,
)
"""An application for messages that belong to none of the configured ones."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One text of the catalogue, as one application sends it, or as any may."""

    language: Language
    texts: Texts
    purpose: str
    """Or what it replies to."""
    channel: Channel
    application: Application | None
    """``None``: with the longest brand, and no last line."""
    ordinary: str
    """The message with ordinary values."""
    longest: str
    """The message with the longest values."""

    @property
    def where(self) -> str:
        """Which text this is, for a person."""
        parts = (self.language.tag, self.purpose, self.channel, self.application.name if self.application else "")
        return " ".join(filter(None, parts))


def sample_purposes(purposes: Mapping[str, Purpose]) -> dict[str, Purpose]:
    """Return the purposes there are, after one of each kind."""
    kinds = {
        kind.value: Purpose(kind, kind, LONGEST_CODE, 600, 5, 5, (30,), Resend.SAME_CODE, tuple(Channel))
        for kind in PurposeKind
    }
    return kinds | dict(purposes)


def measures(
    catalogue: Catalogue, purposes: Mapping[str, Purpose], applications: Iterable[Application] = ()
) -> Iterator[Measure]:
    """Yield every text of the catalogue, replies too, then the text messages of each application in every language."""
    known = sample_purposes(purposes)
    for language in catalogue.languages.values():
        for name, texts in language.texts.items():
            for channel in texts.templates:
                yield _measure(language, texts, known[name], channel, None)
        yield from (_measure_reply(language, meaning, reply) for meaning, reply in language.replies.items())
    for application in applications:
        yield from _of_application(catalogue, known, application)


def _of_application(catalogue: Catalogue, known: Mapping[str, Purpose], application: Application) -> Iterator[Measure]:
    for name in sorted(application.purposes):
        for language in catalogue.languages.values():
            found = language.texts_for(known[name], Channel.SMS)
            if found:
                yield _measure(language, found, known[name], Channel.SMS, application)


def _measure(
    language: Language, texts: Texts, purpose: Purpose, channel: Channel, application: Application | None
) -> Measure:
    only = Catalogue({language.tag.lower(): replace(language, texts={purpose.name: texts})})
    longest = max(range(MAX_MINUTES + 1), key=lambda minutes: units(language.minutes[minutes]))
    wording = Wording(application or SAMPLE, purpose, channel, language.tag, SAMPLE_CODE, ORDINARY_MINUTES)
    extreme = replace(
        wording,
        application=application or replace(SAMPLE, title="M" * MAX_NAME),
        code="9" * (purpose.code_length if application else LONGEST_CODE),
        minutes=longest,
    )
    if texts.payment:
        wording = replace(wording, transaction=ORDINARY_PAYMENT)
        extreme = replace(extreme, transaction=LONGEST_PAYMENT)
    ordinary, longer = (write(only, one).text for one in (wording, extreme))
    return Measure(language, texts, purpose.name, channel, application, ordinary, longer)


def _measure_reply(language: Language, meaning: Meaning, template: Template) -> Measure:
    texts = Texts(payment=False, segments=language.reply_segments, templates={Channel.SMS: template})
    ordinary, longest = (template.filled({Variable.BRAND: title}) for title in (SAMPLE.title, "M" * MAX_NAME))
    return Measure(language, texts, f"reply to {meaning}", Channel.SMS, None, ordinary, longest)


def faults_of_cost(measured: Iterable[Measure]) -> Iterator[str]:
    """Yield one line for each text message that takes more than its file, or its reader, allows."""
    for one in measured:
        if one.channel is Channel.SMS:
            yield from _over_budget(one)
            if _is_own_language(one):
                yield from _too_long_for_retriever(one)


def notes_of_cost(measured: Iterable[Measure]) -> Iterator[str]:
    """Yield one line for each text message that is too long for a reader, in a language that is asked for by name."""
    for one in measured:
        if one.channel is Channel.SMS and not _is_own_language(one):
            yield from _too_long_for_retriever(one)


def faults_of_locale(catalogue: Catalogue, locale: str) -> Iterator[str]:
    """Yield why a locale cannot be an application's own."""
    if not catalogue.speaks(locale):
        yield f"locale: there is no file of messages for {locale}."


def _over_budget(one: Measure) -> Iterator[str]:
    needed = len(segments(one.longest))
    if needed > one.texts.segments:
        yield (
            f"{one.where}: takes up to {needed} segments, {_length(one.longest)}; "
            f"the budget in the file is {one.texts.segments}{_because(one)}."
        )


def _because(one: Measure) -> str:
    """Tell which character of an application's own makes a message UCS-2 that is meant to be GSM-7."""
    title = one.application.title if one.application else ""
    if one.language.alphabet is Encoding.UCS2 or not (found := not_in_gsm7(title)):
        return ""
    return f"; the brand has {named(title[found[0]])}, which is not in the GSM 7-bit alphabet"


def _too_long_for_retriever(one: Measure) -> Iterator[str]:
    if one.application and one.application.app_hash and octets(one.ordinary) > MAX_OCTETS:
        yield (
            f"{one.where}: has {octets(one.ordinary)} bytes with ordinary values; Android's SMS Retriever reads "
            f"messages of at most {MAX_OCTETS}."
        )


def _is_own_language(one: Measure) -> bool:
    locale = one.application.locale if one.application else ""
    return f"{locale}-".lower().startswith(f"{one.language.tag}-".lower())


def _length(text: str) -> str:
    return f"{units(text)} units of {encoding_of(text).label}"


def faults_of_alphabet(catalogue: Catalogue) -> Iterator[str]:
    """Yield each character that would turn a text message into UCS-2 against its file's word, with its place."""
    for language in catalogue.languages.values():
        if language.alphabet is Encoding.GSM7:
            for place, text in _sources(language):
                for position in not_in_gsm7(text):
                    yield (
                        f"{language.tag} {place}: character {position + 1}, {named(text[position])}, is not in the "
                        "GSM 7-bit alphabet; it would make every such message UCS-2."
                    )


def _sources(language: Language) -> Iterator[tuple[str, str]]:
    """Yield what text messages in a language are made of, by place."""
    yield "never_share", language.never_share
    yield "account.written", language.account_written.source
    for count, text in enumerate(language.minutes):
        yield f"minutes, {count}", text
    for name, texts in language.texts.items():
        if template := texts.templates.get(Channel.SMS):
            yield f"templates.{name}.sms", template.source
    for meaning, reply in language.replies.items():
        yield f"replies.{meaning}", reply.source
