"""Every kind that this distribution registers passes the contract suite, and so does a stranger's."""

import io
import re
import sys
from importlib.metadata import distribution
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from xml.sax.saxutils import escape

import requests
from pydantic import SecretStr
from support_missing import missing
from support_smpp import SmppContract
from support_sources import ROOT

from otp_service.errors import ConfigurationError
from otp_service.gateways.base import (
    GATEWAY_ENTRY_POINTS,
    GATEWAY_KINDS,
    FailureKind,
    GatewayError,
    GatewaySettings,
)
from otp_service.gateways.http_client import HttpApiGateway, api_url, failure_of_status
from otp_service.testing.suite import GatewayContract

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
        members = {"gateway_class": GATEWAY_KINDS.find(kind), "samples": SAMPLES / f"{kind}.toml"}
    except ConfigurationError as lacks:  # the package of an extra
        why = str(lacks)
        return type(f"Test{kind.title()}", (), {"test_it_can_be_imported": lambda _: missing(why)})
    return type(f"Test{kind.title()}", (SPECIAL.get(kind, GatewayContract),), members)


for _sample in ("http/xml", "http/hmac", "http/token"):
    _members = {
        "gateway_class": GATEWAY_KINDS.find("http"),
        "samples": SAMPLES / f"{_sample}.toml",
        "test_receipts_are_sampled_where_there_are_any": None,  # http.toml samples what comes in
        "test_messages_from_people_are_sampled_where_there_are_any": None,
    }
    globals()[f"Test{_sample.title().replace('/', '')}"] = type(f"Test{_sample}", (GatewayContract,), _members)


for _entry in distribution("otp-service").entry_points.select(group=GATEWAY_ENTRY_POINTS):
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


class XmlGateway(HttpApiGateway):
    """Posts a document of XML, as some operators want it; the suite looks into it by a pattern."""

    kind = "xml"
    channels = frozenset({"sms"})
    development_only = False

    class Settings(GatewaySettings):
        """Where and as whom."""

        base_url: str
        token: SecretStr

    def request(self, message):
        return requests.Request(
            "POST",
            api_url(self.settings.base_url, "xml"),
            data=self.document(message).encode(),
            headers={"Content-Type": "application/xml"},
        )

    def failure(self, answer, _):
        if answer.status == 200 and self.reference(answer):
            return None
        if "<error>number</error>" in answer.text:
            return GatewayError(FailureKind.DESTINATION, "number")
        return failure_of_status(answer.status if answer.status != 200 else 502)

    def reference(self, answer):
        match = re.search("<id>(.+)</id>", answer.text)
        return match and match[1]

    def document(self, message):
        return (
            f'<?xml version="1.0"?><sms token="{self.settings.token.get_secret_value()}">'
            f"<to>{message.to[1:]}</to><text>{escape(message.text)}</text><ttl>{message.expires_in}</ttl></sms>"
        )


class TestXml(GatewayContract):
    gateway_class = XmlGateway
    samples = SAMPLES / "acme-xml.toml"
