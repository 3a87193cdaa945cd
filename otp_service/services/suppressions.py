"""Keep messages back from numbers, and let them through again: recorded in the ledger, in force when this returns."""

from collections.abc import Sequence

from otp_service.core.suppression import Suppression, SuppressionScope, last_of_each
from otp_service.ledger.clock import now
from otp_service.services.context import Context
from otp_service.telemetry.logging import get_logger

_log = get_logger(__name__)


def suppress(context: Context, entries: Sequence[Suppression]) -> None:
    """Record entries, also such that lift, and bring them into force: queued messages are kept back too.

    Raises `LedgerUnavailableError`: nothing is recorded; or `StoreUnavailableError`: it is recorded, and in force as
    soon as Redis answers.
    """
    if not entries:
        return
    last = context.ledger.suppressions.add(entries)
    effective = tuple(dict.fromkeys(one.pseudonym for one in entries if one.scope is SuppressionScope.ALL))
    first = last - len(entries) + 1
    if effective:
        context.reflection.write_through(effective, first, last)
    if len(entries) == 1:
        (one,) = entries
        event = "suppression_lifted" if one.lifted else "suppressed"
        _log.info(event, application=one.application, scope=one.scope, source=one.source)


def lift(context: Context, entry: Suppression) -> bool:
    """Lift what an entry names, where it holds; return whether it did. Raises as `suppress` does."""
    if not in_force(context, entry.pseudonym, entry.application, entry.scope):
        return False
    suppress(context, (entry,))
    return True


def entries_of(context: Context, pseudonym: str, application: str | None = None) -> tuple[Suppression, ...]:
    """Return all entries of a number, oldest first: those of an application and of all, or of every one."""
    return context.ledger.suppressions.of(pseudonym, application)


def in_force(context: Context, pseudonym: str, application: str, scope: SuppressionScope) -> Suppression | None:
    """Return what suppresses a number at exactly this application, in this scope; ``None`` when nothing does."""
    for entry in last_of_each(context.ledger.suppressions.of(pseudonym, application)):
        if entry.application == application and entry.scope is scope and entry.holds(now()):
            return entry
    return None
