"""Prove approvals, let a proof be used once, and ask for one of an earlier approval."""

import re
from typing import Any, Final

from otp_service.domain.applications import Application
from otp_service.domain.codes import is_code, unseal_details
from otp_service.domain.keyring import user_of
from otp_service.domain.payments import Transaction
from otp_service.domain.proofs import METHODS, NOT_OURS, Approval, EarlierApproval
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

    Raises `InvalidProofError`, also where what the proof rests on was revoked, and `AlreadyRedeemedError`, also when
    Redis has lost what it proves.
    """
    if context.proof_signer is None:
        raise NotFoundError("Proofs are not enabled.")
    claims = context.proof_signer.read(proof, application.name)
    if context.store.decisions.now() >= 1000 * claims["exp"]:
        raise InvalidProofError(NOT_OURS)
    bucket = _bucket_of(context, claims["jti"])
    if bucket is None or not context.store.verifications.redeem(bucket, claims["jti"], application.name):
        raise AlreadyRedeemedError("The proof was redeemed before, or what it proves is not known any more.")
    return claims


def _bucket_of(context: Context, approval: str) -> str | None:
    """Return where the evidence of an approval is kept; ``None`` for what is no name of one."""
    if bucket := context.keyring.bucket_of_id(approval):
        return bucket
    named = _OF_USER.fullmatch(approval)
    user = user_of(named[1]) if named else None
    return context.keyring.bucket(user) if user else None


def evidence_life(context: Context, application: Application, purpose: Purpose | None) -> int:
    """Return for how many milliseconds an approval is evidence; 0 where nothing proves it."""
    signer = context.proof_signer
    return signer.evidence_life(purpose.name) if signer and application.proofs and purpose else 0


def require_step_up(
    context: Context, application: Application, purpose: Purpose, user: str | None, proof: str | None
) -> EarlierApproval | None:
    """Return the earlier approval that a purpose needs, ``None`` where it needs none; raise `StepUpRequiredError`.

    The proof has to be of one of the purposes that come before, and to name the ``user``, by the application's own
    name. Whether the approval is still valid, young enough and not used is for the script to say that starts or checks.
    """
    if not purpose.after:
        return None
    needed = " or ".join(purpose.after)
    refused = StepUpRequiredError(f"Pass as after a proof that the same user approved {needed} recently.")
    if context.proof_signer is None or user is None or proof is None:
        raise refused
    try:
        claims = context.proof_signer.read(proof, application.name)
    except InvalidProofError:
        raise refused from None
    bucket = _bucket_of(context, claims["jti"])
    if bucket is None or claims["purpose"] not in purpose.after or claims.get("sub") != user:
        raise refused
    return EarlierApproval(claims["jti"], bucket, 1000 * (claims["auth_time"] + purpose.after_max_age + 1))
