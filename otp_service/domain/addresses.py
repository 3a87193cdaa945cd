"""Network addresses of end users, as the guard counts them."""

import ipaddress

from otp_service.errors import Fault, InvalidRequestError

_AT_THE_END = tuple(map(ipaddress.IPv6Network, ("64:ff9b::/96", "::ffff:0:0:0/96", "::/96")))
"""Networks whose addresses end with an IPv4 address: NAT64 (RFC 6052), SIIT (RFC 2765), IPv4-compatible (RFC 4291)."""
_IPV6_NETWORK = 64
_IPV6_SITE = 48
_IPV6_PROVIDER = 32
_IPV4_PREFIX = 24


def network_of(address: str) -> str:
    """Return the network by which an address is counted: an IPv4 address itself, an IPv6 address's /64.

    An IPv6 address that stands for an IPv4 address counts as that. Raises `InvalidRequestError`.
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError as malformed:
        raise _malformed() from malformed
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.scope_id is not None:  # link-local: not an address of anybody on the internet
        raise _malformed()
    return str(_ipv4_of(parsed) or ipaddress.ip_network((int(parsed), _IPV6_NETWORK), strict=False).network_address)


def _ipv4_of(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """Return the IPv4 address that an IPv6 address stands for: whoever holds that has all addresses that do."""
    if address.teredo:
        return address.teredo[1]  # the client's own; the first one is the server's, which he chooses
    last = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    embedded = int(last) > 1 and any(address in network for network in _AT_THE_END)  # neither :: nor ::1
    return address.ipv4_mapped or address.sixtofour or (last if embedded else None)


def require_end_users(address: str) -> None:
    """Raise `InvalidRequestError` for an address that no end user has: all who come under it would count as one.

    That of the host itself, of nobody, of a group or of the own cable: what a back end passes on that looks at the
    wrong end of a connection. Anything that is no address is left to `network_of`.
    """
    try:
        network = ipaddress.ip_address(network_of(address))
    except InvalidRequestError:
        return
    if network.is_loopback or network.is_unspecified or network.is_multicast or network.is_link_local:
        fault = Fault("/client_ip", "is the address of no end user, but of this host, a group or nobody")
        raise InvalidRequestError("client_ip is not the address of an end user.", (fault,))


def wide_network_of(network: str) -> str | None:
    """Return the IPv6 /48 of a network, which one customer or attacker may hold whole; ``None`` for IPv4."""
    return _widened(network, _IPV6_SITE)


def provider_network_of(network: str) -> str | None:
    """Return the IPv6 /32 of a network, as registries give to providers and sell to anybody; ``None`` for IPv4."""
    return _widened(network, _IPV6_PROVIDER)


def _widened(network: str, length: int) -> str | None:
    if ":" not in network:
        return None
    return str(ipaddress.ip_network((int(ipaddress.IPv6Address(network)), length), strict=False))


def prefix_of(network: str) -> str:
    """Return what a consent's evidence keeps of a network: an IPv4 /24, or an IPv6 /48."""
    return wide_network_of(network) or str(ipaddress.ip_network((network, _IPV4_PREFIX), strict=False))


def _malformed() -> InvalidRequestError:
    fault = Fault("/client_ip", "is not an IPv4 or IPv6 address")
    return InvalidRequestError("client_ip is not an IP address.", (fault,))
