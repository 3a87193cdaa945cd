"""Authenticator apps and recovery codes of an application's users."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from otp_service.domain.applications import Application, TotpSkew
from otp_service.domain.audit import OperatorActionEntry
from otp_service.domain.consents import ConsentMode
from otp_service.domain.keyring import IdempotentRequest, sealing_root, user_id, user_of_factor
from otp_service.domain.proofs import METHOD_RECOVERY, METHOD_TOTP
from otp_service.domain.totp import (
    LABEL,
    MAX_FACTORS,
    RECOVERY_CODES,
    SECRET,
    Factor,
    FactorFailure,
    FactorStatus,
    SealedFactor,
    TotpParameters,
    UserKey,
    matching_steps,
    new_secret,
    normalise_recovery_code,
    otpauth_uri,
    parse_otpauth_uri,
    recovery_code,
)
from otp_service.domain.verification import FactorKind, Purpose
from otp_service.errors import (
    MIRROR_IS_BEHIND,
    ConflictError,
    FactorLimitError,
    FactorNotActiveError,
    ForbiddenError,
    LedgerUnavailableError,
    NotFoundError,
    RefusalName,
    StartRefusal,
)
from otp_service.services.context import Context
from otp_service.services.operator_actions import perform_action
from otp_service.services.proofs import evidence_life, prove_code, require_purpose, require_step_up
from otp_service.store.factors import FIRST, NOT_FOUND, REPEATED, RIGHT, CodeAttempt, CodeOutcome, KnownFactor
from otp_service.telemetry import metrics
from otp_service.telemetry.logging import get_logger
from otp_service.telemetry.redaction import SafeText

RESEAL_BATCH: Final = 200
"""Factors that are sealed anew, or changed otherwise, in one transaction."""
_REMOVED_BEFORE: Final = "other"
"""Why a factor is removed that was removed before its activation was recorded, as webhooks tell it."""
_RECOVERY_EVENTS: Final = {
    RIGHT: "recovery.used",
    FactorFailure.WRONG_CODE: "recovery.failed",
    FactorFailure.CODE_USED: "recovery.code_used",
}
_NOT_ACTIVE: Final = "The factor waits for its first code, or was removed."
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class FactorView:
    """A factor as its application sees it, unsealed. Times are milliseconds since the epoch."""

    id: str
    status: FactorStatus
    label: str | None = field(repr=False)
    """``None`` when it was erased with the factor."""
    parameters: TotpParameters
    created: int | None = None
    """When it was activated."""
    used: int | None = None
    removed: int | None = None


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A factor that was enrolled, with what is shown once."""

    factor: FactorView
    secret: bytes | None = field(repr=False)
    """``None`` for a repeated request, once it is activated or over."""
    uri: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class FactorCheck:
    """What became of a code of a factor."""

    id: str
    status: FactorStatus
    reason: FactorFailure | None
    """Why it was not accepted; ``None`` when it was."""
    recovery_codes: tuple[str, ...] | None = field(default=None, repr=False)
    """A first series, shown once, where the user had none when the factor was activated."""
    proof: str | None = field(default=None, repr=False)
    """Of the approval, where it is for a purpose and the application gets proofs."""

    @property
    def valid(self) -> bool:
        """Whether the code was accepted."""
        return self.reason is None


@dataclass(frozen=True, slots=True)
class RecoveryCheck:
    """What became of a recovery code."""

    reason: FactorFailure | None
    left: int
    """Codes that can be used, with the replacement."""
    replacement: str | None = field(default=None, repr=False)
    """A new code for the one that was used."""
    proof: str | None = field(default=None, repr=False)
    """Of the approval, where it is for a purpose and the application gets proofs."""


@dataclass(frozen=True, slots=True)
class Intent:
    """What a code is typed for."""

    purpose: str | None = None
    after: str | None = field(default=None, repr=False)
    """A proof that the user approved another purpose before."""
    device: str | None = field(default=None, repr=False)
    """The application's own name of the user's device or browser."""


