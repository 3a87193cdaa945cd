"""Entities (users), their factors (authenticator apps), and challenges."""

import re
import secrets
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal
from urllib.parse import quote, urlencode

from pydantic import AfterValidator, Field

from otp_service import clock
from otp_service.api.exchange import Exchange
from otp_service.api.factors import Label
from otp_service.api.requests import validate_body
from otp_service.api.routes import NO_CONTENT, Answer, Resource
from otp_service.api.schemas import UserName
from otp_service.api.twilio.common import (
    SERVICE,
    Form,
    Service,
    answer,
    answer_list,
    find_service,
    read_parameters,
    refuse,
)
from otp_service.api.twilio.errors import TwilioError
from otp_service.clock import rfc3339
from otp_service.domain.applications import KeyScope
from otp_service.domain.keyring import user_id
from otp_service.domain.totp import TOTP, FactorFailure, FactorStatus, TotpParameters, secret_text
from otp_service.errors import ForbiddenError, InvalidCodeError, NotFoundError
from otp_service.services import factors as use_cases
from otp_service.services.factors import FactorView, Intent
from otp_service.store.factors import NOT_FOUND

_ENTITY: Final = f"{SERVICE}/Entities/<identity>"
_FACTOR: Final = f"{_ENTITY}/Factors/<sid>"
_SID: Final = re.compile(r"YF([0-9a-f]{24})([0-9a-f]{8})")
_NO_ATTEMPTS_LEFT: Final = TwilioError(60310, 429, "Factor verification attempts reached")
_NO_CHECKS_LEFT: Final = TwilioError(60308, 429, "Challenge verification attempts limit reached")
_DEFAULTS: Final = TotpParameters()
_Number = Annotated[int, Field(strict=False)]


def _require_plain(identity: str) -> str:
    """Refuse a name that no path can hold, or that was not in UTF-8: all such names would be the same user."""
    if "/" in identity or "\N{REPLACEMENT CHARACTER}" in identity:
        raise ValueError("has a slash, or is not in UTF-8")
    return identity


entities = Resource("twilio", "Twilio", KeyScope.FACTORS, asks_ledger=True, is_lenient=True)
challenges = Resource("twilio", "Twilio", KeyScope.FACTORS, is_lenient=True)


class _EntityForm(Form):
    identity: Annotated[UserName, AfterValidator(_require_plain)]


class _EnrolmentForm(Form):
    friendly_name: Label
    factor_type: str
    secret: str | None = Field(default=None, alias="Binding.Secret", repr=False)
    algorithm: Literal["sha1", "sha256", "sha512"] = Field(default="sha1", alias="Config.Alg")
    digits: _Number = Field(default=_DEFAULTS.digits, alias="Config.CodeLength")
    period: _Number = Field(default=_DEFAULTS.period, alias="Config.TimeStep")
    skew: _Number | None = Field(default=None, alias="Config.Skew")

    @property
    def uri(self) -> str | None:
        """The otpauth URI of an imported secret; ``None`` for a new secret."""
        parameters = TotpParameters(self.algorithm.upper(), self.digits, self.period)
        if self.secret is None and parameters != _DEFAULTS:
            raise ForbiddenError("A new secret has the default parameters, which all apps support.")
        parts = {"secret": self.secret, "algorithm": parameters.algorithm, "digits": self.digits, "period": self.period}
        return f"otpauth://totp/x?{urlencode(parts)}" if self.secret else None


class _FactorForm(Form):
    auth_payload: str | None = None
    friendly_name: Label | None = None


class _ChallengeForm(Form):
    factor_sid: str
    auth_payload: str


