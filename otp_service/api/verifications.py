"""The calls about verifications, and those of the sandbox."""

from collections.abc import Callable
from typing import Final

from flask import Blueprint, Response

from otp_service.api import responses, schemas
from otp_service.api.current import exchange, no_query, response
from otp_service.api.exchange import JSON, Answer, Exchange, show_quota
from otp_service.api.operation import BODY, COMMON, Call, Success, in_path
from otp_service.api.requests import peer_of, query_of, read_json, retry_from, validated
from otp_service.api.responses import CAUGHT, answer_with_check, answer_with_verification, caught_answer
from otp_service.api.schemas import CancelBody, CheckBody, ResendBody, StartBody
from otp_service.bootstrap import Installation
from otp_service.domain.applications import ClientIp
from otp_service.domain.numbers import require_end_users
from otp_service.errors import InvalidRequestError
from otp_service.services.maintenance import caught_messages
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


def verifications_blueprint(installation: Installation) -> Blueprint:
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

VERIFICATION_CALLS = (
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
                responses.VERIFICATION,
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
        successes=(Success(200, "The verification.", responses.VERIFICATION),),
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
        successes=(Success(200, "The result, right or wrong.", responses.CHECK),),
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
        successes=(Success(202, "Queued.", responses.VERIFICATION, headers=_QUOTA_HEADERS),),
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
        successes=(Success(200, "Canceled.", responses.VERIFICATION),),
        problems=(*COMMON, *BODY, "idempotency-mismatch", "not-found", "conflict"),
        parameters=(_ID, _RETRY),
        body=schemas.CancelBody,
    ),
)


def sandbox_blueprint(installation: Installation) -> Blueprint:
    """Return the routes of this resource."""
    context = installation.context

    def messages() -> Response:
        """Show the caught messages, newest first."""
        verification_id = query_of(exchange(), "verification").get("verification")
        if verification_id == "":
            raise InvalidRequestError("The parameter verification is empty.")
        caught = caught_messages(context, exchange().application, verification_id)
        return Response(CAUGHT.dump_json(list(map(caught_answer, caught))), mimetype=JSON)

    routes = Blueprint("sandbox", __name__, url_prefix="/v1/sandbox")
    routes.add_url_rule("/messages", "messages", messages, methods=["GET"])
    return routes


_CAUGHT_OF = {
    "name": "verification",
    "in": "query",
    "required": False,
    "description": "Only the messages of this verification. Default: the last 100 of the application.",
    "schema": {"type": "string", "minLength": 1},
}

SANDBOX_CALLS = (
    Call(
        name="listCaughtMessages",
        method="get",
        path="/v1/sandbox/messages",
        section="Development",
        summary="Read what the sandbox caught",
        description="The application's messages that the sandbox gateway caught instead of sending, newest first. "
        "Only where a sandbox gateway is configured, which is never in production.",
        successes=(Success(200, "The messages.", responses.CAUGHT),),
        problems=(*COMMON, "not-found"),
        parameters=(_CAUGHT_OF,),
    ),
)
