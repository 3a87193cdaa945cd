"""Every kind that this distribution registers passes the contract suite, and so does a stranger's."""

import io
import sys
from importlib.metadata import distribution
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from support_missing import missing
from support_smpp import SmppContract
from support_sources import ROOT

from otp_service.core.errors import ConfigurationError
from otp_service.gateways.contract import GatewayContract
from otp_service.gateways.registry import GROUP, gateway_kind

SAMPLES = Path(__file__).parent / "samples"
STRANGER = ROOT / "examples" / "gateway-package"


class ConsoleContract(GatewayContract):
    prints = True

    def arrange(self, exchange, monkeypatch):
        if exchange.name == "standard output is closed":
            closed = io.StringIO()
            closed.close()
            monkeypatch.setattr(sys, "stdout", closed)


SPECIAL = {"console": ConsoleContract, "smpp": SmppContract}


def suite_of(kind):
    try:
        members = {"gateway_class": gateway_kind(kind), "samples": SAMPLES / f"{kind}.toml"}
    except ConfigurationError as lacks:  # the package of an extra
        why = str(lacks)
        return type(f"Test{kind.title()}", (), {"test_it_can_be_imported": lambda _: missing(why)})
    return type(f"Test{kind.title()}", (SPECIAL.get(kind, GatewayContract),), members)


for _entry in distribution("otp-service").entry_points.select(group=GROUP):
    globals()[f"Test{_entry.name.title()}"] = suite_of(_entry.name)


def strangers_gateway():
    """Import the example's one file as it would be if its package were installed."""
    spec = spec_from_file_location("acme_gateway", STRANGER / "acme_gateway.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.AcmeGateway


class TestStranger(GatewayContract):
    gateway_class = strangers_gateway()
    samples = STRANGER / "samples" / "acme.toml"
