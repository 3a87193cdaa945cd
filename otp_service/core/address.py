"""End-user addresses, as coarse as limits count them."""

import ipaddress

from otp_service.core.errors import Fault, InvalidRequestError

_IPV6_NETWORK = 64
_IPV6_SITE = 48
_IPV4_PREFIX = 24


def network_of(address: str) -> str:
    """Return the network by which an address is counted: an IPv4 address itself, an IPv6 address's /64.

    An IPv4 address mapped into IPv6 (``::ffff:192.0.2.1``) counts as IPv4. Raises `InvalidRequestError`.
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError as malformed:
        raise _malformed() from malformed
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.scope_id is not None:  # link-local: not an address of anybody on the internet
        raise _malformed()
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed), _IPV6_NETWORK), strict=False).network_address)


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
    if ":" not in network:
        return None
    return str(ipaddress.ip_network((int(ipaddress.IPv6Address(network)), _IPV6_SITE), strict=False))


def prefix_of(network: str) -> str:
    """Return what a consent's evidence keeps of a network: an IPv4 /24, or an IPv6 /48."""
    return wide_network_of(network) or str(ipaddress.ip_network((network, _IPV4_PREFIX), strict=False))


def _malformed() -> InvalidRequestError:
    fault = Fault("/client_ip", "is not an IPv4 or IPv6 address")
    return InvalidRequestError("client_ip is not an IP address.", (fault,))
