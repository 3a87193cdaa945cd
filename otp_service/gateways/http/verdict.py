"""What an answer means, by conditions in the configuration: success, a failure of a kind, a reference."""

import re
from collections.abc import Mapping
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from otp_service.gateways.base import FailureKind, GatewayError
from otp_service.gateways.http.dotted import Scalar, as_text, value_at
from otp_service.gateways.wire import Answer, failure_of_status


class Part(BaseModel):
    """A table within the section of an ``http`` gateway."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, serialize_by_alias=True)


class Condition(Part):
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
            and all(value_at(answer.text, path) in {*map(as_text, values)} for path, values in self.paths.items())
            and (self.text is None or self.text.search(answer.text) is not None)
        )


class Failure(Condition):
    """A condition, and what it means."""

    kind: FailureKind
    code: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_. -]{1,40}$")
    """What operators are told; the status by default, never words of the answer, which may repeat the message."""
    ambiguous: bool = False
    """The message may be sent all the same: delivery goes on once at most."""
    of_message: bool = False
    """It is about this message, and tells nothing of the gateway's health."""
    opted_out: bool = False
    """The number's holder told the provider to want no messages: ours are kept back, too."""

    def error(self, answer: Answer) -> GatewayError:
        """Return what it means for an answer for which it holds."""
        code = self.code or f"http {answer.status}"
        return GatewayError(
            self.kind,
            code,
            ambiguous=self.ambiguous,
            retry_after=answer.retry_after,
            of_message=self.of_message,
            opted_out=self.opted_out,
        )


class Reference(Part):
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
        return value_at(answer.text, self.path) if self.path is not None else self._matched(answer)

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
            return failure.error(answer)
    good = 200 <= answer.status < 300  # noqa: PLR2004 - the statuses of success
    if success.holds(answer) and (success.status or good) if success else good:
        return None
    if good:
        return GatewayError(
            FailureKind.UNAVAILABLE, f"http {answer.status} without the mark of success", ambiguous=True
        )
    return failure_of_status(answer.status, retry_after=answer.retry_after)
