"""otp-service check: check a code."""

import click

from otp_service.cli import output as out
from otp_service.cli.common import Session, application_option, command, payment_options
from otp_service.domain.payments import Transaction
from otp_service.domain.verification import CheckFailure
from otp_service.services import verifications

_SENTENCES = {
    CheckFailure.WRONG_CODE: "The code is wrong.",
    CheckFailure.EXPIRED: "The verification has expired: send another.",
    CheckFailure.ALREADY_APPROVED: "The verification was approved before: a code works once.",
    CheckFailure.CANCELED: "The verification was canceled.",
    CheckFailure.MAX_ATTEMPTS_REACHED: "The verification has had all its checks: send another.",
    CheckFailure.NUMBER_LOCKED: "The number has had too many wrong codes (otp-service limits show NUMBER).",
    CheckFailure.TRANSACTION_CHANGED: "The transaction is not the one that the code was sent for.",
    CheckFailure.FAILED: "The code could not be delivered: send another.",
}


@command(applications=True)
@click.argument("verification_id", metavar="ID")
@click.argument("code")
@application_option
@payment_options
def check(session: Session, verification_id: str, code: str, name: str | None, transaction: Transaction | None) -> None:
    """Check the CODE of a verification.

    The exit status is 0 when it is approved.
    """
    application = session.application(name)
    result = verifications.check(session.context, application, verification_id, code, transaction)
    if not result.valid:
        sentence = _SENTENCES[result.reason] if result.reason else "The code is not approved."
        raise click.ClickException(f"{sentence} ({result.reason}, {out.count_of(result.checks_left, 'check')} left)")
    out.done("approved")
