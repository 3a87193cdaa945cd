"""What ``redis.url`` may be: nothing in it may pass for something else, or undo a bound of ours."""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import SplitResult, parse_qsl, urlsplit

_SCHEMES: Final = frozenset({"redis", "rediss", "unix"})
_ANYTHING: Final = re.compile(r".+")
_PARAMETERS: Final[Mapping[str, Mapping[str, re.Pattern[str]]]] = {
    "redis": {},
    "rediss": {
        "ssl_cert_reqs": re.compile(r"none|optional|required"),
        "ssl_ca_certs": _ANYTHING,
        "ssl_certfile": _ANYTHING,
        "ssl_keyfile": _ANYTHING,
    },
    "unix": {"db": re.compile(r"[0-9]{1,4}")},
}
"""By scheme. redis-py takes any other for an argument of its connection, our time-outs included."""
_DATABASE: Final = re.compile(r"(/[0-9]{0,4})?")


def check_redis_url(url: str) -> None:
    """Raise `ValueError` for an address that cannot be used, or not as it seems; its text shows no part of it."""
    parts = _parts(url)
    if "@" in parts.path or parts.fragment or (parts.scheme != "unix" and not _DATABASE.fullmatch(parts.path)):
        raise ValueError(
            "ends in more than a database number such as /0; in a user or password, write / ? # and @ as "
            "%2F %3F %23 and %40"
        )
    allowed = _PARAMETERS[parts.scheme]
    for name, value in parse_qsl(parts.query, keep_blank_values=True) or ([("", "")] if parts.query else []):
        if name not in allowed or not allowed[name].fullmatch(value):
            names = ", ".join(allowed) or "none"
            raise ValueError(f"has a parameter that is not allowed; with {parts.scheme}:// there may be: {names}")


def _parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        known = parts.scheme in _SCHEMES and parts.port != 0
    except ValueError:
        known = False
    if not known:
        raise ValueError("is not an address that starts with redis://, rediss:// or unix://")
    return parts
