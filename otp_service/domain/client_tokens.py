"""Client tokens, for pages and apps in place of an API key."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from otp_service.domain.keyring import Keyring, base64url, from_base64url

PREFIX: Final = "ct_"
"""Distinguishes client tokens from API keys, also for secret scanners."""
_CLIENT: Final = "client"


class ClientRight(StrEnum):
    """A call that a token allows."""

    READ = "read"
    CHECK = "check"
    RESEND = "resend"


@dataclass(frozen=True, slots=True)
class ClientTokenRequest:
    """The client token that a start requests."""

    rights: frozenset[ClientRight]
    origin: str | None


@dataclass(frozen=True, slots=True)
class ClientToken:
    """A token's content, which is not stored. Its holder can read it: it has no secret and no personal data."""

    application: str
    verification_id: str
    rights: frozenset[ClientRight]
    origin: str | None
    """The web origin (RFC 6454) whose pages may use it; ``None`` for an app's token."""
    expires: int
    """Seconds since the epoch, with the verification's record."""

    def sign(self, keyring: Keyring) -> str:
        """Return the token, which depends on the content and its root key only."""
        lines = (self.application, " ".join(sorted(self.rights)), self.origin or "", str(self.expires))
        return PREFIX + keyring.signed(_CLIENT, self.verification_id, base64url("\n".join(lines).encode()))

    @classmethod
    def read(cls, keyring: Keyring, text: str) -> "ClientToken | None":
        """Return a token's content; ``None`` for a text without a signature by this keyring."""
        parts = keyring.read_signed(_CLIENT, text.removeprefix(PREFIX))
        if parts is None:
            return None
        verification_id, content = parts
        application, rights, origin, expires = from_base64url(content).decode().split("\n")
        allowed = frozenset(map(ClientRight, rights.split()))
        return cls(application, verification_id, allowed, origin or None, int(expires))
