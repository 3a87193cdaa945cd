"""URLs and hosts in settings: Redis, the ledger, plain-text hosts."""

import re
from collections.abc import Collection, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Annotated, Final
from urllib.parse import SplitResult, parse_qsl, urlsplit

from pydantic import AfterValidator, SecretStr

_ANYTHING: Final = re.compile(r".+")
_REDIS_PARAMETERS: Final[Mapping[str, Mapping[str, re.Pattern[str]]]] = {
    "redis": {},
    "rediss": {
        "ssl_cert_reqs": re.compile(r"none|optional|required"),
        "ssl_ca_certs": _ANYTHING,
        "ssl_certfile": _ANYTHING,
        "ssl_keyfile": _ANYTHING,
    },
    "unix": {"db": re.compile(r"[0-9]{1,4}")},
}
"""Allowed parameters by scheme. redis-py would use any other as an argument of its connection, also our time-outs."""
_DATABASE: Final = re.compile(r"(/[0-9]{0,4})?")


def checked_redis_url(url: SecretStr) -> SecretStr:
    """Return a URL; raise `ValueError`, without parts of it, for a URL that is invalid or misleading."""
    parts = _parts(
        url.get_secret_value(), _REDIS_PARAMETERS, "is not an address that starts with redis://, rediss:// or unix://"
    )
    if "@" in parts.path or parts.fragment or (parts.scheme != "unix" and not _DATABASE.fullmatch(parts.path)):
        raise ValueError(
            "ends in more than a database number such as /0; in a user or password, write / ? # and @ as "
            "%2F %3F %23 and %40"
        )
    _check_parameters(parts, _REDIS_PARAMETERS[parts.scheme], f"; with {parts.scheme}:// there may be")
    return url


def _parts(url: str, schemes: Collection[str], fault: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        known = parts.scheme in schemes and parts.port != 0
    except ValueError:
        known = False
    if not known:
        raise ValueError(fault)
    return parts


def _check_parameters(parts: SplitResult, allowed: Mapping[str, re.Pattern[str]], hint: str) -> None:
    for name, value in parse_qsl(parts.query, keep_blank_values=True) or ([("", "")] if parts.query else []):
        if name not in allowed or not allowed[name].fullmatch(value):
            raise ValueError(f"has a parameter that is not allowed{hint}: {', '.join(allowed) or 'none'}")


_OTHER_SPELLINGS: Final = ("postgres:", "postgres+", "postgresql+")
_LEDGER_PARAMETERS: Final[Mapping[str, re.Pattern[str]]] = {
    "host": re.compile(r"/.+"),  # folder of a socket
    "sslmode": re.compile(r"disable|allow|prefer|require|verify-ca|verify-full"),
    "sslrootcert": _ANYTHING,
    "sslcert": _ANYTHING,
    "sslkey": _ANYTHING,
}
"""Allowed parameters of PostgreSQL. The driver has many more, with our time-outs among them."""


def checked_ledger_url(url: SecretStr) -> SecretStr:
    """Return a URL, as `checked_redis_url` does."""
    text = url.get_secret_value()
    if text.lower().startswith(_OTHER_SPELLINGS):
        raise ValueError("is spelled as for another library: start it with postgresql://")
    fault = "is neither sqlite:///PATH nor an address that starts with postgresql://"
    parts = _parts(text, {"sqlite", "postgresql"}, fault)
    path = parts.path.removeprefix("/")
    if parts.scheme == "sqlite":
        if parts.netloc or parts.query or parts.fragment or not path.strip("/") or path == ":memory:":
            raise ValueError("names no file: sqlite:///PATH has three slashes and a path, without ? and #")
        return url
    if not path or parts.netloc.count("@") > 1 or "@" in parts.query or re.search(r"[/@]", path) or parts.fragment:
        raise ValueError(
            "is not postgresql://USER:PASSWORD@HOST:PORT/NAME; in a user or password, write / ? # and @ as "
            "%2F %3F %23 and %40"
        )
    _check_parameters(parts, _LEDGER_PARAMETERS, "; there may be")
    return url


def url_without_secrets(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


_PLACE_PARAMETERS: Final = frozenset({"db", "host"})
"""Parameters that determine the place of a URL."""


def place_of(url: str) -> tuple[object, ...]:
    parts = urlsplit(url)
    parameters = sorted(pair for pair in parse_qsl(parts.query) if pair[0] in _PLACE_PARAMETERS)
    return parts.scheme, parts.netloc.rpartition("@")[2], parts.path, *parameters


_HOST: Final = re.compile(r"[a-z0-9_]([a-z0-9._-]{0,251}[a-z0-9_])?|[0-9a-f:.]{2,45}")
_LOCALHOST: Final = "localhost"


def host_of(url: str) -> str:
    """Return the canonical host of a URL: ``localhost`` for a URL without a host, empty for an invalid URL."""
    try:
        return canonical_host(urlsplit(url).hostname or _LOCALHOST)
    except ValueError:
        return ""


def canonical_host(host: str) -> str:
    return str(_address(host) or host.lower())


def is_local(host: str) -> bool:
    address = _address(host)
    mapped = getattr(address, "ipv4_mapped", None) or address
    return host.lower() == _LOCALHOST or bool(mapped and mapped.is_loopback)


def leads_elsewhere(url: str) -> bool:
    """Whether a URL leads to another host; a socket (``unix://``) does not."""
    return not url.lower().startswith("unix:") and not is_local(host_of(url))


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _host(text: str) -> str:
    host = canonical_host(text)
    if not _HOST.fullmatch(host):
        raise ValueError("is a host such as redis.internal or 10.0.0.5: no scheme, port, network or *")
    return host


Host = Annotated[str, AfterValidator(_host)]
"""The name or address of a host."""
