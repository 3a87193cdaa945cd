"""Services, verifications and their checks."""

import re
from dataclasses import replace
from typing import Any, Final

from otp_service.api.exchange import Exchange
from otp_service.api.routes import Answer, Resource
from otp_service.api.schemas import Locale
from otp_service.api.twilio.common import (
    SERVICE,
    SERVICES,
    Form,
    Service,
    answer,
    answer_list,
    find_service,
    read_parameters,
    refuse,
    services_of,
    services_url,
)
from otp_service.api.twilio.errors import TwilioError
from otp_service.api.verifications import peer_or_warn, require_end_user
from otp_service.clock import rfc3339
from otp_service.domain.applications import Application, KeyScope
from otp_service.domain.numbers import destination_of, ip_prefix_of, subject_key
from otp_service.domain.payments import Transaction
from otp_service.domain.templates import currency_signs
from otp_service.domain.verification import Channel, CheckFailure, Purpose, PurposeKind, Status
from otp_service.errors import (
    ConflictError,
    ForbiddenError,
    InvalidRequestError,
    InvalidTransactionError,
    NotFoundError,
)
from otp_service.services.context import Context
from otp_service.services.start import PendingError, StartRequest, start
from otp_service.services.verifications import (
    NOT_FOUND,
    VerificationView,
    cancel,
    check,
    read,
    replicated,
    resend,
    view_of,
)
from otp_service.store.verifications import NOTHING
from otp_service.telemetry.redaction import SafeText

_CHANNELS: Final[dict[str, Channel | None]] = {
    "auto": None,
    **{"call" if channel.traits.is_spoken else channel.value: channel for channel in Channel},
}
"""By Twilio's name."""
_NAMES: Final = {channel: name for name, channel in _CHANNELS.items()}
_NUMBER: Final = r"(?:[0-9]+|[0-9]{1,3}(?:,[0-9]{2,3})*,[0-9]{3})(?:\.[0-9]+)?"
_CURRENCY: Final = r"[^\W\d_]{1,4}\.?|[^\w\s.,+-]{1,3}|[A-Z]{1,2}\$"
_AMOUNT: Final = re.compile(
    rf"(?P<currency>{_CURRENCY}) ?(?P<amount>{_NUMBER})|(?P<first>{_NUMBER}) ?(?P<last>{_CURRENCY})"
)
"""``PKR 1,500.00``, ``1500 PKR``, ``€39.99``; groups as in English, or as in ``1,50,000``."""
_ISO_CURRENCY: Final = re.compile(r"[A-Z]{3}")
_SYMBOLS: Final = {"€": "EUR", "£": "GBP", "₹": "INR"}
"""Unambiguous signs; ``$`` and ``Rs`` are those of many countries."""
_SID: Final = re.compile(r"VE([0-9a-f]{32})")
_GONE: Final = {Status.APPROVED, Status.EXPIRED}
"""Twilio answers these as not found."""
_COMPARED: Final = {None, CheckFailure.WRONG_CODE, CheckFailure.TRANSACTION_CHANGED}
_NO_CHECKS_LEFT: Final = {CheckFailure.MAX_ATTEMPTS_REACHED, CheckFailure.NUMBER_LOCKED}

services = Resource("twilio", "Twilio", KeyScope.VERIFY, is_lenient=True)


class _PaymentForm(Form):
    amount: str | None = None
    payee: str | None = None


class _StartForm(_PaymentForm):
    to: str
    channel: str
    locale: Locale | None = None
    device_ip: str | None = None
    custom_code: str | None = None
    custom_friendly_name: str | None = None
    app_hash: str | None = None
    send_digits: str | None = None
    risk_check: str | None = None


class _UpdateForm(Form):
    status: str


class _CheckForm(_PaymentForm):
    code: str
    to: str | None = None
    verification_sid: str | None = None


@services.route(f"GET {SERVICES}", {})
def list_twilio_services(exchange: Exchange) -> Answer:
    return answer_list(exchange, "services", services_url(exchange), list(map(_service, services_of(exchange))))


@services.route(f"GET {SERVICE}", {})
def read_twilio_service(exchange: Exchange, service_sid: str) -> Answer:
    return answer(_service(find_service(exchange, service_sid)))


