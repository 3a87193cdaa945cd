"""``/v1/admin/applications``: applications, for operators. One is made and changed, and never deleted."""

from collections.abc import Iterator

from flask import Blueprint, Response

from otp_service.api.admin_answers import (
    ApplicationAnswer,
    application_answer,
    application_response,
    applications_response,
)
from otp_service.api.admin_schemas import ApplicationSettingsBody, NewApplicationBody
from otp_service.api.current import exchange, no_query
from otp_service.api.request import read_json, validated
from otp_service.bootstrap import Installation
from otp_service.errors import NotFoundError
from otp_service.services.access import add_application, change_application
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


def blueprint(installation: Installation) -> Blueprint:
    """Return the routes of this resource."""
    views = Applications(installation)
    routes = Blueprint("applications", __name__, url_prefix="/v1/admin/applications")
    routes.before_request(no_query)
    routes.add_url_rule("", "list", views.list, methods=["GET"])
    routes.add_url_rule("", "add", views.add, methods=["POST"])
    routes.add_url_rule("/<name>", "show", views.show, methods=["GET"])
    routes.add_url_rule("/<name>", "change", views.change, methods=["PUT"])
    return routes
