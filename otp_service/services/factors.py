"""Authenticator apps and recovery codes of an application's users."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from otp_service.domain.applications import Application, TotpSkew
from otp_service.domain.audit import OperatorActionEntry
from otp_service.domain.consents import ConsentMode
from otp_service.domain.keyring import IdempotentRequest, sealing_root, user_id, user_of_factor
from otp_service.domain.proofs import METHOD_RECOVERY, METHOD_TOTP
from otp_service.domain.recovery_codes import RECOVERY_CODES, normalise_recovery_code, recovery_code
from otp_service.domain.totp import (
    LABEL,
    MAX_FACTORS,
    SECRET,
    Factor,
    FactorFailure,
    FactorStatus,
    SealedFactor,
    TotpParameters,
    UserKey,
    matching_steps,
    new_secret,
    otpauth_uri,
    parse_otpauth_uri,
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
"""Factors sealed again, or changed otherwise, in a transaction."""
_RECOVERY_EVENTS: Final = {
    RIGHT: "recovery.used",
    FactorFailure.WRONG_CODE: "recovery.failed",
    FactorFailure.CODE_USED: "recovery.code_used",
}
_NOT_ACTIVE: Final = "The factor is still waiting for its first code, or has been removed."
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class FactorView:
    """A factor as its application sees it. Times are milliseconds since the epoch."""

    id: str
    status: FactorStatus
    label: str | None = field(repr=False)
    """``None`` after an erasure."""
    parameters: TotpParameters
    created: int | None = None
    """Time of activation."""
    used: int | None = None
    removed: int | None = None


@dataclass(frozen=True, slots=True)
class Enrolment:
    """An enrolled factor, with the secret that is shown once."""

    factor: FactorView
    secret: bytes | None = field(repr=False)
    """``None`` for a request repeated after the activation or the removal."""
    uri: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class FactorCheck:
    """The result of a check of a factor's code."""

    id: str
    status: FactorStatus
    reason: FactorFailure | None
    """``None`` if the code was accepted."""
    recovery_codes: tuple[str, ...] | None = field(default=None, repr=False)
    """The first series, shown once, if the user had none at the activation."""
    proof: str | None = field(default=None, repr=False)
    """Proof of the approval, if it is for a purpose and the application gets proofs."""

    @property
    def valid(self) -> bool:
        return self.reason is None


@dataclass(frozen=True, slots=True)
class RecoveryCheck:
    """The result of a check of a recovery code."""

    reason: FactorFailure | None
    left: int
    """Unused codes, with the replacement."""
    replacement: str | None = field(default=None, repr=False)
    """A new code for the used code."""
    proof: str | None = field(default=None, repr=False)
    """As in `FactorCheck`."""


@dataclass(frozen=True, slots=True)
class Intent:
    """The use that a code is entered for."""

    purpose: str | None = None
    after: str | None = field(default=None, repr=False)
    """Proof of an approval of another purpose before."""
    device: str | None = field(default=None, repr=False)
    """The application's own name of the user's device or browser."""


