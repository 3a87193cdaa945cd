"""Settings as they may be shown: every secret masked."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, parse_qsl, urlsplit

MASK = "**********"
"""As pydantic writes a `SecretStr`."""
_TELLING = re.compile(r"auth|key|token|secret|pass|pwd|credential|signature|cookie|bearer|\bsig\b", re.IGNORECASE)
_PLACEHOLDER = re.compile(r"(\{[\w.]+\})+")
_WEB = ("http://", "https://")


def mask_secrets(value: Any, name: str = "") -> Any:  # noqa: ANN401 - a tree of plain values
    """Return a tree with every value masked whose name tells that it is a secret: ``X-Api-Key``, ``password``.

    So is what an address of the web has before its host and in its query. Headers and parameters of a gateway are
    free text: somebody may have written the token itself into them.
    """
    if isinstance(value, Mapping):
        return {member: mask_secrets(below, f"{name} {member}") for member, below in value.items()}
    if isinstance(value, list):
        return [mask_secrets(below, name) for below in value]
    if isinstance(value, str | int | float) and not isinstance(value, bool) and _TELLING.search(name):
        return MASK
    return _masked_url(value) if isinstance(value, str) and value.lower().startswith(_WEB) else value


def _masked_url(url: str) -> str:
    """Return an address without its user and password, and with the values in its query masked."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return MASK
    _, at, host = parts.netloc.rpartition("@")
    shown = SplitResult(parts.scheme, MASK + at + host if at else host, parts.path, _masked_query(parts.query), "")
    return shown.geturl() + (f"#{MASK}" if parts.fragment else "")


def _masked_query(query: str) -> str:
    """Return a query with its names, and those values that are but placeholders of a template."""
    return "&".join(
        f"{name}={value if _PLACEHOLDER.fullmatch(value) else MASK}" if value else MASK
        for name, value in parse_qsl(query, keep_blank_values=True)
    )
