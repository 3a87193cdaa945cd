"""Lines that are handed out of the service's reach: appended to a file, or sent to syslog."""

import errno
import os
import socket
from collections.abc import Callable
from typing import Final

_FILE, _SYSLOG = "file:", "syslog:"
_NOTICE: Final = "<109>1 - - otp-service - audit - "
"""Beginning of a message (RFC 5424): facility log audit, severity notice, no time and no host: the receiver's count."""
_PORT: Final = 514
_TIMEOUT: Final = 5.0


def outlet_of(place: str) -> Callable[[str], None] | None:
    """Return what hands a line out: ``file:/PATH``, ``syslog:/dev/log`` or ``syslog://HOST:PORT``; ``None`` if empty.

    It raises `OSError` when it cannot. What goes over UDP may be lost on the way.
    """
    if place.startswith(_FILE):
        return lambda line: _append(place.removeprefix(_FILE), line)
    if place.startswith(_SYSLOG):
        return lambda line: _send(place.removeprefix(_SYSLOG), line)
    return None


def _append(path: str, line: str) -> None:
    """Append a line, all of it or nothing, to a file that only this user may write, and see that it is on the disk."""
    file, whole = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640), f"{line}\n".encode()
    try:
        length = os.fstat(file).st_size
        if os.write(file, whole) < len(whole):  # the disk is full: the next line must not follow on half of this one
            os.ftruncate(file, length)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        os.fsync(file)
    finally:
        os.close(file)


def _send(place: str, line: str) -> None:
    message = f"{_NOTICE}{line}".encode()
    if not place.startswith("//"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as local:
            local.settimeout(_TIMEOUT)
            local.sendto(message, place)
        return
    host, _, port = place.removeprefix("//").partition(":")
    family, kind, protocol, _, address = socket.getaddrinfo(host, int(port or _PORT), type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind, protocol) as remote:
        remote.settimeout(_TIMEOUT)
        remote.sendto(message, address)
