"""Check a code."""

from otp_service.domain.applications import Application
from otp_service.domain.keyring import Retry, normalise_code
from otp_service.domain.verification import CheckResult, Status
from otp_service.services.context import Context
from otp_service.services.refusals import bucket_or_not_found, error_of
from otp_service.services.transactions import TransactionInput, transaction_of
from otp_service.store.verifications import Checked
from otp_service.telemetry import metrics
from otp_service.telemetry.logging import get_logger

_log = get_logger(__name__)


def check(
    context: Context,
    application: Application,
    verification_id: str,
    code: str,
    transaction: TransactionInput | None = None,
    retry: Retry | None = None,
) -> CheckResult:
    """Count a guess, compare it, and consume the code when it is right; raises `OtpServiceError`.

    A wrong code is a result. Whatever could not be a code of this verification is an error and not counted.
    """
    digits = normalise_code(code)
    keyring = context.keyring
    bucket = bucket_or_not_found(keyring, verification_id)
    digest = keyring.transaction_digest(verification_id, transaction_of(application, transaction))
    outcome = context.store.verifications.check(
        bucket,
        verification_id,
        application.name,
        keyring.tag(verification_id, application.name, digest, digits),
        len(digits),
        digest,
        context.rulesets[application.name],
        retry,
    )
    match outcome:
        case Checked(status, reason, checks_left, alarm):
            if alarm:
                metrics.record_alarm(application.name)
                _log.warning("application_failures", application=application.name, advice="otp-service guard status")
            metrics.record_check(application.name, reason or Status.APPROVED)
            return CheckResult(verification_id, status, reason is None, checks_left, reason)
        case _:
            raise error_of(outcome)
