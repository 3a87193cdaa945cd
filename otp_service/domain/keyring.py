"""Keys and their derivatives: identifiers, pseudonyms, codes, tags, digests, seals, signatures, API keys."""

import base64
import binascii
import hashlib
import hmac
import os
import re
import secrets
from dataclasses import dataclass
from itertools import pairwise
from json import JSONEncoder
from typing import Final

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from otp_service.domain.payments import NO_TRANSACTION, PaymentHashes, Transaction
from otp_service.errors import ConfigurationError, InvalidRequestError


class Signer:
    """The installation's key for signatures, from 32 bytes. Its ``repr`` does not show it."""

    def __init__(self, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)

    def sign(self, text: bytes) -> str:
        """Return a signature."""
        return base64.b64encode(self._key.sign(text)).decode()

    @property
    def public_key(self) -> str:
        """The public key in base64."""
        return base64.b64encode(self._key.public_key().public_bytes_raw()).decode()


def is_valid_signature(text: bytes, signature: str, public_key: str) -> bool:
    """Tell whether a key made the signature of a text; neither need be well formed."""
    try:
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public_key, validate=True))
        key.verify(base64.b64decode(signature, validate=True), text)
    except (InvalidSignature, ValueError):
        return False
    return True


# Root keys serve for the life of a verification; an identifier names its root key, so that keys rotate without a
# look-up. The pseudonym key serves for the installation's life. HKDF (RFC 5869) derives a key for each use. Every MAC
# input is length-prefixed: no two lists of parts have the same input.

MIN_KEY_BYTES = 32
MASK: Final = "mask"
"""The kind of seal of a mask, the only one under the display key, which opens nothing else."""
FORMAT = b"1"
"""Version of everything derived here; part of the associated data of every seal."""
_KEY_ID = re.compile(r"[a-z0-9]{1,8}")
_VERIFICATION_ID = re.compile(r"vf_([a-z0-9]{1,8})_([0-9a-f]{2})[0-9a-f]{32}")
_PSEUDONYM = re.compile(r"[A-Za-z0-9_-]{22}")
_DISPATCH_ID = re.compile(r"dp_([0-9a-f]{2})[0-9a-f]{32}")
_REQUEST_ID = re.compile(r"rq_([0-9a-f]{12})[0-9a-f]{20}")
_NO_TIME = 1 << 47
"""The first milliseconds since the epoch that are no time, in the year 6429."""
_FACTOR_ID = re.compile(r"fa_([0-9a-f]{32})[0-9a-f]{24}")
_USER_ID = re.compile(r"us_([0-9a-f]{32})")
_TO_URL_SAFE = bytes.maketrans(b"+/", b"-_")
"""From base64 to base64url (RFC 4648)."""
_FROM_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_NONCE_BYTES = 12
_NAME_BYTES = 16
_ID_BYTES = 16
_DIGESTS = tuple(
    hashlib.new(name, text).digest()
    for name in ("sha256", "sha384", "sha512", "sha512_256", "sha3_256", "sha3_384", "sha3_512", "blake2b", "blake2s")
    for text in (b"", b"\n", b"\0")
    if name in hashlib.algorithms_available
)
"""Digests of empty input, which are no keys."""


class SampleKeyError(ConfigurationError):
    """A key is a sample, which is public."""


class SealBrokenError(Exception):
    """A sealed value was changed, moved to another record, or made with an unknown key."""


class _Mac:
    """HMAC-SHA256 (RFC 2104) under one key, whose state after the key is kept: a third of the time of a new one."""

    __slots__ = ("_keyed",)

    def __init__(self, key: bytes) -> None:
        self._keyed = HMAC(key, SHA256())

    def digest(self, text: bytes) -> bytes:
        """Return the MAC of a text, 32 bytes."""
        mac = self._keyed.copy()
        mac.update(text)
        return mac.finalize()

    def name(self, text: bytes) -> str:
        """Return the first 128 bits of the MAC as 22 characters."""
        return base64url(self.digest(text)[:_NAME_BYTES])