def user_key(context: Context, application: str, user: str) -> UserKey:
    """Return the name under which an application's user is kept."""
    pseudonym = context.keyring.user_pseudonym(application, user)
    return UserKey(application, pseudonym, context.keyring.bucket(pseudonym))


def enrol(
    context: Context,
    application: Application,
    user: str,
    label: str,
    uri: str | None = None,
    retry: IdempotentRequest | None = None,
) -> Enrolment:
    """Enrol an app with a new secret, or one from a ``uri``; it waits for its first code for ten minutes.

    Raises `InvalidSecretError`, `FactorLimitError`, `RateLimitedError`, and other `OtpServiceError`.
    """
    whose = user_key(context, application.name, user)
    secret, parameters = (new_secret(), TotpParameters()) if uri is None else parse_otpauth_uri(uri)
    if len(context.ledger.factors.of(whose.pseudonym, whose.application)) >= MAX_FACTORS:
        raise FactorLimitError(f"A user has {MAX_FACTORS} factors at most: remove one.")
    factor_id = context.keyring.new_factor_id(whose.pseudonym)
    sealed = _seal(context, secret, SECRET, factor_id, whose.application)
    factor = SealedFactor(factor_id, whose.application, sealed, parameters, last_step=0, place=0)
    sealed_label = _seal(context, label.encode(), LABEL, factor_id, whose.application)
    first = context.store.factors.enrol(whose, factor, sealed_label, context.pending_limits, retry)
    if first != factor_id:
        return _repeated(context, application, first)
    _log.info("factor_enrolled", application=application.name, factor=SafeText(factor_id))
    view = FactorView(factor_id, FactorStatus.PENDING, label, parameters)
    return Enrolment(view, secret, otpauth_uri(secret, parameters, application.brand, label))


def _repeated(context: Context, application: Application, factor_id: str) -> Enrolment:
    """Return the enrolment that a request was first answered with, as far as it may still be told."""
    user, known = _known(context, application.name, factor_id)
    if known.pending is None:
        return Enrolment(_recorded(context, user, factor_id), None, None)
    view = _pending_view(context, known.pending, known.label)
    secret = _unseal_secret(context, known.pending)
    return Enrolment(view, secret, otpauth_uri(secret, view.parameters, application.brand, view.label or ""))


def activate(
    context: Context,
    application: Application,
    factor_id: str,
    code: str,
    device: str | None = None,
    retry: IdempotentRequest | None = None,
) -> FactorCheck:
    """Make an enrolled factor active by its first code, which is spent by that.

    A wrong code is a result, and counts as one. Raises `FactorNotActiveError` when it is active already or was
    removed, `NotFoundError` when it waited too long, and other `OtpServiceError`.
    """
    user, known = _known(context, application.name, factor_id)
    seed = context.keyring.new_recovery_seed()
    guess = CodeAttempt(factor_id, _device(context, application, device), seed, REPEATED, retry=retry)
    (reason, _, seed), steps = _take_first_code(context, application, user, known, guess, code)
    if known.pending is not None:
        if reason is not None:
            return FactorCheck(factor_id, FactorStatus.PENDING, reason)
        _record_active(context, user, replace(known.pending, last_step=steps[0]), known.label, retry)
    status = _recorded(context, user, factor_id).status
    if reason is not None or status is FactorStatus.REMOVED:
        return FactorCheck(factor_id, status, reason or FactorFailure.REVOKED)
    return FactorCheck(factor_id, status, None, _first_recovery_codes(context, user, seed, retry))


