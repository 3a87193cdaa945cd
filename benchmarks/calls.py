"""Calls of the whole application in this process: requests without a server around them."""

import io
import itertools
import sys
from contextlib import ExitStack
from pathlib import Path
from wsgiref.types import WSGIApplication, WSGIEnvironment

from flask import Flask
from seeding import BenchSettings, seed_checks

from otp_service.api.app import create_app
from otp_service.telemetry.logging import Renderer, configure_logging

_NUMBERS = itertools.count()
"""Those of starts: one that was asked for already would have to wait."""


class Calls:
    """The application, and requests to it: each start for another number, each check of another verification."""

    def __init__(self, stack: ExitStack, settings: BenchSettings, folder: Path) -> None:
        """Log to a file in a folder, as the service under load does, until the stack ends."""
        log = stack.enter_context((folder / "calls.log").open("w"))
        configure_logging("INFO", Renderer.JSON, log)
        self.app: Flask = create_app(settings.installation)
        self._settings = settings
        self._codes = folder / "calls-codes"

    def starts(self, count: int) -> list[WSGIEnvironment]:
        """Return starts."""
        return [self._start(next(_NUMBERS)) for _ in range(count)]

    def checks(self, count: int) -> list[WSGIEnvironment]:
        """Return checks with the right code, of verifications that are started for them."""
        lines = seed_checks(self._settings, self._codes, count).read_text().splitlines()
        return [self._check(*line.split()) for line in lines]

    def _start(self, number: int) -> WSGIEnvironment:
        body = f'{{"to":"+92333{number:07d}","client_ip":"10.77.{number // 250 % 250}.{number % 250}"}}'
        return post("/v1/verifications", body, self._settings.api_key)

    def _check(self, verification: str, code: str) -> WSGIEnvironment:
        return post(f"/v1/verifications/{verification}/check", f'{{"code":"{code}"}}', self._settings.api_key)


def post(path: str, body: str, api_key: str) -> WSGIEnvironment:
    """Return a request as a server hands it over."""
    sent = body.encode()
    return {
        "REQUEST_METHOD": "POST", "PATH_INFO": path, "QUERY_STRING": "", "SCRIPT_NAME": "", "SERVER_NAME": "localhost",
        "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1", "REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": "localhost",
        "CONTENT_TYPE": "application/json", "CONTENT_LENGTH": str(len(sent)),
        "HTTP_AUTHORIZATION": f"Bearer {api_key}", "wsgi.input": io.BytesIO(sent), "wsgi.errors": sys.stderr,
        "wsgi.url_scheme": "http", "wsgi.version": (1, 0), "wsgi.multithread": True, "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }  # fmt: skip


def answer(app: WSGIApplication, environ: WSGIEnvironment) -> bytes:
    """Let an application answer a request; return the body. Raises `ValueError` for an answer other than 2xx."""
    said: list[str] = []
    body = b"".join(app(environ, lambda status, *_: said.append(status)))  # type: ignore[arg-type,func-returns-value]
    if not said[0].startswith("2"):
        raise ValueError(f"answered {said[0]}: {body.decode()}")
    return body
