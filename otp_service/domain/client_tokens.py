"""Client tokens: what a page or an app calls with in place of an API key."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from otp_service.domain.keyring import Keyring, base64url, from_base64url

PREFIX: Final = "ct_"
"""How a client token begins: it tells it from an API key, and secret scanners recognise it."""
_CLIENT: Final = "client"
"""What a client token is signed for."""


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
    """What a token says, kept nowhere. Anybody who has one can read this: nothing in it is secret, or of a person."""

    application: str
    verification_id: str
    rights: frozenset[ClientRight]
    origin: str | None
    """The web origin (RFC 6454) whose pages may use it; ``None`` for an app's, which no page may."""
    expires: int
    """When it ends, with the verification's record: seconds since the epoch."""

    def sign(self, keyring: Keyring) -> str:
        """Return the token. The same content makes the same one, for as long as its root key is known."""
        lines = (self.application, " ".join(sorted(self.rights)), self.origin or "", str(self.expires))
        return PREFIX + keyring.signed(_CLIENT, self.verification_id, base64url("\n".join(lines).encode()))

    @classmethod
    def read(cls, keyring: Keyring, text: str) -> "ClientToken | None":
        """Return what a token says; ``None`` for a text that no root key of this ring signed, to the last character."""
        told = keyring.read_signed(_CLIENT, text.removeprefix(PREFIX))
        if told is None:
            return None
        application, rights, origin, expires = from_base64url(told[1]).decode().split("\n")
        allowed = frozenset(map(ClientRight, rights.split()))
        return cls(application, told[0], allowed, origin or None, int(expires))
