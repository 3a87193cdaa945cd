"""Calls of the whole application in this process: requests without a server around them."""

import io
import itertools
import json
import secrets
import sys
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any
from wsgiref.types import WSGIApplication, WSGIEnvironment

from flask import Flask
from seeding import BenchSettings, seed_checks

from otp_service.api.app import create_app
from otp_service.telemetry.logging import Renderer, configure_logging

_NUMBERS = itertools.count()
"""Those of starts: one that was asked for already would have to wait."""
_AGREED = {"text_version": "1", "text_sha256": "0" * 64, "locale": "en", "channel": "web", "source": "checkout"}
_PAYMENT = {"amount": "1500.00", "currency": "PKR", "payee": "Daraz", "account": "4821", "reference": "order-1"}
_RETRY = "an idempotency key"
EXTRAS: dict[str, dict[str, Any]] = {
    "a context": {"context": "8f14e45fceea167a5a36dedd4bea2543"},
    "a consent": {"consent": _AGREED},
    "a transaction": {"purpose": "payment", "transaction": _PAYMENT},
    _RETRY: {},
}
"""What a start may come with, and the members that it adds to the body."""


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

    def starts_with(self, extras: Collection[str], count: int) -> list[WSGIEnvironment]:
        """Return starts that come with some of `EXTRAS`."""
        members = {name: value for extra in extras for name, value in EXTRAS[extra].items()}
        if consent := members.get("consent"):
            members["consent"] = {**consent, "given_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}
        keys = ({"HTTP_IDEMPOTENCY_KEY": secrets.token_hex(16)} if _RETRY in extras else {} for _ in range(count))
        return [{**self._start(next(_NUMBERS), members), **key} for key in keys]

    def _start(self, number: int, more: Mapping[str, Any] = MappingProxyType({})) -> WSGIEnvironment:
        body = {"to": f"+92333{number:07d}", "client_ip": f"10.77.{number // 250 % 250}.{number % 250}", **more}
        return post("/v1/verifications", json.dumps(body), self._settings.api_key)

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
    body = b"".join(app(environ, lambda status, *_: said.append(status)))  # type: ignore[arg-type]
    if not said[0].startswith("2"):
        raise ValueError(f"answered {said[0]}: {body.decode()}")
    return body
