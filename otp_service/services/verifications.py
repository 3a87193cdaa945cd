"""Check, resend, cancel and read verifications."""

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from otp_service.domain.applications import Application
from otp_service.domain.codes import Details, derive_tag, normalise_code, unseal_details, unseal_mask
from otp_service.domain.guard import GUARD_RULES, Disclosure, ceil_seconds, coarse_retry_after
from otp_service.domain.keyring import IdempotentRequest, Keyring
from otp_service.domain.payments import Transaction
from otp_service.domain.verification import Channel, CheckResult, Purpose, Resend, Status, Verification
from otp_service.errors import (
    BacklogFullError,
    ChannelNotAvailableError,
    ConflictError,
    ConsentOutdatedError,
    ConsentRequiredError,
    FrozenError,
    HumanCheckRequiredError,
    IdempotencyMismatchError,
    InvalidCodeError,
    InvalidTransactionError,
    LedgerUnavailableError,
    NoSendsLeftError,
    NotFoundError,
    NumberMismatchError,
    OtpServiceError,
    Quota,
    RateLimitedError,
    ResendTooSoonError,
    StepUpRequiredError,
    SuppressedError,
)
from otp_service.services.context import Context
from otp_service.services.pricing import max_resend_price
from otp_service.services.proofs import prove_verification
from otp_service.store.sandbox import CaughtMessage
from otp_service.store.signatures.verifications import TooSoon, WrongLength
from otp_service.store.verifications import (
    AlreadyFinal,
    Checked,
    FurtherMessage,
    HumanCheckNeeded,
    Queued,
    Refusal,
    RefusedByRule,
    StoreRefusal,
)
from otp_service.telemetry import metrics, tracing
from otp_service.telemetry.logging import current_request, get_logger
from otp_service.telemetry.metrics import OTHER, Counter

ACCEPTED = "accepted"
NOT_FOUND = "There is no such verification."
_log = get_logger(__name__)


@dataclass(slots=True)
class VerificationView:
    """A verification as its caller sees it, unsealed."""

    verification: Verification
    details: Details = field(repr=False)
    mask: str
    locale: str
    """BCP 47, of the last message; it may differ from the requested locale."""
    quota: Quota | None = None
    """The application's quota, after a message was queued."""
    client_token: str | None = field(default=None, repr=False)
    """Only if the start requested one."""
    destination: str = field(default="", repr=False)
    """The number in E.164. Only a start returns it: later reads have only the mask."""


@dataclass(slots=True)
class MetricLabels:
    """Labels of a request's metric; only checked values, so that no caller makes up new ones."""

    purpose: str = OTHER
    country: str = ""

    def count(self, counter: Counter, application: Application, outcome: str) -> None:
        counter.count(application=application.name, purpose=self.purpose, country=self.country, outcome=outcome)


def canonical_transaction(application: Application, transaction: Transaction | None) -> Transaction | None:
    """Return a payment in canonical form; raise `InvalidTransactionError`."""
    return transaction.canonical(application.payees) if transaction else None


