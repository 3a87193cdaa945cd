"""The worker's duty to announce that a registration ends: of a sender, or of a template."""

from otp_service.bootstrap import Installation
from otp_service.services.registrations import Announcer
from otp_service.services.watch import Watch


def registrations(installation: Installation) -> Watch:
    """Return the watch that announces; it is not started yet."""
    return Watch({"registrations": Announcer(installation.context.clearance).turn})
