"""Twilio: messages from people, and how it is answered.

After "Twilio's request to your incoming message Webhook URL", "TwiML for Programmable Messaging" and "Customize users'
opt-in and opt-out experience with Advanced Opt-Out" (https://www.twilio.com/docs/messaging). With the latter Twilio
tells what it made of a keyword (``OptOutType``), and has answered it.
"""

import html
from collections.abc import Mapping

from otp_service.domain.people import Meaning
from otp_service.gateways.base import InboundAnswer, InboundMessage

OPT_OUT_TYPES = {"STOP": Meaning.STOP, "START": Meaning.START, "HELP": Meaning.HELP}
_WHATSAPP = "whatsapp:"


def message_of(members: Mapping[str, str]) -> InboundMessage:
    """Return the message that the members of a request are about."""
    sender = members.get("From", "")
    return InboundMessage(
        reference=members.get("MessageSid", ""),
        sender=sender.removeprefix(_WHATSAPP),
        text=members.get("Body", ""),
        channel="whatsapp" if sender.startswith(_WHATSAPP) else "sms",
        opt_out=OPT_OUT_TYPES.get(members.get("OptOutType", "")),
    )


def answer_of(reply: str | None) -> InboundAnswer:
    """Return the document that has Twilio send a reply, or nothing."""
    message = f"<Message>{html.escape(reply)}</Message>" if reply else ""
    document = f'<?xml version="1.0" encoding="UTF-8"?><Response>{message}</Response>'
    return InboundAnswer(document, "text/xml")
