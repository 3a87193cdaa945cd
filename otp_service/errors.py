"""The errors for callers; the API adds the HTTP status of each."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


@dataclass(frozen=True, slots=True)
class Quota:
    """State of one of an application's rate-limit windows after a request (IETF draft ratelimit-headers)."""

    amount: int
    """Maximum requests of the window."""
    seconds: int
    """Length of the window."""
    remaining: int
    reset: int
    """Seconds until more becomes available."""


# HTTP and the command line present an error by its ``code``, and never parse its message. A wrong one-time code is a
# result of a check, not an error.


class OtpServiceError(Exception):
    """Root of all errors that a caller may see; ``str(error)`` is safe to show and holds no personal data."""

    code = "internal"
    retry_after: int | None = None
    """Seconds to wait before a repetition; ``None`` where waiting does not help."""
    decision: str | None = None
    """Identifier of the guard's decision for ``otp-service guard explain``; ``None`` if no rule refused."""


class ConfigurationError(Exception):
    """The configuration is wrong. Not an `OtpServiceError`, so that no request handler hides it."""


class LedgerFormatError(ConfigurationError):
    """Another release made the ledger's tables. No service starts with them."""


# --- the request is not acceptable --------------------------------------------------------------------------


@dataclass(frozen=True)
class Fault:
    """A fault in a request body: its place (a JSON pointer, RFC 6901) and a sentence."""

    pointer: str
    message: str


class InvalidRequestError(OtpServiceError):
    """The body is not JSON, or a member is unknown, missing or of the wrong type."""

    code = "invalid-request"

    def __init__(self, message: str, faults: tuple[Fault, ...] = ()) -> None:
        super().__init__(message)
        self.faults = faults


class UnacceptableError(OtpServiceError):
    """The request is well formed, but a value in it cannot be used. Nothing was counted or sent."""

    rule: str | None = None
    """Id of the guard's rule that refused the value, if one did."""


class InvalidNumberError(UnacceptableError):
    """The destination is not a phone number that exists in a numbering plan."""

    code = "invalid-number"


class NumberTypeNotAllowedError(UnacceptableError):
    """The number is valid but of a type that does not receive SMS (fixed line, premium rate, satellite …)."""

    code = "number-type-not-allowed"


class CountryNotAllowedError(UnacceptableError):
    """The application may not send to the number's country."""

    code = "country-not-allowed"


class PrefixDeniedError(UnacceptableError):
    """The number begins with a prefix that ``guard.destinations`` denies."""

    code = "number-not-allowed"


class ChannelNotAvailableError(UnacceptableError):
    """The purpose does not offer the channel, or no route leads to the destination through it."""

    code = "channel-not-available"


class InvalidTransactionError(UnacceptableError):
    """The transaction is missing, not allowed for the purpose, or cannot be shown to a person safely."""

    code = "invalid-transaction"


class InvalidTimeError(UnacceptableError):
    """A time is in the past where only the future makes sense, or the other way round."""

    code = "invalid-time"


class InvalidCodeError(UnacceptableError):
    """The code could not have been issued: other characters than digits, or a wrong number of them."""

    code = "invalid-code"


class NumberMismatchError(UnacceptableError):
    """The code was sent to another number than the check names."""

    code = "number-mismatch"


class InvalidProofError(UnacceptableError):
    """The proof is none of ours, is another application's, or has ended."""

    code = "invalid-proof"


class ReturnUrlNotAllowedError(UnacceptableError):
    """The application may not send people from a page back to this address."""

    code = "return-url-not-allowed"


class InvalidResultError(UnacceptableError):
    """The result of a page is none of ours, is another application's, or has ended."""

    code = "invalid-result"


class InvalidSecretError(UnacceptableError):
    """The secret of an authenticator app cannot be taken over: it is no TOTP secret, or it is too short."""

    code = "invalid-secret"


class ClientIpRequiredError(UnacceptableError):
    """The application is configured to pass the end user's IP address, and did not."""

    code = "client-ip-required"


class ConsentRequiredError(UnacceptableError):
    """The application needs a consent for the number and the purpose, and there is none, or it was withdrawn."""

    code = "consent-required"


class ConsentOutdatedError(UnacceptableError):
    """A later consent, withdrawal or STOP makes this consent void."""

    code = "consent-outdated"


