"""The kinds of gateways that are installed."""

from otp_service.gateways.base import Gateway
from otp_service.transport.kinds import Kinds

GROUP = "otp_service.gateways"
KINDS = Kinds(GROUP, "gateway", ("kind", "channels", "development_only", "Settings", "send"))


def known_kinds() -> list[str]:
    """Return the names of all kinds, without importing any."""
    return KINDS.names()


def gateway_kind(name: str) -> type[Gateway]:
    """Import and return the gateway of a kind; raise `ConfigurationError` when that is none, or more than one."""
    found: type[Gateway] = KINDS.find(name)
    return found
