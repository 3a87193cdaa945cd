"""The guard of a service under load: every rule is evaluated and counted, and none refuses.

Load comes from numbers in a row, and nobody approves it: to the rules it is an attack.
"""

from typing import Any

_MANY = "100000000"
PERMISSIVE: dict[str, Any] = {
    "block": {"unapproved": [f"{_MANY}/hour", f"{_MANY}/2 days"]},
    "country": {"unapproved": [f"{_MANY}/day"], "home": [f"{_MANY}/day"]},
    "conversion": {"sends": 100_000, "rate": 0.000_001},
}
