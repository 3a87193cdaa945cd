"""What follows from events: approvals give back to the guard what messages were counted for; all are recorded."""

from collections import defaultdict
from collections.abc import Sequence

from otp_service.domain.audit import Event
from otp_service.domain.tallies import HUMAN_CHECK_ASKED
from otp_service.services.consents import log_suppression
from otp_service.services.context import Context
from otp_service.store.events import EventBatch
from otp_service.store.rulesets import NO_RULES, CompiledRuleset

APPROVED = "verification.approved"
MAX_AT_ONCE = 25
"""Approvals that one call of a script sees to: it holds up all others for about a millisecond."""


def roll_back(context: Context, batch: EventBatch) -> None:
    """Give back what approvals among some events say, once, however often they are seen.

    It has to be done before their records go (see `Verifications.roll_back`). Raises `StoreUnavailableError`, and
    `LedgerUnavailableError` where an application may be in the ledger only.
    """
    by_application: dict[str, list[tuple[str, bool]]] = defaultdict(list)
    for one in batch.events:
        if one.type == APPROVED and one.member("known"):
            by_application[one.member("application")].append((one.member("id"), one.member("known") == "1"))
    for application, approved in by_application.items():
        ruleset = _ruleset(context, application)
        for place in range(0, len(approved), MAX_AT_ONCE):
            some = dict(approved[place : place + MAX_AT_ONCE])
            context.store.verifications.roll_back(batch.bucket, application, some, ruleset)


def _ruleset(context: Context, application: str) -> CompiledRuleset:
    """Return the rules of an application; none where it was removed meanwhile."""
    return context.rulesets[application] if context.access_cache.find(application) else NO_RULES


def record_events(context: Context, events: Sequence[Event]) -> None:
    """Record events, all or nothing; to do it twice does no harm.

    Raises `LedgerUnavailableError`, and `StoreUnavailableError` when they are recorded and not in force yet.
    """
    kept = [one for one in events if one.type != HUMAN_CHECK_ASKED]
    recorded = context.ledger.verifications.record(kept)
    for one in recorded.opt_outs:
        log_suppression(one)
    if recorded.place is not None:
        context.mirror_sync.write_through(recorded.place)
