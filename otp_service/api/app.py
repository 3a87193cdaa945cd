"""The WSGI application: hot path, load shedding, tracing."""

import re
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Final, NoReturn
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from flask import Flask

from otp_service.api import admin, auth, current, docs, gateways, operations, people, verifications
from otp_service.api.auth import Turns, bound, require_caller
from otp_service.api.errors import answer_to
from otp_service.api.exchange import PROBES, TURNED_AWAY, Answer, Exchange, report, written
from otp_service.api.requests import host_of, refuse_query
from otp_service.bootstrap import Installation
from otp_service.errors import InvalidRequestError, OverloadedError
from otp_service.telemetry import metrics, tracing
from otp_service.telemetry.logging import get_logger


class Traced:
    """A WSGI application in front of all others. What becomes of a request is noted where its log line is written."""

    def __init__(self, application: WSGIApplication) -> None:
        self._application = application

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        # Probes come every few seconds and say nothing; for who is turned away a span would cost more than the refusal.
        if environ["PATH_INFO"] in PROBES or TURNED_AWAY in environ:
            return self._application(environ, start_response)
        with tracing.span("HTTP", "server", environ.get("HTTP_TRACEPARENT", "")):
            return self._application(environ, start_response)


_ROUTE = "turned_away"
"""What metrics tell in place of a route, which is not looked for. Objectives count it as an answer of the API."""
_TOLD_EVERY = 1.0
"""Seconds between two lines in the log. A line for each request would cost more than all the rest of its refusal."""

_log = get_logger(__name__)


class Overload:
    """Refuses requests without looking at them: neither who calls nor what is asked for."""

    def __init__(self) -> None:
        self._untold = 0
        self._next = 0.0
        """When the log may be told again, by the monotonic clock."""
        self._lock = threading.Lock()

    def refuse(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer 503, and count it."""
        exchange = Exchange(environ, None, None)
        error = OverloadedError("More requests come than can be answered in time. Nothing was done about this one.")
        answer = answer_to(exchange, error)
        seconds, method = time.perf_counter() - exchange.began, metrics.method_of(exchange.method)
        metrics.requests.observe(seconds, method=method, route=_ROUTE, status=str(answer.status))
        self._tell()
        return written(exchange, answer, start_response)

    def _tell(self) -> None:
        now = time.monotonic()
        with self._lock:
            self._untold += 1
            if now < self._next:
                return
            requests, self._untold, self._next = self._untold, 0, now + _TOLD_EVERY
        _log.warning("turned_away", requests=requests)


# Nothing is decided here: who may call, what is read, done and answered is what Flask's views of the two calls use, and
# whatever is not exactly such a call goes to Flask. The tests of the API run both ways.

_CHECK: Final = re.compile(r"/v1/verifications/([a-z0-9_]+)/check")
Handler = Callable[[Exchange], Answer]


def _refuse_host(_: Exchange) -> NoReturn:
    raise InvalidRequestError("The header Host is missing, comes twice, or names no host.")


class HotPath:
    """A WSGI application in front of Flask's."""

    def __init__(self, flask: WSGIApplication, installation: Installation) -> None:
        self.flask = flask
        """What answers whatever is not a start or a check, and could answer these."""
        self._installation = installation
        self._views = verifications.Verifications(installation)
        self._overload = Overload()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        path = environ["PATH_INFO"]
        if TURNED_AWAY in environ:
            return self._overload.refuse(environ, start_response)
        if host_of(environ) is None and (environ.get("HTTP_HOST") or environ["SERVER_PROTOCOL"] == "HTTP/1.1"):
            return self._answer(Exchange(environ, None, None), _refuse_host, start_response)
        if environ["REQUEST_METHOD"] != "POST":
            return self.flask(environ, start_response)
        if path == verifications.START:
            exchange = Exchange(environ, verifications.START, "verifications.start")
            return self._answer(exchange, self._called(self._views.start), start_response)
        if found := _CHECK.fullmatch(path):
            exchange = Exchange(environ, verifications.CHECK, "verifications.check")
            return self._answer(exchange, self._called(lambda one: self._views.check(one, found[1])), start_response)
        return self.flask(environ, start_response)

    def _called(self, view: Handler) -> Handler:
        """Return a view that is answered to whom may call it, without a query."""

        def handler(exchange: Exchange) -> Answer:
            require_caller(exchange, self._installation)
            refuse_query(exchange)
            return view(exchange)

        return handler

    def _answer(self, exchange: Exchange, handler: Handler, start_response: StartResponse) -> Iterable[bytes]:
        try:
            answer = handler(exchange)
        except Exception as error:  # noqa: BLE001 - as Flask's handler of errors
            answer = answer_to(exchange, error)
        report(exchange, answer.status)
        return written(exchange, answer, start_response)


ASK_THE_LEDGER = (
    people.consents_blueprint,
    people.suppressions_blueprint,
    people.subjects_blueprint,
    admin.applications_blueprint,
    admin.keys_blueprint,
)
"""Resources whose calls wait for it. One of ``inbound`` does only when it is known to be authentic."""
RESOURCES = (
    verifications.verifications_blueprint,
    *ASK_THE_LEDGER,
    gateways.receipts_blueprint,
    verifications.sandbox_blueprint,
    operations.operations_blueprint,
    docs.docs_blueprint,
)
"""Resources, each by what makes its routes."""


def create_app(installation: Installation) -> "Service":
    """Return the HTTP service of an installation, a WSGI application."""
    app = Service(__name__, static_folder=None, template_folder=None)
    app.awaits_body = lambda environ: auth.awaits_body(environ, installation)
    # OPTIONS is for browsers of other origins; no browser calls this service, so it is 405 like any other.
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.url_map.merge_slashes = False  # no redirects: //v1 is not a path of ours
    current.register(app)
    app.before_request(lambda: auth.require_caller(current.exchange(), installation))
    turns = Turns(max(1, installation.settings.http.threads - 1))
    for resource in RESOURCES:
        routes = resource(installation)
        app.register_blueprint(bound(routes, turns) if resource in ASK_THE_LEDGER else routes)
    app.register_blueprint(gateways.inbound_blueprint(installation, turns))
    answers = HotPath(app.wsgi_app, installation)
    app.wsgi_app = Traced(answers) if tracing.is_on() else answers  # type: ignore[method-assign]
    return app


class Service(Flask):
    """Flask, which is not to ask of every function of every request whether it is a coroutine: none is."""

    awaits_body: Callable[[WSGIEnvironment], bool]
    """See `auth.awaits_body`; for a server that has to read a body before its turn to be answered comes."""

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function as it is."""
        return func
