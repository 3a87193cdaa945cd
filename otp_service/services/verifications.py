"""Start, resend, check, cancel and read verifications."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace

from otp_service.domain.applications import ASSERTION, NO_HUMAN_CHECK, Application, ClientIpSource
from otp_service.domain.client_tokens import ClientToken, ClientTokenRequest
from otp_service.domain.codes import (
    DESTINATION,
    Details,
    derive_tag,
    normalise_code,
    seal_details,
    seal_mask,
    unseal_details,
    unseal_mask,
)
from otp_service.domain.consents import ConsentEvidence
from otp_service.domain.guard import GUARD_RULES, Disclosure, SendAttempt, ceil_seconds, coarse_retry_after
from otp_service.domain.keyring import IdempotentRequest, Keyring, first_byte
from otp_service.domain.numbers import (
    MAX_NUMBER_LENGTH,
    Destination,
    destination_of,
    network_of,
    prefix_of,
    provider_network_of,
    wide_network_of,
)
from otp_service.domain.payments import Transaction
from otp_service.domain.proofs import EarlierApproval
from otp_service.domain.verification import (
    RECORD_GRACE,
    Channel,
    CheckResult,
    Delivery,
    DeliveryStatus,
    FactorKind,
    Purpose,
    PurposeKind,
    Resend,
    Status,
    Verification,
)
from otp_service.errors import (
    BacklogFullError,
    ChannelNotAvailableError,
    ClientIpRequiredError,
    ConflictError,
    ConsentOutdatedError,
    ConsentRequiredError,
    FactorFirstError,
    ForbiddenError,
    FrozenError,
    HumanCheckRequiredError,
    IdempotencyMismatchError,
    InvalidCodeError,
    InvalidTransactionError,
    LedgerUnavailableError,
    NoSendsLeftError,
    NotFoundError,
    NumberMismatchError,
    NumberTypeNotAllowedError,
    OtpServiceError,
    Quota,
    RateLimitedError,
    ResendTooSoonError,
    StepUpRequiredError,
    StoreUnavailableError,
    SuppressedError,
    UnacceptableError,
)
from otp_service.services.consents import check_evidence, encode_evidence
from otp_service.services.context import Context
from otp_service.services.factors import active_factors, user_key
from otp_service.services.pricing import max_price, max_resend_price
from otp_service.services.proofs import prove_verification, require_purpose, require_step_up
from otp_service.services.sender_registrations import require_message_allowed
from otp_service.store.sandbox import CaughtMessage
from otp_service.store.verifications import (
    ANY_PENDING,
    AlreadyFinal,
    Canceled,
    Checked,
    FurtherMessage,
    HumanCheckNeeded,
    Pending,
    Queued,
    Refusal,
    RefusedByRule,
    Replayed,
    Started,
    StoreRefusal,
    TooSoon,
    WrongLength,
)
from otp_service.telemetry import metrics, tracing
from otp_service.telemetry.logging import current_request, get_logger
from otp_service.telemetry.metrics import OTHER, Counter

ACCEPTED = "accepted"
NOT_FOUND = "There is no such verification."
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class HumanCheckResult:
    """What a caller says of a human check."""

    passed: bool = False
    """That the end user passed it: its own assertion."""
    token: str = field(default="", repr=False)
    """What the end user's browser or app got for passing it."""


@dataclass(slots=True)
class StartRequest:
    """A start, as the caller asks for it."""

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
    consent: ConsentEvidence | None = field(default=None, repr=False)
    """That the end user agreed to this, without the prefix of the address."""
    human_check: HumanCheckResult = HumanCheckResult()
    transaction: Transaction | None = field(default=None, repr=False)
    """As the caller wrote it."""
    metadata: Mapping[str, str] = field(default_factory=dict, repr=False)
    user: str | None = field(default=None, repr=False)
    """The caller's own name of the person, for proofs."""
    after: str | None = field(default=None, repr=False)
    """A proof that the person approved another purpose before."""
    client_token: ClientTokenRequest | None = None
    return_url: str | None = field(default=None, repr=False)
    """Where the person goes back to from a hosted page, which is allowed; ``None`` for no page."""
    allowed_pending: str = ANY_PENDING
    """Pending verification of the number and purpose that does not prevent this start: `ANY_PENDING`, `NOTHING`, or an
    identifier."""