_PROOF_SEED_BYTES = 48


@dataclass(frozen=True, slots=True)
class _RootKey:
    code: _Mac
    tag: _Mac
    seal: _Mac
    display: _Mac
    transaction: _Mac
    browser: _Mac
    recovery_code: _Mac

    @classmethod
    def derive(cls, material: bytes) -> "_RootKey":
        uses = ("code", "tag", "seal", "display", "transaction", "browser", "recovery_code")
        return cls(*(_Mac(_derive(material, use)) for use in uses))


class Keyring:
    """The keys of an installation. Its ``repr`` shows no key."""

    def __init__(self, root_keys: dict[str, bytes], pseudonym_key: bytes, buckets: int = 1) -> None:
        """Take root keys by id, the first active, and the pseudonym key, each of at least 256 bits.

        The console has no root key. The number of ``buckets`` is a power of two, at most 256.
        """
        for key_id, material in {**root_keys, "pseudonym": pseudonym_key}.items():
            if len(material) < MIN_KEY_BYTES:
                raise ConfigurationError(f"Key {key_id!r} is shorter than {MIN_KEY_BYTES * 8} bits.")
        self._roots = {key_id: _RootKey.derive(material) for key_id, material in root_keys.items()}
        self.proof_seeds = tuple(_derive(material, "proof", _PROOF_SEED_BYTES) for material in root_keys.values())
        """Seeds of the keys for proofs, the active root key's first."""
        self._numbers = _Mac(pseudonym_key)
        self._addresses, self._blocks, self._devices, self._requests, self._payments, self._inbound = (
            _Mac(_derive(pseudonym_key, use))
            for use in ("address", "block", "context", "request", "payment", "inbound")
        )
        self._users, self._recovery = (_Mac(_derive(pseudonym_key, use)) for use in ("user", "recovery"))
        self._without_root_key = _Mac(_derive(pseudonym_key, "console"))
        self.installation = base64url(_derive(pseudonym_key, "installation")[:_NAME_BYTES])
        """A fingerprint of the pseudonym key, which never changes while Redis has its data."""
        self.signer = Signer(_derive(pseudonym_key, "audit"))
        """Signs exports."""
        self.buckets = tuple(f"{bucket:02x}" for bucket in range(buckets))

    def __repr__(self) -> str:
        return f"Keyring(root keys: {', '.join(self._roots) or 'none'})"

    @property
    def root_ids(self) -> tuple[str, ...]:
        """The ids of the root keys, which are public; the first is active."""
        return tuple(self._roots)

    @property
    def active_root(self) -> str:
        """Return the id of the active root key; raise `ConfigurationError` where there is none."""
        if not self._roots:
            raise ConfigurationError("OTP_SERVICE_ROOT_KEYS is needed here.")
        return next(iter(self._roots))

    # --- names ----------------------------------------------------------------------------------------------

    def pseudonym(self, e164: str) -> str:
        """Return a number's pseudonym, 22 characters; its first byte is its block's, so that both share a bucket."""
        first = self._blocks.digest(block_of(e164).encode())[:1]
        return base64url(first + self._numbers.digest(e164.encode())[1:_NAME_BYTES])

    def bucket(self, pseudonym: str) -> str:
        """Return the bucket of a number, a block or a user by its pseudonym, two hexadecimal digits."""
        return self._bucket_at(first_byte(pseudonym))

    def _bucket_at(self, byte: str) -> str:
        return f"{int(byte, 16) * len(self.buckets) >> 8:02x}"

    def network_pseudonym(self, network: str) -> str:
        """Return the pseudonym of an end user's network, 22 characters."""
        return self._addresses.name(network.encode())

    def block_pseudonym(self, block: str) -> str:
        """Return the pseudonym of a block of numbers, 22 characters."""
        return self._blocks.name(block.encode())

    def device_pseudonym(self, application: str, device: str) -> str:
        """Return the pseudonym of a device, 22 characters; those of one application begin with the same 4."""
        return self._devices.name(_framed(application))[:4] + self._devices.name(_framed(application, device))[4:]

    def user_pseudonym(self, application: str, user: str) -> str:
        """Return the pseudonym of an application's user, 22 characters."""
        return self._users.name(_framed(application, user))

    def recovery_hash(self, application: str, user: str, code: str) -> str:
        """Return the keyed hash of a recovery code, 22 characters: enough for a code of 120 random bits."""
        return self._recovery.name(_framed(application, user, code))

    def new_recovery_seed(self) -> str:
        """Return a seed of recovery codes: the active root key's id and 128 random bits."""
        return f"{self.active_root}.{secrets.token_hex(_ID_BYTES)}"

    def recovery_material(self, seed: str, *parts: str) -> bytes:
        """Return the 256 bits of a recovery code, by seed and parts; random once the root key of the seed is gone."""
        root = self._roots.get(sealing_root(seed))
        return root.recovery_code.digest(_framed(seed, *parts)) if root else secrets.token_bytes(32)

    def address_token(self, gateway: str) -> str:
        """Return the secret end of a gateway's callback addresses, 22 characters."""
        return self._inbound.name(gateway.encode())

    def payment_names(self, application: str, transaction: Transaction | None) -> PaymentHashes:
        """Return the keyed hashes of an application's payment, 22 characters each."""
        if transaction is None:
            return PaymentHashes()
        reference = transaction.reference
        payment = self._payments.name(_framed(application, *transaction.parts))
        return PaymentHashes(payment, self.reference_name(application, reference) if reference else "")

    def reference_name(self, application: str, reference: str) -> str:
        """Return the keyed hash of a payment's reference, 22 characters."""
        return self._payments.name(_framed(application, "reference", reference))

    def fingerprint(self, *parts: str) -> str:
        """Return a keyed fingerprint of a request, 22 characters."""
        return self._requests.name(_framed(*parts))

    def new_verification_id(self, byte: str) -> str:
        """Return a new identifier: active root key's id, the number's `first_byte` twice, and 120 random bits."""
        return f"vf_{self.active_root}_{byte}{byte}{secrets.token_hex(_ID_BYTES - 1)}"

    def verification_ids(self, digits: str) -> tuple[str, ...]:
        """Return the identifiers with these last 32 hexadecimal digits: one for each root key, the active first."""
        return tuple(f"vf_{root}_{digits[:2]}{digits}" for root in self._roots)

    def bucket_of_id(self, verification_id: str, *, retired: bool = False) -> str | None:
        """Return the bucket of an identifier; ``None`` for an unknown root key, unless it may be ``retired``."""
        match = _VERIFICATION_ID.fullmatch(verification_id)
        return self._bucket_at(match[2]) if match and (retired or match[1] in self._roots) else None

    def bucket_of_dispatch(self, dispatch_id: str) -> str | None:
        """Return the bucket of a dispatch's identifier; ``None`` for other texts."""
        match = _DISPATCH_ID.fullmatch(dispatch_id)
        return self._bucket_at(match[1]) if match else None

    def new_factor_id(self, user: str) -> str:
        """Return a new identifier of a factor: the user's pseudonym, so that none is looked up, and 96 random bits."""
        return f"fa_{from_base64url(user).hex()}{secrets.token_hex(12)}"

    def signed(self, use: str, verification_id: str, *parts: str) -> str:
        """Return a text for a browser to carry: a verification, readable parts without dots, and a MAC over them."""
        mac = self._root_of(verification_id).browser.digest(_framed(use, verification_id, *parts))
        return ".".join((verification_id.removeprefix("vf_"), *parts, base64url(mac)))

    def read_signed(self, use: str, text: str) -> list[str] | None:
        """Return the verification and the parts of a text exactly as from `signed`; ``None`` for any other."""
        name, *rest = text.split(".")
        parts = [f"vf_{name}", *rest[:-1]]
        if not text.isascii() or self.bucket_of_id(parts[0]) is None:
            return None
        return parts if hmac.compare_digest(text, self.signed(use, *parts)) else None

    # --- codes ----------------------------------------------------------------------------------------------

    def code_key(
        self, application: str, verification_id: str, pseudonym: str, purpose: str, transaction_digest: str
    ) -> bytes:
        """Return the HOTP key (RFC 4226) of a verification, 32 bytes; any other part makes another code."""
        parts = _framed(application, verification_id, pseudonym, purpose, transaction_digest)
        return self._root_of(verification_id).code.digest(parts)

    def transaction_digest(self, verification_id: str, transaction: Transaction | None) -> str:
        """Return a digest of a transaction, empty without one; keyed, because amounts and payees can be guessed."""
        if transaction is None:
            return NO_TRANSACTION
        mac = self._root_of(verification_id).transaction
        return mac.name(_framed(verification_id, *transaction.parts))

    def tag(self, verification_id: str, application: str, transaction_digest: str, code: str) -> str:
        """Return the record's stand-in for the code, from the input of a check request."""
        parts = _framed(verification_id, application, transaction_digest, code)
        return base64url(self._root_of(verification_id).tag.digest(parts))

    # --- seals ----------------------------------------------------------------------------------------------

    def seal(self, plain: bytes, *, verification_id: str, application: str, kind: str) -> bytes:
        """Return ``plain`` under AES-256-GCM with the verification's own key, bound to its place."""
        cipher = _cipher(self._root_of(verification_id), verification_id, kind)
        return _encrypt(cipher, plain, verification_id, application, kind)

    def unseal(self, sealed: bytes, *, verification_id: str, application: str, kind: str) -> bytes:
        """Return the plain bytes; raise `SealBrokenError` after any change."""
        cipher = _cipher(self._root_of(verification_id), verification_id, kind)
        return _decrypt(cipher, sealed, verification_id, application, kind)

    def seal_secret(self, plain: bytes, *, owner: str, application: str, kind: str, root: str = "") -> str:
        """Return ``plain`` sealed for an ``owner`` that outlives root keys; the text names the active, or ``root``."""
        root = root or self.active_root
        cipher = _cipher(self._roots[root], owner, kind)
        return f"{root}.{base64url(_encrypt(cipher, plain, owner, application, kind))}"

    def unseal_secret(self, sealed: str, *, owner: str, application: str, kind: str) -> bytes:
        """Return the plain bytes from `seal_secret`; raise `SealBrokenError` after any change."""
        root_id, _, text = sealed.partition(".")
        root = self._roots.get(root_id)
        if root is None:
            raise SealBrokenError(f"The root key that sealed the {kind} of {owner} is not known.")
        return _decrypt_text(_cipher(root, owner, kind), text, owner, application, kind)

    def seal_without_root_key(self, plain: bytes, *, owner: str, kind: str) -> str:
        """Return ``plain`` sealed for an ``owner`` under the pseudonym key, for processes without a root key."""
        cipher = AESGCM(self._without_root_key.digest(_framed(owner, kind)))
        return base64url(_encrypt(cipher, plain, owner, "", kind))

    def unseal_without_root_key(self, sealed: str, *, owner: str, kind: str) -> bytes:
        """Return the plain bytes from `seal_without_root_key`; raise `SealBrokenError` after any change."""
        cipher = AESGCM(self._without_root_key.digest(_framed(owner, kind)))
        return _decrypt_text(cipher, sealed, owner, "", kind)

    def _root_of(self, verification_id: str) -> _RootKey:
        root = self._roots.get(verification_id.split("_")[1])
        if root is None:
            raise SealBrokenError(f"The root key of {verification_id} is not known.")
        return root


