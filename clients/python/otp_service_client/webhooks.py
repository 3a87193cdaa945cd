"""Webhooks of the service, verified as Standard Webhooks 1.0 says."""

import base64
import hashlib
import hmac
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from otp_service_client.errors import InvalidWebhook
from otp_service_client.reading import read_answer

TOLERANCE = 300
"""Seconds that a webhook may be old, or from the future."""
SECRET_BYTES = 24
"""Bytes of a secret, at least (Standard Webhooks). With an empty one, as of an unset variable, anyone could sign."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An event of the service."""

    type: str
    """Such as `verification.approved`; pass over types that you do not know."""
    timestamp: datetime
    data: Mapping[str, Any]
    """`id`, by which repetitions are known, `sequence`, `application`, and what goes with the type."""


def verify(body: bytes, headers: Mapping[str, str], secret: str) -> Event:
    """Return the event of a webhook, if it was signed with the secret (`whsec_...`) in the last five minutes.

    `body` is the body as it came, `headers` are those of the request. Raises `InvalidWebhook` for any other, and
    `ValueError` for a secret that is none.
    """
    by_name = {name.lower(): value for name, value in headers.items()}
    sent, signatures = by_name.get("webhook-timestamp", ""), by_name.get("webhook-signature", "")
    signed = f"{by_name.get('webhook-id', '')}.{sent}.".encode(errors="replace") + body
    if not re.fullmatch("[0-9]{1,12}", sent) or abs(time.time() - int(sent)) > TOLERANCE:
        raise InvalidWebhook("it is too old, from the future, or does not say when it was sent")
    expected = b"v1," + base64.b64encode(hmac.digest(_key(secret), signed, hashlib.sha256))
    if not any(
        hmac.compare_digest(expected, signature.encode(errors="replace")) for signature in signatures.split(" ")
    ):
        raise InvalidWebhook("no signature is the secret's")
    try:
        return read_answer(Event, json.loads(body))
    except (ValueError, TypeError, RecursionError) as malformed:
        raise InvalidWebhook("it was signed, but is no webhook of the service") from malformed


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except ValueError:
        key = b""
    if len(key) < SECRET_BYTES:
        raise ValueError("secret is not an endpoint's secret, whsec_...")
    return key
