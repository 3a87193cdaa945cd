"""What people want and may ask for: consents, suppressions, freezes, export and erasure of what is held of a number."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from itertools import islice
from typing import Literal

from otp_service.domain.applications import Application
from otp_service.domain.audit import Event, OperatorAction, OperatorActionEntry
from otp_service.domain.consents import (
    BLOCKING_SCOPES,
    EVERY_APPLICATION,
    Consent,
    ConsentMode,
    Evidence,
    Suppression,
    SuppressionScope,
    SuppressionSource,
    active_freezes,
)
from otp_service.domain.numbers import NumberType, SubjectKey, parse_destination
from otp_service.domain.totp import UserKey
from otp_service.domain.verification import Status, Verification
from otp_service.errors import (
    ConsentNotKeptError,
    ForbiddenError,
    InvalidTimeError,
    OtpServiceError,
    StoreUnavailableError,
)
from otp_service.ledger.database import now
from otp_service.ledger.subjects import Erasure, SubjectData
from otp_service.ledger.traffic import RecordedVerification
from otp_service.services.context import Context
from otp_service.store.verifications import Canceled
from otp_service.telemetry.logging import get_logger

_log = get_logger(__name__)

_MEMBERS = tuple(one.name for one in fields(Evidence))
_MAX_CLOCK_AHEAD = 300_000
"""Milliseconds by which a caller's clock may be ahead of ours."""


@dataclass(frozen=True, slots=True)
class ConsentView:
    """What is recorded of a number and a purpose."""

    mask: str
    purpose: str
    entries: tuple[Consent, ...]
    """Oldest first."""

    @property
    def status(self) -> Literal["given", "withdrawn", "none"]:
        """Whether there is one in force."""
        if not self.entries:
            return "none"
        return "withdrawn" if self.entries[-1].withdrawn else "given"


def give_consent(
    context: Context, application: Application, to: SubjectKey, purpose: str, evidence: Evidence
) -> ConsentView:
    """Record a consent; it is in force when this returns.

    Raises `OtpServiceError`: `ConsentOutdatedError` where it was not given after the last word.
    """
    return _add(context, application, to, make_consent(application, to, purpose, evidence))


def make_consent(application: Application, to: SubjectKey, purpose: str, evidence: Evidence) -> Consent:
    """Return a consent that may be recorded; raises `OtpServiceError`."""
    check_purpose(application, purpose)
    check_evidence(application, evidence)
    return Consent(to.pseudonym, application.name, purpose, evidence)


def end_consent(context: Context, application: Application, to: SubjectKey, purpose: str) -> ConsentView:
    """Record that a consent is withdrawn; queued messages are kept back too when this returns.

    A withdrawal is recorded also where no consent is known: somebody said no. It is newer than consents, too, that came
    with starts, and are not in the ledger yet, by a clock that is ahead of ours. Raises `OtpServiceError`.
    """
    check_purpose(application, purpose)
    said = 0
    with suppress(StoreUnavailableError):  # then it is recorded all the same, and that is not in force yet is told
        started = (one for one in recent_verifications(context, to, application.name) if one.purpose.name == purpose)
        said = max((one.consented for one in started), default=0)
    return _add(context, application, to, Consent(to.pseudonym, application.name, purpose, None, said=said))


def read_consent(context: Context, application: Application, to: SubjectKey, purpose: str) -> ConsentView:
    """Return what is recorded of a number and a purpose; raises `OtpServiceError`."""
    check_purpose(application, purpose)
    entries = context.ledger.consents.of(to.pseudonym, application.name, purpose)
    return ConsentView(to.destination.mask, purpose, entries)


def check_evidence(application: Application, evidence: Evidence) -> None:
    """Raise `ConsentNotKeptError` where no consent is kept, `InvalidTimeError` for one from the future."""
    if application.consent is ConsentMode.OFF:
        raise ConsentNotKeptError("The application is set up to keep no consents.")
    if evidence.given > now() + _MAX_CLOCK_AHEAD:
        raise InvalidTimeError("given_at is in the future.")


def encode_evidence(evidence: Evidence | None) -> str:
    """Return a consent as JSON, for the event of a start; empty without one."""
    members = {name: getattr(evidence, name) for name in _MEMBERS} if evidence else None
    return json.dumps(members, ensure_ascii=False, separators=(",", ":")) if members else ""


def _add(context: Context, application: Application, to: SubjectKey, entry: Consent) -> ConsentView:
    _, place = context.ledger.consents.add(entry)
    context.mirror_sync.write_through(place)
    return read_consent(context, application, to, entry.purpose)


def check_purpose(application: Application, purpose: str) -> None:
    """Raise `ForbiddenError` for a purpose that is not the application's, `ConsentNotKeptError` where none is kept."""
    if purpose not in application.purposes:
        raise ForbiddenError("The application has no such purpose.")
    if application.consent is ConsentMode.OFF:
        raise ConsentNotKeptError("The application is set up to keep no consents.")