@dataclass(slots=True)
class VerificationView:
    """A verification as its caller sees it, unsealed."""

    verification: Verification
    details: Details = field(repr=False)
    mask: str
    locale: str
    """BCP 47, of the last message; it may not be the one that was asked for."""
    quota: Quota | None = None
    """The application's own after a message was queued."""
    client_token: str | None = field(default=None, repr=False)
    """Where the start asked for one."""
    destination: str = field(default="", repr=False)
    """The number in E.164, of a start alone: it is kept sealed, and what is read later has its mask."""


@dataclass(slots=True)
class MetricLabels:
    """Labels of a request's metric; only checked values, so that no caller makes up new ones."""

    purpose: str = OTHER
    country: str = ""

    def count(self, counter: Counter, application: Application, outcome: str) -> None:
        """Count the request by what became of it."""
        counter.count(application=application.name, purpose=self.purpose, country=self.country, outcome=outcome)


def start(
    context: Context, application: Application, request: StartRequest, retry: IdempotentRequest | None = None
) -> VerificationView:
    """Check a request, then count, record and queue it in one script; raises `OtpServiceError`.

    Of a refused request the guard's decision is kept, and what it changed of breakers; one that is answered with
    `HumanCheckRequiredError` is counted as a request as well. Where a ``retry`` was answered before, nothing is sent,
    and the first verification is returned as it is now, with the same client token.
    """
    with count_outcome(metrics.starts, application) as labels:
        view, attempt, consent, earlier = _check_request(context, application, request, labels)
        started = _start_in_store(context, application, view, attempt, consent, earlier, retry, request.allowed_pending)
        started.client_token = _client_token(context.keyring, started.verification, request.client_token)
        return started


class PendingError(Exception):
    """A verification is already pending. Raised only for a start that limits ``allowed_pending``."""

    def __init__(self, verification_id: str) -> None:
        super().__init__(verification_id)
        self.verification_id = verification_id


def _check_request(
    context: Context, application: Application, request: StartRequest, labels: MetricLabels
) -> tuple[VerificationView, SendAttempt, str, EarlierApproval | None]:
    """Check all that needs no counter; set ``labels``.

    First whether the person is to get a message at all, then the request itself; the human check, for which its
    provider may be called, last.

    Return the verification to record, without its times; what the guard sees of it; the consent as JSON; and the
    earlier approval that the purpose needs.
    """
    purpose = require_purpose(context, application, request.purpose)
    labels.purpose = purpose.name
    _check_origin(application, request.client_token)
    earlier = require_step_up(context, application, purpose, request.user, request.after)
    _require_message_wanted(context, application, purpose, request)
    transaction = _check_transaction(application, purpose, request.transaction)
    network = _end_user_network(application, request)
    consent = _check_consent(application, request, network)
    destination, record_only_rules = _check_destination(context, application, purpose, request, labels)
    channel = require_channel(context, purpose, destination.country, request.channel or purpose.channels[0])
    require_message_allowed(
        context, application, purpose, destination.country, channel, request.locale or application.locale
    )
    view = _new_verification(context, application, request, purpose, channel, destination, transaction)
    attempt = _describe_for_guard(context, application, request, view, destination, network, record_only_rules)
    attempt.checked = _passed_human_check(context, application, request)
    return view, attempt, consent, earlier


def _check_origin(application: Application, wanted: ClientTokenRequest | None) -> None:
    if wanted and wanted.origin is not None and wanted.origin not in application.browser_origins:
        raise ForbiddenError("The origin of client_token is none of the application's browser_origins.")


