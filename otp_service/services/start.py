"""Start a verification."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace

from otp_service.domain.applications import Application, ClientIp
from otp_service.domain.guard import Sending
from otp_service.domain.keyring import Retry
from otp_service.domain.numbers import (
    LONGEST_NUMBER,
    Destination,
    destination_of,
    network_of,
    prefix_of,
    provider_network_of,
    wide_network_of,
)
from otp_service.domain.payments import Transaction
from otp_service.domain.people import Evidence
from otp_service.domain.verification import Delivery, DeliveryStatus, Purpose, PurposeKind, Status, Verification
from otp_service.errors import (
    ClientIpRequiredError,
    ForbiddenError,
    InvalidTransactionError,
    NumberTypeNotAllowedError,
    Quota,
    StoreUnavailableError,
    UnacceptableError,
)
from otp_service.services.channels import channel_for
from otp_service.services.clearance import require_clearance
from otp_service.services.codes import derive_tag
from otp_service.services.consents import judge_evidence, packed
from otp_service.services.context import Context
from otp_service.services.counting import Labels, counted
from otp_service.services.price import dearest_price
from otp_service.services.refusals import error_of
from otp_service.services.transactions import TransactionInput, transaction_of
from otp_service.services.view import Details, VerificationView, locale_of, seal_details, seal_mask
from otp_service.store.verifications import Replayed, Started
from otp_service.telemetry import metrics, tracing

DESTINATION = "destination"
"""Kind of the sealed number."""


@dataclass(frozen=True, slots=True)
class StartRequest:
    """What a caller asks for."""

    to: str = field(repr=False)
    region: str | None = None
    channel: str | None = None
    purpose: str = "login"
    locale: str | None = None
    client_ip: str | None = field(default=None, repr=False)
    """The end user's address, as the calling back end passes it."""
    peer_ip: str | None = field(default=None, repr=False)
    """The HTTP connection's peer."""
    context: str | None = field(default=None, repr=False)
    """The caller's own name of the end user's device or browser."""
    consent: Evidence | None = field(default=None, repr=False)
    """That the end user agreed to this, without the prefix of the address."""
    transaction: TransactionInput | None = field(default=None, repr=False)
    metadata: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Sent:
    """A verification with a message queued, and the application's quota after it."""

    view: VerificationView
    quota: Quota | None


@dataclass(frozen=True, slots=True)
class _Judged:
    """A request that may go on."""

    purpose: Purpose
    destination: Destination
    channel: str
    locale: str
    network: str | None
    """The end user's network, ``None`` where addresses do not count."""
    context: str
    consent: str
    """The consent that came with the request, packed; empty without one."""
    noted: tuple[str, ...]
    """Rules that only record, and would have refused it."""
    details: Details


def start(context: Context, application: Application, request: StartRequest, retry: Retry | None = None) -> Sent:
    """Judge a request, then count, record and queue it in one step; raises `OtpServiceError`.

    A refused request leaves no trace. With a ``retry`` that was answered before, the first verification is
    returned as it is now, and nothing is sent.
    """
    with counted(metrics.record_start, application) as labels:
        judged = _judge(context, application, request, labels)
        return _record(context, application, judged, retry)


def _record(context: Context, application: Application, judged: _Judged, retry: Retry | None) -> Sent:
    keyring = context.keyring
    pseudonym = keyring.pseudonym(judged.destination.e164)
    bucket = keyring.bucket(pseudonym)
    verification = _new_verification(context, application, judged, pseudonym, keyring.new_verification_id(bucket))
    outcome = context.store.verifications.start(
        bucket,
        verification,
        derive_tag(keyring, verification, 0),
        _sending(context, application, judged, pseudonym),
        context.reflection.permission(application.consent, judged.consent),
        keyring.payment_names(application.name, judged.details.transaction),
        context.rulesets[application.name],
        retry,
        tracing.traceparent(),
    )
    match outcome:
        case Started(now, quota, noted):
            metrics.record_noted(application.name, judged.destination.country, noted)
            return Sent(_view(context, judged, _started_at(verification, now)), quota)
        case Replayed(verification=found) if found:
            return Sent(_view(context, judged, found), None)
        case Replayed():
            return Sent(_view(context, judged, _remembered(verification, outcome)), None)
        case _:
            raise error_of(outcome, verification)


def _view(context: Context, judged: _Judged, verification: Verification) -> VerificationView:
    return VerificationView(verification, judged.details, judged.destination.mask, locale_of(context, verification))


def _sending(context: Context, application: Application, judged: _Judged, pseudonym: str) -> Sending:
    """Return what the guard sees of a request."""
    keyring, network, destination = context.keyring, judged.network, judged.destination
    wide, provider = (of(network) if network else None for of in (wide_network_of, provider_network_of))
    return Sending(
        number=pseudonym,
        block=keyring.block_pseudonym(destination.block),
        network=keyring.network_pseudonym(network) if network else "",
        wide_network=keyring.network_pseudonym(wide) if wide else "",
        provider=keyring.network_pseudonym(provider) if provider else "",
        context=keyring.context_pseudonym(application.name, judged.context) if judged.context else "",
        place=application.place_of(destination.country),
        safe=destination.e164 in context.destinations.safe,
        price=dearest_price(
            context,
            application,
            judged.purpose,
            destination.country,
            judged.channel,
            judged.locale,
            judged.details.transaction,
        ),
        noted=judged.noted,
    )


