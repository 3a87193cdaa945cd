"""Verifications: start, read, check, resend, cancel; and the sandbox's messages."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, GetPydanticSchema, JsonValue, StringConstraints, WithJsonSchema
from pydantic_core.core_schema import literal_schema

from otp_service.api.exchange import Exchange, add_quota_headers
from otp_service.api.requests import peer_address, read_query
from otp_service.api.routes import COMMON_PROBLEMS, Resource, Success, path_parameter, query_parameter
from otp_service.api.schemas import (
    PRINTABLE,
    Address,
    Body,
    ConsentBody,
    CountryCode,
    Locale,
    NumberBody,
    ProofText,
    PurposeName,
    UserName,
)
from otp_service.domain.applications import ClientIpSource, KeyScope
from otp_service.domain.client_tokens import ClientRight, ClientTokenRequest
from otp_service.domain.hosted_pages import MAX_RETURN_URL
from otp_service.domain.numbers import destination_of, require_end_users
from otp_service.domain.payments import Transaction
from otp_service.domain.verification import Channel, CheckFailure, Delivery, DeliveryStatus, GatewayChoice, Status
from otp_service.errors import ForbiddenError, InvalidRequestError
from otp_service.services.json_types import TIME_EXAMPLE, Time
from otp_service.services.pages import page_url, require_return_url
from otp_service.services.start import HumanCheckResult, StartRequest, start
from otp_service.services.verifications import VerificationView, cancel, caught_messages, check, read, resend
from otp_service.telemetry.logging import get_logger
from otp_service.telemetry.redaction import SafeText

_log = get_logger(__name__)
_FORWARDED_FOR_IGNORED = "forwarded_for_ignored"

_CLIENT_TOKEN: dict[str, JsonValue] = {"allow": ["read", "check", "resend"], "origin": "https://shop.example"}
_PAYMENT: dict[str, JsonValue] = {"amount": "1500.00", "currency": "PKR", "payee": "Daraz", "account": "4821"}
ChannelName = Annotated[str, GetPydanticSchema(lambda *_: literal_schema(list(map(str, Channel))))]
"""Not the enumeration, of which strict bodies would accept members only, and not their names."""
MetadataKey = Annotated[str, StringConstraints(min_length=1, max_length=40, pattern=PRINTABLE)]
MetadataValue = Annotated[str, StringConstraints(max_length=200, pattern=PRINTABLE)]
# Spelled out: pydantic's own schema would allow members whose names do not match the pattern.
Metadata = Annotated[
    dict[MetadataKey, MetadataValue],
    Field(max_length=10),
    WithJsonSchema(
        {
            "type": "object",
            "maxProperties": 10,
            "propertyNames": {"minLength": 1, "maxLength": 40, "pattern": PRINTABLE},
            "additionalProperties": {"type": "string", "maxLength": 200, "pattern": PRINTABLE},
        }
    ),
]


class TransactionBody(Body, json_schema_extra={"examples": [_PAYMENT]}):
    """A payment that a person agrees to. The code is a function of all its members."""

    amount: str
    """Decimal with at most the currency's own number of minor digits: `1500` equals `1500.00`."""
    currency: str
    """ISO 4217, such as `PKR`."""
    payee: str
    """Who is paid: at most 30 letters, digits (at most 3 in a row), spaces and `. - & '`."""
    account: str | None = None
    """The last four digits of the payer's own account; the message says `from account 4821`."""
    reference: str | None = None
    """1 to 35 ASCII letters, digits, spaces and `. / _ -`."""


class HumanCheckBody(Body, json_schema_extra={"examples": [{"passed": True}]}):
    """The caller's claim about a human check."""

    passed: bool = False
    """That the end user passed it, as your application checked."""
    token: Annotated[str, StringConstraints(max_length=4096, pattern="^[!-~]*$")] = ""
    """What the end user's browser or app got for passing it, where the service asks the provider."""


class ClientTokenBody(Body, json_schema_extra={"examples": [_CLIENT_TOKEN]}):
    """What a page in the end user's browser, or an app, may do with this verification alone, without an API key."""

    allow: Annotated[list[Literal["read", "check", "resend"]], Field(min_length=1, max_length=3)]
    """Which calls."""
    origin: str | None = None
    """Of the page that uses it, such as `https://shop.example`: one of the application's. Default: none, for an app;
    no page can use it then."""


