"""``otp-service messages``: the words of messages, what they cost, and how they look."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import click

from otp_service.cli import output as out
from otp_service.cli.common import CHANNELS, Session, application_option, command, find_application
from otp_service.domain.applications import Application
from otp_service.domain.messages import MessageContent, render_message
from otp_service.domain.segments import MAX_OCTETS, encoding_of, octets, segments, units
from otp_service.domain.templates import MessageTemplates
from otp_service.domain.verification import Channel, Purpose, PurposeKind
from otp_service.errors import ConfigurationError
from otp_service.settings import Settings
from otp_service.settings.message_files import (
    ORDINARY_MINUTES,
    ORDINARY_PAYMENT,
    SAMPLE_APPLICATION,
    SAMPLE_CODE,
    MeasuredText,
    alphabet_faults,
    cost_faults,
    cost_notes,
    measure_texts,
    read_templates,
    sample_purposes,
)


@click.group()
def messages() -> None:
    """Check and show the words of messages."""


@command(messages, "Measure every text, and find what is wrong.")
def check(session: Session) -> None:
    """Measure every text in every language with its longest values, and find what is wrong.

    Each configured application's own brand, origin and app hash are tried too.
    """
    measured = checked_messages(session.unchecked_settings)
    out.table("texts", ("Text", "Encoding", "Ordinary", "Longest", "Segments", "Budget"), map(_row, measured))
    out.in_json(notes=(notes := list(cost_notes(measured))))
    for line in notes:
        out.note(f"Note: {line}")
    out.done(f"{len(measured)} texts are within their budgets.")


def checked_messages(settings: Settings) -> list[MeasuredText]:
    """Return what messages cost; raise `ConfigurationError` with one line a fault."""
    templates = read_templates(settings)
    measured = list(measure_texts(templates, settings.named_purposes, settings.named_applications.values()))
    if faults := [*alphabet_faults(templates), *cost_faults(measured)]:
        raise ConfigurationError("\n".join(faults))
    return measured


def _row(one: MeasuredText) -> out.Row:
    lengths = (units(one.ordinary), units(one.longest))
    if not one.channel.traits.in_segments:
        return (one.where, None, *lengths, None, None)
    taken = f"{len(segments(one.ordinary))}-{len(segments(one.longest))}"
    return (one.where, encoding_of(one.longest).label, *lengths, taken, one.texts.segments)


@command(messages, "List the templates, and where they are approved.")
def templates(session: Session) -> None:
    """List the templates of text messages with the digests of their words, and where they are approved.

    A digest covers all words of a text but the values: brand, code, amount and payee. It is what an approval names.
    """
    settings = session.unchecked_settings
    rows: list[out.Row] = []
    for language in read_templates(settings).languages.values():
        for (_, channel), reference in language.references.items():
            if channel.traits.is_regulated:
                approved = settings.sending_rules.approved_in(reference)
                rows.append((reference.id, reference.version, reference.sha256, approved))
    out.table("templates", ("Template", "Version", "SHA256", "Approved in"), rows)


@command(messages, "Show how messages look.")
@click.option("--locale", help="Language tag, such as ur-PK; default: every language there is.")
@click.option("--purpose", "purpose_name", help="Purpose, or kind of purpose; default: all.")
@click.option("--channel", type=CHANNELS, help="Default: all.")
@application_option
def preview(
    session: Session, locale: str | None, purpose_name: str | None, channel: str | None, name: str | None
) -> None:
    """Show how messages look, with a made-up code, and what they cost."""
    settings = session.unchecked_settings
    templates = read_templates(settings)
    application = _application(settings, name)
    purposes = _purposes(settings, application, purpose_name)
    locales = [locale] if locale else [language.tag for language in templates.languages.values()]
    channels = [Channel(channel)] if channel else [one for one in Channel if one.traits.shows_words]
    contents = (
        MessageContent(application, purpose, one, tag, SAMPLE_CODE, min(purpose.ttl // 60, ORDINARY_MINUTES))
        for tag in locales
        for purpose in purposes
        for one in channels
    )
    shown = list(_previews(templates, contents))
    if not out.in_json(messages=shown):
        for one in shown:
            found = "" if one["locale"] == one["asked_for"] else f" (in {one['locale']})"
            heading = f"{one['asked_for']}{found} {one['purpose']} {one['channel']}: {one['cost']}"
            click.echo(f"--- {heading}\n{one['text']}\n")


def _application(settings: Settings, name: str | None) -> Application:
    """Return the application of a name, or the first, or one that is made up where none is configured."""
    if name is None:
        return next(iter(settings.named_applications.values()), SAMPLE_APPLICATION)
    return find_application(settings.named_applications, name)


def _purposes(settings: Settings, application: Application, name: str | None) -> list[Purpose]:
    known = sample_purposes(settings.named_purposes)
    wanted = [name] if name else sorted(application.purposes) or list(PurposeKind)
    if unknown := [one for one in wanted if one not in known]:
        raise ConfigurationError(f"There is no purpose {unknown[0]!r}; there are: {', '.join(known)}.")
    return [known[one] for one in wanted]


def _previews(templates: MessageTemplates, contents: Iterable[MessageContent]) -> Iterator[dict[str, str]]:
    for content in contents:
        payment = ORDINARY_PAYMENT if content.purpose.kind is PurposeKind.TRANSACTION else None
        message = render_message(templates, replace(content, transaction=payment))
        yield {
            "asked_for": content.locale,
            "locale": message.locale,
            "purpose": content.purpose.name,
            "channel": content.channel,
            "cost": _cost(content, message.text),
            "text": message.text,
        }


def _cost(content: MessageContent, text: str) -> str:
    if not content.channel.traits.in_segments:
        return f"{len(text)} characters"
    cost = f"{encoding_of(text).label}, {units(text)} units, {out.count_of(len(segments(text)), 'segment')}"
    long = content.application.app_hash and octets(text) > MAX_OCTETS
    return f"{cost}, {octets(text)} bytes: too long for the SMS Retriever" if long else cost
