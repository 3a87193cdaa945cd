"""The header that makes a request safe to repeat."""

from otp_service.api.exchange import Exchange
from otp_service.domain.keyring import Retry, retry_of
from otp_service.services.context import Context

HEADER = "Idempotency-Key"


def retry_from(exchange: Exchange, context: Context, operation: str, document: object) -> Retry | None:
    """Return what the request's ``Idempotency-Key`` and body stand for; ``None`` without the header.

    ``operation`` names the call and the verification it is about. Raises `InvalidRequestError`.
    """
    header = exchange.header(HEADER)
    if header is None:
        return None
    return retry_of(context.keyring, exchange.application.name, operation, header, document)
