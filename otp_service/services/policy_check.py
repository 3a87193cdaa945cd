"""Ask the policies whether a message may go out, before its first call through a channel."""

import logging
from dataclasses import dataclass

from otp_service.domain.keyring import SealBrokenError
from otp_service.domain.verification import Channel, DeliveryStatus, Status, Verification
from otp_service.policies.base import ConfiguredPolicy, Question, Ruling, Verdict
from otp_service.services.call_outcomes import sanitize_reason
from otp_service.services.context import Context
from otp_service.services.record_secrets import unseal_destination
from otp_service.services.verifications import next_channel
from otp_service.store.mirror import MirrorQuery
from otp_service.store.outbox import Job
from otp_service.telemetry import metrics
from otp_service.telemetry.logging import get_logger

_log = get_logger(__name__)
_TAKEN = frozenset({DeliveryStatus.SENT, DeliveryStatus.DELIVERED})


@dataclass(frozen=True, slots=True)
class PolicyRefusal:
    """Why policies do not let a message out, and where it may go instead."""

    reason: str
    """Why: ``policy NAME``, or ``no_verdict NAME`` where it is denied because that policy did not know."""
    channel: str | None
    """By which it may go on; ``None`` when it is to be given up."""
    slot: str
    """Where the record shows it as waiting; empty when it does not."""


def ask_policies(context: Context, job: Job, permission: MirrorQuery) -> PolicyRefusal | None:
    """Return why policies refuse a message; ``None`` when it may go, or is not wanted any more.

    Policies learn the number, so they are not asked where its holder wants no messages; the dispatch refuses that. They
    are asked once for a message and a channel.
    """
    concerned = context.policies.applicable(job.application, job.purpose, job.channel)
    passing = (job.id, job.message, job.channel)
    if not concerned or context.policies.has_passed(passing):
        return None
    verification = context.store.verifications.read(job.bucket, job.id)
    if verification is None or not _needs_asking(verification, job):
        return None
    if not context.store.dispatches.is_allowed(job, permission):
        return None
    try:
        number = unseal_destination(context.keyring, verification)
    except SealBrokenError:  # no message can be composed either, and that is reported
        return None
    question = Question(
        number=number,
        country=verification.country,
        application=verification.application,
        purpose=verification.purpose.name,
        channel=job.channel,
        verification_id=verification.id,
    )
    stopped = _ask_in_turn(context, concerned, question, verification, job)
    if stopped is None:
        context.policies.remember(passing)
    return stopped


def _needs_asking(verification: Verification, job: Job) -> bool:
    """Tell whether a message is still wanted, and no gateway was called for it through this channel."""
    calls = [one for one in verification.deliveries if one.message == job.message and one.gateway]
    return (
        verification.status is Status.PENDING
        and verification.generation == job.generation
        and not any(one.channel == job.channel or one.status in _TAKEN for one in calls)
    )


def _ask_in_turn(
    context: Context, policies: tuple[ConfiguredPolicy, ...], question: Question, verification: Verification, job: Job
) -> PolicyRefusal | None:
    """Ask policies in turn: the first that denies decides; each may narrow the channels that are left."""
    slot = _waiting_slot(verification, job)
    channels, reason = frozenset(map(str, Channel)), ""
    for policy in policies:
        verdict = _ask_policy(policy, question, job)
        if not policy.is_enforced:
            continue
        if verdict.ruling is Ruling.DENY:
            return PolicyRefusal(_refusal_reason("policy", policy), None, slot)
        if verdict.ruling is Ruling.UNKNOWN and policy.denies_unknown:
            return PolicyRefusal(_refusal_reason("no_verdict", policy), None, slot)
        if verdict.ruling is Ruling.ANOTHER_CHANNEL:
            channels &= verdict.channels
            reason = reason or ("" if job.channel in verdict.channels else _refusal_reason("policy", policy))
    if job.channel in channels:
        return None
    further = next_channel(context, verification.purpose, verification.country, job.channel, among=channels)
    return PolicyRefusal(reason, further, slot)


def _refusal_reason(word: str, policy: ConfiguredPolicy) -> str:
    return sanitize_reason(f"{word} {policy.name}")


def _ask_policy(policy: ConfiguredPolicy, question: Question, job: Job) -> Verdict:
    verdict = policy.ask(question)
    metrics.policy_verdicts.count(policy=policy.name, verdict=verdict.ruling)
    _log.log(
        logging.WARNING if verdict.ruling is Ruling.UNKNOWN else logging.INFO,
        "policy_asked",
        policy=policy.name,
        verdict=str(verdict.ruling),
        reason=sanitize_reason(verdict.reason),
        enforced=policy.is_enforced,
        channel=job.channel,
        verification=job.id,
        message=job.message,
    )
    return verdict


def _waiting_slot(verification: Verification, job: Job) -> str:
    waits = any(
        one.message == job.message and one.status is DeliveryStatus.QUEUED and not one.gateway
        for one in verification.deliveries
    )
    return job.first_slot if waits else ""
