"""Log lines: one JSON object each, or text for a terminal; ours and every library's through the same steps."""

import logging
import sys
from collections.abc import Mapping, MutableMapping
from enum import StrEnum
from typing import Any, Final, TextIO

import structlog

from otp_service.telemetry.redaction import redact_event


class Renderer(StrEnum):
    """How a log line looks."""

    JSON = "json"
    CONSOLE = "console"


FLOORS: Final[Mapping[str, int]] = {
    "alembic": logging.WARNING,
    "urllib3": logging.INFO,
    "twilio": logging.WARNING,
    "werkzeug": logging.WARNING,
}
"""Below these a library writes down what it does, such as the requests it makes, whatever level ours is."""

GRANIAN_LOGGING: Final[dict[str, Any]] = {
    "loggers": {
        "_granian": {"handlers": [], "propagate": True},
        "granian.access": {"handlers": [], "level": "INFO", "propagate": True},
    }
}
"""``log_dictconfig`` for granian, whose loggers otherwise write past ours."""


def configure_logging(level: str = "INFO", renderer: Renderer = Renderer.JSON, stream: TextIO | None = None) -> None:
    """Send all log lines at ``level`` or above to ``stream`` (standard error). May be called again."""
    stream = stream or sys.stderr
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_formatter(renderer, colours=stream.isatty()))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name, floor in FLOORS.items():
        logging.getLogger(name).setLevel(max(floor, root.level))
    logging.captureWarnings(capture=True)
    _configure_structlog(root.level)


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return a logger: ``log.info("verification_started", country="PK")``."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger


def _configure_structlog(level: int) -> None:
    structlog.configure(
        processors=[
            *_shared(),
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        # A cached logger would keep the steps of the first configuration: tests configure several times.
        cache_logger_on_first_use=False,
    )


def _shared() -> list[structlog.typing.Processor]:
    return [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]


def _formatter(renderer: Renderer, *, colours: bool) -> structlog.stdlib.ProcessorFormatter:
    last: list[structlog.typing.Processor] = (
        [_make_room, structlog.processors.EventRenamer("message"), _order, structlog.processors.JSONRenderer()]
        if renderer is Renderer.JSON
        else [_indent_exception, _console(colours=colours)]
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_shared(),
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            # A traceback without the values of local variables: they are the numbers and codes.
            structlog.processors.format_exc_info,
            redact_event,
            *last,
        ],
    )


def _make_room(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Rename a caller's ``message``, the number of a message: as JSON, what a line says is under that name."""
    return {"message_number" if name == "message" else name: value for name, value in event.items()}


def _order(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Put what every line has first, so that lines can be read below each other."""
    return {name: event[name] for name in ("timestamp", "level", "logger", "message") if name in event} | {**event}


def _console(*, colours: bool) -> structlog.dev.ConsoleRenderer:
    return structlog.dev.ConsoleRenderer(
        colors=colours, exception_formatter=structlog.dev.plain_traceback, sort_keys=False
    )


def _indent_exception(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Indent a traceback, so that a text inside it cannot pass for a line of its own."""
    if "exception" in event:
        event["exception"] = "\n".join(f"    {line}" for line in event["exception"].split("\n"))
    return event
