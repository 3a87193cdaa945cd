"""Authenticator apps in Redis: waiting enrolments, checks of codes, and the budget of a user's wrong codes."""

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import redis

from otp_service.domain.applications import TotpSkew
from otp_service.domain.guard import ceil_seconds
from otp_service.domain.keyring import IDEMPOTENCY_SECONDS, IdempotentRequest, user_id
from otp_service.domain.proofs import EarlierApproval
from otp_service.domain.totp import PENDING_SECONDS, FactorFailure, PendingLimits, SealedFactor, UserKey
from otp_service.errors import (
    MIRROR_IS_BEHIND,
    FrozenError,
    IdempotencyMismatchError,
    LedgerUnavailableError,
    NotFoundError,
    OtpServiceError,
    RateLimitedError,
    StepUpRequiredError,
    StoreUnavailableError,
)
from otp_service.store import keys
from otp_service.store.claims import MIRROR_BEHIND, VALID, Claims, claimant, revocation
from otp_service.store.connection import translate_errors
from otp_service.store.mirror import MirrorQuery
from otp_service.store.rulesets import CompiledRuleset
from otp_service.store.script_runner import ScriptRunner
from otp_service.store.signatures import factors as signed
from otp_service.store.signatures.common import Elsewhere, Frozen, MirrorBehind, Mismatch, NotFound, NumberKeys, StepUp
from otp_service.store.signatures.guard import NUMBER_UNBLOCK, NumberUnblockArguments

# A check takes two round trips. The first reads the sealed secret and the time. The process finds the steps whose code
# was typed. The second takes one of these steps, unless it or a later step was taken before, or counts a wrong code.

STEP_GRACE: Final = 900_000
"""Milliseconds for which the last step is stored after its code has expired."""
_REMEMBERED: Final = 1000 * IDEMPOTENCY_SECONDS
RIGHT: Final = "right"
"""A recovery code is accepted."""
FIRST: Final = "first"
"""The first code of a factor is right."""
REPEATED: Final = "repeated"
"""Only the answer to a repeated request counts."""
NOT_FOUND: Final = "There is no such factor."


@dataclass(frozen=True, slots=True)
class KnownFactor:
    """A factor in Redis at a time (milliseconds by Redis' clock)."""

    now: int
    active: SealedFactor | None
    pending: SealedFactor | None
    """The enrolled factor while it waits for its first code."""
    label: str = field(default="", repr=False)
    """The sealed label of the enrolled factor."""


class CodeOutcome(NamedTuple):
    """The result of a code. A repeated request has the time and seed of the first."""

    reason: FactorFailure | None
    """``None`` for an accepted code."""
    at: int
    """Milliseconds by Redis' clock."""
    seed: str = ""
    """Seed of new recovery codes."""


@dataclass(frozen=True, slots=True)
class CodeAttempt:
    """A code that is compared elsewhere: a recovery code, or the first code of a factor."""

    subject: str
    """The factor, or the user's pseudonym."""
    device: str
    """Pseudonym; empty for an unknown device."""
    seed: str
    """Seed of new recovery codes."""
    result: str = ""
    """`RIGHT`, `FIRST`, `REPEATED`, a `FactorFailure`, or empty before the comparison."""
    event: str = ""
    """Type of the event to report; empty for none."""
    evidence_life: int = 0
    """Milliseconds for which a right code is evidence."""
    earlier: EarlierApproval | None = None
    """The approval that the code needs."""
    step: int = 0
    """Step of a first code."""
    retry: IdempotentRequest | None = None


