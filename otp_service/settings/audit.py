"""Where the heads of the audit chain go."""

import re
from pathlib import Path
from typing import Final

from pydantic import Field, field_validator

from otp_service.settings.sections import Section

_SYSLOG: Final = re.compile(r"syslog:(/\S+|//[A-Za-z0-9.-]+(:[0-9]{1,5})?)")
_FORMS = "is not file:/PATH, syslog:/dev/log or syslog://HOST:PORT"


class AuditSettings(Section):
    """The audit chain: that its last entries were cut off shows only by a head that was handed out before."""

    export: str = ""
    """``file:/PATH``, ``syslog:/dev/log`` or ``syslog://HOST:PORT`` (UDP); empty: heads are signed and stay here."""
    every: int = Field(default=3600, ge=60, le=86_400)
    """Seconds between two heads."""

    @field_validator("export")
    @classmethod
    def _is_a_place(cls, export: str) -> str:
        if not export or _SYSLOG.fullmatch(export):
            return export
        if export.startswith("file:/") and Path(export.removeprefix("file:")).name:
            return export
        raise ValueError(_FORMS)
