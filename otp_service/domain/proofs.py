"""Proofs of approvals: signed statements (JWS, RFC 7515) that others check without this service."""

import hashlib
import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.types import Options

from otp_service.domain.keyring import base64url
from otp_service.domain.payments import Transaction
from otp_service.domain.verification import Channel
from otp_service.errors import InvalidProofError

ALGORITHM: Final = "ES256"
"""ECDSA on P-256 with SHA-256 (RFC 7518, section 3.4), which every library takes by default."""
TYPE: Final = "otp-proof+jwt"
"""The header ``typ``, so that no other token passes for a proof (RFC 8725, section 3.11)."""
MAX_LIFE: Final = 300
"""In seconds; the maximum of ``proofs.life``, and its default."""
METHODS: Final[Mapping[str, str]] = {channel: channel.traits.amr or channel for channel in Channel}
"""The value of ``amr`` by channel."""
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_COORDINATE = 32
_SALT = 16
NOT_OURS: Final = "This is no proof of ours for this application, or it is too old."
METHOD_TOTP: Final = "otp"
METHOD_RECOVERY: Final = "recovery"
"""Not in RFC 8176, unlike `METHOD_TOTP`."""
_CLAIMS = ["iss", "aud", "jti", "iat", "exp", "auth_time", "amr", "purpose"]


@dataclass(frozen=True, slots=True)
class Approval:
    """The statement of a proof. Times are seconds since the epoch."""

    application: str
    id: str
    """``jti``: all proofs of one approval have the same, so that it can be redeemed once."""
    purpose: str
    at: int
    methods: tuple[str, ...]
    verification: str | None = None
    factor: str | None = None
    acr: str | None = None
    """Authentication context class."""
    user: str | None = field(default=None, repr=False)
    """The application's own name of its user."""
    transaction: Transaction | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class EarlierApproval:
    """A proven approval that a purpose needs before its own."""

    id: str
    bucket: str
    ends: int
    """Milliseconds since the epoch."""


class ProofKey:
    """A key pair of P-256. Its ``repr`` does not show the private key."""

    def __init__(self, seed: bytes) -> None:
        """Derive it from at least 40 secret bytes (FIPS 186-5, A.2.1: extra random bits)."""
        self._private = ec.derive_private_key(1 + int.from_bytes(seed) % (_ORDER - 1), ec.SECP256R1())
        point = self._private.public_key().public_numbers()
        of_key = {"crv": "P-256", "kty": "EC", "x": _coordinate(point.x), "y": _coordinate(point.y)}
        self.kid = base64url(hashlib.sha256(json.dumps(of_key, separators=(",", ":")).encode()).digest())
        """Its thumbprint (RFC 7638)."""
        self.jwk = {**of_key, "kid": self.kid, "use": "sig", "alg": ALGORITHM}
        """The public key (RFC 7517)."""

    def sign(self, claims: Mapping[str, Any]) -> str:
        """Return claims as a compact JWS."""
        return jwt.encode(dict(claims), self._private, ALGORITHM, {"kid": self.kid, "typ": TYPE})

    def read(self, proof: str, issuer: str, audience: str) -> dict[str, Any]:
        """Return the claims of a proof by this key, of any age; raise a `jwt.PyJWTError` for others."""
        public = self._private.public_key()
        # "exp" and "iat" would go by this host's clock
        options: Options = {"require": _CLAIMS, "verify_exp": False, "verify_iat": False}
        return dict(jwt.decode(proof, public, [ALGORITHM], options, issuer=issuer, audience=audience))


class ProofSigner:
    """Signs and reads the proofs of an installation."""

    def __init__(
        self, issuer: str, life: int, seeds: Iterable[bytes], evidence_lives: Mapping[str, int] | None = None
    ) -> None:
        """Take the issuer, the life of proofs in seconds, and the keys' seeds, the signing key's first.

        ``evidence_lives``: seconds for which an approval counts for other purposes, by its purpose.
        """
        self._issuer, self._life = issuer, life
        self._evidence_lives = {name: 1000 * max(life, needed) for name, needed in (evidence_lives or {}).items()}
        self.evidence_lives = json.dumps({"": 1000 * life, **self._evidence_lives})
        """JSON: milliseconds for which an approval is evidence, by purpose; the empty name for all others."""
        self.keys = {key.kid: key for key in map(ProofKey, seeds)}
        """By ``kid``, the signing key first."""
        self._signing = next(iter(self.keys.values()))

    def sign(self, approval: Approval) -> str:
        """Return the proof of an approval."""
        members = {
            "iss": self._issuer,
            "aud": approval.application,
            "jti": approval.id,
            "iat": approval.at,
            "exp": approval.at + self._life,
            "auth_time": approval.at,
            "amr": list(approval.methods),
            "purpose": approval.purpose,
            "verification": approval.verification,
            "factor": approval.factor,
            "acr": approval.acr,
            "sub": approval.user,
        }
        claims = {name: value for name, value in members.items() if value is not None}
        if approval.transaction is not None:
            salt = secrets.token_bytes(_SALT)
            claims |= {"txn_salt": base64url(salt), "txn_digest": transaction_digest(salt, approval.transaction)}
        return self._signing.sign(claims)

    def evidence_life(self, purpose: str) -> int:
        """Return the milliseconds for which an approval of a purpose is evidence."""
        return self._evidence_lives.get(purpose, 1000 * self._life)

    def read(self, proof: str, audience: str) -> dict[str, Any]:
        """Return the claims of an application's proof of any age; raise `InvalidProofError` without the reason."""
        try:
            header = jwt.get_unverified_header(proof)
            if header.get("typ") == TYPE and (key := self.keys.get(header.get("kid", ""))):
                return key.read(proof, self._issuer, audience)
        except jwt.PyJWTError:
            pass
        raise InvalidProofError(NOT_OURS)


def transaction_digest(salt: bytes, transaction: Transaction) -> str:
    """Return SHA-256, in base64url, over a salt and the amount, currency, payee, account, reference of a payment.

    Each member is four bytes of length (big-endian) and UTF-8: ``-`` where it is absent, else ``+`` and its value.
    """
    members = [part.encode() for part in transaction.parts]
    framed = b"".join(len(member).to_bytes(4) + member for member in members)
    return base64url(hashlib.sha256(salt + framed).digest())


def _coordinate(number: int) -> str:
    return base64url(number.to_bytes(_COORDINATE))