def _client_token(keyring: Keyring, verification: Verification, wanted: ClientTokenRequest | None) -> str | None:
    """Return a token that ends with the verification's record; ``None`` where its root key has gone since."""
    if wanted is None or keyring.bucket_of_id(verification.id) is None:
        return None
    expires = verification.expires // 1000 + RECORD_GRACE
    return ClientToken(verification.application, verification.id, wanted.rights, wanted.origin, expires).sign(keyring)


def _require_message_wanted(
    context: Context, application: Application, purpose: Purpose, request: StartRequest
) -> None:
    """Raise `FactorFirstError` where the user's app goes first, and `ForbiddenError` where only an app confirms."""
    sends = FactorKind.MESSAGE in purpose.factors
    is_first = purpose.factors[0] is FactorKind.TOTP and not (sends and request.channel)
    if is_first and request.user and (apps := active_factors(context, application, request.user)):
        raise FactorFirstError("A code of an authenticator app is asked for first; nothing was sent.", apps)
    if not sends:
        raise ForbiddenError(f"The purpose {purpose.name!r} is confirmed by authenticator apps alone.")


def _check_transaction(application: Application, purpose: Purpose, given: Transaction | None) -> Transaction | None:
    """Return the transaction in canonical form; raise `InvalidTransactionError` if the purpose wants another."""
    transaction = _canonical(application, given)
    if purpose.kind is PurposeKind.TRANSACTION and transaction is None:
        raise InvalidTransactionError(f"The purpose {purpose.name!r} confirms a transaction; it is missing.")
    if purpose.kind is not PurposeKind.TRANSACTION and transaction is not None:
        raise InvalidTransactionError(f"The purpose {purpose.name!r} confirms no transaction.")
    return transaction


def _canonical(application: Application, given: Transaction | None) -> Transaction | None:
    return given.canonical(application.payees) if given else None


def _end_user_network(application: Application, request: StartRequest) -> str | None:
    """Return the end user's network, ``None`` where addresses do not count."""
    own = network_of(request.client_ip) if request.client_ip is not None else None
    if application.client_ip is ClientIpSource.NONE:
        return None
    if own is None and application.client_ip is ClientIpSource.REQUIRED:
        raise ClientIpRequiredError("client_ip is missing: the address of the end user, not of your server.")
    if own is None and request.peer_ip is not None:
        own = network_of(request.peer_ip)
    return own


def _check_consent(application: Application, request: StartRequest, network: str | None) -> str:
    """Return the consent that came with a request as JSON, with the prefix of the end user's address."""
    if request.consent is None:
        return ""
    check_evidence(application, request.consent)
    return encode_evidence(replace(request.consent, address_prefix=prefix_of(network) if network else ""))


def _check_destination(
    context: Context, application: Application, purpose: Purpose, request: StartRequest, labels: MetricLabels
) -> tuple[Destination, tuple[str, ...]]:
    """Check a number against the rules on destinations; return it with the record-only rules that apply."""
    try:
        destination = destination_of(application, request.to, request.region)
    except NumberTypeNotAllowedError as refused:  # of no country, or of a type that never receives codes
        refused.rule = "destination.type"
        _record_refusal(context, application, purpose, refused, country="")
        raise
    labels.country = destination.country
    try:
        return destination, context.destinations.check(application, destination)
    except UnacceptableError as refused:
        _record_refusal(context, application, purpose, refused, destination.country)
        raise


def _record_refusal(
    context: Context, application: Application, purpose: Purpose, refused: UnacceptableError, country: str
) -> None:
    """Count the refusal of a number, and record it as a decision if Redis answers."""
    rule = refused.rule or ""
    count_refusal(application.name, country, rule)
    with suppress(StoreUnavailableError):
        bucket = context.keyring.buckets[0]
        refused.decision = context.store.decisions.note_refusal(
            bucket, rule, application.name, purpose.name, country, current_request()
        )


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
        destination.e164.ljust(MAX_NUMBER_LENGTH).encode(),  # its length would tell of it
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