def user_key(context: Context, application: str, user: str) -> UserKey:
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
    """Enrol an app with a new secret or that of a ``uri``; its first code is due within ten minutes.

    A repeated request returns the first enrolment. Raises `InvalidSecretError`, `FactorLimitError`, `RateLimitedError`.
    """
    owner = user_key(context, application.name, user)
    secret, parameters = (new_secret(), TotpParameters()) if uri is None else parse_otpauth_uri(uri)
    if len(context.ledger.factors.of(owner.pseudonym, owner.application)) >= MAX_FACTORS:
        raise FactorLimitError(f"A user has {MAX_FACTORS} factors at most: remove one.")
    factor_id = context.keyring.new_factor_id(owner.pseudonym)
    sealed = _seal(context, secret, SECRET, factor_id, owner.application)
    factor = SealedFactor(factor_id, owner.application, sealed, parameters, last_step=0, place=0)
    sealed_label = _seal(context, label.encode(), LABEL, factor_id, owner.application)
    first = context.store.factors.enrol(owner, factor, sealed_label, context.pending_limits, retry)
    view = FactorView(first, FactorStatus.PENDING, label, parameters)
    if first == factor_id:
        _log.info("factor_enrolled", application=application.name, factor=SafeText(factor_id))
    else:
        owner, known = _known(context, application.name, first)
        if known.pending is None:
            return Enrolment(_recorded(context, owner, first), None, None)
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
    """Activate an enrolled factor by its first code, which is then used up; a wrong code is a result, and counted.

    Raises `FactorNotActiveError` for an active or removed factor, and `NotFoundError` for an expired enrolment.
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
    codes, recorded = _derived_codes(context, user, seed, retry, RECOVERY_CODES), context.ledger.recovery_codes
    if not recorded.usable(user.pseudonym, user.application):
        _record_series(context, user, codes, first=True)
    usable = recorded.usable(user.pseudonym, user.application)
    first_codes = tuple(code for code in codes if _hash(context, user, code) in usable)
    return FactorCheck(factor_id, status, None, first_codes or None)


def _take_first_code(
    context: Context, application: Application, user: UserKey, known: KnownFactor, guess: CodeAttempt, code: str
) -> tuple[CodeOutcome, tuple[int, ...]]:
    """Use up the first code of a factor; return the outcome and steps; a factor that is not pending had both before."""
    steps: tuple[int, ...] = ()
    if known.pending is not None:
        steps = _steps_at(context, application, known.pending, known.now, code)
        if steps:
            guess = replace(guess, result=FIRST, step=steps[0])
        else:
            guess = replace(guess, result=FactorFailure.WRONG_CODE, event="factor.failed")
    try:
        outcome = _count_guess(context, application, user, guess)
    except NotFoundError:
        status = _recorded(context, user, guess.subject).status
        raise FactorNotActiveError(f"The factor is {status} already.") from None
    factor = known.pending or known.active
    if outcome.reason is None and factor is not None:
        steps = steps or _steps_at(context, application, factor, outcome.at, code)
        if not steps:  # a manipulated Redis may remember another outcome of a repeated request
            outcome = outcome._replace(reason=FactorFailure.WRONG_CODE)
    return outcome, steps


def _record_active(
    context: Context, user: UserKey, factor: SealedFactor, label: str, retry: IdempotentRequest | None
) -> None:
    """Record a factor whose first code was right, and bring it into force; raise `NotFoundError` if it was removed."""
    try:
        place = context.ledger.factors.activate(Factor(factor, user.pseudonym, label, created=0))
    except ConflictError:
        if retry is None:
            raise
        # The first request may have died before it ended the enrolment, or is about to end it and has to see that no
        # removal came between.
        context.store.factors.confirm_pending(user, factor.id)
        context.mirror_sync.refresh()
        return
    was_waiting = context.store.factors.forget_pending(user, factor.id)
    if not was_waiting:  # its removal may have been answered before the activation was recorded
        place = context.ledger.factors.remove(factor.id, "other") or place
    context.mirror_sync.write_through(place, [user.pseudonym])
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
    """Check a code of an active factor, of the ``user_name`` if any, and use it up; a wrong code is a result.

    Raises `InvalidCodeError`, `FactorNotActiveError` and `NotFoundError`.
    """
    purpose = _require_purpose(context, application, intent, FactorKind.TOTP)
    user, known = _known(context, application.name, factor_id)
    query = context.mirror_sync.query(user.bucket, ConsentMode.OFF)
    earlier = require_step_up(context, application, purpose, user_name, intent.after) if purpose else None
    if user_name is not None and user != user_key(context, application.name, user_name):
        raise NotFoundError(NOT_FOUND)
    factor = known.active
    if factor is None:
        was_accepted = retry is not None and context.store.factors.was_accepted(user, retry)
        may_be_active = was_accepted or known.pending is None
        if may_be_active and _recorded(context, user, factor_id).status is FactorStatus.ACTIVE:
            raise LedgerUnavailableError(MIRROR_IS_BEHIND)
        if was_accepted:
            return FactorCheck(factor_id, FactorStatus.REMOVED, FactorFailure.REVOKED)
        raise FactorNotActiveError(_NOT_ACTIVE)
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
        reason = FactorFailure.WRONG_CODE  # a manipulated Redis may remember another outcome of a repeated check
    metrics.factor_checks.count(application=application.name, outcome=reason or "accepted")
    if reason is not None or purpose is None:
        return FactorCheck(factor_id, FactorStatus.ACTIVE, reason)
    proof = prove_code(context, application, purpose, factor_id, METHOD_TOTP, user_name, at)
    return FactorCheck(factor_id, FactorStatus.ACTIVE, None, proof=proof)


def _require_purpose(
    context: Context, application: Application, intent: Intent, factor: FactorKind | None
) -> Purpose | None:
    """Return the purpose of a code, if any; raise `ForbiddenError` unless it takes the factor (``None``: recovery)."""
    if intent.purpose is None:
        return None
    purpose = require_purpose(context, application, intent.purpose)
    if not (purpose.recovery if factor is None else factor in purpose.factors):
        codes = "recovery codes" if factor is None else "codes of authenticator apps"
        raise ForbiddenError(f"The purpose {purpose.name!r} takes no {codes}.")
    return purpose


def active_factors(context: Context, application: Application, user: str) -> tuple[str, ...]:
    """Return the identifiers of a user's active apps, by the mirror."""
    return context.store.factors.active(user_key(context, application.name, user))


