"""Counting what applications ask for, under labels that no caller can choose."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from otp_service.domain.applications import Application
from otp_service.errors import OtpServiceError
from otp_service.telemetry.metrics import OTHER

ACCEPTED = "accepted"

Record = Callable[[str, str, str, str], None]
"""Counts one request by application, purpose, country and outcome."""


@dataclass(slots=True)
class Labels:
    """What is known of a request so far. Only what was judged: a name that a caller made up is not in it."""

    purpose: str = OTHER
    country: str = ""


@contextmanager
def counted(record: Record, application: Application) -> Iterator[Labels]:
    """Count what happens inside once, as `ACCEPTED` or by the error's code, with the labels known by then."""
    labels = Labels()
    try:
        yield labels
    except OtpServiceError as refused:
        record(application.name, labels.purpose, labels.country, refused.code)
        raise
    record(application.name, labels.purpose, labels.country, ACCEPTED)
