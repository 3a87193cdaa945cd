"""An installation for tests, and the clock that goes with its store."""

import base64
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import redis
from support_ledger import another_ledger

from otp_service import bootstrap
from otp_service.bootstrap import Installation
from otp_service.domain.guard import GUARD_RULES
from otp_service.domain.keyring import api_key_hash
from otp_service.settings import settings_from

API_KEY = "otp_test_shop"
BANK_KEY = "otp_test_bank"
NUMBER = "+923001234567"
SPELLINGS = (NUMBER, "03001234567", "0092 300 1234567", "۰۳۰۰۱۲۳۴۵۶۷", "+92 (300) 123-4567")
"""Five spellings of that number, for an application whose region is PK."""
TRANSACTION = {"amount": "1500.00", "currency": "PKR", "payee": "Daraz"}


REDIS: dict[str, Any] = {}
"""What is said of the server beside its address, where tests run on a cluster."""
KEYS: dict[str, Any] = {}
"""More settings of keys, where tests run on a cluster."""
QUIET = {
    rule: "off"
    for rule in GUARD_RULES
    if rule not in {"number.sends", "number.guesses", "address.starts", "application.requests", "number.lock"}
    and not rule.startswith("destination.")
}
"""Modes for tests that are about something else, and start one verification after the other."""


def key() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()


def tree(url: str, **sections: Any) -> dict[str, Any]:
    """Return settings for tests; a section given replaces members of the default one."""
    base: dict[str, Any] = {
        "environment": "development",
        "redis": {"url": url, **REDIS},
        "ledger": {"url": another_ledger()},
        "keys": {"root": f"k1:{key()}", "pseudonym": key(), **KEYS},
        "http": {"metrics_on_same_port": True},
        "purposes": {
            "login": {"resend_delays": [30, 60, 120], "channels": ["sms", "voice"]},
            "payment": {"kind": "transaction", "ttl": 180, "max_checks": 3, "channels": ["sms"]},
        },
        "applications": {
            "shop": {
                "name": "Acme Shop", "keys": [api_key_hash(API_KEY)], "purposes": ["login", "payment"],
                "countries": ["PK", "GB"], "region": "PK", "client_ip": "connection",
            },
            "bank": {
                "name": "Acme Bank", "keys": [api_key_hash(BANK_KEY)], "purposes": ["login", "payment"],
                "countries": ["PK"], "region": "PK", "client_ip": "none",
            },
        },
        "guard": {"modes": QUIET},
        "gateways": {"sandbox": {"kind": "sandbox", "timeout": 1.0}},
        "worker": {"claim_margin": 0.5, "concurrency": 8},
    }  # fmt: skip
    for name, section in sections.items():
        base[name] = {**base[name], **section} if isinstance(base.get(name), dict) else section
    return base


@dataclass(frozen=True)
class World:
    """A store with a clock: everything a test needs to install the service and let time pass."""

    client: redis.Redis
    url: str
    advance: Callable[[float], None]

    def install(self, **sections: Any) -> Installation:
        """Return an installation over this world's store."""
        installation = bootstrap.install(settings_from(tree(self.url, **sections)), self.client)
        installation.context.access_cache.refresh()
        return installation


class InProduction(World):
    """The tests' own installation, as if it were none."""

    def install(self, **sections: Any) -> Installation:
        installation = super().install(**sections)
        return replace(installation, settings=installation.settings.model_copy(update={"environment": "production"}))
