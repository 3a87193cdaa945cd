"""Replies that match no keyword: support reads each and decides whether it asks to stop."""

from typing import Final

from otp_service.console.accounts import Permission
from otp_service.console.requests import HANDLE_LIFE, Answer, ConsoleRequest, Views
from otp_service.domain.phrases import Phrase
from otp_service.errors import NotFoundError
from otp_service.services.inbound import dismiss, stop_for
from otp_service.store.inbox import WaitingMessage

views = Views()
_PAGE: Final = "/messages"
_ROWS: Final = 50
_ALREADY_DECIDED: Final = "The message was already reviewed, or is older than five days."


@views.view("GET /messages", Permission.FIND, title="Messages to read")
def list_messages(visit: ConsoleRequest) -> Answer:
    """List waiting messages, oldest first, without their texts: reading a text is recorded."""
    waiting = [message for message in visit.context.store.inbox.waiting() if visit.signed_in.sees(message.application)]
    return visit.page("inbox.html", messages=waiting[:_ROWS], count=len(waiting))


@views.view("GET /messages/<name>", Permission.FIND)
def show_message(visit: ConsoleRequest, name: str) -> Answer:
    message = _message(visit, name)
    visit.record_number_view(message.pseudonym, "message", within=HANDLE_LIFE)
    return visit.page("message.html", message=message)


@views.view("POST /messages/<name>/stop", Permission.FIND)
def stop(visit: ConsoleRequest, name: str) -> Answer:
    """Send the writer nothing more."""
    message = _message(visit, name)
    with visit.repeatable():
        stop_for(visit.context, message, visit.operator)
    return visit.done(_PAGE, Phrase("The number gets no more messages."))


@views.view("POST /messages/<name>/dismiss", Permission.FIND)
def dismiss_message(visit: ConsoleRequest, name: str) -> Answer:
    """Remove a message that asks for nothing from the list."""
    if not dismiss(visit.context, _message(visit, name), visit.operator):
        raise NotFoundError(_ALREADY_DECIDED)
    return visit.done(_PAGE, Phrase("The message is dismissed."))


def _message(visit: ConsoleRequest, name: str) -> WaitingMessage:
    """Return a message that the user may read; raise `NotFoundError`."""
    message = visit.context.store.inbox.find(name)
    if message is None or not visit.signed_in.sees(message.application):
        raise NotFoundError(_ALREADY_DECIDED)
    return message
