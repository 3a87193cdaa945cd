"""Processing of events: approvals roll back the guard's counts, and all events are recorded."""

from collections import defaultdict
from collections.abc import Sequence

from otp_service.domain.audit import Event
from otp_service.domain.tallies import HUMAN_CHECK_ASKED
from otp_service.services.consents import log_suppression
from otp_service.services.context import Context
from otp_service.store.events import EventBatch
from otp_service.store.rulesets import NO_RULES

APPROVED = "verification.approved"
MAX_AT_ONCE = 25
"""Approvals per script call, which blocks Redis for about a millisecond."""


def roll_back(context: Context, batch: EventBatch) -> None:
    """Roll back the guard's counts for the approvals among some events, once each, before their records expire."""
    by_application: dict[str, list[tuple[str, bool]]] = defaultdict(list)
    for event in batch.events:
        if event.type == APPROVED and event.member("known"):
            by_application[event.member("application")].append((event.member("id"), event.member("known") == "1"))
    for application, approved in by_application.items():
        is_known = context.access_cache.find(application) is not None  # it may have been removed meanwhile
        ruleset = context.rulesets[application] if is_known else NO_RULES
        for place in range(0, len(approved), MAX_AT_ONCE):
            part = dict(approved[place : place + MAX_AT_ONCE])
            context.store.verifications.roll_back(batch.bucket, application, part, ruleset)


def record_events(context: Context, events: Sequence[Event]) -> None:
    """Record events, all or none of them; a repetition changes nothing.

    After a `StoreUnavailableError` they are recorded, and not in force yet.
    """
    recorded = context.ledger.verifications.record([event for event in events if event.type != HUMAN_CHECK_ASKED])
    for opt_out in recorded.opt_outs:
        log_suppression(opt_out)
    if recorded.place is not None:
        context.mirror_sync.write_through(recorded.place, recorded.mirrored)
