"""Hosts: where an address leads to, and whether that is this host."""

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator

_HOST: Final = re.compile(r"[a-z0-9_]([a-z0-9._-]{0,251}[a-z0-9_])?|[0-9a-f:.]{2,45}")
_LOCALHOST: Final = "localhost"


def host_of(url: str) -> str:
    """Return the host of an address, as `canonical` has it.

    It is ``localhost`` where an address names none, which is where it leads to then, and empty in one that cannot be
    read.
    """
    try:
        return canonical(urlsplit(url).hostname or _LOCALHOST)
    except ValueError:
        return ""


def canonical(host: str) -> str:
    """Return the one spelling of a host's name or address."""
    return str(_address(host) or host.lower())


def is_local(host: str) -> bool:
    """Tell whether a host is this one."""
    address = _address(host)
    mapped = getattr(address, "ipv4_mapped", None) or address
    return host.lower() == _LOCALHOST or bool(mapped and mapped.is_loopback)


def leads_elsewhere(url: str) -> bool:
    """Tell whether an address leads to another host; a socket (``unix://``) does not."""
    return not url.lower().startswith("unix:") and not is_local(host_of(url))


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _host(text: str) -> str:
    host = canonical(text)
    if not _HOST.fullmatch(host):
        raise ValueError("is a host such as redis.internal or 10.0.0.5: no scheme, port, network or *")
    return host


Host = Annotated[str, AfterValidator(_host)]
"""The name or the address of a host."""
