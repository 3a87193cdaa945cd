"""Checks of the console's settings, which ``otp-service doctor`` shows."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from otp_service.cli.checks import WARN, Diagnosis
from otp_service.console.settings import console_settings
from otp_service.settings import Settings


def console_diagnoses(settings: Settings) -> Iterator[Diagnosis]:
    """Yield the faults of the console's settings."""
    own = console_settings(settings)
    url, service = own.public_url or "", settings.http.public_url or ""
    if settings.production and url.startswith("http://"):
        sentence = "People would sign in at the console without encryption, and their browsers keep no cookie of it."
        yield Diagnosis(WARN, "console.public_url", sentence, "Use the https:// address.")
    if url and service and urlsplit(url).hostname == urlsplit(service).hostname:
        sentence = "It is the API's host: cookies know no port."
        yield Diagnosis(WARN, "console.public_url", sentence, "Give the console a host name of its own.")
    if settings.production and url and not own.trusted_proxies:
        sentence = "All users behind a proxy share an address: one user's wrong passwords make the others wait."
        action = "Set it to the number of proxies before the console."
        yield Diagnosis(WARN, "console.trusted_proxies", sentence, action)
