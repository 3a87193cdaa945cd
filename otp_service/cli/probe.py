"""Whether a service of ours can listen, and whether it answers."""

import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable

from otp_service.core.errors import ConfigurationError

READY_SECONDS = 60.0
_POLL = 0.05
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared with, not listened on


def check_port(host: str, port: int) -> None:
    """Raise `ConfigurationError` when something listens there already, or we may not."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as refused:
            why = refused.strerror or str(refused)
            other = 8081 if port != 8081 else 8082  # noqa: PLR2004
            raise ConfigurationError(
                f"Port {port} of {host} cannot be used: {why}. Choose another: http.port, or "
                f"OTP_SERVICE__HTTP__PORT={other} before the command."
            ) from refused


def url_of(host: str, port: int) -> str:
    """Return the address under which this machine reaches a service that listens on ``host``."""
    reachable = _EVERYWHERE.get(host, host)
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"


def wait_until_ready(url: str, ended: Callable[[], str | None]) -> None:
    """Return when ``/readyz`` answers 200; raise `ConfigurationError` when a process ended, or in a minute."""
    end = time.monotonic() + READY_SECONDS
    while not _is_ready(url):
        if reason := ended():
            raise ConfigurationError(f"It does not start: {reason}.")
        if time.monotonic() > end:
            raise ConfigurationError(f"It does not start: {url}/readyz was not ready in {READY_SECONDS:.0f} s.")
        time.sleep(_POLL)


def _is_ready(url: str) -> bool:
    # No proxy of the environment stands between this machine and itself.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url}/readyz", timeout=2) as answer:
            ready: bool = answer.status == 200  # noqa: PLR2004
            return ready
    except OSError:
        return False
