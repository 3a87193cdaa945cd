"""The calls of operators on applications and their keys, in words."""

from otp_service.api import admin_answers, admin_schemas
from otp_service.api.catalogue.call import BODY, Call, Success, in_path

_SECTION = "Administration"
_COMMON = ("invalid-request", "unauthenticated", "forbidden", "internal", "ledger-unavailable", "overloaded")
_NAME = in_path("name", "The name of the application.", "club")
_KEY_ID = in_path("key_id", "The `id` of the key, not the key itself.", "ak_0012ab34cd56ef7890a1b2c3d4e5f607")
_KEYS = "/v1/admin/applications/{name}/keys"
_FOR_OPERATORS = "Needs a key with the scope `admin` (`otp-service key add --admin`), which is of no application."
_WITHIN = "All processes respect it within five seconds."

CALLS = (
    Call(
        name="listApplications",
        method="get",
        path="/v1/admin/applications",
        section=_SECTION,
        summary="List the applications",
        description=f"Those of the configuration and those of the ledger. {_FOR_OPERATORS}",
        successes=(Success(200, "The applications.", admin_answers.APPLICATIONS),),
        problems=_COMMON,
    ),
    Call(
        name="addApplication",
        method="post",
        path="/v1/admin/applications",
        section=_SECTION,
        summary="Make an application",
        description=f"It is kept in the ledger, and has no key yet. {_WITHIN} It can be changed, and is never deleted: "
        f"without a valid key it can do nothing. {_FOR_OPERATORS}",
        successes=(Success(201, "Made.", admin_answers.APPLICATION, headers={"Location": "Path of the application."}),),
        problems=(*_COMMON, *BODY, "invalid-application", "name-taken"),
        body=admin_schemas.NewApplicationBody,
        body_required=True,
    ),
    Call(
        name="readApplication",
        method="get",
        path="/v1/admin/applications/{name}",
        section=_SECTION,
        summary="Read an application",
        description=f"Shows what it may do. {_FOR_OPERATORS}",
        successes=(Success(200, "The application.", admin_answers.APPLICATION),),
        problems=(*_COMMON, "not-found"),
        parameters=(_NAME,),
    ),
    Call(
        name="changeApplication",
        method="put",
        path="/v1/admin/applications/{name}",
        section=_SECTION,
        summary="Change an application",
        description=f"Replaces its settings. {_WITHIN} Verifications that live keep what they were started with. One "
        f"of the configuration is changed there. {_FOR_OPERATORS}",
        successes=(Success(200, "Changed.", admin_answers.APPLICATION),),
        problems=(*_COMMON, *BODY, "not-found", "conflict", "invalid-application"),
        parameters=(_NAME,),
        body=admin_schemas.ApplicationSettingsBody,
        body_required=True,
    ),
    Call(
        name="listKeys",
        method="get",
        path=_KEYS,
        section=_SECTION,
        summary="List the keys of an application",
        description="Oldest first, also those that have ended. Those of the configuration are not among them. "
        f"{_FOR_OPERATORS}",
        successes=(Success(200, "The keys.", admin_answers.KEYS),),
        problems=(*_COMMON, "not-found"),
        parameters=(_NAME,),
    ),
    Call(
        name="issueKey",
        method="post",
        path=_KEYS,
        section=_SECTION,
        summary="Make a key",
        description="For an application of the ledger or the configuration. The key is in this answer and nowhere "
        f"else: when it is lost, revoke it and make another. {_WITHIN} {_FOR_OPERATORS}",
        successes=(Success(201, "Made.", admin_answers.ISSUED),),
        problems=(*_COMMON, *BODY, "not-found"),
        parameters=(_NAME,),
        body=admin_schemas.NewKeyBody,
        body_required=True,
    ),
    Call(
        name="rotateKey",
        method="post",
        path=f"{_KEYS}/{{key_id}}/rotate",
        section=_SECTION,
        summary="Replace a key",
        description="Makes a key with the same scopes and addresses. The old one goes on beside it until the overlap "
        f"is over. {_WITHIN} {_FOR_OPERATORS}",
        successes=(Success(201, "Made.", admin_answers.ISSUED),),
        problems=(*_COMMON, *BODY, "not-found", "conflict"),
        parameters=(_NAME, _KEY_ID),
        body=admin_schemas.RotationBody,
    ),
    Call(
        name="revokeKey",
        method="post",
        path=f"{_KEYS}/{{key_id}}/revoke",
        section=_SECTION,
        summary="Revoke a key",
        description=f"Ends it for good. {_WITHIN} {_FOR_OPERATORS}",
        successes=(Success(200, "Revoked.", admin_answers.KEY),),
        problems=(*_COMMON, *BODY, "not-found"),
        parameters=(_NAME, _KEY_ID),
        body=admin_schemas.RevocationBody,
    ),
)
