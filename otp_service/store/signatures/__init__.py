"""The signatures of all scripts."""

from typing import Any, Final

from otp_service.store.signatures import (
    access,
    console,
    factors,
    gateways,
    guard,
    leases,
    mirror,
    outbox,
    proofs,
    rulesets,
    verifications,
)
from otp_service.store.signatures.signature import Signature

SIGNATURES: Final[dict[str, Signature[Any, Any, Any]]] = {
    value.script: value
    for module in (access, console, factors, gateways, guard, leases, mirror, outbox, proofs, rulesets, verifications)
    for value in vars(module).values()
    if isinstance(value, Signature)
}
"""By the name of the script."""
UNSIGNED: Final = frozenset(
    {
        "approvals_take",
        "blocks_take_off",
        "cancel",
        "check",
        "dispatch",
        "dispatch_settle",
        "failures_count",
        "gateway_enter",
        "gateway_leave",
        "guard_give_back",
        "jobs_claim",
        "jobs_take",
        "money_settle",
        "replicas_await",
        "resend",
        "reserve",
        "reserve_give_back",
        "retries_requeue",
        "server_meet",
        "start",
        "subject_give_back",
        "traffic_commit",
        "verification_find",
    }
)
"""Scripts that still have numbers for names."""
