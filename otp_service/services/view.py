"""What a caller is shown of a verification."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from otp_service.core.keyring import Keyring
from otp_service.core.transaction import Transaction
from otp_service.core.verification import Verification

DETAILS = "details"
"""Kind of the sealed transaction and metadata."""


@dataclass(frozen=True, slots=True)
class Details:
    """What the caller passed along and gets back."""

    transaction: Transaction | None
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class VerificationView:
    """A verification with its details opened."""

    verification: Verification
    details: Details = field(repr=False)


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


def view_of(keyring: Keyring, verification: Verification) -> VerificationView:
    """Return a recorded verification as its caller may see it."""
    details = open_details(keyring, verification.sealed_details, verification.id, verification.application)
    return VerificationView(verification, details)