class PageBody(Body, json_schema_extra={"examples": [{"return_url": "https://shop.example/back?order=1093"}]}):
    """A page on which a person types the code."""

    return_url: Annotated[str, StringConstraints(max_length=MAX_RETURN_URL)]
    """Where the person goes back to, with the parameter `result` added: one of the application's `page_return_urls`,
    exactly as configured; you may append a query."""


class StartBody(NumberBody, json_schema_extra={"examples": [{"to": "+923001234567", "client_ip": "203.0.113.7"}]}):
    """A number to send a code to."""

    channel: ChannelName | None = None
    """How the message goes out. Default: the purpose's first channel."""
    purpose: PurposeName = "login"
    """One of the application's purposes. Default: `login`."""
    locale: Locale | None = None
    """BCP 47 tag of the message's language, such as `ur-PK`. Default: the application's.

    English (`en`), Urdu (`ur`), Roman Urdu (`ur-Latn`) and Arabic (`ar`) come with the service; its operator may have
    added others. A tag without words of its own is shortened, `ur-PK` to `ur`. One of a language that is not there is
    no error: the message is in the application's language then, and in English as the last resort. `locale` of the
    answer tells which."""
    client_ip: Address | None = None
    """Address of the end user, not of your server; some applications have to give it."""
    context: Annotated[str, StringConstraints(max_length=128, pattern=PRINTABLE)] | None = None
    """Your own opaque name of the end user's device or browser, at most 128 characters: a random value in a cookie or
    in your app. One from which the number was approved recently, by default in the last 90 days, keeps a share of its
    messages and guesses that strangers cannot use up. Kept as a pseudonym only."""
    consent: ConsentBody | None = None
    """That the end user agrees to this message and to later ones of the purpose; refused where the application keeps no
    consents. Where it needs one, this or an earlier one that was not withdrawn."""
    human_check: HumanCheckBody | None = None
    """That the end user passed a human check: the answer to `human-check-required`. It counts where the application is
    set to give it, and is passed over elsewhere."""
    transaction: TransactionBody | None = None
    """What is confirmed; required when the purpose is of kind `transaction`, refused otherwise."""
    metadata: Metadata | None = None
    """At most 10 pairs of your own, names up to 40 and values up to 200 characters; returned, never sent."""
    user: UserName | None = None
    """Your own opaque name of the person, at most 128 characters; returned, and named as `sub` in a proof. Where the
    purpose asks for an authenticator app first, one of this user's is."""
    after: ProofText | None = None
    """A proof that the same `user` approved another purpose before; needed where the purpose comes after one. It is
    good for one start."""
    client_token: ClientTokenBody | None = None
    """Asks for a token for a page or an app."""
    page: PageBody | None = None
    """That you want a page on which the person types the code, and do not check it yourself."""


class CheckBody(Body, json_schema_extra={"examples": [{"code": "123456"}]}):
    """What the person typed."""

    code: str
    """6 to 8 digits of any script; spaces and hyphens do not matter."""
    to: str | None = None
    """The number that you log in, in any spelling: a verification of another number is refused as `number-mismatch`,
    whatever the code. Not with a client token."""
    region: CountryCode | None = None
    """ISO 3166-1 alpha-2, for a national spelling of `to`. Default: the application's."""
    transaction: TransactionBody | None = None
    """The same as at the start; required when the purpose is of kind `transaction`, refused otherwise."""


class ResendBody(Body, json_schema_extra={"examples": [{"channel": "voice"}]}):
    """How to send again; may be left out."""

    channel: ChannelName | None = None
    """Default: the channel of the last message."""


class CancelBody(Body):
    """Nothing; may be left out."""


_EXAMPLE: dict[str, JsonValue] = {
    "id": "vf_k1_0012ab34cd56ef7890a1b2c3d4e5f60718",
    "status": "pending",
    "to": "+92 ••• ••••567",
    "country": "PK",
    "channel": "sms",
    "purpose": "login",
    "locale": "en",
    "created_at": TIME_EXAMPLE,
    "expires_at": "2026-11-24T22:05:00Z",
    "checks_left": 5,
    "sends_left": 2,
    "resend_after": "2026-11-24T22:00:30Z",
    "transaction": None,
    "metadata": {},
    "user": None,
    "page": None,
    "deliveries": [
        {
            "channel": "sms",
            "gateway": "primary",
            "status": "sent",
            "at": TIME_EXAMPLE,
            "reason": None,
            "message": 1,
            "choice": "configured",
            "begun_at": TIME_EXAMPLE,
            "raw_status": None,
        }
    ],
}
_CHECK_EXAMPLE = {"id": _EXAMPLE["id"], "status": "pending", "valid": False, "checks_left": 4, "reason": "wrong_code",
    "proof": None}  # fmt: skip


