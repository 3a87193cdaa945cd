"""Start a verification."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace

from pydantic_core import to_json

from otp_service.domain.applications import ASSERTION, NO_HUMAN_CHECK, Application, ClientIpSource
from otp_service.domain.client_tokens import ClientToken, ClientTokenRequest
from otp_service.domain.codes import DESTINATION, Details, derive_tag, seal_details, seal_mask
from otp_service.domain.consents import ConsentEvidence
from otp_service.domain.guard import SendAttempt
from otp_service.domain.keyring import IdempotentRequest, Keyring, first_byte
from otp_service.domain.numbers import (
    MAX_NUMBER_LENGTH,
    Destination,
    destination_of,
    ip_prefix_of,
    prefix_of,
    wider_prefix,
)
from otp_service.domain.payments import Transaction
from otp_service.domain.verification import (
    RECORD_GRACE,
    Delivery,
    DeliveryStatus,
    FactorKind,
    Purpose,
    PurposeKind,
    Status,
    Verification,
)
from otp_service.errors import (
    ClientIpRequiredError,
    FactorFirstError,
    ForbiddenError,
    InvalidTransactionError,
    NumberTypeNotAllowedError,
    StoreUnavailableError,
    UnacceptableError,
)
from otp_service.services.consents import check_evidence
from otp_service.services.context import Context
from otp_service.services.factors import active_factors, user_key
from otp_service.services.pricing import max_price
from otp_service.services.proofs import require_purpose, require_step_up
from otp_service.services.sender_registrations import require_message_allowed
from otp_service.services.verifications import (
    MetricLabels,
    VerificationView,
    canonical_transaction,
    count_outcome,
    count_record_only,
    count_refusal,
    count_rule_refusal,
    error_for,
    locale_of,
    require_channel,
)
from otp_service.store.verifications import (
    ANY_PENDING,
    NewVerification,
    Pending,
    Refusal,
    Replayed,
    Started,
    StartOutcome,
)
from otp_service.telemetry import metrics, tracing
from otp_service.telemetry.logging import current_request, get_logger

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class HumanCheckResult:
    """The caller's claim about a human check."""

    passed: bool = False
    """The caller's assertion that the end user passed."""
    token: str = field(default="", repr=False)
    """The token that the provider gave the end user's browser or app."""


@dataclass(slots=True)
class StartRequest:
    """A start as the caller requests it."""

    to: str = field(repr=False)
    region: str | None = None
    channel: str | None = None
    purpose: str = "login"
    locale: str | None = None
    client_ip: str | None = field(default=None, repr=False)
    """The end user's address, as the calling back end passes it."""
    peer_ip: str | None = field(default=None, repr=False)
    """The peer of the HTTP connection."""
    context: str | None = field(default=None, repr=False)
    """The caller's name for the end user's device or browser."""
    consent: ConsentEvidence | None = field(default=None, repr=False)
    """The end user's consent, without the prefix of the address."""
    human_check: HumanCheckResult = HumanCheckResult()
    transaction: Transaction | None = field(default=None, repr=False)
    """As the caller wrote it."""
    metadata: Mapping[str, str] = field(default_factory=dict, repr=False)
    user: str | None = field(default=None, repr=False)
    """The caller's name for the person; proofs contain it."""
    after: str | None = field(default=None, repr=False)
    """A proof that another purpose was approved before."""
    client_token: ClientTokenRequest | None = None
    return_url: str | None = field(default=None, repr=False)
    """The address that a hosted page returns to, which is allowed; ``None`` for no page."""
    allowed_pending: str = ANY_PENDING
    """Pending verification of the number and purpose that does not prevent this start: `ANY_PENDING`, `NOTHING`, or an
    identifier."""


class PendingError(Exception):
    """A verification is already pending. Raised only for a start that limits ``allowed_pending``."""

    def __init__(self, verification_id: str) -> None:
        super().__init__(verification_id)
        self.verification_id = verification_id


