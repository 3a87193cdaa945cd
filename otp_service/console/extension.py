"""The console as an extension of the service."""

from typing import Final

from otp_service.console import keys
from otp_service.extensions import Extension

EXTENSION: Final = Extension(name="console", keys=keys.KEYS)