def check(  # noqa: PLR0913 - all of it comes with a request
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
    """Count a guess, compare it, and consume a right code; raises `OtpServiceError`.

    A wrong code is a result; a text that cannot be a code of this verification is an error and not counted.
    ``pseudonym`` is that of the number that the caller expects, if any. ``proves`` allows a proof of the approval,
    where the application gets proofs.
    """
    digits = normalise_code(code)
    keyring, signer = context.keyring, context.proof_signer
    bucket = require_bucket(keyring, verification_id)
    agreed = canonical_transaction(application, transaction)
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
    """Return a verification for callers; raise `NotFoundError` for an approval that replicas do not have yet."""
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

    The record is read first, for the policy of its start; the script alone decides whether a message may go out.
    Neither the code's life nor a guess budget is renewed.
    """
    with count_outcome(metrics.resends, application) as labels:
        bucket, verification = find_verification(context, application, verification_id)
        purpose, country = verification.purpose, verification.country
        labels.purpose, labels.country = purpose.name, country
        channel = require_channel(context, purpose, country, channel or verification.channel)
        renew = purpose.resend is Resend.NEW_CODE
        next_tag = derive_tag(context.keyring, verification, verification.generation + 1) if renew else ""
        outcome = context.store.verifications.resend(
            bucket,
            verification,
            FurtherMessage(
                channel,
                next_tag,
                max_resend_price(context, verification, channel),
                trace=tracing.traceparent(),
                request=current_request(),
            ),
            context.mirror_sync.query(bucket, application.consent_for_resend),
            context.rulesets[application.name],
            retry,
        )
        match outcome:
            case Queued(sent, quota, record_only_rules):
                count_record_only(sent.application, sent.country, record_only_rules)
                return replace(view_of(context, sent), quota=quota)
            case _:
                count_rule_refusal(outcome, verification)
                raise error_for(outcome)


def cancel(
    context: Context, application: Application, verification_id: str, retry: IdempotentRequest | None = None
) -> VerificationView:
    """End a pending or canceled verification, and drop its queued message; raises `OtpServiceError`."""
    bucket = require_bucket(context.keyring, verification_id)
    outcome = context.store.verifications.cancel(
        bucket, verification_id, application.name, retry, request=current_request()
    )
    if isinstance(outcome, Verification):
        return view_of(context, outcome)
    raise error_for(outcome)


def find_verification(context: Context, application: Application, verification_id: str) -> tuple[str, Verification]:
    """Return bucket and record of an application's own verification; raises `NotFoundError`."""
    bucket = require_bucket(context.keyring, verification_id)
    verification = context.store.verifications.read(bucket, verification_id)
    if verification is None or verification.application != application.name:
        raise NotFoundError(NOT_FOUND)
    return bucket, verification


def require_bucket(keyring: Keyring, verification_id: str) -> str:
    """Return the bucket that an id names; raise `NotFoundError` for a malformed id."""
    bucket = keyring.bucket_of_id(verification_id)
    if bucket is None:
        raise NotFoundError(NOT_FOUND)
    return bucket


def view_of(context: Context, verification: Verification) -> VerificationView:
    details, mask = unseal_details(context.keyring, verification), unseal_mask(context.keyring, verification)
    return VerificationView(verification, details, mask, locale_of(context, verification))


def locale_of(context: Context, verification: Verification) -> str:
    """Return the locale of a verification's last message."""
    application = context.applications.get(verification.application)  # it may be gone since
    locales = (verification.locale, application.locale if application else verification.locale)
    only = context.sending_rules.rules_of(verification.country).languages
    return context.templates.locale(verification.purpose, Channel(verification.channel), *locales, only=only)


@contextmanager
def count_outcome(counter: Counter, application: Application) -> Iterator[MetricLabels]:
    """Count the request inside once, as `ACCEPTED` or by the error's code, with the labels known by then."""
    labels = MetricLabels()
    try:
        yield labels
    except OtpServiceError as refused:
        labels.count(counter, application, refused.code)
        raise
    labels.count(counter, application, ACCEPTED)


def count_refusal(application: str, country: str, rule: str) -> None:
    metrics.guard_refusals.count(application=application, country=country, rule=rule, mode="enforce")


def count_record_only(application: str, country: str, rules: Iterable[str]) -> None:
    """Count a message under the record-only rules that would have refused it."""
    for rule in rules:
        metrics.guard_refusals.count(application=application, country=country, rule=rule, mode="record_only")


def require_channel(context: Context, purpose: Purpose, country: str, channel: str) -> str:
    """Return a channel that the purpose offers and a gateway carries; raise `ChannelNotAvailableError` for others."""
    if channel not in purpose.channels:
        raise ChannelNotAvailableError(f"The purpose {purpose.name!r} does not offer {channel}.")
    if not context.routes.gateways_for(country, purpose.name, channel):
        raise ChannelNotAvailableError(f"No gateway carries {channel} to {country}.")
    return channel


def next_channel(
    context: Context, purpose: Purpose, country: str, channel: str, *, among: Collection[str] = tuple(Channel)
) -> str | None:
    """Return the next channel of a purpose after a failed channel; ``None`` after the last."""
    following = (later for later in purpose.channels_after(channel) if later in among)
    return next((later for later in following if context.routes.gateways_for(country, purpose.name, later)), None)


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
"""Sentences of rules for the application itself, where they differ from the rule's own."""


def count_rule_refusal(refused: StoreRefusal, verification: Verification) -> None:
    """Count a message of a verification that a rule of the guard refused."""
    if isinstance(refused, RefusedByRule | HumanCheckNeeded):
        count_refusal(verification.application, verification.country, refused.rule)


def error_for(refused: StoreRefusal) -> OtpServiceError:
    """Return the error for a refusal by the store.

    A recipient's limits and the lock for guesses get the same answer: it tells a stranger nothing of a number's use.
    """
    match refused:
        case RefusedByRule():
            return _rate_limit_error(refused)
        case HumanCheckNeeded(wait=wait, decision=decision):
            sentence = "Ask the end user for a human check, and start again with its result."
            human_check_required = HumanCheckRequiredError(sentence, coarse_retry_after(wait))
            human_check_required.decision = decision
            return human_check_required
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


def caught_messages(context: Context, application: Application, verification_id: str | None) -> list[CaughtMessage]:
    """Return caught messages of a verification, or the last 100, newest first; raises `NotFoundError`."""
    if not any(gateway.kind == "sandbox" for gateway in context.gateways.values()):
        raise NotFoundError("No sandbox gateway is configured.")
    return context.store.mailbox.messages(application.name, verification_id)