def _describe_for_guard(
    context: Context,
    application: Application,
    request: StartRequest,
    view: VerificationView,
    destination: Destination,
    network: str | None,
    record_only_rules: tuple[str, ...],
) -> SendAttempt:
    """Return what the guard sees of a request, except for a human check."""
    keyring, verification = context.keyring, view.verification
    wide = wide_network_of(network) if network else None
    provider = provider_network_of(network) if wide and network else None
    return SendAttempt(
        number=verification.pseudonym,
        block=keyring.block_pseudonym(destination.block),
        network=keyring.network_pseudonym(network) if network else "",
        wide_network=keyring.network_pseudonym(wide) if wide else "",
        provider=keyring.network_pseudonym(provider) if provider else "",
        device=keyring.device_pseudonym(application.name, request.context) if request.context else "",
        place=application.place_of(destination.country),
        safe=destination.e164 in context.destinations.safe,
        price=max_price(context, application, verification, verification.channel, view.details.transaction),
        record_only_rules=record_only_rules,
        number_prefix=destination.number_prefix,
    )


def _passed_human_check(context: Context, application: Application, request: StartRequest) -> bool:
    """Tell whether the end user passed a human check; call its provider when the request carries a token for it."""
    given, verifier = request.human_check, application.human_check
    if verifier == ASSERTION or not given.token:
        return verifier == ASSERTION and given.passed
    if verifier == NO_HUMAN_CHECK or verifier not in context.human_checks:
        return False
    runner = context.human_checks[verifier]
    outcome, reason = runner.verify(given.token, request.client_ip or request.peer_ip, application.name)
    metrics.human_checks.count(check=verifier, outcome=outcome)
    if reason:
        _log.warning("human_check_unknown", check=verifier, reason=reason, application=application.name)
    return outcome == "passed"


def _start_in_store(  # noqa: PLR0913, PLR0917 - all of it comes with one request
    context: Context,
    application: Application,
    view: VerificationView,
    attempt: SendAttempt,
    consent: str,
    earlier: EarlierApproval | None,
    retry: IdempotentRequest | None,
    allowed_pending: str,
) -> VerificationView:
    keyring, verification, user = context.keyring, view.verification, view.details.user
    outcome = context.store.verifications.start(
        keyring.bucket(verification.pseudonym),
        verification,
        derive_tag(keyring, verification, 0),
        attempt,
        context.mirror_sync.query(application.consent, consent),
        keyring.payment_names(application.name, view.details.transaction),
        context.rulesets[application.name],
        retry,
        tracing.traceparent(),
        allowed_pending,
        user_key(context, application.name, user) if user else None,
        earlier,
        current_request(),
    )
    match outcome:
        case Started(now, quota, record_only_rules):
            count_record_only(application.name, verification.country, record_only_rules)
            queued = Delivery(
                message=1, dispatch=1, channel=verification.channel, gateway=None, status=DeliveryStatus.QUEUED,
                at=now, reason=None, begun=now,
            )  # fmt: skip
            verification.set_times(now, now + 1000 * verification.purpose.ttl, (queued,))
            view.quota = quota
            return view
        case Replayed(verification=found):
            if found and found.pseudonym != verification.pseudonym:  # the application's region is another by now
                raise error_for(Refusal.MISMATCH)
            found = found or _from_idempotency_key(verification, outcome)
            return replace(view, verification=found, locale=locale_of(context, found))
        case Pending(verification_id):
            raise PendingError(verification_id)
        case _:
            _count_if_by_rule(outcome, verification)
            raise error_for(outcome)


def _from_idempotency_key(verification: Verification, replayed: Replayed) -> Verification:
    """Return what the idempotency key remembers of a verification whose record is gone."""
    created, expires = int(replayed.remembered["created"]), int(replayed.remembered["expires"])
    status = Status(replayed.remembered["status"])
    ended = Status.EXPIRED if status is Status.PENDING and replayed.now >= expires else status
    first = replace(verification, id=replayed.verification_id, status=ended)
    first.set_times(created, expires, ())
    return first


