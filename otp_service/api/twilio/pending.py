"""Starts and reads by number, which Twilio Verify has in place of identifiers."""

from dataclasses import replace

from otp_service.domain.applications import Application
from otp_service.domain.numbers import destination_of, subject_key
from otp_service.errors import NotFoundError
from otp_service.services.context import Context
from otp_service.services.start import PendingError, StartRequest, start
from otp_service.services.verifications import NOT_FOUND, VerificationView, read, replicated, resend, view_of
from otp_service.store.verifications import NOTHING


def start_or_resend(context: Context, application: Application, request: StartRequest) -> VerificationView:
    """Start a verification, or resend a pending one of the number, the purpose and the transaction.

    Of concurrent calls only the first starts a verification. Raises as `start` and `resend` do.
    """
    allowed = NOTHING
    while True:
        try:
            return start(context, application, replace(request, allowed_pending=allowed))
        except PendingError as pending:
            allowed = pending.verification_id
        requested = request.transaction
        transaction = requested.canonical(application.payees) if requested else None
        if read(context, application, allowed).details.transaction == transaction:
            return resend(context, application, allowed, request.channel)


def read_latest(context: Context, application: Application, purpose: str, to: str) -> VerificationView:
    """Return the newest verification of a number for a purpose as it is now.

    Raises `NotFoundError`, and `UnacceptableError` if ``to`` is not a phone number.
    """
    subject = subject_key(context.keyring, destination_of(application, to, None))
    newest = context.store.verifications.find(subject.bucket, subject.pseudonym, application.name, purpose)
    if newest is None:
        raise NotFoundError(NOT_FOUND)
    return view_of(context, replicated(context, subject.bucket, newest))