def start(
    context: Context, application: Application, request: StartRequest, retry: IdempotentRequest | None = None
) -> VerificationView:
    """Check a request, then count, record and queue it in one script; raises `OtpServiceError`.

    What needs no counter is checked first, and the human check last, since its provider may be called for it. A refused
    request stores only the guard's decision and breaker changes; one answered with `HumanCheckRequiredError` is counted
    as a request too. A ``retry`` that was answered before sends nothing and returns the first verification as it is
    now, with the same client token.
    """
    with count_outcome(metrics.starts, application) as labels:
        purpose = require_purpose(context, application, request.purpose)
        labels.purpose = purpose.name
        if request.client_token and request.client_token.origin not in {None, *application.browser_origins}:
            raise ForbiddenError("The origin of client_token is none of the application's browser_origins.")
        earlier = require_step_up(context, application, purpose, request.user, request.after)
        _require_message_wanted(context, application, purpose, request)
        transaction = _check_transaction(application, purpose, request.transaction)
        ip_prefix = _end_user_prefix(application, request)
        consent = _check_consent(application, request, ip_prefix)
        destination, record_only_rules = _check_destination(context, application, purpose, request, labels)
        channel = require_channel(context, purpose, destination.country, request.channel or purpose.channels[0])
        require_message_allowed(
            context, application, purpose, destination.country, channel, request.locale or application.locale
        )
        view = _new_verification(context, application, request, purpose, channel, destination, transaction)
        verification = view.verification
        attempt = _send_attempt(context, application, request, view, destination, ip_prefix)
        attempt.record_only_rules = record_only_rules
        attempt.checked = _passed_human_check(context, application, request)
        bucket = context.keyring.bucket(verification.pseudonym)
        new = NewVerification(
            bucket=bucket,
            verification=verification,
            tag=derive_tag(context.keyring, verification, 0),
            attempt=attempt,
            mirror_query=context.mirror_sync.query(bucket, application.consent, consent),
            payment=context.keyring.payment_names(application.name, transaction),
            retry=retry,
            trace=tracing.traceparent(),
            allowed_pending=request.allowed_pending,
            user=user_key(context, application.name, request.user) if request.user else None,
            earlier=earlier,
            request=current_request(),
        )
        outcome = context.store.verifications.start(new, context.rulesets[application.name])
        view = _view_of_outcome(context, view, outcome)
        view.client_token = _client_token(context.keyring, view.verification, request.client_token)
        return view


def _require_message_wanted(
    context: Context, application: Application, purpose: Purpose, request: StartRequest
) -> None:
    """Raise `FactorFirstError` if the user's app goes first, and `ForbiddenError` if only an app confirms."""
    sends = FactorKind.MESSAGE in purpose.factors
    is_first = purpose.factors[0] is FactorKind.TOTP and not (sends and request.channel)
    if is_first and request.user and (apps := active_factors(context, application, request.user)):
        raise FactorFirstError("A code of an authenticator app is asked for first; nothing was sent.", apps)
    if not sends:
        raise ForbiddenError(f"The purpose {purpose.name!r} is confirmed by authenticator apps alone.")


def _check_transaction(application: Application, purpose: Purpose, requested: Transaction | None) -> Transaction | None:
    """Return the transaction in canonical form; raise `InvalidTransactionError` unless the purpose confirms it."""
    transaction = canonical_transaction(application, requested)
    if purpose.kind is PurposeKind.TRANSACTION and transaction is None:
        raise InvalidTransactionError(f"The purpose {purpose.name!r} confirms a transaction; it is missing.")
    if purpose.kind is not PurposeKind.TRANSACTION and transaction is not None:
        raise InvalidTransactionError(f"The purpose {purpose.name!r} confirms no transaction.")
    return transaction


def _end_user_prefix(application: Application, request: StartRequest) -> str | None:
    """Return the network prefix of the end user's address, ``None`` if addresses do not count."""
    own = ip_prefix_of(request.client_ip) if request.client_ip is not None else None
    if application.client_ip is ClientIpSource.NONE:
        return None
    if own is None and application.client_ip is ClientIpSource.REQUIRED:
        raise ClientIpRequiredError("client_ip is missing: the address of the end user, not of your server.")
    if own is None and request.peer_ip is not None:
        own = ip_prefix_of(request.peer_ip)
    return own


def _check_consent(application: Application, request: StartRequest, ip_prefix: str | None) -> str:
    """Return the consent of a request as JSON, with the prefix of the end user's address; empty for none."""
    if request.consent is None:
        return ""
    check_evidence(application, request.consent)
    consent = replace(request.consent, address_prefix=prefix_of(ip_prefix) if ip_prefix else "")
    return to_json(consent).decode()


def _check_destination(
    context: Context, application: Application, purpose: Purpose, request: StartRequest, labels: MetricLabels
) -> tuple[Destination, tuple[str, ...]]:
    """Check a number, and count and record a refusal; return it with the record-only rules that apply."""
    try:
        destination = destination_of(application, request.to, request.region)
        labels.country = destination.country
        return destination, context.destinations.check(application, destination)
    except UnacceptableError as refused:
        if isinstance(refused, NumberTypeNotAllowedError) and not labels.country:  # a type that never receives codes
            refused.rule = "destination.type"
        if refused.rule is None:  # no number at all
            raise
        count_refusal(application.name, labels.country, refused.rule)
        with suppress(StoreUnavailableError):
            refused.decision = context.store.decisions.note(
                context.keyring.buckets[0],
                refused.rule,
                application.name,
                purpose.name,
                labels.country,
                current_request(),
            )
        raise


