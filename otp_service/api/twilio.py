"""Twilio Verify's API (v2) over the same use cases: forms in, its JSON and its errors out.

For programs that use Twilio's libraries. A service of theirs is a purpose of the application. What they call, and what
differs, is told in docs/from-twilio.md.
"""

import json
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final, NoReturn

from otp_service.api.errors import TwilioError
from otp_service.api.exchange import Exchange
from otp_service.api.requests import read_form
from otp_service.api.routes import Answer, Resource
from otp_service.api.schemas import rfc3339
from otp_service.api.verifications import counted_peer
from otp_service.domain.applications import Application, ClientIpSource, KeyScope
from otp_service.domain.numbers import require_end_users
from otp_service.domain.payments import Transaction
from otp_service.domain.verification import Channel, CheckFailure, Purpose, PurposeKind, Status
from otp_service.errors import ConflictError, Fault, InvalidRequestError, InvalidTransactionError, NotFoundError
from otp_service.services.verifications import (
    NOT_FOUND,
    StartRequest,
    VerificationView,
    cancel,
    check,
    read,
    read_latest,
    start_or_resend,
)
from otp_service.telemetry import metrics
from otp_service.telemetry.redaction import SafeText

_CHANNELS: Final = {"call": Channel.VOICE, **{one.value: one for one in Channel if one is not Channel.VOICE}}
"""By Twilio's name."""
_ANY_CHANNEL: Final = "auto"
_NAMES: Final = {channel: name for name, channel in _CHANNELS.items()}
_UNUSED: Final = frozenset(
    [
        "AppHash",
        "ChannelConfiguration",
        "CustomFriendlyName",
        "CustomMessage",
        "EnableSnaClientToken",
        "RateLimits",
        "RiskCheck",
        "SendDigits",
        "SnaClientToken",
        "Tags",
        "TemplateCustomSubstitutions",
        "TemplateSid",
    ]
)
"""Parameters of Twilio's that mean nothing here; metrics name no others."""
_AMOUNT: Final = re.compile(r"(?P<amount>[0-9.]+) ?(?P<currency>[A-Z]{3})|(?P<code>[A-Z]{3}) ?(?P<after>[0-9.]+)")
_SID: Final = re.compile(r"VE([0-9a-f]{32})")
_GONE: Final = {Status.APPROVED, Status.EXPIRED}
"""Of these Twilio says that there is no such verification."""
_REFUSED: Final = {
    CheckFailure.MAX_ATTEMPTS_REACHED: TwilioError(60202, 429, "Max check attempts reached"),
    CheckFailure.NUMBER_LOCKED: TwilioError(60202, 429, "Max check attempts reached"),
}
_NOT_ENABLED: Final = "Feature is not enabled"

services = Resource("twilio", "Twilio", KeyScope.VERIFY, is_lenient=True)
_SERVICE = "/twilio/v2/Services/<service_sid>"


@services.route("GET /twilio/v2/Services", {}, endpoint="list")
def list_twilio_services(exchange: Exchange) -> Answer:
    """List the application's purposes."""
    found = [_service(exchange, name) for name in sorted(exchange.application.purposes)]
    url = f"{_base(exchange)}/Services?PageSize=50&Page=0"
    meta = {"page": 0, "page_size": 50, "first_page_url": url, "previous_page_url": None, "next_page_url": None}
    return _answer({"services": found, "meta": {**meta, "key": "services", "url": url}})


@services.route(f"GET {_SERVICE}", {}, endpoint="read")
def read_twilio_service(exchange: Exchange, service_sid: str) -> Answer:
    """Read a purpose."""
    return _answer(_service(exchange, _purpose(exchange, service_sid).name))


@services.route(f"POST {_SERVICE}/Verifications", {}, endpoint="start", hot=True)
def start_twilio_verification(exchange: Exchange, service_sid: str) -> Answer:
    """Start a verification, or send the pending one again."""
    application, purpose, form = exchange.application, _purpose(exchange, service_sid), read_form(exchange)
    _count_unused(form, {"To", "Channel", "Locale", "Amount", "Payee", "DeviceIp"})
    if "CustomCode" in form:
        return TwilioError(60204, 403, f"{_NOT_ENABLED}: codes are made here").answer()
    address = form.get("DeviceIp")
    if address and exchange.settings.production and application.client_ip is not ClientIpSource.NONE:
        require_end_users(address)
    request = StartRequest(
        to=_required(form, "To"),
        channel=_channel(_required(form, "Channel")),
        purpose=purpose.name,
        locale=form.get("Locale"),
        client_ip=address,
        peer_ip=None if address else counted_peer(exchange),
        transaction=_transaction(purpose, form),
    )
    view = start_or_resend(exchange.context, application, request)
    return _answer(_verification(exchange, service_sid, view, request.to), 201)


