"""The numbers that go wrong on purpose in ``dev``: their last two digits say how. docs/sandbox.md has the table."""

from typing import Any

PREFIX = "+92355555"
"""Ten thousand mobile numbers of Pakistan, one block (ITU-T E.164; valid by libphonenumber): the two digits that
follow are free, so that limits on a number stand in nobody's way; the last two choose."""

_DELIVERED = {"status": "delivered", "after": 1.0}
BEHAVIOURS: dict[str, dict[str, Any]] = {
    "01": {"reports": [_DELIVERED]},
    "02": {"reports": [_DELIVERED, {"status": "delivered", "after": 2.0}]},
    "03": {"reports": [_DELIVERED, {"status": "sent", "after": 2.0}]},
    "04": {"delay": 0.5, "reports": [{"status": "delivered", "overtakes": True}]},
    "05": {"channels": ["sms"], "reports": [{"status": "undelivered", "after": 2.0}]},
    "06": {"reports": [{"status": "undelivered", "after": 2.0, "kind": "destination"}]},
    "07": {"reports": [{"status": "delivered", "after": 1.0, "forged": True}]},
    "11": {"fail": "unavailable"},
    "12": {"fail": "throttled", "retry_after": 5.0},
    "13": {"fail": "rejected"},
    "14": {"fail": "destination"},
    "15": {"channels": ["sms"], "fail": "channel"},
    "16": {"fail": "fraud"},
    "17": {"fail": "account"},
    "21": {"connection": "refused"},
    "22": {"connection": "lost"},
    "23": {"connection": "timeout", "reports": [_DELIVERED]},
    "24": {"connection": "black_hole"},
    "31": {"fail": "unavailable", "every": 2},
    "32": {"fail": "unavailable", "rate": 0.5},
    "33": {"delay": 1.5},
}
"""By the last two digits: what a case of the sandbox says of them."""

CASES: list[dict[str, Any]] = [{"to": f"{PREFIX}*{digits}", **behaviour} for digits, behaviour in BEHAVIOURS.items()]
"""The section's ``cases``."""
