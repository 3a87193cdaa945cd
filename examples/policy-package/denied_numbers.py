"""A list of numbers that get no message: a file of E.164 numbers, one a line, read when a process starts."""

from pathlib import Path
from typing import ClassVar

from otp_service.policies.base import ALLOW, DENY, PolicyContext, PolicyRequest, PolicySettings, Verdict


class DeniedNumbersPolicy:
    """Denies messages to the numbers on the list."""

    kind: ClassVar[str] = "denied_numbers"

    class Settings(PolicySettings):
        """The file with the list."""

        file: Path

    def __init__(self, settings: Settings, context: PolicyContext) -> None:
        self._denied = frozenset(settings.file.read_text().split())

    def judge(self, request: PolicyRequest) -> Verdict:
        """Deny a number on the list."""
        return DENY if request.number in self._denied else ALLOW
