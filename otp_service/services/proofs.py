"""Prove approvals, redeem proofs once, and require proofs of earlier approvals."""

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
"""The name of an approval without verification: a factor or user, and the time in milliseconds."""


def require_purpose(context: Context, application: Application, name: str) -> Purpose:
    """Return an application's own purpose; raise `ForbiddenError` for any other name."""
    purpose = context.purposes.get(name)
    if purpose is None or purpose.name not in application.purposes:
        raise ForbiddenError("The application has no such purpose.")
    return purpose


def prove_verification(
    context: Context, approved: Verification, transaction: Transaction | None, at: int, typed: str | None = None
) -> str | None:
    """Return the proof of a verification's approval ``at`` a time (milliseconds); ``None`` without signer or time.

    ``transaction`` is the confirmed payment, in canonical form. A ``typed`` code that the keys do not derive for
    verification, purpose and payment proves nothing: Redis was tampered with.
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
    context: Context, application: Application, purpose: Purpose, owner: str, method: str, user: str | None, at: int
) -> str | None:
    """As `prove_verification`, for the code of a factor or user, the ``owner``."""
    if context.proof_signer is None or not application.proofs:
        return None
    approval = Approval(
        application=application.name,
        id=f"{owner}.{at}",
        purpose=purpose.name,
        at=at // 1000,
        methods=(method,),
        factor=owner if owner.startswith("fa_") else None,
        acr=purpose.acr,
        user=user,
    )
    return context.proof_signer.sign(approval)


def redeem(context: Context, application: Application, proof: str) -> dict[str, Any]:
    """Return the claims of an application's own proof; raises `InvalidProofError` and `AlreadyRedeemedError`."""
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
    """Return the bucket that stores an approval; ``None`` for a name of no approval."""
    if bucket := context.keyring.bucket_of_id(approval):
        return bucket
    named = _OF_USER.fullmatch(approval)
    user = user_of(named[1]) if named else None
    return context.keyring.bucket(user) if user else None


def evidence_life(context: Context, application: Application, purpose: Purpose | None) -> int:
    """Return for how many milliseconds an approval is evidence; 0 without proofs."""
    signer = context.proof_signer
    return signer.evidence_life(purpose.name) if signer and application.proofs and purpose else 0


def require_step_up(
    context: Context, application: Application, purpose: Purpose, user: str | None, proof: str | None
) -> EarlierApproval | None:
    """Return the earlier approval that a purpose needs, ``None`` for no need; raise `StepUpRequiredError`.

    The proof has to be of one of the purposes in ``after``, and to name the ``user``, by the application's own name.
    The script that starts or checks decides whether the approval is still valid, young enough and unused.
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