def user_of_factor(factor_id: str) -> str | None:
    """Return the pseudonym of the user in a factor's identifier; ``None`` for other texts."""
    match = _FACTOR_ID.fullmatch(factor_id)
    return base64url(bytes.fromhex(match[1])) if match else None


def user_id(user: str) -> str:
    """Return the public identifier of a user's pseudonym; identifiers of the user's factors have the same digits."""
    return f"us_{from_base64url(user).hex()}"


def user_of(named: str) -> str | None:
    """Return the pseudonym in a `user_id`, or in a factor's identifier; ``None`` for other texts."""
    match = _USER_ID.fullmatch(named)
    return base64url(bytes.fromhex(match[1])) if match else user_of_factor(named)


def sealing_root(sealed: str) -> str:
    """Return the id of the root key in a text from `Keyring.seal_secret`."""
    return sealed.partition(".")[0]


def _encrypt(cipher: AESGCM, plain: bytes, owner: str, application: str, kind: str) -> bytes:
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + cipher.encrypt(nonce, plain, _associated(owner, application, kind))


def _decrypt(cipher: AESGCM, sealed: bytes, owner: str, application: str, kind: str) -> bytes:
    nonce, text = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
    try:
        return cipher.decrypt(nonce, text, _associated(owner, application, kind))
    except (InvalidTag, ValueError) as broken:
        raise SealBrokenError(f"The sealed {kind} of {owner} cannot be opened.") from broken


