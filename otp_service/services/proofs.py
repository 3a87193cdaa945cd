"""Prove approvals, let a proof be used once, and ask for one of an earlier approval."""

import re
from typing import Any, Final

from otp_service.domain.applications import Application
from otp_service.domain.codes import is_code, unseal_details
from otp_service.domain.keyring import user_of
from otp_service.domain.payments import Transaction
from otp_service.domain.proofs import METHODS, NOT_OURS, Approval
from otp_service.domain.verification import Purpose, Verification
from otp_service.errors import (
    AlreadyRedeemedError,
    ForbiddenError,
    InvalidProofError,
    NotFoundError,
    StepUpRequiredError,
)
from otp_service.services.context import Context

_OF_USER: Final = re.compile(r"(\w+)\.\d+")
"""The name of an approval that was no verification's: a factor or user, and when (milliseconds)."""


def require_purpose(context: Context, application: Application, name: str) -> Purpose:
    """Return a purpose of an application; raise `ForbiddenError` for any other."""
    purpose = context.purposes.get(name)
    if purpose is None or purpose.name not in application.purposes:
        raise ForbiddenError("The application has no such purpose.")
    return purpose


def prove_verification(
    context: Context, approved: Verification, transaction: Transaction | None, at: int, typed: str | None = None
) -> str | None:
    """Return the proof of a verification's approval ``at`` a time (milliseconds); ``None`` where that is not known.

    ``transaction`` is the payment that the right code was typed for, in canonical form. Nothing is proved where the
    code that was ``typed`` is not, by the keys, that of verification, purpose and payment: somebody wrote to Redis.
    """
    if context.proof_signer is None or not at:
        return None
    if typed is not None and not is_code(context.keyring, approved, transaction, typed):
        return None
    purpose = context.purposes.get(approved.purpose.name, approved.purpose)
    approval = Approval(
        application=approved.application,
        id=approved.id,
        purpose=purpose.name,
        at=at // 1000,
        methods=(METHODS[approved.channel],),
        verification=approved.id,
        acr=purpose.acr,
        user=unseal_details(context.keyring, approved).user,
        transaction=transaction,
    )
    return context.proof_signer.sign(approval)


def prove_code(
    context: Context, application: Application, purpose: Purpose, about: str, method: str, user: str | None, at: int
) -> str | None:
    """Return the proof that a code ``about`` a factor, or a user, was accepted ``at`` a time (milliseconds).

    ``None`` where the application gets no proofs.
    """
    if context.proof_signer is None or not application.proofs:
        return None
    approval = Approval(
        application=application.name,
        id=f"{about}.{at}",
        purpose=purpose.name,
        at=at // 1000,
        methods=(method,),
        factor=about if about.startswith("fa_") else None,
        acr=purpose.acr,
        user=user,
    )
    return context.proof_signer.sign(approval)


def redeem(context: Context, application: Application, proof: str) -> dict[str, Any]:
    """Return the claims of an application's own proof, the first time.

    Raises `InvalidProofError`, and `AlreadyRedeemedError` also when Redis has lost what it proves.
    """
    if context.proof_signer is None:
        raise NotFoundError("There are no proofs here.")
    claims = context.proof_signer.read(proof, application.name)
    if context.store.decisions.now() >= 1000 * claims["exp"]:
        raise InvalidProofError(NOT_OURS)
    if not _use(context, application, claims["jti"]):
        raise AlreadyRedeemedError("The proof was redeemed before, or what it proves is not known any more.")
    return claims


def _use(context: Context, application: Application, approval: str) -> bool:
    if bucket := context.keyring.bucket_of_id(approval):
        return context.store.verifications.redeem(bucket, approval, application.name)
    named = _OF_USER.fullmatch(approval)
    user = user_of(named[1]) if named else None
    return user is not None and context.store.factors.redeem(context.keyring.bucket(user), approval)


def require_step_up(
    context: Context,
    application: Application,
    purpose: Purpose,
    user: str | None,
    proof: str | None,
    now: int | None = None,
) -> None:
    """Raise `StepUpRequiredError` unless the purpose needs none, or a proof shows that the user approved another first.

    ``user`` is the application's own name, which the proof has to have as ``sub``; ``now`` the time by Redis' clock in
    milliseconds, ``None`` where it has to be asked for.
    """
    if purpose.after and not _proves(context, application, purpose, user, proof, now):
        needed = " or ".join(purpose.after)
        raise StepUpRequiredError(f"Pass as after a proof that the same user approved {needed} lately.")


def _proves(
    context: Context, application: Application, purpose: Purpose, user: str | None, proof: str | None, now: int | None
) -> bool:
    if context.proof_signer is None or user is None or proof is None:
        return False
    try:
        claims = context.proof_signer.read(proof, application.name)
    except InvalidProofError:
        return False
    if claims["purpose"] not in purpose.after or claims.get("sub") != user:
        return False
    now = context.store.decisions.now() if now is None else now
    return bool(now // 1000 - claims["auth_time"] <= purpose.after_max_age)
