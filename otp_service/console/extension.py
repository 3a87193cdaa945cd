"""The console as an extension of the service."""

from collections.abc import Mapping
from secrets import token_urlsafe
from typing import Any, Final

from otp_service.console import keys
from otp_service.console.checks import console_diagnoses
from otp_service.console.settings import ConsoleSettings, console_settings
from otp_service.extensions import DevProcess, Extension
from otp_service.settings import Settings


def dev_members(settings: Settings) -> Mapping[str, Any]:
    """Return the token of the link that signs in; none where others may reach the console."""
    own = console_settings(settings)
    is_public = settings.production or own.public_url is not None or own.trusted_proxies > 0
    return {} if is_public else {"dev_token": token_urlsafe(32)}


def dev_guide(members: Mapping[str, Any]) -> str:
    """Return the line with the link that signs in; empty for none."""
    if "dev_token" not in members:
        return ""
    return f"The console, signed in: http://localhost:{members['port']}/dev/{members['dev_token']}"


EXTENSION: Final = Extension(
    name="console",
    settings=ConsoleSettings,
    keys=keys.KEYS,
    checks=console_diagnoses,
    dev_process=DevProcess(members=dev_members, guide=dev_guide),
)
