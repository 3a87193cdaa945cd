"""HTTP to addresses that callers choose: whoever names a host of ours there reaches nothing (SSRF, OWASP A10).

A name is looked up once, every address that it has is judged, and the connection goes to an address that was judged:
what the name says a moment later does not matter. No proxy and no redirect is followed, for these would go elsewhere.
"""

import queue
import re
import socket
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import urllib3
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3.exceptions import ConnectTimeoutError, LocationParseError, NewConnectionError

from otp_service.domain.webhooks import MAX_URL, Reach, TargetRules
from otp_service.errors import InvalidUrlError
from otp_service.gateways.http_client import (
    CALL_FAILURES,
    POOLS,
    HttpCallError,
    HttpResponse,
    Session,
    TimedCall,
    failure_of_call,
)

MAX_CHECK: Final = 3.0
"""Seconds that a check waits for a host's addresses."""
MAX_ANSWER: Final = 4096
"""Bytes of an answer that are read, and thrown away: its status says all."""
_FORM: Final = re.compile(r"https?://(?![^/?]*@)[\w.~:/?\[\]@!$&'()*+,;=%-]+", re.ASCII | re.IGNORECASE)
"""The characters of an address (RFC 3986) without a fragment, so that no two readers find two hosts in it."""
_HOST: Final = re.compile(r"[a-z0-9_]([a-z0-9._-]*[a-z0-9_])?\.?|\[[0-9a-f:.]+\]")
_PORTS: Final = {"https": 443, "http": 80}
NOT_VALID, NOT_FOUND, NOT_ALLOWED, PORT_NOT_ALLOWED, NO_TLS = (
    "url not valid",
    "host not found",
    "address not allowed",
    "port not allowed",
    "no tls",
)
_SENTENCES: Final[Mapping[str, str]] = {
    NOT_VALID: "url is not an address such as https://shop.example/hooks, without user, password and fragment.",
    NOT_FOUND: "The host of url is not found.",
    NOT_ALLOWED: "The host of url has an address that webhooks may not go to.",
    PORT_NOT_ALLOWED: "Webhooks may not go to the port of url.",
    NO_TLS: "url does not start with https://.",
}
"""Why an address is refused."""


@dataclass(frozen=True, slots=True)
class Target:
    """An address in its parts."""

    scheme: str
    host: str
    """Without the brackets of IPv6."""
    port: int
    path: str
    """And the query."""

    @property
    def named(self) -> str:
        """The host as a request names it (RFC 9110, 7.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


def parse_target(url: str) -> Target:
    """Return the parts of an address, as the library that calls it reads them; raise `HttpCallError`."""
    try:
        found = urllib3.util.parse_url(url) if len(url) <= MAX_URL and _FORM.fullmatch(url) else None
    except LocationParseError:
        found = None
    if found is None or found.auth is not None or not _HOST.fullmatch(found.host or "") or found.port == 0:
        raise HttpCallError(NOT_VALID, sendable=False)
    scheme = str(found.scheme)
    return Target(scheme, str(found.host).strip("[]"), found.port or _PORTS[scheme], found.request_uri)


@dataclass(frozen=True, slots=True)
class _Request:
    target: Target
    headers: Mapping[str, str]
    body: bytes


class GuardedClient:
    """Calls of addresses that callers chose. Used by many threads; no connection outlives its call."""

    def __init__(self, rules: TargetRules, timeout: float) -> None:
        """Prepare for calls of at most ``timeout`` seconds each, looking up the host's name included."""
        self._rules = rules
        self._timeout = timeout
        of_the_host = Session().merge_environment_settings("https://", {}, True, None, None)  # noqa: FBT003
        verify = of_the_host["verify"]
        authorities = DEFAULT_CA_BUNDLE_PATH if verify is True else str(verify)
        self._tls = {"ca_cert_dir" if Path(authorities).is_dir() else "ca_certs": authorities}

    def check(self, url: str) -> None:
        """Raise `InvalidUrlError` where calls of an address would be refused, or its host is not found in time."""
        try:
            self._addresses_of(parse_target(url), min(self._timeout, MAX_CHECK))
        except HttpCallError as refused:
            raise InvalidUrlError(_SENTENCES.get(refused.code, _SENTENCES[NOT_FOUND])) from None

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> HttpResponse:
        """Send a request, and return the answer's status and headers, whatever they are; raise `HttpCallError`."""
        request = _Request(parse_target(url), headers, body)
        with TimedCall(self._timeout) as call:
            addresses = self._addresses_of(request.target, self._timeout)
            try:
                return self._post_to_any(addresses, request, call)
            except CALL_FAILURES as failed:
                failure = failure_of_call(failed, call)
        raise failure  # outside of the handler, so that what the library raised is not even its context

    def _post_to_any(self, addresses: Sequence[str], request: "_Request", call: TimedCall) -> HttpResponse:
        """Send to the first address that takes a connection."""
        *others, last = addresses
        for address in others:
            with suppress(NewConnectionError, ConnectTimeoutError):
                return self._post_to(address, request, call)
        return self._post_to(last, request, call)

    def _post_to(self, address: str, request: "_Request", call: TimedCall) -> HttpResponse:
        headers = {**request.headers, "Host": request.target.named, "Connection": "close"}
        options = {"retries": False, "redirect": False, "preload_content": False}
        with self._pool(address, request.target, call.left) as pool:
            answer = pool.urlopen("POST", request.target.path, request.body, headers, **options)
            if call.over:  # what was cut short may look like a complete answer
                raise TimeoutError
            with suppress(*CALL_FAILURES):  # the status is there, and stands
                answer.read(MAX_ANSWER, decode_content=False)
            answer.close()
            return HttpResponse(answer.status, answer.headers, "")

    def _pool(self, address: str, target: Target, seconds: float) -> Any:  # noqa: ANN401 - one of two kinds
        """Return what connects to an address; TLS asks for the name of the host, and proves it."""
        host = f"[{address}]" if ":" in address else address
        tls = {"server_hostname": target.host, **self._tls} if target.scheme == "https" else {}
        return POOLS[target.scheme](host, target.port, timeout=urllib3.Timeout(total=seconds), **tls)

    def _addresses_of(self, target: Target, seconds: float) -> Sequence[str]:
        """Return the addresses of a host, all of which may be called; raise `HttpCallError`."""
        addresses = look_up(target.host, target.port, seconds)
        reached = set(map(self._rules.reach, addresses))
        if Reach.REFUSED in reached:
            raise HttpCallError(NOT_ALLOWED, sendable=False)
        if Reach.PUBLIC in reached and target.scheme != "https":
            raise HttpCallError(NO_TLS, sendable=False)
        if Reach.PUBLIC in reached and target.port not in self._rules.ports:
            raise HttpCallError(PORT_NOT_ALLOWED, sendable=False)
        return addresses


def look_up(host: str, port: int, seconds: float) -> Sequence[str]:
    """Return the addresses of a host, the preferred one first; raise `HttpCallError`, also when that takes longer.

    The library's own look-up has no time-out, so it has a thread of its own, which nobody waits for in vain.
    """
    found: queue.SimpleQueue[Sequence[str]] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, ValueError):  # ValueError: a label of a name is empty, or too long
            answers = []
        found.put(list(dict.fromkeys(str(one[4][0]) for one in answers)))

    threading.Thread(target=ask, name="look up", daemon=True).start()
    try:
        addresses = found.get(timeout=seconds)
    except queue.Empty:
        raise HttpCallError("timeout") from None
    if not addresses:
        raise HttpCallError(NOT_FOUND)
    return addresses
