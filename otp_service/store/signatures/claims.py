"""Signatures of the scripts that claim what a start in another bucket rests on."""

from typing import NamedTuple

from otp_service.store.signatures.common import MirrorBehind
from otp_service.store.signatures.signature import Signature


class EvidenceKeys(NamedTuple):
    """The evidence of an approval."""

    evidence: str


class EvidenceClaimArguments(NamedTuple):
    """The start that uses an approval."""

    application: str
    verification: str
    ends: int
    """When the approval is too old: milliseconds since the epoch."""


class ReleaseArguments(NamedTuple):
    """The start that was refused."""

    verification: str


EVIDENCE_CLAIM: Signature[EvidenceKeys, EvidenceClaimArguments, int | None] = Signature(
    "evidence_claim", EvidenceKeys, EvidenceClaimArguments
)
"""Returns the ledger's position of the last lift or erasure before the approval; nothing where it cannot be claimed."""
EVIDENCE_RELEASE = Signature("evidence_release", EvidenceKeys, ReleaseArguments, bytes)


class UserClaimKeys(NamedTuple):
    """What is known of a user."""

    mirror: str
    """Its head."""
    mirrored: str
    verifications: str
    """The last ones that name the user."""


class UserClaimArguments(NamedTuple):
    """The start that names a user."""

    application: str
    verification: str
    life: int
    """Milliseconds for which the last verifications are kept."""


class UserClaimed(NamedTuple):
    """A freeze of the user ends the start from now on."""

    lifted: int
    """Position in the ledger of the last lift or erasure; 0 for none."""


class UserFrozen(NamedTuple):
    """No start may name the user."""


USER_CLAIM: Signature[UserClaimKeys, UserClaimArguments, UserClaimed | UserFrozen | MirrorBehind] = Signature(
    "user_claim", UserClaimKeys, UserClaimArguments, UserClaimed, UserFrozen, MirrorBehind
)


class UserReleaseKeys(NamedTuple):
    """The last verifications that name a user."""

    verifications: str


USER_RELEASE = Signature("user_release", UserReleaseKeys, ReleaseArguments, int)
