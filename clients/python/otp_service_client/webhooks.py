"""Webhooks of the service, verified as Standard Webhooks 1.0 says."""

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from otp_service_client.answers import read_answer
from otp_service_client.errors import InvalidWebhook

TOLERANCE = 300
"""Seconds that a webhook may be old, or from the future."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What the service tells."""

    type: str
    """Such as `verification.approved`; pass over types that you do not know."""
    timestamp: datetime
    data: Mapping[str, Any]
    """`id`, by which repetitions are known, `sequence`, `application`, and what goes with the type."""


def verify(body: bytes, headers: Mapping[str, str], secret: str) -> Event:
    """Return what a webhook tells, if it was signed with the secret (`whsec_...`) in the last five minutes.

    `body` is the body as it came, `headers` are those of the request. Raises `InvalidWebhook` for any other.
    """
    given = {name.lower(): value for name, value in headers.items()}
    sent, signatures = given.get("webhook-timestamp", ""), given.get("webhook-signature", "")
    signed = f"{given.get('webhook-id', '')}.{sent}.".encode() + body
    if not (sent.isascii() and sent.isdecimal()) or abs(time.time() - int(sent)) > TOLERANCE:
        raise InvalidWebhook("it is too old, from the future, or does not say when it was sent")
    expected = b"v1," + base64.b64encode(hmac.digest(_key(secret), signed, hashlib.sha256))
    if not any(hmac.compare_digest(expected, one.encode()) for one in signatures.split(" ")):
        raise InvalidWebhook("no signature is the secret's")
    try:
        return read_answer(Event, json.loads(body))
    except (ValueError, TypeError) as malformed:
        raise InvalidWebhook("it was signed, but is no webhook of the service") from malformed


def _key(secret: str) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        raise ValueError("secret is none of an endpoint, whsec_...") from None  # the cause has it