@dataclass(frozen=True, slots=True)
class _Entity:
    """An entity of Twilio's: a user of an application."""

    service: Service
    identity: str
    digits: str
    """Of its pseudonym."""
    skew: int

    @property
    def sid(self) -> str:
        return f"YE{self.digits}"

    @property
    def url(self) -> str:
        return f"{self.service.url}/Entities/{quote(self.identity, safe='')}"

    @property
    def sids(self) -> dict[str, str]:
        """Members of every answer for a resource below it."""
        return {**self.service.sids, "entity_sid": self.sid, "identity": self.identity}

    def factor_id(self, sid: str) -> str:
        """Return the identifier of the entity's factor; raise `NotFoundError`."""
        match = _SID.fullmatch(sid)
        if not match or not self.digits.startswith(match[2]):
            raise NotFoundError(NOT_FOUND)
        return f"fa_{self.digits}{match[1]}"

    def factor_sid(self, factor_id: str) -> str:
        return f"YF{factor_id[-24:]}{self.digits[:8]}"


@entities.route(f"POST {SERVICE}/Entities", {}, endpoint="create_entity")
def create_twilio_entity(exchange: Exchange, service_sid: str) -> Answer:
    """Create an entity; nothing is stored."""
    form = read_parameters(exchange, _EntityForm)
    return answer(_shown_entity(_entity(exchange, service_sid, form.identity)), 201)


@entities.route(f"GET {_ENTITY}", {}, endpoint="fetch_entity")
def fetch_twilio_entity(exchange: Exchange, service_sid: str, identity: str) -> Answer:
    return answer(_shown_entity(_entity(exchange, service_sid, identity)))


@entities.route(f"DELETE {_ENTITY}", {}, endpoint="delete_entity")
def delete_twilio_entity(exchange: Exchange, service_sid: str, identity: str) -> Answer:
    """Remove all apps of a user, also those that wait for their first code."""
    entity, application = _entity(exchange, service_sid, identity), exchange.application
    user = use_cases.user_key(exchange.context, application.name, entity.identity)
    use_cases.end_enrolments(exchange.context, user)
    for factor in use_cases.find(exchange.context, application, entity.identity)[0]:
        use_cases.remove(exchange.context, application.name, factor.id, "closed")
    return NO_CONTENT


@entities.route(f"POST {_ENTITY}/Factors", {}, endpoint="create_factor")
def create_twilio_factor(exchange: Exchange, service_sid: str, identity: str) -> Answer:
    entity, form = _entity(exchange, service_sid, identity), read_parameters(exchange, _EnrolmentForm)
    if form.factor_type != TOTP or form.skew not in {None, entity.skew}:
        raise ForbiddenError("Only TOTP factors with the skew of the application are supported.")
    done = use_cases.enrol(exchange.context, exchange.application, identity, form.friendly_name, form.uri)
    binding = {"secret": secret_text(done.secret or b""), "uri": done.uri}
    return answer({**_shown(entity, done.factor), "binding": binding, "options": None}, 201)


@entities.route(f"GET {_ENTITY}/Factors", {}, endpoint="list_factors")
def list_twilio_factors(exchange: Exchange, service_sid: str, identity: str) -> Answer:
    entity = _entity(exchange, service_sid, identity)
    views, _ = use_cases.find(exchange.context, exchange.application, identity)
    return answer_list(exchange, "factors", f"{entity.url}/Factors", [_shown(entity, view) for view in views])


@entities.route(f"GET {_FACTOR}", {}, endpoint="fetch_factor")
def fetch_twilio_factor(exchange: Exchange, service_sid: str, identity: str, sid: str) -> Answer:
    entity = _entity(exchange, service_sid, identity)
    return answer(_shown(entity, _read(exchange, entity.factor_id(sid))))


@entities.route(f"POST {_FACTOR}", {}, endpoint="update_factor")
def update_twilio_factor(exchange: Exchange, service_sid: str, identity: str, sid: str) -> Answer:
    """Activate an app by its first code, or rename it."""
    entity, form = _entity(exchange, service_sid, identity), read_parameters(exchange, _FactorForm)
    context, application, factor_id = exchange.context, exchange.application, entity.factor_id(sid)
    if form.auth_payload is not None:
        try:
            exchange.reason = use_cases.activate(context, application, factor_id, form.auth_payload).reason
        except InvalidCodeError:
            refuse("AuthPayload")
        if exchange.reason == FactorFailure.FACTOR_LOCKED:
            return _NO_ATTEMPTS_LEFT.answer()
    if form.friendly_name is not None and exchange.reason is None:
        use_cases.rename(context, application, factor_id, form.friendly_name)
    return answer(_shown(entity, _read(exchange, factor_id)))