@services.route(f"GET {_SERVICE}/Verifications/<sid>", {}, endpoint="fetch")
def fetch_twilio_verification(exchange: Exchange, service_sid: str, sid: str) -> Answer:
    """Read a verification by its identifier, or by a number."""
    view = _find(exchange, _purpose(exchange, service_sid), sid)
    if view.verification.status in _GONE:
        raise NotFoundError(NOT_FOUND)
    return _answer(_verification(exchange, service_sid, view, sid))


@services.route(f"POST {_SERVICE}/Verifications/<sid>", {}, endpoint="cancel")
def cancel_twilio_verification(exchange: Exchange, service_sid: str, sid: str) -> Answer:
    """Cancel a verification."""
    view, status = _find(exchange, _purpose(exchange, service_sid), sid), _required(read_form(exchange), "Status")
    if status == Status.APPROVED:
        return TwilioError(60204, 403, f"{_NOT_ENABLED}: only a code approves").answer()
    if status != Status.CANCELED:
        _refuse("Status")
    try:
        view = cancel(exchange.context, exchange.application, view.verification.id)
    except ConflictError:
        raise NotFoundError(NOT_FOUND) from None
    return _answer(_verification(exchange, service_sid, view, sid))


@services.route(f"POST {_SERVICE}/VerificationCheck", {}, endpoint="check", hot=True)
def check_twilio_code(exchange: Exchange, service_sid: str) -> Answer:
    """Check a code."""
    purpose, form = _purpose(exchange, service_sid), read_form(exchange)
    _count_unused(form, {"To", "VerificationSid", "Code", "Amount", "Payee"})
    wanted = form.get("VerificationSid") or form.get("To")
    if not wanted:
        return TwilioError(60221, 400, "Either To or VerificationSid is needed").answer()
    code, transaction = _required(form, "Code"), _transaction(purpose, form)
    view = _find(exchange, purpose, wanted)
    result = check(exchange.context, exchange.application, view.verification.id, code, transaction)
    exchange.reason = result.reason
    if result.reason in _REFUSED:
        return _REFUSED[result.reason].answer()
    if result.reason not in {None, CheckFailure.WRONG_CODE, CheckFailure.TRANSACTION_CHANGED}:
        raise NotFoundError(NOT_FOUND)
    about = _verification(exchange, service_sid, view, wanted)
    kept = ("sid", "service_sid", "account_sid", "to", "channel", "amount", "payee", "date_created", "date_updated")
    told = {name: about[name] for name in kept}
    return _answer({**told, "status": result.status, "valid": result.valid, "sna_attempts_error_codes": []}, 201)


def _answer(document: Mapping[str, Any], status: int = 200) -> Answer:
    return Answer(json.dumps(document).encode(), status)


def _required(form: Mapping[str, str], name: str) -> str:
    return form.get(name) or _refuse(name)


def _refuse(name: str) -> NoReturn:
    raise InvalidRequestError("A parameter is missing or wrong.", (Fault(f"/{name}", "is missing or wrong"),))


def _count_unused(form: Iterable[str], used: set[str]) -> None:
    """Count the parameters that mean nothing here."""
    for name in set(form) - used:
        metrics.twilio_unused.count(parameter=name if name in _UNUSED else "other")


def _channel(name: str) -> str | None:
    if name == _ANY_CHANNEL:
        return None
    return _CHANNELS[name] if name in _CHANNELS else _refuse("Channel")


def _transaction(purpose: Purpose, form: Mapping[str, str]) -> Transaction | None:
    """Return what is paid where the purpose confirms payments; elsewhere neither parameter means anything."""
    if purpose.kind is not PurposeKind.TRANSACTION:
        return None
    if not (form.get("Amount") and form.get("Payee")):
        raise InvalidTransactionError("Amount and Payee are missing.")
    found = _AMOUNT.fullmatch(form["Amount"].replace(",", "")) or _refuse("Amount")
    amount, currency = found["amount"] or found["after"], found["currency"] or found["code"]
    return Transaction(amount, currency, form["Payee"])


