"""Dispatches: recorded before the call, settled after it, and what gateways report of them later."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import cast

import redis

from otp_service.domain.verification import Allowance, DeliveryStatus, Verification
from otp_service.store import keys
from otp_service.store.choices import Behind, Blocked, Dispatched, Dropped, Overtaken, choice_of
from otp_service.store.connection import answered
from otp_service.store.jobs import GROUP, Job
from otp_service.store.mirror import Permission
from otp_service.store.records import pairs, verification_of
from otp_service.store.retention import Retention
from otp_service.store.rulesets import NO_RULES, LoadedRuleset
from otp_service.store.scripts import Argument, ScriptRunner
from otp_service.store.windows import spend_keys


@dataclass(frozen=True, slots=True)
class Candidate:
    """A gateway of the route."""

    name: str
    allowance: Allowance
    called: bool
    """Whether it was called for this message since the job was taken."""


class Settled(StrEnum):
    """What settling a message has led to."""

    SETTLED = "settled"
    """What was asked for follows."""
    ARRIVED = "arrived"
    """A receipt said meanwhile that the gateway has the message, or decided what follows: nothing more is sent."""
    OVERTAKEN = "overtaken"
    """Another worker has the job by now: what follows is for that one to decide."""


class Next(StrEnum):
    """What follows for a job after a dispatch."""

    DONE = "done"
    NEXT = "next"
    RETRY = "retry"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Settlement:
    """What became of a dispatch, and what follows."""

    next: Next
    status: DeliveryStatus = DeliveryStatus.FAILED
    reason: str = ""
    reference: str = ""
    delay: int = 0
    """Milliseconds until a retry."""
    channel: str | None = None
    """Through which a retry goes on; ``None`` for the same."""
    cost: int = 0
    """What the call cost, in millionths."""
    opted_out: bool = False
    """Whether the number's holder told the provider to want no messages: the ledger learns it from the event."""
    template: str = ""
    """Of which template the message was made: id, version and digest, with blanks between."""


@dataclass(frozen=True, slots=True)
class Reported:
    """A receipt that was understood."""

    news: bool
    """Whether it changed anything: one that comes again, or too late, does not."""
    message: int
    dispatch: int
    now: int
    verification: Verification