def _new_verification(
    context: Context,
    application: Application,
    request: StartRequest,
    purpose: Purpose,
    channel: str,
    destination: Destination,
    transaction: Transaction | None,
) -> VerificationView:
    """Return a verification as it will be recorded, without its times."""
    keyring = context.keyring
    pseudonym = keyring.pseudonym(destination.e164)
    verification_id = keyring.new_verification_id(first_byte(pseudonym))
    details = Details(transaction, request.metadata, request.user, request.return_url)
    sealed = keyring.seal(
        destination.e164.ljust(MAX_NUMBER_LENGTH).encode(),  # its length would reveal that of the number
        verification_id=verification_id,
        application=application.name,
        kind=DESTINATION,
    )
    verification = Verification(
        id=verification_id,
        application=application.name,
        pseudonym=pseudonym,
        status=Status.PENDING,
        country=destination.country,
        channel=channel,
        locale=request.locale or application.locale,
        purpose=purpose,
        created=0,
        expires=0,
        checks=0,
        sends=1,
        last_send=0,
        generation=0,
        transaction_digest=keyring.transaction_digest(verification_id, transaction),
        sealed_destination=sealed,
        sealed_mask=seal_mask(keyring, destination.mask, verification_id, application.name),
        sealed_details=seal_details(keyring, details, verification_id, application.name),
    )
    locale = locale_of(context, verification)
    return VerificationView(verification, details, destination.mask, locale, destination=destination.e164)


def _send_attempt(
    context: Context,
    application: Application,
    request: StartRequest,
    view: VerificationView,
    destination: Destination,
    ip_prefix: str | None,
) -> SendAttempt:
    """Return what the guard sees of a request, without record-only rules and human check."""
    keyring, verification = context.keyring, view.verification
    prefix_48 = wider_prefix(ip_prefix, 48) if ip_prefix else None
    prefix_32 = wider_prefix(ip_prefix, 32) if prefix_48 and ip_prefix else None
    return SendAttempt(
        number=verification.pseudonym,
        block=keyring.block_pseudonym(destination.block),
        ip_prefix=keyring.network_pseudonym(ip_prefix) if ip_prefix else "",
        prefix_48=keyring.network_pseudonym(prefix_48) if prefix_48 else "",
        prefix_32=keyring.network_pseudonym(prefix_32) if prefix_32 else "",
        device=keyring.device_pseudonym(application.name, request.context) if request.context else "",
        zone=application.zone_of(destination.country),
        allowlisted=destination.e164 in context.destinations.allowlisted,
        price=max_price(context, application, verification, verification.channel, view.details.transaction),
        number_prefix=destination.number_prefix,
    )


def _passed_human_check(context: Context, application: Application, request: StartRequest) -> bool:
    """Return whether the end user passed a human check; a token is verified with its provider."""
    claim, verifier = request.human_check, application.human_check
    if verifier == ASSERTION or not claim.token:
        return verifier == ASSERTION and claim.passed
    if verifier == NO_HUMAN_CHECK or verifier not in context.human_checks:
        return False
    runner = context.human_checks[verifier]
    outcome, reason = runner.verify(claim.token, request.client_ip or request.peer_ip, application.name)
    metrics.human_checks.count(check=verifier, outcome=outcome)
    if reason:
        _log.warning("human_check_unknown", check=verifier, reason=reason, application=application.name)
    return outcome == "passed"


def _view_of_outcome(context: Context, view: VerificationView, outcome: StartOutcome) -> VerificationView:
    """Return the verification that was started, now or before; raise the error of a refusal."""
    verification = view.verification
    match outcome:
        case Started(now, quota, record_only_rules):
            count_record_only(verification.application, verification.country, record_only_rules)
            queued = Delivery(
                message=1, dispatch=1, channel=verification.channel, gateway=None, status=DeliveryStatus.QUEUED,
                at=now, reason=None, begun=now,
            )  # fmt: skip
            verification.set_times(now, now + 1000 * verification.purpose.ttl, (queued,))
            view.quota = quota
            return view
        case Replayed(verification=first):
            if first and first.pseudonym != verification.pseudonym:  # the application's region has changed since
                raise error_for(Refusal.MISMATCH)
            if first is None:  # the record has expired: the idempotency key has its times and status
                stored, expires = outcome.remembered, int(outcome.remembered["expires"])
                is_over = stored["status"] == Status.PENDING and outcome.now >= expires
                status = Status.EXPIRED if is_over else Status(stored["status"])
                first = replace(verification, id=outcome.verification_id, status=status)
                first.set_times(int(stored["created"]), expires, ())
            return replace(view, verification=first, locale=locale_of(context, first))
        case Pending(verification_id):
            raise PendingError(verification_id)
        case _:
            count_rule_refusal(outcome, verification)
            raise error_for(outcome)


def _client_token(keyring: Keyring, verification: Verification, requested: ClientTokenRequest | None) -> str | None:
    """Return a token that ends with the verification's record; ``None`` if its root key is no longer configured."""
    if requested is None or keyring.bucket_of_id(verification.id) is None:
        return None
    expires = verification.expires // 1000 + RECORD_GRACE
    return ClientToken(verification.application, verification.id, requested.rights, requested.origin, expires).sign(
        keyring
    )
