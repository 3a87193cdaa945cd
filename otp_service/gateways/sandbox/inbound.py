"""Inbound messages of the sandbox, as somebody would have written them: ``id``, ``from``, ``text``, ``opt_out``."""

import json
from typing import Any

from otp_service.domain.people import Meaning
from otp_service.gateways.base import InboundMessage


def message_of(body: bytes) -> InboundMessage:
    """Return the message of a body; what is missing, or no text, is empty."""
    members = _members(body)
    opt_out = _text(members, "opt_out")
    return InboundMessage(
        reference=_text(members, "id"),
        sender=_text(members, "from"),
        text=_text(members, "text"),
        opt_out=Meaning(opt_out) if opt_out in set(Meaning) else None,
    )


def _members(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _text(members: dict[str, Any], name: str) -> str:
    value = members.get(name)
    return value if isinstance(value, str) else ""
