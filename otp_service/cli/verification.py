"""otp-service send and check: start a verification and check its code, as an application would."""

import shlex
from dataclasses import asdict
from typing import Any

import click

from otp_service.cli import output as out
from otp_service.cli.common import CHANNELS, Session, application_option, command, payment_options
from otp_service.domain.payments import Transaction
from otp_service.domain.verification import CheckFailure
from otp_service.errors import ConsentRequiredError
from otp_service.services.start import StartRequest, start
from otp_service.services.verifications import check as check_code

_CONSENT = "It comes with a start over HTTP, or by PUT /v1/consents (docs/integration.md)."


@command(applications=True)
@click.argument("to", metavar="NUMBER")
@click.option("--purpose", default="login", show_default=True)
@click.option("--channel", type=CHANNELS, help="Default: the purpose's first.")
@click.option("--client-ip", default="127.0.0.1", show_default=True, help="Address that the start counts for.")
@application_option
@payment_options
def send(session: Session, name: str | None, **request: Any) -> None:  # noqa: ANN401 - the fields of `StartRequest`
    """Start a verification of NUMBER."""
    try:
        view = start(session.context, session.application(name), StartRequest(**request))
    except ConsentRequiredError as missing:
        raise click.ClickException(f"{missing} {_CONSENT}") from missing
    if out.in_json(id=view.verification.id, to=view.mask):
        return
    payment = request["transaction"]
    again = {"application": name, **(asdict(payment) if payment else {}), "config": session.path}
    options = "".join(f" --{option} {shlex.quote(str(value))}" for option, value in again.items() if value is not None)
    out.note(f"A code is on its way to {view.mask}. Next: {out.program()} check {view.verification.id} CODE{options}")
    click.echo(view.verification.id)


_SENTENCES = {
    CheckFailure.WRONG_CODE: "The code is wrong.",
    CheckFailure.EXPIRED: "The verification has expired: send another.",
    CheckFailure.ALREADY_APPROVED: "The verification was approved before: a code works once.",
    CheckFailure.CANCELED: "The verification was canceled.",
    CheckFailure.MAX_ATTEMPTS_REACHED: "The verification has had all its checks: send another.",
    CheckFailure.NUMBER_LOCKED: "The number has had too many wrong codes (otp-service limits show NUMBER).",
    CheckFailure.TRANSACTION_CHANGED: "The transaction is not the one that the code was sent for.",
    CheckFailure.FAILED: "The code could not be delivered: send another.",
    CheckFailure.REVOKED: "The number or the user was frozen or erased since.",
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
    result = check_code(session.context, application, verification_id, code, transaction)
    out.in_json(valid=result.valid, reason=result.reason, checks_left=result.checks_left)
    if not result.valid:
        sentence = _SENTENCES[result.reason] if result.reason else "The code is not approved."
        raise click.ClickException(f"{sentence} ({result.reason}, {out.count_of(result.checks_left, 'check')} left)")
    out.done("approved")
