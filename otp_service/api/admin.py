"""The calls of operators: applications and API keys."""

from collections.abc import Iterator

from flask import Blueprint, Response

from otp_service.api import responses, schemas
from otp_service.api.current import exchange, no_query
from otp_service.api.operation import BODY, Call, Success, in_path
from otp_service.api.requests import read_json, validated
from otp_service.api.responses import (
    ApplicationAnswer,
    application_answer,
    application_response,
    applications_response,
    issued_response,
    key_response,
    keys_response,
)
from otp_service.api.schemas import (
    ApplicationSettingsBody,
    NewApplicationBody,
    NewKeyBody,
    RevocationBody,
    RotationBody,
)
from otp_service.bootstrap import Installation
from otp_service.domain.applications import Scope, networks_of
from otp_service.errors import NotFoundError
from otp_service.services.access import add_application, change_application, issue_key, revoke_key, rotate_key
from otp_service.settings.stored import all_kept, kept_in_ledger, text_of


class Applications:
    """The calls on applications, each a view."""

    def __init__(self, installation: Installation) -> None:
        self._context = installation.context
        self._configured = installation.settings.applications

    def list(self) -> Response:
        """List all, those of the configuration first."""
        return applications_response(self._all())

    def add(self) -> Response:
        """Make one."""
        body = validated(NewApplicationBody, read_json(exchange()))
        added = add_application(self._context, body.name, text_of(body.settings), exchange().operator_key)
        response = application_response(application_answer(kept_in_ledger(added)), 201)
        response.headers["Location"] = f"/v1/admin/applications/{added.name}"
        return response

    def show(self, name: str) -> Response:
        """Show one."""
        for answer in self._all():
            if answer.name == name:
                return application_response(answer)
        raise NotFoundError("There is no such application.")

    def change(self, name: str) -> Response:
        """Give one other settings."""
        body = validated(ApplicationSettingsBody, read_json(exchange()))
        changed = change_application(self._context, name, text_of(body.settings), exchange().operator_key)
        return application_response(application_answer(kept_in_ledger(changed)))

    def _all(self) -> Iterator[ApplicationAnswer]:
        return map(application_answer, all_kept(self._configured, self._context.ledger.applications.all()))


def applications_blueprint(installation: Installation) -> Blueprint:
    """Return the routes of this resource."""
    views = Applications(installation)
    routes = Blueprint("applications", __name__, url_prefix="/v1/admin/applications")
    routes.before_request(no_query)
    routes.add_url_rule("", "list", views.list, methods=["GET"])
    routes.add_url_rule("", "add", views.add, methods=["POST"])
    routes.add_url_rule("/<name>", "show", views.show, methods=["GET"])
    routes.add_url_rule("/<name>", "change", views.change, methods=["PUT"])
    return routes


class ApiKeys:
    """The calls on an application's keys, each a view."""

    def __init__(self, installation: Installation) -> None:
        self._context = installation.context

    def list(self, name: str) -> Response:
        """List the keys, also those that are over."""
        self._require_application(name)
        return keys_response(self._context.ledger.api_keys.of(name))

    def issue(self, name: str) -> Response:
        """Make a key."""
        body = validated(NewKeyBody, read_json(exchange()))
        scopes, networks = frozenset(map(Scope, body.scopes)), networks_of(body.addresses)
        return issued_response(issue_key(self._context, name, scopes, networks, exchange().operator_key))

    def rotate(self, name: str, key_id: str) -> Response:
        """Replace a key."""
        body = validated(RotationBody, read_json(exchange(), may_be_empty=True))
        self._require_application(name)
        return issued_response(rotate_key(self._context, key_id, body.overlap, exchange().operator_key, name))

    def revoke(self, name: str, key_id: str) -> Response:
        """End a key."""
        validated(RevocationBody, read_json(exchange(), may_be_empty=True))
        self._require_application(name)
        return key_response(revoke_key(self._context, key_id, exchange().operator_key, name))

    def _require_application(self, name: str) -> None:
        if self._context.directory.find(name) is None:
            raise NotFoundError("There is no such application.")


def keys_blueprint(installation: Installation) -> Blueprint:
    """Return the routes of this resource."""
    views = ApiKeys(installation)
    routes = Blueprint("api_keys", __name__, url_prefix="/v1/admin/applications/<name>/keys")
    routes.before_request(no_query)
    routes.add_url_rule("", "list", views.list, methods=["GET"])
    routes.add_url_rule("", "issue", views.issue, methods=["POST"])
    routes.add_url_rule("/<key_id>/rotate", "rotate", views.rotate, methods=["POST"])
    routes.add_url_rule("/<key_id>/revoke", "revoke", views.revoke, methods=["POST"])
    return routes


_SECTION = "Administration"
_COMMON = ("invalid-request", "unauthenticated", "forbidden", "internal", "ledger-unavailable", "overloaded")
_NAME = in_path("name", "The name of the application.", "club")
_KEY_ID = in_path("key_id", "The `id` of the key, not the key itself.", "ak_0012ab34cd56ef7890a1b2c3d4e5f607")
_KEYS = "/v1/admin/applications/{name}/keys"
_FOR_OPERATORS = "Needs a key with the scope `admin` (`otp-service key add --admin`), which is of no application."
_WITHIN = "All processes respect it within five seconds."

ADMIN_CALLS = (
    Call(
        name="listApplications",
        method="get",
        path="/v1/admin/applications",
        section=_SECTION,
        summary="List the applications",
        description=f"Those of the configuration and those of the ledger. {_FOR_OPERATORS}",
        successes=(Success(200, "The applications.", responses.APPLICATIONS),),
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
        successes=(Success(201, "Made.", responses.APPLICATION, headers={"Location": "Path of the application."}),),
        problems=(*_COMMON, *BODY, "invalid-application", "name-taken"),
        body=schemas.NewApplicationBody,
        body_required=True,
    ),
    Call(
        name="readApplication",
        method="get",
        path="/v1/admin/applications/{name}",
        section=_SECTION,
        summary="Read an application",
        description=f"Shows what it may do. {_FOR_OPERATORS}",
        successes=(Success(200, "The application.", responses.APPLICATION),),
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
        successes=(Success(200, "Changed.", responses.APPLICATION),),
        problems=(*_COMMON, *BODY, "not-found", "conflict", "invalid-application"),
        parameters=(_NAME,),
        body=schemas.ApplicationSettingsBody,
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
        successes=(Success(200, "The keys.", responses.KEYS),),
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
        successes=(Success(201, "Made.", responses.ISSUED),),
        problems=(*_COMMON, *BODY, "not-found"),
        parameters=(_NAME,),
        body=schemas.NewKeyBody,
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
        successes=(Success(201, "Made.", responses.ISSUED),),
        problems=(*_COMMON, *BODY, "not-found", "conflict"),
        parameters=(_NAME, _KEY_ID),
        body=schemas.RotationBody,
    ),
    Call(
        name="revokeKey",
        method="post",
        path=f"{_KEYS}/{{key_id}}/revoke",
        section=_SECTION,
        summary="Revoke a key",
        description=f"Ends it for good. {_WITHIN} {_FOR_OPERATORS}",
        successes=(Success(200, "Revoked.", responses.KEY),),
        problems=(*_COMMON, *BODY, "not-found"),
        parameters=(_NAME, _KEY_ID),
        body=schemas.RevocationBody,
    ),
)
