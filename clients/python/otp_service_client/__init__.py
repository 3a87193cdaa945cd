"""A client of otp-service: `OtpService` blocks, `AsyncOtpService` is awaited."""

from otp_service_client.answers import CheckResult, StartedVerification, Verification
from otp_service_client.client import AsyncOtpService, OtpService
from otp_service_client.errors import (
    ApiError,
    Conflict,
    ConnectionFailed,
    Forbidden,
    InvalidProof,
    InvalidRequest,
    InvalidWebhook,
    NotFound,
    OtpError,
    RateLimited,
    Refused,
    TimedOut,
    Unauthenticated,
    Unavailable,
)
from otp_service_client.inputs import Consent, Transaction

__all__ = [
    "ApiError",
    "AsyncOtpService",
    "CheckResult",
    "Conflict",
    "ConnectionFailed",
    "Consent",
    "Forbidden",
    "InvalidProof",
    "InvalidRequest",
    "InvalidWebhook",
    "NotFound",
    "OtpError",
    "OtpService",
    "RateLimited",
    "Refused",
    "StartedVerification",
    "TimedOut",
    "Transaction",
    "Unauthenticated",
    "Unavailable",
    "Verification",
]
