"""What tests of gateways share: a message, a context, and a provider."""

import importlib.util

from support_missing import missing

from otp_service.gateways.base import GATEWAY_KINDS
from otp_service.testing.provider import gateway_context
from otp_service.testing.samples import MESSAGE

__all__ = ["MESSAGE", "make", "require"]


def make(kind, mailbox=None, receipt_sink=None, **settings):
    """Return a gateway of a kind under the name ``main``."""
    gateway = GATEWAY_KINDS.find(kind)
    return gateway(gateway.Settings.model_validate(settings), gateway_context(mailbox, receipt_sink))


def require(*packages):
    """Let a module of tests run only where packages are installed that ours does not need."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            missing(f"the package {package}")
