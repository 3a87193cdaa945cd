"""Authenticator apps: TOTP (RFC 6238), and the URI that brings a secret into an app."""

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Literal

import pyotp

from otp_service.domain.codes import normalise_code
from otp_service.errors import InvalidCodeError, InvalidSecretError

# Some apps ignore the algorithm, digits or period of a URI and show codes that are never right. So new secrets have
# the parameters of all apps; other parameters only come with an imported secret.

SECRET: Final = "secret"  # noqa: S105 - a name
LABEL: Final = "label"
TOTP: Final = "totp"
MIN_SECRET_BITS: Final = 112
"""NIST SP 800-63B-4, section 3.1.4.1."""
MAX_SECRET_BYTES: Final = 128
NEW_SECRET_BYTES: Final = 20
MAX_LABEL: Final = 64
"""In characters: a longer URI makes a code that cameras read badly."""
MAX_USER: Final = 128
MAX_URI: Final = 1024
PERIODS: Final = range(15, 121)
"""In seconds."""
MAX_FACTORS: Final = 5
PENDING_SECONDS: Final = 600
"""For the first code of an enrolment."""


@dataclass(frozen=True, slots=True)
class PendingLimits:
    """Maximum numbers of pending factors."""

    user: int
    application: int
    """Within a bucket."""


RemovalReason = Literal["lost", "stolen", "replaced", "closed", "other"]

_ALGORITHMS: Final[Mapping[str, Callable[..., Any]]] = {
    "SHA1": hashlib.sha1,
    "SHA256": hashlib.sha256,
    "SHA512": hashlib.sha512,
}
_ALGORITHM_IN_URI: Final = re.compile(r"(?<=[?&]algorithm=)[^&]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class TotpParameters:
    """The parameters of codes."""

    algorithm: str = "SHA1"
    digits: int = 6
    period: int = 30

    def step_at(self, milliseconds: int) -> int:
        """Return the step (RFC 6238's T) of a time since the epoch."""
        return milliseconds // (1000 * self.period)


@dataclass(frozen=True, slots=True)
class UserKey:
    """An application's user, by pseudonym."""

    application: str
    pseudonym: str
    bucket: str


@dataclass(frozen=True, slots=True)
class SealedFactor:
    """The members of a factor for a check, in ledger and mirror."""

    id: str
    application: str
    secret: str = field(repr=False)
    parameters: TotpParameters
    last_step: int
    place: int
    """The ledger's place of its activation."""

    @property
    def packed(self) -> str:
        """The factor as text, without the id."""
        settings = f"{self.parameters.period}|{self.parameters.digits}|{self.parameters.algorithm}"
        return f"{self.application}|{self.place}|{self.last_step}|{settings}|{self.secret}"

    @classmethod
    def unpack(cls, factor_id: str, text: str) -> "SealedFactor":
        """Return the factor from `packed`."""
        application, place, last_step, period, digits, algorithm, secret = text.split("|")
        parameters = TotpParameters(algorithm, int(digits), int(period))
        return cls(factor_id, application, secret, parameters, int(last_step), int(place))


@dataclass(frozen=True, slots=True)
class Factor:
    """A recorded factor of a user. Times are milliseconds since the epoch."""

    sealed: SealedFactor
    user: str
    label: str = field(repr=False)
    """Sealed; empty after an erasure."""
    created: int
    used: int | None = None
    removed: int | None = None

    @property
    def id(self) -> str:
        """Its identifier."""
        return self.sealed.id


class FactorStatus(StrEnum):
    """The state of a factor."""

    PENDING = "pending"
    ACTIVE = "active"
    REMOVED = "removed"


class FactorFailure(StrEnum):
    """The reason for refusing a code."""

    WRONG_CODE = "wrong_code"
    CODE_USED = "code_used"
    """A right code that was accepted before, or whose series was replaced: not counted as a guess."""
    FACTOR_LOCKED = "factor_locked"
    """Too many wrong codes of the user; the code was not compared."""
    REVOKED = "revoked"
    """Accepted before the user was frozen or erased, or the factor removed."""


class FactorChange(StrEnum):
    """A recorded change of a factor."""

    ACTIVATED = "activated"
    REMOVED = "removed"
    RESEALED = "resealed"
    STEP_RESET = "step_reset"
    """Its last step was ahead of the clock, and was lowered to the present one."""


def new_secret() -> bytes:
    """Return a new secret of 160 bits (RFC 4226, section 4)."""
    return secrets.token_bytes(NEW_SECRET_BYTES)


def secret_text(secret: bytes) -> str:
    """Return a secret for typing into an app: base32 (RFC 4648) without padding."""
    return base64.b32encode(secret).decode().rstrip("=")


def matching_steps(secret: bytes, parameters: TotpParameters, typed: str, steps: Iterable[int]) -> tuple[int, ...]:
    """Return the ``steps`` of a typed code; raise `InvalidCodeError` for a text that is no guess."""
    digits = normalise_code(typed)
    if len(digits) != parameters.digits:
        raise InvalidCodeError(f"A code of this factor has {parameters.digits} digits.")
    generator = _generator(secret, parameters)
    return tuple(step for step in steps if hmac.compare_digest(generator.generate_otp(step), digits))


def code_at(secret: bytes, parameters: TotpParameters, step: int) -> str:
    """Return the code of a step."""
    return _generator(secret, parameters).generate_otp(step)


def otpauth_uri(secret: bytes, parameters: TotpParameters, issuer: str, label: str) -> str:
    """Return the URI (Google's key-uri-format) of a secret; apps differ on colons in names, so they become blanks."""
    issuer, label = (" ".join(name.replace(":", " ").split()) for name in (issuer, label))
    return _generator(secret, parameters).provisioning_uri(name=label, issuer_name=issuer)


def parse_otpauth_uri(uri: str) -> tuple[bytes, TotpParameters]:
    """Return secret and parameters of an imported URI; raise `InvalidSecretError`, which does not show the secret."""
    spelled = _ALGORITHM_IN_URI.sub(lambda match: match[0].upper().replace("-", ""), uri)
    try:
        parsed = pyotp.parse_uri(spelled)
        secret = parsed.byte_secret()
    except (ValueError, TypeError) as malformed:  # their texts may repeat the secret
        if f"{MIN_SECRET_BITS} bits" in str(malformed):
            text = f"The secret has fewer than {MIN_SECRET_BITS} bits: enrol the person anew."
            raise InvalidSecretError(text) from None
        raise InvalidSecretError("This is no otpauth URI of a TOTP secret.") from None
    if type(parsed) is not pyotp.TOTP or parsed.interval not in PERIODS or len(secret) > MAX_SECRET_BYTES:
        raise InvalidSecretError(
            f"Only TOTP secrets of at most {MAX_SECRET_BYTES} bytes are taken over, with a period of "
            f"{PERIODS.start} to {PERIODS.stop - 1} seconds."
        )
    algorithm = next(name for name, digest in _ALGORITHMS.items() if digest is parsed.digest)
    return secret, TotpParameters(algorithm, parsed.digits, parsed.interval)


def _generator(secret: bytes, parameters: TotpParameters) -> pyotp.TOTP:
    digest = _ALGORITHMS[parameters.algorithm]
    return pyotp.TOTP(secret_text(secret), digits=parameters.digits, digest=digest, interval=parameters.period)