class ConsentNotKeptError(UnacceptableError):
    """The application is configured to keep no consents, so it may not record one."""

    code = "consent-not-kept"


class InvalidApplicationError(UnacceptableError):
    """The settings of an application name something that does not exist, or are unsafe."""

    code = "invalid-application"


class MessageNotAllowedError(UnacceptableError):
    """The rules of the destination's country forbid the message's sender or its text."""

    code = "message-not-allowed"

    def __init__(self, country: str, violation: str) -> None:
        """Keep the violation (`otp_service.domain.sending_rules.Violation`)."""
        super().__init__(f"Messages to {country} are not allowed: {violation}.")
        self.violation = violation


class InvalidUrlError(UnacceptableError):
    """Webhooks may not go to the address: it cannot be read, leads out of the internet, or nowhere."""

    code = "invalid-url"

    def __init__(self, detail: str, reason: str) -> None:
        """Take the detail for callers, and the ``reason`` for operators."""
        super().__init__(detail)
        self.reason = reason


class IdempotencyMismatchError(UnacceptableError):
    """The idempotency key was used before with another request."""

    code = "idempotency-mismatch"


# --- the caller may not do this -----------------------------------------------------------------------------


class UnauthenticatedError(OtpServiceError):
    """The API key is missing or not known."""

    code = "unauthenticated"


class ForbiddenError(OtpServiceError):
    """The application is known but may not do this."""

    code = "forbidden"


class StepUpRequiredError(OtpServiceError):
    """The purpose comes after an approval of another purpose by the same person, which was not proved."""

    code = "step-up-required"


class SuppressedError(OtpServiceError):
    """The number is suppressed: its holder, or an operator, wants no messages to it."""

    code = "recipient-suppressed"


class FrozenError(OtpServiceError):
    """The number is frozen after reported fraud: no message goes out and no code is approved."""

    code = "recipient-frozen"


class NotFoundError(OtpServiceError):
    """The object does not exist, or belongs to another application: the answer does not tell which."""

    code = "not-found"


# --- not possible in this state, or not yet -----------------------------------------------------------------


class ConflictError(OtpServiceError):
    """The state of the object does not allow the call: a verification is final, an API key has ended."""

    code = "conflict"


class NameTakenError(OtpServiceError):
    """An application with this name exists, in the ledger or in the configuration."""

    code = "name-taken"


class EndpointLimitError(OtpServiceError):
    """The application has the maximum number of endpoints for webhooks."""

    code = "endpoint-limit"


class AlreadyRedeemedError(OtpServiceError):
    """The proof, or the result of a page, was redeemed before, or its verification has expired."""

    code = "already-redeemed"


class FactorLimitError(OtpServiceError):
    """The user has the maximum number of factors."""

    code = "factor-limit"


class FactorFirstError(OtpServiceError):
    """The purpose asks for an authenticator app first, and the user has one. Nothing was sent."""

    code = "factor-first"

    def __init__(self, detail: str, factors: tuple[str, ...] = ()) -> None:
        """Take a sentence, and the identifiers of the user's apps."""
        super().__init__(detail)
        self.factors = factors


class FactorNotActiveError(OtpServiceError):
    """The factor waits for its first code, is active already, or was removed."""

    code = "factor-not-active"


class NoSendsLeftError(OtpServiceError):
    """The verification has used all its messages."""

    code = "no-sends-left"


class TooManyError(OtpServiceError):
    """The request is refused now, and may be repeated later."""

    def __init__(self, message: str, retry_after: int) -> None:
        """Keep the seconds to wait."""
        super().__init__(message)
        self.retry_after = retry_after


class RateLimitedError(TooManyError):
    """A limit is reached: one of the recipient's (the answer does not tell which) or the application's own quota."""

    code = "rate-limited"

    def __init__(self, message: str, retry_after: int, quota: Quota | None = None) -> None:
        """Keep the seconds to wait, and the application's ``quota`` if it is used up."""
        super().__init__(message, retry_after)
        self.quota = quota


class HumanCheckRequiredError(TooManyError):
    """A rule refuses the start now, and lets it pass once the end user has passed a human check."""

    code = "human-check-required"


class ResendTooSoonError(TooManyError):
    """The wait before the next message of this verification is not over."""

    code = "resend-too-soon"


