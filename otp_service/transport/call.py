"""One call over the network: what it has sent so far, the clock that ends it, and silence about it."""

import logging
import socket
import threading
from contextlib import suppress
from http.cookiejar import DefaultCookiePolicy
from typing import Any, Self

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection

from otp_service.transport.clock import Alarm, set_alarm

_current = threading.local()


class Call:
    """The call that this thread is making, between entering and leaving."""

    def __init__(self, timeout: float) -> None:
        """Prepare a call that ends after ``timeout`` seconds, whatever it is doing."""
        self.sent = False
        """Whether the provider may have received anything of the request."""
        self.over = False
        """Whether the time is up."""
        self._timeout = timeout
        self._socket: socket.socket | None = None
        self._alarm: Alarm | None = None

    def __enter__(self) -> Self:
        self._alarm = set_alarm(self._timeout, self._end)
        _current.call = self
        return self

    def __exit__(self, *_: object) -> None:
        _current.call = None
        if self._alarm is not None:
            self._alarm.stop()  # before the connection is used again: it must not end the next call

    def connected(self) -> None:
        """Forget what was sent to connect: that was TLS', or for a proxy, and nothing of the request."""
        self.sent = False

    def sends_through(self, connection: socket.socket) -> None:
        """Note that from now on the provider may know the request; raises `TimeoutError` when it is too late."""
        self._socket = connection
        if self.over:
            raise TimeoutError
        self.sent = True

    def _end(self) -> None:
        # The timeout of a socket is that of one read: a provider that sends a byte now and then would outlive it.
        self.over = True
        if self._socket is not None:
            with suppress(OSError):
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


class _WatchedConnection(HTTPConnection):
    """Tells the current call what it does."""

    def connect(self) -> None:
        try:
            super().connect()
        finally:
            _current.call.connected()

    def send(self, data: Any) -> None:  # noqa: ANN401 - whatever http.client sends
        if self.sock is None:
            self.connect()
        _current.call.sends_through(self.sock)
        super().send(data)


class _WatchedTlsConnection(_WatchedConnection, HTTPSConnection):
    pass


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _WatchedConnection


class _TlsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _WatchedTlsConnection


_POOLS = {"http": _Pool, "https": _TlsPool}


class Session(requests.Session):
    """One of ``requests`` whose calls are watched. It keeps no cookies, which nothing sends, and sees no redirects.

    Also where none is followed, the library reads all of a redirect's body first, whatever its size.
    """

    def __init__(self) -> None:
        """Prepare; connects to nobody."""
        super().__init__()
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
        for scheme in ("https://", "http://"):
            self.mount(scheme, _Adapter())

    def get_redirect_target(self, _: requests.Response) -> None:
        """Return none, whatever was answered."""


class _Adapter(HTTPAdapter):
    """What a session needs so that its calls are watched."""

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - the library's own
        """Make the pools, with connections that are watched."""
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **options: Any) -> urllib3.ProxyManager:  # noqa: ANN401
        """Return the pools behind a proxy, with connections that are watched."""
        manager: urllib3.ProxyManager = super().proxy_manager_for(proxy, **options)
        manager.pool_classes_by_scheme = _POOLS
        return manager


def _between_calls(_: logging.LogRecord) -> bool:
    return getattr(_current, "call", None) is None


# urllib3 writes down each URL, some at WARNING, and a URL may hold a number, a text and a key. Its levels are
# whoever's configures logging; a filter on its loggers holds at every level, and for our calls only.
for _module in (
    urllib3.connection,
    urllib3.connectionpool,
    urllib3.poolmanager,
    urllib3.response,
    urllib3.util.retry,
):
    _module.log.addFilter(_between_calls)