def find(context: Context, application: Application, user: str) -> tuple[tuple[FactorView, ...], int]:
    """Return the active factors of a user, oldest first, and the number of unused recovery codes."""
    owner = user_key(context, application.name, user)
    factors = context.ledger.factors.of(owner.pseudonym, owner.application)
    usable = context.ledger.recovery_codes.usable(owner.pseudonym, owner.application)
    return tuple(view_of(context, factor) for factor in factors), len(usable)


def read(context: Context, application: Application, factor_id: str) -> FactorView:
    """Return a factor of an application; raises `NotFoundError`."""
    user, known = _known(context, application.name, factor_id)
    if known.pending is not None:
        return _pending_view(context, known.pending, known.label)
    return _recorded(context, user, factor_id)


def rename(context: Context, application: Application, factor_id: str, label: str) -> FactorView:
    """Rename an active factor; raises `FactorNotActiveError` and `NotFoundError`."""
    user, known = _known(context, application.name, factor_id)
    if known.pending is not None:
        raise FactorNotActiveError(_NOT_ACTIVE)
    root = sealing_root(_require_recorded(context, user, factor_id).sealed.secret)  # one key opens all of a factor
    sealed = _seal(context, label.encode(), LABEL, factor_id, application.name, root)
    renamed, view = context.ledger.factors.rename(factor_id, sealed), _recorded(context, user, factor_id)
    if view.status is not FactorStatus.ACTIVE:
        raise FactorNotActiveError(_NOT_ACTIVE)
    return view if renamed else rename(context, application, factor_id, label)  # it was sealed again meanwhile


def remove(
    context: Context, application: str, factor_id: str, reason: str, operator_action: OperatorActionEntry | None = None
) -> FactorView:
    """Remove a factor for a ``reason``, and record the ``operator_action``; raises `NotFoundError`."""
    user, known = _known(context, application, factor_id)
    if known.pending is not None:
        context.store.factors.forget_pending(user, factor_id)
        if context.ledger.factors.find(factor_id) is None:  # otherwise it was activated just now
            return replace(_pending_view(context, known.pending, known.label), status=FactorStatus.REMOVED, label=None)
    _recorded(context, user, factor_id)
    place = context.ledger.factors.remove(factor_id, reason, operator_action)
    if place is None:
        context.mirror_sync.refresh()  # an earlier removal may have failed to bring itself into force
    else:
        context.mirror_sync.write_through(place, [user.pseudonym])
        _log.info("factor_removed", application=application, factor=SafeText(factor_id), reason=reason or "code")
    return _recorded(context, user, factor_id)


def end_enrolments(context: Context, user: UserKey) -> None:
    for factor_id in context.store.factors.pending(user):
        context.store.factors.forget_pending(user, factor_id)


def remove_with_code(
    context: Context, application: Application, factor_id: str, code: str, device: str | None = None
) -> FactorCheck:
    """Remove a factor if its code is right; raises as `check` does."""
    result = check(context, application, factor_id, code, Intent(device=device))
    if not result.valid:
        return result
    remove(context, application.name, factor_id, "")
    return FactorCheck(factor_id, FactorStatus.REMOVED, None)


def new_recovery_codes(context: Context, application: Application, user: str) -> tuple[str, ...]:
    """Return a new series of recovery codes, which replaces an earlier one."""
    owner = user_key(context, application.name, user)
    codes = _derived_codes(context, owner, context.keyring.new_recovery_seed(), None, RECOVERY_CODES)
    _record_series(context, owner, codes)
    return codes


