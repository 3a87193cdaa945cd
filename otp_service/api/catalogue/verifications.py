"""The calls on verifications, in words."""

from otp_service.api import answers, schemas
from otp_service.api.catalogue.call import BODY, COMMON, Call, Success, in_path

_SECTION = "Verifications"
_ID = in_path("verification_id", "The `id` of the verification.", "vf_k1_0012ab34cd56ef7890a1b2c3d4e5f60718")
_RETRY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Makes the request safe to repeat: same key and same body, the first answer again, and nothing "
    "is done twice. Any text of your own without a comma, new for each new request.",
    "schema": {"type": "string", "pattern": r'^"?[!#-+\--~][!-+\--~]{0,254}$'},
    "example": "order-1093-login",
}
_QUOTA_HEADERS = {
    "RateLimit-Policy": 'The application\'s own quota, such as `"application";q=6000;w=60`.',
    "RateLimit": 'What is left of it, such as `"application";r=5999;t=60`.',
}

CALLS = (
    Call(
        name="startVerification",
        method="post",
        path="/v1/verifications",
        section=_SECTION,
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
            *COMMON,
            *BODY,
            "idempotency-mismatch",
            "recipient-suppressed",
            "recipient-frozen",
            "invalid-number",
            "number-type-not-allowed",
            "country-not-allowed",
            "number-not-allowed",
            "channel-not-available",
            "invalid-transaction",
            "invalid-time",
            "client-ip-required",
            "consent-required",
            "consent-outdated",
            "consent-not-kept",
            "message-not-cleared",
            "rate-limited",
            "backlog-full",
            "ledger-mismatch",
            "ledger-unavailable",
        ),
        parameters=(_RETRY,),
        body=schemas.StartBody,
        body_required=True,
    ),
    Call(
        name="readVerification",
        method="get",
        path="/v1/verifications/{verification_id}",
        section=_SECTION,
        summary="Read a verification",
        description="Shows its status and what became of its messages. Known until ten minutes after the code's "
        "life. Reading never counts, sends or checks anything.",
        successes=(Success(200, "The verification.", answers.VERIFICATION),),
        problems=(*COMMON, "not-found"),
        parameters=(_ID,),
    ),
    Call(
        name="checkCode",
        method="post",
        path="/v1/verifications/{verification_id}/check",
        section=_SECTION,
        summary="Check a code",
        description="Compares the code that the person typed, once. A wrong code is a result, not an error: look at "
        "`valid`. What cannot be a code of this verification is refused with 422 and is not counted as a guess.",
        successes=(Success(200, "The result, right or wrong.", answers.CHECK),),
        problems=(*COMMON, *BODY, "idempotency-mismatch", "not-found", "invalid-code", "invalid-transaction"),
        parameters=(_ID, _RETRY),
        body=schemas.CheckBody,
        body_required=True,
    ),
    Call(
        name="resendCode",
        method="post",
        path="/v1/verifications/{verification_id}/resend",
        section=_SECTION,
        summary="Send the code again",
        description="Queues a further message, not before `resend_after`. It buys no new guesses and no longer life.",
        successes=(Success(202, "Queued.", answers.VERIFICATION, headers=_QUOTA_HEADERS),),
        problems=(
            *COMMON,
            *BODY,
            "idempotency-mismatch",
            "recipient-suppressed",
            "recipient-frozen",
            "not-found",
            "conflict",
            "no-sends-left",
            "channel-not-available",
            "rate-limited",
            "resend-too-soon",
            "consent-required",
            "ledger-mismatch",
            "ledger-unavailable",
            "backlog-full",
        ),
        parameters=(_ID, _RETRY),
        body=schemas.ResendBody,
    ),
    Call(
        name="cancelVerification",
        method="post",
        path="/v1/verifications/{verification_id}/cancel",
        section=_SECTION,
        summary="Cancel a verification",
        description="Ends it: its code is dead, and a message that still waits is not sent.",
        successes=(Success(200, "Canceled.", answers.VERIFICATION),),
        problems=(*COMMON, *BODY, "idempotency-mismatch", "not-found", "conflict"),
        parameters=(_ID, _RETRY),
        body=schemas.CancelBody,
    ),
)
