"""What tests of gateways share: a message, a context, and a provider."""

from otp_service.gateways.contract.bench import context_of_tests
from otp_service.gateways.contract.samples import MESSAGE
from otp_service.gateways.registry import gateway_kind

__all__ = ["MESSAGE", "make"]


def make(kind, mailbox=None, desk=None, **settings):
    """Return a gateway of a kind under the name ``main``."""
    gateway = gateway_kind(kind)
    return gateway(gateway.Settings.model_validate(settings), context_of_tests(mailbox, desk))