# --- the service is not available ---------------------------------------------------------------------------


class StoreUnavailableError(OtpServiceError):
    """Redis did not answer in time. The request is refused, because no limit can be counted without Redis."""

    code = "store-unavailable"
    retry_after = 1

    def __init__(self, *message: str, nothing_ran: bool = False) -> None:
        super().__init__(*message)
        self.nothing_ran = nothing_ran
        """Whether it is certain that the request had no effect."""


MIRROR_IS_BEHIND: Final = "Redis' copy of the ledger is out of date: try again shortly."


class LedgerUnavailableError(OtpServiceError):
    """The ledger did not answer, or its mirror in Redis is behind, so an opt-out might be overlooked."""

    code = "ledger-unavailable"
    retry_after = 1

    def __init__(self, *message: str, file_replaced: bool = False) -> None:
        super().__init__(*message)
        self.file_replaced = file_replaced
        """Whether SQLite's file was replaced or removed, so that writes of this process would be lost."""


class LedgerMismatchError(LedgerUnavailableError):
    """Redis, the ledger and the pseudonym key do not belong together; an operator has to decide what to do."""

    code = "ledger-mismatch"
    retry_after = 60


class BacklogFullError(OtpServiceError):
    """Codes would arrive too late behind the waiting messages; starts are refused until workers catch up."""

    code = "backlog-full"
    retry_after = 5


class RefusalName(StrEnum):
    """Names of the refusals to start, as docs/refusals.md and the tests use them."""

    KEY_MISSING = "key-missing"
    KEY_INVALID = "key-invalid"
    SAMPLE_KEY = "sample-key"
    EVICTION = "eviction"
    OTHER_INSTALLATION = "other-installation"
    OTHER_FORMAT = "other-format"
    CLUSTER_ADDRESS = "cluster-address"
    KEY_STILL_NEEDED = "key-still-needed"
    LEDGER_NOT_MADE = "ledger-not-made"
    LEDGER_OF_OTHER_FORMAT = "ledger-of-other-format"
    LEDGER_OF_OTHER_KEY = "ledger-of-other-key"
    RESIDENCY = "residency"
    CONSENT_NOT_REQUIRED = "consent-not-required"
    NO_SENDER = "no-sender"
    SENDER_NOT_SHOWN = "sender-not-shown"
    TEMPLATE_NOT_APPROVED = "template-not-approved"
    # The refusals above hold everywhere, the ones below in production only.
    KEY_USED_TWICE = "key-used-twice"
    OPEN_FILE = "open-file"
    SAMPLE_SECRET = "sample-secret"  # noqa: S105 - a name
    REDIS_UNENCRYPTED = "redis-unencrypted"
    LEDGER_UNENCRYPTED = "ledger-unencrypted"
    CERTIFICATE_NOT_VERIFIED = "certificate-not-verified"
    GATEWAY_UNENCRYPTED = "gateway-unencrypted"
    POLICY_UNENCRYPTED = "policy-unencrypted"
    GATEWAY_FOR_DEVELOPMENT = "gateway-for-development"
    ALL_COUNTRIES = "all-countries"
    ORIGIN_FOR_DEVELOPMENT = "origin-for-development"
    NO_CEILING = "no-ceiling"
    PRICE = "price"
    NUMBER_LIMIT = "number-limit"
    GUESS_LIMIT = "guess-limit"
    VITAL_RULE = "vital-rule"
    FRAUD_RULE = "fraud-rule"
    NO_PURPOSE = "no-purpose"
    NO_GATEWAY = "no-gateway"
    SIM_BOX = "sim-box"


@dataclass(frozen=True, slots=True)
class StartRefusal:
    """A reason for not starting a process. No part of it shows a secret."""

    name: RefusalName
    place: str
    """A setting, an environment variable, or a setting of a server."""
    sentence: str
    """The fault, as a sentence."""
    action: str
    """The operator's remedy, as sentences."""

    def __str__(self) -> str:
        return f"{self.place}: {self.sentence} {self.action} [{self.name}]"


class StartRefusedError(ConfigurationError):
    """A process must not start with these settings. The text has a line for each refusal."""

    def __init__(self, *refusals: StartRefusal) -> None:
        super().__init__("\n".join(map(str, refusals)))
        self.refusals = refusals
