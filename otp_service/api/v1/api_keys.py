"""``/v1/admin/applications/NAME/keys``: the API keys of an application, for operators. Their own are not here."""

from flask import Blueprint, Response

from otp_service.api.admin_answers import issued_response, key_response, keys_response
from otp_service.api.admin_schemas import NewKeyBody, RevocationBody, RotationBody
from otp_service.api.current import exchange, no_query
from otp_service.api.request import read_json, validated
from otp_service.bootstrap import Installation
from otp_service.domain.applications import Scope, networks_of
from otp_service.errors import NotFoundError
from otp_service.services.access import issue_key, revoke_key, rotate_key


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


def blueprint(installation: Installation) -> Blueprint:
    """Return the routes of this resource."""
    views = ApiKeys(installation)
    routes = Blueprint("api_keys", __name__, url_prefix="/v1/admin/applications/<name>/keys")
    routes.before_request(no_query)
    routes.add_url_rule("", "list", views.list, methods=["GET"])
    routes.add_url_rule("", "issue", views.issue, methods=["POST"])
    routes.add_url_rule("/<key_id>/rotate", "rotate", views.rotate, methods=["POST"])
    routes.add_url_rule("/<key_id>/revoke", "revoke", views.revoke, methods=["POST"])
    return routes
