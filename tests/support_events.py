"""The event stream without a recorder that runs, tests say when it is recorded; and recorders that do run."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from otp_service.domain.tallies import tally, tally_blocks
from otp_service.services.context import Context
from otp_service.services.events import record_events as record
from otp_service.services.events import roll_back
from otp_service.store.events import EventBatch
from otp_service.worker.recorder import Recorder


def events_of(context: Context) -> list[EventBatch]:
    """Return what happened since this was asked last."""
    return context.store.events.take("recorder", 1000)


def record_events(context: Context) -> None:
    """Give back and record all events; those that could not be recorded are there again the next time."""
    events = context.store.events
    for batch in (*events.claim("recorder", 1000, 0), *events_of(context)):
        roll_back(context, batch)
        record(context, batch.events)
        context.store.traffic.add(batch.bucket, tally(batch.events), tally_blocks(batch.events))
        events.acknowledge(batch)


@contextmanager
def recorders(context: Context) -> Iterator[Callable[..., Recorder]]:
    """Give what starts a recorder, which may claim at once what others left; all are stopped at the end."""
    running: list[Recorder] = []

    def start(*, claims: bool = False) -> Recorder:
        one = Recorder(context, f"recorder {len(running)}", 1.0, 0.2)
        if claims:
            one._idle = 0
        running.append(one)
        one.start()
        return one

    yield start
    for one in running:
        one.stop()