@entities.route(f"DELETE {_FACTOR}", {}, endpoint="delete_factor")
def delete_twilio_factor(exchange: Exchange, service_sid: str, identity: str, sid: str) -> Answer:
    entity = _entity(exchange, service_sid, identity)
    use_cases.remove(exchange.context, exchange.application.name, entity.factor_id(sid), "other")
    return NO_CONTENT


@challenges.route(f"POST {_ENTITY}/Challenges", {}, endpoint="challenge")
def create_twilio_challenge(exchange: Exchange, service_sid: str, identity: str) -> Answer:
    """Check a code of an app for the service's purpose; the challenge is not stored."""
    entity, form = _entity(exchange, service_sid, identity), read_parameters(exchange, _ChallengeForm)
    factor_id, intent = entity.factor_id(form.factor_sid), Intent(entity.service.purpose.name)
    try:
        done = use_cases.check(
            exchange.context, exchange.application, factor_id, form.auth_payload, intent, user_name=identity
        )
    except InvalidCodeError:
        refuse("AuthPayload")
    exchange.reason = done.reason
    if done.reason is FactorFailure.FACTOR_LOCKED:
        return _NO_CHECKS_LEFT.answer()
    sid, now = f"YC{secrets.token_hex(16)}", rfc3339(clock.now())
    challenge: dict[str, Any] = {
        "sid": sid,
        **entity.sids,
        "factor_sid": form.factor_sid,
        "factor_type": TOTP,
        "status": "approved" if done.valid else "pending",
        "responded_reason": "none",
        "date_created": now,
        "date_updated": now,
        "date_responded": now if done.valid else None,
        **dict.fromkeys(("expiration_date", "details", "hidden_details", "metadata")),
        "url": f"{entity.url}/Challenges/{sid}",
        "links": {},
    }
    return answer(challenge, 201)


def _entity(exchange: Exchange, service_sid: str, identity: str) -> _Entity:
    service, application = find_service(exchange, service_sid), exchange.application
    name = validate_body(_EntityForm, {"Identity": identity}).identity
    digits = user_id(use_cases.user_key(exchange.context, application.name, name).pseudonym).removeprefix("us_")
    return _Entity(service, name, digits, application.totp_skew.late)


def _read(exchange: Exchange, factor_id: str) -> FactorView:
    view = use_cases.read(exchange.context, exchange.application, factor_id)
    if view.status is FactorStatus.REMOVED:
        raise NotFoundError(NOT_FOUND)
    return view


def _shown_entity(entity: _Entity) -> dict[str, Any]:
    links = {"factors": "Factors", "new_factors": "Factors", "challenges": "Challenges"}
    return {
        "sid": entity.sid,
        "identity": entity.identity,
        **entity.service.sids,
        **dict.fromkeys(("date_created", "date_updated")),
        "url": entity.url,
        "links": {name: f"{entity.url}/{path}" for name, path in links.items()},
    }


def _shown(entity: _Entity, view: FactorView) -> dict[str, Any]:
    sid, parameters = entity.factor_sid(view.id), view.parameters
    return {
        "sid": sid,
        **entity.sids,
        "friendly_name": view.label,
        "status": "verified" if view.status is FactorStatus.ACTIVE else "unverified",
        "factor_type": TOTP,
        "config": {
            "alg": parameters.algorithm.lower(),
            "skew": entity.skew,
            "code_length": parameters.digits,
            "time_step": parameters.period,
        },
        "metadata": None,
        **dict.fromkeys(("date_created", "date_updated"), None if view.created is None else rfc3339(view.created)),
        "url": f"{entity.url}/Factors/{sid}",
    }
