"""The signatures of all scripts."""

from typing import Any, Final

from otp_service.store.signatures import (
    access,
    claims,
    console,
    factors,
    gateways,
    guard,
    leases,
    mirror,
    outbox,
    proofs,
    rulesets,
    servers,
    verifications,
)
from otp_service.store.signatures.signature import Signature

SIGNATURES: Final[dict[str, Signature[Any, Any, Any]]] = {
    value.script: value
    for module in (
        access,
        claims,
        console,
        factors,
        gateways,
        guard,
        leases,
        mirror,
        outbox,
        proofs,
        rulesets,
        servers,
        verifications,
    )
    for value in vars(module).values()
    if isinstance(value, Signature)
}
"""By the name of the script."""
