"""``/v1/verifications``: start, read, check, resend, cancel."""

from flask import Blueprint, Response, g, request

from otp_service.api.answers import check_response, verification_response
from otp_service.api.auth import caller
from otp_service.api.client_address import peer_of
from otp_service.api.quota import show_quota
from otp_service.api.request import read_json, refuse_query, validated
from otp_service.api.retries import retry_from
from otp_service.api.schemas import CancelBody, CheckBody, ResendBody, StartBody
from otp_service.bootstrap import Installation
from otp_service.core.application import ClientIp
from otp_service.services.cancel import cancel
from otp_service.services.check import check
from otp_service.services.read import read
from otp_service.services.resend import resend
from otp_service.services.start import Sent, start
from otp_service.telemetry.logging import get_logger

_log = get_logger(__name__)


class Verifications:
    """The calls on verifications, each a view."""

    def __init__(self, installation: Installation) -> None:
        self._context = installation.context
        self._trusted_proxies = installation.settings.http.trusted_proxies
        self._warned = False

    def start(self) -> Response:
        """Start a verification."""
        document = read_json()
        body = validated(StartBody, document)
        peer = self._peer() if body.client_ip is None else None
        retry = retry_from(self._context, "start", document)
        sent = start(self._context, caller(), body.to_request(peer), retry)
        g.verification = sent.view.verification.id
        response = _sent(sent, 201)
        response.headers["Location"] = f"/v1/verifications/{g.verification}"
        return response

    def read(self, verification_id: str) -> Response:
        """Show a verification."""
        self._note(verification_id)
        return verification_response(read(self._context, caller(), verification_id))

    def check(self, verification_id: str) -> Response:
        """Check a code."""
        self._note(verification_id)
        document = read_json()
        body = validated(CheckBody, document)
        retry = retry_from(self._context, f"check {verification_id}", document)
        transaction = body.transaction.to_input() if body.transaction else None
        result = check(self._context, caller(), verification_id, body.code, transaction, retry)
        g.reason = result.reason
        return check_response(result)

    def resend(self, verification_id: str) -> Response:
        """Send the code again."""
        self._note(verification_id)
        document = read_json(may_be_empty=True)
        body = validated(ResendBody, document)
        retry = retry_from(self._context, f"resend {verification_id}", document)
        return _sent(resend(self._context, caller(), verification_id, body.channel, retry), 202)

    def cancel(self, verification_id: str) -> Response:
        """Cancel a verification."""
        self._note(verification_id)
        document = read_json(may_be_empty=True)
        validated(CancelBody, document)
        retry = retry_from(self._context, f"cancel {verification_id}", document)
        return verification_response(cancel(self._context, caller(), verification_id, retry))

    def _peer(self) -> str | None:
        """Return the connection's peer; warn once when all of a proxy's users would count as one."""
        counts = caller().client_ip is ClientIp.CONNECTION and not self._trusted_proxies
        if counts and not self._warned and "X-Forwarded-For" in request.headers:
            self._warned = True
            _log.warning(
                "forwarded_for_ignored", hint="behind a proxy, set http.trusted_proxies: it counts as one user"
            )
        return peer_of(request, self._trusted_proxies)

    def _note(self, verification_id: str) -> None:
        """Note an id for the log, if it is one: any other text in its place is a stranger's."""
        if self._context.keyring.bucket_of_id(verification_id) is not None:
            g.verification = verification_id


def _sent(sent: Sent, status: int) -> Response:
    response = verification_response(sent.view, status)
    show_quota(response, sent.quota)
    return response


def blueprint(installation: Installation) -> Blueprint:
    """Return the routes of this resource."""
    views = Verifications(installation)
    routes = Blueprint("verifications", __name__, url_prefix="/v1/verifications")
    routes.before_request(refuse_query)
    routes.add_url_rule("", "start", views.start, methods=["POST"])
    routes.add_url_rule("/<verification_id>", "read", views.read, methods=["GET"])
    routes.add_url_rule("/<verification_id>/check", "check", views.check, methods=["POST"])
    routes.add_url_rule("/<verification_id>/resend", "resend", views.resend, methods=["POST"])
    routes.add_url_rule("/<verification_id>/cancel", "cancel", views.cancel, methods=["POST"])
    return routes
