"""Record, withdraw, lift, import and read consents and suppressions."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice

from otp_service.clock import now
from otp_service.domain.applications import Application
from otp_service.domain.audit import OperatorAction, OperatorActionEntry
from otp_service.domain.consents import (
    BLOCKING_SCOPES,
    EVERY_APPLICATION,
    MAX_REASON,
    Consent,
    ConsentEvidence,
    ConsentMode,
    Suppression,
)
from otp_service.domain.numbers import ANY_TYPE, Named, SubjectKey, may_hold_number, parse_destination
from otp_service.domain.totp import UserKey
from otp_service.domain.verification import Verification
from otp_service.errors import (
    ConsentNotKeptError,
    ForbiddenError,
    InvalidTimeError,
    OtpServiceError,
    StoreUnavailableError,
)
from otp_service.services.context import Context
from otp_service.telemetry.logging import get_logger

_log = get_logger(__name__)

_MAX_CLOCK_AHEAD = 300_000
"""Milliseconds by which a caller's clock may be ahead."""


def give_consent(
    context: Context, application: Application, to: SubjectKey, purpose: str, evidence: ConsentEvidence
) -> tuple[Consent, ...]:
    """Record a consent, in force on return; raises `ConsentOutdatedError` for a consent older than the last entry."""
    return _add(context, application, to, make_consent(application, to, purpose, evidence))


def make_consent(application: Application, to: SubjectKey, purpose: str, evidence: ConsentEvidence) -> Consent:
    """Return a valid consent; raises as `check_purpose` and `check_evidence` do."""
    check_purpose(application, purpose)
    check_evidence(application, evidence)
    return Consent(to.pseudonym, application.name, purpose, evidence)


def end_consent(
    context: Context,
    application: Application,
    to: SubjectKey,
    purpose: str,
    operator_action: OperatorActionEntry | None = None,
) -> tuple[Consent, ...]:
    """Record a withdrawal and the ``operator_action``; return all entries.

    Queued messages are blocked too on return. A withdrawal is recorded even without a known consent. It is newer than
    consents of starts that are not in the ledger yet, even where their clock was ahead.
    """
    check_purpose(application, purpose)
    last = 0
    with suppress(StoreUnavailableError):  # the withdrawal is recorded all the same; `_add` reports that it must wait
        recent = recent_verifications(context, to, application.name)
        last = max((record.consented for record in recent if record.purpose.name == purpose), default=0)
    withdrawal = Consent(to.pseudonym, application.name, purpose, None, stated_at=last)
    return _add(context, application, to, withdrawal, operator_action)


def read_consent(context: Context, application: Application, to: SubjectKey, purpose: str) -> tuple[Consent, ...]:
    """Return the entries of a number and a purpose, oldest first; raises as `check_purpose` does."""
    check_purpose(application, purpose)
    return context.ledger.consents.of(to.pseudonym, application.name, purpose)


def check_evidence(application: Application, evidence: ConsentEvidence) -> None:
    """Raise `ConsentNotKeptError` for an application without consents, `InvalidTimeError` for a future consent."""
    if application.consent is ConsentMode.OFF:
        raise ConsentNotKeptError("The application is configured not to record consents.")
    if evidence.agreed_at > now() + _MAX_CLOCK_AHEAD:
        raise InvalidTimeError("given_at is in the future.")


def _add(
    context: Context,
    application: Application,
    to: SubjectKey,
    entry: Consent,
    operator_action: OperatorActionEntry | None = None,
) -> tuple[Consent, ...]:
    _, place = context.ledger.consents.add(entry, operator_action)
    context.mirror_sync.write_through(place, [to.pseudonym])
    return read_consent(context, application, to, entry.purpose)


def check_purpose(application: Application, purpose: str) -> None:
    """Raise `ForbiddenError` for another application's purpose, `ConsentNotKeptError` without consents."""
    if purpose not in application.purposes:
        raise ForbiddenError("The application has no such purpose.")
    if application.consent is ConsentMode.OFF:
        raise ConsentNotKeptError("The application is configured not to record consents.")


def add_suppressions(
    context: Context, entries: Sequence[Suppression], operator_action: OperatorActionEntry | None = None
) -> int:
    """Record entries, also lifting ones, and bring them into force, also for queued messages; count the new ones.

    The ``operator_action`` is recorded with any new entry. Raises `LedgerUnavailableError` or `StoreUnavailableError`:
    the entries may be recorded, and are in force as soon as both answer; repeating the call does no harm.
    """
    if not entries:
        return 0
    new = add_silently(context, entries, operator_action)
    if len(entries) == new == 1:
        log_suppression(entries[0])
    return new


