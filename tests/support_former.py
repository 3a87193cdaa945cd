"""What the release before kept, as its own code wrote it (``store/former_states.txt``), and who finds it."""

import base64
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from support_caller import Caller
from support_frozen import FrozenValkey
from support_guard import modes
from support_installation import tree

from otp_service.bootstrap import Installation
from otp_service.settings.guard_ruleset import build_ruleset
from otp_service.settings.schema import SpendSettings
from otp_service.settings.settings import Settings
from otp_service.store.rulesets import CompiledRuleset, compile_ruleset

_LINES = [
    line
    for line in (Path(__file__).parent / "store" / "former_states.txt").read_text().splitlines()
    if not line.startswith("#")
]
NOW = int(_LINES[0].removeprefix("now "))
KINDS = {pattern: kind for _, kind, pattern in (line.split(" ", 2) for line in _LINES if line.startswith("kind "))}
"""All keys of that release: pattern and type."""
COMMANDS: list[list[Any]] = [json.loads(line) for line in _LINES if line.startswith("[")]


def _key(name: str) -> str:
    return base64.b64encode(hashlib.sha256(name.encode()).digest()).decode()


_SPEND = {"rich": {"day": "2", "hour": "2"}, "land": {"countries": {"PK": {"day": "2"}}}}
_NAMES = ("shop", "bank", "abroad", "inland", "far", "near", "busy", "rolling", "sprayed", "rich", "land")
_APPLICATION = {
    **tree("redis://")["applications"]["shop"],
    "keys": [],
    "purposes": ["login"],
}
SETTINGS: dict[str, Any] = {
    "keys": {"root": f"k1:{_key('otp root of 2026')}", "pseudonym": _key("otp pseudonyms of 2026")},
    "limits": {
        "number": ["3/10 minutes", "9/day"],
        "failed_checks": ["4/10 minutes", "9/day"],
        "ip": ["3/10 minutes", "9/day"],
        "application": ["3/10 minutes", "9/day"],
    },
    "purposes": {"login": {"resend_delays": [0], "max_sends": 5, "channels": ["sms", "voice"]}},
    "gateways": {"sandbox": {"kind": "sandbox", "prices": {"*": "1"}}},
    "applications": {
        name: {**_APPLICATION, "name": name, "keys": [f"sha256:{place:064x}"], "spend": _SPEND.get(name, {})}
        for place, name in enumerate(_NAMES)
    },
}
GUARD: dict[str, Any] = {
    "number": {"lock_after": 10, "guess_waits": [0, 3600]},
    "address": {
        "unapproved": ["3/day"],
        "numbers": ["3/day"],
        "countries": ["1/day"],
        "network": ["3/day"],
        "provider": ["3/day"],
    },
    "block": {"unapproved": ["2/day"]},
    "country": {"unapproved": ["3/day"], "home": ["3/day"]},
    "conversion": {
        "sends": 5,
        "home_sends": 5,
        "closed_for": 3600,
        "trickle": "1/10 minutes",
        "home": "1/day",
        "home_block": "1/2 days",
    },
    "failures": {"wrong": 10},
}


def pakistani(block: int, last: int = 1) -> str:
    """Return a number of one of the blocks that were used."""
    return f"+92300{block:03}{last:04}"


def load(frozen: FrozenValkey, names: Iterable[str] | None = None) -> None:
    """Put into an empty server what the release before had left there, or some keys of it, at the time of then."""
    frozen.reset()
    frozen.move_to(NOW)
    wanted = None if names is None else set(names)
    with frozen.client.pipeline(transaction=False) as pipeline:
        for command in COMMANDS:
            if wanted is None or command[1] in wanted:
                pipeline.execute_command(*(str(word).encode("latin-1") for word in command))
        pipeline.execute()


def install(frozen: FrozenValkey, *rules: str) -> Installation:
    """Return an installation of this release under the same keys, where these rules hold only."""
    return frozen.world().install(guard={"modes": modes(*rules), **GUARD}, **SETTINGS)


def rules_of_numbers(settings: Settings) -> CompiledRuleset:
    """Return the rules that all applications share."""
    return compile_ruleset(build_ruleset(settings.guard, settings.limits.parsed, SpendSettings()))


def convert(installation: Installation) -> None:
    """Do what a process does when it starts."""
    installation.context.store.former.convert(rules_of_numbers(installation.settings))


def upgraded(frozen: FrozenValkey, *rules: str, application: str = "shop") -> Caller:
    """Return a caller of this release after an upgrade."""
    load(frozen)
    installation = install(frozen, *rules)
    convert(installation)
    return Caller(installation, application)
