"""The WSGI application: dispatch, hot path, tracing, replacement while it serves."""

import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from functools import cache, partial
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from flask import Flask, Response, g, request
from werkzeug.routing import Map, Rule

from otp_service.api import (
    admin,
    consents,
    docs,
    factors,
    health,
    pages,
    proofs,
    receipts,
    stats,
    subjects,
    suppressions,
    verifications,
    webhooks,
)
from otp_service.api.auth import require_caller
from otp_service.api.cors import preflight_of
from otp_service.api.dialects import Dialect, load_dialects
from otp_service.api.errors import answer_error
from otp_service.api.exchange import (
    PROBES,
    SHUTTING_DOWN,
    CallSlots,
    Exchange,
    SharedState,
    finish,
    headers_of,
    log_request,
)
from otp_service.api.requests import host_of, read_idempotency_key, read_json, read_query, validate_body
from otp_service.api.routes import Answer, Route
from otp_service.api.schemas import Body
from otp_service.bootstrap import Installation
from otp_service.errors import InvalidRequestError
from otp_service.telemetry import tracing

RESOURCES = (
    verifications.verifications,
    proofs.proofs,
    proofs.archive,
    proofs.key_set,
    pages.results,
    factors.factors,
    factors.recovery_codes,
    consents.consents,
    suppressions.suppressions,
    subjects.subjects,
    subjects.users,
    webhooks.urls,
    webhooks.endpoints,
    webhooks.webhooks,
    stats.stats,
    verifications.sandbox,
    receipts.receipts,
    receipts.shared_receipts,
    receipts.inbound,
    admin.applications,
    admin.keys,
    health.operations,
    docs.docs,
    pages.pages,
)
"""In the order of the reference. Dialects add theirs."""


def all_routes(*, with_metrics: bool, dialects: tuple[Dialect, ...] = ()) -> Iterator[Route]:
    """Yield all routes, ``/metrics`` only ``with_metrics``: where it is served on this port."""
    resources = (*RESOURCES, *(resource for dialect in dialects for resource in dialect.resources))
    for route in (route for resource in resources for route in resource.routes):
        if with_metrics or route.rule != "/metrics":
            yield route
        if route.client_right:
            yield preflight_of(route)


@cache
def _compiled_routes(*, with_metrics: bool, dialects: tuple[Dialect, ...]) -> tuple[tuple[Route, ...], Map]:
    """Return all routes, and Flask's map of them, whose compilation takes most of an app's start."""
    routes = tuple(all_routes(with_metrics=with_metrics, dialects=dialects))
    rules = [Rule(route.rule, endpoint=route.name, methods=[route.method]) for route in routes]
    return routes, Map(rules, merge_slashes=False)  # no redirects: //v1 is not a path of ours


def answer_request(exchange: Exchange, route: Route, parts: Mapping[str, str]) -> Answer:
    """Answer a request of an authenticated caller; ``parts`` are the variables of its path."""
    if not route.takes_query and exchange.environ.get("QUERY_STRING"):
        read_query(exchange)  # refuses every parameter
    keyring = exchange.context.keyring  # other text in place of an identifier is not logged
    if (verification_id := parts.get("verification_id")) and keyring.bucket_of_id(verification_id) is not None:
        exchange.identify(verification=verification_id)
    if (dispatch_id := parts.get("dispatch_id")) and keyring.bucket_of_dispatch(dispatch_id) is not None:
        exchange.identify(dispatch=dispatch_id)
    bodies: tuple[Body, ...] = ()
    if route.body:
        document = read_json(exchange, may_be_empty=route.may_be_empty)
        bodies = (validate_body(route.body, document),)
        if route.retries:
            exchange.retry = read_idempotency_key(exchange, route, parts, document)
    with exchange.shared.ledger_slots.slot() if route.asks_ledger else nullcontext():
        result = route.view(exchange, *bodies, **parts)
    if isinstance(result, Answer):
        return result
    return Answer(route.answers[route.status].content.dump_json(result), route.status)


class TracingMiddleware:
    """WSGI middleware that opens a span for each request; `log_request` sets its name and attributes."""

    def __init__(self, application: WSGIApplication) -> None:
        self._application = application

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] in PROBES:  # every few seconds, of no interest
            return self._application(environ, start_response)
        with tracing.span("HTTP", "server", environ.get("HTTP_TRACEPARENT", "")):
            return self._application(environ, start_response)


