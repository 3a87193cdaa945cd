"""Record events of the store in the ledger."""

from collections.abc import Sequence

from otp_service.domain.events import Event
from otp_service.services.context import Context
from otp_service.services.suppressions import log_suppression


def record_events(context: Context, events: Sequence[Event]) -> None:
    """Record what happened, all or nothing; to do it twice does no harm.

    Raises `LedgerUnavailableError`, and `StoreUnavailableError` when it is recorded and not in force yet.
    """
    recorded = context.ledger.traffic.record(events)
    for one in recorded.opt_outs:
        log_suppression(one)
    if recorded.place is not None:
        context.mirror_sync.write_through(recorded.place)
