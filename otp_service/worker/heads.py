"""The worker's duty to sign and hand out heads of the audit chain."""

from typing import Final

from otp_service.bootstrap import Installation
from otp_service.services.audit import HeadKeeper, head_line
from otp_service.services.mirror import Watch
from otp_service.telemetry.logging import outlet_of

_PERIOD: Final = 30.0
"""Seconds between two looks whether a head is due."""


def heads(installation: Installation) -> Watch:
    """Return the watch that signs and exports; it is not started yet."""
    settings, context = installation.settings.audit, installation.context
    outlet = outlet_of(settings.export)

    export = (lambda signed: outlet(head_line(context, signed))) if outlet else None
    return Watch({"audit": HeadKeeper(context, settings.every, export).turn}, _PERIOD)
