"""Each request as a span: of the trace of whoever sends a ``traceparent``, or of a new one."""

from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from otp_service.api.exchange import TURNED_AWAY
from otp_service.api.observation import PROBES
from otp_service.telemetry import tracing


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
