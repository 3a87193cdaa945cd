"""A provider for tests: answers over HTTP by a sample, and records the requests."""

import html
import json
import logging
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, Self, cast
from urllib.parse import parse_qsl, quote, quote_plus, urlsplit

import pytest
from pydantic import BaseModel, SecretStr

from otp_service.domain.messages import Message
from otp_service.gateways.base import (
    Accepted,
    Gateway,
    GatewayContext,
    GatewayError,
    GatewaySettings,
    InboundMessage,
    InboundSink,
    Mailbox,
    Receipt,
    ReceiptSink,
)
from otp_service.testing.samples import (
    CODE,
    MESSAGE,
    CannedResponse,
    SampleExchange,
    Samples,
    SampleSession,
    load_samples,
    with_server_url,
)

MISBEHAVIOUR_SECONDS = 1.6
"""Seconds for which the provider misbehaves: longer than a good gateway waits, short enough for a bad gateway."""


class Behaviour(StrEnum):
    """How the fake provider answers."""

    CANNED = "canned"
    ECHO = "echo"
    """Repeat the whole request in the answer."""
    SILENT = "silent"
    DRIP = "drip"
    """Send a byte of a header now and then."""
    FLOOD = "flood"
    """Send a body that is far too long."""
    CUT = "cut"
    """Read the request and close the connection."""


