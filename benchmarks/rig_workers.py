"""Workers of a rig, and what they have in hand when something strikes them."""

import os
import re
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

import redis
from accounts import Slot
from processes import thread_states

from otp_service.store import keys
from otp_service.store.outbox import CONSUMER_GROUP
from otp_service.store.streams import entry_values
from otp_service.store.verifications import delivery_slot

BUCKET = "00"
_STARTED = re.compile(r'"worker": ?"([^"]+)"')
_ON_ITS_WAY = 0.05
"""Seconds after which Redis has done what a process asked for that does nothing more."""


@dataclass(eq=False)
class Worker:
    """A worker process, and its log."""

    process: BaseProcess
    log: Path

    @property
    def pid(self) -> int:
        """Its process."""
        return self.process.pid or 0

    @property
    def name(self) -> str:
        """Its name as a consumer; empty until it works."""
        found = _STARTED.search(self.log.read_text()) if self.log.exists() else None
        return found[1] if found else ""

    def kill(self) -> None:
        """End it with -9."""
        self.process.kill()
        self.process.join()

    def freeze(self) -> None:
        """Stop it where it stands."""
        os.kill(self.pid, signal.SIGSTOP)
        while set(thread_states(self.pid)) != {"T"}:
            time.sleep(0.001)

    def thaw(self) -> None:
        """Let it go on, if it has not ended meanwhile."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGCONT)

    def end(self) -> None:
        """Let it finish what it has in hand, and wait until it is gone."""
        self.process.join(15)
        self.kill()


@dataclass(frozen=True)
class Hand:
    """What a worker that does nothing any more has in hand."""

    messages: int
    open: tuple[Slot, ...]
    """The dispatches whose outcome it has not recorded: it was, or was about to be, calling a gateway."""

    @classmethod
    def of(cls, worker: Worker, client: redis.Redis) -> "Hand":
        """Look into Redis."""
        time.sleep(_ON_ITS_WAY)
        messages = _held(worker, client)
        return cls(len(messages), tuple(slot for one in messages if (slot := _open_dispatch(client, *one))))


def is_empty_handed(worker: Worker, client: redis.Redis) -> bool:
    """Tell whether a worker has nothing, or has it no longer: others took it over."""
    return not _held(worker, client)


def slot_of_dispatch(client: redis.Redis, dispatch: str) -> Slot:
    """Return the verification of a dispatch, its message and its number, as the store has them."""
    record, slot = client.hmget(keys.dispatch(BUCKET, dispatch), "record", "slot")
    if record is None or slot is None:
        raise SystemExit("A gateway was called with a dispatch that the store does not know.")
    message, number = slot.decode().removeprefix("d").split(".")
    return record.decode().rpartition(":")[2], int(message), int(number)


def queues(client: redis.Redis) -> list[str]:
    """Return the keys of the queues."""
    return [queue.decode() for queue in client.hkeys(keys.queues(BUCKET))]


def _held(worker: Worker, client: redis.Redis) -> list[tuple[str, int]]:
    """Return the messages that a worker has in hand: verification and number."""
    found = []
    for queue in queues(client):
        for one in client.xpending_range(queue, CONSUMER_GROUP, "-", "+", 10_000, consumername=worker.name):
            found += [entry_values(fields) for _, fields in client.xrange(queue, one["message_id"], one["message_id"])]
    return [(fields["id"], int(fields["message"])) for fields in found]


def _open_dispatch(client: redis.Redis, verification: str, message: int) -> Slot | None:
    """Return the last dispatch of a message, if a gateway was chosen for it and its outcome is not known yet."""
    record = keys.record(BUCKET, verification)
    number = int(client.hget(record, f"n{message}") or 0)
    _, gateway, status, *_ = (client.hget(record, delivery_slot(message, number)) or b"||").decode().split("|")
    return (verification, message, number) if gateway and status == "queued" else None