def check(  # noqa: PLR0913 - all of it comes with one request
    context: Context,
    application: Application,
    verification_id: str,
    code: str,
    transaction: Transaction | None = None,
    retry: IdempotentRequest | None = None,
    *,
    pseudonym: str = "",
    proves: bool = True,
) -> CheckResult:
    """Count a guess, compare it, and consume the code when it is right; raises `OtpServiceError`.

    A wrong code is a result. Whatever could not be a code of this verification is an error and not counted.
    ``pseudonym``: of the number that the caller expects, if any. ``proves``: the caller may have a proof of the
    approval, where the application gets proofs.
    """
    digits = normalise_code(code)
    keyring, signer = context.keyring, context.proof_signer
    bucket = require_bucket(keyring, verification_id)
    agreed = _canonical(application, transaction)
    digest = keyring.transaction_digest(verification_id, agreed)
    outcome = context.store.verifications.check(
        bucket,
        verification_id,
        application.name,
        keyring.tag(verification_id, application.name, digest, digits),
        len(digits),
        digest,
        context.rulesets[application.name],
        retry,
        evidence_lives=signer.evidence_lives if signer and application.proofs else "",
        with_record=proves and application.proofs,
        pseudonym=pseudonym,
        request=current_request(),
    )
    match outcome:
        case Checked(status, reason, checks_left, at, alarm, approved):
            if alarm:
                metrics.wrong_code_alarms.count(application=application.name)
                _log.warning("application_failures", application=application.name, advice="otp-service guard status")
            metrics.checks.count(application=application.name, outcome=reason or Status.APPROVED)
            proof = prove_verification(context, approved, agreed, at, digits) if approved else None
            return CheckResult(verification_id, status, reason is None, checks_left, reason, proof, at)
        case _:
            raise error_for(outcome)


def read(context: Context, application: Application, verification_id: str) -> VerificationView:
    """Return an application's own verification as it is now; raises `NotFoundError`."""
    return view_of(context, replicated(context, *find_verification(context, application, verification_id)))


def replicated(context: Context, bucket: str, verification: Verification) -> Verification:
    """Return a verification as callers may read it: an approval once replicas have it, and canceled if it was revoked.

    Raises `NotFoundError` for an approved one that replicas do not have.
    """
    if verification.status is not Status.APPROVED:
        return verification
    known = context.store.verifications.read_approved(bucket, verification.id)
    if known is None:
        raise NotFoundError(NOT_FOUND)
    return known


def resend(
    context: Context,
    application: Application,
    verification_id: str,
    channel: str | None = None,
    retry: IdempotentRequest | None = None,
) -> VerificationView:
    """Queue a further message, by default through the channel of the last one; raises `OtpServiceError`.

    The record is read first, for the policy that it was started with; whether a message may go out is decided by
    the script alone. Neither the code's life nor a guess budget is renewed.
    """
    with count_outcome(metrics.resends, application) as labels:
        bucket, verification = find_verification(context, application, verification_id)
        purpose, country = verification.purpose, verification.country
        labels.purpose, labels.country = purpose.name, country
        wanted = require_channel(context, purpose, country, channel or verification.channel)
        renew = purpose.resend is Resend.NEW_CODE
        next_tag = derive_tag(context.keyring, verification, verification.generation + 1) if renew else ""
        outcome = context.store.verifications.resend(
            bucket,
            verification,
            FurtherMessage(
                wanted,
                next_tag,
                max_resend_price(context, verification, wanted),
                trace=tracing.traceparent(),
                request=current_request(),
            ),
            context.mirror_sync.query(application.consent_for_resend),
            context.rulesets[application.name],
            retry,
        )
        match outcome:
            case Queued(sent, quota, record_only_rules):
                count_record_only(sent.application, sent.country, record_only_rules)
                return replace(view_of(context, sent), quota=quota)
            case _:
                _count_if_by_rule(outcome, verification)
                raise error_for(outcome)


