"""The interface of a verifier of human checks, which examines an end user's token before a start.

The script of a start decides whether a check is needed (``start.lua``).
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Final, Protocol

from pydantic import BaseModel, ConfigDict, Field

from otp_service.gateways.base import CountryCode
from otp_service.plugins import PluginKinds
from otp_service.policies.base import PolicyContext, TimeLimitedExecutor


class HumanCheckOutcome(StrEnum):
    """The result of a check. A start that needs a check passes with `PASSED` only."""

    PASSED = "passed"
    FAILED = "failed"
    UNKNOWN = "unknown"
    """The verifier failed or timed out."""


class HumanCheckError(Exception):
    """The verifier has no answer. The text says why, in a word or two. It is logged and never contains the token."""


class HumanCheckSettings(BaseModel):
    """Settings of every verifier; each kind adds its own."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, serialize_by_alias=True)

    timeout: float = Field(default=1.0, gt=0, le=5)
    """Seconds that a start waits for the answer."""
    hosted_in: CountryCode | None = None
    """Country (ISO 3166-1 alpha-2) in which the verifier handles end users' addresses, for ``residency``."""


@dataclass(frozen=True, slots=True)
class HumanCheckRequest:
    """A token that an end user's browser or app got by passing a check. The ``repr`` does not show it."""

    token: str = field(repr=False)
    address: str | None = field(repr=False)
    """The end user's address, if the application passed it."""
    application: str


class HumanCheckVerifier(Protocol):
    """A provider of checks. The name of its entry point is its ``kind``."""

    kind: ClassVar[str]
    Settings: ClassVar[type[HumanCheckSettings]]

    def __init__(self, settings: Any, context: PolicyContext) -> None:  # noqa: ANN401 - its own Settings
        """Prepare to verify; opens no connection."""

    def passed(self, request: HumanCheckRequest) -> bool:
        """Check a token; called by many threads. Any exception, `HumanCheckError` or not, means *unknown*."""


class HumanCheckRunner:
    """Applies the time limit of the settings to a verifier."""

    def __init__(self, name: str, verifier: HumanCheckVerifier, settings: HumanCheckSettings, threads: int) -> None:
        self._verifier = verifier
        self._settings = settings
        self._executor: TimeLimitedExecutor[tuple[HumanCheckOutcome, str]] = TimeLimitedExecutor(
            f"human check {name}", threads
        )

    def verify(self, token: str, address: str | None, application: str) -> tuple[HumanCheckOutcome, str]:
        """Return the result of a token's check, and why it is unknown. Raises nothing."""
        request = HumanCheckRequest(token, address, application)
        try:
            return self._executor.run(lambda: self._verify(request), self._settings.timeout)
        except TimeoutError:
            return HumanCheckOutcome.UNKNOWN, "timeout"
        except RuntimeError:  # the host has no thread left
            return HumanCheckOutcome.UNKNOWN, "no thread"

    def close(self) -> None:
        """End the threads; no request may follow."""
        self._executor.shutdown()

    def _verify(self, request: HumanCheckRequest) -> tuple[HumanCheckOutcome, str]:
        try:
            passed = self._verifier.passed(request)
        except HumanCheckError as failure:
            return HumanCheckOutcome.UNKNOWN, str(failure.args[0]) if failure.args else ""
        except BaseException as defect:  # noqa: BLE001 - a site's verifier must not end the process
            return HumanCheckOutcome.UNKNOWN, f"defect {type(defect).__name__}"  # its text may contain the token
        return HumanCheckOutcome.PASSED if passed is True else HumanCheckOutcome.FAILED, ""


HUMAN_CHECK_ENTRY_POINTS = "otp_service.human_checks"
HUMAN_CHECK_KINDS: Final[PluginKinds[HumanCheckVerifier]] = PluginKinds(
    HUMAN_CHECK_ENTRY_POINTS, "verifier of human checks", ("kind", "Settings", "passed")
)
