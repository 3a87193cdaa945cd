"""Consents and suppressions: given, withdrawn, lifted, imported, read."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice

from pydantic_core import to_json

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
    SuppressionScope,
    SuppressionSource,
)
from otp_service.domain.numbers import (
    ANY_TYPE,
    Named,
    SubjectKey,
    may_hold_number,
    parse_destination,
)
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
"""Milliseconds by which a caller's clock may be ahead of ours."""


def give_consent(
    context: Context, application: Application, to: SubjectKey, purpose: str, evidence: ConsentEvidence
) -> tuple[Consent, ...]:
    """Record a consent, in force when this returns; return the entries as `read_consent` does.

    Raises `OtpServiceError`: `ConsentOutdatedError` where it was not given after the last word.
    """
    return _add(context, application, to, make_consent(application, to, purpose, evidence))


def make_consent(application: Application, to: SubjectKey, purpose: str, evidence: ConsentEvidence) -> Consent:
    """Return a consent that may be recorded; raises `OtpServiceError`."""
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
    """Record a withdrawal and the ``operator_action``; return the entries as `read_consent` does.

    Queued messages are kept back too on return. A withdrawal is recorded even without a known consent: the person said
    no. It is newer also than consents that came with starts by a clock ahead of ours, and are not in the ledger yet.
    Raises `OtpServiceError`.
    """
    check_purpose(application, purpose)
    said = 0
    with suppress(StoreUnavailableError):  # then it is recorded all the same, and that is not in force yet is told
        started = (one for one in recent_verifications(context, to, application.name) if one.purpose.name == purpose)
        said = max((one.consented for one in started), default=0)
    return _add(
        context, application, to, Consent(to.pseudonym, application.name, purpose, None, said=said), operator_action
    )


def read_consent(context: Context, application: Application, to: SubjectKey, purpose: str) -> tuple[Consent, ...]:
    """Return the entries of a number and a purpose, oldest first; raises `OtpServiceError`."""
    check_purpose(application, purpose)
    return context.ledger.consents.of(to.pseudonym, application.name, purpose)


def check_evidence(application: Application, evidence: ConsentEvidence) -> None:
    """Raise `ConsentNotKeptError` where no consent is kept, `InvalidTimeError` for one from the future."""
    if application.consent is ConsentMode.OFF:
        raise ConsentNotKeptError("The application is set up to keep no consents.")
    if evidence.given > now() + _MAX_CLOCK_AHEAD:
        raise InvalidTimeError("given_at is in the future.")


def encode_evidence(evidence: ConsentEvidence | None) -> str:
    """Return a consent as JSON, for the event of a start; empty without one."""
    return to_json(evidence).decode() if evidence else ""


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
    """Raise `ForbiddenError` for a purpose that is not the application's, `ConsentNotKeptError` where none is kept."""
    if purpose not in application.purposes:
        raise ForbiddenError("The application has no such purpose.")
    if application.consent is ConsentMode.OFF:
        raise ConsentNotKeptError("The application is set up to keep no consents.")


