"""Errors as problem details (RFC 9457)."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

from pydantic import ConfigDict, JsonValue
from pydantic.json_schema import SkipJsonSchema
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from otp_service.api.exchange import Exchange, add_quota_headers
from otp_service.api.routes import Answer, type_adapter
from otp_service.errors import (
    FactorFirstError,
    Fault,
    InvalidRequestError,
    OtpServiceError,
    RateLimitedError,
    StoreUnavailableError,
)
from otp_service.telemetry import metrics
from otp_service.telemetry.logging import get_logger

PROBLEM_JSON = "application/problem+json"

_log = get_logger(__name__)
_EXAMPLE: dict[str, JsonValue] = {
    "type": "/problems/resend-too-soon",
    "title": "Too soon for another message",
    "status": 429,
    "detail": "The last message was sent too recently.",
    "code": "resend-too-soon",
    "retry_after": 30,
}


@dataclass(frozen=True, slots=True)
class ProblemKind:
    """Common properties of problems with the same code. Texts are Markdown with links from the folder ``docs``."""

    status: int
    title: str
    when: str
    """Causes."""
    do: str
    """Advice for callers."""


@dataclass(frozen=True, slots=True)
class ProblemDocument:
    """What every error looks like (RFC 9457). Go by `code`; `detail` is for people and may change."""

    __pydantic_config__ = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    type: str
    """`/problems/` and the code."""
    title: str
    """The same for all errors with this code."""
    status: int
    """The status of the HTTP response."""
    detail: str
    """What was wrong this time; never what was sent."""
    code: str
    """One of the codes in the description of the response."""
    retry_after: int | SkipJsonSchema[None] = None
    """Seconds to wait; equal to the header `Retry-After`. Only where waiting helps."""
    decision: str | SkipJsonSchema[None] = None
    """Names the refusal to the operator, who can look up which rule it was. Only where a rule refused."""
    factors: list[str] | SkipJsonSchema[None] = None
    """Identifiers of the person's authenticator apps. Only with `factor-first`."""
    errors: list[Fault] | SkipJsonSchema[None] = None
    """The defects of a malformed request. The pointer (RFC 6901) is empty for the body as a whole, the query and
    the headers. Only with `invalid-request`."""


PROBLEM_KINDS: Mapping[str, ProblemKind] = {
    code: ProblemKind(**kind)
    for code, kind in tomllib.loads(
        resources.files(__package__).joinpath("problems.toml").read_text(encoding="utf-8")
    ).items()
}
"""By the code of an error."""

_OF_HTTP = {
    400: ("invalid-request", "The request cannot be read."),
    404: ("not-found", "There is nothing at this path. The API is described at /docs."),
    405: ("method-not-allowed", "This path does not take this method; the header Allow names those it takes."),
    413: ("body-too-large", "The body is larger than this call accepts."),
    415: ("unsupported-media-type", "The body has to be JSON: Content-Type: application/json."),
}
"""Code and detail of the framework's errors by status; other client errors are like 400."""
PROBLEM = type_adapter(ProblemDocument)


def answer_error(exchange: Exchange, error: Exception) -> Answer:
    """Return the problem document of an error; a defect of the service is logged."""
    exchange.headers.clear()
    if isinstance(error, HTTPException) and error.code is not None and error.code in range(400, 500):
        code, detail = _OF_HTTP.get(error.code, _OF_HTTP[400])
        if isinstance(error, MethodNotAllowed) and error.valid_methods:
            exchange.headers["Allow"] = ", ".join(sorted(error.valid_methods))
        return _problem(exchange, code, detail, (Fault("", detail),) if code == "invalid-request" else ())
    if isinstance(error, OtpServiceError) and PROBLEM_KINDS[error.code].status != PROBLEM_KINDS["internal"].status:
        return _domain_problem(exchange, error)
    _log.error("request_failed", request_id=exchange.request_id, exc_info=error)
    detail = "The service failed; its operator finds more in the log, by the X-Request-Id of this answer."
    return _problem(exchange, "internal", detail)


def _problem(
    exchange: Exchange, code: str, detail: str, faults: tuple[Fault, ...] = (), error: OtpServiceError | None = None
) -> Answer:
    kind = PROBLEM_KINDS[code]
    retry_after, decision = (error.retry_after, error.decision) if error else (None, None)
    exchange.problem, exchange.decision = code, decision  # for the request's line in the log
    if retry_after is not None:
        exchange.headers["Retry-After"] = str(retry_after)
    if exchange.dialect:
        return exchange.dialect.error(code, faults)
    document = ProblemDocument(
        type=f"/problems/{code}",
        title=kind.title,
        status=kind.status,
        detail=detail,
        code=code,
        retry_after=retry_after,
        decision=decision,
        factors=list(error.factors) if isinstance(error, FactorFirstError) else None,
        errors=list(faults) or None,
    )
    return Answer(PROBLEM.dump_json(document, exclude_none=True), kind.status, PROBLEM_JSON)


def _domain_problem(exchange: Exchange, error: OtpServiceError) -> Answer:
    if isinstance(error, StoreUnavailableError):
        metrics.store_errors.count(operation=exchange.route.endpoint if exchange.route else "unknown")
    detail = str(error)
    faults: tuple[Fault, ...] = ()
    if isinstance(error, InvalidRequestError):  # without faults in members, the whole body is at fault
        faults = error.faults or (Fault("", detail),)
    if exchange.client_token and isinstance(error, RateLimitedError):
        detail = f"{PROBLEM_KINDS[error.code].title}."  # quota and ceilings are the application's own matter
    answer = _problem(exchange, error.code, detail, faults, error)
    if answer.status == PROBLEM_KINDS["unauthenticated"].status:
        exchange.headers["WWW-Authenticate"] = exchange.dialect.challenge if exchange.dialect else "Bearer"
    if isinstance(error, RateLimitedError):
        add_quota_headers(exchange, error.quota)
    return answer
