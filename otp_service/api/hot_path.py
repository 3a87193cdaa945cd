"""Starts and checks, answered before Flask builds its contexts, which cost as much as all the rest of a check.

Nothing is decided here: who may call, what is read, done and answered is what Flask's views of the two calls use, and
whatever is not exactly such a call goes to Flask. The tests of the API run both ways.
"""

import re
from collections.abc import Callable, Iterable
from typing import Final, NoReturn
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from otp_service.api.auth import require_caller
from otp_service.api.errors import answer_to
from otp_service.api.exchange import TURNED_AWAY, Answer, Exchange
from otp_service.api.observation import report
from otp_service.api.overload import Overload
from otp_service.api.request import host_of, refuse_query
from otp_service.api.v1 import verifications
from otp_service.api.wsgi_answer import written
from otp_service.bootstrap import Installation
from otp_service.errors import InvalidRequestError

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
