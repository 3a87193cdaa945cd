"""Structured logs, written without delaying the caller."""

import errno
import json
import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, TextIO

import structlog

from otp_service.telemetry import tracing
from otp_service.telemetry.redaction import SafeText, redact, redact_event


class Renderer(StrEnum):
    """The format of a log line."""

    JSON = "json"
    CONSOLE = "console"


LIBRARY_LEVELS: Final[Mapping[str, int]] = {
    "alembic": logging.WARNING,
    "urllib3": logging.INFO,
    "werkzeug": logging.WARNING,
}
"""Minimum levels of libraries, which log every request below them, whatever our level is."""

GRANIAN_LOGGING: Final[dict[str, Any]] = {
    "loggers": {
        "_granian": {"handlers": [], "propagate": True},
        "granian.access": {"handlers": [], "level": "INFO", "propagate": True},
    }
}
"""``log_dictconfig`` for granian, whose loggers would otherwise bypass ours."""


def configure_logging(level: str = "INFO", renderer: Renderer = Renderer.JSON, stream: TextIO | None = None) -> None:
    """Send all log lines at ``level`` or above to ``stream`` (standard error). May be called again."""
    stream = stream or sys.stderr
    rendering: list[structlog.typing.Processor] = [_order_members, structlog.processors.JSONRenderer()]
    if renderer is Renderer.CONSOLE:
        console = structlog.dev.ConsoleRenderer(
            colors=stream.isatty() and has_colours(),
            exception_formatter=structlog.dev.plain_traceback,
            sort_keys=False,
        )
        rendering = [_indent_exception, console]
    handler = _LibraryHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_log_level, structlog.stdlib.add_logger_name, *_TIMESTAMPED],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_SAFE, *rendering],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name, floor in LIBRARY_LEVELS.items():
        logging.getLogger(name).setLevel(max(floor, root.level))
    logging.captureWarnings(capture=True)
    structlog.configure(
        processors=[
            _add_members,
            *_SAFE,
            structlog.processors.add_log_level,
            _add_name,
            _add_trace,
            *_TIMESTAMPED,
            *rendering,
        ],
        logger_factory=lambda name: _LineLogger(name, stream),
        wrapper_class=structlog.make_filtering_bound_logger(root.level),
        # A cached logger would keep the processors of the first configuration; tests configure several times.
        cache_logger_on_first_use=False,
    )
    global _plain_lines  # noqa: PLW0603 - logging is configured for the process
    _plain_lines = (root.level, _LineLogger("", stream).write) if renderer is Renderer.JSON else None


def has_colours() -> bool:
    """Whether the environment allows colours: the terminal is not dumb, and ``NO_COLOR`` is not set."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") not in {"dumb", "unknown"}


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return a logger: ``log.info("verification_started", country="PK")``."""
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(name)
    return logger


_members: ContextVar[Mapping[str, str | int]] = ContextVar("log_members", default=MappingProxyType({}))
"""Members of all lines of this thread. structlog's own context takes ten times as long."""


@contextmanager
def log_context(**members: str | int) -> Iterator[None]:
    """Add members to all lines of this thread within ``with``, except those of a `PlainLogger`."""
    before = _members.set({**_members.get(), **members})
    try:
        yield
    finally:
        _members.reset(before)


def add_log_members(**members: str) -> None:
    """Add members to all lines of this thread from now on."""
    _members.set({**_members.get(), **members})


def begin_log_members(**members: str) -> None:
    """Replace the members of all lines of this thread from now on."""
    _members.set(members)


def current_request() -> str:
    """Return the identifier of the request that this thread answers; empty without a request."""
    return str(_members.get().get("request_id", ""))


class _LibraryHandler(logging.StreamHandler[TextIO]):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the library's name
        """Report a line that cannot be formatted. The standard library would show its arguments unredacted."""
        if not isinstance(sys.exc_info()[1], OSError):
            _log = get_logger(record.name)
            _log.error("line_not_formatted")


class _LineLogger:
    """Writes the lines of a logger without the standard library, whose record costs more than a line."""

    def __init__(self, name: str, stream: TextIO) -> None:
        self.name = name
        self._stream = stream

    def write(self, line: str) -> None:
        """Write a line at once, or lose it (a full disk, a closed pipe): the logged action must not fail."""
        with suppress(OSError, ValueError):
            self._stream.write(f"{line}\n")
            self._stream.flush()

    debug = info = warning = error = critical = write


_encode = json.JSONEncoder().encode
_LEVELS: Final[Mapping[int, str]] = {
    level: logging.getLevelName(level).lower() for level in (logging.DEBUG, logging.INFO, logging.WARNING)
}


