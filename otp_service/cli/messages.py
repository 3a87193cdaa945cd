"""otp-service messages: check and preview the texts of messages."""

from itertools import product

import click

from otp_service.cli import output as out
from otp_service.cli.common import CHANNELS, Session, application_option, command, find_application
from otp_service.domain.messages import MessageContent, render_message
from otp_service.domain.segments import MAX_OCTETS, encoding_of, octets, segments, units
from otp_service.domain.verification import Channel, PurposeKind
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
    """Check and preview the texts of messages."""


@command(messages, "Check the length and cost of all texts.")
def check(session: Session) -> None:
    """Check the length and cost of every text in every language, with the longest values.

    Uses the brand, origin and app hash of each application too.
    """
    measured = checked_messages(session.unchecked_settings)
    out.table("texts", ("Text", "Encoding", "Ordinary", "Longest", "Segments", "Budget"), map(_row, measured))
    out.in_json(notes=(notes := list(cost_notes(measured))))
    for line in notes:
        out.note(f"Note: {line}")
    out.done(f"{len(measured)} texts are within their budgets.")


def checked_messages(settings: Settings) -> list[MeasuredText]:
    """Return the length of all texts; raise `ConfigurationError` with a line for each fault."""
    templates = read_templates(settings)
    measured = list(measure_texts(templates, settings.named_purposes, settings.named_applications.values()))
    if faults := [*alphabet_faults(templates), *cost_faults(measured)]:
        raise ConfigurationError("\n".join(faults))
    return measured


def _row(text: MeasuredText) -> out.Row:
    lengths = (units(text.ordinary), units(text.longest))
    if not text.channel.traits.in_segments:
        return (text.where, None, *lengths, None, None)
    count = f"{len(segments(text.ordinary))}-{len(segments(text.longest))}"
    return (text.where, encoding_of(text.longest).label, *lengths, count, text.texts.segments)


@command(messages, "List the templates and their approvals.")
def templates(session: Session) -> None:
    """List the templates of text messages with their digests, and the countries that approved them.

    A digest covers the whole text except the values: brand, code, amount and payee. An approval names the digest.
    """
    settings = session.unchecked_settings
    rows: list[out.Row] = []
    for language in read_templates(settings).languages.values():
        for (_, channel), reference in language.references.items():
            if channel.traits.is_regulated:
                approved = settings.sending_rules.approved_in(reference)
                rows.append((reference.id, reference.version, reference.sha256, approved))
    out.table("templates", ("Template", "Version", "SHA256", "Approved in"), rows)


@command(messages, "Preview messages.")
@click.option("--locale", help="Language tag, such as ur-PK; default: all languages.")
@click.option("--purpose", "purpose_name", help="Purpose, or kind of purpose; default: all.")
@click.option("--channel", "channel_name", type=CHANNELS, help="Default: all.")
@application_option
def preview(
    session: Session, locale: str | None, purpose_name: str | None, channel_name: str | None, name: str | None
) -> None:
    """Preview messages with an example code, and show their cost."""
    settings = session.unchecked_settings
    templates = read_templates(settings)
    if name is None:
        application = next(iter(settings.named_applications.values()), SAMPLE_APPLICATION)
    else:
        application = find_application(settings.named_applications, name)
    known = sample_purposes(settings.named_purposes)
    names = [purpose_name] if purpose_name else sorted(application.purposes) or list(PurposeKind)
    if unknown := [purpose for purpose in names if purpose not in known]:
        raise ConfigurationError(f"The purpose {unknown[0]!r} does not exist; choose from: {', '.join(known)}.")
    locales = [locale] if locale else [language.tag for language in templates.languages.values()]
    channels = (
        [Channel(channel_name)] if channel_name else [channel for channel in Channel if channel.traits.shows_words]
    )
    previews = []
    for tag, purpose, channel in product(locales, map(known.__getitem__, names), channels):
        content = MessageContent(
            application, purpose, channel, tag, SAMPLE_CODE, min(purpose.ttl // 60, ORDINARY_MINUTES),
            transaction=ORDINARY_PAYMENT if purpose.kind is PurposeKind.TRANSACTION else None,
        )  # fmt: skip
        message = render_message(templates, content)
        text, cost = message.text, f"{len(message.text)} characters"
        if channel.traits.in_segments:
            count = out.count_of(len(segments(text)), "segment")
            cost = f"{encoding_of(text).label}, {units(text)} units, {count}"
            if application.app_hash and octets(text) > MAX_OCTETS:
                cost += f", {octets(text)} bytes: too long for the SMS Retriever"
        previews.append({
            "asked_for": tag, "locale": message.locale, "purpose": purpose.name, "channel": channel,
            "cost": cost, "text": text,
        })  # fmt: skip
    if not out.in_json(messages=previews):
        for preview in previews:
            used = "" if preview["locale"] == preview["asked_for"] else f" (in {preview['locale']})"
            heading = f"{preview['asked_for']}{used} {preview['purpose']} {preview['channel']}: {preview['cost']}"
            click.echo(f"--- {heading}\n{preview['text']}\n")
