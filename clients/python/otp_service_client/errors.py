"""What a call may raise; every error is an `OtpError`, and none has a key, a code, a secret or a number in its text."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar


class OtpError(Exception):
    """Anything that goes wrong with the service or with what comes from it."""


class ConnectionFailed(OtpError):
    """No connection, or it broke. The request may have been done: repeat it with the same `idempotency_key`."""


class TimedOut(OtpError):
    """No whole answer before the time was over. The request may have been done, as after `ConnectionFailed`."""


class InvalidWebhook(OtpError):
    """What claims to be a webhook was not signed with the secret, or not recently: do not believe it."""


class InvalidProof(OtpError):
    """A proof for another purpose or person, too old, used before, or malformed: refuse what it asks for."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A member of a body that the service did not take."""

    pointer: str
    """JSON pointer (RFC 6901); empty for the body as a whole, the query or a header."""
    message: str


class ApiError(OtpError):
    """The service refused: its problem document (RFC 9457). Go by `code`; docs/errors.md says what each means."""

    kinds: ClassVar[dict[int, type["ApiError"]]] = {}

    def __init__(self, status: int, problem: Mapping[str, Any], request_id: str | None = None) -> None:
        self._problem = problem
        self.status = status
        self.code = _text(problem, "code") or ""
        """Empty where another server answered, such as a proxy."""
        self.title = _text(problem, "title") or ""
        self.detail = _text(problem, "detail") or ""
        """For the people who run your back end, not for end users."""
        self.retry_after = delay_of(str(problem.get("retry_after")))
        """Seconds after which it may work."""
        self.decision = _text(problem, "decision")
        """Of the rule that refused: log it, for your operator to look up."""
        faults = (fault for fault in _list(problem, "errors") if isinstance(fault, dict))
        self.errors = tuple(Fault(_text(fault, "pointer") or "", _text(fault, "message") or "") for fault in faults)
        self.factors = tuple(factor for factor in _list(problem, "factors") if isinstance(factor, str))
        """With `factor-first`: the ids of the user's apps."""
        self.request_id = request_id
        """Names the request in the service's log."""
        super().__init__(f"{status} {self.code or 'answer of another server'}: {self.detail or self.title}")

    def __reduce__(self) -> tuple[Any, ...]:
        """Let it pass between processes."""
        return type(self), (self.status, self._problem, self.request_id)

    @staticmethod
    def of(status: int, problem: Mapping[str, Any], request_id: str | None = None) -> "ApiError":
        """Return the error of a status. The service has one status for each code, so this is by code too."""
        other = ApiError if 400 <= status < 500 else Unavailable  # noqa: PLR2004
        return ApiError.kinds.get(status, other)(status, problem, request_id)


class InvalidRequest(ApiError):
    """A defect of the program: `errors` says where. 400, 405, 413 and 415."""


class Unauthenticated(ApiError):
    """The key is missing, wrong or over. 401."""


class Forbidden(ApiError):
    """Not allowed for the application, the key or the number. 403."""


class NotFound(ApiError):
    """Not found, or no longer there. 404."""


class Conflict(ApiError):
    """Not allowed in the current state: final, used up, or too late. 409."""


class Refused(ApiError):
    """Well formed, but not acceptable: a number, a code, a purpose. 422."""


class RateLimited(ApiError):
    """Too often: wait `retry_after` seconds. 429; never repeated by itself."""


class Unavailable(ApiError):
    """The service could not answer, or another server did, such as a proxy. 5xx, or no JSON."""


ApiError.kinds = {
    400: InvalidRequest, 401: Unauthenticated, 403: Forbidden, 404: NotFound, 405: InvalidRequest, 409: Conflict,
    413: InvalidRequest, 415: InvalidRequest, 422: Refused, 429: RateLimited,
}  # fmt: skip


# A proxy refuses in JSON too, of whatever form: what is not as the service has it is left out.


def delay_of(text: str) -> int | None:
    """Return whole seconds; `None` for a date, for what is negative or no number, and for more than ten digits."""
    return int(text) if re.fullmatch("[0-9]{1,10}", text) else None


def _text(problem: Mapping[str, Any], name: str) -> str | None:
    value = problem.get(name)
    return value if isinstance(value, str) else None


def _list(problem: Mapping[str, Any], name: str) -> list[Any]:
    value = problem.get(name)
    return value if isinstance(value, list) else []
