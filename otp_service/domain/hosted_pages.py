"""Hosted pages: their results, return addresses and colour."""

import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_plus

from otp_service.domain.keyring import Keyring

PAGE: Final = "page"
"""The use of the signature in a page's address."""
_ENDS: Final = {True: "approved", False: "ended"}
RESULT_LIFE: Final = 300
"""Seconds in which the result of a page may be redeemed."""
RESULT: Final = "result"
"""The query parameter of the result."""
MAX_RETURN_URL: Final = 500
"""In characters, with the query."""
DEFAULT_COLOR: Final = "1f4fbf"
MIN_CONTRAST: Final = 4.5
"""Of text and background (WCAG 2.2, 1.4.3)."""
_ADDRESS = re.compile(
    r"(https://([a-z0-9-]+\.)*[a-z0-9-]+(:[0-9]{1,5})?|http://localhost(:[0-9]{1,5})?)"
    r"/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*"
)
_QUERY = re.compile(r"([A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*")
_SEPARATOR = re.compile("[&;]")
_COLOR = re.compile(r"[0-9a-f]{6}")


@dataclass(frozen=True, slots=True)
class PageResult:
    """The signed result of a page for the browser to carry, which does not reveal an approval."""

    verification_id: str
    purpose: str
    at: int
    approved: bool

    def sign(self, keyring: Keyring) -> str:
        """Return the signed text."""
        return keyring.signed(_ENDS[self.approved], self.verification_id, self.purpose, f"{self.at:x}")

    @classmethod
    def read(cls, keyring: Keyring, text: str) -> "PageResult | None":
        """Return the result in a signed text; ``None`` for any other text."""
        for approved, use in _ENDS.items():
            if parts := keyring.read_signed(use, text):
                verification_id, purpose, at = parts
                return cls(verification_id, purpose, int(at, 16), approved)
        return None


def is_return_address(url: str) -> bool:
    """Tell whether a text is a return address without a query: https, or localhost."""
    return len(url) <= MAX_RETURN_URL and _ADDRESS.fullmatch(url) is not None


def may_return_to(url: str, allowed: Collection[str]) -> bool:
    """Tell whether an address, without its query, is exactly an allowed address (RFC 9700, 4.1.3)."""
    address, _, query = url.partition("?")
    is_plain = len(url) <= MAX_RETURN_URL and _QUERY.fullmatch(query) and not _may_hold_result(query)
    return address in allowed and bool(is_plain)


def _may_hold_result(query: str) -> bool:
    """Tell whether any server could take a parameter of a query for our `RESULT`, and read a forged result.

    Servers differ in separators, letter case, dropped parts of names, and in when and how often they decode a query.
    """
    names, decoded = list[str](), None
    while query != decoded:
        names = [part.partition("=")[0] for part in _SEPARATOR.split(query)]
        if RESULT in map(_plain_name, names):
            return True
        decoded, query = query, unquote_plus(query)
    return any("%" in name or "\ufffd" in name or not name.isprintable() for name in names)


def _plain_name(name: str) -> str:
    """Return the name of a parameter for the most lenient server."""
    return unicodedata.normalize("NFKC", name.partition("[")[0]).casefold().strip()


def with_result(url: str, result: str) -> str:
    """Return an address with a result."""
    return f"{url}{'&' if '?' in url else '?'}{RESULT}={result}"


def origin_of(url: str) -> str:
    """Return the scheme, host and port of an address that `is_return_address`."""
    return "/".join(url.split("/", 3)[:3])


def is_color(text: str) -> bool:
    """Tell whether a text is RGB in hexadecimal digits."""
    return _COLOR.fullmatch(text) is not None


def contrast_with_white(color: str) -> float:
    """Return the contrast ratio of a colour and white, 1 to 21 (WCAG 2.2)."""
    red, green, blue = (_linear(int(color[place : place + 2], 16) / 255) for place in (0, 2, 4))
    return 1.05 / (0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05)


def _linear(channel: float) -> float:
    return channel / 12.92 if channel <= 0.04045 else float(((channel + 0.055) / 1.055) ** 2.4)  # noqa: PLR2004 - sRGB