@lru_cache(maxsize=1024)
def _digits(*names: str) -> str:
    """Return 32 digits for an application, or one of its purposes: the same in each process, and no secret."""
    return sha256("/".join(names).encode()).hexdigest()[:32]


def _account_sid(application: Application) -> str:
    return f"AC{_digits(application.name)}"


def _service_sid(application: Application, purpose: str) -> str:
    return f"VA{_digits(application.name, purpose)}"


def _purpose(exchange: Exchange, service_sid: str) -> Purpose:
    """Return the purpose that a service stands for; raise `NotFoundError`."""
    application, known = exchange.application, exchange.context.purposes
    for name in application.purposes:
        if _service_sid(application, name) == service_sid and name in known:
            return known[name]
    raise NotFoundError("There is no such service.")


def _find(exchange: Exchange, purpose: Purpose, wanted: str) -> VerificationView:
    """Return the verification that an identifier of Twilio's form, or a number, stands for; raise `NotFoundError`."""
    view = _read(exchange, wanted)
    if view is None:
        view = read_latest(exchange.context, exchange.application, purpose.name, wanted)
    if view.verification.purpose.name != purpose.name:
        raise NotFoundError(NOT_FOUND)
    exchange.verification = SafeText(view.verification.id)
    return view


def _read(exchange: Exchange, sid: str) -> VerificationView | None:
    """Return the verification of an identifier; ``None`` for what may be a number."""
    found = _SID.fullmatch(sid)
    if not found:
        return None
    for verification_id in exchange.context.keyring.verification_ids(found[1]):
        try:
            return read(exchange.context, exchange.application, verification_id)
        except NotFoundError:
            continue
    raise NotFoundError(NOT_FOUND)


def _base(exchange: Exchange) -> str:
    """Return the address of the facade: absolute, for libraries follow it."""
    host = exchange.settings.http.public_url or f"http://{exchange.header('Host')}"
    return f"{host.rstrip('/')}/twilio/v2"


def _service(exchange: Exchange, purpose: str) -> dict[str, Any]:
    """Return a purpose as a service; of what we have not, it says so."""
    application, rules = exchange.application, exchange.context.purposes[purpose]
    sid = _service_sid(application, purpose)
    url = f"{_base(exchange)}/Services/{sid}"
    return {
        "sid": sid,
        "account_sid": _account_sid(application),
        "friendly_name": purpose,
        "code_length": rules.code_length,
        "psd2_enabled": rules.kind is PurposeKind.TRANSACTION,
        "do_not_share_warning_enabled": True,
        **dict.fromkeys(("lookup_enabled", "skip_sms_to_landlines", "dtmf_input_required"), False),
        **dict.fromkeys(("custom_code_enabled", "verify_event_subscription_enabled"), False),
        **dict.fromkeys(("tts_name", "push", "totp", "whatsapp", "passkeys", "default_template_sid")),
        **dict.fromkeys(("date_created", "date_updated")),
        "url": url,
        "links": {"verifications": f"{url}/Verifications", "verification_checks": f"{url}/VerificationCheck"},
    }


def _verification(exchange: Exchange, service_sid: str, view: VerificationView, wanted: str) -> dict[str, Any]:
    """Return a verification; the number is as the caller wrote it, where he did, for it is not told here."""
    verification, payment = view.verification, view.details.transaction
    digits = verification.id[-34:-2]  # without the check
    messages = {one.message: one for one in reversed(verification.deliveries)}
    return {
        "sid": f"VE{digits}",
        "service_sid": service_sid,
        "account_sid": _account_sid(exchange.application),
        "to": view.mask if _SID.fullmatch(wanted) else wanted,
        "channel": _NAMES[Channel(verification.channel)],
        "status": verification.status,
        "valid": verification.status is Status.APPROVED,
        "lookup": {},
        "amount": f"{payment.amount} {payment.currency}" if payment else None,
        "payee": payment.payee if payment else None,
        "send_code_attempts": [
            {
                "time": rfc3339(one.begun),
                "channel": _NAMES[Channel(one.channel)],
                "attempt_sid": f"VL{digits[:30]}{number:02x}",
            }
            for number, one in sorted(messages.items())
        ],
        "sna": None,
        "date_created": rfc3339(verification.created),
        "date_updated": rfc3339(max((verification.created, *(one.at for one in verification.deliveries)))),
        "url": f"{_base(exchange)}/Services/{service_sid}/Verifications/VE{digits}",
    }