class FactorStore:
    """Factors in Redis. Raises `StoreUnavailableError` when Redis does not answer in time."""

    def __init__(self, client: redis.Redis, scripts: ScriptRunner, *, several_buckets: bool) -> None:
        """With ``several_buckets`` an earlier approval is claimed before a check: it may rest on any bucket."""
        self._client = client
        self._scripts = scripts
        self._several_buckets = several_buckets

    def read(self, user: UserKey, factor_id: str) -> KnownFactor:
        """Return a factor, of any application."""
        names = signed.FactorReadKeys(
            keys.mirrored(user.bucket, user.pseudonym), keys.pending_factor(user.bucket, factor_id)
        )
        now, active, pending, label = self._scripts.call(
            signed.FACTOR_READ, names, signed.FactorReadArguments(factor_id)
        )
        return KnownFactor(now, _unpacked(factor_id, active), _unpacked(factor_id, pending), (label or b"").decode())

    def enrol(
        self, user: UserKey, factor: SealedFactor, label: str, limits: PendingLimits, retry: IdempotentRequest | None
    ) -> str:
        """Store an enrolment until its first code; return its id, or the first id with the same idempotency key.

        Raises `RateLimitedError` where too many enrolments wait.
        """
        pending = keys.pending_factor(user.bucket, factor.id)
        of_user, of_application = _waiting(user)
        names = signed.FactorEnrolKeys(
            enrolment=pending,
            idempotency=_retry_key(user, retry, pending),
            of_user=of_user,
            of_application=of_application,
            mirrored=keys.mirrored(user.bucket, user.pseudonym),
        )
        arguments = signed.FactorEnrolArguments(
            packed=factor.packed,
            label=label,
            life=1000 * PENDING_SECONDS,
            fingerprint=_fingerprint(retry),
            remembered=_REMEMBERED,
            factor=factor.id,
            max_of_user=limits.user,
            max_of_application=limits.application,
            application=user.application,
        )
        match reply := self._scripts.call(signed.FACTOR_ENROL, names, arguments):
            case signed.Enrolled():
                return factor.id
            case signed.EnrolReplayed(first):
                return first.decode()
            case signed.EnrolmentsFull(wait, owner):
                text = f"Too many apps of the {owner.decode()} wait for their first code."
                raise RateLimitedError(text, ceil_seconds(wait))
            case Mismatch():
                raise _refusal(reply)

    def confirm_pending(self, user: UserKey, factor_id: str) -> None:
        """End an enrolment that is active in the ledger: `forget_pending` still returns that it waited."""
        with translate_errors(), self._client.pipeline(transaction=True) as pipeline:
            pipeline.hdel(keys.pending_factor(user.bucket, factor_id), "factor", "label")
            for waiting in _waiting(user):
                pipeline.zrem(waiting, factor_id)
            pipeline.execute()

    def forget_pending(self, user: UserKey, factor_id: str) -> bool:
        """End an enrolment; return whether it waited, or was confirmed."""
        with translate_errors(), self._client.pipeline(transaction=True) as pipeline:
            pipeline.delete(keys.pending_factor(user.bucket, factor_id))
            for waiting in _waiting(user):
                pipeline.zrem(waiting, factor_id)
            return bool(pipeline.execute()[0])

    def pending(self, user: UserKey) -> tuple[str, ...]:
        """Return the identifiers of the user's factors that wait for their first code."""
        with translate_errors():
            members: list[bytes] = self._client.zrange(keys.waiting_factors(user.bucket, user.pseudonym), 0, -1)  # type: ignore[assignment]
        return tuple(member.decode() for member in members)

    def check(  # noqa: PLR0913, PLR0917 - all of it comes with one request
        self,
        user: UserKey,
        factor: SealedFactor,
        steps: Sequence[int],
        skew: TotpSkew,
        device: str,
        purpose: str,
        mirror_query: MirrorQuery,
        ruleset: CompiledRuleset,
        retry: IdempotentRequest | None,
        evidence_life: int,
        earlier: EarlierApproval | None,
    ) -> CodeOutcome:
        """Take one of the steps whose code was typed, or count a wrong code.

        An accepted code is evidence for ``evidence_life`` milliseconds, and uses the ``earlier`` approval.

        Raises `NotFoundError` when the factor was removed, `FrozenError`, `StepUpRequiredError`,
        `LedgerUnavailableError` while the mirror is behind, and `StoreUnavailableError` while Redis may have lost
        which codes were used.
        """
        step = keys.factor_step(user.bucket, factor.id)
        evidence, claims = self._claim(user, earlier, claimant(retry, secrets.token_hex(16)))
        names = signed.FactorCheckKeys(
            user=keys.user(user.bucket, user.pseudonym),
            mirrored=keys.mirrored(user.bucket, user.pseudonym),
            mirror=keys.mirror(user.bucket),
            step=step,
            events=keys.events(user.bucket),
            idempotency=_retry_key(user, retry, step),
            rest=evidence,
        )
        arguments = signed.FactorCheckArguments(
            application=user.application,
            factor=factor.id,
            identity=mirror_query.identity,
            min_sequence=mirror_query.min_sequence,
            late=skew.late,
            early=skew.early,
            life=skew.life(factor.parameters.period),
            grace=STEP_GRACE,
            device=device,
            purpose=purpose,
            fingerprint=_fingerprint(retry),
            remembered=_REMEMBERED,
            evidence=keys.evidence(user.bucket, ""),
            evidence_life=evidence_life,
            earlier_ends=claims.ends,
            claimed=claims.argument,
            rest=tuple(steps),
        )
        with claims:
            outcome = self._outcome(user, self._scripts.call(signed.FACTOR_CHECK, names, arguments, ruleset))
            claims.are_used = outcome.reason is None
        return outcome

    def count_guess(
        self, user: UserKey, guess: CodeAttempt, mirror_query: MirrorQuery, ruleset: CompiledRuleset
    ) -> CodeOutcome:
        """Count a code that is compared elsewhere; raises as `check` does.

        Before the comparison it only tests whether a code may be compared, and reserves the earlier approval.
        """
        user_key = keys.user(user.bucket, user.pseudonym)
        by = claimant(guess.retry, guess.seed)
        evidence, claims = self._claim(user, guess.earlier, by, reserves=guess.result == "")
        names = signed.UserGuessKeys(
            user=user_key,
            mirrored=keys.mirrored(user.bucket, user.pseudonym),
            mirror=keys.mirror(user.bucket),
            events=keys.events(user.bucket),
            idempotency=_retry_key(user, guess.retry, user_key),
            enrolment=keys.pending_factor(user.bucket, guess.subject) if guess.step else user_key,
            rest=evidence,
        )
        arguments = signed.UserGuessArguments(
            application=user.application,
            id=guess.subject,
            identity=mirror_query.identity,
            min_sequence=mirror_query.min_sequence,
            device=guess.device,
            result=guess.result,
            event=guess.event,
            evidence=keys.evidence(user.bucket, user_id(user.pseudonym)),
            evidence_life=guess.evidence_life,
            earlier_ends=claims.ends,
            claimed=claims.argument,
            fingerprint=_fingerprint(guess.retry),
            remembered=_REMEMBERED,
            seed=guess.seed,
            step=guess.step,
        )
        with claims:
            outcome = self._outcome(user, self._scripts.call(signed.USER_GUESS, names, arguments, ruleset))
            claims.are_used = outcome.reason is None
        return outcome

    def _claim(
        self, user: UserKey, earlier: EarlierApproval | None, by: str, *, reserves: bool = False
    ) -> tuple[tuple[str, ...], Claims]:
        """Claim an earlier approval, or return its key where a check's script can use it."""
        claims = Claims(self._scripts, user.application, by, earlier)
        if earlier and not self._several_buckets:
            return (keys.evidence(earlier.bucket, earlier.id),), claims
        claims.claim(earlier, None, reserves=reserves)
        return (), claims

    def _outcome(self, user: UserKey, reply: signed.CodeChecked | signed.Settling | signed.CodeRefusal) -> CodeOutcome:
        if not isinstance(reply, signed.CodeChecked):
            raise _refusal(reply)
        reason = FactorFailure(reply.reason.decode()) if reply.reason else None
        if reply.elsewhere and reason is None:
            state = revocation(self._scripts, user.application, Elsewhere(reply.elsewhere, reply.lifted))
            if state == MIRROR_BEHIND:
                raise LedgerUnavailableError(MIRROR_IS_BEHIND)
            reason = None if state == VALID else FactorFailure.REVOKED
        return CodeOutcome(reason, reply.at, reply.seed.decode())

    def reset_steps(self, bucket: str, ahead: Sequence[SealedFactor], skew: TotpSkew) -> int:
        """Lower the last steps in a bucket that are ahead of Redis' clock, and the time since which checks wait.

        Returns how many were lowered.
        """
        life = max((skew.life(factor.parameters.period) for factor in ahead), default=0) + STEP_GRACE
        steps = tuple(keys.factor_step(bucket, factor.id) for factor in ahead)
        each = tuple(value for factor in ahead for value in (factor.parameters.period, skew.early))
        return self._scripts.call(
            signed.FACTOR_STEPS_RESET,
            signed.FactorStepsResetKeys(keys.mirror(bucket), steps),
            signed.FactorStepsResetArguments(life, each),
        )

    def waits_since(self, bucket: str) -> int:
        """Return since when checks of factors wait, in milliseconds; in the future after a clock that ran ahead."""
        with translate_errors():
            return int(self._client.hget(keys.mirror(bucket), "since") or 0)

    def active(self, user: UserKey) -> tuple[str, ...]:
        """Return the identifiers of the user's active factors in the mirror."""
        with translate_errors():
            fields: list[bytes] = self._client.hkeys(keys.mirrored(user.bucket, user.pseudonym))  # type: ignore[assignment]
        named = (field.decode().partition(":") for field in sorted(fields))
        return tuple(factor_id for kind, _, factor_id in named if kind == "t")

    def was_accepted(self, user: UserKey, retry: IdempotentRequest) -> bool:
        """Return whether an earlier check with the same idempotency key accepted the code."""
        with translate_errors():
            key = keys.idempotency(user.bucket, user.application, retry.key)
            values = self._client.hmget(key, ["fingerprint", "reason"])
        return values == [retry.fingerprint.encode(), b""]

    def report(self, user: UserKey, event: str) -> None:
        """Report an event of a user's recovery codes that no script reports, for the audit chain."""
        values = {"type": event, "id": user.pseudonym, "application": user.application}
        with translate_errors():
            self._client.xadd(keys.events(user.bucket), {"json": json.dumps({**values, "purpose": "", "country": ""})})

    def unlock(self, user: UserKey, ruleset: CompiledRuleset) -> int:
        """Delete a user's wrong codes, waits and lock; return how many kinds there were."""
        names = NumberKeys(keys.user(user.bucket, user.pseudonym))
        return sum(
            self._scripts.call(NUMBER_UNBLOCK, names, NumberUnblockArguments(kind, (user.application,)), ruleset)
            for kind in ("windows", "waits")
        )


