"""Checks proofs of approvals (docs/proofs.md) with joserfc, https://jose.authlib.org."""

import base64
import hashlib
import time
from collections.abc import Mapping
from typing import Any

import requests
from joserfc import jwt
from joserfc.jwk import GuestProtocol, KeySet

ISSUER, APPLICATION, PURPOSE, MAX_AGE = "https://otp.example", "shop", "payment", 120
KEEP, LOOK_AGAIN = 300, 60  # seconds that keys are kept, and at least between two looks for one that is unknown
used: set[str] = set()  # with several processes: in a store that they share, for five minutes


class Keys:
    """The issuer's public keys."""

    def __init__(self) -> None:
        self._keys, self._fetched = KeySet([]), float("-inf")

    def __call__(self, token: GuestProtocol) -> KeySet:
        """Return keys that are at most five minutes old, so that a proof by a removed key is refused after that."""
        age, known = time.monotonic() - self._fetched, {key.kid for key in self._keys}
        if age > KEEP or (age > LOOK_AGAIN and token.headers().get("kid") not in known):
            answer = requests.get(f"{ISSUER}/.well-known/jwks.json", timeout=5)
            answer.raise_for_status()
            self._keys, self._fetched = KeySet.import_key_set(answer.json()), time.monotonic()
        return self._keys


keys = Keys()


def check_proof(proof: str, verification: str, payment: Mapping[str, str | None] | None = None) -> dict[str, Any]:
    """Return the claims of a proof for this session's verification and payment; raise an error for any other."""
    token = jwt.decode(proof, keys, algorithms=["ES256"])
    if token.header.get("typ") != "otp-proof+jwt" or "kid" not in token.header:
        raise ValueError("no proof")
    claims = token.claims
    jwt.JWTClaimsRegistry(
        leeway=5,  # a clock a second behind the service's would take each new proof for one of the future
        iss={"essential": True, "value": ISSUER},
        aud={"essential": True, "value": APPLICATION},
        exp={"essential": True},
        jti={"essential": True},
        purpose={"essential": True, "value": PURPOSE},
        verification={"essential": True, "value": verification},
        auth_time={"essential": True},
    ).validate(claims)
    if claims["auth_time"] < time.time() - MAX_AGE:
        raise ValueError("too long ago")
    if claims.get("txn_digest") != (payment and digest_of(payment, claims.get("txn_salt", ""))):
        raise ValueError("another payment")
    if claims["jti"] in used:
        raise ValueError("used before")
    used.add(claims["jti"])
    return claims


def digest_of(payment: Mapping[str, str | None], salt: str) -> str:
    """Return the digest of a payment in canonical form, as the start's answer has it."""
    members = (payment.get(name) for name in ("amount", "currency", "payee", "account", "reference"))
    texts = [("-" if one is None else "+" + one).encode() for one in members]
    framed = b"".join(len(text).to_bytes(4, "big") + text for text in texts)
    digest = hashlib.sha256(base64.urlsafe_b64decode(salt + "==") + framed).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
