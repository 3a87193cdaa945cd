"""Connections that ``otp-service doctor --network`` tries: to gateways, and to this service's public URL."""

import datetime as dt
import http.client
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlsplit

from pydantic import SecretStr
from urllib3.exceptions import HTTPError

from otp_service.cli.checks import FAIL, OK, Diagnosis
from otp_service.gateways.http_client import (
    HttpCallError,
    HttpResponse,
    TimedCall,
    TimedConnection,
    WayOut,
    get,
    json_at,
    json_of,
    way_out,
)
from otp_service.services.health import PROBE_HEADER, new_probe
from otp_service.settings import Settings
from otp_service.settings.schema import walk_settings

_TIMEOUT: Final = 5.0
"""Seconds to connect, and as many for the handshake of TLS; a gateway's own ``timeout`` if that is less."""
_AT_ONCE: Final = 8
_INVALID_PORT: Final = 0
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_ENCRYPTED: Final = frozenset({"https", "tls"})


@dataclass(frozen=True, slots=True)
class ConnectionTarget:
    """A server that a gateway calls, or this service as providers call it."""

    place: str
    """The setting that names it, such as ``gateways.primary``."""
    host: str
    port: int
    tls: bool
    timeout: float = _TIMEOUT
    url: str = ""
    """For the host's own proxy and authorities, which HTTP calls use; empty for another protocol."""

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def ok(self, sentence: str) -> Diagnosis:
        return Diagnosis(OK, self.place, sentence)

    def fail(self, sentence: str, action: str) -> Diagnosis:
        return Diagnosis(FAIL, self.place, sentence, action)


def gateway_targets(settings: Settings) -> list[ConnectionTarget]:
    """Return the servers that gateways call, without repetition for each gateway."""
    targets: dict[tuple[str, str, int], ConnectionTarget] = {}
    for name, gateway in settings.gateways.items():
        place = f"gateways.{name}"
        values = [value for _, value in walk_settings(gateway.settings, place, tables=False)]
        texts = [value.get_secret_value() if isinstance(value, SecretStr) else str(value) for value in values]
        urls = [text for text in texts if text.lower().startswith(("http://", "https://"))]
        for url in filter(None, (*urls, gateway.settings.endpoint)):
            target = target_of(place, url, min(gateway.settings.timeout, _TIMEOUT))
            targets.setdefault((target.place, target.host, target.port), target)
    return list(targets.values())


def target_of(place: str, url: str, timeout: float = _TIMEOUT) -> ConnectionTarget:
    """Return the server of a URL."""
    parts = urlsplit(url)
    try:
        port = parts.port or _DEFAULT_PORTS[parts.scheme]
    except ValueError:
        port = _INVALID_PORT
    origin = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"  # the rest may hold a secret
    is_http = parts.scheme in _DEFAULT_PORTS
    return ConnectionTarget(
        place, parts.hostname or "", port, parts.scheme in _ENCRYPTED, timeout, origin if is_http else ""
    )


def reach_gateways(settings: Settings) -> list[Diagnosis]:
    """Connect to all gateways, several at once; send only the handshakes of TLS and of the host's own proxy."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(attempt, gateway_targets(settings)))


def attempt(target: ConnectionTarget) -> Diagnosis:
    """Connect to a target as its gateway does, and close the connection; raises nothing."""
    if target.port == _INVALID_PORT:
        return target.fail(f"The port in {target.url} is not valid.", "Correct it: ports go from 1 to 65535.")
    try:
        way = way_out(target.url) if target.url else WayOut()
        proxy = _proxy_of(way)
    except ValueError:
        return target.fail(
            f"The proxy that this host names for {target} is not the address of an HTTP proxy.",
            "Correct HTTPS_PROXY or HTTP_PROXY: http://HOST:PORT.",
        )
    try:
        with _dial(target, way, proxy) as connection:
            if not target.tls:
                server = f"This host's proxy, by which {target} is called," if proxy else str(target)
                return target.ok(f"{server} takes connections, without encryption.")
            authorities = way.authorities or None  # of the gateway's own client
            folder = authorities if authorities and Path(authorities).is_dir() else None
            context = ssl.create_default_context(cafile=None if folder else authorities, capath=folder)
            with context.wrap_socket(connection, server_hostname=target.host) as secured:
                ends = ssl.cert_time_to_seconds(str((secured.getpeercert() or {}).get("notAfter")))
                day = f"{dt.datetime.fromtimestamp(ends, dt.UTC):%Y-%m-%d}"
                return target.ok(f"{target} takes connections; its certificate is valid until {day}.")
    except (OSError, UnicodeError, http.client.HTTPException, HTTPError) as failed:
        if isinstance(failed, ssl.SSLError) and not isinstance(failed, ssl.SSLEOFError):
            return target.fail(*certificate_problem(failed, str(target)))
        return target.fail(*_failure(target, failed, proxy))


def _proxy_of(way: WayOut) -> SplitResult | None:
    """Return the host's own proxy, if one is set; raise `ValueError` if it is not an HTTP proxy."""
    if not way.proxy:
        return None
    proxy = urlsplit(way.proxy if "://" in way.proxy else f"http://{way.proxy}")  # as `requests` reads it
    if proxy.scheme not in _DEFAULT_PORTS or not proxy.hostname or proxy.port == _INVALID_PORT:
        raise ValueError
    return proxy


def _dial(target: ConnectionTarget, way: WayOut, proxy: SplitResult | None) -> socket.socket:
    """Return a connection to a target, through the host's own proxy if one is set. Raises `OSError`."""
    if not proxy:
        return socket.create_connection((target.host, target.port), target.timeout)
    through = TimedConnection(proxy.hostname or "", proxy.port, timeout=target.timeout)
    if target.tls:
        through.set_tunnel(target.host, target.port, dict(way.proxy_headers))
    try:
        with TimedCall(target.timeout) as call:
            through.connect()
    except BaseException:
        through.close()
        raise
    connection: socket.socket = through.sock
    if call.over:  # an interrupted answer may look complete
        connection.close()
        raise TimeoutError
    return connection


