"""otp-service inbox: messages from people that match no keyword."""

import click

from otp_service.cli import output as out
from otp_service.cli.common import Session, command
from otp_service.cli.doctor import warn_of_mirror
from otp_service.domain.consents import EVERY_APPLICATION
from otp_service.services.inbound import dismiss, stop_for
from otp_service.store.inbox import WaitingMessage


@click.group()
def inbox() -> None:
    """Read replies that match no keyword, and decide.

    Each message waits for five days. Some ask for an end of the messages in their own words.
    """


_message_id = click.argument("message_id", metavar="ID")


@command(inbox, "List the messages that wait.")
def list_(session: Session) -> None:
    """List the messages that wait, oldest first."""
    rows = [(one.id, out.when(one.received), one.application, one.gateway, one.mask, one.text)
            for one in session.context.store.inbox.waiting()]  # fmt: skip
    out.table("messages", ("ID", "Received", "Application", "Gateway", "From", "Text"), rows)


@command(inbox)
@_message_id
def stop(session: Session, message_id: str) -> None:
    """Send the writer of the message ID nothing more: it asks to stop."""
    message = _waiting(session, message_id)
    stop_for(session.context, message, session.operator)
    whose = message.application or "any application"
    out.done(
        f"{message.mask} gets no more messages of {whose}.",
        id=message_id, to=message.mask, application=message.application or EVERY_APPLICATION,
    )  # fmt: skip
    warn_of_mirror(session.context)


@command(inbox, name="dismiss")
@_message_id
def dismiss_(session: Session, message_id: str) -> None:
    """Delete the message ID: it asks for nothing."""
    if not dismiss(session.context, _waiting(session, message_id), session.operator):
        raise click.ClickException("Somebody has decided already.")
    out.done("The message is dismissed.", id=message_id)


def _waiting(session: Session, message_id: str) -> WaitingMessage:
    message = session.context.store.inbox.find(message_id)
    if message is None:
        raise click.ClickException(f"No message {message_id} waits: somebody has decided, or it was older than 5 days.")
    return message
