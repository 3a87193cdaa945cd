"""otp-service: proves that a person holds a phone number."""

from importlib.metadata import version

__version__ = version("otp-service")