@services.route(f"POST {SERVICE}/Verifications", {}, hot=True)
def start_twilio_verification(exchange: Exchange, service_sid: str) -> Answer:
    """Start a verification, or resend a pending one."""
    service, form = find_service(exchange, service_sid), read_parameters(exchange, _StartForm)
    if form.channel.lower() not in _CHANNELS:
        refuse("Channel")
    channel = _CHANNELS[form.channel.lower()]
    _require_possible(exchange.application, channel or service.purpose.channels[0], form)
    if form.device_ip is not None:
        try:
            ip_prefix_of(form.device_ip)
            require_end_user(exchange, form.device_ip)
        except InvalidRequestError:
            refuse("DeviceIp")
    request = StartRequest(
        to=form.to,
        channel=channel,
        purpose=service.purpose.name,
        locale=form.locale,
        client_ip=form.device_ip,
        peer_ip=peer_or_warn(exchange) if form.device_ip is None else None,
        transaction=_transaction(exchange.application, service.purpose, form),
    )
    view = start_or_resend(exchange.context, exchange.application, request)
    return answer(_shown(exchange, service, view, form.to), 201)


@services.route(f"GET {SERVICE}/Verifications/<sid>", {})
def fetch_twilio_verification(exchange: Exchange, service_sid: str, sid: str) -> Answer:
    """Read a verification by identifier or number."""
    service = find_service(exchange, service_sid)
    view, number = _find_named(exchange, service, sid)
    if view.verification.status in _GONE:
        raise NotFoundError(NOT_FOUND)
    return answer(_shown(exchange, service, view, number))


@services.route(f"POST {SERVICE}/Verifications/<sid>", {})
def cancel_twilio_verification(exchange: Exchange, service_sid: str, sid: str) -> Answer:
    service, form = find_service(exchange, service_sid), read_parameters(exchange, _UpdateForm)
    if form.status == Status.APPROVED:
        raise ForbiddenError("Only a code approves.")
    if form.status != Status.CANCELED:
        refuse("Status")
    view, number = _find_named(exchange, service, sid)
    try:
        view = cancel(exchange.context, exchange.application, view.verification.id)
    except ConflictError:
        raise NotFoundError(NOT_FOUND) from None
    return answer(_shown(exchange, service, view, number))


@services.route(f"POST {SERVICE}/VerificationCheck", {}, hot=True)
def check_twilio_code(exchange: Exchange, service_sid: str) -> Answer:
    service, form = find_service(exchange, service_sid), read_parameters(exchange, _CheckForm)
    if not (form.verification_sid or form.to):
        return TwilioError(60221, 400, "Either To or VerificationSid is needed").answer()
    transaction = _transaction(exchange.application, service.purpose, form)
    view = _find(exchange, service, form.verification_sid, form.to)
    result = check(exchange.context, exchange.application, view.verification.id, form.code, transaction, proves=False)
    exchange.reason = result.reason
    if result.reason in _NO_CHECKS_LEFT:
        return TwilioError(60202, 429, "Max check attempts reached").answer()
    if result.reason not in _COMPARED:
        raise NotFoundError(NOT_FOUND)
    shown = _shown(exchange, service, view, form.to)
    names = ("sid", "service_sid", "account_sid", "to", "channel", "amount", "payee", "date_created", "date_updated")
    members = {name: shown[name] for name in names}
    return answer({**members, "status": result.status, "valid": result.valid, "sna_attempts_error_codes": []}, 201)


def start_or_resend(context: Context, application: Application, request: StartRequest) -> VerificationView:
    """Start a verification, or resend a pending one of the number, the purpose and the transaction.

    Of concurrent calls only the first starts a verification. Raises as `start` and `resend` do.
    """
    allowed = NOTHING
    while True:
        try:
            return start(context, application, replace(request, allowed_pending=allowed))
        except PendingError as pending:
            allowed = pending.verification_id
        requested = request.transaction
        transaction = requested.canonical(application.payees) if requested else None
        if read(context, application, allowed).details.transaction == transaction:
            return resend(context, application, allowed, request.channel)


def read_latest(context: Context, application: Application, purpose: str, to: str) -> VerificationView:
    """Return the newest verification of a number for a purpose as it is now.

    Raises `NotFoundError`, and `UnacceptableError` if ``to`` is not a phone number.
    """
    subject = subject_key(context.keyring, destination_of(application, to, None))
    newest = context.store.verifications.find(subject.bucket, subject.pseudonym, application.name, purpose)
    if newest is None:
        raise NotFoundError(NOT_FOUND)
    return view_of(context, replicated(context, subject.bucket, newest))


def _require_possible(application: Application, channel: str, form: _StartForm) -> None:
    """Refuse parameters that change the message, the call or the protection in a way that is not supported."""
    if form.custom_code is not None:
        raise ForbiddenError("Codes are made here.")
    if form.custom_friendly_name and form.custom_friendly_name != application.brand:
        raise ForbiddenError("CustomFriendlyName has to be the brand of the application's settings.")
    if form.risk_check not in {None, "enable"}:
        raise ForbiddenError("No call turns the protection against abuse off.")
    if form.send_digits and Channel(channel).traits.is_spoken:
        raise ForbiddenError("No digits are dialled after a call is answered.")
    if form.app_hash and form.app_hash != application.app_hash:
        refuse("AppHash")