def add_suppressions(context: Context, entries: Sequence[Suppression], act: OperatorActionEntry | None = None) -> int:
    """Record entries, also such that lift, and bring them into force: queued messages are kept back too.

    Returns how many of them said anything new; if any does, an operator's ``act`` is recorded with them. Raises
    `LedgerUnavailableError` or `StoreUnavailableError`: they may be recorded, and are in force as soon as both answer;
    to say it again does no harm.
    """
    if not entries:
        return 0
    new = add_silently(context, entries, act)
    if len(entries) == new == 1:
        log_suppression(entries[0])
    return new


def add_silently(context: Context, entries: Sequence[Suppression], act: OperatorActionEntry | None = None) -> int:
    """Do what `add_suppressions` does, without a line in the log."""
    added = context.ledger.suppressions.add(entries, act)
    if any(one.scope in BLOCKING_SCOPES for one in entries):  # also what is not new may not be in force yet
        context.mirror_sync.write_through(added.place)
    return added.new


def log_suppression(entry: Suppression) -> None:
    """Log that an entry was recorded, without its number."""
    event = "suppression_lifted" if entry.lifted else "suppressed"
    _log.info(event, application=entry.application, scope=entry.scope, source=entry.source)


def lift(
    context: Context, entry: Suppression, act: OperatorActionEntry | None = None, shown: Consent | None = None
) -> bool:
    """Lift what an entry names, where it holds; return whether it did. Records and raises as `add_suppressions` does.

    What the holder of a number said, an application lifts only with a newer consent, which is ``shown`` and recorded in
    any case: raises `ConsentRequiredError` or `ConsentOutdatedError` else.
    """
    lifted, added = context.ledger.suppressions.lift(entry, shown, act)
    if added.new or lifted:
        context.mirror_sync.write_through(added.place)
    if lifted:
        log_suppression(entry)
    return lifted


def suppressions_of(context: Context, pseudonym: str, application: str | None = None) -> tuple[Suppression, ...]:
    """Return all entries of a number, oldest first: those of an application and of all, or of every one."""
    return context.ledger.suppressions.of(pseudonym, application)


_FREEZE_REASON = "frozen"
"""Why verifications are ended, as events tell it."""


@dataclass(frozen=True, slots=True)
class FreezeStatus:
    """What freezes a number now, and what a freeze ended."""

    entries: tuple[Suppression, ...]
    """What freezes it, oldest first; nothing when it is not frozen. For an application, its own and those for all."""
    ended: tuple[str, ...] = ()
    """Identifiers of the verifications that were pending, and were ended."""


def freeze(
    context: Context,
    to: SubjectKey | UserKey,
    application: str,
    source: SuppressionSource,
    reason: str = "",
    by: str | None = None,
) -> FreezeStatus:
    """Freeze a number for an application, or `EVERY_APPLICATION`, and end its pending verifications; or a user.

    Once this returns nothing starts, no message is handed to a gateway and no code is approved, also of a verification
    that is too old to be found here: a check looks whether its number is frozen. To freeze again ends again what is
    pending. ``by`` says which operator does it, for the ledger; ``None``: the application itself. Raises
    `LedgerUnavailableError` or `StoreUnavailableError`: it may be recorded, and is in force as soon as
    both answer.
    """
    entry = Suppression(to.pseudonym, application, SuppressionScope.FROZEN, source, reason)
    add_silently(context, (entry,), _freeze_action(OperatorAction.SUBJECT_FROZEN, by, application))
    ended = tuple(_end_pending(context, to, application))
    _log.info("subject_frozen", application=application, source=source, ended=len(ended))
    return FreezeStatus(_freezes_in_force(context, to, application), ended)


def unfreeze(
    context: Context, to: SubjectKey | UserKey, application: str, source: SuppressionSource, by: str | None = None
) -> tuple[FreezeStatus, bool]:
    """Lift a freeze of an application's, or that for all; return how the number stands, and whether there was one.

    What was started before that stays ended, however much it is: what of it is found here is ended first, and the
    mirror tells checks of the rest. Raises as `freeze` does.
    """
    entry = Suppression(to.pseudonym, application, SuppressionScope.FROZEN, source, lifted=True)
    if not context.ledger.suppressions.in_force(*entry.about):
        return FreezeStatus(_freezes_in_force(context, to, application)), False
    ended = tuple(_end_pending(context, to, application))
    add_silently(context, (entry,), _freeze_action(OperatorAction.SUBJECT_UNFROZEN, by, application))
    _log.info("subject_unfrozen", application=application, source=source, ended=len(ended))
    return FreezeStatus(_freezes_in_force(context, to, application), ended), True


def _freeze_action(act: OperatorAction, by: str | None, application: str) -> OperatorActionEntry | None:
    return None if by is None else OperatorActionEntry(act, by, "" if application == EVERY_APPLICATION else application)


def _freezes_in_force(context: Context, to: SubjectKey | UserKey, application: str) -> tuple[Suppression, ...]:
    """Return what freezes a number for an application; of every one where it is about all."""
    return active_freezes(
        suppressions_of(context, to.pseudonym, None if application == EVERY_APPLICATION else application)
    )


