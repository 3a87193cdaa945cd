"""What a caller is shown of a verification."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from otp_service.domain.keyring import MASK, Keyring
from otp_service.domain.numbers import LONGEST_MASK
from otp_service.domain.payments import Transaction
from otp_service.domain.verification import Channel, Verification
from otp_service.services.context import Context

DETAILS = "details"
"""Kind of the sealed transaction and metadata."""


@dataclass(frozen=True, slots=True)
class Details:
    """What the caller passed along and gets back."""

    transaction: Transaction | None
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class VerificationView:
    """A verification with its details and its mask opened, and the language of its last message."""

    verification: Verification
    details: Details = field(repr=False)
    mask: str
    locale: str
    """BCP 47: not what was asked for where there are no words for that."""


def seal_details(keyring: Keyring, details: Details, verification_id: str, application: str) -> bytes:
    """Return the details sealed, or nothing when there are none."""
    if details.transaction is None and not details.metadata:
        return b""
    transaction = asdict(details.transaction) if details.transaction else None
    plain = json.dumps({"transaction": transaction, "metadata": dict(details.metadata)}).encode()
    return keyring.seal(plain, verification_id=verification_id, application=application, kind=DETAILS)


def open_details(keyring: Keyring, sealed: bytes, verification_id: str, application: str) -> Details:
    """Return what `seal_details` sealed."""
    if not sealed:
        return Details(None, {})
    plain = json.loads(keyring.unseal(sealed, verification_id=verification_id, application=application, kind=DETAILS))
    transaction = Transaction(**plain["transaction"]) if plain["transaction"] else None
    return Details(transaction, plain["metadata"])


def seal_mask(keyring: Keyring, mask: str, verification_id: str, application: str) -> bytes:
    """Return a mask sealed, as long as that of any other number."""
    plain = mask.replace("•", "*").ljust(LONGEST_MASK).encode()  # three bytes less for each: a short value stays short
    return keyring.seal(plain, verification_id=verification_id, application=application, kind=MASK)


def open_mask(keyring: Keyring, verification: Verification) -> str:
    """Return what `seal_mask` sealed."""
    plain = keyring.unseal(
        verification.sealed_mask, verification_id=verification.id, application=verification.application, kind=MASK
    )
    return plain.decode().rstrip().replace("*", "•")


def transaction_in(keyring: Keyring, verification: Verification) -> Transaction | None:
    """Return the transaction of a recorded verification; raise `SealBrokenError` when its root key is gone."""
    return open_details(keyring, verification.sealed_details, verification.id, verification.application).transaction


def view_of(context: Context, verification: Verification) -> VerificationView:
    """Return a recorded verification as its caller may see it."""
    keyring = context.keyring
    details = open_details(keyring, verification.sealed_details, verification.id, verification.application)
    return VerificationView(verification, details, open_mask(keyring, verification), locale_of(context, verification))


def locale_of(context: Context, verification: Verification) -> str:
    """Return in which locale the last message of a verification is."""
    application = context.applications.get(verification.application)  # it may have gone since
    wanted = (verification.locale, application.locale if application else verification.locale)
    only = context.clearance.rules_of(verification.country).languages
    return context.catalogue.choose(verification.purpose, Channel(verification.channel), *wanted, only=only).locale
