"""Authenticator apps and recovery codes. The user is in the body, or in a factor's id as a pseudonym."""

from dataclasses import dataclass, field
from typing import Annotated, Final, Literal, Self

import segno
from pydantic import JsonValue, StringConstraints, model_validator

from otp_service.api.exchange import Exchange
from otp_service.api.routes import COMMON_PROBLEMS, Resource, path_parameter
from otp_service.api.schemas import LABEL, PRINTABLE, Body, ProofText, PurposeName, UserName
from otp_service.domain.applications import KeyScope
from otp_service.domain.keyring import user_id
from otp_service.domain.totp import MAX_LABEL, MAX_URI, FactorFailure, FactorStatus, RemovalReason, UserKey, secret_text
from otp_service.services import factors as services
from otp_service.services.factors import FactorCheck, FactorView, Intent
from otp_service.services.json_types import Time

USER_EXAMPLE: dict[str, JsonValue] = {"user": "customer-8842-b"}
DeviceName = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=PRINTABLE)]
Label = Annotated[str, StringConstraints(min_length=1, max_length=MAX_LABEL, pattern=LABEL)]


class UserBody(Body, json_schema_extra={"examples": [USER_EXAMPLE]}):
    """A user."""

    user: UserName
    """Your own opaque name of the user, such as the number of an account. It is kept as a keyed hash."""


class EnrolmentBody(
    UserBody, json_schema_extra={"examples": [USER_EXAMPLE | {"type": "totp", "label": "ali@example.com", "qr": "svg"}]}
):
    """An authenticator app of a user."""

    type: Literal["totp"] = "totp"
    label: Label
    """The app's text beside the code, such as the user's login; no colon. It is kept sealed."""
    qr: Literal["svg", "png"] | None = None
    """Whether to answer with a QR code too: as an SVG element, or as a `data:` URI of a PNG."""
    uri: Annotated[str, StringConstraints(min_length=1, max_length=MAX_URI)] | None = None
    """An `otpauth://totp/` URI with a secret from elsewhere, to be taken over. Default: a new secret."""


class LabelBody(Body, json_schema_extra={"examples": [{"label": "work phone"}]}):
    """A new label."""

    label: Label
    """Shown in the list of a user's apps; the app itself keeps its first label."""


class FactorCodeBody(Body, json_schema_extra={"examples": [{"code": "123456"}]}):
    """A typed code."""

    code: str
    """As many digits of any script as the app shows; spaces and hyphens do not matter."""
    context: DeviceName | None = None
    """Your own name of the person's device or browser: what strangers guess makes a known one wait less."""


class FactorCheckBody(FactorCodeBody):
    """A typed code and its purpose."""

    user: UserName | None = None
    """The owner of the app. Name the person of your session: another user's app is `not-found` then. Named as `sub` in
    a proof."""
    purpose: PurposeName | None = None
    """What it is for; refused where the purpose takes no apps. Without it no policy applies, and there is no proof."""
    after: ProofText | None = None
    """A proof that the same `user` approved another purpose before; needed where the purpose comes after one. It is
    good for one start, or one check that is valid."""


def _only(present: str, absent: str) -> dict[str, JsonValue]:
    return {"required": [present], "properties": {present: {"type": "string"}, absent: {"type": "null"}}}


class RemovalBody(
    Body,
    json_schema_extra={
        "examples": [{"reason": "lost"}],
        "oneOf": [_only("code", "reason"), _only("reason", "code")],
    },
):
    """A code of the app, or why it is removed without one."""

    code: str | None = None
    """A code of this app."""
    reason: RemovalReason | None = None
    """Why there is none: `closed` is the account. You have made sure of the person by other means."""
    context: DeviceName | None = None
    """As in a check."""

    @model_validator(mode="after")
    def _has_one_of_them(self) -> Self:
        if (self.code is None) == (self.reason is None):
            raise ValueError("needs either code or reason")
        return self


class RecoveryCodeBody(
    UserBody, json_schema_extra={"examples": [USER_EXAMPLE | {"code": "7K2M-9QXA-4TZB-0HWE-6RVD-8NPC"}]}
):
    """A recovery code that the person typed."""

    code: str
    """Capitals, hyphens and blanks do not matter."""
    purpose: PurposeName | None = None
    """What it is for; refused where it takes no recovery codes. Without it no policy applies, and there is no proof."""
    after: ProofText | None = None
    """As in a check of an app."""
    context: DeviceName | None = None
    """As in a check."""


@dataclass(frozen=True, slots=True)
class FactorAnswer:
    """A factor."""

    id: str
    type: Literal["totp"]
    status: FactorStatus
    label: str | None = field(repr=False)
    """Null once it is removed."""
    algorithm: str
    digits: int
    period: int
    """Seconds that a code lasts."""
    created_at: Time | None
    """When it was activated."""
    used_at: Time | None
    """When a code was accepted last; some seconds behind."""
    removed_at: Time | None