def _end_pending(context: Context, to: SubjectKey | UserKey, application: str) -> Iterator[str]:
    """End the pending ones of a number's last verifications, of an application or of all; yield which they were."""
    verifications = context.store.verifications
    for one in context.store.history.recent(to.bucket, to.pseudonym):
        found = verifications.read(to.bucket, one.id)
        if not found or found.status is not Status.PENDING or application not in {found.application, EVERY_APPLICATION}:
            continue
        if isinstance(verifications.cancel(to.bucket, found.id, found.application, reason=_FREEZE_REASON), Canceled):
            yield found.id


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
    list was imported is suppressed again by importing it again. A list that says anything new is one act. Raises
    `LedgerUnavailableError` or `StoreUnavailableError`: what was told until then is done.
    """
    done = ImportProgress()
    whose = "" if origin.application == EVERY_APPLICATION else origin.application
    act = OperatorActionEntry(OperatorAction.SUPPRESSIONS_IMPORTED, origin.by, whose, origin.scope)
    pseudonyms = _pseudonyms(context, enumerate(lines, 1), origin, done)
    while some := list(islice(pseudonyms, BATCH_SIZE)):
        done.new += add_suppressions(
            context, [_entry(pseudonym, origin) for pseudonym in some], None if done.new else act
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
            destination = parse_destination(spelling, origin.region, tuple(NumberType))
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


def record_events(context: Context, events: Sequence[Event]) -> None:
    """Record what happened, all or nothing; to do it twice does no harm.

    Raises `LedgerUnavailableError`, and `StoreUnavailableError` when it is recorded and not in force yet.
    """
    recorded = context.ledger.traffic.record(events)
    for one in recorded.opt_outs:
        log_suppression(one)
    if recorded.place is not None:
        context.mirror_sync.write_through(recorded.place)


@dataclass(frozen=True, slots=True)
class SubjectExport:
    """What is held of a number, within one application or all."""

    mask: str
    """Of a number; empty for a user."""
    holding: SubjectData
    """In the ledger, for as long as the configuration says."""
    recent: tuple[Verification, ...]
    """Verifications whose records are in Redis, until some minutes after their codes; the newest first."""


def export(context: Context, to: SubjectKey | UserKey, application: str | None) -> SubjectExport:
    """Return what is held of a number or user, within an application, ``None`` for all; raises `OtpServiceError`."""
    holding = context.ledger.subjects.export(to.pseudonym, application)
    mask = to.destination.mask if isinstance(to, SubjectKey) else ""
    return SubjectExport(mask, holding, recent_verifications(context, to, application))


def split_by_application(found: SubjectExport) -> Mapping[str, SubjectExport]:
    """Return an export of all applications as one of each of them, by name; what is of all of them is under ``*``."""
    held = found.holding
    rows: tuple[RecordedVerification | Consent | Suppression | Verification, ...] = (
        *held.verifications,
        *held.consents,
        *held.suppressions,
        *found.recent,
    )
    names = {one.application for one in rows} | {one["application"] for one in (*held.inbound, *held.erasures)}
    return {name: _part(found, name) for name in sorted(names)}


def _part(found: SubjectExport, name: str) -> SubjectExport:
    held = found.holding
    return SubjectExport(
        found.mask,
        SubjectData(
            verifications=tuple(one for one in held.verifications if one.application == name),
            consents=tuple(one for one in held.consents if one.application == name),
            suppressions=tuple(one for one in held.suppressions if one.application == name),
            inbound=tuple(one for one in held.inbound if one["application"] == name),
            erasures=tuple(one for one in held.erasures if one["application"] == name),
            webhooks=tuple(one for one in held.webhooks if one["application"] == name),
        ),
        tuple(one for one in found.recent if one.application == name),
    )


def erase(
    context: Context, to: SubjectKey | UserKey, application: str | None, act: OperatorActionEntry | None = None
) -> Erasure:
    """Erase what is not needed to settle disputes, and record an operator's ``act``; raises `OtpServiceError`.

    No budget, lock or suppression is touched: otherwise an erasure would buy new guesses. Consents that wait in Redis
    are recorded, without what is erased. What else is there ends by itself: records some minutes after their codes,
    the event stream after ``streams.retention_days``.
    """
    done = context.ledger.subjects.erase(to.pseudonym, application, act)
    context.mirror_sync.write_through(done.place)
    for taken in context.store.events.consents(to.bucket, to.pseudonym):
        if application in {None, taken.events[0].member("application")}:
            record_events(context, taken.events)
            context.store.events.acknowledge(taken)
    _log.info("subject_erased", erasure=done.id, application=application or "*")
    return done


def recent_verifications(
    context: Context, to: SubjectKey | UserKey, application: str | None
) -> tuple[Verification, ...]:
    """Return the last verifications of a number that are in Redis, within an application, ``None`` for all."""
    recent = context.store.history.recent(to.bucket, to.pseudonym)
    records = (context.store.verifications.read(to.bucket, one.id) for one in recent)
    return tuple(one for one in records if one and (application is None or one.application == application))
