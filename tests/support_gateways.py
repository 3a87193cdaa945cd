"""What tests of gateways share: a message, a context, and a provider."""

import importlib.util
import os

import pytest

from otp_service.gateways.contract.bench import context_of_tests
from otp_service.gateways.contract.samples import MESSAGE
from otp_service.gateways.registry import gateway_kind

__all__ = ["MESSAGE", "make", "missing", "require"]


def make(kind, mailbox=None, desk=None, **settings):
    """Return a gateway of a kind under the name ``main``."""
    gateway = gateway_kind(kind)
    return gateway(gateway.Settings.model_validate(settings), context_of_tests(mailbox, desk))


def missing(what):
    """Skip on a laptop, fail in CI: a proof that did not run is no proof there."""
    if os.environ.get("CI"):
        pytest.fail(f"{what} is missing", pytrace=False)
    pytest.skip(f"{what} is missing", allow_module_level=True)


def require(*packages):
    """Let a module of tests run only where packages are installed that ours does not need."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            missing(f"the package {package}")
