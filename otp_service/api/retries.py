"""The header that makes a request safe to repeat."""

from flask import request

from otp_service.api.auth import caller
from otp_service.core.idempotency import Retry, retry_of
from otp_service.services.context import Context

HEADER = "Idempotency-Key"


def retry_from(context: Context, operation: str, document: object) -> Retry | None:
    """Return what the request's ``Idempotency-Key`` and body stand for; ``None`` without the header.

    ``operation`` names the call and the verification it is about. Raises `InvalidRequestError`.
    """
    header = request.headers.get(HEADER)
    if header is None:
        return None
    return retry_of(context.keyring, caller().name, operation, header, document)
