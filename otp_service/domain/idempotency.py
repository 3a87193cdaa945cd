"""Idempotency keys of requests."""

import json
import re
from dataclasses import dataclass

from otp_service.domain.keyring import Keyring
from otp_service.errors import InvalidRequestError

IDEMPOTENCY_SECONDS = 24 * 3600
"""Seconds that a start's idempotency key is remembered; any other one as long as the verification's record."""
_KEY = re.compile(r"[\x21-\x2b\x2d-\x7e]{1,255}")
"""Without a comma: two headers come as one, with a comma between, and would be a key that nobody chose."""


@dataclass(frozen=True, slots=True)
class IdempotentRequest:
    """An idempotency key and what it stands for, both as keyed fingerprints."""

    key: str
    fingerprint: str


def idempotent_request(
    keyring: Keyring, application: str, operation: str, header: str, body: object
) -> IdempotentRequest:
    """Return the retry that an ``Idempotency-Key`` header and a request make.

    ``operation`` names the call and the verification it is about; ``body`` is the parsed JSON, so that white
    space and the order of members do not matter. Raises `InvalidRequestError` for a header that is not 1 to 255
    visible ASCII characters other than a comma, in double quotes or not (IETF draft idempotency-key-header).
    """
    key = header.strip().removeprefix('"').removesuffix('"')
    if not _KEY.fullmatch(key):
        raise InvalidRequestError("One Idempotency-Key has 1 to 255 visible ASCII characters, no comma.")
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return IdempotentRequest(
        key=keyring.fingerprint("key", application, key),
        fingerprint=keyring.fingerprint("request", application, operation, canonical),
    )
