"""The service in memory, for tests of your own program: no network, no waiting, codes that are known.

It knows verifications and the sandbox. What else you call, you answer yourself:
`fake.answers["GET /v1/endpoints"] = []`.
"""

import json
from collections import deque
from collections.abc import Mapping
from typing import Any

import httpx

from otp_service_client.client import AsyncOtpService, OtpService

STATUSES = {
    400: "invalid-request",
    401: "unauthenticated",
    403: "forbidden step-up-required recipient-suppressed recipient-frozen",
    404: "not-found",
    405: "method-not-allowed",
    409: "conflict already-redeemed factor-first factor-not-active factor-limit no-sends-left name-taken "
    "endpoint-limit",
    413: "body-too-large",
    415: "unsupported-media-type",
    422: "invalid-number number-type-not-allowed country-not-allowed number-not-allowed channel-not-available "
    "invalid-proof return-url-not-allowed invalid-result invalid-time invalid-transaction invalid-code "
    "number-mismatch invalid-secret client-ip-required consent-required consent-outdated consent-not-kept "
    "message-not-allowed invalid-application invalid-url idempotency-mismatch",
    429: "human-check-required rate-limited resend-too-soon",
    500: "internal",
    503: "store-unavailable ledger-mismatch ledger-unavailable overloaded service-unavailable backlog-full",
}
"""The codes of errors that `fail_with` takes, by their status."""
_AT = "2026-11-24T22:00:00Z"
_FINAL = ("approved", "canceled", "failed", "max_attempts_reached")
Json = dict[str, Any]


