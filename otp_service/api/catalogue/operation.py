"""The calls of those who operate the service, in words."""

from typing import Any

from pydantic import TypeAdapter

from otp_service.api import answers
from otp_service.api.catalogue.call import Call, Success, in_path

_SECTION = "Operation"
_TEXT = "text/plain"
_HTML = "text/html"

_PROBLEM = in_path("problem", "One of the codes of errors.", "resend-too-soon")

CALLS = (
    Call(
        name="alive",
        method="get",
        path="/healthz",
        section=_SECTION,
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
        section=_SECTION,
        summary="Can the service work?",
        description="Looks whether Redis serves, and whether anything keeps all starts back: `starts` is `accepted`, "
        "or why not. A server that was asked to end says `leaving`, and goes on to answer "
        "for a while. `worker_age` is how many seconds ago a worker was last seen, null "
        "when none was lately: told, not judged. `ledger` is what the last look found: `ok`, `unavailable` (starts go "
        "on by what is known), `behind`, or why starts wait for an operator.",
        successes=(
            Success(200, "It can.", answers.HEALTH),
            Success(503, "It cannot, or refuses all starts.", answers.HEALTH),
        ),
        problems=("internal",),
        authenticated=False,
    ),
    Call(
        name="ready_for_checks",
        method="get",
        path="/readyz/checks",
        section=_SECTION,
        summary="Can it work but for starts?",
        description="As `/readyz`, whatever keeps starts back: checks, receipts and inbound messages go on.",
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
        section=_SECTION,
        summary="Metrics",
        description="In the text format of Prometheus. Served here only where the configuration says so.",
        successes=(Success(200, "All metrics.", media_type=_TEXT),),
        problems=("internal", "overloaded"),
        authenticated=False,
    ),
    Call(
        name="specification",
        method="get",
        path="/openapi.json",
        section=_SECTION,
        summary="This specification",
        description="OpenAPI 3.1.",
        successes=(Success(200, "The specification.", TypeAdapter(dict[str, Any])),),
        problems=("internal", "overloaded"),
        authenticated=False,
    ),
    Call(
        name="documentation",
        method="get",
        path="/docs",
        section=_SECTION,
        summary="This page",
        description="The same for people.",
        successes=(Success(200, "A page.", media_type=_HTML),),
        problems=("internal", "overloaded"),
        authenticated=False,
    ),
    Call(
        name="problem",
        method="get",
        path="/problems/{problem}",
        section=_SECTION,
        summary="A problem",
        description="What the `type` of an error leads to: when it comes, and what to do.",
        successes=(Success(200, "A page.", media_type=_HTML),),
        problems=("not-found", "internal", "overloaded"),
        parameters=(_PROBLEM,),
        authenticated=False,
    ),
)