@dataclass(slots=True)
class DeliveryAnswer:
    """One call to one gateway, or a message that waits for its first."""

    channel: str
    """`sms`, `voice` or `whatsapp`."""
    gateway: str | None
    """Its name in the configuration; null while the message waits, and for a client token."""
    status: DeliveryStatus
    """What is known of the message:

    `queued`: it waits for a worker, or is being handed over.

    `sent`: the gateway took it.

    `delivered`: the gateway reported that the handset has it.

    `undelivered`: the gateway reported that the handset does not get it.

    `failed`: the gateway refused it; or no gateway was left to try.

    `expired`: the code's life ended before it was handed over; or the gateway reported that it became too old.

    `unknown`: the message may have been sent: the gateway did not answer, or reported an unknown status."""
    at: Time
    """When that became known."""
    reason: str | None
    """Why it did not work, in a few plain words: the kind of the failure and the provider's own code, such as
    `unavailable http 503`, what a receipt gave as the reason, or why the message was given up; otherwise, and for a
    client token, null."""
    message: int
    """Which message of the verification it carried, from 1: a resend, or the next channel, makes another."""
    choice: GatewayChoice | None
    """Why this gateway: what kept the first one of the route from the message. Null while the message waits, and for a
    client token.

    `configured`: nothing, it is the first.

    `fail_over`: the first was called for this message, and failed.

    `already_tried`: the first carried an earlier message of this verification.

    `breaker`: the first is left alone for a while, because it failed or was slow.

    `limit`: the first is asked as much as it allows.

    `retry`: all were called for this message, and it is the first's turn again.

    `last_resort`: all are left alone, and one has to be tried."""
    begun_at: Time
    """When the gateway was called, or the message queued."""
    raw_status: str | None
    """The gateway's own word in its last report; null without one, and for a client token."""


@dataclass(frozen=True, slots=True)
class TransactionAnswer:
    """A payment in canonical form: what the code is a function of, and what the message shows."""

    amount: str
    """Decimal with exactly the currency's own number of minor digits."""
    currency: str
    """ISO 4217."""
    payee: str
    account: str | None
    """The last four digits of the payer's own account, as in `from account 4821`."""
    reference: str | None


@dataclass(frozen=True, slots=True)
class PageAnswer:
    """A page on which a person types the code."""

    url: str = field(repr=False)
    """Where to send the person's browser, for this verification alone. Who has it can use up guesses and messages."""


@dataclass(slots=True)
class VerificationAnswer:
    """One attempt to prove that a person holds a number."""

    __pydantic_config__ = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    id: str
    """Identifies it in other calls. Keep it in the person's session."""
    status: Status
    """All but `pending` are final; but what was `approved` reads as `canceled` once the number, the `user` or the app
    that it rests on is frozen, erased or removed. It says nothing of the messages: a verification none of whose
    messages arrived is `pending` until its code ends. `failed`: a check brought another transaction."""
    to: str
    """The number, masked."""
    country: str
    """ISO 3166-1 alpha-2."""
    channel: str
    """Channel of the last message."""
    purpose: str
    """What the code is for."""
    locale: str
    """BCP 47: the language that the last message is in. Another one than the start asked for where the service has no
    words in that: the application's then, and English as the last resort."""
    created_at: Time
    expires_at: Time
    """When the code ends; later checks hear `expired`."""
    checks_left: int
    """Codes that will still be compared; 0 once it is final."""
    sends_left: int
    """Messages that may still be asked for."""
    resend_after: Time | None
    """When the next message may be asked for; null when none is left."""
    transaction: TransactionAnswer | None
    """In canonical form; null when the purpose confirms none."""
    metadata: Mapping[str, str] = field(repr=False)
    """The caller's own, as it was given at the start; empty for a client token."""
    user: str | None = field(repr=False)
    """The caller's own name of the person; null where the start gave none, and for a client token."""
    page: PageAnswer | None
    """Null where the start asked for none, and for a client token."""
    deliveries: tuple[DeliveryAnswer, ...]
    """Deliveries, an entry for each gateway call, oldest first."""