class HotPath:
    """WSGI middleware that answers starts and checks without Flask, by the same routes and views.

    Any other request goes to Flask. The tests of the API run both ways.
    """

    def __init__(self, flask: WSGIApplication, shared: SharedState) -> None:
        self.flask = flask
        self._shared = shared
        self._routes = [
            (route.method, re.compile(re.sub(r"<(\w+)>", r"(?P<\1>[A-Za-z0-9_]+)", route.rule)), route)
            for route in shared.routes
            if route.hot
        ]

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if host_of(environ) is None and (environ.get("HTTP_HOST") or environ["SERVER_PROTOCOL"] == "HTTP/1.1"):
            exchange = Exchange(environ, self._shared)
            error = InvalidRequestError("The header Host is missing, comes twice, or names no host.")
            return finish(exchange, answer_error(exchange, error), start_response)
        path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        for hot_method, form, route in self._routes:
            if hot_method == method and (match := form.fullmatch(path)):
                exchange, parts = Exchange(environ, self._shared, route), match.groupdict()
                try:
                    require_caller(exchange, parts)
                    answer = answer_request(exchange, route, parts)
                except Exception as error:  # noqa: BLE001 - as Flask's handler of errors
                    answer = answer_error(exchange, error)
                return finish(exchange, answer, start_response)
        return self.flask(environ, start_response)


class Service(Flask):
    """Flask without its check for coroutines, since no view is a coroutine."""

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        return func

    def on_close(self, *acts: Callable[[], None]) -> None:
        """Set the functions that `close` calls, in order."""
        self._acts = acts

    def close(self) -> None:
        """Release connections and threads; call it once, when no request is running."""
        for act in self._acts:
            act()


def create_app(installation: Installation) -> Service:
    """Return the HTTP service of an installation, a WSGI application."""
    dialects = load_dialects()
    with_metrics = installation.settings.http.metrics_on_same_port
    routes, paths = _compiled_routes(with_metrics=with_metrics, dialects=dialects)
    shared = SharedState(installation, routes, dialects, CallSlots(installation.settings.http.ledger_calls))
    app = Service(__name__, static_folder=None, template_folder=None)
    app.url_map = paths
    by_name = {route.name: route for route in routes}

    def begin() -> None:
        g.exchange = Exchange(request.environ, shared, by_name.get(request.endpoint or ""))
        require_caller(g.exchange, request.view_args or {})

    def view(**parts: str) -> Response:
        return respond(answer_request(g.exchange, g.exchange.route, parts))

    def respond(answer: Answer) -> Response:
        response = Response(answer.body, answer.status, headers_of(g.exchange), content_type=answer.media_type)
        if answer.media_type is None:
            del response.headers["Content-Type"]
        return response

    def log(response: Response) -> Response:
        log_request(g.exchange, response.status_code)
        return response

    app.before_request(begin)
    app.after_request(log)
    app.register_error_handler(Exception, lambda error: respond(answer_error(g.exchange, error)))
    app.view_functions = dict.fromkeys(by_name, view)
    answers = HotPath(app.wsgi_app, shared)
    app.wsgi_app = TracingMiddleware(answers) if tracing.is_on() else answers  # type: ignore[method-assign]
    return app


REQUEST_SECONDS = 10.0
"""Maximum seconds for running requests when the process ends or its settings are replaced."""


class ReloadableService:
    """A WSGI application that can be replaced by another without losing a request."""

    def __init__(self, service: Service) -> None:
        self.is_shutting_down = False
        """Set when the process is about to end: probes fail, and each answer closes its connection."""
        self._service = service
        self._requests = {service: 0}
        self._changed = threading.Condition()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if self.is_shutting_down:
            environ[SHUTTING_DOWN], start_response = True, partial(_start_and_close, start_response)
        with self._changed:
            service = self._service
            self._requests[service] += 1
        try:
            return service(environ, start_response)
        finally:
            with self._changed:
                self._requests[service] -= 1
                self._changed.notify()

    def replace(self, service: Service) -> None:
        """Answer with another service from now on; close the old one when its requests are answered."""
        with self._changed:
            old, self._service = self._service, service
            self._requests[service] = 0
            self._changed.wait_for(lambda: not self._requests[old], REQUEST_SECONDS)
        old.close()
        with self._changed:
            if not self._requests[old]:
                del self._requests[old]


def _start_and_close(start: StartResponse, status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:  # noqa: ANN401 - WSGI's
    return start(status, [*headers, ("Connection", "close")], *exc_info)