def _transaction(application: Application, purpose: Purpose, form: _PaymentForm) -> Transaction | None:
    """Return the payment if the purpose confirms payments; otherwise ignore the parameters."""
    if purpose.kind is not PurposeKind.TRANSACTION:
        return None
    if not (form.amount and form.payee):
        raise InvalidTransactionError("Amount and Payee are missing.")
    match = _AMOUNT.fullmatch(form.amount) or refuse("Amount")
    amount, currency = match["amount"] or match["first"], match["currency"] or match["last"]
    if not _ISO_CURRENCY.fullmatch(currency):
        # A sign of several countries means the currency of the application's region, if it is written so there.
        signs = currency_signs(application.region or "")
        currency = _SYMBOLS.get(currency) or signs.get(currency.rstrip(".")) or refuse("Amount")
    return Transaction(amount.replace(",", ""), currency, form.payee)


def _find_named(exchange: Exchange, service: Service, name: str) -> tuple[VerificationView, str | None]:
    """Return the verification that a path names by identifier or number, and the number if it has it."""
    number = None if name.startswith("VE") else name
    return _find(exchange, service, name if number is None else None, number), number


def _find(exchange: Exchange, service: Service, sid: str | None, number: str | None) -> VerificationView:
    """Return the verification of an identifier, a number, or both; raise `NotFoundError`.

    With both, they have to match: one of them may come from the person who types the code.
    """
    if not sid:
        view = read_latest(exchange.context, exchange.application, service.purpose.name, number or "")
    else:
        view = _read(exchange, sid)
        destination = destination_of(exchange.application, number, None) if number else None
        if destination and exchange.context.keyring.pseudonym(destination.e164) != view.verification.pseudonym:
            raise NotFoundError(NOT_FOUND)
    if view.verification.purpose.name != service.purpose.name:
        raise NotFoundError(NOT_FOUND)
    exchange.verification = SafeText(view.verification.id)
    return view


def _read(exchange: Exchange, sid: str) -> VerificationView:
    match = _SID.fullmatch(sid)
    for verification_id in exchange.context.keyring.verification_ids(match[1]) if match else ():
        try:
            return read(exchange.context, exchange.application, verification_id)
        except NotFoundError:
            continue
    raise NotFoundError(NOT_FOUND)


def _service(service: Service) -> dict[str, Any]:
    # Unsupported features are off.
    links = {"verifications": "Verifications", "verification_checks": "VerificationCheck", "entities": "Entities"}
    return {
        "sid": service.sid,
        "account_sid": service.account_sid,
        "friendly_name": service.purpose.name,
        "code_length": service.purpose.code_length,
        "psd2_enabled": service.purpose.kind is PurposeKind.TRANSACTION,
        "do_not_share_warning_enabled": True,
        **dict.fromkeys(("lookup_enabled", "skip_sms_to_landlines", "dtmf_input_required"), False),
        **dict.fromkeys(("custom_code_enabled", "verify_event_subscription_enabled"), False),
        **dict.fromkeys(("tts_name", "push", "totp", "whatsapp", "passkeys", "default_template_sid")),
        **dict.fromkeys(("date_created", "date_updated")),
        "url": service.url,
        "links": {name: f"{service.url}/{path}" for name, path in links.items()},
    }


def _shown(exchange: Exchange, service: Service, view: VerificationView, number: str | None) -> dict[str, Any]:
    """Return the answer for a verification, with the number in E.164 if the call named it."""
    verification, payment = view.verification, view.details.transaction
    exchange.verification = SafeText(verification.id)
    digits = verification.id[-32:]
    messages = {delivery.message: delivery for delivery in reversed(verification.deliveries)}
    return {
        "sid": f"VE{digits}",
        **service.sids,
        "to": destination_of(exchange.application, number, None).e164 if number else view.mask,
        "channel": _NAMES[Channel(verification.channel)],
        "status": verification.status,
        "valid": verification.status is Status.APPROVED,
        "lookup": {},
        "amount": f"{payment.amount} {payment.currency}" if payment else None,
        "payee": payment.payee if payment else None,
        "send_code_attempts": [
            {
                "time": rfc3339(delivery.begun),
                "channel": _NAMES[Channel(delivery.channel)],
                "attempt_sid": f"VL{digits[:30]}{number:02x}",
            }
            for number, delivery in sorted(messages.items())
        ],
        "sna": None,
        "date_created": rfc3339(verification.created),
        "date_updated": rfc3339(max((verification.created, *(delivery.at for delivery in verification.deliveries)))),
        "url": f"{service.url}/Verifications/VE{digits}",
    }
