"""Read a verification."""

from otp_service.domain.applications import Application
from otp_service.domain.verification import Verification
from otp_service.errors import NotFoundError
from otp_service.services.context import Context
from otp_service.services.refusals import NOT_FOUND, bucket_or_not_found
from otp_service.services.view import VerificationView, view_of


def read(context: Context, application: Application, verification_id: str) -> VerificationView:
    """Return an application's own verification as it is now; raises `NotFoundError`."""
    return view_of(context, find(context, application, verification_id)[1])


def find(context: Context, application: Application, verification_id: str) -> tuple[str, Verification]:
    """Return bucket and record of an application's own verification; raises `NotFoundError`."""
    bucket = bucket_or_not_found(context.keyring, verification_id)
    found = context.store.verifications.read(bucket, verification_id)
    if found is None or found.application != application.name:
        raise NotFoundError(NOT_FOUND)
    return bucket, found
