"""An installation with the profile of Pakistan switched on: that of ``config/examples/pakistan.toml``."""

import tomllib
from copy import deepcopy
from typing import Any

from support_caller import Caller
from support_installation import World, tree
from support_ledger_events import EVIDENCE
from support_sources import ROOT

from otp_service import bootstrap
from otp_service.settings import settings_from
from otp_service.settings.sources import merge

EXAMPLE = tomllib.loads((ROOT / "config" / "examples" / "pakistan.toml").read_text(encoding="utf-8"))
CONSENT = {"consent": EVIDENCE}
"""What a start needs."""


def table_of(url: str, without: tuple[str, ...] = (), **changes: Any) -> dict[str, Any]:
    """Return the example over settings for tests, changed: laid over, and then ``without`` what dotted paths name."""
    below = tree(url)
    below["applications"] = {"dev": {**below["applications"]["shop"], "client_ip": "none"}}
    table = merge(merge(below, deepcopy(EXAMPLE)), changes)
    for path in without:
        *above, last = path.split(".")
        section = table
        for step in above:
            section = section[step]
        del section[last]
    return table


def pakistan(world: World, **changes: Any) -> Caller:
    """Return the example's application, as a world has it."""
    installation = bootstrap.install(settings_from(table_of(world.url, **changes)), world.client)
    installation.context.access_cache.refresh()
    return Caller(installation, "dev")
