"""Signatures of the scripts that redeem proofs and results of pages."""

from typing import NamedTuple

from otp_service.store.signatures.common import Elsewhere, MirrorBehind
from otp_service.store.signatures.signature import Signature


class PageCountKeys(NamedTuple):
    """The requests of a network."""

    requests: str


class PageCountArguments(NamedTuple):
    """The limit."""

    max_requests: int
    window: int
    """Milliseconds."""


PAGE_COUNT = Signature("page_count", PageCountKeys, PageCountArguments, int)
"""Returns the milliseconds to wait, or 0."""


class PageRedeemKeys(NamedTuple):
    """The verification of a page."""

    record: str
    mirror: str
    """Its head."""


class PageRedeemArguments(NamedTuple):
    """The result of a page."""

    application: str
    ends: int
    """Milliseconds since the epoch."""
    mirrored: str
    """Beginning of the keys of the mirror's entries for numbers."""
    elsewhere: str
    """What `revocation` returned of other buckets; empty before."""


class PageRedeemed(NamedTuple):
    """The result is used now; a revoked approval counts as canceled."""

    status: bytes


class NotRedeemable(NamedTuple):
    """Used before, expired or lost."""


class ApprovalRevoked(NamedTuple):
    """A number or user that the approval rests on was frozen, removed or erased since."""


PAGE_REDEEM: Signature[PageRedeemKeys, PageRedeemArguments, PageRedeemed | NotRedeemable | MirrorBehind | Elsewhere] = (
    Signature("page_redeem", PageRedeemKeys, PageRedeemArguments, PageRedeemed, NotRedeemable, MirrorBehind, Elsewhere)
)


class ProofRedeemKeys(NamedTuple):
    """The evidence of an approval."""

    evidence: str
    mirror: str
    """Its head."""


class ProofRedeemArguments(NamedTuple):
    """The application of a proof."""

    application: str
    elsewhere: str
    """What `revocation` returned of other buckets; empty before."""


class ProofRedeemed(NamedTuple):
    """The proof is used now."""


PROOF_REDEEM: Signature[
    ProofRedeemKeys, ProofRedeemArguments, ProofRedeemed | NotRedeemable | ApprovalRevoked | MirrorBehind | Elsewhere
] = Signature(
    *("proof_redeem", ProofRedeemKeys, ProofRedeemArguments),
    *(ProofRedeemed, NotRedeemable, ApprovalRevoked, MirrorBehind, Elsewhere),
)
