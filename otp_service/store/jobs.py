"""Jobs: one message to deliver each, as it waits in the outbox. They hold nothing personal."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from otp_service.store.records import VERSION, slot_of
from otp_service.store.scripts import Argument

GROUP = "workers"
"""The consumer group of all lanes."""


@dataclass(frozen=True, slots=True)
class Job:
    """One message to deliver, as it was queued. The record that it names has the sealed number."""

    bucket: str
    """The number's; it chooses the outbox."""
    lane: str
    """Key of the lane that it was taken from."""
    entry: str
    """Its place in the lane."""
    consumer: str
    """Who took it."""
    id: str
    """The verification's."""
    application: str
    purpose: str
    country: str
    channel: str
    message: int
    """Number of the message within the verification, from 1."""
    generation: int
    expires: int
    """Milliseconds by Redis' clock."""
    fields: tuple[Argument, ...]
    """Everything as it was queued, for another try: name and value in turn."""
    trace: str = ""
    """The ``traceparent`` of the call that queued it; empty without traces."""
    queued: int = 0
    """When its message was accepted: milliseconds by Redis' clock."""
    called: frozenset[str] = frozenset()
    """The gateways that were called since it was taken."""

    @property
    def order(self) -> tuple[int, ...]:
        """By what it comes before others of its lane: when it was queued, and its place in the lane."""
        return (self.queued, *map(int, self.entry.split("-")))

    @property
    def first_slot(self) -> str:
        """Where the record shows the message while it waits for its first dispatch."""
        return slot_of(self.message, 1)

    def through(self, channel: str) -> "Job":
        """Return the job as it goes on through another channel."""
        names = iter(self.fields)
        fields = {str(name): value for name, value in zip(names, names, strict=True)} | {"channel": channel}
        return replace(self, channel=channel, fields=tuple(part for pair in fields.items() for part in pair))


def job_of(bucket: str, lane: str, entry: str, consumer: str, fields: Mapping[str, str]) -> Job:
    """Return a job of this release's format; raise `KeyError` or `ValueError` for any other."""
    if fields["v"] != VERSION:
        raise ValueError(f"a job of format {fields['v']}")
    return Job(
        bucket=bucket,
        lane=lane,
        entry=entry,
        consumer=consumer,
        id=fields["id"],
        application=fields["application"],
        purpose=fields["purpose"],
        country=fields["country"],
        channel=fields["channel"],
        message=int(fields["message"]),
        generation=int(fields["generation"]),
        expires=int(fields["expires"]),
        fields=tuple(part for pair in fields.items() for part in pair),
        trace=fields.get("trace", ""),
        queued=int(fields["queued"]),
    )


def unreadable_job(bucket: str, lane: str, entry: str, consumer: str, fields: Mapping[bytes, bytes]) -> Job:
    """Return an entry that is not a job of this release's format, with nothing known of it but its fields."""
    parts = tuple(part for pair in fields.items() for part in pair)
    return Job(bucket, lane, entry, consumer, "", "", "", "", "", 0, 0, 0, parts)
