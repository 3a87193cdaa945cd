"""One-time codes by HOTP (RFC 4226), and the sealed members of a record."""

import hmac
import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.hmac import HMAC

from otp_service.domain.keyring import MASK, Keyring
from otp_service.domain.numbers import MAX_MASK_LENGTH
from otp_service.domain.payments import Transaction
from otp_service.domain.verification import Verification
from otp_service.errors import InvalidCodeError

_SHA1 = SHA1()  # noqa: S303 - RFC 4226 is defined with it
_TYPED = re.compile(r"[0-9]{6,8}")
_SEPARATORS = " -\u00a0\u2010\u2011\u2012\u2013"
_MAX_TYPED = 32


def generate_code(key: bytes, generation: int, length: int) -> str:
    """Return the HOTP value (RFC 4226, section 5.3) of a verification's key at a generation, with leading zeros."""
    of_key = HMAC(key, _SHA1)
    of_key.update(generation.to_bytes(8, "big"))
    mac = of_key.finalize()
    place = mac[-1] & 0xF
    truncated = int.from_bytes(mac[place : place + 4], "big") & 0x7FFF_FFFF
    return f"{truncated % 10**length:0{length}}"


def normalise_code(typed: str) -> str:
    """Return the 6 to 8 ASCII digits of a typed code in any script, without spaces and hyphens.

    Raises `InvalidCodeError` for other texts, which are no guesses and do not count.
    """
    if len(typed) > _MAX_TYPED:
        raise InvalidCodeError("A code has 6 to 8 digits.")
    if _TYPED.fullmatch(typed):
        return typed
    digits = "".join(str(unicodedata.decimal(sign, sign)) for sign in typed if sign not in _SEPARATORS)
    if digits and not digits.isdecimal():
        raise InvalidCodeError("A code has digits only.")
    if not _TYPED.fullmatch(digits):
        raise InvalidCodeError("A code has 6 to 8 digits.")
    return digits


DESTINATION = "destination"
_MEMBERS = tuple(member.name for member in fields(Transaction))
DETAILS = "details"


@dataclass(frozen=True, slots=True)
class Details:
    """The caller's data of a verification, sealed in its record."""

    transaction: Transaction | None = field(default=None, repr=False)
    metadata: Mapping[str, str] = field(default_factory=dict, repr=False)
    user: str | None = field(default=None, repr=False)
    """The application's own name of its user."""
    return_url: str | None = field(default=None, repr=False)


def derive_code(keyring: Keyring, verification: Verification, generation: int, transaction_digest: str) -> str:
    """Return the code of a generation; the digest must be of the transaction, not the record's."""
    purpose = verification.purpose
    key = keyring.code_key(
        verification.application, verification.id, verification.pseudonym, purpose.name, transaction_digest
    )
    return generate_code(key, generation, purpose.code_length)


def derive_tag(keyring: Keyring, verification: Verification, generation: int) -> str:
    """Return the tag of a generation's code."""
    digest = verification.transaction_digest
    code = derive_code(keyring, verification, generation, digest)
    return keyring.tag(verification.id, verification.application, digest, code)


def is_code(keyring: Keyring, verification: Verification, transaction: Transaction | None, typed: str) -> bool:
    """Tell whether a typed code is right for a canonical transaction, in any state; raise `InvalidCodeError`."""
    digest = keyring.transaction_digest(verification.id, transaction)
    tag = keyring.tag(verification.id, verification.application, digest, normalise_code(typed))
    return hmac.compare_digest(tag, derive_tag(keyring, verification, verification.generation))


def seal_details(keyring: Keyring, details: Details, verification_id: str, application: str) -> bytes:
    """Return details sealed, empty for none."""
    payment = details.transaction
    if details == Details():
        return b""
    members = payment and {name: getattr(payment, name) for name in _MEMBERS}  # asdict takes ten times as long
    document: dict[str, object] = {"transaction": members, "metadata": dict(details.metadata)}
    if details.user is not None:
        document["user"] = details.user
    if details.return_url is not None:
        document["return_url"] = details.return_url
    plain = json.dumps(document).encode()
    return keyring.seal(plain, verification_id=verification_id, application=application, kind=DETAILS)


def unseal_details(keyring: Keyring, verification: Verification) -> Details:
    """Return the details from `seal_details`; raise `SealBrokenError` when its root key is gone."""
    if not verification.sealed_details:
        return Details()
    document = json.loads(_unseal(keyring, verification, verification.sealed_details, DETAILS))
    payment = Transaction(**document["transaction"]) if document["transaction"] else None
    return Details(payment, document["metadata"], document.get("user"), document.get("return_url"))


def seal_mask(keyring: Keyring, mask: str, verification_id: str, application: str) -> bytes:
    """Return a sealed mask, which has the same length for all numbers."""
    plain = mask.replace("•", "*").ljust(MAX_MASK_LENGTH).encode()  # a bullet takes three bytes
    return keyring.seal(plain, verification_id=verification_id, application=application, kind=MASK)


def unseal_mask(keyring: Keyring, verification: Verification) -> str:
    """Return the mask from `seal_mask`."""
    return _unseal(keyring, verification, verification.sealed_mask, MASK).rstrip().replace("*", "•")


def unseal_destination(keyring: Keyring, verification: Verification) -> str:
    """Return the plain number (E.164); raise `SealBrokenError` when its root key is gone."""
    return _unseal(keyring, verification, verification.sealed_destination, DESTINATION).rstrip()


def _unseal(keyring: Keyring, verification: Verification, sealed: bytes, kind: str) -> str:
    plain = keyring.unseal(sealed, verification_id=verification.id, application=verification.application, kind=kind)
    return plain.decode()
