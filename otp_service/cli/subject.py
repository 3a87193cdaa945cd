"""otp-service subject: export, erasure, freeze."""

import click

from otp_service.cli import output as out
from otp_service.cli.common import (
    Session,
    checked_reason,
    command,
    number_or_application,
    options,
    phone_number,
    reason_option,
)
from otp_service.cli.doctor import warn_of_mirror
from otp_service.domain.audit import OperatorAction
from otp_service.domain.consents import SuppressionSource
from otp_service.domain.numbers import Destination
from otp_service.services import subjects
from otp_service.services.exports import export_document


@click.group()
def subject() -> None:
    """Export or erase a number's data, or freeze the number."""


@command(subject, "Export the data of NUMBER as JSON.", applications=True)
@phone_number
def export(session: Session, to: Destination) -> None:
    """Export the data of NUMBER as JSON, by application; * has the data common to all applications.

    The part of an application equals the answer of POST /v1/subjects/export.
    """
    out.print_json(export_document(session.context, session.subject_key(to), ()))


@command(subject, asks=True, applications=True)
@phone_number
def erase(session: Session, to: Destination) -> None:
    """Erase the data of NUMBER that no dispute needs.

    For all applications. Limits, locks and suppressions remain.
    """
    subject = session.subject_key(to)
    session.confirm(f"Erase the data of {to.mask} that no dispute needs?")
    did = subjects.erase(session.context, subject, None, session.action(OperatorAction.SUBJECT_ERASED))
    if out.in_json(to=to.mask, erased=did.erased, kept=did.kept, reason=did.reason):
        return
    erased = (
        f"addresses and words from {out.count_of(did.erased['consents'], 'consent')}",
        f"reasons of {out.count_of(did.erased['suppressions'], 'suppression')}",
        f"senders of {out.count_of(did.erased['inbound'], 'inbound message')}",
        f"reasons of {out.count_of(did.erased['looks'], 'look')}",
        f"reasons of {out.count_of(did.erased['second_person_requests'], 'request')} to two people",
    )
    kept = ", ".join(out.count_of(rows, name.removesuffix("s")) for name, rows in did.kept.items())
    out.done(f"Erased: {', '.join(erased)}.")
    out.note(f"Kept: {kept}. {did.reason}")


_application_options = options(
    click.option("--application", "name", help="For this application."),
    click.option("--all", "every", is_flag=True, help="For all applications."),
)


@command(subject, applications=True)
@_application_options
@reason_option
@phone_number
def freeze(session: Session, name: str | None, reason: str, to: Destination, *, every: bool) -> None:
    """Freeze NUMBER after a report of fraud.

    No verification can start, pending verifications are canceled, queued messages are not sent, and no code is
    approved. Only unfreeze ends a freeze: not START, not lifting a suppression, not erasure.
    """
    subject, why, source = session.subject_key(to), checked_reason(reason), SuppressionSource.OPERATOR
    application = _chosen_application(session, name, every=every)
    did = subjects.freeze(session.context, subject, application, source, why, session.operator)
    out.done(
        f"Frozen: verifications {number_or_application(application)} for {to.mask}.",
        to=to.mask, application=application, canceled=len(did.ended),
    )  # fmt: skip
    out.note(f"Canceled: {out.count_of(len(did.ended), 'pending verification')}.")
    warn_of_mirror(session.context)


@command(subject, applications=True)
@_application_options
@phone_number
def unfreeze(session: Session, name: str | None, to: Destination, *, every: bool) -> None:
    """Unfreeze NUMBER. Canceled verifications stay canceled."""
    subject, application = session.subject_key(to), _chosen_application(session, name, every=every)
    source, whose = SuppressionSource.OPERATOR, f"{number_or_application(application)} for {to.mask}"
    remaining, was_frozen = subjects.unfreeze(session.context, subject, application, source, session.operator)
    frozen = list(dict.fromkeys(entry.application for entry in remaining.entries))
    still = f" Still frozen: verifications {', '.join(map(number_or_application, frozen))}." if frozen else ""
    if not was_frozen:
        raise click.ClickException(f"Verifications {whose} are not frozen.{still}")
    out.done(
        f"Lifted: verifications {whose} may start again.{still}", to=to.mask, application=application, frozen=frozen
    )
    warn_of_mirror(session.context)


def _chosen_application(session: Session, name: str | None, *, every: bool) -> str:
    if every == (name is not None):
        raise click.UsageError("Use either --application NAME or --all.")
    return session.application_or_all(name)