@dataclass(frozen=True)
class ReceivedRequest:
    """A request that the provider received."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes
    target: str = ""
    """Path and query of the request line."""

    @property
    def form(self) -> dict[str, str]:
        """The body as a form."""
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True, strict_parsing=True))

    @property
    def document(self) -> Any:  # noqa: ANN401 - any JSON
        """The body as JSON."""
        return json.loads(self.body)


class FakeProvider(ThreadingHTTPServer):
    """An HTTP server on a free port within ``with``."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.received: list[ReceivedRequest] = []
        self.session: SampleSession | None = None
        self.sessions: list[ReceivedRequest] = []
        """Requests for a session, which are not in ``received``."""
        self.behaviour = Behaviour.CANNED
        self.response = CannedResponse()
        self.leaving = threading.Event()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.leaving.set()
        self.shutdown()
        self._thread.join()
        self.server_close()

    def handle_error(self, *_: object) -> None:
        """Ignore errors: gateways close the connection to a provider that misbehaves."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        provider = cast("FakeProvider", self.server)
        self.close_connection = True
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        query = dict(parse_qsl(url.query, keep_blank_values=True))
        received = ReceivedRequest(self.command, url.path, query, headers, body, self.path)
        if provider.session and received.path == provider.session.path:
            provider.sessions.append(received)
            self.reply(provider.session.response)
            return
        provider.received.append(received)
        with suppress(OSError):
            _BEHAVIOURS[provider.behaviour](self, provider, received)

    do_GET = do_PUT = do_PATCH = do_DELETE = do_POST  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Log nothing."""

    def reply(self, response: CannedResponse) -> None:
        body = response.body.encode()
        self.send_response(response.status)
        for name, value in {"Content-Length": str(len(body)), "Connection": "close", **response.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def _echo(handler: _Handler, provider: FakeProvider, received: ReceivedRequest) -> None:
    request = {"url": handler.path, "headers": received.headers, "body": received.body.decode(errors="replace")}
    members: dict[str, str] = {}
    with suppress(ValueError):  # the body may be anything else
        members = received.form
    body = json.dumps({"message": f"{request}", "sid": f"{request}", **members, **request}, ensure_ascii=False)
    handler.reply(CannedResponse(status=provider.response.status, body=body))


def _stream(handler: _Handler, provider: FakeProvider, pause: float, piece: bytes) -> None:
    end = time.monotonic() + MISBEHAVIOUR_SECONDS
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: " + (b"" if len(piece) == 1 else b"no\r\n\r\n"))
    while time.monotonic() < end and not provider.leaving.wait(pause):
        handler.wfile.write(piece)


_BEHAVIOURS: dict[Behaviour, Callable[[_Handler, FakeProvider, ReceivedRequest], object]] = {
    Behaviour.CANNED: lambda handler, provider, _: handler.reply(provider.response),
    Behaviour.ECHO: _echo,
    Behaviour.SILENT: lambda _, provider, __: provider.leaving.wait(MISBEHAVIOUR_SECONDS),
    Behaviour.DRIP: lambda handler, provider, _: _stream(handler, provider, 0.02, b"x"),
    Behaviour.FLOOD: lambda handler, provider, _: _stream(handler, provider, 0.005, b"x" * 65_536),
    Behaviour.CUT: lambda *_: None,
}


class LeakDetector:
    """Captures all loggers at every level, and the output, while a gateway works."""

    def __init__(self, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> None:
        self._caplog = caplog
        self._capsys = capsys
        caplog.set_level(logging.DEBUG)
        # Any configuration of logging may lower the level of an SDK.
        for name, logger in list(logging.Logger.manager.loggerDict.items()):
            if isinstance(logger, logging.Logger):
                caplog.set_level(logging.DEBUG, logger=name)

    def assert_no_log_gives_away(self, settings: BaseModel) -> None:
        """Fail if a log line contains private data."""
        for record in self._caplog.records:
            text = f"{record.getMessage()} {vars(record)}"
            if record.exc_info and record.exc_info[1]:
                text += exception_text(record.exc_info[1])
            assert_holds_nothing_private(text, settings, f"a line of the logger {record.name!r}")

    def assert_no_print_gives_away(self, settings: BaseModel) -> None:
        """Fail if private data was printed."""
        output = self._capsys.readouterr()
        assert_holds_nothing_private(output.out + output.err, settings, "printed output")


def assert_holds_nothing_private(text: str, settings: BaseModel, source: str) -> None:
    """Fail if a text contains the number, the code, the message or a secret, also encoded for a URL, form or XML."""
    ucs2 = MESSAGE.text.encode("utf-16-be").hex()
    privates = [
        ("the number", MESSAGE.to.removeprefix("+")),
        ("the number in national spelling", MESSAGE.to.removeprefix("+92")),
        ("the code", CODE),
        ("the text", MESSAGE.text),
        ("the text in hexadecimal UCS-2", ucs2),
        ("the text in hexadecimal UCS-2", ucs2.upper()),
        *((f"the secret {path}", secret) for path, secret in secrets(settings)),
    ]
    for name, private in privates:
        spellings = {private, quote(private), quote(private, safe=""), quote_plus(private), ascii(private)[1:-1]}
        spellings.add(html.escape(private))
        # No assertion on the texts themselves: pytest's report would show the secret.
        if any(spelling in text for spelling in spellings):
            pytest.fail(f"{source} contains {name}")


def exception_text(error: BaseException | None) -> str:
    """Return all texts of an exception and of its chained exceptions."""
    if error is None:
        return ""
    own = "".join(traceback.format_exception(error)) + f"{error!r} {error.args} {vars(error)}"
    return own + exception_text(error.__cause__) + exception_text(error.__context__)


def secrets(value: Any, path: str = "settings") -> Iterator[tuple[str, str]]:  # noqa: ANN401 - settings of any type
    """Yield path and value of the secrets in settings."""
    if isinstance(value, SecretStr):
        yield path, value.get_secret_value()
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from secrets(getattr(value, name), f"{path}.{name}")
    elif isinstance(value, dict):
        for name, member in value.items():
            yield from secrets(member, f"{path}.{name}")


class MemoryMailbox:
    """Stores the messages that a gateway catches."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def put(self, message: Message) -> None:
        """Store a message."""
        self.messages.append(message)


class MemoryReceiptSink:
    """Stores the receipts that a gateway passes on."""

    def __init__(self) -> None:
        self.receipts: list[tuple[tuple[str, ...], Receipt]] = []

    def accept(
        self,
        references: tuple[str, ...],
        receipt: Receipt,
        candidates: Sequence[tuple[str, ...]] = (),
        numbers: tuple[str, ...] = (),  # noqa: ARG002 - without dispatches to compare
    ) -> bool:
        """Store a receipt with all possible references of its message."""
        self.receipts.append(((*references, *chain.from_iterable(candidates)), receipt))
        return True


class MemoryInboundSink:
    """Stores the messages from people that a gateway passes on."""

    def __init__(self) -> None:
        self.messages: list[InboundMessage] = []

    def accept(self, message: InboundMessage) -> bool:
        """Store a message."""
        self.messages.append(message)
        return True


def gateway_context(
    mailbox: Mailbox | None = None, receipts: ReceiptSink | None = None, inbound: InboundSink | None = None
) -> GatewayContext:
    """Return a gateway's context for tests."""
    return GatewayContext(
        "main",
        production=False,
        mailbox=mailbox or MemoryMailbox(),
        receipts=receipts or MemoryReceiptSink(),
        inbound=inbound or MemoryInboundSink(),
    )


class GatewayTests:
    """Fixtures: a gateway, its samples, and a fake provider to call."""

    gateway_class: ClassVar[type[Gateway]]
    samples: ClassVar[Path]
    prints: ClassVar[bool] = False
    """Whether the gateway prints messages on purpose; only for a gateway that production refuses."""

    def make_provider(self) -> FakeProvider:
        """Return a fake provider, not started yet; override it for a gateway without HTTP."""
        return FakeProvider()

    def arrange(self, exchange: SampleExchange, monkeypatch: pytest.MonkeyPatch) -> None:
        """Prepare an exchange beyond its settings; by default nothing."""

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run a test once for each sample."""
        samples = load_samples(self.samples)
        if "exchange" in metafunc.fixturenames:
            metafunc.parametrize("exchange", samples.exchanges, ids=lambda exchange: exchange.name)
        if "receipt" in metafunc.fixturenames:
            metafunc.parametrize("receipt", samples.receipts, ids=lambda receipt: receipt.name)
        if "inbound" in metafunc.fixturenames:
            metafunc.parametrize("inbound", samples.inbound, ids=lambda inbound: inbound.name)

    @pytest.fixture
    def file(self) -> Samples:
        """Return the content of the sample file."""
        return load_samples(self.samples)

    @pytest.fixture
    def provider(self, file: Samples, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeProvider]:
        """Run a fake provider, without any proxy."""
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        with self.make_provider() as provider:
            provider.session = file.session
            yield provider

    @pytest.fixture
    def caller(self, file: Samples, provider: FakeProvider) -> FakeProvider:
        """Return the provider, for tests of a gateway that calls a provider."""
        if not file.calls_provider:
            pytest.skip("it calls no provider")
        return provider

    @pytest.fixture
    def leaks(self, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> LeakDetector:
        """Watch all loggers at DEBUG, and the output."""
        return LeakDetector(caplog, capsys)

    def settings(self, server: str, **over: Any) -> GatewaySettings:  # noqa: ANN401 - any settings
        """Return the file's settings, some of them replaced."""
        return self.gateway_class.Settings.model_validate(
            {**with_server_url(load_samples(self.samples).settings, server), **over}
        )

    def gateway(self, settings: GatewaySettings) -> Gateway:
        """Return a gateway as the service makes it."""
        return self.gateway_class(settings, gateway_context())

    def outcome(self, settings: GatewaySettings, message: Message | None = None) -> Accepted | GatewayError:
        """Send a message, by default the file's; any exception but `GatewayError` fails the test."""
        try:
            return self.gateway(settings).send(message or load_samples(self.samples).message)
        except GatewayError as failure:
            return failure