def _decrypt_text(cipher: AESGCM, sealed: str, owner: str, application: str, kind: str) -> bytes:
    try:
        raw = from_base64url(sealed)
    except ValueError as broken:
        raise SealBrokenError(f"The sealed {kind} of {owner} is no base64.") from broken
    return _decrypt(cipher, raw, owner, application, kind)


def _cipher(root: _RootKey, owner: str, kind: str) -> AESGCM:
    mac = root.display if kind == MASK else root.seal
    return AESGCM(mac.digest(owner.encode()))


def block_of(e164: str) -> str:
    """Return a number without its last four digits, which rented ranges of numbers share."""
    return e164[:-4]


def is_pseudonym(text: str) -> bool:
    """Tell whether a text has the form of a pseudonym."""
    return _PSEUDONYM.fullmatch(text) is not None


def first_byte(pseudonym: str) -> str:
    """Return the byte of a pseudonym that decides its bucket, two hexadecimal digits."""
    return f"{from_base64url(pseudonym)[0]:02x}"


def byte_of_id(verification_id: str) -> str:
    """Return the first byte of the number's pseudonym in an identifier, two hexadecimal digits."""
    return verification_id[-2 * _ID_BYTES :][:2]


def new_dispatch_id(byte: str) -> str:
    """Return a new identifier of a dispatch: the `first_byte` of the number's pseudonym and 128 random bits."""
    return f"dp_{byte}{secrets.token_hex(16)}"