def _take_first_code(
    context: Context, application: Application, user: UserKey, known: KnownFactor, guess: CodeAttempt, code: str
) -> tuple[CodeOutcome, tuple[int, ...]]:
    """Spend the first code of a factor that waits for it; return the outcome, and the code's steps.

    If the factor no longer waits, only a repeated request has an outcome; others raise `FactorNotActiveError`.
    """
    steps: tuple[int, ...] = ()
    if known.pending is not None:
        steps = _steps_at(context, application, known.pending, known.now, code)
        if steps:
            guess = replace(guess, found=FIRST, step=steps[0])
        else:
            guess = replace(guess, found=FactorFailure.WRONG_CODE, event="factor.failed")
    try:
        outcome = _count_guess(context, application, user, guess)
    except NotFoundError:
        status = _recorded(context, user, guess.about).status
        raise FactorNotActiveError(f"The factor is {status} already.") from None
    factor = known.pending or known.active
    if outcome.reason is None and factor is not None:
        steps = steps or _steps_at(context, application, factor, outcome.at, code)
        if not steps:  # somebody wrote to Redis: a repeated request is answered by what it remembers
            outcome = outcome._replace(reason=FactorFailure.WRONG_CODE)
    return outcome, steps


def _record_active(
    context: Context, user: UserKey, factor: SealedFactor, label: str, retry: IdempotentRequest | None
) -> None:
    """Record a factor whose first code was right, and bring it into force; raise `NotFoundError` if it was removed.

    A request that is repeated may find it recorded.
    """
    try:
        place = context.ledger.factors.activate(Factor(factor, user.pseudonym, label, created=0))
    except ConflictError:
        if retry is None:
            raise
        context.store.factors.forget_pending(user, factor.id)  # perhaps the first one died before it came to that
        context.mirror_sync.refresh()
        return
    was_waiting = context.store.factors.forget_pending(user, factor.id)
    if not was_waiting:  # who removed it meanwhile may have been told so before it was recorded
        place = context.ledger.factors.remove(factor.id, _REMOVED_BEFORE) or place
    context.mirror_sync.write_through(place)
    if not was_waiting:
        raise NotFoundError(NOT_FOUND)
    _log.info("factor_activated", application=user.application, factor=SafeText(factor.id))


def check(
    context: Context,
    application: Application,
    factor_id: str,
    code: str,
    intent: Intent = Intent(),
    user_name: str | None = None,
    retry: IdempotentRequest | None = None,
) -> FactorCheck:
    """Check a code of a user's factor for an application, and take it when it is right.

    A wrong code is a result. Where a ``user_name`` is given the factor has to be that user's. Raises
    `InvalidCodeError` for what could not be a code of it, `FactorNotActiveError`, `NotFoundError`, and other
    `OtpServiceError`.
    """
    purpose = _require_purpose(context, application, intent, FactorKind.TOTP)
    query = context.mirror_sync.query(ConsentMode.OFF)
    user, known = _known(context, application.name, factor_id)
    earlier = require_step_up(context, application, purpose, user_name, intent.after) if purpose else None
    if user_name is not None and user != user_key(context, application.name, user_name):
        raise NotFoundError(NOT_FOUND)
    if known.active is None and retry is not None and context.store.factors.was_accepted(user, retry):
        if _recorded(context, user, factor_id).status is FactorStatus.ACTIVE:
            raise LedgerUnavailableError(MIRROR_IS_BEHIND)
        return FactorCheck(factor_id, FactorStatus.REMOVED, FactorFailure.REVOKED)
    factor = _require_active(context, user, factor_id, known)
    steps = _steps_at(context, application, factor, known.now, code)
    reason, at, _ = context.store.factors.check(
        user,
        factor,
        steps,
        application.totp_skew,
        _device(context, application, intent.device),
        intent.purpose or "",
        query,
        context.rulesets[application.name],
        retry,
        evidence_life(context, application, purpose),
        earlier,
    )
    if reason is None and not (steps or _steps_at(context, application, factor, at, code)):
        reason = FactorFailure.WRONG_CODE  # somebody wrote to Redis: a repeated check is answered by what it remembers
    metrics.factor_checks.count(application=application.name, outcome=reason or "accepted")
    if reason is not None or purpose is None:
        return FactorCheck(factor_id, FactorStatus.ACTIVE, reason)
    proof = prove_code(context, application, purpose, factor_id, METHOD_TOTP, user_name, at)
    return FactorCheck(factor_id, FactorStatus.ACTIVE, None, proof=proof)