def check_recovery_code(
    context: Context,
    application: Application,
    user: str,
    code: str,
    intent: Intent = Intent(),
    retry: IdempotentRequest | None = None,
) -> RecoveryCheck:
    """Check a recovery code and use it up; a wrong code is a result. A repeated request gets the same new code."""
    purpose = _require_purpose(context, application, intent, None)
    owner, normalised = user_key(context, application.name, user), normalise_recovery_code(code)
    earlier = require_step_up(context, application, purpose, user, intent.after) if purpose else None
    seed, device = context.keyring.new_recovery_seed(), _device(context, application, intent.device)
    guess = CodeAttempt(owner.pseudonym, device, seed, earlier=earlier, retry=retry)
    reason, at, seed = _count_guess(context, application, owner, guess)
    (new,), codes = _derived_codes(context, owner, seed, retry, 1), context.ledger.recovery_codes
    if reason is None:
        hashes = _hash(context, owner, normalised), _hash(context, owner, new)
        result = codes.spend(*hashes, owner.pseudonym, owner.application) or RIGHT
        life = evidence_life(context, application, purpose)
        guess = replace(guess, seed=seed, result=result, event=_RECOVERY_EVENTS[result], evidence_life=life)
        reason, at, _ = _count_guess(context, application, owner, guess)
        if result != RIGHT:  # a manipulated Redis may remember another outcome of a repeated request
            reason = reason or FactorFailure(result)
    metrics.factor_checks.count(application=application.name, outcome=reason or "recovered")
    usable = codes.usable(owner.pseudonym, owner.application)
    if reason is not None:
        return RecoveryCheck(reason, len(usable))
    proof = None
    if purpose is not None:
        proof = prove_code(context, application, purpose, user_id(owner.pseudonym), METHOD_RECOVERY, user, at)
    return RecoveryCheck(None, len(usable), new if _hash(context, owner, new) in usable else None, proof)


def unlock(context: Context, application: str, user: str, operator_action: OperatorActionEntry) -> int:
    """Remove a user's wrong codes and their consequences; record any change; return the number of removed states."""
    owner, ruleset = user_key(context, application, user), context.rulesets[application]
    return perform_action(context, operator_action, lambda: context.store.factors.unlock(owner, ruleset))


def reseal(context: Context) -> Iterator[int]:
    """Seal factors under the active root key; yield the number done after each batch; raises `SealBrokenError`."""
    active, done = context.keyring.active_root, 0
    while factors := context.ledger.factors.sealed_by_others(active, RESEAL_BATCH):
        resealed = []
        for factor in factors:
            application = factor.sealed.application
            secret = _unseal_secret(context, factor.sealed)
            label = _unseal(context, factor.label, LABEL, factor.id, application)
            sealed_secret = _seal(context, secret, SECRET, factor.id, application)
            resealed.append((factor, sealed_secret, _seal(context, label, LABEL, factor.id, application)))
        place = context.ledger.factors.reseal(resealed)
        context.mirror_sync.write_through(place, [factor.user for factor in factors])
        done += len(factors)
        yield done


def count_ahead(context: Context) -> int:
    """Return how many factors refuse codes because a clock ran ahead, at most `RESEAL_BATCH` an application."""
    now = context.store.decisions.now()
    return sum(len(_ahead(context, application, now)) for application in context.applications.values())


def checks_wait(context: Context) -> bool:
    """Return whether checks of factors wait until Redis' clock, which was set back, has caught up."""
    now, buckets = context.store.decisions.now(), context.keyring.buckets
    return any(context.store.factors.waits_since(bucket) > now for bucket in buckets)


def reset_steps(context: Context, operator_action: OperatorActionEntry) -> int:
    """Lower last steps, and times that checks wait for, to Redis' clock; record any change; return how many."""
    now, done = context.store.decisions.now(), 0
    for application in context.applications.values():
        while factors := _ahead(context, application, now):
            place = context.ledger.factors.reset_steps(factors, now, None if done else operator_action)
            context.mirror_sync.write_through(place, [factor.user for factor in factors])
            done += len(factors)
            for bucket in context.keyring.buckets:
                sealed = [factor.sealed for factor in factors if context.keyring.bucket(factor.user) == bucket]
                context.store.factors.reset_steps(bucket, sealed, application.totp_skew)
    if not done and checks_wait(context):
        context.ledger.operator_actions.add(operator_action)
    return done + sum(context.store.factors.reset_steps(bucket, (), TotpSkew()) for bucket in context.keyring.buckets)


