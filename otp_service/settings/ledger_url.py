"""What ``ledger.url`` may be: nothing in it may pass for something else, or undo a bound of ours."""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import SplitResult, parse_qsl, urlsplit

_SQLITE: Final = "sqlite"
_POSTGRESQL: Final = "postgresql"
_OTHER_SPELLINGS: Final = ("postgres:", "postgres+", "postgresql+")
_ANYTHING: Final = re.compile(r".+")
_PARAMETERS: Final[Mapping[str, re.Pattern[str]]] = {
    "host": re.compile(r"/.+"),  # folder of a socket
    "sslmode": re.compile(r"disable|allow|prefer|require|verify-ca|verify-full"),
    "sslrootcert": _ANYTHING,
    "sslcert": _ANYTHING,
    "sslkey": _ANYTHING,
}
"""Of PostgreSQL. The driver has many more, our time-outs among them."""


def check_ledger_url(url: str) -> None:
    """Raise `ValueError` for an address that cannot be used, or not as it seems; its text shows no part of it."""
    try:
        parts = urlsplit(url)
        known = parts.scheme in {_SQLITE, _POSTGRESQL} and parts.port != 0
    except ValueError:
        known = False
    if url.lower().startswith(_OTHER_SPELLINGS):
        raise ValueError("is spelled as for another library: let it start with postgresql://")
    if not known:
        raise ValueError("is neither sqlite:///PATH nor an address that starts with postgresql://")
    if parts.scheme == _SQLITE:
        _check_file(parts)
    else:
        _check_server(parts)


def _check_file(parts: SplitResult) -> None:
    path = parts.path.removeprefix("/")
    if parts.netloc or parts.query or parts.fragment or not path.strip("/") or path == ":memory:":
        raise ValueError("names no file: sqlite:///PATH has three slashes and a path, without ? and #")


def _check_server(parts: SplitResult) -> None:
    name = parts.path.removeprefix("/")
    if not name or parts.netloc.count("@") > 1 or "@" in parts.query or re.search(r"[/@]", name) or parts.fragment:
        raise ValueError(
            "is not postgresql://USER:PASSWORD@HOST:PORT/NAME; in a user or password, write / ? # and @ as "
            "%2F %3F %23 and %40"
        )
    for parameter, value in parse_qsl(parts.query, keep_blank_values=True) or ([("", "")] if parts.query else []):
        if parameter not in _PARAMETERS or not _PARAMETERS[parameter].fullmatch(value):
            raise ValueError(f"has a parameter that is not allowed; there may be: {', '.join(_PARAMETERS)}")


def shown(url: str) -> str:
    """Return an address without user, password and parameters."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
