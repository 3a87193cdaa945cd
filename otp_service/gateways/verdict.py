"""What an answer means, by conditions in the configuration: success, a failure of a kind, a reference."""

import json
import re
from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from otp_service.gateways.base import FailureKind, GatewayError
from otp_service.gateways.wire import Answer, failure_of_status

Scalar = str | int | float | bool | None


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, serialize_by_alias=True)


class Condition(_Part):
    """Holds when all that is set in it holds."""

    status: tuple[int, ...] = ()
    """HTTP statuses."""
    paths: Mapping[str, tuple[Scalar, ...]] = Field(default_factory=dict, alias="json")
    """Values by dotted path (``messages.0.status``); compared as text, so that ``0`` and ``"0"`` are equal."""
    text: re.Pattern[str] | None = None
    """Pattern found in the body."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not (self.status or self.paths or self.text):
            raise ValueError("needs status, json or text")
        return self

    def holds(self, answer: Answer) -> bool:
        """Tell whether an answer is so."""
        return (
            (not self.status or answer.status in self.status)
            and all(_at(answer, path) in {*map(_as_text, values)} for path, values in self.paths.items())
            and (self.text is None or self.text.search(answer.text) is not None)
        )


class Failure(Condition):
    """A condition, and what it means."""

    kind: FailureKind
    code: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_. -]{1,40}$")
    """What operators are told; the status by default, never words of the answer, which may repeat the message."""


class Reference(_Part):
    """Where the provider's reference stands: one of the two."""

    path: str | None = Field(default=None, alias="json")
    """Dotted path."""
    pattern: re.Pattern[str] | None = Field(default=None, alias="text")
    """Pattern with one group."""

    @model_validator(mode="after")
    def _is_one_place(self) -> Self:
        if (self.path is None) == (self.pattern is None):
            raise ValueError("needs either json or text")
        if self.pattern is not None and self.pattern.groups != 1:
            raise ValueError("text needs exactly one group")
        return self

    def of(self, answer: Answer) -> str | None:
        """Return what stands there, or ``None`` when there is nothing."""
        return _at(answer, self.path) if self.path is not None else self._matched(answer)

    def _matched(self, answer: Answer) -> str | None:
        match = self.pattern.search(answer.text) if self.pattern else None
        return match[1] if match else None


def failure_of(answer: Answer, success: Condition | None, failures: tuple[Failure, ...]) -> GatewayError | None:
    """Return why an answer is not a success; ``None`` when it is one.

    The failures are looked at first, in their order. A success without statuses needs a good one (2xx). A good
    status without the mark of success is *unavailable* and ambiguous: the provider may have sent the message, and
    said so in words that the configuration lacks.
    """
    for failure in failures:
        if failure.holds(answer):
            return GatewayError(failure.kind, failure.code or f"http {answer.status}")
    good = 200 <= answer.status < 300  # noqa: PLR2004 - the statuses of success
    if success.holds(answer) and (success.status or good) if success else good:
        return None
    if good:
        return GatewayError(
            FailureKind.UNAVAILABLE, f"http {answer.status} without the mark of success", ambiguous=True
        )
    return failure_of_status(answer.status)


def _at(answer: Answer, path: str) -> str | None:
    """Return a value of an answer in JSON as text; ``None`` when there is none."""
    try:
        value: Any = json.loads(answer.text)
        for step in path.split("."):
            value = value[int(step)] if isinstance(value, list) else value[step]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return _as_text(value)


def _as_text(value: Any) -> str:  # noqa: ANN401 - whatever JSON is
    return value if isinstance(value, str) else json.dumps(value)
