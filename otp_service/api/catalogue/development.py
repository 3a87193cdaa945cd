"""The calls that help with development, in words."""

from otp_service.api import answers
from otp_service.api.catalogue.call import COMMON, Call, Success

_CAUGHT_OF = {
    "name": "verification",
    "in": "query",
    "required": False,
    "description": "Only the messages of this verification. Default: the last 100 of the application.",
    "schema": {"type": "string", "minLength": 1},
}

CALLS = (
    Call(
        name="listCaughtMessages",
        method="get",
        path="/v1/sandbox/messages",
        section="Development",
        summary="Read what the sandbox caught",
        description="The application's messages that the sandbox gateway caught instead of sending, newest first. "
        "Only where a sandbox gateway is configured, which is never in production.",
        successes=(Success(200, "The messages.", answers.CAUGHT),),
        problems=(*COMMON, "not-found"),
        parameters=(_CAUGHT_OF,),
    ),
)
