"""The event stream without a recorder that runs: tests say when it is recorded."""

from otp_service.domain.tallies import tally, tally_blocks
from otp_service.services.consents import record_events as record
from otp_service.services.context import Context
from otp_service.store.events import EventBatch
from otp_service.worker.recorder import give_back


def events_of(context: Context) -> list[EventBatch]:
    """Return what happened since this was asked last."""
    return context.store.events.take("recorder", 1000)


def record_events(context: Context) -> None:
    """Give back and record what happened; what could not be recorded is there again the next time."""
    events = context.store.events
    for batch in (*events.claim("recorder", 1000, 0), *events_of(context)):
        give_back(context, batch)
        record(context, batch.events)
        context.store.traffic.add(tally(batch.events), tally_blocks(batch.events))
        events.acknowledge(batch)