def add_silently(
    context: Context, entries: Sequence[Suppression], operator_action: OperatorActionEntry | None = None
) -> int:
    """As `add_suppressions`, without a line in the log."""
    added = context.ledger.suppressions.add(entries, operator_action)
    if blocking := [entry.pseudonym for entry in entries if entry.scope in BLOCKING_SCOPES]:
        context.mirror_sync.write_through(added.place, blocking)  # an entry that is not new may not be in force yet
    return added.new


def is_reason(text: str) -> bool:
    """Tell whether a text may be stored as a reason: short, printable and without a phone number."""
    return len(text) <= MAX_REASON and text.isprintable() and not may_hold_number(text)


def log_suppression(entry: Suppression) -> None:
    event = "suppression_lifted" if entry.lifted else "suppressed"
    _log.info(event, application=entry.application, scope=entry.scope, source=entry.source)


def lift(
    context: Context,
    entry: Suppression,
    operator_action: OperatorActionEntry | None = None,
    shown: Consent | None = None,
) -> bool:
    """Lift an active suppression; return whether it was active. Records and raises as `add_suppressions`.

    A holder's own opt-out is lifted by an application only with a newer consent, ``shown`` and recorded in any case;
    else raises `ConsentRequiredError` or `ConsentOutdatedError`.
    """
    lifted, added = context.ledger.suppressions.lift(entry, shown, operator_action)
    if added.new or lifted:
        context.mirror_sync.write_through(added.place, [entry.pseudonym])
    if lifted:
        log_suppression(entry)
    return lifted


def recent_verifications(context: Context, to: Named, application: str | None) -> tuple[Verification, ...]:
    """Return the last verifications in Redis of a number, or, but on a cluster, of a user; ``None`` for all."""
    verifications, bucket_of_id = context.store.verifications, context.keyring.bucket_of_id
    if isinstance(to, UserKey):
        recent = verifications.recent_of_user(to)
    else:
        recent = tuple(entry.id for entry in context.store.history.recent(to.bucket, to.pseudonym))
    records = (verifications.read(bucket_of_id(name, retired=True) or to.bucket, name) for name in recent)
    return tuple(record for record in records if record and (application is None or record.application == application))


BATCH_SIZE = 2000
"""Numbers of one transaction: a larger one keeps others waiting."""
_MAX_LISTED_LINES = 20


@dataclass(slots=True)
class ImportProgress:
    """The progress of an import."""

    numbers: int = 0
    new: int = 0
    """Numbers with new entries."""
    unreadable: int = 0
    lines: list[int] = field(default_factory=list)
    """The first unreadable lines, from 1. Their text is not shown: it may be a misspelt number."""


def import_suppressions(
    context: Context, lines: Iterable[str], entry: Suppression, region: str | None, by: str
) -> Iterator[ImportProgress]:
    """Suppress the numbers of a list, one a line; yield the progress after each batch, which is done then.

    Text after ``#`` or the first comma or semicolon is skipped. ``entry`` is the entry of each number, without its
    pseudonym; numbers in national spelling are of the ``region``. A list with any new entry is one action of ``by``.
    """
    done = ImportProgress()
    application = "" if entry.application == EVERY_APPLICATION else entry.application
    operator_action = OperatorActionEntry(OperatorAction.SUPPRESSIONS_IMPORTED, by, application, entry.scope)
    pseudonyms = _pseudonyms(context, lines, region, done)
    while batch := list(islice(pseudonyms, BATCH_SIZE)):
        entries = [replace(entry, pseudonym=pseudonym) for pseudonym in batch]
        done.new += add_suppressions(context, entries, None if done.new else operator_action)
        done.numbers += len(batch)
        yield done
    yield done


def _pseudonyms(context: Context, lines: Iterable[str], region: str | None, done: ImportProgress) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        spelling = line.partition("#")[0].replace(";", ",").partition(",")[0].strip().strip('"')
        if not spelling:
            continue
        try:
            destination = parse_destination(spelling, region, ANY_TYPE)
        except OtpServiceError:
            done.unreadable += 1
            if len(done.lines) < _MAX_LISTED_LINES:
                done.lines.append(number)
        else:
            yield context.keyring.pseudonym(destination.e164)
