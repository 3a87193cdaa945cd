"""HTTP to URLs that callers choose, without access to our own hosts (SSRF, OWASP A10).

A name is looked up once, all its addresses are judged, and the connection goes to a judged address: a later change of
the name does not matter. No proxy and no redirect is followed.
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

from otp_service.domain.webhooks import ADDRESS_NOT_ALLOWED, HOST_NOT_FOUND, MAX_URL, AddressScope, TargetRules
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
"""Maximum seconds that a check waits for a host's addresses."""
MAX_HEAD: Final = 16_384
"""Maximum bytes read of an answer's head."""
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] ([1-9][0-9]{2})( [^\r\n]*)?\r?\n")
_FINAL: Final = 200
"""The lowest status that ends an exchange (RFC 9110, 15.2)."""
_FORM: Final = re.compile(r"https?://(?![^/?]*@)[\w.~:/?\[\]@!$&'()*+,;=%-]+", re.ASCII | re.IGNORECASE)
"""The characters of a URL (RFC 3986) without a fragment, so that all parsers find the same host."""
_HOST: Final = re.compile(r"[a-z0-9_]([a-z0-9._-]*[a-z0-9_])?\.?|\[[0-9a-f:.]+\]")
_PORTS: Final = {"https": 443, "http": 80}
NOT_VALID, PORT_NOT_ALLOWED, NO_TLS = "url not valid", "port not allowed", "no tls"
_NO_ADDRESS: Final = "The host of url is not found, or has an address that webhooks may not go to."
"""The same sentence for both: else a caller could find the names that only our name servers know."""
_SENTENCES: Final[Mapping[str, str]] = {
    NOT_VALID: "url must be like https://shop.example/hooks, without user, password and fragment.",
    PORT_NOT_ALLOWED: "Webhooks may not go to the port of url.",
    NO_TLS: "url must start with https://.",
}
"""Why a URL is refused, by the code of the error."""


@dataclass(frozen=True, slots=True)
class Target:
    """The parts of a URL."""

    scheme: str
    host: str
    """Without the brackets of IPv6."""
    port: int
    path: str
    """With the query."""

    @property
    def named(self) -> str:
        """The value of the ``Host`` header (RFC 9110, 7.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


def parse_target(url: str) -> Target:
    """Return the parts of a URL, as the HTTP library reads them; raise `HttpCallError`."""
    try:
        parsed = parse_url(url) if len(url) <= MAX_URL and _FORM.fullmatch(url) else None
    except LocationParseError:
        parsed = None
    if parsed is None or parsed.auth is not None or not _HOST.fullmatch(parsed.host or "") or parsed.port == 0:
        raise HttpCallError(NOT_VALID, sendable=False)
    scheme = str(parsed.scheme)
    return Target(scheme, str(parsed.host).strip("[]"), parsed.port or _PORTS[scheme], parsed.request_uri)


class GuardedClient:
    """Calls of URLs that callers chose, with a ``timeout`` in seconds that covers the look-up of the host's name.

    Used by many threads; no connection outlives its call.
    """

    def __init__(self, rules: TargetRules, timeout: float) -> None:
        self._rules = rules
        self._timeout = timeout
        environment = Session().merge_environment_settings("https://", {}, True, None, None)  # noqa: FBT003
        verify = environment["verify"]
        authorities = DEFAULT_CA_BUNDLE_PATH if verify is True else str(verify)
        self._tls = create_urllib3_context()
        self._tls.load_verify_locations(**{"capath" if Path(authorities).is_dir() else "cafile": authorities})
        self._tls.set_alpn_protocols(["http/1.1"])

    def check(self, url: str) -> None:
        """Raise `InvalidUrlError` if calls of a URL would be refused, or its host is not found in time."""
        try:
            self._addresses_of(parse_target(url), min(self._timeout, MAX_CHECK))
        except HttpCallError as refused:
            raise InvalidUrlError(_SENTENCES.get(refused.code, _NO_ADDRESS), refused.code) from None

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> HttpResponse:
        """Send a request; return the answer's status and ``Retry-After``; raise `HttpCallError`.

        The connection is closed without reading further, which could take long.
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
        raise failure  # outside the handler, so that the library's exception is not even its context

    def _connect(self, addresses: Sequence[str], target: Target, call: TimedCall) -> socket.socket:
        """Connect to the first address that accepts; TLS verifies the host's name."""
        *others, last = addresses
        for address in others:
            with suppress(OSError):
                connection = socket.create_connection((address, target.port), call.left)
                break
        else:
            connection = socket.create_connection((last, target.port), call.left)
        if target.scheme != "https":
            return connection
        connection.settimeout(call.left)  # for the whole handshake
        return self._tls.wrap_socket(connection, server_hostname=target.host.rstrip("."))

    def _addresses_of(self, target: Target, seconds: float) -> Sequence[str]:
        """Return the addresses of a host if all of them may be called; raise `HttpCallError` otherwise."""
        addresses = look_up(target.host, target.port, seconds)
        scopes = set(map(self._rules.scope_of, addresses))
        if AddressScope.REFUSED in scopes:
            raise HttpCallError(ADDRESS_NOT_ALLOWED, sendable=False)
        if AddressScope.PUBLIC in scopes and target.scheme != "https":
            raise HttpCallError(NO_TLS, sendable=False)
        if AddressScope.PUBLIC in scopes and target.port not in self._rules.ports:
            raise HttpCallError(PORT_NOT_ALLOWED, sendable=False)
        return addresses


