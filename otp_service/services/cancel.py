"""Cancel a verification."""

from otp_service.domain.applications import Application
from otp_service.domain.keyring import Retry
from otp_service.services.context import Context
from otp_service.services.refusals import bucket_or_not_found, error_of
from otp_service.services.view import VerificationView, view_of
from otp_service.store.verifications import Canceled


def cancel(
    context: Context, application: Application, verification_id: str, retry: Retry | None = None
) -> VerificationView:
    """End a pending verification: its code is dead, a message still queued is dropped; raises `OtpServiceError`.

    One that is canceled already is returned as it is.
    """
    bucket = bucket_or_not_found(context.keyring, verification_id)
    outcome = context.store.verifications.cancel(bucket, verification_id, application.name, retry)
    match outcome:
        case Canceled(verification):
            return view_of(context, verification)
        case _:
            raise error_of(outcome)
