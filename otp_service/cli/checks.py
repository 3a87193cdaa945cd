"""Checks of a set-up, as ``otp-service doctor`` shows them."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

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


T = TypeVar("T")
Cases = bool | Iterable[Mapping[str, object]]


@dataclass(frozen=True, slots=True)
class Check(Generic[T]):
    """A check, whose texts are templates; ``it`` in braces is the checked object."""

    subject: str
    level: Level
    sentence: str
    action: str
    cases: Callable[[T], Cases]
    """Returns whether the check applies, or the values of the braces for each case."""


def diagnose(checks: Iterable[Check[T]], source: T) -> Iterator[Diagnosis]:
    """Yield a diagnosis for each case of each check."""
    for check in checks:
        cases = check.cases(source)
        if isinstance(cases, bool):
            cases = [{}] if cases else []
        for case in cases:
            texts = (text.format(it=source, **case) for text in (check.subject, check.sentence, check.action))
            yield Diagnosis(check.level, *texts)
