"""Acme keeps the contract of gateways."""

from pathlib import Path

from acme_gateway import AcmeGateway

from otp_service.testing.suite import GatewayContract


class TestAcme(GatewayContract):
    """Runs the whole suite."""

    gateway_class = AcmeGateway
    samples = Path(__file__).parent / "samples" / "acme.toml"
