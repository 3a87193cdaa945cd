"""Check, resend, cancel and read verifications."""

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from otp_service.domain.applications import Application
from otp_service.domain.codes import (
    Details,
    derive_tag,
    normalise_code,
    unseal_details,
    unseal_mask,
)
from otp_service.domain.guard import GUARD_RULES, Disclosure, ceil_seconds, coarse_retry_after
from otp_service.domain.keyring import IdempotentRequest, Keyring
from otp_service.domain.payments import Transaction
from otp_service.domain.verification import (
    Channel,
    CheckResult,
    Purpose,
    Resend,
    Status,
    Verification,
)
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
from otp_service.store.verifications import (
    AlreadyFinal,
    Canceled,
    Checked,
    FurtherMessage,
    HumanCheckNeeded,
    Queued,
    Refusal,
    RefusedByRule,
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


def canonical_transaction(application: Application, transaction: Transaction | None) -> Transaction | None:
    """Return a payment in canonical form; raise `InvalidTransactionError`."""
    return transaction.canonical(application.payees) if transaction else None


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


def count_rule_refusal(refused: StoreRefusal, verification: Verification) -> None:
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