@dataclass(frozen=True, slots=True)
class EnrolmentAnswer:
    """A factor that waits for its first code, with what is shown once. Keep none of it."""

    factor: FactorAnswer
    secret: str | None = field(repr=False)
    """Base32, for typing in. Like `uri` and `qr` null where a repeated request comes after the first code."""
    uri: str | None = field(repr=False)
    """The content of the QR code."""
    qr: str | None = field(repr=False)
    """An SVG element to put into the page, or a PNG as a `data:` URI for an image; null where none was asked for."""


@dataclass(frozen=True, slots=True)
class FactorCheckResultAnswer:
    """The result of a check. Let the person in only when `valid` is true."""

    id: str
    status: FactorStatus
    valid: bool
    reason: FactorFailure | None
    """`wrong_code`; `code_used`: the code was right and accepted before, which is not counted; `factor_locked`: too
    many wrong codes, it was not compared; `revoked`: a check that is repeated with its `Idempotency-Key` was valid, and
    since then the user was frozen or erased, or the app removed. Tell the person the same for all."""
    proof: str | None = field(repr=False)
    """A signed statement of the approval (JWS). Null where nothing was approved, no `purpose` was named, or the
    application is not set to get proofs."""


@dataclass(frozen=True, slots=True)
class ActivationResultAnswer(FactorCheckResultAnswer):
    """The result of a first code."""

    recovery_codes: tuple[str, ...] | None = field(repr=False)
    """Shown once, where the user had none: ten, each good for one use. A request that is repeated with its
    `Idempotency-Key` shows those of them that can be used."""


@dataclass(frozen=True, slots=True)
class UserFactorsAnswer:
    """The apps and recovery codes of a user."""

    user_id: str
    """The user's name in webhooks: `us_`, and the 32 digits with which ids of the user's factors begin."""
    factors: tuple[FactorAnswer, ...]
    """The active ones, oldest first."""
    recovery_codes_left: int


@dataclass(frozen=True, slots=True)
class RecoveryCodesAnswer:
    """A new series, which replaces any earlier one."""

    user_id: str
    """The user's name in webhooks."""
    recovery_codes: tuple[str, ...] = field(repr=False)
    """Shown once."""


@dataclass(frozen=True, slots=True)
class RecoveryCheckResultAnswer:
    """The result of a check of a recovery code. Let the person in only when `valid` is true."""

    valid: bool
    reason: FactorFailure | None
    """`wrong_code`; `code_used`: it was used before, or its series was replaced, which is not counted;
    `factor_locked`; `revoked`, as in a check of an app."""
    left: int
    """Codes that can be used, with the replacement."""
    replacement: str | None = field(repr=False)
    """A new code for the one that was used, shown once; again to a request that is repeated with its `Idempotency-Key`,
    while it can be used."""
    proof: str | None = field(repr=False)
    """As in a check of an app."""


_FACTOR_ID: Final = path_parameter(
    "factor_id", "The `id` of the factor.", "fa_6f1c0d52a7b94e038d1f6a2b7c3e9f40b1d2e3f405162738495a6b7c"
)
_PROBLEMS: Final = (*COMMON_PROBLEMS, "ledger-mismatch")
_FACTOR: Final = "/v1/factors/<factor_id>"
_CHECK_PROBLEMS: Final = ("not-found", "factor-not-active", "invalid-code", "recipient-frozen")
factors = Resource(
    "factors", "Authenticator apps", KeyScope.FACTORS, problems=_PROBLEMS, parameters=(_FACTOR_ID,), asks_ledger=True
)
recovery_codes = Resource("recovery-codes", "Recovery codes", KeyScope.FACTORS, problems=_PROBLEMS, asks_ledger=True)


@factors.route(
    "POST /v1/factors",
    {201: "Enrolled."},
    ("idempotency-mismatch", "not-found", "invalid-secret", "factor-limit", "rate-limited"),
)
def enrol_factor(exchange: Exchange, body: EnrolmentBody) -> EnrolmentAnswer:
    """Enrol an app.

    Makes a secret for an authenticator app, or takes one over. Show it to the person alone, over TLS, and keep
    none of it. Within ten minutes the first code makes it active.
    """
    done = services.enrol(exchange.context, exchange.application, body.user, body.label, body.uri, exchange.retry)
    secret, qr = secret_text(done.secret) if done.secret else None, None
    if done.uri and body.qr:
        code = segno.make(done.uri, micro=False, error="m")
        qr = code.svg_inline(scale=4, light="#fff") if body.qr == "svg" else code.png_data_uri(scale=4)
    return EnrolmentAnswer(factor_answer(done.factor), secret, done.uri, qr)


@factors.route(
    f"POST {_FACTOR}/activate",
    {200: "The result, right or wrong."},
    ("idempotency-mismatch", *_CHECK_PROBLEMS, "conflict", "factor-limit"),
)
def activate_factor(exchange: Exchange, body: FactorCodeBody, factor_id: str) -> ActivationResultAnswer:
    """Activate an app.

    Compares the first code, which is spent by that: a login needs the next one. The person's first app is answered with
    recovery codes. Send an `Idempotency-Key`: when the answer was lost the same request shows them again.
    """
    done = services.activate(exchange.context, exchange.application, factor_id, body.code, body.context, exchange.retry)
    exchange.reason = done.reason
    return ActivationResultAnswer(done.id, done.status, done.valid, done.reason, None, done.recovery_codes)