def _retry_key(user: UserKey, retry: IdempotentRequest | None, otherwise: str) -> str:
    return keys.idempotency(user.bucket, user.application, retry.key) if retry else otherwise


def _waiting(user: UserKey) -> tuple[str, str]:
    """Return the keys of the waiting enrolments of a user and of its application."""
    return keys.waiting_factors(user.bucket, user.pseudonym), keys.waiting_factors_at(user.bucket, user.application)


def _fingerprint(retry: IdempotentRequest | None) -> str:
    return retry.fingerprint if retry else ""


def _unpacked(factor_id: str, packed: bytes | None) -> SealedFactor | None:
    return SealedFactor.unpack(factor_id, packed.decode()) if packed else None


def _refusal(reply: signed.Settling | signed.CodeRefusal) -> OtpServiceError:
    match reply:
        case NotFound():
            return NotFoundError(NOT_FOUND)
        case Mismatch():
            return IdempotencyMismatchError("The idempotency key was used before with another request.")
        case Frozen():
            return FrozenError("The user is frozen after reported fraud.")
        case StepUp():
            return StepUpRequiredError("What after proves is too old, was used, or was revoked.")
        case signed.Settling(wait):
            settling = StoreUnavailableError("Redis was emptied, restarted or replaced: codes used before have to end.")
            settling.retry_after = ceil_seconds(wait)
            return settling
        case MirrorBehind():
            return LedgerUnavailableError(MIRROR_IS_BEHIND)
