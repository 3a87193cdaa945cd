"""Whether a service of ours can listen, and whether it answers."""

import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

from otp_service.errors import ConfigurationError

READY_SECONDS = 60.0
_POLL = 0.05
_OK = 200
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared with, not listened on


def check_port(host: str, port: int, setting: str = "http.port") -> None:
    """Raise `ConfigurationError`, naming how to choose another, when something listens there already, or we may not."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as refused:
            why = refused.strerror or str(refused)
            other = 8081 if port != 8081 else 8082  # noqa: PLR2004
            raise ConfigurationError(
                f"Port {port} of {host} cannot be used: {why}. Choose another: {setting}, or "
                f"OTP_SERVICE__HTTP__PORT={other} before the command."
            ) from refused


def url_of(host: str, port: int) -> str:
    """Return the address under which this machine reaches a service that listens on ``host``."""
    reachable = _EVERYWHERE.get(host, host)
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"


def wait_until_ready(url: str, ended: Callable[[], str | None]) -> str:
    """Return when a service can check codes, with what it says of starts: ``accepted``, or why it refuses all.

    Raises `ConfigurationError` when a process ended, or in a minute.
    """
    end = time.monotonic() + READY_SECONDS
    while asked(f"{url}/readyz/checks")[0] != _OK:
        if reason := ended():
            raise ConfigurationError(f"It does not start: {reason}.")
        if time.monotonic() > end:
            raise ConfigurationError(f"It does not start: {url}/readyz was not ready in {READY_SECONDS:.0f} s.")
        time.sleep(_POLL)
    return str(asked(f"{url}/readyz")[1].get("starts"))


def asked(url: str) -> tuple[int, Mapping[str, Any]]:
    """Return the status and the details that a probe of ours answers; the status is 0 where nobody does."""
    # No proxy of the environment stands between this machine and itself.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=2) as answer:
            return answer.status, json.load(answer)["details"]
    except urllib.error.HTTPError as refused:
        return refused.code, json.load(refused)["details"]
    except OSError:
        return 0, {}
