"""What the script of a dispatch answers: which gateway is called now, or why none is."""

from dataclasses import dataclass
from typing import Any

from otp_service.domain.verification import Verification
from otp_service.store.jobs import Job
from otp_service.store.records import pairs, slot_of, verification_of

NEVER = -1
"""Instead of milliseconds: nobody will be free, all have been called."""


class Overtaken:
    """Another worker has the job by now."""


class Behind:
    """The mirror is behind the ledger: whether the message may go cannot be told now."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """The message is no longer wanted."""

    reason: str
    slot: str = ""
    """Where the record still shows it as waiting; empty when it does not."""
    rule: str = ""
    """The rule of the guard that refused it; empty when none did."""


@dataclass(frozen=True, slots=True)
class Blocked:
    """No gateway takes the message now."""

    wait: int
    """Milliseconds until one may; `NEVER` when all have been called already."""
    now: int
    """Milliseconds by Redis' clock."""
    verification: Verification


@dataclass(frozen=True, slots=True)
class Dispatched:
    """The call that is to be made now."""

    dispatch_id: str
    message: int
    number: int
    """Which call for this message it is, from 1."""
    gateway: str
    choice: str
    """Why this gateway: ``configured``, ``fail_over``, ``already_tried``, ``breaker`` …"""
    now: int
    """Milliseconds by Redis' clock."""
    verification: Verification

    @property
    def slot(self) -> str:
        """Where the record keeps its outcome."""
        return slot_of(self.message, self.number)


def choice_of(answer: list[Any], job: Job, dispatch_id: str) -> Dispatched | Blocked | Dropped | Overtaken | Behind:
    """Return what the script of a dispatch answered."""
    match answer:
        case [b"dispatched", now, number, gateway, choice, found]:
            return Dispatched(
                dispatch_id=dispatch_id,
                message=job.message,
                number=number,
                gateway=gateway.decode(),
                choice=choice.decode(),
                now=now,
                verification=verification_of(job.id, pairs(found), now),
            )
        case [b"blocked", now, wait, found]:
            return Blocked(wait, now, verification_of(job.id, pairs(found), now))
        case [b"overtaken"]:
            return Overtaken()
        case [b"behind"]:
            return Behind()
        case [b"dropped", reason, slot, rule]:
            return Dropped(reason.decode(), slot.decode(), rule.decode())
        case _:
            raise ValueError(f"unknown answer of dispatch.lua: {answer[:1]!r}")
