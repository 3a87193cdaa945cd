"""The service under simulation: its processes, as in production, with its default rules, over a Valkey of its own."""

import json
import os
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import abuse_worker
from abuse_attacks import APPLICATIONS
from abuse_clock import FastValkey
from abuse_numbers import ABROAD, HOME, PRICES
from processes import Process, free_port, wait_for_port
from rig import COMMAND

from otp_service.domain.keyring import Keyring, api_key_hash, new_api_key, new_key
from otp_service.settings import load_settings

CLAIM_MARGIN = 5.0


@dataclass
class Keys:
    """The keys of an installation and of its applications, for all scenarios of a run."""

    applications: Mapping[str, str]

    @classmethod
    def new(cls) -> "Keys":
        """Make them; the processes find those of the installation in the environment."""
        os.environ["OTP_SERVICE_ROOT_KEYS"] = f"k1:{new_key()}"
        os.environ["OTP_SERVICE_PSEUDONYM_KEY"] = new_key()
        return cls({name: new_api_key() for name in APPLICATIONS})


@dataclass(frozen=True)
class Site:
    """A running service: API, worker and a sandbox gateway."""

    port: int
    keyring: Keyring

    @classmethod
    def start(cls, stack: ExitStack, valkey: FastValkey, keys: Keys, *, spend: str | None = None) -> "Site":
        """Start the processes, which end with the stack; ``spend`` is what the shop may spend a day."""
        port, config = free_port(), valkey.folder / "site.json"
        config.write_text(json.dumps(_tree(valkey, port, keys, spend)))
        settings = load_settings(config)
        Process.start(stack, [COMMAND, "serve", "--config", str(config)], log=valkey.folder / "serve.log")
        worker = [sys.executable, abuse_worker.__file__, str(config), f"{valkey.speed:g}"]
        Process.start(stack, worker, log=valkey.folder / "worker.log")
        wait_for_port(port)
        return cls(port, settings.keyring())


def _tree(valkey: FastValkey, port: int, keys: Keys, spend: str | None) -> dict[str, Any]:
    """Return a configuration: the default rules, and what any installation has to add.

    A worker measures by its own clock for how long another has been silent, Redis by one that runs faster: the margin
    makes up for that.
    """
    applications = {
        name: {
            "keys": [api_key_hash(key)],
            "purposes": ["login"],
            "countries": [HOME, ABROAD],
            "region": HOME,
            "client_ip": "required",
            **({"spend": {"day": spend}} if spend and name == APPLICATIONS[0] else {}),
        }
        for name, key in keys.applications.items()
    }
    priced = {country: str(PRICES[country]) for country in (HOME, ABROAD)}
    return {
        "environment": "development",
        "redis": {"url": valkey.url},
        # One for the whole run, as what Redis knows goes on from day to day: it mirrors this ledger, and no other.
        "ledger": {"url": f"sqlite:///{valkey.folder.parent / 'ledger.db'}"},
        "http": {"port": port, "metrics_port": 0},
        "worker": {"metrics_port": 0, "claim_margin": CLAIM_MARGIN * valkey.speed},
        "logging": {"level": "WARNING"},
        "purposes": {"login": {}},
        "applications": applications,
        "gateways": {"sandbox": {"kind": "sandbox", "prices": priced}},
    }