class PlainLogger:
    """Writes JSON lines without structlog, in a third of the time: of `SafeText`, numbers and a few repeated texts."""

    def __init__(self, name: str) -> None:
        self._name = name

    def log(self, level: int, event: str, **members: str | float) -> None:
        if _plain_lines is None or not structlog.is_configured():
            get_logger(self._name).log(level, event, **members)
            return
        min_level, write = _plain_lines
        if level < min_level:
            return
        seconds, rest = divmod(time.time_ns() // 1000, 1_000_000)
        parts = [f'{{"timestamp": "{_second(seconds)}.{rest:06}Z"', _beginning(self._name, level, event)]
        for name, value in members.items():
            encoded = _encode(value) if type(value) is SafeText else _encode_repeated(value)
            parts.append(f'"{name}": {encoded}')
        if trace := tracing.trace_id():
            parts.append(f'"trace_id": "{trace}"')
        write(", ".join(parts) + "}")


@lru_cache(maxsize=4)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()[:-6]


@lru_cache
def _beginning(name: str, level: int, event: str) -> str:
    return f'"level": "{_LEVELS[level]}", "logger": "{name}", "message": "{event}"'


@lru_cache(maxsize=1024, typed=True)
def _encode_repeated(value: str | float) -> str:
    return _encode(redact(value))


_plain_lines: tuple[int, Callable[[str], None]] | None = None
"""The minimum level and the writer of JSON lines; ``None`` for another format."""


def _add_members(_logger: _LineLogger, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {**_members.get(), **event}


def _add_name(logger: _LineLogger, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    event["logger"] = logger.name
    return event


def _add_trace(_logger: _LineLogger, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add the line's trace id after redaction, which would mask its digits."""
    if trace := tracing.trace_id():
        event["trace_id"] = trace
    return event


_SAFE: Final[list[structlog.typing.Processor]] = [
    structlog.processors.StackInfoRenderer(),
    # A traceback without local variables, which contain numbers and codes.
    structlog.processors.format_exc_info,
    redact_event,
]
"""Processors that keep personal data out of every line."""
_TIMESTAMPED: Final[list[structlog.typing.Processor]] = [structlog.processors.TimeStamper(fmt="iso", utc=True)]


def _order_members(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Put the common members first, and name the event ``message``."""
    if "message" in event:  # the number of a message
        event["message_number"] = event.pop("message")
    first = {name: event.pop(name) for name in ("timestamp", "level", "logger") if name in event}
    return {**first, "message": event.pop("event"), **event}


def _indent_exception(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Indent a traceback, so that a text in it cannot look like a line of the log."""
    if "exception" in event:
        event["exception"] = "\n".join(f"    {line}" for line in event["exception"].split("\n"))
    return event


_FILE, _SYSLOG = "file:", "syslog:"
_SYSLOG_HEADER: Final = "<109>1 - - otp-service - audit - "
"""Beginning of a message (RFC 5424): facility log audit, severity notice; the receiver adds time and host."""
_SYSLOG_PORT: Final = 514
_SYSLOG_TIMEOUT: Final = 5.0


def audit_line_writer(place: str) -> Callable[[str], None] | None:
    """Return the writer of a place: ``file:/PATH``, ``syslog:/dev/log`` or ``syslog://HOST:PORT``; ``None`` if empty.

    It raises `OSError` if it cannot write. A line over UDP may be lost.
    """
    if place.startswith(_FILE):
        return lambda line: _append(place.removeprefix(_FILE), line)
    if place.startswith(_SYSLOG):
        return lambda line: _send(place.removeprefix(_SYSLOG), line)
    return None


def _append(path: str, line: str) -> None:
    """Append a whole line or nothing to a file that only this user may write, and sync it to the disk."""
    file, whole = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640), f"{line}\n".encode()
    try:
        length = os.fstat(file).st_size
        if os.write(file, whole) < len(whole):  # the disk is full: the next line must not follow half of this line
            os.ftruncate(file, length)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        os.fsync(file)
    finally:
        os.close(file)


def _send(place: str, line: str) -> None:
    message = f"{_SYSLOG_HEADER}{line}".encode()
    if not place.startswith("//"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as local:
            local.settimeout(_SYSLOG_TIMEOUT)
            local.sendto(message, place)
        return
    host, _, port = place.removeprefix("//").partition(":")
    family, kind, protocol, _, address = socket.getaddrinfo(host, int(port or _SYSLOG_PORT), type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind, protocol) as remote:
        remote.settimeout(_SYSLOG_TIMEOUT)
        remote.sendto(message, address)
