"""The HTTP service over a real Valkey, and its log."""

import logging
from collections.abc import Iterator
from io import StringIO

import pytest
import structlog
from support_api import Api
from support_installation import World

from otp_service.telemetry.logging import Renderer, configure_logging


@pytest.fixture
def api(real_world: World) -> Api:
    return Api(real_world)


@pytest.fixture
def log() -> Iterator[StringIO]:
    """What is logged, DEBUG on."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    written = StringIO()
    configure_logging("DEBUG", Renderer.JSON, written)
    yield written
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()
