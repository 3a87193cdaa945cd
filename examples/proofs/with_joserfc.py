"""Checks proofs of approvals (docs/proofs.md) with joserfc, https://jose.authlib.org.

Fetch the keys again for an unknown `kid`, at most once in a minute.
"""

import base64
import hashlib
import time
from collections.abc import Mapping
from typing import Any

import requests
from joserfc import jwt
from joserfc.jwk import KeySet

ISSUER, APPLICATION, PURPOSE, MAX_AGE = "https://otp.example", "shop", "payment", 120
KEYS = KeySet.import_key_set(requests.get(f"{ISSUER}/.well-known/jwks.json", timeout=5).json())
used: set[str] = set()  # with several processes: in a store that they share, for five minutes


def check_proof(proof: str, verification: str, payment: Mapping[str, str | None] | None = None) -> dict[str, Any]:
    """Return the claims of a proof for this session's verification and payment; raise an error for any other."""
    token = jwt.decode(proof, KEYS, algorithms=["ES256"])
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
