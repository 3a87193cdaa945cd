"""Diagnoses of a set-up, as ``otp-service doctor`` shows them."""

from dataclasses import dataclass
from enum import StrEnum

from otp_service.errors import StartRefusal


class Level(StrEnum):
    """The severity of a diagnosis."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


OK, WARN, FAIL = Level


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The result of a check."""

    level: Level
    subject: str
    sentence: str
    action: str = ""
    """The remedy; empty for `OK`."""
    name: str = ""
    """Name of a refusal to start, which docs/refusals.md explains."""


def refusal_diagnosis(refusal: StartRefusal, level: Level = FAIL) -> Diagnosis:
    return Diagnosis(level, refusal.place, refusal.sentence, refusal.action, refusal.name)