class Fake:
    """The service in memory."""

    def __init__(self, code: str) -> None:
        self.code = code
        """The right code of every verification."""
        self.answers: dict[str, Any] = {}
        """Answers to other calls, by method and path."""
        self.requests: list[tuple[str, Json]] = []
        """The requests: method and path, and the body."""
        self._failures: deque[Json] = deque()
        self._verifications: dict[str, Json] = {}
        self._numbers: dict[str, str] = {}
        self._done: dict[str, tuple[int, Json]] = {}

    def fail_with(self, code: str, *, times: int = 1, retry_after: int | None = None) -> None:
        """Let the next calls be refused with a code of docs/errors.md; raise `ValueError` for another."""
        status = next((status for status, codes in STATUSES.items() if code in codes.split()), None)
        if status is None:
            raise ValueError("unknown code of an error")
        self._failures.extend([_problem(status, code, retry_after)] * times)

    def answer(self, request: httpx.Request) -> httpx.Response:
        """Answer a request as the service would; raises nothing."""
        operation = f"{request.method} {request.url.path}"
        body: Json = json.loads(request.content or b"{}")
        self.requests.append((operation, body))
        if self._failures:
            problem = self._failures.popleft()
            return httpx.Response(problem["status"], json=problem)
        key = request.headers.get("Idempotency-Key")
        status, shown = self._done.get(key) or self._do(operation, body, request.url.params)
        if key and status < 300:  # noqa: PLR2004
            self._done[key] = status, shown
        return httpx.Response(status, json=shown)

    def _do(self, operation: str, body: Json, query: Mapping[str, str]) -> tuple[int, Any]:
        if operation in self.answers:
            return 200, self.answers[operation]
        if operation == "POST /v1/verifications":
            return self._start(body)
        if operation == "GET /v1/sandbox/messages":
            return 200, [
                self._caught(name) for name in reversed(self._verifications) if query.get("verification", name) == name
            ]
        _, _, rest = operation.partition(" /v1/verifications/")
        verification_id, _, act = rest.partition("/")
        verification = self._verifications.get(verification_id)
        if verification is None:
            return 404, _problem(404, "not-found", None, f"The fake has nothing for {operation}: see its `answers`.")
        return {"": self._get, "check": self._check, "resend": self._resend, "cancel": self._cancel}[act](
            verification, body
        )

    def _start(self, body: Json) -> tuple[int, Json]:
        number = f"vf_fake_{len(self._verifications) + 1}"
        delivery = {
            "channel": "sms", "gateway": "fake", "status": "sent", "at": _AT, "reason": None, "message": 1,
            "choice": "configured", "begun_at": _AT, "raw_status": None,
        }  # fmt: skip
        transaction = body.get("transaction")
        verification = {
            "id": number, "status": "pending", "to": f"••••{body['to'][-3:]}", "country": "PK", "channel": "sms",
            "purpose": body.get("purpose", "login"), "locale": "en", "created_at": _AT, "expires_at": _AT,
            "checks_left": 5, "sends_left": 2, "resend_after": _AT, "metadata": body.get("metadata", {}),
            "transaction": transaction and {"account": None, "reference": None, **transaction},
            "user": body.get("user"), "page": None, "deliveries": [delivery],
        }  # fmt: skip
        self._verifications[number] = verification
        self._numbers[number] = _plain(body["to"])
        return 201, {**verification, "destination": self._numbers[number], "client_token": None}

    def _get(self, verification: Json, _: Json) -> tuple[int, Json]:
        return 200, dict(verification)

    def _check(self, verification: Json, body: Json) -> tuple[int, Json]:
        if body.get("to") is not None and _plain(body["to"]) != self._numbers[verification["id"]]:
            return 422, _problem(422, "number-mismatch", None)
        reason = {"pending": None, "approved": "already_approved"}.get(verification["status"], verification["status"])
        payment = body.get("transaction")
        if (
            reason is None
            and (payment and {"account": None, "reference": None, **payment}) != verification["transaction"]
        ):
            verification["status"], reason = "failed", "transaction_changed"
        elif reason is None and body["code"] == self.code:
            verification["status"] = "approved"
        elif reason is None:
            verification["checks_left"] -= 1
            reason = "wrong_code"
        if verification["status"] == "pending" and verification["checks_left"] == 0:
            verification["status"] = "max_attempts_reached"
        shown = {name: verification[name] for name in ("id", "status", "checks_left")}
        return 200, {**shown, "valid": reason is None, "reason": reason, "proof": None}

    def _resend(self, verification: Json, _: Json) -> tuple[int, Json]:
        if verification["status"] in _FINAL:
            return 409, _problem(409, "conflict", None)
        if verification["sends_left"] == 0:
            return 409, _problem(409, "no-sends-left", None)
        verification["sends_left"] -= 1
        return 202, dict(verification)

    def _cancel(self, verification: Json, _: Json) -> tuple[int, Json]:
        if verification["status"] in _FINAL:
            return 409, _problem(409, "conflict", None)
        verification["status"] = "canceled"
        return 200, dict(verification)

    def _caught(self, number: str) -> Json:
        verification = self._verifications[number]
        to, channel, text = verification["to"], verification["channel"], f"Your code is {self.code}."
        return {"verification": number, "to": to, "channel": channel, "sender": None, "text": text, "at": _AT}


class FakeOtpService(Fake, OtpService):
    """An `OtpService` that needs none. It repeats nothing, so that one `fail_with` is one error."""

    def __init__(self, *, code: str = "123456") -> None:
        Fake.__init__(self, code)
        OtpService.__init__(self, "http://fake", "fake", retries=0, transport=httpx.MockTransport(self.answer))


class AsyncFakeOtpService(Fake, AsyncOtpService):
    """An `AsyncOtpService` that needs none."""

    def __init__(self, *, code: str = "123456") -> None:
        Fake.__init__(self, code)
        AsyncOtpService.__init__(self, "http://fake", "fake", retries=0, transport=httpx.MockTransport(self.answer))


def _plain(spelling: str) -> str:
    """Return a number in E.164, as the service would: of Pakistan where it is spelled without its country."""
    digits = "".join(str(int(digit)) for digit in spelling if digit.isdecimal())
    if spelling.startswith("+"):
        return f"+{digits}"
    return f"+{digits[2:]}" if digits.startswith("00") else f"+92{digits.removeprefix('0')}"


def _problem(status: int, code: str, retry_after: int | None, detail: str = "As the test asked.") -> Json:
    problem = {"type": f"/problems/{code}", "title": code, "status": status, "detail": detail, "code": code}
    return problem if retry_after is None else {**problem, "retry_after": retry_after}
