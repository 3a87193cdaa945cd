"""Common parts of bodies and answers: patterns, times, the base of bodies."""

import re
from collections.abc import Mapping
from datetime import datetime
from itertools import product
from string import ascii_uppercase
from typing import Annotated, Any, Final

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    PlainValidator,
    StringConstraints,
    WithJsonSchema,
)

from otp_service.domain.applications import LOCALE_PATTERN, MAX_LOCALE
from otp_service.domain.consents import MAX_REASON, ConsentEvidence
from otp_service.domain.numbers import is_region, may_hold_number
from otp_service.domain.totp import MAX_USER
from otp_service.services.access import DEFAULT_OVERLAP, MAX_OVERLAP

TIMESTAMP_PATTERN: Final = (
    r"^[12][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?Z$"
)
_TIMESTAMP = re.compile(TIMESTAMP_PATTERN)


def parse_timestamp(text: object) -> int:
    """Return a time in milliseconds since the epoch; raise `ValueError` for other text or an impossible date."""
    if not isinstance(text, str):
        raise ValueError("is not a string")  # noqa: TRY004 - pydantic tells a ValueError as a fault
    if not _TIMESTAMP.fullmatch(text):
        raise ValueError("is not a time in UTC such as 2026-11-24T22:00:00Z")
    try:
        return int(datetime.fromisoformat(text).timestamp() * 1000)
    except ValueError:  # its text repeats the input
        raise ValueError("is not a valid date and time") from None


REGION: Final = r"^[A-Z]{2}$"
NAME: Final = r"^[a-z0-9_-]{1,32}$"
WORD: Final = r"^[a-z0-9_-]+$"
SHA256: Final = r"^[0-9a-f]{64}$"
SHOWN: Final = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]*$"
"""Text that operators read: without characters that control a terminal or reverse a line."""
NUMBER: Final = r"^(?!.*(?:19|20)[0-9]{2}).*[0-9](?:[^A-Za-z]*[0-9]){6}"
"""Excluded from stored texts; `without_number` also admits dates."""
PRINTABLE: Final = r"^[^\x00-\x1f\x7f]*$"
LABEL: Final = r"^[^:\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]*$"
"""Like `SHOWN`, without a colon."""
FAULTS: Final[Mapping[str, str]] = {
    REGION: "is not two capital letters, such as PK",
    NAME: "is not a name of 1 to 32 characters a-z, 0-9, _ and -",
    WORD: "has other characters than a-z, 0-9, _ and -",
    SHA256: "is not 64 hexadecimal digits in lower case",
    SHOWN: "has characters that are not shown",
    PRINTABLE: "has control characters",
    LABEL: "has a colon, or characters that are not shown",
    LOCALE_PATTERN: "is not a language tag, such as ur-PK",
}


def without_number(text: str) -> str:
    """Return the text; raise `ValueError` when it may hold a phone number, which is never stored in the clear."""
    if may_hold_number(text):
        raise ValueError("has seven digits or more, such as a phone number; a date may be there")
    return text


WITHOUT_NUMBER: Final[tuple[Any, ...]] = (
    AfterValidator(without_number),
    Field(json_schema_extra={"not": {"pattern": NUMBER}}),
)
"""Annotations of a stored text: its validator and its schema."""

# Types check the form only: the rules judge whether a number exists or a code fits (422, not 400).
_REGIONS: list[JsonValue] = [region for region in map("".join, product(ascii_uppercase, repeat=2)) if is_region(region)]
CountryCode = Annotated[str, StringConstraints(pattern=REGION), WithJsonSchema({"type": "string", "enum": _REGIONS})]
PurposeName = Annotated[str, StringConstraints(pattern=NAME)]
Locale = Annotated[str, StringConstraints(max_length=MAX_LOCALE, pattern=LOCALE_PATTERN), *WITHOUT_NUMBER]
Moment = Annotated[
    int,
    PlainValidator(parse_timestamp),
    WithJsonSchema({"type": "string", "format": "date-time", "pattern": TIMESTAMP_PATTERN}),
]
Address = Annotated[
    str,
    StringConstraints(max_length=64),
    WithJsonSchema({"anyOf": [{"type": "string", "format": "ipv4"}, {"type": "string", "format": "ipv6"}]}),
]
ProofText = Annotated[str, StringConstraints(max_length=4096, pattern="^[A-Za-z0-9_.-]+$")]
UserName = Annotated[str, StringConstraints(min_length=1, max_length=MAX_USER, pattern=PRINTABLE)]


class Body(BaseModel):
    """A JSON object without unknown members and without conversion between types."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        defer_build=True,
        json_schema_extra={"examples": [{}]},
    )


def _whole(value: object) -> object:
    """Return a float such as 60.0 as the integer that it is to JSON Schema."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


class RotationBody(Body, json_schema_extra={"examples": [{"overlap": 3600}]}):
    """How long the old key or secret goes on; may be left out."""

    overlap: Annotated[int, Field(ge=0, le=MAX_OVERLAP), BeforeValidator(_whole)] = DEFAULT_OVERLAP
    """Seconds, at most 90 days; 0 ends it at once. Default: a day."""


CONSENT_EXAMPLE: dict[str, JsonValue] = {
    "text_version": "2026-11",
    "text_sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "locale": "ur-PK",
    "channel": "web",
    "given_at": "2026-11-24T22:00:00Z",
    "source": "checkout",
}


class ConsentBody(Body, json_schema_extra={"examples": [CONSENT_EXAMPLE]}):
    """That the end user agreed to get codes, and to which words. What was agreed to is not kept, but its hash."""

    text_version: Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=SHOWN), *WITHOUT_NUMBER]
    """Your name of the words that were shown, such as `2026-11`."""
    text_sha256: Annotated[str, StringConstraints(pattern=SHA256)]
    """SHA-256 of these words in UTF-8: 64 hexadecimal digits, lower case."""
    locale: Locale
    """BCP 47 tag of their language, such as `ur-PK`."""
    channel: Annotated[str, StringConstraints(min_length=1, max_length=32, pattern=WORD), *WITHOUT_NUMBER]
    """Where they were shown, such as `web`, `app`, `paper`, `call`."""
    given_at: Moment
    """When the person agreed: RFC 3339 in UTC, such as `2026-11-24T22:00:00Z`."""
    source: Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=SHOWN), *WITHOUT_NUMBER]
    """Which page, screen or form it was, such as `checkout`."""

    def to_evidence(self, address_prefix: str = "") -> ConsentEvidence:
        return ConsentEvidence(
            text_version=self.text_version,
            text_sha256=self.text_sha256,
            locale=self.locale,
            channel=self.channel,
            agreed_at=self.given_at,
            source=self.source,
            address_prefix=address_prefix,
        )


NUMBER_EXAMPLE: dict[str, JsonValue] = {"to": "+923001234567"}
Reason = Annotated[str, StringConstraints(max_length=MAX_REASON, pattern=SHOWN), *WITHOUT_NUMBER]


class NumberBody(Body, json_schema_extra={"examples": [NUMBER_EXAMPLE]}):
    """Which number it is about."""

    to: str
    """The phone number, in any spelling; international with `+`, or national together with a region."""
    region: CountryCode | None = None
    """ISO 3166-1 alpha-2, for a national spelling. Default: the application's."""


class PurposeBody(NumberBody, json_schema_extra={"examples": [NUMBER_EXAMPLE | {"purpose": "login"}]}):
    """Which number and purpose it is about."""

    purpose: PurposeName = "login"
    """One of the application's purposes. Default: `login`."""
