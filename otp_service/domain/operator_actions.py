"""What operators do by hand, as the ledger records it."""

from dataclasses import dataclass
from enum import StrEnum


class OperatorAction(StrEnum):
    """What was done."""

    API_KEY_ISSUED = "api-key-issued"
    API_KEY_ROTATED = "api-key-rotated"
    API_KEY_REVOKED = "api-key-revoked"
    APPLICATION_ADDED = "application-added"
    APPLICATION_CHANGED = "application-changed"
    LIMITS_RESET = "limits-reset"
    """What was counted for a number was forgotten."""
    GUARD_UNBLOCKED = "guard-unblocked"
    """What rules kept back was let through."""
    MIRROR_REBUILT = "mirror-rebuilt"
    """What Redis knew of opt-outs and consents was given up for what the ledger says."""
    STORE_FENCED = "store-fenced"
    """Everything that was in Redis was ended."""
    SUBJECT_FROZEN = "subject-frozen"
    SUBJECT_UNFROZEN = "subject-unfrozen"
    SUBJECT_ERASED = "subject-erased"
    SUPPRESSION_ADDED = "suppression-added"
    SUPPRESSION_LIFTED = "suppression-lifted"
    SUPPRESSIONS_IMPORTED = "suppressions-imported"
    GATEWAY_PAUSED = "gateway-paused"
    """No message goes through it."""
    GATEWAY_RESUMED = "gateway-resumed"
    """Messages go through it again."""
    MESSAGES_REDRIVEN = "messages-redriven"
    """Dead letters were to be put back."""


@dataclass(frozen=True, slots=True)
class OperatorActionEntry:
    """One action, as it is recorded."""

    act: str
    """One of `OperatorAction`; of what was read also one of a later release, or a forged one."""
    by: str
    """Who did it: the login of a person at a command line (``cli:ali``), or the name of an operator's API key."""
    application: str = ""
    """Whose it was; empty where that is nobody's, or all of them."""
    about: str = ""
    """What it was done to: the name of a key, or what kind of thing; never a number."""
    at: int = 0
    """When: milliseconds since the epoch."""
    id: str = ""
    """Random name of the row; empty until it is recorded."""