@factors.route(
    f"POST {_FACTOR}/check",
    {200: "The result, right or wrong."},
    ("idempotency-mismatch", *_CHECK_PROBLEMS, "step-up-required"),
    hot=True,
)
def check_factor(exchange: Exchange, body: FactorCheckBody, factor_id: str) -> FactorCheckResultAnswer:
    """Check a code.

    A code is accepted once, and none that is older than an accepted one. A wrong code is a result, not an error: look
    at `valid`. What cannot be a code of this factor is refused with 422 and is not counted as a guess.
    """
    intent = Intent(body.purpose, body.after, body.context)
    done = services.check(
        exchange.context, exchange.application, factor_id, body.code, intent, body.user, exchange.retry
    )
    exchange.reason = done.reason
    return _result(done)


@factors.route(f"POST {_FACTOR}/rename", {200: "The factor."}, ("not-found", "factor-not-active"))
def rename_factor(exchange: Exchange, body: LabelBody, factor_id: str) -> FactorAnswer:
    """Rename an app."""
    return factor_answer(services.rename(exchange.context, exchange.application, factor_id, body.label))


@factors.route(f"POST {_FACTOR}/remove", {200: "The result, right or wrong."}, _CHECK_PROBLEMS)
def remove_factor(exchange: Exchange, body: RemovalBody, factor_id: str) -> FactorCheckResultAnswer:
    """Remove an app.

    With a code of it, or with a reason where there is none. Once this is answered no code of it is accepted. Tell the
    person, by a way that does not need the app.
    """
    if body.code is not None:
        done = services.remove_with_code(exchange.context, exchange.application, factor_id, body.code, body.context)
        exchange.reason = done.reason
        return _result(done)
    view = services.remove(exchange.context, exchange.application.name, factor_id, body.reason or "")
    return FactorCheckResultAnswer(view.id, view.status, valid=True, reason=None, proof=None)


@factors.route(f"GET {_FACTOR}", {200: "The factor."}, ("not-found",))
def read_factor(exchange: Exchange, factor_id: str) -> FactorAnswer:
    """Read an app.

    Its secret is never shown again.
    """
    return factor_answer(services.read(exchange.context, exchange.application, factor_id))


@factors.route("POST /v1/user-factors", {200: "The apps."})
def find_factors(exchange: Exchange, body: UserBody) -> UserFactorsAnswer:
    """Find the apps of a user."""
    views, codes_left = services.find(exchange.context, exchange.application, body.user)
    return UserFactorsAnswer(_user_id(exchange, body), tuple(map(factor_answer, views)), codes_left)


@recovery_codes.route("POST /v1/recovery-codes", {201: "A new series."})
def make_recovery_codes(exchange: Exchange, body: UserBody) -> RecoveryCodesAnswer:
    """Make recovery codes.

    Makes ten, which replace all that the user had. Show them once, and keep none.
    """
    codes = services.new_recovery_codes(exchange.context, exchange.application, body.user)
    return RecoveryCodesAnswer(_user_id(exchange, body), codes)


@recovery_codes.route(
    "POST /v1/recovery-codes/check",
    {200: "The result, right or wrong."},
    ("idempotency-mismatch", "invalid-code", "recipient-frozen", "step-up-required"),
)
def check_recovery_code(exchange: Exchange, body: RecoveryCodeBody) -> RecoveryCheckResultAnswer:
    """Check a recovery code.

    Uses the code up, and answers with a new one for it. Tell the person that one was used, by a way that does not need
    the app. Send an `Idempotency-Key`: when the answer was lost the same request shows the new code again.
    """
    intent = Intent(body.purpose, body.after, body.context)
    done = services.check_recovery_code(
        exchange.context, exchange.application, body.user, body.code, intent, exchange.retry
    )
    exchange.reason = done.reason
    return RecoveryCheckResultAnswer(done.reason is None, done.reason, done.left, done.replacement, done.proof)


def read_user(exchange: Exchange, body: UserBody) -> UserKey:
    return services.user_key(exchange.context, exchange.application.name, body.user)


def _user_id(exchange: Exchange, body: UserBody) -> str:
    return user_id(read_user(exchange, body).pseudonym)


def _result(done: FactorCheck) -> FactorCheckResultAnswer:
    return FactorCheckResultAnswer(done.id, done.status, done.valid, done.reason, done.proof)


def factor_answer(view: FactorView) -> FactorAnswer:
    return FactorAnswer(
        id=view.id,
        type="totp",
        status=view.status,
        label=view.label,
        algorithm=view.parameters.algorithm,
        digits=view.parameters.digits,
        period=view.parameters.period,
        created_at=view.created,
        used_at=view.used,
        removed_at=view.removed,
    )
