"""Jobs that nobody queued, for what only moves them about."""

import itertools

from otp_service.store.outbox import Job

_PLACES = itertools.count()


def job(name: str, *, queue: str = "queue", queued: int = 0, called: tuple[str, ...] = ()) -> Job:
    """Return a job of a queue; it is known by its name, and stands behind those that were made before it."""
    return Job(
        bucket="00",
        queue=queue,
        entry=f"{queued}-{next(_PLACES)}",
        consumer="worker",
        id=name,
        application="shop",
        purpose="login",
        country="PK",
        channel="sms",
        message=1,
        generation=0,
        expires=0,
        fields=(),
        queued=queued,
        called=frozenset(called),
    )


def names(jobs: list[Job]) -> list[str]:
    return [one.id for one in jobs]
