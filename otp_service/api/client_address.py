"""The peer of a connection, seen through as many proxies as the operator named, and no more."""

import ipaddress

from otp_service.api.exchange import Exchange


def peer_of(exchange: Exchange, trusted_proxies: int) -> str | None:
    """Return the address that the outermost trusted proxy saw, ``None`` when there is none (a Unix socket).

    Each trusted proxy appends the address that it saw to ``X-Forwarded-For``; so the one wanted is exactly
    ``trusted_proxies`` hops from the right, whatever a stranger wrote further left. With no proxy trusted, with
    fewer hops than proxies, or a hop that is no address, it is the connection's own peer: a request is then
    counted for the proxy, and never goes uncounted. ``Forwarded`` and ``X-Real-IP`` are not looked at. A WSGI
    server makes the same of ``X_Forwarded_For``, which cannot be told from it here: the proxies have to drop it.
    """
    if trusted_proxies:
        hops = _hops(exchange)[-trusted_proxies:]
        if len(hops) == trusted_proxies and all(map(_address, hops)):
            return hops[0]
    return _address(exchange.environ.get("REMOTE_ADDR") or "")


def _hops(exchange: Exchange) -> list[str]:
    """Return the hops from left to right; a header that is given several times is one list (RFC 9110, 5.3)."""
    joined = exchange.header("X-Forwarded-For")
    return [hop.strip() for hop in joined.split(",")] if joined else []


def _address(text: str) -> str | None:
    """Return an address without its zone, which names an interface of this host; ``None`` when it is none."""
    address, _, _ = text.partition("%")
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return None
    return address