@dataclass(slots=True)
class StartedVerificationAnswer(VerificationAnswer):
    """A verification that was started, or had been by the same request."""

    __pydantic_config__ = ConfigDict(
        json_schema_extra={"examples": [{**_EXAMPLE, "destination": "+923001234567", "client_token": None}]}
    )

    destination: str = field(repr=False)
    """The number in E.164, the same for every spelling: name accounts by it. Shown in this answer only."""
    client_token: str | None = field(default=None, repr=False)
    """What a page or an app calls with, `Authorization: Bearer ct_…`, until ten minutes after the code's life; shown in
    this answer only. Null where none was asked for."""


@dataclass(slots=True)
class CheckResultAnswer:
    """The result of a check. Let the person in only when `valid` is true."""

    __pydantic_config__ = ConfigDict(json_schema_extra={"examples": [_CHECK_EXAMPLE]})

    id: str
    """The verification."""
    status: Status
    """Of the verification, after this check. All but `pending` are final."""
    valid: bool
    """Whether the code is right: let the person in only when this is true, and go by nothing else."""
    checks_left: int
    """Codes that will still be compared; 0 once the verification is final."""
    reason: CheckFailure | None
    """Why the code is not valid; null when it is.

    `wrong_code`: it was compared, and counted.

    `expired`: its life is over.

    `already_approved`: it was right before, and is used up.

    `canceled`: the verification was canceled.

    `max_attempts_reached`: all guesses are used; a right code is answered alike.

    `number_locked`: too many wrong codes for this number, over all its verifications: too soon after the last one, too
    many today, or locked. The code was not compared.

    `transaction_changed`: it was started for another transaction; this ends the verification as `failed`.

    `failed`: a changed transaction ended the verification before.

    `revoked`: a check that is repeated with its `Idempotency-Key` was valid; since then the number or the `user` was
    frozen or erased, or an app was removed that an earlier approval rests on. `status` stays `approved`."""
    proof: str | None = field(repr=False)
    """A signed statement of the approval, which others can check without asking; null where the code is not valid, the
    application is not set to get proofs, or the call was made with a client token."""


@dataclass(frozen=True, slots=True)
class CaughtMessageAnswer:
    """A message that the sandbox gateway caught instead of sending it."""

    verification: str
    to: str
    """The number, masked."""
    channel: str
    sender: str | None
    """The registered name that the handset would show; `null` where it is the gateway's own."""
    text: str = field(repr=False)
    """The message as the handset would show it, the code in it."""
    at: Time


verifications = Resource(
    "verifications",
    "Verifications",
    KeyScope.VERIFY,
    problems=COMMON_PROBLEMS,
    parameters=(
        path_parameter("verification_id", "The `id` of the verification.", "vf_k1_0012ab34cd56ef7890a1b2c3d4e5f60718"),
    ),
)
_VERIFICATION = "/v1/verifications/<verification_id>"
_SENDING_PROBLEMS = ("recipient-suppressed", "recipient-frozen", "rate-limited", "backlog-full")
_QUOTA_HEADERS = {
    "RateLimit-Policy": 'The application\'s own quota, such as `"application";q=6000;w=60`.',
    "RateLimit": 'What is left of it, such as `"application";r=5999;t=60`.',
}