def cancel(
    context: Context, application: Application, verification_id: str, retry: IdempotentRequest | None = None
) -> VerificationView:
    """End a pending verification: its code is dead, a message still queued is dropped; raises `OtpServiceError`.

    One that is canceled already is returned as it is.
    """
    bucket = require_bucket(context.keyring, verification_id)
    outcome = context.store.verifications.cancel(
        bucket, verification_id, application.name, retry, request=current_request()
    )
    match outcome:
        case Canceled(verification):
            return view_of(context, verification)
        case _:
            raise error_for(outcome)


def find_verification(context: Context, application: Application, verification_id: str) -> tuple[str, Verification]:
    """Return bucket and record of an application's own verification; raises `NotFoundError`."""
    bucket = require_bucket(context.keyring, verification_id)
    found = context.store.verifications.read(bucket, verification_id)
    if found is None or found.application != application.name:
        raise NotFoundError(NOT_FOUND)
    return bucket, found


def require_bucket(keyring: Keyring, verification_id: str) -> str:
    """Return the bucket that an id names; raise `NotFoundError` for what cannot be an id of ours."""
    bucket = keyring.bucket_of_id(verification_id)
    if bucket is None:
        raise NotFoundError(NOT_FOUND)
    return bucket


def view_of(context: Context, verification: Verification) -> VerificationView:
    """Return a recorded verification as its caller may see it."""
    details, mask = unseal_details(context.keyring, verification), unseal_mask(context.keyring, verification)
    return VerificationView(verification, details, mask, locale_of(context, verification))


def locale_of(context: Context, verification: Verification) -> str:
    """Return in which locale the last message of a verification is."""
    application = context.applications.get(verification.application)  # it may have gone since
    wanted = (verification.locale, application.locale if application else verification.locale)
    only = context.sending_rules.rules_of(verification.country).languages
    return context.templates.locale(verification.purpose, Channel(verification.channel), *wanted, only=only)


@contextmanager
def count_outcome(counter: Counter, application: Application) -> Iterator[MetricLabels]:
    """Count what happens inside once, as `ACCEPTED` or by the error's code, with the labels known by then."""
    labels = MetricLabels()
    try:
        yield labels
    except OtpServiceError as refused:
        labels.count(counter, application, refused.code)
        raise
    labels.count(counter, application, ACCEPTED)


def count_refusal(application: str, country: str, rule: str) -> None:
    """Count a message that a rule of the guard refused."""
    metrics.guard_refusals.count(application=application, country=country, rule=rule, mode="enforce")


def count_record_only(application: str, country: str, rules: Iterable[str]) -> None:
    """Count a message under the rules that only record, and would have refused it."""
    for rule in rules:
        metrics.guard_refusals.count(application=application, country=country, rule=rule, mode="record_only")


def require_channel(context: Context, purpose: Purpose, country: str, wanted: str) -> str:
    """Return the wanted channel if it can be used.

    Raises `ChannelNotAvailableError` when the purpose does not offer it, or no gateway carries it to the country.
    """
    if wanted not in purpose.channels:
        raise ChannelNotAvailableError(f"The purpose {purpose.name!r} does not offer {wanted}.")
    if not context.routes.gateways_for(country, purpose.name, wanted):
        raise ChannelNotAvailableError(f"No gateway carries {wanted} to {country}.")
    return wanted


def can_reach(context: Context, verification: Verification, channel: str) -> bool:
    """Tell whether a gateway carries a channel to a verification's number."""
    return bool(context.routes.gateways_for(verification.country, verification.purpose.name, channel))


def next_channel(
    context: Context, purpose: Purpose, country: str, channel: str, *, among: Collection[str] = tuple(Channel)
) -> str | None:
    """Return the next channel of a purpose after one that failed; ``None`` when there is none."""
    following = (one for one in purpose.channels_after(channel) if one in among)
    return next((one for one in following if context.routes.gateways_for(country, purpose.name, one)), None)


