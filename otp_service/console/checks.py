"""Checks of the console's settings, which ``otp-service doctor`` shows."""

from urllib.parse import urlsplit

from otp_service.cli.checks import WARN, Check
from otp_service.console.settings import console_settings
from otp_service.settings import Settings


def _shares_host(settings: Settings) -> bool:
    own, service = console_settings(settings).public_url, settings.http.public_url
    return bool(own and service) and urlsplit(own).hostname == urlsplit(service).hostname


CHECKS: tuple[Check[Settings], ...] = (
    Check("console.public_url", WARN,
          "People would sign in at the console without encryption, and their browsers keep no cookie of it.",
          "Use the https:// address.",
          lambda settings: settings.production and (console_settings(settings).public_url or "").startswith("http://")),
    Check("console.public_url", WARN, "It is the API's host: cookies know no port.",
          "Give the console a host name of its own.",
          _shares_host),
    Check("console.trusted_proxies", WARN,
          "All users behind a proxy share an address: one user's wrong passwords make the others wait.",
          "Set it to the number of proxies before the console.",
          lambda settings: settings.production and bool(console_settings(settings).public_url)
          and not console_settings(settings).trusted_proxies),
)  # fmt: skip
