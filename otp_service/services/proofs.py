"""Prove approvals, and let a proof be used once."""

from typing import Any

from otp_service.domain.applications import Application
from otp_service.domain.codes import unseal_details
from otp_service.domain.payments import Transaction
from otp_service.domain.proofs import METHODS, Approval
from otp_service.errors import AlreadyRedeemedError, NotFoundError
from otp_service.services.context import Context


def prove(
    context: Context, application: Application, verification_id: str, transaction: Transaction | None, at: int
) -> str | None:
    """Return the proof of a verification's approval ``at`` a time (milliseconds); ``None`` when its record is gone.

    ``transaction`` is the payment that the right code was typed for, in canonical form.
    """
    bucket = context.keyring.bucket_of_id(verification_id)
    if context.proof_signer is None or bucket is None or not at:
        return None
    found = context.store.verifications.read(bucket, verification_id)
    if found is None:
        return None
    purpose = context.purposes.get(found.purpose.name, found.purpose)
    approval = Approval(
        application=application.name,
        verification=verification_id,
        purpose=purpose.name,
        at=at // 1000,
        methods=(METHODS[found.channel],),
        acr=purpose.acr,
        user=unseal_details(context.keyring, found).user,
        transaction=transaction,
    )
    return context.proof_signer.sign(approval)


def redeem(context: Context, application: Application, proof: str) -> dict[str, Any]:
    """Return the claims of an application's own proof, the first time.

    Raises `InvalidProofError`, and `AlreadyRedeemedError` also when Redis has lost what it proves.
    """
    if context.proof_signer is None:
        raise NotFoundError("There are no proofs here.")
    claims = context.proof_signer.read(proof, application.name)
    verification_id = claims["verification"]
    bucket = context.keyring.bucket_of_id(verification_id)
    if bucket is None or not context.store.verifications.redeem(bucket, verification_id, application.name):
        raise AlreadyRedeemedError("The proof was redeemed before, or its verification is not known any more.")
    return claims