_ERRORS: dict[Refusal, tuple[type[OtpServiceError], str]] = {
    Refusal.NOT_FOUND: (NotFoundError, NOT_FOUND),
    Refusal.NUMBER_MISMATCH: (NumberMismatchError, "The code was sent to another number."),
    Refusal.MISMATCH: (IdempotencyMismatchError, "The idempotency key was used before with another request."),
    Refusal.TRANSACTION_MISSING: (InvalidTransactionError, "The purpose confirms a transaction; it is missing."),
    Refusal.TRANSACTION_UNWANTED: (InvalidTransactionError, "The purpose confirms no transaction."),
    Refusal.NO_SENDS_LEFT: (NoSendsLeftError, "All messages of this verification have been sent."),
    Refusal.EVENTS_FULL: (LedgerUnavailableError, "Too much that happened is not recorded yet."),
    Refusal.MIRROR_BEHIND: (LedgerUnavailableError, "Opt-outs cannot be checked right now."),
    Refusal.SUPPRESSED: (SuppressedError, "This person or your operator wants no messages to the number."),
    Refusal.FROZEN: (FrozenError, "The number, or the user, is frozen: fraud was reported."),
    Refusal.STEP_UP: (StepUpRequiredError, "What after proves is too old, was used, or was revoked."),
    Refusal.CONSENT_REQUIRED: (ConsentRequiredError, "No consent for this number and purpose is in force."),
    Refusal.CONSENT_OUTDATED: (ConsentOutdatedError, "The consent was withdrawn after this one was given."),
    Refusal.BACKLOG_FULL: (BacklogFullError, "Too many messages wait to be delivered."),
    Refusal.CONFLICT: (ConflictError, "Another resend of this verification was faster."),
}
_APPLICATION_RULES = {
    "application.requests": "The application's quota is used up.",
    "application.failures": "Most codes that the application checks are wrong; messages are stopped for a while.",
}
"""Sentences for rules about the application itself, where they differ from the rule's own."""


def _count_if_by_rule(refused: StoreRefusal, verification: Verification) -> None:
    """Count a message of a verification that a rule of the guard refused."""
    if isinstance(refused, RefusedByRule | HumanCheckNeeded):
        count_refusal(verification.application, verification.country, refused.rule)


def error_for(refused: StoreRefusal) -> OtpServiceError:
    """Return the error for a refusal by the store.

    A recipient's limits, the lock for guesses among them, are answered alike: a stranger shall not learn from
    them what others do with a number.
    """
    match refused:
        case RefusedByRule():
            return _rate_limit_error(refused)
        case HumanCheckNeeded(wait=wait, decision=decision):
            return _human_check_error(wait, decision)
        case TooSoon(wait):
            return ResendTooSoonError("The last message was sent too recently.", ceil_seconds(wait))
        case AlreadyFinal(status):
            return ConflictError(f"The verification is {status}.")
        case WrongLength(length):
            return InvalidCodeError(f"The codes of this verification have {length} digits.")
        case _:
            error, message = _ERRORS[refused]
            return error(message)


def _rate_limit_error(refused: RefusedByRule) -> RateLimitedError:
    rule = GUARD_RULES[refused.rule]
    if rule.disclosure is Disclosure.FULLY:
        quota = refused.quota if refused.rule == "application.requests" else None
        error = RateLimitedError(_APPLICATION_RULES.get(refused.rule, rule.sentence), ceil_seconds(refused.wait), quota)
    else:
        error = RateLimitedError("Too many requests for this recipient.", coarse_retry_after(refused.wait))
    error.decision = refused.decision
    return error


def _human_check_error(wait: int, decision: str) -> HumanCheckRequiredError:
    sentence = "Ask the end user for a human check, and start again with its result."
    error = HumanCheckRequiredError(sentence, coarse_retry_after(wait))
    error.decision = decision
    return error


SANDBOX_KIND = "sandbox"


def caught_messages(context: Context, application: Application, verification_id: str | None) -> list[CaughtMessage]:
    """Return an application's caught messages, newest first: of one verification, or the last 100.

    Raises `NotFoundError` where no sandbox gateway is configured.
    """
    if not any(gateway.kind == SANDBOX_KIND for gateway in context.gateways.values()):
        raise NotFoundError("There is no sandbox gateway here.")
    return context.store.mailbox.messages(application.name, verification_id)
