"""What follows when a gateway did not take a message: the rules, without any I/O."""

import secrets
from collections import Counter
from dataclasses import dataclass

from otp_service.domain.verification import Allowance, Call, DeliveryStatus
from otp_service.gateways.base import Accepted, FailureKind, GatewayError
from otp_service.services.record_receipts import plain_reason
from otp_service.store.outbox import NEVER, Blocked, Job, Next, Settlement

_GOES_ON = frozenset({FailureKind.UNAVAILABLE, FailureKind.ERROR, FailureKind.THROTTLED, FailureKind.ACCOUNT})
"""Failures after which another gateway is asked."""
_LAST_MOMENT = 1000
"""Milliseconds before the end of a code in which a message comes back no more."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How persistently a message is delivered."""

    max_ambiguous: int
    """How often it goes on after a call that may have been sent all the same; what sent nothing counts for nothing."""
    backoff: tuple[float, ...]
    """Seconds to wait after the first, second … round through the gateways, at least; the last one repeats."""


def after_failure(failure: GatewayError, further: str | None) -> Settlement:
    """Decide what follows a failed call; ``further`` is the next channel, if there is one.

    *unavailable*, *error*, *throttled* and *account* go on to another gateway, as long as the code lives; *channel*
    goes on through the next channel; nothing else does. The next dispatch is refused when too many calls may have been
    sent although they failed, and calls no gateway that answered the message with too many errors.
    """
    status = DeliveryStatus.UNKNOWN if failure.ambiguous else DeliveryStatus.FAILED
    reason = plain_reason(f"{failure.kind} {failure.provider_code}")
    if failure.kind in _GOES_ON:
        return Settlement(Next.NEXT, status, reason=reason)
    if failure.kind is FailureKind.CHANNEL and further:
        return Settlement(Next.RETRY, status, reason=reason, channel=further)
    return Settlement(Next.DEAD, status, reason=reason, opted_out=failure.opted_out)


def rest(blocked: Blocked, job: Job, policy: Policy) -> int | None:
    """Return the milliseconds that a message rests once no gateway is left to call in this round.

    That is up to a quarter longer than its turn says, by chance, so that those which failed together do not come back
    together; and no longer than half of what is left of the code's life, so that no code dies while its message rests.
    ``None`` while it only waits for a gateway's turn: it was not called yet, or the turn comes sooner than the rest
    would end.
    """
    if not job.called:
        return None
    rounds = max(_calls(blocked, job).values(), default=1)
    backoff = round(1000 * policy.backoff[min(rounds, len(policy.backoff)) - 1])
    left = blocked.verification.expires - blocked.now
    delay = min(backoff + secrets.randbelow(backoff // 4 + 1), max(left // 2, _LAST_MOMENT))
    return delay if blocked.wait == NEVER or blocked.wait > delay else None


def _calls(blocked: Blocked, job: Job) -> Counter[str]:
    """Return how often each gateway was called for a message through its present channel."""
    return Counter(
        one.gateway
        for one in blocked.verification.deliveries
        if one.message == job.message and one.channel == job.channel and one.gateway
    )


def told_by(outcome: Accepted | GatewayError, seconds: float, allowance: Allowance) -> Call:
    """Return what a call tells of its gateway: one that answers in time is well, whatever it says of the message."""
    kind = None if isinstance(outcome, Accepted) or outcome.of_message else outcome.kind
    if kind is FailureKind.THROTTLED:
        return Call.THROTTLED
    ill = kind in {FailureKind.UNAVAILABLE, FailureKind.ERROR, FailureKind.ACCOUNT}
    return Call.BAD if ill or seconds >= allowance.slow else Call.WELL
