"""Errors that callers see, as one tree; the API gives each its status and its problem code."""

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Quota:
    """State of one window of an application after a request (IETF draft ratelimit-headers)."""

    amount: int
    seconds: int
    """Length of the window."""
    remaining: int
    reset: int
    """Seconds until more becomes available."""


# One tree: an edge (HTTP, CLI) turns a class into its own form by its ``code`` and never parses a message.
# A wrong code is not here: it is a result of a check, not an error.


class OtpServiceError(Exception):
    """Root of all errors that a caller may see; ``str(error)`` is safe to show and holds no personal data."""

    code = "internal"
    retry_after: int | None = None
    """Seconds to wait before the request is made again; ``None`` where waiting does not help."""
    decision: str | None = None
    """Identifier of what explains the refusal to the operator (``otp-service guard explain``), where there is one."""


class ConfigurationError(Exception):
    """The installation is set up wrongly. Outside the tree, so that no handler of requests can swallow it."""


# --- what was asked is not acceptable -----------------------------------------------------------------------


@dataclass(frozen=True)
class Fault:
    """One defect of a request body: where (a JSON pointer, RFC 6901) and what."""

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
    """The rule of the guard that says so, where it is one."""


class InvalidNumberError(UnacceptableError):
    """The destination is not a phone number that exists in a numbering plan."""

    code = "invalid-number"


class NumberTypeNotAllowedError(UnacceptableError):
    """The number is valid but of a type that does not receive SMS (fixed line, premium rate, satellite …)."""

    code = "number-type-not-allowed"


class CountryNotAllowedError(UnacceptableError):
    """The application does not send to the number's country."""

    code = "country-not-allowed"


class PrefixDeniedError(UnacceptableError):
    """The number begins with a prefix that is denied."""

    code = "number-not-allowed"


class ChannelNotAvailableError(UnacceptableError):
    """The purpose does not offer the channel, or no route leads to the destination through it."""

    code = "channel-not-available"


class InvalidTransactionError(UnacceptableError):
    """The transaction is missing, not wanted, or cannot be shown to a person safely."""

    code = "invalid-transaction"


class InvalidTimeError(UnacceptableError):
    """A time is in the past, or in the future, where it cannot be."""

    code = "invalid-time"


class InvalidCodeError(UnacceptableError):
    """The code could not have been issued: other characters than digits, or a wrong number of them."""

    code = "invalid-code"


class ClientIpRequiredError(UnacceptableError):
    """The application promised to pass the end user's address and did not."""

    code = "client-ip-required"


class ConsentRequiredError(UnacceptableError):
    """The application needs a consent for the number and the purpose, and there is none, or it was withdrawn."""

    code = "consent-required"


class ConsentOutdatedError(UnacceptableError):
    """The person has said something since the consent was given: it changes nothing any more."""

    code = "consent-outdated"


class ConsentNotKeptError(UnacceptableError):
    """The application keeps no consents, so that one must not seem to be kept."""

    code = "consent-not-kept"


class InvalidApplicationError(UnacceptableError):
    """The settings of an application name what there is not, or what is unsafe."""

    code = "invalid-application"


class MessageNotAllowedError(UnacceptableError):
    """The rules of the destination's country do not let the message go out: its sender or its words are not allowed."""

    code = "message-not-allowed"

    def __init__(self, country: str, violation: str) -> None:
        """Keep the violation (`otp_service.domain.countries.Violation`)."""
        super().__init__(f"Messages to {country} are not allowed: {violation}.")
        self.violation = violation


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


class SuppressedError(OtpServiceError):
    """The number's holder, or an operator, wants no messages there."""

    code = "recipient-suppressed"


class FrozenError(OtpServiceError):
    """Fraud was reported, and the number is frozen: nothing goes out and no code is approved until that is lifted."""

    code = "recipient-frozen"


class NotFoundError(OtpServiceError):
    """There is no such thing here, or it belongs to another application: the two are answered alike."""

    code = "not-found"


# --- not in this state, not now -----------------------------------------------------------------------------


class ConflictError(OtpServiceError):
    """What the call is about is in no state for it: a verification is final, an API key has ended."""

    code = "conflict"


class NameTakenError(OtpServiceError):
    """There is an application of this name, in the ledger or in the configuration."""

    code = "name-taken"


class NoSendsLeftError(OtpServiceError):
    """The verification has used all its messages."""

    code = "no-sends-left"


class TooManyError(OtpServiceError):
    """Not now, but later."""

    def __init__(self, message: str, retry_after: int) -> None:
        """Keep the seconds to wait."""
        super().__init__(message)
        self.retry_after = retry_after


class RateLimitedError(TooManyError):
    """A limit is reached: the recipient's (which one is not told) or the application's own quota."""

    code = "rate-limited"

    def __init__(self, message: str, retry_after: int, quota: Quota | None = None) -> None:
        """Keep the application's quota too, where it was the one that refused."""
        super().__init__(message, retry_after)
        self.quota = quota


class ResendTooSoonError(TooManyError):
    """The delay before the next message of this verification is not over."""

    code = "resend-too-soon"


# --- the service cannot -------------------------------------------------------------------------------------


class StoreUnavailableError(OtpServiceError):
    """Redis did not answer, or not in time. Refused: a limit that cannot be counted is not passed."""

    code = "store-unavailable"
    retry_after = 1


class LedgerUnavailableError(OtpServiceError):
    """The ledger did not answer, or what Redis knows of it is behind: an opt-out might be overlooked."""

    code = "ledger-unavailable"
    retry_after = 1


class LedgerMismatchError(LedgerUnavailableError):
    """Redis, the ledger and the pseudonym key do not belong together: an operator has to decide."""

    code = "ledger-mismatch"
    retry_after = 60


class BacklogFullError(OtpServiceError):
    """So many messages wait that a code would arrive dead: nothing more is accepted until workers catch up."""

    code = "backlog-full"
    retry_after = 5


class RefusalName(StrEnum):
    """What a refusal is looked up by: here, in the documentation, and in the tests that provoke it."""

    KEY_MISSING = "key-missing"
    KEY_INVALID = "key-invalid"
    SAMPLE_KEY = "sample-key"
    EVICTION = "eviction"
    OTHER_INSTALLATION = "other-installation"
    LEDGER_OUTDATED = "ledger-outdated"
    LEDGER_OF_OTHER_KEY = "ledger-of-other-key"
    RESIDENCY = "residency"
    CONSENT_NOT_REQUIRED = "consent-not-required"
    NO_SENDER = "no-sender"
    SENDER_NOT_SHOWN = "sender-not-shown"
    TEMPLATE_NOT_APPROVED = "template-not-approved"
    # Those above refuse everywhere, those below in production.
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
    """One reason not to start. No part of it shows a secret."""

    name: RefusalName
    place: str
    """What is to be changed: a setting, a variable, a setting of a server."""
    sentence: str
    """What is wrong with it."""
    action: str
    """What to do."""

    def __str__(self) -> str:
        return f"{self.place}: {self.sentence} {self.action} [{self.name}]"


class StartRefusedError(ConfigurationError):
    """Nothing is wrong with the form of the settings, but a process must not start with them: one line a refusal."""

    def __init__(self, *refusals: StartRefusal) -> None:
        super().__init__("\n".join(map(str, refusals)))
        self.refusals = refusals
