"""Keep messages back from numbers, and let them through again: recorded in the ledger, in force when this returns."""

from collections.abc import Sequence

from otp_service.domain.people import KEEPS_CODES_BACK, ActEntry, Consent, Suppression
from otp_service.services.context import Context
from otp_service.telemetry.logging import get_logger

_log = get_logger(__name__)


def suppress(context: Context, entries: Sequence[Suppression], act: ActEntry | None = None) -> int:
    """Record entries, also such that lift, and bring them into force: queued messages are kept back too.

    Returns how many of them said anything new; if any does, an operator's ``act`` is recorded with them. Raises
    `LedgerUnavailableError` or `StoreUnavailableError`: they may be recorded, and are in force as soon as both answer;
    to say it again does no harm.
    """
    if not entries:
        return 0
    new = enforce(context, entries, act)
    if len(entries) == new == 1:
        tell(entries[0])
    return new


def enforce(context: Context, entries: Sequence[Suppression], act: ActEntry | None = None) -> int:
    """Do what `suppress` does, and leave it to the caller to tell of it."""
    added = context.ledger.suppressions.add(entries, act)
    if any(one.scope in KEEPS_CODES_BACK for one in entries):  # also what is not new may not be in force yet
        context.reflection.write_through(added.place)
    return added.new


def tell(entry: Suppression) -> None:
    """Log that an entry was recorded, without whose number it is of."""
    event = "suppression_lifted" if entry.lifted else "suppressed"
    _log.info(event, application=entry.application, scope=entry.scope, source=entry.source)


def lift(context: Context, entry: Suppression, act: ActEntry | None = None, shown: Consent | None = None) -> bool:
    """Lift what an entry names, where it holds; return whether it did. Records and raises as `suppress` does.

    What the holder of a number said, an application lifts only with a newer consent, which is ``shown`` and recorded in
    any case: raises `ConsentRequiredError` or `ConsentOutdatedError` else.
    """
    lifted, added = context.ledger.suppressions.lift(entry, shown, act)
    if added.new or lifted:
        context.reflection.write_through(added.place)
    if lifted:
        tell(entry)
    return lifted


def entries_of(context: Context, pseudonym: str, application: str | None = None) -> tuple[Suppression, ...]:
    """Return all entries of a number, oldest first: those of an application and of all, or of every one."""
    return context.ledger.suppressions.of(pseudonym, application)
