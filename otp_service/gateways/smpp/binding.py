"""Binding: from nothing to a session (section 4.1)."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable

from otp_service.gateways.base import FailureKind, GatewayError
from otp_service.gateways.smpp.pdu import Command, c_string
from otp_service.gateways.smpp.session import Session
from otp_service.gateways.smpp.settings import SmppSettings

_VERSION = 0x34


async def bound(
    settings: SmppSettings, command: Command, deliver: Callable[[bytes], Awaitable[bool]]
) -> Session | GatewayError:
    """Connect and bind within the time-out; a failure has the status of a bind that was refused."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + settings.timeout
    try:
        secured = ssl.create_default_context() if settings.tls else None
        async with asyncio.timeout_at(deadline):
            reader, writer = await asyncio.open_connection(settings.host, settings.port, ssl=secured)
    except (OSError, ValueError):  # a time-out is an OSError, and so is what TLS finds wrong
        return GatewayError(FailureKind.UNAVAILABLE, "connection")
    session, refused = Session(reader, writer, settings.window, deliver), True
    try:
        refusal = await session.bind(command, _identity(settings), deadline - loop.time())
        refused = refusal is not None
    finally:
        if refused:  # or canceled
            session.end()
    return refusal or session


def _identity(settings: SmppSettings) -> bytes:
    """Return the body of a bind: who we are, and that we take what comes to our own addresses."""
    names = (settings.system_id, settings.password.get_secret_value(), settings.system_type)
    return b"".join(map(c_string, names)) + bytes((_VERSION, 0, 0)) + c_string("")
