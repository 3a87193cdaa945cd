"""Client tokens: what a browser or an app may do with one verification, signed and kept nowhere."""

import base64
import hmac
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from otp_service.domain.keyring import Keyring

PREFIX: Final = "ct_"
"""How a token begins: it tells it from an API key, and secret scanners recognise it."""


class ClientRight(StrEnum):
    """A call that a token allows."""

    READ = "read"
    CHECK = "check"
    RESEND = "resend"


@dataclass(frozen=True, slots=True)
class ClientTokenRequest:
    """What a start asks for."""

    rights: frozenset[ClientRight]
    origin: str | None


@dataclass(frozen=True, slots=True)
class ClientToken:
    """What a token says. Anybody who has one can read this: nothing in it is secret, or of a person."""

    application: str
    verification_id: str
    rights: frozenset[ClientRight]
    origin: str | None
    """The web origin (RFC 6454) whose pages may use it; ``None`` for an app's, which no page may."""
    expires: int
    """When it ends, with the verification's record: seconds since the epoch."""

    def sign(self, keyring: Keyring) -> str:
        """Return the token. The same content makes the same one, for as long as its root key is known."""
        rights = " ".join(sorted(self.rights))
        lines = (self.application, self.verification_id, rights, self.origin or "", str(self.expires))
        body = base64.urlsafe_b64encode("\n".join(lines).encode()).decode().rstrip("=")
        return f"{PREFIX}{body}.{keyring.client_token_mac(self.verification_id, body)}"


def read_client_token(keyring: Keyring, text: str) -> ClientToken | None:
    """Return what a token says; ``None`` for a text that no root key of this ring signed, to the last character."""
    body, _, mac = text.removeprefix(PREFIX).partition(".")
    try:
        lines = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)).decode().split("\n")
        application, verification_id, rights, origin, expires = lines
    except ValueError:
        return None
    if keyring.bucket_of_id(verification_id) is None:
        return None
    # The text is signed, not what it decodes to: base64 has several spellings of the same bytes.
    if not hmac.compare_digest(keyring.client_token_mac(verification_id, body).encode(), mac.encode()):
        return None
    allowed = frozenset(map(ClientRight, rights.split()))
    return ClientToken(application, verification_id, allowed, origin or None, int(expires))
