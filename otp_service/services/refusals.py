"""What the store refuses, as errors that a caller understands."""

from otp_service.domain.guard import RULES, Tells, coarse_retry_after, whole_seconds
from otp_service.domain.keyring import Keyring
from otp_service.domain.verification import Verification
from otp_service.errors import (
    BacklogFullError,
    ConflictError,
    ConsentOutdatedError,
    ConsentRequiredError,
    FrozenError,
    IdempotencyMismatchError,
    InvalidCodeError,
    InvalidTransactionError,
    LedgerUnavailableError,
    NoSendsLeftError,
    NotFoundError,
    OtpServiceError,
    RateLimitedError,
    ResendTooSoonError,
    SuppressedError,
)
from otp_service.store.verifications import Final, Refusal, Refused, RefusedByRule, TooSoon, WrongLength
from otp_service.telemetry import metrics

NOT_FOUND = "There is no such verification."

_PLAIN: dict[Refusal, tuple[type[OtpServiceError], str]] = {
    Refusal.NOT_FOUND: (NotFoundError, NOT_FOUND),
    Refusal.MISMATCH: (IdempotencyMismatchError, "The idempotency key was used before with another request."),
    Refusal.TRANSACTION_MISSING: (InvalidTransactionError, "The purpose confirms a transaction; it is missing."),
    Refusal.TRANSACTION_UNWANTED: (InvalidTransactionError, "The purpose confirms no transaction."),
    Refusal.NO_SENDS_LEFT: (NoSendsLeftError, "All messages of this verification have been sent."),
    Refusal.EVENTS_FULL: (LedgerUnavailableError, "Too much that happened is not recorded yet."),
    Refusal.MIRROR_BEHIND: (LedgerUnavailableError, "It cannot be told now who wants no messages."),
    Refusal.SUPPRESSED: (SuppressedError, "This person or your operator wants no messages to the number."),
    Refusal.FROZEN: (FrozenError, "The number is frozen: fraud was reported."),
    Refusal.CONSENT_REQUIRED: (ConsentRequiredError, "No consent for this number and purpose is in force."),
    Refusal.CONSENT_OUTDATED: (ConsentOutdatedError, "The consent was withdrawn after this one was given."),
    Refusal.BACKLOG_FULL: (BacklogFullError, "Too many messages wait to be delivered."),
    Refusal.OVERTAKEN: (ConflictError, "Another resend of this verification was faster."),
}


_OWN = {
    "application.requests": "The application's quota is used up.",
    "application.failures": "Most codes that the application checks are wrong; messages are stopped for a while.",
}
"""What the application is told of its own rules, where that is not the rule's sentence."""


def error_of(refused: Refused, verification: Verification | None = None) -> OtpServiceError:
    """Return the error that a refusal means, of a message of a verification where it is one: then it is counted.

    A recipient's limits, the lock for guesses among them, are answered alike: a stranger shall not learn from
    them what others do with a number.
    """
    match refused:
        case RefusedByRule():
            if verification:
                metrics.record_refusal(verification.application, verification.country, refused.rule)
            return _by_rule(refused)
        case TooSoon(wait):
            return ResendTooSoonError("The last message was sent too recently.", whole_seconds(wait))
        case Final(status):
            return ConflictError(f"The verification is {status}.")
        case WrongLength(length):
            return InvalidCodeError(f"The codes of this verification have {length} digits.")
        case _:
            error, message = _PLAIN[refused]
            return error(message)


def _by_rule(refused: RefusedByRule) -> RateLimitedError:
    rule = RULES[refused.rule]
    if rule.tells is Tells.PLAINLY:
        quota = refused.quota if refused.rule == "application.requests" else None
        error = RateLimitedError(_OWN.get(refused.rule, rule.sentence), whole_seconds(refused.wait), quota)
    else:
        error = RateLimitedError("Too many requests for this recipient.", coarse_retry_after(refused.wait))
    error.decision = refused.decision
    return error


def bucket_or_not_found(keyring: Keyring, verification_id: str) -> str:
    """Return the bucket that an id names; raise `NotFoundError` for what cannot be an id of ours."""
    bucket = keyring.bucket_of_id(verification_id)
    if bucket is None:
        raise NotFoundError(NOT_FOUND)
    return bucket
