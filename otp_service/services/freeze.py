"""Freeze a number because fraud was reported: nothing goes out and no code is approved, until somebody lifts that."""

from collections.abc import Iterator
from dataclasses import dataclass

from otp_service.domain.numbers import Named
from otp_service.domain.people import (
    EVERY_APPLICATION,
    Act,
    ActEntry,
    Suppression,
    SuppressionScope,
    SuppressionSource,
    freezes,
)
from otp_service.domain.verification import Status
from otp_service.services.context import Context
from otp_service.services.suppressions import enforce, entries_of
from otp_service.store.verifications import Canceled
from otp_service.telemetry.logging import get_logger

_log = get_logger(__name__)

_REASON = "frozen"
"""Why verifications are ended, as events tell it."""


@dataclass(frozen=True, slots=True)
class FreezeStanding:
    """How a number stands after it was frozen, or after that was lifted."""

    entries: tuple[Suppression, ...]
    """What freezes it, oldest first; nothing when it is not frozen. For an application, its own and those for all."""
    ended: tuple[str, ...] = ()
    """Identifiers of the verifications that were pending, and were ended."""


def freeze(
    context: Context,
    to: Named,
    application: str,
    source: SuppressionSource,
    reason: str = "",
    by: str | None = None,
) -> FreezeStanding:
    """Freeze a number for an application, or `EVERY_APPLICATION`, and end its pending verifications.

    Once this returns nothing starts, no message is handed to a gateway and no code is approved, also of a verification
    that is too old to be found here: a check looks whether its number is frozen. To freeze again ends again what is
    pending. ``by`` says which operator does it, for the ledger; ``None``: the application itself. Raises
    `LedgerUnavailableError` or `StoreUnavailableError`: it may be recorded, and is in force as soon as
    both answer.
    """
    entry = Suppression(to.pseudonym, application, SuppressionScope.FROZEN, source, reason)
    enforce(context, (entry,), _act(Act.SUBJECT_FROZEN, by, application))
    ended = tuple(_end_pending(context, to, application))
    _log.info("subject_frozen", application=application, source=source, ended=len(ended))
    return FreezeStanding(_in_force(context, to, application), ended)


def unfreeze(
    context: Context, to: Named, application: str, source: SuppressionSource, by: str | None = None
) -> tuple[FreezeStanding, bool]:
    """Lift a freeze of an application's, or that for all; return how the number stands, and whether there was one.

    What was started before that stays ended, however much it is: what of it is found here is ended first, and the
    mirror tells checks of the rest. Raises as `freeze` does.
    """
    entry = Suppression(to.pseudonym, application, SuppressionScope.FROZEN, source, lifted=True)
    if not context.ledger.suppressions.in_force(*entry.about):
        return FreezeStanding(_in_force(context, to, application)), False
    ended = tuple(_end_pending(context, to, application))
    enforce(context, (entry,), _act(Act.SUBJECT_UNFROZEN, by, application))
    _log.info("subject_unfrozen", application=application, source=source, ended=len(ended))
    return FreezeStanding(_in_force(context, to, application), ended), True


def _act(act: Act, by: str | None, application: str) -> ActEntry | None:
    return None if by is None else ActEntry(act, by, "" if application == EVERY_APPLICATION else application)


def _in_force(context: Context, to: Named, application: str) -> tuple[Suppression, ...]:
    """Return what freezes a number for an application; of every one where it is about all."""
    return freezes(entries_of(context, to.pseudonym, None if application == EVERY_APPLICATION else application))


def _end_pending(context: Context, to: Named, application: str) -> Iterator[str]:
    """End the pending ones of a number's last verifications, of an application or of all; yield which they were."""
    verifications = context.store.verifications
    for one in context.store.history.recent(to.bucket, to.pseudonym):
        found = verifications.read(to.bucket, one.id)
        if not found or found.status is not Status.PENDING or application not in {found.application, EVERY_APPLICATION}:
            continue
        if isinstance(verifications.cancel(to.bucket, found.id, found.application, reason=_REASON), Canceled):
            yield found.id