def look_up(host: str, port: int, seconds: float) -> Sequence[str]:
    """Return the addresses of a host, the preferred first; raise `HttpCallError` without any, or after ``seconds``.

    The look-up of the system has no time-out, so it runs in a thread of its own.
    """
    outcome: queue.SimpleQueue[Sequence[str]] = queue.SimpleQueue()

    def resolve() -> None:
        try:
            answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, ValueError):  # ValueError: a label of a name is empty or too long
            answers = []
        outcome.put(list(dict.fromkeys(str(answer[4][0]) for answer in answers)))

    threading.Thread(target=resolve, name="look up", daemon=True).start()
    try:
        addresses = outcome.get(timeout=seconds)
    except queue.Empty:
        raise HttpCallError("timeout") from None
    if not addresses:
        raise HttpCallError(HOST_NOT_FOUND)
    return addresses


def _exchange(connection: socket.socket, target: Target, headers: Mapping[str, str], body: bytes) -> HttpResponse:
    """Send a request; return the answer's status, and ``Retry-After`` of a 429 or 503."""
    request = http.client.HTTPConnection(target.named)
    request.sock = connection
    with suppress(BrokenPipeError):  # a refusal may come before the request is complete
        request.request("POST", target.path, body, {**headers, "Host": target.named, "Connection": "close"})
    with connection.makefile("rb") as stream:
        head = _Head(stream)
        while (status := head.status()) < _FINAL:
            head.skip_fields()
        return HttpResponse(status, head.retry_after() if status in RETRY_AFTER_STATUSES else {}, "")


class _Head:
    """The head of an answer, read only as far as needed."""

    def __init__(self, stream: BufferedReader) -> None:
        self._stream = stream
        self._left = MAX_HEAD

    def status(self) -> int:
        match = _STATUS_LINE.fullmatch(self._line())
        if match is None:
            raise http.client.BadStatusLine("")  # without the answer's text
        return int(match[1])

    def skip_fields(self) -> None:
        while self._line().strip():
            pass

    def retry_after(self) -> dict[str, str]:
        """Return the field ``Retry-After`` if it comes in time; without it the status is enough."""
        with suppress(*CALL_FAILURES):
            while line := self._line().strip():
                name, _, value = line.partition(b":")
                if name.lower() == b"retry-after":
                    return {"Retry-After": value.decode("ascii", "replace").strip()}
        return {}

    def _line(self) -> bytes:
        line = self._stream.readline(self._left)
        self._left -= len(line)
        if not line.endswith(b"\n"):
            raise http.client.IncompleteRead(b"")
        return line
