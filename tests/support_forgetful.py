"""The service behind a proxy that loses answers, for the programs of the documents."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from wsgiref.types import WSGIApplication

from werkzeug.serving import WSGIRequestHandler, make_server


class Forgetful:
    """A proxy that has each request with an ``Idempotency-Key`` done, and loses the answer until it is repeated."""

    def __init__(self, app: WSGIApplication) -> None:
        self.app = app
        self.address = ""
        self.keys: list[str] = []

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        key = environ.get("HTTP_IDEMPOTENCY_KEY")
        if key is None:
            return self.app(environ, start_response)
        self.keys.append(key)
        if self.keys.count(key) > 1:
            return self.app(environ, start_response)
        list(self.app(environ, lambda *_: None))
        start_response("503 Service Unavailable", [("Content-Type", "text/plain")])
        return [b"lost"]


class _Quiet(WSGIRequestHandler):
    def log(self, *_: Any, **__: Any) -> None:
        """Write nothing."""


@contextmanager
def forgetful(app: WSGIApplication) -> Iterator[Forgetful]:
    """Serve an application behind such a proxy, on a port of this machine."""
    proxy = Forgetful(app)
    with serving(proxy) as proxy.address:
        yield proxy


@contextmanager
def serving(app: WSGIApplication) -> Iterator[str]:
    """Serve an application on a port of this machine; yield its address."""
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_Quiet)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
