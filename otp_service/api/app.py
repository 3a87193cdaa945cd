"""The application: which parts there are, in which order they see a request."""

from collections.abc import Callable
from typing import Any
from wsgiref.types import WSGIEnvironment

from flask import Flask

from otp_service.api import auth, current, docs, operations
from otp_service.api.hot_path import HotPath
from otp_service.api.ledger_calls import Turns, bound
from otp_service.api.traced import Traced
from otp_service.api.v1 import (
    api_keys,
    applications,
    consents,
    inbound,
    receipts,
    sandbox,
    subjects,
    suppressions,
    verifications,
)
from otp_service.bootstrap import Installation
from otp_service.telemetry import tracing

RESOURCES = (
    verifications,
    consents,
    suppressions,
    subjects,
    receipts,
    sandbox,
    applications,
    api_keys,
    operations,
    docs,
)
"""Modules with a ``blueprint`` of routes."""
ASK_THE_LEDGER = (consents, suppressions, subjects, applications, api_keys)
"""Those of them whose calls wait for it. One of ``inbound`` does only when it is known to be authentic."""


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
        routes = resource.blueprint(installation)
        app.register_blueprint(bound(routes, turns) if resource in ASK_THE_LEDGER else routes)
    app.register_blueprint(inbound.blueprint(installation, turns))
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
