"""The signatures of all scripts."""

from typing import Any, Final

from otp_service.store.signatures import access, console, factors, leases, proofs, verifications
from otp_service.store.signatures.signature import Signature

SIGNATURES: Final[dict[str, Signature[Any, Any, Any]]] = {
    value.script: value
    for module in (access, console, factors, leases, proofs, verifications)
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
        "dead_letter_redrive",
        "decision_note",
        "dispatch",
        "dispatch_settle",
        "failures_count",
        "fence_put",
        "former_convert",
        "former_places",
        "gateway_enter",
        "gateway_leave",
        "gateway_observe",
        "guard_give_back",
        "guard_read",
        "guard_unblock",
        "jobs_claim",
        "jobs_renew",
        "jobs_take",
        "mirror_allows",
        "mirror_build",
        "mirror_known",
        "mirror_vouch",
        "mirror_write",
        "money_settle",
        "number_forget",
        "number_read",
        "number_show",
        "number_unblock",
        "plan_register",
        "queues_sweep",
        "receipt",
        "reference_find",
        "reference_put",
        "replicas_await",
        "resend",
        "reserve",
        "reserve_give_back",
        "retries_requeue",
        "ruleset_register",
        "server_meet",
        "server_note",
        "start",
        "starts_readiness",
        "subject_give_back",
        "traffic_commit",
        "verification_find",
    }
)
"""Scripts that still have numbers for names."""
