"""Suppress numbers, one or a list; freeze them; lift either."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from otp_service.domain.consents import Consent
from otp_service.domain.numbers import NumberType, SubjectKey, parse_destination
from otp_service.domain.operator_actions import OperatorAction, OperatorActionEntry
from otp_service.domain.suppressions import (
    BLOCKING_SCOPES,
    EVERY_APPLICATION,
    Suppression,
    SuppressionScope,
    SuppressionSource,
    active_freezes,
)
from otp_service.domain.verification import Status
from otp_service.errors import OtpServiceError
from otp_service.services.context import Context
from otp_service.store.verifications import Canceled
from otp_service.telemetry.logging import get_logger

_log = get_logger(__name__)


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
    to: SubjectKey,
    application: str,
    source: SuppressionSource,
    reason: str = "",
    by: str | None = None,
) -> FreezeStatus:
    """Freeze a number for an application, or `EVERY_APPLICATION`, and end its pending verifications.

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
    context: Context, to: SubjectKey, application: str, source: SuppressionSource, by: str | None = None
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


def _freezes_in_force(context: Context, to: SubjectKey, application: str) -> tuple[Suppression, ...]:
    """Return what freezes a number for an application; of every one where it is about all."""
    return active_freezes(
        suppressions_of(context, to.pseudonym, None if application == EVERY_APPLICATION else application)
    )


def _end_pending(context: Context, to: SubjectKey, application: str) -> Iterator[str]:
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