def _require_purpose(
    context: Context, application: Application, intent: Intent, factor: FactorKind | None
) -> Purpose | None:
    """Return the purpose that a code is typed for, ``None`` for none named.

    Raises `ForbiddenError` where its policy has no such factor, ``None`` for recovery codes.
    """
    if intent.purpose is None:
        return None
    purpose = require_purpose(context, application, intent.purpose)
    if not (purpose.recovery if factor is None else factor in purpose.factors):
        what = "recovery codes" if factor is None else "codes of authenticator apps"
        raise ForbiddenError(f"The purpose {purpose.name!r} takes no {what}.")
    return purpose


def active_factors(context: Context, application: Application, user: str) -> tuple[str, ...]:
    """Return the identifiers of a user's active apps, as far as the mirror knows; raises `StoreUnavailableError`."""
    return context.store.factors.active(user_key(context, application.name, user))


def find(context: Context, application: Application, user: str) -> tuple[tuple[FactorView, ...], int]:
    """Return the active factors of a user, oldest first, and how many recovery codes can be used."""
    whose = user_key(context, application.name, user)
    found = context.ledger.factors.of(whose.pseudonym, whose.application)
    usable = context.ledger.recovery_codes.usable(whose.pseudonym, whose.application)
    return tuple(view_of(context, one) for one in found), len(usable)


def read(context: Context, application: Application, factor_id: str) -> FactorView:
    """Return an application's own factor as it is now; raises `NotFoundError`."""
    user, known = _known(context, application.name, factor_id)
    if known.pending is not None:
        return _pending_view(context, known.pending, known.label)
    return _recorded(context, user, factor_id)


def rename(context: Context, application: Application, factor_id: str, label: str) -> FactorView:
    """Give an active factor another label; raises `FactorNotActiveError` and `NotFoundError`."""
    user, known = _known(context, application.name, factor_id)
    if known.pending is not None:
        raise FactorNotActiveError(_NOT_ACTIVE)
    root = sealing_root(_require_recorded(context, user, factor_id).sealed.secret)  # one key opens all of a factor
    sealed = _seal(context, label.encode(), LABEL, factor_id, application.name, root)
    renamed, view = context.ledger.factors.rename(factor_id, sealed), _recorded(context, user, factor_id)
    if view.status is not FactorStatus.ACTIVE:
        raise FactorNotActiveError(_NOT_ACTIVE)
    return view if renamed else rename(context, application, factor_id, label)  # it was sealed anew meanwhile


def remove(
    context: Context, application: str, factor_id: str, reason: str, operator_action: OperatorActionEntry | None = None
) -> FactorView:
    """Remove a factor without a code, for a ``reason``; the ``operator_action`` is recorded with it.

    Once this returns no code of it is accepted. To remove it again does no harm. Raises `NotFoundError`.
    """
    user, known = _known(context, application, factor_id)
    if known.pending is not None:
        context.store.factors.forget_pending(user, factor_id)
        if context.ledger.factors.find(factor_id) is None:  # else it was activated just now, or not brought into force
            return replace(_pending_view(context, known.pending, known.label), status=FactorStatus.REMOVED, label=None)
    _recorded(context, user, factor_id)
    place = context.ledger.factors.remove(factor_id, reason, operator_action)
    if place is None:
        context.mirror_sync.refresh()  # who removed it may have failed to bring that into force
    else:
        context.mirror_sync.write_through(place)
        _log.info("factor_removed", application=application, factor=SafeText(factor_id), reason=reason or "code")
    return _recorded(context, user, factor_id)


def end_enrolments(context: Context, user: UserKey) -> None:
    """End all enrolments of a user that wait for their first code."""
    for factor_id in context.store.factors.pending(user):
        context.store.factors.forget_pending(user, factor_id)


