"""One-time codes, made by HOTP (RFC 4226) and read as a person typed them; and what a record seals."""

import hmac
import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.hmac import HMAC

from otp_service.domain.keyring import MASK, CodeBinding, Keyring
from otp_service.domain.numbers import MAX_MASK_LENGTH
from otp_service.domain.payments import Transaction
from otp_service.domain.verification import Verification
from otp_service.errors import InvalidCodeError

_SHA1 = SHA1()  # noqa: S303 - RFC 4226 is defined with it
_TYPED = re.compile(r"[0-9]{6,8}")
_SEPARATORS = " -\u00a0\u2010\u2011\u2012\u2013"
_MAX_TYPED = 32


def generate_code(key: bytes, generation: int, length: int) -> str:
    """Return the HOTP value (RFC 4226, section 5.3) of a verification's key at a generation, leading zeros kept."""
    of_key = HMAC(key, _SHA1)
    of_key.update(generation.to_bytes(8, "big"))
    mac = of_key.finalize()
    place = mac[-1] & 0xF
    truncated = int.from_bytes(mac[place : place + 4], "big") & 0x7FFF_FFFF
    return f"{truncated % 10**length:0{length}}"


def normalise_code(typed: str) -> str:
    """Return what a person typed as 6 to 8 ASCII digits.

    Decimal digits of any script (Urdu, Arabic, full-width) are accepted, spaces and hyphens dropped.
    Raises `InvalidCodeError` for anything else: such an input is not a guess, and is not counted.
    """
    if len(typed) > _MAX_TYPED:
        raise InvalidCodeError("A code has 6 to 8 digits.")
    digits = typed if _TYPED.fullmatch(typed) else "".join(map(_ascii_digit, typed))
    if not _TYPED.fullmatch(digits):
        raise InvalidCodeError("A code has 6 to 8 digits.")
    return digits


def _ascii_digit(character: str) -> str:
    if character in _SEPARATORS:
        return ""
    digit = unicodedata.decimal(character, None)
    if digit is None:
        raise InvalidCodeError("A code has digits only.")
    return str(digit)


DESTINATION = "destination"
"""The kind of seal of a number."""
_MEMBERS = tuple(member.name for member in fields(Transaction))
DETAILS = "details"
"""The kind of seal of a start's details."""


@dataclass(frozen=True, slots=True)
class Details:
    """The caller's data of a verification, sealed in its record."""

    transaction: Transaction | None = field(default=None, repr=False)
    metadata: Mapping[str, str] = field(default_factory=dict, repr=False)
    user: str | None = field(default=None, repr=False)
    """The application's own name of its user."""
    return_url: str | None = field(default=None, repr=False)
    """The return address of a page; ``None`` without a page."""


def derive_code(keyring: Keyring, verification: Verification, generation: int, transaction_digest: str) -> str:
    """Return the code of a generation; the digest has to come from the transaction, not from the record."""
    subject = CodeBinding(
        application=verification.application,
        verification_id=verification.id,
        pseudonym=verification.pseudonym,
        purpose=verification.purpose.name,
        transaction_digest=transaction_digest,
    )
    return generate_code(keyring.code_key(subject), generation, verification.purpose.code_length)


def derive_tag(keyring: Keyring, verification: Verification, generation: int) -> str:
    """Return the tag of a generation's code."""
    digest = verification.transaction_digest
    code = derive_code(keyring, verification, generation, digest)
    return keyring.tag(verification.id, verification.application, digest, code)


def is_code(keyring: Keyring, verification: Verification, transaction: Transaction | None, typed: str) -> bool:
    """Tell whether a person typed the code of a verification, whatever its state.

    ``transaction`` is canonical. Raises `InvalidCodeError`.
    """
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
    """Return what `seal_details` sealed; raise `SealBrokenError` when its root key is gone."""
    if not verification.sealed_details:
        return Details()
    plain = keyring.unseal(
        verification.sealed_details, verification_id=verification.id, application=verification.application, kind=DETAILS
    )
    document = json.loads(plain)
    payment = Transaction(**document["transaction"]) if document["transaction"] else None
    return Details(payment, document["metadata"], document.get("user"), document.get("return_url"))


def seal_mask(keyring: Keyring, mask: str, verification_id: str, application: str) -> bytes:
    """Return a mask sealed, as long as that of any other number."""
    plain = mask.replace("•", "*").ljust(MAX_MASK_LENGTH).encode()  # a bullet takes three bytes
    return keyring.seal(plain, verification_id=verification_id, application=application, kind=MASK)


def unseal_mask(keyring: Keyring, verification: Verification) -> str:
    """Return what `seal_mask` sealed."""
    plain = keyring.unseal(
        verification.sealed_mask, verification_id=verification.id, application=verification.application, kind=MASK
    )
    return plain.decode().rstrip().replace("*", "•")


def unseal_destination(keyring: Keyring, verification: Verification) -> str:
    """Return a number in the clear (E.164); raise `SealBrokenError` when its root key is gone."""
    number = keyring.unseal(
        verification.sealed_destination,
        verification_id=verification.id,
        application=verification.application,
        kind=DESTINATION,
    )
    return number.decode().rstrip()
