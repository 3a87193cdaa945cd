"""otp-service send and check: a verification from the command line."""

import shlex
from pathlib import Path

import click

from otp_service.cli.common import informed_context
from otp_service.cli.output import (
    CHANNELS,
    Command,
    application_named,
    application_option,
    config_option,
    done,
    note,
    program,
)
from otp_service.domain.verification import CheckResult, Reason
from otp_service.errors import ConsentRequiredError
from otp_service.services import verifications as checking
from otp_service.services import verifications as starting
from otp_service.services.verifications import StartRequest, TransactionInput
from otp_service.settings import load_settings

_SENTENCES = {
    Reason.WRONG_CODE: "The code is wrong.",
    Reason.EXPIRED: "The verification has expired: send another.",
    Reason.ALREADY_APPROVED: "The verification was approved before: a code works once.",
    Reason.CANCELED: "The verification was canceled.",
    Reason.MAX_ATTEMPTS_REACHED: "The verification has had all its checks: send another.",
    Reason.NUMBER_LOCKED: "The number has had too many wrong codes (otp-service limits show NUMBER).",
    Reason.TRANSACTION_CHANGED: "The transaction is not the one that the code was sent for.",
    Reason.FAILED: "The code could not be delivered: send another.",
}
_CONSENT = "It comes with a start over HTTP, or by PUT /v1/consents (docs/integration.md)."


def _transaction_options(command: Command) -> Command:
    for name, text in (
        ("--payee", "Who is paid, for a purpose of kind transaction."),
        ("--currency", "ISO 4217, such as PKR."),
        ("--amount", "Such as 1500.00."),
    ):
        command = click.option(name, help=text)(command)
    return command


def _transaction(amount: str | None, currency: str | None, payee: str | None) -> TransactionInput | None:
    if amount is None and currency is None and payee is None:
        return None
    if amount is None or currency is None or payee is None:
        raise click.UsageError("--amount, --currency and --payee are given together.")
    return TransactionInput(amount, currency, payee)


@click.command()
@click.argument("number")
@click.option("--purpose", default="login", show_default=True)
@click.option("--channel", type=CHANNELS, help="Default: the purpose's first.")
@click.option("--client-ip", default="127.0.0.1", show_default=True, help="Address that the start counts for.")
@application_option
@_transaction_options
@config_option
def send(  # noqa: PLR0913, PLR0917 - one parameter an option
    number: str,
    purpose: str,
    channel: str | None,
    client_ip: str,
    name: str | None,
    amount: str | None,
    currency: str | None,
    payee: str | None,
    path: Path | None,
) -> None:
    """Start a verification of NUMBER."""
    transaction = _transaction(amount, currency, payee)
    context = informed_context(load_settings(path))
    application = application_named(context.applications, name)
    request = StartRequest(to=number, channel=channel, purpose=purpose, client_ip=client_ip, transaction=transaction)
    try:
        view = starting.start(context, application, request).view
    except ConsentRequiredError as missing:
        raise click.ClickException(f"{missing} {_CONSENT}") from missing
    again = {"application": name, "amount": amount, "currency": currency, "payee": payee, "config": path}
    options = "".join(f" --{option} {shlex.quote(str(value))}" for option, value in again.items() if value is not None)
    note(f"A code is on its way to {view.mask}. Next: {program()} check {view.verification.id} CODE{options}")
    click.echo(view.verification.id)


@click.command()
@click.argument("verification_id", metavar="ID")
@click.argument("code")
@application_option
@_transaction_options
@config_option
def check(
    verification_id: str,
    code: str,
    name: str | None,
    amount: str | None,
    currency: str | None,
    payee: str | None,
    path: Path | None,
) -> None:
    """Check the CODE of a verification.

    The exit status is 0 when it is approved.
    """
    transaction = _transaction(amount, currency, payee)
    context = informed_context(load_settings(path))
    application = application_named(context.applications, name)
    _report(checking.check(context, application, verification_id, code, transaction))


def _report(result: CheckResult) -> None:
    if result.valid:
        done("approved")
        return
    left = f"{result.checks_left} check{'s' * (result.checks_left != 1)} left"
    sentence = _SENTENCES[result.reason] if result.reason else "The code is not approved."
    raise click.ClickException(f"{sentence} ({result.reason}, {left})")
