"""``/v1/verifications``: start, read, check, resend, cancel."""

from collections.abc import Callable
from typing import Final

from flask import Blueprint, Response

from otp_service.api.answers import answer_with_check, answer_with_verification
from otp_service.api.client_address import peer_of
from otp_service.api.current import exchange, no_query, response
from otp_service.api.exchange import Answer, Exchange
from otp_service.api.quota import show_quota
from otp_service.api.request import read_json, validated
from otp_service.api.retries import retry_from
from otp_service.api.schemas import CancelBody, CheckBody, ResendBody, StartBody
from otp_service.bootstrap import Installation
from otp_service.domain.applications import ClientIp
from otp_service.domain.numbers import require_end_users
from otp_service.services.verifications import Sent, cancel, check, read, resend, start
from otp_service.telemetry.logging import get_logger
from otp_service.telemetry.redaction import Plain

START: Final = "/v1/verifications"
ONE: Final = f"{START}/<verification_id>"
CHECK: Final = f"{ONE}/check"
"""Rules of routes."""

_log = get_logger(__name__)


class Verifications:
    """The calls on verifications."""

    def __init__(self, installation: Installation) -> None:
        self._context = installation.context
        self._trusted_proxies = installation.settings.http.trusted_proxies
        self._production = installation.settings.production
        self._warned = False

    def start(self, exchange: Exchange) -> Answer:
        """Start a verification."""
        document = read_json(exchange)
        body = validated(StartBody, document)
        if self._production and body.client_ip is not None and exchange.application.client_ip is not ClientIp.NONE:
            require_end_users(body.client_ip)
        peer = self._peer(exchange) if body.client_ip is None else None
        retry = retry_from(exchange, self._context, "start", document)
        sent = start(self._context, exchange.application, body.to_request(peer), retry)
        exchange.verification = Plain(sent.view.verification.id)
        answer = _sent(sent, 201)
        answer.headers["Location"] = f"{START}/{exchange.verification}"
        return answer

    def read(self, exchange: Exchange, verification_id: str) -> Answer:
        """Show a verification."""
        self._note(exchange, verification_id)
        return answer_with_verification(read(self._context, exchange.application, verification_id))

    def check(self, exchange: Exchange, verification_id: str) -> Answer:
        """Check a code."""
        self._note(exchange, verification_id)
        document = read_json(exchange)
        body = validated(CheckBody, document)
        retry = retry_from(exchange, self._context, f"check {verification_id}", document)
        transaction = body.transaction.to_input() if body.transaction else None
        result = check(self._context, exchange.application, verification_id, body.code, transaction, retry)
        exchange.reason = result.reason
        return answer_with_check(result)

    def resend(self, exchange: Exchange, verification_id: str) -> Answer:
        """Send the code again."""
        self._note(exchange, verification_id)
        document = read_json(exchange, may_be_empty=True)
        body = validated(ResendBody, document)
        retry = retry_from(exchange, self._context, f"resend {verification_id}", document)
        return _sent(resend(self._context, exchange.application, verification_id, body.channel, retry), 202)

    def cancel(self, exchange: Exchange, verification_id: str) -> Answer:
        """Cancel a verification."""
        self._note(exchange, verification_id)
        document = read_json(exchange, may_be_empty=True)
        validated(CancelBody, document)
        retry = retry_from(exchange, self._context, f"cancel {verification_id}", document)
        return answer_with_verification(cancel(self._context, exchange.application, verification_id, retry))

    def _peer(self, exchange: Exchange) -> str | None:
        """Return the connection's peer; warn once when all of a proxy's users would count as one."""
        counts = exchange.application.client_ip is ClientIp.CONNECTION and not self._trusted_proxies
        if counts and not self._warned and exchange.header("X-Forwarded-For") is not None:
            self._warned = True
            _log.warning(
                "forwarded_for_ignored", hint="behind a proxy, set http.trusted_proxies: it counts as one user"
            )
        return peer_of(exchange, self._trusted_proxies)

    def _note(self, exchange: Exchange, verification_id: str) -> None:
        """Note an id for the log, if it is one: any other text in its place is a stranger's."""
        if self._context.keyring.bucket_of_id(verification_id) is not None:
            exchange.verification = Plain(verification_id)


def _sent(sent: Sent, status: int) -> Answer:
    answer = answer_with_verification(sent.view, status)
    show_quota(answer, sent.quota)
    return answer


def blueprint(installation: Installation) -> Blueprint:
    """Return the routes of this resource."""
    calls = Verifications(installation)
    routes = Blueprint("verifications", __name__)
    routes.before_request(no_query)
    routes.add_url_rule(START, "start", _view(calls.start), methods=["POST"])
    routes.add_url_rule(ONE, "read", _view(calls.read), methods=["GET"])
    routes.add_url_rule(CHECK, "check", _view(calls.check), methods=["POST"])
    routes.add_url_rule(f"{ONE}/resend", "resend", _view(calls.resend), methods=["POST"])
    routes.add_url_rule(f"{ONE}/cancel", "cancel", _view(calls.cancel), methods=["POST"])
    return routes


def _view(answered: Callable[..., Answer]) -> Callable[..., Response]:
    """Return a call as a view of Flask's."""

    def view(**parts: str) -> Response:
        return response(answered(exchange(), **parts))

    view.__doc__ = answered.__doc__
    return view
