"""Checks of a set-up, as ``otp-service doctor`` shows them."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from otp_service.errors import StartRefusal


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


OK, WARN, FAIL = Level


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What a check found."""

    level: Level
    subject: str
    sentence: str
    action: str = ""
    """What to do; empty when all is well."""
    name: str = ""
    """Under which docs/refusals.md explains it, where a start is refused for it."""


def refusal_diagnosis(refusal: StartRefusal, level: Level = FAIL) -> Diagnosis:
    """Return a refusal to start as a diagnosis."""
    return Diagnosis(level, refusal.place, refusal.sentence, refusal.action, refusal.name)


T = TypeVar("T")
Cases = bool | Iterable[Mapping[str, object]]


@dataclass(frozen=True, slots=True)
class Check(Generic[T]):
    """A check: a row of the tables below."""

    subject: str
    level: Level
    sentence: str
    action: str
    cases: Callable[[T], Cases]
    """Returns whether the check applies; or, once for each case, what stands in the braces. ``it`` is the source."""


def diagnose(checks: Iterable[Check[T]], source: T) -> Iterator[Diagnosis]:
    """Yield a diagnosis for each case of each check."""
    for check in checks:
        found = check.cases(source)
        for case in ([{}] if found else []) if isinstance(found, bool) else found:
            texts = (text.format(it=source, **case) for text in (check.subject, check.sentence, check.action))
            yield Diagnosis(check.level, *texts)
