"""The interface of a verifier of human checks: asked before a start about a token of an end user.

Whether a check is needed the script of a start decides (``start.lua``).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Final, Protocol

from pydantic import BaseModel, ConfigDict, Field

from otp_service.gateways.base import CountryCode
from otp_service.gateways.plugins import PluginKinds
from otp_service.policies.base import PolicyContext, TimeLimitedExecutor


class HumanCheckOutcome(StrEnum):
    """What became of a token. Only `PASSED` lets a start pass that needs a check."""

    PASSED = "passed"
    FAILED = "failed"
    UNKNOWN = "unknown"
    """The verifier failed, or was not ready in time."""


class HumanCheckError(Exception):
    """The verifier does not know. Its text says why, in a word or two: it is logged, and never holds the token."""


class HumanCheckSettings(BaseModel):
    """Settings that every verifier has; each adds its own."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, serialize_by_alias=True)

    timeout: float = Field(default=1.0, gt=0, le=5)
    """Seconds that a start waits for the answer."""
    hosted_in: CountryCode | None = None
    """Country (ISO 3166-1 alpha-2) in which the verifier handles end users' addresses, for ``residency``."""


@dataclass(frozen=True, slots=True)
class HumanCheckQuestion:
    """A token that an end user's browser or app got for passing a check. The ``repr`` does not show it."""

    token: str = field(repr=False)
    address: str | None = field(repr=False)
    """Of the end user, as the application passed it; ``None`` where it passed none."""
    application: str


class HumanCheckVerifier(Protocol):
    """One provider of checks. A class; the entry point names it, its ``kind`` is the entry point's name."""

    kind: ClassVar[str]
    Settings: ClassVar[type[HumanCheckSettings]]

    def __init__(self, settings: Any, context: PolicyContext) -> None:  # noqa: ANN401 - its own Settings
        """Prepare to answer; opens no connection."""

    def passed(self, question: HumanCheckQuestion) -> bool:
        """Answer, in many threads at a time. Whatever it raises, `HumanCheckError` or not, is *unknown*."""


class HumanCheckRunner:
    """Asks one verifier under the time limit of its settings."""

    def __init__(self, name: str, verifier: HumanCheckVerifier, settings: HumanCheckSettings, threads: int) -> None:
        """Keep the verifier under its name in the configuration; ``threads`` questions may run at the same time."""
        self._verifier = verifier
        self._settings = settings
        self._executor: TimeLimitedExecutor[tuple[HumanCheckOutcome, str]] = TimeLimitedExecutor(
            f"human check {name}", threads
        )

    def verify(self, token: str, address: str | None, application: str) -> tuple[HumanCheckOutcome, str]:
        """Return what became of a token, and why where that is unknown. Raises nothing."""
        question = HumanCheckQuestion(token, address, application)
        try:
            return self._executor.run(self._asking(question), self._settings.timeout)
        except TimeoutError:
            return HumanCheckOutcome.UNKNOWN, "timeout"
        except RuntimeError:  # the host has no thread left to give
            return HumanCheckOutcome.UNKNOWN, "no thread"

    def close(self) -> None:
        """End the threads; the verifier must not be asked afterwards."""
        self._executor.shutdown()

    def _asking(self, question: HumanCheckQuestion) -> Callable[[], tuple[HumanCheckOutcome, str]]:
        return lambda: self._ask(question)

    def _ask(self, question: HumanCheckQuestion) -> tuple[HumanCheckOutcome, str]:
        try:
            passed = self._verifier.passed(question)
        except HumanCheckError as failure:
            return HumanCheckOutcome.UNKNOWN, str(failure.args[0]) if failure.args else ""
        except BaseException as defect:  # noqa: BLE001 - a stranger's verifier must not take the process down
            return HumanCheckOutcome.UNKNOWN, f"defect {type(defect).__name__}"  # its text may hold the token
        return HumanCheckOutcome.PASSED if passed is True else HumanCheckOutcome.FAILED, ""


HUMAN_CHECK_ENTRY_POINTS = "otp_service.human_checks"
HUMAN_CHECK_KINDS: Final[PluginKinds[HumanCheckVerifier]] = PluginKinds(
    HUMAN_CHECK_ENTRY_POINTS, "verifier of human checks", ("kind", "Settings", "passed")
)