def add_suppressions(
    context: Context, entries: Sequence[Suppression], operator_action: OperatorActionEntry | None = None
) -> int:
    """Record entries, also such that lift, and bring them into force: queued messages are kept back too.

    Returns how many of them are new; if any is, the ``operator_action`` is recorded with them. Raises
    `LedgerUnavailableError` or `StoreUnavailableError`: they may be recorded, and are in force as soon as both answer;
    to say it again does no harm.
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
    """Do what `add_suppressions` does, without a line in the log."""
    added = context.ledger.suppressions.add(entries, operator_action)
    if blocking := [entry.pseudonym for entry in entries if entry.scope in BLOCKING_SCOPES]:
        context.mirror_sync.write_through(added.place, blocking)  # an entry that is not new may not be in force yet
    return added.new


def is_reason(text: str) -> bool:
    """Tell whether a text may be kept as a reason: short, with nothing that is not shown, and no phone number."""
    return len(text) <= MAX_REASON and text.isprintable() and not may_hold_number(text)


def log_suppression(entry: Suppression) -> None:
    """Log that an entry was recorded, without its number."""
    event = "suppression_lifted" if entry.lifted else "suppressed"
    _log.info(event, application=entry.application, scope=entry.scope, source=entry.source)


def lift(
    context: Context,
    entry: Suppression,
    operator_action: OperatorActionEntry | None = None,
    shown: Consent | None = None,
) -> bool:
    """Lift what an entry names, where it holds; return whether it did. Records and raises as `add_suppressions` does.

    What the holder of a number said, an application lifts only with a newer consent, which is ``shown`` and recorded in
    any case: raises `ConsentRequiredError` or `ConsentOutdatedError` else.
    """
    lifted, added = context.ledger.suppressions.lift(entry, shown, operator_action)
    if added.new or lifted:
        context.mirror_sync.write_through(added.place, [entry.pseudonym])
    if lifted:
        log_suppression(entry)
    return lifted


def suppressions_of(context: Context, pseudonym: str, application: str | None = None) -> tuple[Suppression, ...]:
    """Return all entries of a number, oldest first: those of an application and of all, or of every one."""
    return context.ledger.suppressions.of(pseudonym, application)


def recent_verifications(context: Context, to: Named, application: str | None) -> tuple[Verification, ...]:
    """Return the last verifications that are in Redis of a number, or that name a user; ``None`` for all applications.

    On a cluster those that name a user are not known.
    """
    verifications, bucket_of_id = context.store.verifications, context.keyring.bucket_of_id
    if isinstance(to, UserKey):
        recent = verifications.recent_of_user(to)
    else:
        recent = tuple(entry.id for entry in context.store.history.recent(to.bucket, to.pseudonym))
    records = (verifications.read(bucket_of_id(name, retired=True) or to.bucket, name) for name in recent)
    return tuple(record for record in records if record and (application is None or record.application == application))


BATCH_SIZE = 2000
"""Numbers of one transaction: a larger one keeps others waiting."""
_MAX_LINES_NAMED = 20
"""The most unreadable lines that are listed."""


@dataclass(frozen=True, slots=True)
class ImportSource:
    """What all entries of a list have in common."""

    application: str
    scope: SuppressionScope
    reason: str
    until: int | None
    """Milliseconds since the epoch; ``None`` for ever."""
    region: str | None
    """Of numbers in national spelling."""
    by: str
    """Who imports it, as acts are recorded by."""


@dataclass(slots=True)
class ImportProgress:
    """How far an import has come."""

    numbers: int = 0
    new: int = 0
    """How many of them the list says anything new of."""
    unreadable: int = 0
    lines: list[int] = field(default_factory=list)
    """The first lines that hold no number, from 1. What they hold is not told: it may be one with a slip."""


def import_suppressions(context: Context, lines: Iterable[str], origin: ImportSource) -> Iterator[ImportProgress]:
    """Suppress the numbers of a list, one a line; yield how far it has come, again and again.

    Empty lines, and what follows ``#`` or the first comma or semicolon, are passed over. Who was let through since a
    list was imported is suppressed again by importing it again. A list with any new entry is one action. Raises
    `LedgerUnavailableError` or `StoreUnavailableError`: what was told until then is done.
    """
    done = ImportProgress()
    whose = "" if origin.application == EVERY_APPLICATION else origin.application
    operator_action = OperatorActionEntry(OperatorAction.SUPPRESSIONS_IMPORTED, origin.by, whose, origin.scope)
    pseudonyms = _pseudonyms(context, enumerate(lines, 1), origin, done)
    while some := list(islice(pseudonyms, BATCH_SIZE)):
        done.new += add_suppressions(
            context, [_entry(pseudonym, origin) for pseudonym in some], None if done.new else operator_action
        )
        done.numbers += len(some)
        yield done
    yield done


def _pseudonyms(
    context: Context, lines: Iterable[tuple[int, str]], origin: ImportSource, done: ImportProgress
) -> Iterator[str]:
    for number, line in lines:
        spelling = line.partition("#")[0].replace(";", ",").partition(",")[0].strip().strip('"')
        if not spelling:
            continue
        try:
            destination = parse_destination(spelling, origin.region, ANY_TYPE)
        except OtpServiceError:
            done.unreadable += 1
            if len(done.lines) < _MAX_LINES_NAMED:
                done.lines.append(number)
        else:
            yield context.keyring.pseudonym(destination.e164)


def _entry(pseudonym: str, origin: ImportSource) -> Suppression:
    return Suppression(
        pseudonym=pseudonym,
        application=origin.application,
        scope=origin.scope,
        source=SuppressionSource.IMPORT,
        reason=origin.reason,
        until=origin.until,
    )
