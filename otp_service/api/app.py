"""The WSGI application: dispatch, hot path, load shedding, tracing."""

import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from flask import Flask, Response, g, request

from otp_service.api import admin, auth, docs, gateways, operations, people, verifications
from otp_service.api.auth import require_caller
from otp_service.api.errors import answer_to
from otp_service.api.exchange import PROBES, TURNED_AWAY, Edge, Exchange, Turns, headers_of, report, written
from otp_service.api.requests import host_of, read_json, refuse_query, retry_from, validated
from otp_service.api.routes import Answer, Route
from otp_service.api.schemas import Body
from otp_service.bootstrap import Installation
from otp_service.errors import InvalidRequestError, OverloadedError
from otp_service.telemetry import metrics, tracing
from otp_service.telemetry.logging import get_logger
from otp_service.telemetry.redaction import Plain

RESOURCES = (
    verifications.verifications,
    people.consents,
    people.suppressions,
    people.subjects,
    verifications.sandbox,
    gateways.receipts,
    gateways.inbound,
    admin.applications,
    admin.keys,
    operations.operations,
    docs.docs,
)
"""In the order in which callers read about them."""


def routes_of(*, with_metrics: bool) -> Iterator[Route]:
    """Yield all routes; ``with_metrics``: ``/metrics`` is served on this port."""
    for resource in RESOURCES:
        yield from (route for route in resource.routes if with_metrics or route.rule != "/metrics")


def answer_of(exchange: Exchange, route: Route, parts: Mapping[str, str]) -> Answer:
    """Return the answer to a caller who may ask; ``parts`` are those of the path. Raises what `answer_to` answers."""
    if not route.takes_query:
        refuse_query(exchange)
    if parts:
        _note_verification(exchange, parts)
    bodies: tuple[Body, ...] = ()
    if route.body:
        document = read_json(exchange, may_be_empty=route.may_be_empty)
        bodies = (validated(route.body, document),)
        if route.retries:
            exchange.retry = retry_from(exchange, route, parts, document)
    if not route.resource.asks_ledger:
        return _written(route, route.view(exchange, *bodies, **parts))
    with exchange.edge.turns.turn():
        return _written(route, route.view(exchange, *bodies, **parts))


def _written(route: Route, found: object) -> Answer:
    """Return what a view returns as an answer: the usual one where it is not an answer already."""
    if isinstance(found, Answer):
        return found
    return Answer(route.answers[route.status].content.dump_json(found), route.status)


def _note_verification(exchange: Exchange, parts: Mapping[str, str]) -> None:
    """Note an id for the log, if it is one: any other text in its place is a stranger's."""
    verification_id = parts.get("verification_id")
    if verification_id is not None and exchange.context.keyring.bucket_of_id(verification_id) is not None:
        exchange.verification = Plain(verification_id)


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

    def __init__(self, edge: Edge) -> None:
        self._edge = edge
        self._untold = 0
        self._next = 0.0
        """When the log may be told again, by the monotonic clock."""
        self._lock = threading.Lock()

    def refuse(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer 503, and count it."""
        exchange = Exchange(environ, self._edge)
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


def _end(exchange: Exchange, answer: Answer, start_response: StartResponse) -> Iterable[bytes]:
    report(exchange, answer.status)
    return written(exchange, answer, start_response)


class HotPath:
    """A WSGI application in front of Flask's: the same routes, found and answered with less work.

    What is not exactly a request to one of them goes to Flask. The tests of the API run both ways.
    """

    def __init__(self, flask: WSGIApplication, edge: Edge) -> None:
        self.flask = flask
        """What answers whatever is not for a hot route, and could answer that too."""
        self._edge = edge
        self._overload = Overload(edge)
        self._routes = [
            (route.method, re.compile(re.sub(r"<(\w+)>", r"(?P<\1>[a-z0-9_]+)", route.rule)), route)
            for route in edge.routes
            if route.hot
        ]

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        if TURNED_AWAY in environ:
            return self._overload.refuse(environ, start_response)
        if host_of(environ) is None and (environ.get("HTTP_HOST") or environ["SERVER_PROTOCOL"] == "HTTP/1.1"):
            exchange = Exchange(environ, self._edge)
            error = InvalidRequestError("The header Host is missing, comes twice, or names no host.")
            return _end(exchange, answer_to(exchange, error), start_response)
        path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        for of_route, form, route in self._routes:
            if of_route == method and (found := form.fullmatch(path)):
                return self._answer(Exchange(environ, self._edge, route), route, found.groupdict(), start_response)
        return self.flask(environ, start_response)

    def _answer(
        self, exchange: Exchange, route: Route, parts: Mapping[str, str], start_response: StartResponse
    ) -> Iterable[bytes]:
        try:
            require_caller(exchange)
            answer = answer_of(exchange, route, parts)
        except Exception as error:  # noqa: BLE001 - as Flask's handler of errors
            answer = answer_to(exchange, error)
        return _end(exchange, answer, start_response)


class Service(Flask):
    """Flask, which is not to ask of every function of every request whether it is a coroutine: none is."""

    awaits_body: Callable[[WSGIEnvironment], bool]
    """See `auth.awaits_body`; for a server that has to read a body before its turn to be answered comes."""

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function as it is."""
        return func


def create_app(installation: Installation) -> Service:
    """Return the HTTP service of an installation, a WSGI application."""
    routes = tuple(routes_of(with_metrics=installation.settings.http.metrics_on_same_port))
    edge = Edge(installation, routes, Turns(max(1, installation.settings.http.threads - 1)))
    app = Service(__name__, static_folder=None, template_folder=None)
    app.awaits_body = lambda environ: auth.awaits_body(environ, edge)
    # OPTIONS is for browsers of other origins; no browser calls this service, so it is 405 like any other.
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.url_map.merge_slashes = False  # no redirects: //v1 is not a path of ours
    _register(app, edge)
    answers = HotPath(app.wsgi_app, edge)
    app.wsgi_app = Traced(answers) if tracing.is_on() else answers  # type: ignore[method-assign]
    return app


def _register(app: Flask, edge: Edge) -> None:
    """Let Flask find routes, and answer its own errors as ours."""
    by_name = {route.name: route for route in edge.routes}

    def begin() -> None:
        g.exchange = Exchange(request.environ, edge, by_name.get(request.endpoint or ""))
        require_caller(g.exchange)

    def view(**parts: str) -> Response:
        return respond(answer_of(g.exchange, g.exchange.route, parts))

    def respond(answer: Answer) -> Response:
        response = Response(answer.body, answer.status, headers_of(g.exchange), content_type=answer.media_type)
        if answer.media_type is None:
            del response.headers["Content-Type"]
        return response

    def finish(response: Response) -> Response:
        report(g.exchange, response.status_code)
        return response

    app.before_request(begin)
    app.after_request(finish)
    app.register_error_handler(Exception, lambda error: respond(answer_to(g.exchange, error)))
    for route in edge.routes:
        app.add_url_rule(route.rule, route.name, view, methods=[route.method])
