"""HTTP to addresses that callers choose: whoever names a host of ours there reaches nothing (SSRF, OWASP A10).

A name is looked up once, every address that it has is judged, and the connection goes to an address that was judged:
what the name says a moment later does not matter. No proxy and no redirect is followed, for these would go elsewhere.
"""

import http.client
import queue
import re
import socket
import threading
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Final

from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url
from urllib3.util.ssl_ import create_urllib3_context

from otp_service.domain.webhooks import ADDRESS_NOT_ALLOWED, HOST_NOT_FOUND, MAX_URL, Reach, TargetRules
from otp_service.errors import InvalidUrlError
from otp_service.gateways.http_client import (
    CALL_FAILURES,
    RETRY_AFTER_STATUSES,
    HttpCallError,
    HttpResponse,
    Session,
    TimedCall,
    failure_of_call,
)

MAX_CHECK: Final = 3.0
"""Seconds that a check waits for a host's addresses."""
MAX_HEAD: Final = 16_384
"""Bytes of an answer's head that are read."""
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] ([1-9][0-9]{2})( [^\r\n]*)?\r?\n")
_FINAL: Final = 200
"""The first status that no other one follows (RFC 9110, 15.2)."""
_FORM: Final = re.compile(r"https?://(?![^/?]*@)[\w.~:/?\[\]@!$&'()*+,;=%-]+", re.ASCII | re.IGNORECASE)
"""The characters of an address (RFC 3986) without a fragment, so that no two readers find two hosts in it."""
_HOST: Final = re.compile(r"[a-z0-9_]([a-z0-9._-]*[a-z0-9_])?\.?|\[[0-9a-f:.]+\]")
_PORTS: Final = {"https": 443, "http": 80}
NOT_VALID, PORT_NOT_ALLOWED, NO_TLS = "url not valid", "port not allowed", "no tls"
_NO_ADDRESS: Final = "The host of url is not found, or has an address that webhooks may not go to."
"""One sentence for both: else a caller could find the names that only our name servers know."""
_SENTENCES: Final[Mapping[str, str]] = {
    NOT_VALID: "url is not an address such as https://shop.example/hooks, without user, password and fragment.",
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
        found = parse_url(url) if len(url) <= MAX_URL and _FORM.fullmatch(url) else None
    except LocationParseError:
        found = None
    if found is None or found.auth is not None or not _HOST.fullmatch(found.host or "") or found.port == 0:
        raise HttpCallError(NOT_VALID, sendable=False)
    scheme = str(found.scheme)
    return Target(scheme, str(found.host).strip("[]"), found.port or _PORTS[scheme], found.request_uri)


class GuardedClient:
    """Calls of addresses that callers chose. Used by many threads; no connection outlives its call."""

    def __init__(self, rules: TargetRules, timeout: float) -> None:
        """Prepare for calls of at most ``timeout`` seconds each, looking up the host's name included."""
        self._rules = rules
        self._timeout = timeout
        of_the_host = Session().merge_environment_settings("https://", {}, True, None, None)  # noqa: FBT003
        verify = of_the_host["verify"]
        authorities = DEFAULT_CA_BUNDLE_PATH if verify is True else str(verify)
        self._tls = create_urllib3_context()
        self._tls.load_verify_locations(**{"capath" if Path(authorities).is_dir() else "cafile": authorities})
        self._tls.set_alpn_protocols(["http/1.1"])

    def check(self, url: str) -> None:
        """Raise `InvalidUrlError` where calls of an address would be refused, or its host is not found in time."""
        try:
            self._addresses_of(parse_target(url), min(self._timeout, MAX_CHECK))
        except HttpCallError as refused:
            raise InvalidUrlError(_SENTENCES.get(refused.code, _NO_ADDRESS), refused.code) from None

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> HttpResponse:
        """Send a request; return the answer's status, whatever it is, and when to come back. Raise `HttpCallError`.

        The connection is closed after the status line: what follows it could keep the caller waiting.
        """
        target = parse_target(url)
        with TimedCall(self._timeout) as call:
            addresses = self._addresses_of(target, self._timeout)
            try:
                with closing(self._connect(addresses, target, call)) as connection:
                    call.begin_sending(connection)
                    return _exchange(connection, target, headers, body)
            except CALL_FAILURES as failed:
                failure = failure_of_call(failed, call)
        raise failure  # outside of the handler, so that what the library raised is not even its context

    def _connect(self, addresses: Sequence[str], target: Target, call: TimedCall) -> socket.socket:
        """Connect to the first address that takes a connection; TLS asks for the name of the host, and proves it."""
        *others, last = addresses
        for address in others:
            with suppress(OSError):
                connection = socket.create_connection((address, target.port), call.left)
                break
        else:
            connection = socket.create_connection((last, target.port), call.left)
        if target.scheme != "https":
            return connection
        connection.settimeout(call.left)  # of the whole handshake
        return self._tls.wrap_socket(connection, server_hostname=target.host.rstrip("."))

    def _addresses_of(self, target: Target, seconds: float) -> Sequence[str]:
        """Return the addresses of a host, all of which may be called; raise `HttpCallError`."""
        addresses = look_up(target.host, target.port, seconds)
        reached = set(map(self._rules.reach, addresses))
        if Reach.REFUSED in reached:
            raise HttpCallError(ADDRESS_NOT_ALLOWED, sendable=False)
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
        raise HttpCallError(HOST_NOT_FOUND)
    return addresses


def _exchange(connection: socket.socket, target: Target, headers: Mapping[str, str], body: bytes) -> HttpResponse:
    """Send a request, and read the status of its answer; after 429 and 503 also when to come back."""
    request = http.client.HTTPConnection(target.named)
    request.sock = connection
    with suppress(BrokenPipeError):  # who refuses a request may answer before it is complete
        request.request("POST", target.path, body, {**headers, "Host": target.named, "Connection": "close"})
    with connection.makefile("rb") as stream:
        head = _Head(stream)
        while (status := head.status()) < _FINAL:
            head.skip_fields()
        return HttpResponse(status, head.retry_after() if status in RETRY_AFTER_STATUSES else {}, "")


class _Head:
    """The head of an answer, of which only so much is read as is needed."""

    def __init__(self, stream: BufferedReader) -> None:
        self._stream = stream
        self._left = MAX_HEAD

    def status(self) -> int:
        """Return the status of the next status line."""
        line = self._line()
        match = _STATUS_LINE.fullmatch(line)
        if match is None:
            raise http.client.BadStatusLine("")  # nothing of the answer is kept
        return int(match[1])

    def skip_fields(self) -> None:
        """Read up to the end of this head."""
        while self._line().strip():
            pass

    def retry_after(self) -> dict[str, str]:
        """Return the field that tells when to come back, if it comes in time: without it the status stands."""
        with suppress(*CALL_FAILURES):
            while line := self._line().strip():
                name, _, value = line.partition(b":")
                if name.lower() == b"retry-after":
                    return {"Retry-After": value.decode("ascii", "replace").strip()}
        return {}

    def _line(self) -> bytes:
        """Return the next line; raise an error where it is cut short, or the head too long."""
        line = self._stream.readline(self._left)
        self._left -= len(line)
        if not line.endswith(b"\n"):
            raise http.client.IncompleteRead(b"")
        return line