def _ahead(context: Context, application: Application, now: int) -> tuple[Factor, ...]:
    return context.ledger.factors.ahead(application.name, application.totp_skew.early, now, RESEAL_BATCH)


def root_key_refusal(context: Context) -> StartRefusal | None:
    """Return why no process may start: secrets are sealed under a root key that is not configured."""
    if not context.keyring.root_ids:  # then the process opens no secrets
        return None
    sealed = context.ledger.factors.root_keys()
    unknown = sorted(sealed.keys() - set(context.keyring.root_ids))
    if not unknown:
        return None
    return StartRefusal(
        RefusalName.KEY_STILL_NEEDED,
        "OTP_SERVICE_ROOT_KEYS",
        f"Of authenticator apps {sum(sealed[root] for root in unknown)} are sealed under {', '.join(unknown)}, and "
        "would be lost.",
        "Add that key behind the others, and before it goes: otp-service factor reseal",
    )


def view_of(context: Context, factor: Factor) -> FactorView:
    status = FactorStatus.ACTIVE if factor.removed is None else FactorStatus.REMOVED
    sealed = factor.sealed
    label = _unseal(context, factor.label, LABEL, factor.id, sealed.application).decode() if factor.label else None
    return FactorView(factor.id, status, label, sealed.parameters, factor.created, factor.used, factor.removed)


def _known(context: Context, application: str, factor_id: str) -> tuple[UserKey, KnownFactor]:
    """Return a factor's user, and the factor as Redis has it; raise `NotFoundError` for another application's."""
    pseudonym = user_of_factor(factor_id)
    if pseudonym is None:
        raise NotFoundError(NOT_FOUND)
    user = UserKey(application, pseudonym, context.keyring.bucket(pseudonym))
    known = context.store.factors.read(user, factor_id)
    if any(factor and factor.application != application for factor in (known.active, known.pending)):
        raise NotFoundError(NOT_FOUND)
    return user, known


def _recorded(context: Context, user: UserKey, factor_id: str) -> FactorView:
    """Return a factor of the ledger; raise `NotFoundError` for none, or another application's."""
    return view_of(context, _require_recorded(context, user, factor_id))


def _require_recorded(context: Context, user: UserKey, factor_id: str) -> Factor:
    factor = context.ledger.factors.find(factor_id)
    if factor is None or factor.sealed.application != user.application:
        raise NotFoundError(NOT_FOUND)
    return factor


def _pending_view(context: Context, factor: SealedFactor, label: str) -> FactorView:
    shown = _unseal(context, label, LABEL, factor.id, factor.application).decode()
    return FactorView(factor.id, FactorStatus.PENDING, shown, factor.parameters)


def _steps_at(context: Context, application: Application, factor: SealedFactor, at: int, code: str) -> tuple[int, ...]:
    """Return the steps of a code within the skew of a time (milliseconds), and one more: the script runs later."""
    steps = application.totp_skew.steps_at(factor.parameters.step_at(at))
    secret = _unseal_secret(context, factor)
    return matching_steps(secret, factor.parameters, code, range(steps.start, steps.stop + 1))


def _count_guess(context: Context, application: Application, user: UserKey, guess: CodeAttempt) -> CodeOutcome:
    query = context.mirror_sync.query(user.bucket, ConsentMode.OFF)
    return context.store.factors.count_guess(user, guess, query, context.rulesets[application.name])


def _record_series(context: Context, user: UserKey, codes: Iterable[str], *, first: bool = False) -> None:
    hashes = [_hash(context, user, code) for code in codes]
    if context.ledger.recovery_codes.replace(user.pseudonym, user.application, hashes, first=first):
        context.store.factors.report(user, "recovery.replaced")
        _log.info("recovery_codes_made", application=user.application)


def _derived_codes(
    context: Context, user: UserKey, seed: str, retry: IdempotentRequest | None, number: int
) -> tuple[str, ...]:
    """Return recovery codes; a repeated request gets the same while the root key of the seed is configured."""
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
