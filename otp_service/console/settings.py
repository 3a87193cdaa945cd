"""The console's section of the settings."""

from pydantic import Field, SecretStr

from otp_service.settings.schema import Port, Section
from otp_service.settings.settings import Settings


class ConsoleSettings(Section):
    """The console: a web page for support, fraud, compliance and operations, in its own process."""

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: Port = 8082
    """Port to listen on."""
    threads: int = Field(default=4, ge=1, le=64)
    """Threads for requests."""
    public_url: str | None = Field(default=None, pattern=r"^https?://[^\s/?#@]+$")
    """URL at which browsers reach it: its own host name, over TLS, without a path. Requests for another host are
    refused. Default: loopback only."""
    trusted_proxies: int = Field(default=0, ge=0, le=10)
    """Proxies in front of it: the browser's address is that many entries from the right of ``X-Forwarded-For``."""
    dev_token: SecretStr | None = Field(default=None, min_length=32)
    """Part of the URL at which ``otp-service dev`` signs in without a password. Ignored in production, with a
    ``public_url``, or behind a proxy."""


def console_settings(settings: Settings) -> ConsoleSettings:
    return settings.section("console", ConsoleSettings)