_TRUST_AUTHORITY = (
    "Let this host trust its authority: REQUESTS_CA_BUNDLE for gateways over HTTP, SSL_CERT_FILE for SMPP, "
    "ssl_ca_certs in redis.url, sslrootcert in ledger.url."
)
_UNKNOWN_AUTHORITY = ("is signed by an authority that this host does not know", _TRUST_AUTHORITY)
_OTHER_NAME = ("is for another name", "Correct the host in the settings: it must be a name in the certificate.")
_CERTIFICATE_FAULTS: Final = {
    9: ("is not valid yet, or this host's clock ({now} UTC) is behind", "Synchronise this host's clock (NTP)."),
    10: (
        "has expired, or this host's clock ({now} UTC) is ahead",
        "Have the certificate renewed there; if the clock is wrong, synchronise it (NTP).",
    ),
    18: ("is signed by itself", _TRUST_AUTHORITY),
    **dict.fromkeys((19, 20, 21), _UNKNOWN_AUTHORITY),
    **dict.fromkeys((62, 64), _OTHER_NAME),
}
"""Causes and remedies, by OpenSSL's code of a failed verification."""


def certificate_problem(refused: ssl.SSLError, server: str) -> tuple[str, str]:
    """Return the cause of a failed TLS handshake, and a remedy."""
    code = getattr(refused, "verify_code", 0)
    if not code:
        return f"{server} does not speak TLS 1.2 or 1.3.", "Correct the port, or whether TLS is used."
    other = (f"is refused: {getattr(refused, 'verify_message', '')}", _TRUST_AUTHORITY)
    fault, remedy = _CERTIFICATE_FAULTS.get(code, other)
    now = time.strftime("%Y-%m-%d %H:%M", time.gmtime())
    return f"The certificate of {server} {fault.replace('{now}', now)}.", remedy


def _failure(target: ConnectionTarget, failed: Exception, proxy: SplitResult | None) -> tuple[str, str]:
    """Return the cause of a failed connection, and a remedy."""
    if proxy:
        at = proxy.hostname if proxy.port is None else f"{proxy.hostname}:{proxy.port}"
        cause = f"{target} is not reached through this host's proxy {at}."
        return cause, "Correct HTTPS_PROXY and NO_PROXY, or let the proxy pass connections there."
    reason = getattr(failed, "strerror", None) or type(failed).__name__
    match failed:
        case socket.gaierror() | UnicodeError():
            cause = f"The name {target.host} cannot be looked up: {reason}."
            return cause, "Correct the name, or this host's DNS (/etc/resolv.conf)."
        case TimeoutError():
            cause = f"{target} does not answer within {target.timeout:g} s."
            return cause, "Let the firewall pass connections from this host; else look at the status of that server."
        case ConnectionRefusedError():
            return f"{target} refuses connections.", "Correct the host or the port, or start the server."
        case ConnectionResetError() | ConnectionAbortedError() | ssl.SSLEOFError():
            remedy = "Have the provider allow the address of this host; else correct the port, or whether TLS is used."
            return f"{target} closes the connection at once.", remedy
    return f"{target} is not reached: {reason}.", "Look at this host's routes and firewall."


def reach_public_url(settings: Settings, url: str) -> Diagnosis:
    """Call this service at its public URL."""
    target = target_of("http.public_url", url)
    reached = attempt(target)
    if reached.level is FAIL:
        return reached
    answer = get(f"{url}/healthz", {PROBE_HEADER: new_probe(settings.keyring())}, _TIMEOUT)
    cause, remedy = _judge(answer, url, settings.http.trusted_proxies)
    return target.fail(cause, remedy) if remedy else target.ok(cause)


def _judge(answer: HttpResponse | HttpCallError, url: str, trusted: int) -> tuple[str, str]:
    """Return the cause and the remedy of a probe's answer; a success has no remedy."""
    if isinstance(answer, HttpCallError):
        return f"{url}/healthz is not answered: {answer.code}.", "Start otp-service serve, and look at the proxy's log."
    status, document = answer.status, json_of(answer.text)
    if status >= _SERVER_ERRORS:
        cause = f"{url}/healthz is answered with {status}: the proxy reaches no process of the API."
        return cause, "Start otp-service serve, or correct the proxy's addresses of it."
    if json_at(document, "status") != "alive":
        cause = f"{url}/healthz is answered with {status} by another service."
        return cause, "Correct http.public_url, or the path and host that the proxy passes to this service."
    hops = json_at(document, "details", "forwarded_for")
    if not isinstance(hops, int):
        cause = f"{url} is answered by an otp-service with another pseudonym key: it is another installation."
        return cause, "Correct http.public_url, or OTP_SERVICE_PSEUDONYM_KEY here or there."
    if hops != trusted:
        effect = (
            "addresses of end users are not believed, and all count as the proxy"
            if hops < trusted
            else "a proxy's address is taken for the end user's"
        )
        cause = f"Requests to {url} pass {_proxies(hops)}, and http.trusted_proxies is {trusted}: {effect}."
        return cause, f"Set http.trusted_proxies = {hops}, or let each proxy append to X-Forwarded-For."
    return f"{url} is answered by this service, behind {_proxies(hops)}.", ""


_SERVER_ERRORS: Final = 500
"""The first HTTP status of server errors."""


def _proxies(count: int) -> str:
    return {0: "no proxy", 1: "1 proxy"}.get(count, f"{count} proxies")
