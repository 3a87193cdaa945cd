"""The calls on consents, suppressions and what is held of a person, in words."""

from otp_service.api import people_answers, people_schemas
from otp_service.api.catalogue.call import BODY, COMMON, Call, Success

_CONSENTS, _SUPPRESSIONS, _SUBJECTS = "Consents", "Suppressions", "Subjects"
_NUMBER = ("invalid-number", "number-type-not-allowed", "ledger-mismatch", "ledger-unavailable")
_CONSENT = (*COMMON, *BODY, *_NUMBER, "forbidden", "consent-not-kept")
_SHOWN = (Success(200, "What is recorded.", people_answers.CONSENT),)
_FROZEN = (Success(200, "How the number stands.", people_answers.FREEZE),)
_LISTED = (Success(200, "What is recorded.", people_answers.SUPPRESSIONS),)

CALLS = (
    Call(
        name="recordConsent",
        method="put",
        path="/v1/consents",
        section=_CONSENTS,
        summary="Record a consent",
        description="Records that somebody agreed to codes for a purpose, with what shows it. It is in force when this "
        "is answered. What is recorded is never changed, only followed by another entry. A consent that was not given "
        "after the last one, or after its withdrawal, is refused as `consent-outdated`; the last one once more "
        "changes nothing.",
        successes=_SHOWN,
        problems=(*_CONSENT, "invalid-time", "consent-outdated"),
        body=people_schemas.GivenConsentBody,
        body_required=True,
    ),
    Call(
        name="findConsent",
        method="post",
        path="/v1/consents/find",
        section=_CONSENTS,
        summary="Read a consent",
        description="Shows what is recorded of a number and a purpose, all of it. A consent that came with a start is "
        "there within a second.",
        successes=_SHOWN,
        problems=_CONSENT,
        body=people_schemas.PurposeBody,
        body_required=True,
    ),
    Call(
        name="withdrawConsent",
        method="post",
        path="/v1/consents/withdraw",
        section=_CONSENTS,
        summary="Withdraw a consent",
        description="Records that somebody agrees no more. When this is answered no message of the purpose goes out, "
        "those that wait included, until another consent is given.",
        successes=_SHOWN,
        problems=_CONSENT,
        body=people_schemas.PurposeBody,
        body_required=True,
    ),
    Call(
        name="suppress",
        method="put",
        path="/v1/suppressions",
        section=_SUPPRESSIONS,
        summary="Suppress a number",
        description="From now on the number gets no messages of the application, those that wait included; other "
        "applications' are left alone.",
        successes=_LISTED,
        problems=(*COMMON, *BODY, *_NUMBER, "invalid-time"),
        body=people_schemas.SuppressionBody,
        body_required=True,
    ),
    Call(
        name="findSuppressions",
        method="post",
        path="/v1/suppressions/find",
        section=_SUPPRESSIONS,
        summary="Read suppressions",
        description="Shows what is recorded of a number at the application, and what its operator said for all.",
        successes=_LISTED,
        problems=(*COMMON, *BODY, *_NUMBER),
        body=people_schemas.NumberBody,
        body_required=True,
    ),
    Call(
        name="liftSuppression",
        method="post",
        path="/v1/suppressions/lift",
        section=_SUPPRESSIONS,
        summary="Lift a suppression",
        description="Lets the application's messages through again. What the operator suppressed for all stays. What "
        "the person said, by an answer to a message, needs a consent that was given after it.",
        successes=_LISTED,
        problems=(*_CONSENT, "invalid-time", "consent-required", "consent-outdated"),
        body=people_schemas.LiftBody,
        body_required=True,
    ),
    Call(
        name="freezeSubject",
        method="post",
        path="/v1/subjects/freeze",
        section=_SUBJECTS,
        summary="Freeze a number",
        description="For a customer who reports fraud. Once this is answered no code of the number is approved for "
        "the application, its last verifications are canceled where they are pending, no message is handed to a "
        "gateway, and starts and resends are refused as `recipient-frozen`, until the freeze is lifted. Other "
        "applications' are left alone. To freeze again does no harm, and cancels again what is pending.",
        successes=_FROZEN,
        problems=(*COMMON, *BODY, *_NUMBER),
        body=people_schemas.FreezeBody,
        body_required=True,
    ),
    Call(
        name="unfreezeSubject",
        method="post",
        path="/v1/subjects/unfreeze",
        section=_SUBJECTS,
        summary="Lift a freeze",
        description="Lets verifications of the number start again within the application. What was pending before "
        "stays ended, and what the operator froze for all stays frozen: then `frozen` is still true.",
        successes=_FROZEN,
        problems=(*COMMON, *BODY, *_NUMBER),
        body=people_schemas.NumberBody,
        body_required=True,
    ),
    Call(
        name="exportSubject",
        method="post",
        path="/v1/subjects/export",
        section=_SUBJECTS,
        summary="Show what is held",
        description="Shows all that is held of a number within the application: for the person who asks for it.",
        successes=(Success(200, "All of it.", people_answers.EXPORT),),
        problems=(*COMMON, *BODY, *_NUMBER),
        body=people_schemas.NumberBody,
        body_required=True,
    ),
    Call(
        name="eraseSubject",
        method="post",
        path="/v1/subjects/erase",
        section=_SUBJECTS,
        summary="Erase what is not needed",
        description="Erases what no dispute needs of a number within the application; the rest stays under a "
        "pseudonym, and the answer says why. No limit, lock or suppression is touched.",
        successes=(Success(200, "What was done.", people_answers.ERASURE),),
        problems=(*COMMON, *BODY, *_NUMBER),
        body=people_schemas.NumberBody,
        body_required=True,
    ),
)