def remove_with_code(
    context: Context, application: Application, factor_id: str, code: str, device: str | None = None
) -> FactorCheck:
    """Remove a factor where a code of it is right; raises as `check` does."""
    result = check(context, application, factor_id, code, Intent(device=device))
    if not result.valid:
        return result
    remove(context, application.name, factor_id, "")
    return FactorCheck(factor_id, FactorStatus.REMOVED, None)


def new_recovery_codes(context: Context, application: Application, user: str) -> tuple[str, ...]:
    """Return a new series of recovery codes, shown once; codes of an earlier one are over."""
    whose = user_key(context, application.name, user)
    codes = _derived_codes(context, whose, context.keyring.new_recovery_seed(), None, RECOVERY_CODES)
    _record_series(context, whose, codes)
    return codes


def check_recovery_code(
    context: Context,
    application: Application,
    user: str,
    code: str,
    intent: Intent = Intent(),
    retry: IdempotentRequest | None = None,
) -> RecoveryCheck:
    """Check a recovery code and use it up; a right one is replaced by a new one, the same in a repeated request.

    A wrong code is a result. Raises `InvalidCodeError` for what could be none, and other `OtpServiceError`.
    """
    purpose = _require_purpose(context, application, intent, None)
    whose, typed = user_key(context, application.name, user), normalise_recovery_code(code)
    earlier = require_step_up(context, application, purpose, user, intent.after) if purpose else None
    seed, device = context.keyring.new_recovery_seed(), _device(context, application, intent.device)
    guess = CodeAttempt(whose.pseudonym, device, seed, earlier=earlier, retry=retry)
    reason, at, seed = _count_guess(context, application, whose, guess)
    (new,), codes = _derived_codes(context, whose, seed, retry, 1), context.ledger.recovery_codes
    if reason is None:
        hashes = _hash(context, whose, typed), _hash(context, whose, new)
        found = codes.spend(*hashes, whose.pseudonym, whose.application) or RIGHT
        life = evidence_life(context, application, purpose)
        guess = replace(guess, seed=seed, found=found, event=_RECOVERY_EVENTS[found], evidence_life=life)
        reason, at, _ = _count_guess(context, application, whose, guess)
        if found != RIGHT:  # whatever Redis remembers of a repeated request: somebody may have written to it
            reason = reason or FactorFailure(found)
    metrics.factor_checks.count(application=application.name, outcome=reason or "recovered")
    usable = codes.usable(whose.pseudonym, whose.application)
    if reason is not None:
        return RecoveryCheck(reason, len(usable))
    shown = new if _hash(context, whose, new) in usable else None
    if purpose is None:
        return RecoveryCheck(None, len(usable), shown)
    proof = prove_code(context, application, purpose, user_id(whose.pseudonym), METHOD_RECOVERY, user, at)
    return RecoveryCheck(None, len(usable), shown, proof)


def unlock(context: Context, application: str, user: str, operator_action: OperatorActionEntry) -> int:
    """Forget a user's wrong codes and their consequences; return how many kinds of state were removed.

    The ``operator_action`` is recorded if any was. Raises `LedgerUnavailableError` and `StoreUnavailableError`.
    """
    whose, ruleset = user_key(context, application, user), context.rulesets[application]
    return perform_action(context, operator_action, lambda: context.store.factors.unlock(whose, ruleset))


def reseal(context: Context) -> Iterator[int]:
    """Seal all that is under another root key under the active one; yield how many were, again and again.

    Raises `SealBrokenError` when the root key of one is not known here.
    """
    active, done = context.keyring.active_root, 0
    while some := context.ledger.factors.sealed_by_others(active, RESEAL_BATCH):
        place = context.ledger.factors.reseal([(one, *_sealed_anew(context, one)) for one in some])
        context.mirror_sync.write_through(place)
        done += len(some)
        yield done


def count_ahead(context: Context) -> int:
    """Return how many factors refuse codes because a clock ran ahead, of an application at most `RESEAL_BATCH`."""
    now = context.store.decisions.now()
    return sum(len(_ahead(context, application, now)) for application in context.applications.values())


