"""What every gateway has to prove, a stranger's too: a suite for pytest, fed by a file of wire exchanges.

``class TestAcme(GatewayContract): gateway_class, samples = AcmeGateway, Path("acme.toml")`` in a test module is
all it takes. Only here does the package import pytest; nothing that runs in production imports this.
"""

import pytest

for _module in ("bench", "describing", "sending", "reporting", "receiving", "watch"):
    pytest.register_assert_rewrite(f"{__name__}.{_module}")

from otp_service.gateways.contract.describing import DescribesItself  # noqa: E402 - after the registration
from otp_service.gateways.contract.receiving import Receives  # noqa: E402
from otp_service.gateways.contract.reporting import Reports  # noqa: E402
from otp_service.gateways.contract.samples import Exchange  # noqa: E402
from otp_service.gateways.contract.sending import Sends  # noqa: E402

__all__ = ["Exchange", "GatewayContract"]


class GatewayContract(DescribesItself, Sends, Reports, Receives):
    """Subclass it, name the gateway and its file of samples, and pytest runs every test of the four parts."""