def _judge(context: Context, application: Application, request: StartRequest, labels: Labels) -> _Judged:
    """Check all that needs no store; the cheapest and least telling first. Note in ``labels`` what is known."""
    purpose = context.purposes.get(request.purpose)
    if purpose is None or purpose.name not in application.purposes:
        raise ForbiddenError("The application has no such purpose.")
    labels.purpose = purpose.name
    transaction = transaction_of(application, request.transaction)
    _require_transaction(purpose, transaction)
    network = _network(application, request)
    consent = _consent(application, request, network)
    try:
        destination = destination_of(application, request.to, request.region)
    except NumberTypeNotAllowedError as refused:  # of no country, or of a type that never receives codes
        refused.rule = "destination.type"
        _tell(context, application, purpose, refused, country="")
        raise
    labels.country = destination.country
    noted = _pass_destination(context, application, purpose, destination)
    channel = channel_for(context, purpose, destination.country, request.channel or purpose.channels[0])
    locale = request.locale or application.locale
    require_clearance(context, application, purpose, destination.country, channel, locale)
    return _Judged(
        purpose=purpose,
        destination=destination,
        channel=channel,
        locale=locale,
        network=network,
        context=request.context or "",
        consent=consent,
        noted=noted,
        details=Details(transaction, request.metadata),
    )


def _require_transaction(purpose: Purpose, transaction: Transaction | None) -> None:
    if purpose.kind is PurposeKind.TRANSACTION and transaction is None:
        raise InvalidTransactionError(f"The purpose {purpose.name!r} confirms a transaction; it is missing.")
    if purpose.kind is not PurposeKind.TRANSACTION and transaction is not None:
        raise InvalidTransactionError(f"The purpose {purpose.name!r} confirms no transaction.")


def _pass_destination(
    context: Context, application: Application, purpose: Purpose, destination: Destination
) -> tuple[str, ...]:
    """Judge a number by itself; return the rules that only record. A refusal is recorded if Redis answers."""
    try:
        return context.destinations.judge(application, destination)
    except UnacceptableError as refused:
        _tell(context, application, purpose, refused, destination.country)
        raise


def _tell(
    context: Context, application: Application, purpose: Purpose, refused: UnacceptableError, country: str
) -> None:
    """Count and record that a rule refused a number by itself, if Redis answers."""
    rule = refused.rule or ""
    metrics.record_refusal(application.name, country, rule)
    with suppress(StoreUnavailableError):
        bucket = context.keyring.buckets[0]
        refused.decision = context.store.decisions.note(bucket, rule, application.name, purpose.name, country)


def _network(application: Application, request: StartRequest) -> str | None:
    """Return the end user's network, ``None`` where addresses do not count."""
    own = network_of(request.client_ip) if request.client_ip is not None else None
    if application.client_ip is ClientIp.NONE:
        return None
    if own is None and application.client_ip is ClientIp.REQUIRED:
        raise ClientIpRequiredError("client_ip is missing: the address of the end user, not of your server.")
    if own is None and request.peer_ip is not None:
        own = network_of(request.peer_ip)
    return own


def _consent(application: Application, request: StartRequest, network: str | None) -> str:
    """Return the consent that came with a request, packed, with the prefix of the end user's address."""
    if request.consent is None:
        return ""
    judge_evidence(application, request.consent)
    return packed(replace(request.consent, address_prefix=prefix_of(network) if network else ""))


def _new_verification(
    context: Context, application: Application, judged: _Judged, pseudonym: str, verification_id: str
) -> Verification:
    """Return the verification as it will be recorded, its times still open."""
    keyring, destination = context.keyring, judged.destination
    sealed = keyring.seal(
        destination.e164.ljust(LONGEST_NUMBER).encode(),  # its length would tell of it
        verification_id=verification_id,
        application=application.name,
        kind=DESTINATION,
    )
    return Verification(
        id=verification_id,
        application=application.name,
        pseudonym=pseudonym,
        status=Status.PENDING,
        country=destination.country,
        channel=judged.channel,
        locale=judged.locale,
        purpose=judged.purpose,
        created=0,
        expires=0,
        checks=0,
        sends=1,
        last_send=0,
        generation=0,
        transaction_digest=keyring.transaction_digest(verification_id, judged.details.transaction),
        sealed_destination=sealed,
        sealed_mask=seal_mask(keyring, destination.mask, verification_id, application.name),
        sealed_details=seal_details(keyring, judged.details, verification_id, application.name),
    )


def _started_at(verification: Verification, now: int) -> Verification:
    queued = Delivery(1, 1, verification.channel, None, DeliveryStatus.QUEUED, now, None, begun=now)
    return verification.at(now, now + verification.purpose.ttl * 1000, (queued,))


def _remembered(verification: Verification, replayed: Replayed) -> Verification:
    """Return what is still known of a verification whose record is gone: its outcome, from the idempotency key."""
    created, expires = int(replayed.remembered["created"]), int(replayed.remembered["expires"])
    status = Status(replayed.remembered["status"])
    ended = Status.EXPIRED if status is Status.PENDING and replayed.now >= expires else status
    first = replace(verification, id=replayed.verification_id, status=ended)
    return first.at(created, expires, ())
