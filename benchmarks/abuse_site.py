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

from otp_service.bootstrap import Installation, install
from otp_service.domain.keyring import Keyring, api_key_hash, new_api_key, new_key
from otp_service.domain.newcomer_traffic import CountryTraffic
from otp_service.services.context import Context
from otp_service.settings import load_settings
from otp_service.store import keys as redis_keys
from otp_service.store.newcomer_traffic import CountrySuspicion

CLAIM_MARGIN = 5.0
START = 120.0
"""Seconds that the processes may take to start, also on a busy machine."""
SHOP = APPLICATIONS[0]
EMPTY: Mapping[str, Any] = {}


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
    installation: Installation

    @classmethod
    def start(
        cls, stack: ExitStack, valkey: FastValkey, keys: Keys, shop: Mapping[str, Any] = EMPTY,
        learnt: Mapping[str, CountryTraffic] = EMPTY,
    ) -> "Site":  # fmt: skip
        """Start the processes, which end with the stack.

        ``shop`` has further settings of the shop, ``learnt`` what is usual in its countries.
        """
        port, config = free_port(), valkey.folder / "site.json"
        config.write_text(json.dumps(_tree(valkey, port, keys, shop)))
        settings = load_settings(config)
        installation = install(settings)
        if learnt:
            _teach(installation.context, valkey, learnt)
        Process.start(stack, [COMMAND, "serve", "--config", str(config)], log=valkey.folder / "serve.log")
        worker = [sys.executable, abuse_worker.__file__, str(config), f"{valkey.speed:g}"]
        Process.start(stack, worker, {"OTP_SERVICE__LOGGING__LEVEL": "INFO"}, log=valkey.folder / "worker.log")
        wait_for_port(port, START)
        return cls(port, settings.keyring(), installation)

    def behind(self) -> float:
        """Return for how many seconds by Redis' clock a message waits, or an event, or nobody judged."""
        store, judged = self.installation.context.store, self.installation.client.get(abuse_worker.JUDGED)
        now = store.decisions.now()
        waiting = min(int(judged or 0), store.events.counted_until())
        return max(store.outbox.lag(), (now - waiting) / 1000)


def _teach(context: Context, valkey: FastValkey, learnt: Mapping[str, CountryTraffic]) -> None:
    """Let the service know what is usual, as its own worker would have written it down."""
    valkey.client.delete(redis_keys.traffic(SHOP), redis_keys.tallies(SHOP))
    changed = {country: (traffic, tuple(traffic.ranges)) for country, traffic in learnt.items()}
    meets = tuple(
        CountrySuspicion(country, usual=traffic.whole.usual.daily_approvals()) for country, traffic in learnt.items()
    )
    if not context.store.traffic.commit(SHOP, "0", changed, {}, meets, context.rulesets[SHOP]):
        raise SystemExit("What was learnt could not be written down.")


def _tree(valkey: FastValkey, port: int, keys: Keys, shop: Mapping[str, Any]) -> dict[str, Any]:
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
            **(shop if name == SHOP else {}),
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
