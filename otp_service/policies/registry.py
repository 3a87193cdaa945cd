"""The kinds of policies that are installed."""

from otp_service.policies.base import Policy
from otp_service.transport.kinds import Kinds

GROUP = "otp_service.policies"
KINDS = Kinds(GROUP, "policy", ("kind", "Settings", "judge"))


def policy_kind(name: str) -> type[Policy]:
    """Import and return the policy of a kind; raise `ConfigurationError` when that is none, or more than one."""
    found: type[Policy] = KINDS.find(name)
    return found
