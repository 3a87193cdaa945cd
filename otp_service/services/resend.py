"""Send the code of a verification again."""

from otp_service.domain.applications import Application
from otp_service.domain.keyring import Retry
from otp_service.domain.verification import Resend, Verification
from otp_service.services.channels import channel_for
from otp_service.services.codes import derive_tag
from otp_service.services.context import Context
from otp_service.services.counting import counted
from otp_service.services.price import price_of_further
from otp_service.services.read import find
from otp_service.services.refusals import error_of
from otp_service.services.start import Sent
from otp_service.services.view import view_of
from otp_service.store.verifications import Further, Queued
from otp_service.telemetry import metrics, tracing


def resend(
    context: Context,
    application: Application,
    verification_id: str,
    channel: str | None = None,
    retry: Retry | None = None,
) -> Sent:
    """Queue a further message, by default through the channel of the last one; raises `OtpServiceError`.

    The record is read first, for the policy that it was started with; whether a message may go out is decided by
    the script alone. Neither the code's life nor a guess budget is renewed.
    """
    with counted(metrics.record_resend, application) as labels:
        bucket, verification = find(context, application, verification_id)
        labels.purpose, labels.country = verification.purpose.name, verification.country
        wanted = channel_for(context, verification.purpose, verification.country, channel or verification.channel)
        return _queue(context, application, bucket, verification, wanted, retry)


def _queue(
    context: Context,
    application: Application,
    bucket: str,
    verification: Verification,
    channel: str,
    retry: Retry | None,
) -> Sent:
    renew = verification.purpose.resend is Resend.NEW_CODE
    next_tag = derive_tag(context.keyring, verification, verification.generation + 1) if renew else ""
    outcome = context.store.verifications.resend(
        bucket,
        verification,
        Further(channel, next_tag, price_of_further(context, verification, channel), trace=tracing.traceparent()),
        context.reflection.permission(application.withdrawals),
        context.rulesets[verification.application],
        retry,
    )
    match outcome:
        case Queued(sent, quota, noted):
            metrics.record_noted(sent.application, sent.country, noted)
            return Sent(view_of(context, sent), quota)
        case _:
            raise error_of(outcome, verification)
