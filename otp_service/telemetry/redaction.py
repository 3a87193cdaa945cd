"""The last defence of the logs: whatever a caller passes, no number, code or secret is written.

It hides too much rather than too little. Six or more digits in a row are masked, and seven or more with blanks,
hyphens, dots or brackets between them. Known impersonal values stay readable: our identifiers, UUIDs, hashes of API
keys, time-stamps, stream entries, process ids and private addresses.
"""

import re
from collections.abc import Callable, Mapping, MutableMapping
from functools import lru_cache
from ipaddress import ip_address
from typing import Any

REDACTED = "[redacted]"

PRIVATE_KEYS = frozenset({
    "account", "address", "amount", "api_key", "auth", "authorization", "body", "client_ip", "client_token", "code",
    "context", "cookie", "data", "destination", "e164", "form", "headers", "ip", "key", "metadata", "national_number",
    "password", "payee", "payload", "peer_ip", "phone", "phone_number", "query", "secret", "text", "to", "token",
    "transaction", "url",
})  # fmt: skip
"""Members of a log line whose values are never shown, in any case and with hyphens or underscores."""


class SafeText(str):
    """A text without personal data or secrets, such as a route, which is shown unchanged."""

    __slots__ = ()


class SafeNumber(int):
    """A number that is neither a code nor part of a phone number, such as a position, which is shown unchanged."""


_SAFE_PATTERNS = (
    r"\bvf_[a-z0-9]{1,8}_[0-9a-f]{34}\b",  # verification
    r"\b[a-z]{2}_[0-9a-f]{32,56}\b",  # all our other identifiers: dispatch, request, webhook, factor, …
    r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b",  # UUID
    r"\b[A-Z]{2}[0-9a-f]{32}\b",  # a provider's reference
    r"\bsha256:[0-9a-f]{64}\b",  # hash of an API key
    r"\b1[0-9]{12}-[0-9]+\b",  # stream entry: milliseconds since the epoch, sequence
    r"\b20[0-9]{2}-[01][0-9]-[0-3][0-9](?:[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]{1,6})?)?)?(?![0-9])",
    r"\b(?i:pid)[ :=]{1,2}[0-9]{1,7}\b",
)
_SECRET_PATTERNS = (
    r"(?<=\?)[^\s\"'<>?]*=[^\s\"'<>]*",  # query string
    r"(?<=://)[^\s/@\"']*@",  # user and password in a URL
    r"\b(?i:bearer|basic)\s+[\w.~+/=-]+",
    r"\botp_[\w-]{20,}",  # our API keys
    r"\bct_[\w-]{20,}(?:\.[\w-]*)*",  # our client tokens
)
_TOKENS = re.compile(
    f"(?P<kept>{'|'.join(_SAFE_PATTERNS)})"
    f"|(?P<secret>{'|'.join(_SECRET_PATTERNS)})"
    r"|(?P<ipv4>(?<![\w.])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![\w.]*[0-9]))"
    r"|(?P<ipv6>(?<![\w:])[0-9A-Fa-f:]*:[0-9A-Fa-f]*:[0-9A-Fa-f:.]*)"
    r"|(?P<digits>\+?\(?\d(?:[\s.()/\-\u00a0\u2010-\u2015]{0,3}\d){5,})"
)
_PLAIN_WORD = re.compile(r"[A-Za-z_.]{1,24}")
"""A text that needs no redaction: no digit, and shorter than any key. Most of a log line is like that."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""Characters that start a line or change the reading direction; they are escaped."""
_CODE_DIGITS = 6
_NUMBER_DIGITS = 7
_MIN_HIDDEN = 10 ** (_CODE_DIGITS - 1)


def redact_event(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Redact a whole log line; the last structlog processor before the renderer."""
    return dict(_redact_member(key, value) for key, value in event.items())


def redact(value: object) -> object:
    """Return a value for a log: numbers and booleans unchanged, all else as redacted text or containers."""
    if isinstance(value, str):  # the most frequent type first
        return value if type(value) is SafeText else redact_text(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return value if type(value) is SafeNumber or abs(value) < _MIN_HIDDEN else REDACTED
    if isinstance(value, Mapping):
        return dict(_redact_member(str(key), member) for key, member in value.items())
    if isinstance(value, list | tuple | set | frozenset):
        return [redact(member) for member in value]
    return REDACTED if hasattr(value, "get_secret_value") else redact_text(repr(value))


def redact_text(text: str) -> str:
    """Return a text as a single line, with everything masked that may be personal or secret."""
    if _PLAIN_WORD.fullmatch(text):
        return text
    masked = _TOKENS.sub(lambda match: _MASKS[match.lastgroup or ""](match[0]), text)
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", masked)


def _redact_member(key: str, value: object) -> tuple[str, object]:
    name, private = _redact_name(key)
    if private:
        return name, REDACTED
    if key == "exception" and isinstance(value, str):
        return name, "\n".join(redact_text(line) for line in value.split("\n"))
    return name, redact(value)


@lru_cache(maxsize=512)  # about a hundred names are our own; foreign names do not pile up
def _redact_name(key: str) -> tuple[str, bool]:
    """Return the shown name of a member, and whether its value is private."""
    return redact_text(key), key.lower().replace("-", "_") in PRIVATE_KEYS


def _mask_address(text: str) -> str:
    """Hide an address of the internet, which is an end user's; operators need the addresses of our hosts."""
    try:
        address = ip_address(text)
    except ValueError:
        return _mask_digits(text)
    # Python counts the documentation networks as private; for logs they are the internet.
    is_private = address.is_private and text.startswith(("10.", "172.", "192.168.", "fc", "fd", "fe80"))
    return text if is_private or address.is_loopback or address.is_unspecified else REDACTED


def _mask_digits(text: str) -> str:
    digits = sum(character.isdigit() for character in text)
    limit = _CODE_DIGITS if text.isdigit() else _NUMBER_DIGITS
    return REDACTED if digits >= limit else text


_MASKS: dict[str, Callable[[str], str]] = {
    "kept": str,
    "secret": lambda _: REDACTED,
    "ipv4": _mask_address,
    "ipv6": _mask_address,
    "digits": _mask_digits,
}