@verifications.route(
    "POST /v1/verifications",
    {201: Success("Started.", headers={"Location": "Path of the verification.", **_QUOTA_HEADERS})},
    (
        "idempotency-mismatch",
        "step-up-required",
        "factor-first",
        "invalid-number",
        "number-type-not-allowed",
        "country-not-allowed",
        "number-not-allowed",
        "channel-not-available",
        "invalid-transaction",
        "return-url-not-allowed",
        "invalid-time",
        "client-ip-required",
        "consent-required",
        "consent-outdated",
        "consent-not-kept",
        "message-not-allowed",
        "human-check-required",
        *_SENDING_PROBLEMS,
        "ledger-mismatch",
    ),
    hot=True,
)
def start_verification(exchange: Exchange, body: StartBody) -> StartedVerificationAnswer:
    """Start a verification.

    Sends a code to a number. Accepted means: the message is queued, and will be delivered or reported as not. A refused
    start sends nothing and uses up no limit; one that is answered with `human-check-required` counts as a request.
    """
    application = exchange.application
    if body.client_ip is not None:
        require_end_user(exchange, body.client_ip)
    if body.page:
        require_return_url(application, body.page.return_url)
    request = StartRequest(
        to=body.to,
        region=body.region,
        channel=body.channel,
        purpose=body.purpose,
        locale=body.locale,
        client_ip=body.client_ip,
        peer_ip=peer_or_warn(exchange) if body.client_ip is None else None,
        context=body.context,
        consent=body.consent.to_evidence() if body.consent else None,
        human_check=HumanCheckResult(**dict(body.human_check)) if body.human_check else HumanCheckResult(),
        transaction=Transaction(**dict(body.transaction)) if body.transaction else None,
        metadata=body.metadata or {},
        user=body.user,
        after=body.after,
        client_token=ClientTokenRequest(frozenset(map(ClientRight, body.client_token.allow)), body.client_token.origin)
        if body.client_token
        else None,
        return_url=body.page.return_url if body.page else None,
    )
    view = start(exchange.context, application, request, exchange.retry)
    exchange.verification = SafeText(view.verification.id)
    exchange.headers["Location"] = f"/v1/verifications/{exchange.verification}"
    add_quota_headers(exchange, view.quota)
    return StartedVerificationAnswer(
        **_members(exchange, view), destination=view.destination, client_token=view.client_token
    )


@verifications.route(f"GET {_VERIFICATION}", {200: "The verification."}, ("not-found",), client_right=ClientRight.READ)
def read_verification(exchange: Exchange, verification_id: str) -> VerificationAnswer:
    """Read a verification.

    Shows its status and its deliveries. A status is no proof: only a check is. Known until ten minutes after the
    code's life. Reading never counts, sends or checks anything.
    """
    return _shown(exchange, read(exchange.context, exchange.application, verification_id))


@verifications.route(
    f"POST {_VERIFICATION}/check",
    {200: "The result, right or wrong."},
    (
        "idempotency-mismatch",
        "not-found",
        "invalid-code",
        "invalid-transaction",
        "invalid-number",
        "number-type-not-allowed",
        "number-mismatch",
    ),
    hot=True,
    client_right=ClientRight.CHECK,
)
def check_code(exchange: Exchange, body: CheckBody, verification_id: str) -> CheckResultAnswer:
    """Check a code.

    Compares the code that the person typed, once. A wrong code is a result, not an error: look at `valid`. What cannot
    be a code of this verification is refused with 422 and is not counted as a guess.
    """
    pseudonym = ""
    if body.to is not None:
        if exchange.client_token:  # a page could try numbers, without using up checks, until it finds the masked number
            raise ForbiddenError("A check with a client token cannot name a number.")
        number = destination_of(exchange.application, body.to, body.region)
        pseudonym = exchange.context.keyring.pseudonym(number.e164)
    transaction = Transaction(**dict(body.transaction)) if body.transaction else None
    result = check(
        exchange.context,
        exchange.application,
        verification_id,
        body.code,
        transaction,
        exchange.retry,
        pseudonym=pseudonym,
        proves=exchange.client_token is None,  # a page that has it could pass it on before its back end looked
    )
    exchange.reason = result.reason
    return CheckResultAnswer(result.id, result.status, result.valid, result.checks_left, result.reason, result.proof)


@verifications.route(
    f"POST {_VERIFICATION}/resend",
    {202: Success("Queued.", headers=_QUOTA_HEADERS)},
    (
        "idempotency-mismatch",
        "not-found",
        "conflict",
        "no-sends-left",
        "channel-not-available",
        "consent-required",
        "ledger-mismatch",
        *_SENDING_PROBLEMS,
        "resend-too-soon",
    ),
    client_right=ClientRight.RESEND,
)
def resend_code(exchange: Exchange, body: ResendBody, verification_id: str) -> VerificationAnswer:
    """Send the code again.

    Queues a further message, not before `resend_after`. It buys no new guesses and no longer life.
    """
    view = resend(exchange.context, exchange.application, verification_id, body.channel, exchange.retry)
    add_quota_headers(exchange, view.quota)
    return _shown(exchange, view)


