"""The code of a verification, and the tag that a record keeps instead of it."""

from otp_service.domain.keyring import Keyring, Subject, code_of
from otp_service.domain.verification import Verification


def derive_code(keyring: Keyring, verification: Verification, generation: int, transaction_digest: str) -> str:
    """Return the code of a generation. The digest is taken from the transaction itself, not from the record."""
    subject = Subject(
        application=verification.application,
        verification_id=verification.id,
        pseudonym=verification.pseudonym,
        purpose=verification.purpose.name,
        transaction_digest=transaction_digest,
    )
    return code_of(keyring.code_key(subject), generation, verification.purpose.code_length)


def derive_tag(keyring: Keyring, verification: Verification, generation: int) -> str:
    """Return the tag of a generation's code."""
    digest = verification.transaction_digest
    code = derive_code(keyring, verification, generation, digest)
    return keyring.tag(verification.id, verification.application, digest, code)