class Dispatches:
    """The calls to gateways, in the records of their verifications."""

    def __init__(
        self,
        client: redis.Redis,
        scripts: ScriptRunner,
        retention: Retention,
        rulesets: Mapping[str, LoadedRuleset],
    ) -> None:
        self._client = client
        self._scripts = scripts
        self._kept = retention
        self._rulesets = rulesets

    def dispatch(
        self,
        job: Job,
        dispatch_id: str,
        route: Iterable[Candidate],
        permission: Permission,
        most_ambiguous: int,
    ) -> Dispatched | Blocked | Dropped | Overtaken | Behind:
        """Choose a gateway of the route, which must not be empty, and record that it is about to be called.

        The message is dropped once more than ``most_ambiguous`` of its dispatches may have been sent although they
        failed. What a worker that died left open is told as one of these.
        """
        candidates = tuple(route)
        ruleset = self._ruleset(job)
        answer = self._scripts.run(
            "dispatch",
            (
                keys.record(job.bucket, job.id),
                keys.dispatch(job.bucket, dispatch_id),
                job.lane,
                keys.decisions(job.bucket),
                keys.MIRROR,
                keys.events(job.bucket),
                keys.calls(job.bucket),
                *(key for one in candidates for key in (keys.health(one.name), keys.flights(one.name))),
                *spend_keys(ruleset.ruleset, job.application, job.country),
            ),
            (
                job.application,
                job.message,
                job.generation,
                job.channel,
                most_ambiguous,
                dispatch_id,
                GROUP,
                job.consumer,
                job.entry,
                self._kept.decisions,
                self._kept.milliseconds,
                *permission.of_further,
                keys.mirrored_numbers(job.bucket),
                *(part for one in candidates for part in _arguments(one)),
            ),
            ruleset,
        )
        return choice_of(answer, job, dispatch_id)

    def allowed(self, job: Job, permission: Permission) -> bool:
        """Tell whether a message may go, as far as the mirror of the ledger tells; `dispatch` looks again."""
        answer = self._scripts.run(
            "allowed",
            (keys.record(job.bucket, job.id), keys.MIRROR),
            (job.application, *permission.of_further, keys.mirrored_numbers(job.bucket)),
        )
        return bool(answer)

    def settle(self, job: Job, slot: str, settlement: Settlement, gateway: str = "") -> Settled:
        """Record the outcome; acknowledge and delete the job unless another dispatch follows.

        ``slot`` is where the record keeps it, empty for nowhere; ``gateway`` is the one that was called, empty for
        none: then nothing is done by whom the job was claimed from.
        """
        following = job.through(settlement.channel) if settlement.channel else job
        ruleset = self._ruleset(job)
        answer = self._scripts.run(
            "settle",
            (
                keys.record(job.bucket, job.id),
                job.lane,
                keys.delayed(job.bucket),
                keys.dead_letters(job.bucket),
                keys.events(job.bucket),
                keys.MIRROR,
                keys.calls(job.bucket),
                *spend_keys(ruleset.ruleset, job.application, job.country),
            ),
            (
                slot,
                settlement.status,
                settlement.reason,
                gateway,
                settlement.reference,
                settlement.next,
                GROUP,
                job.entry,
                job.consumer,
                settlement.delay,
                self._kept.events,
                self._kept.milliseconds,
                settlement.cost,
                int(settlement.opted_out),
                settlement.template,
                *following.fields,
            ),
            ruleset,
        )
        return Settled(answer[0].decode())

    def _ruleset(self, job: Job) -> LoadedRuleset:
        """Return the rules of a job's application; none when the configuration has lost it."""
        return self._rulesets.get(job.application, NO_RULES)

    def bury(self, job: Job, reason: str) -> None:
        """Give a job up that nothing can be recorded of."""
        self.settle(job, "", Settlement(Next.DEAD, reason=reason))

    def made(self, bucket: str, dispatch_id: str, gateway: str) -> bool:
        """Tell whether a dispatch of a gateway is known."""
        with answered():
            return self._client.hget(keys.dispatch(bucket, dispatch_id), "gateway") == gateway.encode()

    def pseudonym_of(self, bucket: str, dispatch_id: str) -> str | None:
        """Return whom a dispatch went to, as a pseudonym; ``None`` when it is not known (any more)."""
        with answered():
            record = cast("bytes | None", self._client.hget(keys.dispatch(bucket, dispatch_id), "record"))
            found = cast("bytes | None", self._client.hget(record.decode(), "pseudonym")) if record else None
        return found.decode() if found else None

    def report(  # noqa: PLR0913 - all of it comes with one report
        self,
        bucket: str,
        dispatch_id: str,
        gateway: str,
        status: DeliveryStatus,
        reason: str,
        raw_status: str,
        *,
        opted_out: bool = False,
        last_word: bool = False,
    ) -> Reported | None:
        """Record a gateway's report; ``None`` when no such dispatch of this gateway is known.

        After the ``last_word`` on a message nothing more is tried for it.
        """
        answer = self._scripts.run(
            "receipt",
            (keys.dispatch(bucket, dispatch_id), keys.events(bucket), keys.MIRROR),
            (gateway, status, reason, raw_status, int(opted_out), int(last_word)),
        )
        match answer:
            case [b"not-found"]:
                return None
            case [word, slot, now, verification_id, found]:
                message, _, dispatch = slot.decode().removeprefix("d").partition(".")
                verification = verification_of(verification_id.decode(), pairs(found), now)
                return Reported(word == b"recorded", int(message), int(dispatch), now, verification)
            case _:
                raise ValueError(f"unknown answer of receipt.lua: {answer[:1]!r}")


def _arguments(one: Candidate) -> tuple[Argument, ...]:
    allowance = one.allowance
    return (one.name, f"{allowance.per_second:g}", allowance.in_flight, allowance.lease, int(one.called))
