"""The worker's duty to announce that a registration ends: of a sender, or of a template."""

from otp_service.bootstrap import Installation
from otp_service.services.maintenance import Announcer
from otp_service.services.mirror import Watch


def registrations(installation: Installation) -> Watch:
    """Return the watch that announces; it is not started yet."""
    return Watch({"registrations": Announcer(installation.context.clearance).turn})
