"""otp-service factor: authenticator apps."""

from typing import get_args

import click

from otp_service.cli import output as out
from otp_service.cli.common import Session, application_option, command
from otp_service.cli.doctor import warn_of_mirror
from otp_service.domain.audit import OperatorAction
from otp_service.domain.totp import RemovalReason
from otp_service.services import factors

_user = click.argument("user")


@click.group()
def factor() -> None:
    """Manage the authenticator apps of users.

    USER is the application's identifier of the user.
    """


@command(factor, "List the authenticator apps of USER.", name="list", applications=True)
@application_option
@_user
def list_factors(session: Session, name: str | None, user: str) -> None:
    """List the active authenticator apps of USER, oldest first. Times are in UTC."""
    active, left = factors.find(session.context, session.application(name), user)
    rows = [(factor.id, factor.label, out.when(factor.created), out.when(factor.used)) for factor in active]
    out.table("factors", ("Factor", "Label", "Activated", "Last used"), rows)
    if not out.in_json(recovery_codes_left=left):
        out.note(f"{out.count_of(left, 'unused recovery code')}.")


@command(factor, asks=True, applications=True)
@application_option
@click.option("--reason", type=click.Choice(get_args(RemovalReason)), required=True, help="Why the user has no code.")
@click.argument("factor_id", metavar="FACTOR")
def remove(session: Session, name: str | None, reason: str, factor_id: str) -> None:
    """Remove the app FACTOR, an identifier from list.

    Verify the user's identity first.
    """
    application = session.application(name).name
    session.confirm(f"Remove {factor_id}? Its codes will be refused.")
    operator_action = session.action(OperatorAction.FACTOR_REMOVED, application, factor_id)
    factors.remove(session.context, application, factor_id, reason, operator_action)
    out.done(f"Removed: {factor_id} ({reason}).", factor=factor_id, reason=reason)
    warn_of_mirror(session.context)


@command(factor, applications=True)
@application_option
@_user
def unlock(session: Session, name: str | None, user: str) -> None:
    """Reset the wrong codes of USER.

    This ends the resulting waits and the lock.
    """
    application = session.application(name).name
    operator_action = session.action(OperatorAction.FACTORS_UNLOCKED, application)
    if not factors.unlock(session.context, application, user, operator_action):
        raise click.ClickException(f"This user of {application} is not locked.")
    out.done(f"Unlocked: the user may try again at {application}.", application=application)


@command(factor, name="reset-steps", asks=True)
def reset_steps(session: Session) -> None:
    """Make apps usable again after a clock ran ahead.

    For apps whose last accepted code is ahead of Redis' clock. Correct the clock first. Codes until now stay used; a
    code that was accepted ahead of its time can be accepted once more.
    """
    session.confirm("Lower the last steps that are ahead of Redis' clock? Is the clock correct?")
    done = factors.reset_steps(session.context, session.action(OperatorAction.FACTOR_STEPS_RESET))
    if not done:
        raise click.ClickException("No app is ahead of Redis' clock.")
    out.done(f"Reset: {done}. Codes from now on are accepted.", reset=done)
    warn_of_mirror(session.context)


@command(factor)
def reseal(session: Session) -> None:
    """Seal all secrets under the active root key.

    Older root keys can then be removed.
    """
    done = 0
    for count in out.track("Authenticator apps", factors.reseal(session.context)):
        done = count
    if done:
        session.context.ledger.operator_actions.add(session.action(OperatorAction.FACTORS_RESEALED))
    active = session.context.keyring.active_root
    sealed = out.count_of(done, "authenticator app")
    out.done(f"Resealed: {sealed}. All are under {active} now.", sealed=done, root_key=active)
    warn_of_mirror(session.context)
