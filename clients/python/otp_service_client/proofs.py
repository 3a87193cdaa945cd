"""Proofs of approvals, checked without asking the service: docs/proofs.md. Needs the extra `proofs`."""

import base64
import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from inspect import isawaitable
from threading import Lock
from typing import Any

import httpx
import jwt
from jwt.types import Options

from otp_service_client.errors import ConnectionFailed, InvalidProof
from otp_service_client.inputs import Transaction

KEPT, RARELY, AGAIN = 300, 60, 1
"""Seconds that keys are kept; between two fetches for an unknown key; and after a failed fetch."""
_OPTIONS: Options = {
    "require": ["iss", "aud", "exp", "jti", "auth_time", "purpose"],
    "verify_iat": False,  # a clock that is a second behind the service's would find each new proof to be of the future
}
_PAID = ("amount", "currency", "payee", "account", "reference")


class Keys:
    """The public keys of an issuer, fetched from its `/.well-known/jwks.json` when they are needed."""

    def __init__(self, issuer: str) -> None:
        self._address = f"{issuer.rstrip('/')}/.well-known/jwks.json"
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched = self._failed = float("-inf")
        self._lock = Lock()

    def key(self, kid: str) -> jwt.PyJWK:
        """Return a key; raise `InvalidProof` for an unknown one, `ConnectionFailed` where keys cannot be fetched."""
        if (key := self._known(kid)) is not None:
            return key  # without waiting for a fetch of another thread
        with self._lock:
            age = time.monotonic() - self._fetched
            if age > KEPT or (kid not in self._keys and age > RARELY):
                self._fetch()
            if kid not in self._keys:
                raise InvalidProof("no key of the issuer signed it")
            return self._keys[kid]

    def _known(self, kid: str) -> jwt.PyJWK | None:
        return self._keys.get(kid) if time.monotonic() - self._fetched <= KEPT else None

    def _fetch(self) -> None:
        if time.monotonic() - self._failed < AGAIN:
            raise ConnectionFailed("the keys of the issuer could not be read a moment ago")
        try:
            answer = httpx.get(self._address, timeout=5.0).raise_for_status()
            self._keys = {jwk["kid"]: jwt.PyJWK(jwk) for jwk in answer.json()["keys"] if jwk.get("kty") == "EC"}
        except (httpx.HTTPError, ValueError, KeyError, TypeError, AttributeError, jwt.PyJWTError) as failed:
            self._failed = time.monotonic()
            raise ConnectionFailed("the keys of the issuer could not be read") from failed
        self._fetched = time.monotonic()


keys_of = cache(Keys)
"""The keys of an issuer, shared by all calls."""


def verify(
    proof: str,
    *,
    issuer: str,
    application: str,
    purpose: str,
    first_use: Callable[[str], bool],
    verification: str | None = None,
    user: str | None = None,
    amr: Sequence[str] = ("otp",),
    transaction: Transaction | None = None,
    max_age: float = 120.0,
) -> Mapping[str, Any]:
    """Return the claims of a proof that is good for this session; raise `InvalidProof` for any other.

    `verification` is the one that your own session started. For a code of an app give `user`, the person of your
    session, instead, and in `amr` what you accept (`recovery` too?). `transaction` is the payment that you execute,
    `None` for a purpose without one. `first_use` is asked with the approval's id, and says whether it never was before:
    in a store that all processes share, for five minutes, such as Redis' `SET id 1 NX EX 300`. `max_age` is in seconds
    since the approval.

    Blocks while it fetches keys, at most once in a minute: on asyncio call it by `asyncio.to_thread`. Raises
    `ConnectionFailed` when they cannot be fetched.
    """
    if (verification is None) == (user is None):
        raise TypeError("verify needs either verification or user, of your own session")
    claims = _signed(proof, issuer, application)
    if claims["purpose"] != purpose:
        raise InvalidProof("it is for another purpose")
    if verification is not None and claims.get("verification") != verification:
        raise InvalidProof("it is of another verification")
    if user is not None and (claims.get("sub") != user or not set(claims.get("amr") or [""]) <= set(amr)):
        raise InvalidProof("it is of another user, or of a factor that is not accepted")
    if not isinstance(claims["auth_time"], int) or claims["auth_time"] < time.time() - max_age:
        raise InvalidProof("it was approved too long ago")
    if claims.get("txn_digest") != (transaction and _digest(transaction, claims.get("txn_salt", ""))):
        raise InvalidProof("it is of another payment")
    if not _is_first(first_use, claims["jti"]):
        raise InvalidProof("it was used before")
    return claims


def _is_first(first_use: Callable[[str], bool], approval: str) -> bool:
    is_first = first_use(approval)
    if isawaitable(is_first):  # which would always be true
        raise TypeError("first_use must not be a coroutine function")
    return is_first


def _signed(proof: str, issuer: str, application: str) -> Mapping[str, Any]:
    """Return the claims that a key of the issuer signed for an application, and that have not ended."""
    try:
        header = jwt.get_unverified_header(proof)
        if header.get("typ") != "otp-proof+jwt":
            raise InvalidProof("it is not a proof")
        key = keys_of(issuer).key(str(header.get("kid")))
        return jwt.decode(proof, key, algorithms=["ES256"], issuer=issuer, audience=application, options=_OPTIONS)
    except jwt.PyJWTError as refused:
        raise InvalidProof("it was not signed for this, or it has ended") from refused


def _digest(transaction: Transaction, salt: str) -> str:
    """Return the digest of a payment: SHA-256 over the salt and each member with its length before it."""
    members = (transaction.get(name) for name in _PAID)
    texts = [("-" if member is None else f"+{member}").encode() for member in members]
    framed = b"".join(len(text).to_bytes(4, "big") + text for text in texts)
    digest = hashlib.sha256(base64.urlsafe_b64decode(f"{salt}==") + framed).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
