"""What each server process runs: the application, bound to the life of ``serve``."""

from typing import Any

from otp_service import wsgi
from otp_service.cli.children import end_with_parent


def app() -> Any:  # noqa: ANN401 - a WSGI application
    """Return the application of `otp_service.wsgi`.

    The process ends when ``serve`` is killed: without that it would go on to hold the port, unattended.
    """
    end_with_parent()
    return wsgi.app()