def checks_wait(context: Context) -> bool:
    """Tell whether checks of factors wait until Redis' clock, which was set back, has caught up."""
    now, buckets = context.store.decisions.now(), context.keyring.buckets
    return any(context.store.factors.waits_since(bucket) > now for bucket in buckets)


def reset_steps(context: Context, operator_action: OperatorActionEntry) -> int:
    """Lower last steps, and times that checks wait for, from ahead of Redis' clock to the present; return how many.

    Records the ``operator_action`` if any was lowered. Raises `LedgerUnavailableError` and `StoreUnavailableError`.
    """
    now, done = context.store.decisions.now(), 0
    for application in context.applications.values():
        while some := _ahead(context, application, now):
            place = context.ledger.factors.reset_steps(some, now, None if done else operator_action)
            context.mirror_sync.write_through(place)
            done += len(some)
            for bucket in context.keyring.buckets:
                those = [factor.sealed for factor in some if context.keyring.bucket(factor.user) == bucket]
                context.store.factors.reset_steps(bucket, those, application.totp_skew)
    if not done and checks_wait(context):
        context.ledger.operator_actions.add(operator_action)
    return done + sum(context.store.factors.reset_steps(bucket, (), TotpSkew()) for bucket in context.keyring.buckets)


def _ahead(context: Context, application: Application, now: int) -> tuple[Factor, ...]:
    return context.ledger.factors.ahead(application.name, application.totp_skew.early, now, RESEAL_BATCH)


def root_key_refusal(context: Context) -> StartRefusal | None:
    """Return why no process may start: secrets are sealed under a root key that is not there; ``None`` for nothing.

    A process without any root key opens none of them.
    """
    if not context.keyring.root_ids:
        return None
    sealed = context.ledger.factors.root_keys()
    unknown = sorted(sealed.keys() - set(context.keyring.root_ids))
    if not unknown:
        return None
    return StartRefusal(
        RefusalName.KEY_STILL_NEEDED,
        "OTP_SERVICE_ROOT_KEYS",
        f"Of authenticator apps {sum(sealed[one] for one in unknown)} are sealed under {', '.join(unknown)}, and would "
        "be lost.",
        "Add that key behind the others, and before it goes: otp-service factor reseal",
    )


def view_of(context: Context, factor: Factor) -> FactorView:
    """Return a recorded factor, unsealed."""
    status = FactorStatus.ACTIVE if factor.removed is None else FactorStatus.REMOVED
    sealed = factor.sealed
    label = _unseal(context, factor.label, LABEL, factor.id, sealed.application).decode() if factor.label else None
    return FactorView(factor.id, status, label, sealed.parameters, factor.created, factor.used, factor.removed)


def _sealed_anew(context: Context, factor: Factor) -> tuple[str, str]:
    application = factor.sealed.application
    secret = _unseal_secret(context, factor.sealed)
    label = _unseal(context, factor.label, LABEL, factor.id, application)
    return (
        _seal(context, secret, SECRET, factor.id, application),
        _seal(context, label, LABEL, factor.id, application),
    )


def _owner(context: Context, application: str, factor_id: str) -> UserKey:
    """Return the user in a factor's id; raise `NotFoundError` for what is none."""
    pseudonym = user_of_factor(factor_id)
    if pseudonym is None:
        raise NotFoundError(NOT_FOUND)
    return UserKey(application, pseudonym, context.keyring.bucket(pseudonym))


def _known(context: Context, application: str, factor_id: str) -> tuple[UserKey, KnownFactor]:
    """Return what Redis knows of a factor; raise `NotFoundError` for another application's."""
    user = _owner(context, application, factor_id)
    known = context.store.factors.read(user, factor_id)
    if any(one and one.application != application for one in (known.active, known.pending)):
        raise NotFoundError(NOT_FOUND)
    return user, known


