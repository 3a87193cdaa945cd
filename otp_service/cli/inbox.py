"""otp-service inbox: inbound messages that match no keyword."""

import click

from otp_service.cli import output as out
from otp_service.cli.common import Session, command
from otp_service.cli.doctor import warn_of_mirror
from otp_service.domain.consents import EVERY_APPLICATION
from otp_service.services.inbound import dismiss, stop_for
from otp_service.store.inbox import WaitingMessage


@click.group()
def inbox() -> None:
    """Review inbound messages that match no keyword.

    Some of them opt out in other words. A message is stored for five days.
    """


_message_id = click.argument("message_id", metavar="ID")


@command(inbox, "List the messages to review.")
def list_(session: Session) -> None:
    """List the messages to review, oldest first."""
    rows = [(message.id, out.when(message.received), message.application, message.gateway, message.mask, message.text)
            for message in session.context.store.inbox.waiting()]  # fmt: skip
    out.table("messages", ("ID", "Received", "Application", "Gateway", "From", "Text"), rows)


@command(inbox)
@_message_id
def stop(session: Session, message_id: str) -> None:
    """Suppress the sender of the message ID."""
    message = _waiting(session, message_id)
    stop_for(session.context, message, session.operator)
    whose = message.application or "any application"
    out.done(
        f"Suppressed: messages of {whose} to {message.mask}.",
        id=message_id, to=message.mask, application=message.application or EVERY_APPLICATION,
    )  # fmt: skip
    warn_of_mirror(session.context)


@command(inbox, name="dismiss")
@_message_id
def dismiss_(session: Session, message_id: str) -> None:
    """Delete the message ID, which needs no action."""
    if not dismiss(session.context, _waiting(session, message_id), session.operator):
        raise click.ClickException("The message was already reviewed.")
    out.done("The message is dismissed.", id=message_id)


def _waiting(session: Session, message_id: str) -> WaitingMessage:
    message = session.context.store.inbox.find(message_id)
    if message is None:
        raise click.ClickException(f"No message {message_id}: already reviewed, or older than five days.")
    return message