@verifications.route(
    f"POST {_VERIFICATION}/cancel", {200: "Canceled."}, ("idempotency-mismatch", "not-found", "conflict")
)
def cancel_verification(exchange: Exchange, _: CancelBody, verification_id: str) -> VerificationAnswer:
    """Cancel a verification.

    Ends it: its code is dead, and a message that still waits is not sent.
    """
    return _shown(exchange, cancel(exchange.context, exchange.application, verification_id, exchange.retry))


def require_end_user(exchange: Exchange, address: str) -> None:
    """Raise `InvalidRequestError` for an address that is no end user's, in production and where addresses count."""
    if exchange.settings.production and exchange.application.client_ip is not ClientIpSource.NONE:
        require_end_users(address)


def peer_or_warn(exchange: Exchange) -> str | None:
    """Return the connection's peer; warn once about a proxy, whose users would all count as one."""
    counts = exchange.application.client_ip is ClientIpSource.CONNECTION and not exchange.settings.http.trusted_proxies
    is_ignored = counts and exchange.header("X-Forwarded-For") is not None
    if is_ignored and _FORWARDED_FOR_IGNORED not in exchange.shared.warned:
        exchange.shared.warned.add(_FORWARDED_FOR_IGNORED)
        _log.warning(_FORWARDED_FOR_IGNORED, hint="behind a proxy, set http.trusted_proxies: it counts as one user")
    return peer_address(exchange)


def _shown(exchange: Exchange, view: VerificationView) -> VerificationAnswer:
    """Return the answer; with a client token, without members for back ends."""
    answer = VerificationAnswer(**_members(exchange, view))
    if exchange.client_token:
        answer.metadata, answer.user, answer.page = {}, None, None
        for delivery in answer.deliveries:
            delivery.gateway = delivery.reason = delivery.choice = delivery.raw_status = None
    return answer


def _members(exchange: Exchange, view: VerificationView) -> dict[str, Any]:
    verification, transaction, url = view.verification, view.details.transaction, page_url(exchange.context, view)
    after = verification.resend_after
    return {
        "id": verification.id,
        "status": verification.status,
        "to": view.mask,
        "country": verification.country,
        "channel": verification.channel,
        "purpose": verification.purpose.name,
        "locale": view.locale,
        "created_at": verification.created,
        "expires_at": verification.expires,
        "checks_left": verification.checks_left,
        "sends_left": verification.sends_left,
        # The next whole second, so that a resend at the shown time is not too early.
        "resend_after": None if after is None else after + 999,
        "transaction": TransactionAnswer(**asdict(transaction)) if transaction else None,
        "metadata": view.details.metadata,
        "user": view.details.user,
        "page": PageAnswer(url) if url else None,
        "deliveries": tuple(map(_delivery_answer, verification.deliveries)),
    }


def _delivery_answer(delivery: Delivery) -> DeliveryAnswer:
    return DeliveryAnswer(
        channel=delivery.channel,
        gateway=delivery.gateway,
        status=delivery.status,
        at=delivery.at,
        reason=delivery.reason,
        message=delivery.message,
        choice=delivery.choice,
        begun_at=delivery.begun,
        raw_status=delivery.raw_status,
    )


sandbox = Resource("sandbox", "Development", KeyScope.VERIFY, problems=COMMON_PROBLEMS)


@sandbox.route(
    "GET /v1/sandbox/messages",
    {200: "The messages."},
    ("not-found",),
    query=(
        query_parameter(
            "verification",
            "Only the messages of this verification. Default: the last 100 of the application.",
            {"type": "string", "minLength": 1},
        ),
    ),
    endpoint="messages",
)
def list_caught_messages(exchange: Exchange) -> list[CaughtMessageAnswer]:
    """Read what the sandbox caught.

    The application's messages that the sandbox gateway caught instead of sending, newest first. Only where a sandbox
    gateway is configured, which is never in production.
    """
    verification_id = read_query(exchange, "verification").get("verification")
    if verification_id == "":
        raise InvalidRequestError("The parameter verification is empty.")
    messages = caught_messages(exchange.context, exchange.application, verification_id)
    return [CaughtMessageAnswer(**asdict(message)) for message in messages]
