"""Signatures of the scripts that redeem proofs and results of pages."""

from typing import NamedTuple

from otp_service.store.signatures.common import Elsewhere, EvidenceKeys, MirrorBehind, VerificationKeys
from otp_service.store.signatures.signature import Signature


class PageCountKeys(NamedTuple):
    requests: str


class PageCountArguments(NamedTuple):
    max_requests: int
    window: int


PAGE_COUNT = Signature[PageCountKeys, PageCountArguments, int]("page_count")
"""Returns the milliseconds to wait, or 0."""


class PageRedeemArguments(NamedTuple):
    application: str
    ends: int
    """Milliseconds since the epoch."""
    mirrored: str
    elsewhere: str


class PageRedeemed(NamedTuple):
    """The result is used now; a revoked approval counts as canceled."""

    status: bytes


class NotRedeemable(NamedTuple):
    """Used before, expired or lost."""


class ApprovalRevoked(NamedTuple):
    """A number or user that the approval rests on was frozen, removed or erased since."""


PAGE_REDEEM = Signature[VerificationKeys, PageRedeemArguments, PageRedeemed | NotRedeemable | MirrorBehind | Elsewhere](
    "page_redeem"
)


class ProofRedeemArguments(NamedTuple):
    application: str
    elsewhere: str


class ProofRedeemed(NamedTuple):
    """The proof is used now."""


PROOF_REDEEM = Signature[
    EvidenceKeys, ProofRedeemArguments, ProofRedeemed | NotRedeemable | ApprovalRevoked | MirrorBehind | Elsewhere
]("proof_redeem")