def new_request_id(now: int) -> str:
    """Return a new identifier of a request: the time in milliseconds, as in UUIDs of version 7, and 80 random bits."""
    return f"rq_{now:012x}{secrets.token_hex(10)}"


def time_of_request(request_id: str) -> int | None:
    """Return the time in a request's identifier, in milliseconds; ``None`` for other texts."""
    match = _REQUEST_ID.fullmatch(request_id)
    at = int(match[1], 16) if match else _NO_TIME
    return at if at < _NO_TIME else None


def parse_root_keys(text: str) -> dict[str, bytes]:
    """Return the keys of a list ``id:base64 …``, the first active; raise `ConfigurationError`, which shows no key."""
    keys: dict[str, bytes] = {}
    for entry in re.split(r"[\s,]+", text.strip()):
        key_id, separator, material = entry.partition(":")
        if not separator or not _KEY_ID.fullmatch(key_id):
            raise ConfigurationError("A root key is written id:base64, the id with 1 to 8 of a-z and 0-9.")
        if key_id in keys:
            raise ConfigurationError(f"Root key id {key_id!r} appears twice.")
        keys[key_id] = parse_key(material)
    return keys


def parse_key(material: str) -> bytes:
    """Return the bytes of a base64 key; raise `ConfigurationError`, or `SampleKeyError`, which do not show it."""
    try:
        key = base64.b64decode(material.strip(), validate=True)
    except ValueError as malformed:
        raise ConfigurationError("A key is not valid base64.") from malformed
    if len(key) < MIN_KEY_BYTES:
        raise ConfigurationError(f"A key has {len(key) * 8} bits; at least {MIN_KEY_BYTES * 8} are needed.")
    few_bytes = len(set(key)) < MIN_KEY_BYTES // 4
    counts = len({(after - before) % 256 for before, after in pairwise(key)}) == 1
    repeats = any(key[length:] == key[:-length] for length in range(1, len(key) // 2 + 1))
    if few_bytes or counts or repeats or any(digest.startswith(key) for digest in _DIGESTS):
        raise SampleKeyError("A key is a sample, not random.")
    return key


def new_key() -> str:
    """Return a new random key of 256 bits in base64."""
    return base64.b64encode(secrets.token_bytes(MIN_KEY_BYTES)).decode()


def _derive(material: bytes, use: str, length: int = 32) -> bytes:
    return HKDF(algorithm=SHA256(), length=length, salt=None, info=b"otp-service/1/" + use.encode()).derive(material)


def _framed(*parts: str) -> bytes:
    framed = b""
    for part in parts:
        text = part.encode()
        framed += len(text).to_bytes(4, "big") + text
    return framed


def _associated(owner: str, application: str, kind: str) -> bytes:
    return FORMAT + _framed(application, owner, kind)


def base64url(raw: bytes) -> str:
    """Return bytes in base64url without padding (RFC 4648, section 5)."""
    return binascii.b2a_base64(raw, newline=False).translate(_TO_URL_SAFE).rstrip(b"=").decode()


def from_base64url(text: str) -> bytes:
    """Return the bytes of a text in base64url without padding; raise `ValueError` for any other text."""
    padded = text.encode().translate(_FROM_URL_SAFE) + b"=" * (-len(text) % 4)
    return binascii.a2b_base64(padded, strict_mode=True)


# --- API keys -----------------------------------------------------------------------------------------------


def new_api_key() -> str:
    """Return a new API key: 256 random bits, with a prefix that secret scanners can recognise."""
    return f"otp_{secrets.token_urlsafe(MIN_KEY_BYTES)}"


def api_key_hash(api_key: str) -> str:
    """Return the hash of an API key, ``sha256:…``: unkeyed, since an API key has 256 random bits."""
    return "sha256:" + hashlib.sha256(api_key.encode()).hexdigest()


IDEMPOTENCY_SECONDS = 24 * 3600
"""Life of an idempotency key of a start or a factor's call; those of resends, checks and cancellations live as long as
the verification's record."""
_KEY = re.compile(r"[\x21-\x2b\x2d-\x7e]{1,255}")
"""No comma: it joins two headers to a key that no caller chose."""
_CANONICAL = JSONEncoder(sort_keys=True, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class IdempotentRequest:
    """Keyed fingerprints of an idempotency key and of its request."""

    key: str
    fingerprint: str


def idempotent_request(keyring: Keyring, owner: str, operation: str, header: str, body: object) -> IdempotentRequest:
    """Return the fingerprints of an ``Idempotency-Key`` header and its request.

    ``owner``: the application, or the verification of a client token. ``operation``: the call and its verification.
    ``body``: the parsed JSON, so that white space and order do not matter. Raises `InvalidRequestError` for a header
    that is not 1 to 255 visible ASCII characters without a comma, in double quotes or not (IETF draft
    idempotency-key-header).
    """
    key = header.strip().removeprefix('"').removesuffix('"')
    if not _KEY.fullmatch(key):
        raise InvalidRequestError("One Idempotency-Key has 1 to 255 visible ASCII characters, no comma.")
    return IdempotentRequest(
        key=keyring.fingerprint("key", owner, key),
        fingerprint=keyring.fingerprint("request", owner, operation, _CANONICAL.encode(body)),
    )
