"""A list of numbers that get no message: one of E.164 a line, read when a process starts."""

from pathlib import Path
from typing import ClassVar

from otp_service.policies.base import ALLOW, DENY, PolicyContext, PolicySettings, Question, Verdict


class DeniedNumbersPolicy:
    """Denies what is on the list."""

    kind: ClassVar[str] = "denied_numbers"

    class Settings(PolicySettings):
        """Where the list is."""

        file: Path

    def __init__(self, settings: Settings, context: PolicyContext) -> None:
        self._denied = frozenset(settings.file.read_text().split())

    def judge(self, question: Question) -> Verdict:
        """Look the number up."""
        return DENY if question.number in self._denied else ALLOW