def _require_active(context: Context, user: UserKey, factor_id: str, known: KnownFactor) -> SealedFactor:
    """Return an active factor; raise `FactorNotActiveError`, `NotFoundError`, or while the mirror lacks it another."""
    if known.active is not None:
        return known.active
    if known.pending is None and _recorded(context, user, factor_id).status is FactorStatus.ACTIVE:
        raise LedgerUnavailableError(MIRROR_IS_BEHIND)
    raise FactorNotActiveError(_NOT_ACTIVE)


def _recorded(context: Context, user: UserKey, factor_id: str) -> FactorView:
    """Return a factor as the ledger has it; raise `NotFoundError` for none, or another application's."""
    return view_of(context, _require_recorded(context, user, factor_id))


def _require_recorded(context: Context, user: UserKey, factor_id: str) -> Factor:
    found = context.ledger.factors.find(factor_id)
    if found is None or found.sealed.application != user.application:
        raise NotFoundError(NOT_FOUND)
    return found


def _pending_view(context: Context, factor: SealedFactor, label: str) -> FactorView:
    shown = _unseal(context, label, LABEL, factor.id, factor.application).decode()
    return FactorView(factor.id, FactorStatus.PENDING, shown, factor.parameters)


def _steps_at(context: Context, application: Application, factor: SealedFactor, at: int, code: str) -> tuple[int, ...]:
    """Return the steps within the skew of a time (milliseconds) whose code was typed.

    And one later: some passes until the script decides.
    """
    steps = application.totp_skew.steps_at(factor.parameters.step_at(at))
    secret = _unseal_secret(context, factor)
    return matching_steps(secret, factor.parameters, code, range(steps.start, steps.stop + 1))


def _count_guess(context: Context, application: Application, user: UserKey, guess: CodeAttempt) -> CodeOutcome:
    query = context.mirror_sync.query(ConsentMode.OFF)
    return context.store.factors.count_guess(user, guess, query, context.rulesets[application.name])


def _first_recovery_codes(
    context: Context, user: UserKey, seed: str, retry: IdempotentRequest | None
) -> tuple[str, ...] | None:
    """Return the first recovery codes of a user, those that can be used; ``None`` where others were there before."""
    codes, recorded = _derived_codes(context, user, seed, retry, RECOVERY_CODES), context.ledger.recovery_codes
    if not recorded.usable(user.pseudonym, user.application):
        _record_series(context, user, codes, first=True)
    usable = recorded.usable(user.pseudonym, user.application)
    return tuple(code for code in codes if _hash(context, user, code) in usable) or None


def _record_series(context: Context, user: UserKey, codes: Iterable[str], *, first: bool = False) -> None:
    hashes = [_hash(context, user, one) for one in codes]
    if context.ledger.recovery_codes.replace(user.pseudonym, user.application, hashes, first=first):
        context.store.factors.report(user, "recovery.replaced")
        _log.info("recovery_codes_made", application=user.application)


def _derived_codes(
    context: Context, user: UserKey, seed: str, retry: IdempotentRequest | None, number: int
) -> tuple[str, ...]:
    """Return recovery codes: the same for a repeated request, while the root key of the seed is there."""
    parts = user.application, user.pseudonym, retry.fingerprint if retry else ""
    material = context.keyring.recovery_material
    return tuple(recovery_code(material(seed, *parts, str(place))) for place in range(number))


def _hash(context: Context, user: UserKey, code: str) -> str:
    return context.keyring.recovery_hash(user.application, user.pseudonym, normalise_recovery_code(code))


def _device(context: Context, application: Application, device: str | None) -> str:
    return context.keyring.device_pseudonym(application.name, device) if device else ""


def _seal(context: Context, plain: bytes, kind: str, factor_id: str, application: str, root: str = "") -> str:
    return context.keyring.seal_secret(plain, owner=factor_id, application=application, kind=kind, root=root)


def _unseal(context: Context, sealed: str, kind: str, factor_id: str, application: str) -> bytes:
    return context.keyring.unseal_secret(sealed, owner=factor_id, application=application, kind=kind)


def _unseal_secret(context: Context, factor: SealedFactor) -> bytes:
    return _unseal(context, factor.secret, SECRET, factor.id, factor.application)
