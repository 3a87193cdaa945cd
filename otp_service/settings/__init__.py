"""The one typed tree of settings, and the only reader of configuration files and environment."""

from otp_service.settings.loader import load_settings, settings_from
from otp_service.settings.settings import Settings

__all__ = ["Settings", "load_settings", "settings_from"]
