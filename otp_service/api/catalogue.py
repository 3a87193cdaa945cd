"""Every call of the API in words: what the specification says of it beyond its bodies."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from otp_service.api import answers, schemas

Headers = Mapping[str, str]
Schema = Mapping[str, Any]

TEXT = "text/plain"
HTML = "text/html"

_COMMON = ("invalid-request", "unauthenticated", "internal", "store-unavailable")
_BODY = ("body-too-large", "unsupported-media-type", "idempotency-mismatch")
_ID = {
    "name": "verification_id",
    "in": "path",
    "required": True,
    "description": "The `id` of the verification.",
    "schema": {"type": "string"},
    "example": "vf_k1_0012ab34cd56ef7890a1b2c3d4e5f60718",
}
_RETRY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Makes the request safe to repeat: same key and same body, the first answer again, and nothing "
    "is done twice. Any text of your own, new for each new request.",
    "schema": {"type": "string", "pattern": '^"?[!#-~][!-~]{0,254}$'},
    "example": "order-1093-login",
}
_CAUGHT_OF = {
    "name": "verification",
    "in": "query",
    "required": False,
    "description": "Only the messages of this verification. Default: the last 100 of the application.",
    "schema": {"type": "string", "minLength": 1},
}
_GATEWAY = {
    "name": "gateway",
    "in": "path",
    "required": True,
    "description": "Name of the gateway in the configuration.",
    "schema": {"type": "string"},
    "example": "primary",
}
_DISPATCH = {
    "name": "dispatch_id",
    "in": "path",
    "required": True,
    "description": "The id that the service gave the gateway with the message.",
    "schema": {"type": "string"},
    "example": "dp_0012ab34cd56ef7890a1b2c3d4e5f60718",
}
_QUOTA_HEADERS = {
    "RateLimit-Policy": 'The application\'s own quota, such as `"application";q=6000;w=60`.',
    "RateLimit": 'What is left of it, such as `"application";r=5999;t=60`.',
}


@dataclass(frozen=True, slots=True)
class Success:
    """The answer when all is well."""

    status: int
    description: str
    answer: TypeAdapter[Any] | None = None
    """What the body is written with; ``None`` when it is not JSON."""
    media_type: str | None = answers.JSON
    """``None`` when there is no body."""
    headers: Headers | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """One call."""

    name: str
    """``operationId``."""
    method: str
    path: str
    """As a URI template."""
    section: str
    summary: str
    description: str
    successes: tuple[Success, ...]
    problems: tuple[str, ...] = ()
    """Codes of errors."""
    parameters: tuple[Schema, ...] = ()
    body: type[schemas.Body] | None = None
    body_required: bool = False
    any_body: bool = False
    """Takes a body of any type."""
    authenticated: bool = True


_VERIFICATIONS = "Verifications"
_DEVELOPMENT = "Development"
_GATEWAYS = "Gateways"
_OPERATION = "Operation"


def _report(name: str, method: str, summary: str) -> Call:
    """Return the call of gateways, by one of the two methods that providers know."""
    return Call(
        name=name,
        method=method,
        path="/v1/receipts/{gateway}/{dispatch_id}",
        section=_GATEWAYS,
        summary=summary,
        description="For gateways, not for applications: a gateway's report on a message, proven in its own way by a "
        "signature, a token in the address, or where it comes from. A report changes what is shown of a delivery and "
        "never approves anything.",
        successes=(Success(204, "Taken.", media_type=None),),
        problems=("unauthenticated", "not-found", "body-too-large", "internal", "store-unavailable"),
        parameters=(_GATEWAY, _DISPATCH),
        any_body=method == "post",
        authenticated=False,
    )


CALLS = (
    Call(
        name="startVerification",
        method="post",
        path="/v1/verifications",
        section=_VERIFICATIONS,
        summary="Start a verification",
        description="Sends a code to a number. Accepted means: the message is queued, and will be delivered or "
        "reported as not. A refused start sends nothing and counts nowhere.",
        successes=(
            Success(
                201,
                "Started.",
                answers.VERIFICATION,
                headers={"Location": "Path of the verification.", **_QUOTA_HEADERS},
            ),
        ),
        problems=(
            *_COMMON,
            *_BODY,
            "forbidden",
            "recipient-suppressed",
            "invalid-number",
            "number-type-not-allowed",
            "country-not-allowed",
            "number-not-allowed",
            "channel-not-available",
            "invalid-transaction",
            "client-ip-required",
            "rate-limited",
            "backlog-full",
        ),
        parameters=(_RETRY,),
        body=schemas.StartBody,
        body_required=True,
    ),
    Call(
        name="readVerification",
        method="get",
        path="/v1/verifications/{verification_id}",
        section=_VERIFICATIONS,
        summary="Read a verification",
        description="Shows its status and what became of its messages. Known until ten minutes after the code's "
        "life. Reading never counts, sends or checks anything.",
        successes=(Success(200, "The verification.", answers.VERIFICATION),),
        problems=(*_COMMON, "not-found"),
        parameters=(_ID,),
    ),
    Call(
        name="checkCode",
        method="post",
        path="/v1/verifications/{verification_id}/check",
        section=_VERIFICATIONS,
        summary="Check a code",
        description="Compares the code that the person typed, once. A wrong code is a result, not an error: look at "
        "`valid`. What cannot be a code of this verification is refused with 422 and is not counted as a guess.",
        successes=(Success(200, "The result, right or wrong.", answers.CHECK),),
        problems=(*_COMMON, *_BODY, "not-found", "invalid-code", "invalid-transaction"),
        parameters=(_ID, _RETRY),
        body=schemas.CheckBody,
        body_required=True,
    ),
    Call(
        name="resendCode",
        method="post",
        path="/v1/verifications/{verification_id}/resend",
        section=_VERIFICATIONS,
        summary="Send the code again",
        description="Queues a further message, not before `resend_after`. It buys no new guesses and no longer life.",
        successes=(Success(202, "Queued.", answers.VERIFICATION, headers=_QUOTA_HEADERS),),
        problems=(
            *_COMMON,
            *_BODY,
            "recipient-suppressed",
            "not-found",
            "conflict",
            "no-sends-left",
            "channel-not-available",
            "rate-limited",
            "resend-too-soon",
            "backlog-full",
        ),
        parameters=(_ID, _RETRY),
        body=schemas.ResendBody,
    ),
    Call(
        name="cancelVerification",
        method="post",
        path="/v1/verifications/{verification_id}/cancel",
        section=_VERIFICATIONS,
        summary="Cancel a verification",
        description="Ends it: its code is dead, and a message that still waits is not sent.",
        successes=(Success(200, "Canceled.", answers.VERIFICATION),),
        problems=(*_COMMON, *_BODY, "not-found", "conflict"),
        parameters=(_ID, _RETRY),
        body=schemas.CancelBody,
    ),
    Call(
        name="listCaughtMessages",
        method="get",
        path="/v1/sandbox/messages",
        section=_DEVELOPMENT,
        summary="Read what the sandbox caught",
        description="The application's messages that the sandbox gateway caught instead of sending, newest first. "
        "Only where a sandbox gateway is configured, which is never in production.",
        successes=(Success(200, "The messages.", answers.CAUGHT),),
        problems=(*_COMMON, "not-found"),
        parameters=(_CAUGHT_OF,),
    ),
    _report("reportDelivery", "post", "Report a delivery"),
    _report("reportDeliveryByGet", "get", "Report a delivery, in the query"),
    Call(
        name="alive",
        method="get",
        path="/healthz",
        section=_OPERATION,
        summary="Is the process alive?",
        description="Asks nothing of anybody else.",
        successes=(Success(200, "It is.", answers.HEALTH),),
        problems=("internal",),
        authenticated=False,
    ),
    Call(
        name="ready",
        method="get",
        path="/readyz",
        section=_OPERATION,
        summary="Can the service work?",
        description="Looks whether Redis answers. `worker_age` is how many seconds ago a worker was last seen, null "
        "when none was lately; it is told, not judged.",
        successes=(
            Success(200, "It can.", answers.HEALTH),
            Success(503, "It cannot.", answers.HEALTH),
        ),
        problems=("internal",),
        authenticated=False,
    ),
    Call(
        name="metrics",
        method="get",
        path="/metrics",
        section=_OPERATION,
        summary="Metrics",
        description="In the text format of Prometheus. Served here only where the configuration says so.",
        successes=(Success(200, "All metrics.", media_type=TEXT),),
        problems=("internal",),
        authenticated=False,
    ),
    Call(
        name="specification",
        method="get",
        path="/openapi.json",
        section=_OPERATION,
        summary="This specification",
        description="OpenAPI 3.1.",
        successes=(Success(200, "The specification.", TypeAdapter(dict[str, Any])),),
        problems=("internal",),
        authenticated=False,
    ),
    Call(
        name="documentation",
        method="get",
        path="/docs",
        section=_OPERATION,
        summary="This page",
        description="The same for people.",
        successes=(Success(200, "A page.", media_type=HTML),),
        problems=("internal",),
        authenticated=False,
    ),
)
