"""Messages that the sandbox gateway caught instead of sending them."""

from otp_service.domain.applications import Application
from otp_service.errors import NotFoundError
from otp_service.services.context import Context
from otp_service.store.sandbox import CaughtMessage

SANDBOX_KIND = "sandbox"


def caught_messages(context: Context, application: Application, verification_id: str | None) -> list[CaughtMessage]:
    """Return an application's caught messages, newest first: of one verification, or the last 100.

    Raises `NotFoundError` where no sandbox gateway is configured.
    """
    if not any(gateway.kind == SANDBOX_KIND for gateway in context.gateways.values()):
        raise NotFoundError("There is no sandbox gateway here.")
    return context.store.mailbox.messages(application.name, verification_id)
