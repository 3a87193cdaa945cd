"""Signatures under what leaves the installation, for others to check: Ed25519 (RFC 8032), in base64."""

import base64

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey


class Signer:
    """The installation's key for signatures. Its ``repr`` does not show it."""

    def __init__(self, seed: bytes) -> None:
        """Take the private key, 32 bytes."""
        self._key = Ed25519PrivateKey.from_private_bytes(seed)

    def sign(self, text: bytes) -> str:
        """Return a signature."""
        return base64.b64encode(self._key.sign(text)).decode()

    @property
    def public_key(self) -> str:
        """What others check signatures with."""
        return base64.b64encode(self._key.public_key().public_bytes_raw()).decode()


def is_signed(text: bytes, signature: str, public_key: str) -> bool:
    """Tell whether a signature is that of a key under a text; neither need be well formed."""
    try:
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public_key, validate=True))
        key.verify(base64.b64decode(signature, validate=True), text)
    except (InvalidSignature, ValueError):
        return False
    return True
