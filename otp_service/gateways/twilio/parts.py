"""Twilio: what a message is made of, by its channel."""

import json

from otp_service.domain.templates import Message
from otp_service.gateways.base import FailureKind, GatewayError
from otp_service.gateways.twilio.settings import TwilioSettings


def sms_parts(message: Message, settings: TwilioSettings) -> dict[str, str | None]:
    """Return who writes to whom, and the text."""
    sender = {"from_": message.sender or settings.from_, "messaging_service_sid": settings.messaging_service_sid}
    return {"to": message.to, "body": message.text, **sender}


def whatsapp_parts(message: Message, settings: TwilioSettings) -> dict[str, str | None]:
    """Return who writes to whom, and a template filled in: never a payment as a mere login. Raises `GatewayError`."""
    paying = "amount" in message.variables
    template = settings.whatsapp_payment_content_sid if paying else settings.whatsapp_content_sid
    names = settings.whatsapp_payment_content_variables if paying else settings.whatsapp_content_variables
    ends: dict[str, str | None] = {"to": f"whatsapp:{message.to}", "from_": f"whatsapp:{settings.whatsapp_from}"}
    if template is None:
        return {"body": message.text, **ends}
    if not message.variables.keys() >= set(names.values()):
        raise GatewayError(FailureKind.REJECTED, "template variables")
    filled = {position: message.variables[name] for position, name in names.items()}
    return {"content_sid": template, "content_variables": json.dumps(filled), **ends}
