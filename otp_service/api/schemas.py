"""Bodies of requests, validated."""

from itertools import product
from string import ascii_uppercase
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, StringConstraints, WithJsonSchema

from otp_service.api.requests import NAME, PRINTABLE, REGION, SHA256, SHOWN, WITHOUT_NUMBER, WORD
from otp_service.domain.applications import LOCALE_PATTERN, MAX_LOCALE, MAX_NETWORKS
from otp_service.domain.numbers import is_region
from otp_service.domain.people import MAX_REASON, Evidence
from otp_service.domain.verification import MOMENT_PATTERN, checked_moment, milliseconds_of
from otp_service.services.access import LONGEST_OVERLAP, OVERLAP
from otp_service.services.verifications import StartRequest, TransactionInput
from otp_service.settings.sections import ApplicationSection

# They judge form only: whether a number exists, or a code fits, is for the rules to say (422, not 400).

_CONSENT: dict[str, JsonValue] = {
    "text_version": "2026-11",
    "text_sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "locale": "ur-PK",
    "channel": "web",
    "given_at": "2026-11-24T22:00:00Z",
    "source": "checkout",
}
_PAYMENT: dict[str, JsonValue] = {"amount": "1500.00", "currency": "PKR", "payee": "Daraz", "account": "4821"}

_REGIONS: list[JsonValue] = [region for region in map("".join, product(ascii_uppercase, repeat=2)) if is_region(region)]

# The specification lists the regions; whether one is known is judged with the number.
CountryCode = Annotated[
    str,
    StringConstraints(pattern=REGION),
    WithJsonSchema({"type": "string", "enum": _REGIONS}),
]
PurposeName = Annotated[str, StringConstraints(pattern=NAME)]
Channel = Literal["sms", "voice", "whatsapp"]
Locale = Annotated[str, StringConstraints(max_length=MAX_LOCALE, pattern=LOCALE_PATTERN), *WITHOUT_NUMBER]
Moment = Annotated[
    str,
    StringConstraints(max_length=27),
    AfterValidator(checked_moment),
    WithJsonSchema({"type": "string", "format": "date-time", "pattern": MOMENT_PATTERN}),
]
Address = Annotated[
    str,
    StringConstraints(max_length=64),
    WithJsonSchema({"anyOf": [{"type": "string", "format": "ipv4"}, {"type": "string", "format": "ipv6"}]}),
]
MetadataKey = Annotated[str, StringConstraints(min_length=1, max_length=40, pattern=PRINTABLE)]
MetadataValue = Annotated[str, StringConstraints(max_length=200, pattern=PRINTABLE)]
# Spelled out: pydantic's own schema would allow members whose names do not match the pattern.
Metadata = Annotated[
    dict[MetadataKey, MetadataValue],
    Field(max_length=10),
    WithJsonSchema(
        {
            "type": "object",
            "maxProperties": 10,
            "propertyNames": {"minLength": 1, "maxLength": 40, "pattern": PRINTABLE},
            "additionalProperties": {"type": "string", "maxLength": 200, "pattern": PRINTABLE},
        }
    ),
]
Source = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=SHOWN), *WITHOUT_NUMBER]
TextVersion = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=SHOWN), *WITHOUT_NUMBER]
ShownOn = Annotated[str, StringConstraints(min_length=1, max_length=32, pattern=WORD), *WITHOUT_NUMBER]


class Body(BaseModel):
    """A JSON object without surprises: no unknown member, no conversion between types."""

    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True
    )


class TransactionBody(Body):
    """A payment that a person agrees to. The code is a function of all its members."""

    model_config = ConfigDict(json_schema_extra={"examples": [_PAYMENT]})

    amount: str
    """Decimal with at most the currency's own number of minor digits: `1500` equals `1500.00`."""
    currency: str
    """ISO 4217, such as `PKR`."""
    payee: str
    """Who is paid: at most 30 letters, digits (at most 3 in a row), spaces and `. - & '`."""
    account: str | None = None
    """The last four digits of the payer's own account; the message says `from account 4821`."""
    reference: str | None = None
    """1 to 35 ASCII letters, digits, spaces and `. / _ -`."""

    def to_input(self) -> TransactionInput:
        """Return it as the use cases take it."""
        return TransactionInput(self.amount, self.currency, self.payee, self.account, self.reference)


class ConsentBody(Body):
    """That the end user agreed to get codes, and to which words. What was agreed to is not kept, but its hash."""

    model_config = ConfigDict(json_schema_extra={"examples": [_CONSENT]})

    text_version: TextVersion
    """Your name of the words that were shown, such as `2026-11`."""
    text_sha256: Annotated[str, StringConstraints(pattern=SHA256)]
    """SHA-256 of these words in UTF-8: 64 hexadecimal digits, lower case."""
    locale: Locale
    """BCP 47 tag of their language, such as `ur-PK`."""
    channel: ShownOn
    """Where they were shown, such as `web`, `app`, `paper`, `call`."""
    given_at: Moment
    """When the person agreed: RFC 3339 in UTC, such as `2026-11-24T22:00:00Z`."""
    source: Source
    """Which page, screen or form it was, such as `checkout`."""

    def to_evidence(self, address_prefix: str = "") -> Evidence:
        """Return it as the use cases take it."""
        return Evidence(
            text_version=self.text_version,
            text_sha256=self.text_sha256,
            locale=self.locale,
            channel=self.channel,
            given=milliseconds_of(self.given_at),
            source=self.source,
            address_prefix=address_prefix,
        )


class StartBody(Body):
    """Whom to send a code, and what for."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"to": "+923001234567", "client_ip": "203.0.113.7"}]})

    to: str
    """The phone number, in any spelling; international with `+`, or national together with a region."""
    region: CountryCode | None = None
    """ISO 3166-1 alpha-2, for a national spelling. Default: the application's."""
    channel: Channel | None = None
    """How the message goes out. Default: the purpose's first channel."""
    purpose: PurposeName = "login"
    """One of the application's purposes. Default: `login`."""
    locale: Locale | None = None
    """BCP 47 tag of the message's language, such as `ur-PK`. Default: the application's.

    English (`en`), Urdu (`ur`), Roman Urdu (`ur-Latn`) and Arabic (`ar`) come with the service; its operator may have
    added others. A tag without words of its own is shortened, `ur-PK` to `ur`. One of a language that is not there is
    no error: the message is in the application's language then, and in English as the last resort. `locale` of the
    answer tells which."""
    client_ip: Address | None = None
    """Address of the end user, not of your server; some applications have to give it."""
    context: Annotated[str, StringConstraints(max_length=128, pattern=PRINTABLE)] | None = None
    """Your own opaque name of the end user's device or browser, at most 128 characters: a random value in a cookie or
    in your app. One from which the number was approved in the last 90 days keeps a share of its messages and guesses
    that strangers cannot use up. Kept as a pseudonym only."""
    consent: ConsentBody | None = None
    """That the end user agrees to this message and to later ones of the purpose; refused where the application keeps no
    consents. Where it needs one, this or an earlier one that was not withdrawn."""
    transaction: TransactionBody | None = None
    """What is confirmed; required when the purpose is of kind `transaction`, refused otherwise."""
    metadata: Metadata | None = None
    """At most 10 pairs of your own, names up to 40 and values up to 200 characters; returned, never sent."""

    def to_request(self, peer_ip: str | None) -> StartRequest:
        """Return it as the use case takes it, with the connection's peer."""
        return StartRequest(
            to=self.to,
            region=self.region,
            channel=self.channel,
            purpose=self.purpose,
            locale=self.locale,
            client_ip=self.client_ip,
            peer_ip=peer_ip,
            context=self.context,
            consent=self.consent.to_evidence() if self.consent else None,
            transaction=self.transaction.to_input() if self.transaction else None,
            metadata=self.metadata or {},
        )


class CheckBody(Body):
    """What the person typed."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"code": "123456"}]})

    code: str
    """6 to 8 digits of any script; spaces and hyphens do not matter."""
    transaction: TransactionBody | None = None
    """The same as at the start; required when the purpose is of kind `transaction`, refused otherwise."""


class ResendBody(Body):
    """How to send again; may be left out."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"channel": "voice"}]})

    channel: Channel | None = None
    """Default: the channel of the last message."""


class CancelBody(Body):
    """Nothing; may be left out."""


_TO: dict[str, JsonValue] = {"to": "+923001234567"}
_SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

Reason = Annotated[str, StringConstraints(max_length=MAX_REASON, pattern=SHOWN), *WITHOUT_NUMBER]


class NumberBody(Body):
    """Which number it is about."""

    model_config = ConfigDict(json_schema_extra={"examples": [_TO]})

    to: str
    """The phone number, in any spelling; international with `+`, or national together with a region."""
    region: CountryCode | None = None
    """ISO 3166-1 alpha-2, for a national spelling. Default: the application's."""


class PurposeBody(NumberBody):
    """Which number and purpose it is about."""

    model_config = ConfigDict(json_schema_extra={"examples": [_TO | {"purpose": "login"}]})

    purpose: PurposeName = "login"
    """One of the application's purposes. Default: `login`."""


class GivenConsentBody(ConsentBody, PurposeBody):
    """A consent, and what it is for."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                _TO
                | {
                    "purpose": "login",
                    "text_version": "2026-11",
                    "text_sha256": _SHA256,
                    "locale": "ur-PK",
                    "channel": "web",
                    "given_at": "2026-11-24T22:00:00Z",
                    "source": "checkout",
                }
            ]
        }
    )

    client_ip: Address | None = None
    """Address of the end user; its first part is kept (IPv4 /24, IPv6 /48), as a part of the evidence."""


class ScopeBody(NumberBody):
    """Which number it is about, and which messages."""

    scope: Literal["all", "marketing_only"] = "all"
    """`all`: no message at all, codes that the person asks for included; `marketing_only`: advertising, which this
    service does not send: it is kept, and keeps nothing back here."""


class LiftBody(ScopeBody):
    """Which number gets messages again, and what shows that the person wants them."""

    purpose: PurposeName = "login"
    """What the consent is for: one of the application's purposes. Default: `login`."""
    consent: ConsentBody | None = None
    """That the person agreed anew; it is recorded. Needed where the person said stop, and given after that."""


class SuppressionBody(ScopeBody):
    """A number that gets no messages of the application."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"to": "+923007654321", "reason": "asked by phone"}]})

    reason: Reason = ""
    """What was said of it, for people who ask later; no personal data."""
    until: Moment | None = None
    """When it ends by itself. Default: never. It does not shorten an earlier one: lift that first."""


class FreezeBody(NumberBody):
    """A number of which fraud was reported."""

    model_config = ConfigDict(json_schema_extra={"examples": [_TO | {"reason": "customer reports fraud, case A-17"}]})

    reason: Reason = ""
    """What was said of it, for people who ask later; no personal data."""


_SETTINGS: dict[str, JsonValue] = {"name": "Acme Club", "purposes": ["login"], "countries": ["PK"], "region": "PK"}
_KEY: dict[str, JsonValue] = {"scopes": ["verify"], "addresses": ["203.0.113.0/24"]}

Network = Annotated[str, StringConstraints(max_length=64)]


class ApplicationSettingsBody(Body):
    """What an application may do."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"settings": _SETTINGS}]})

    settings: ApplicationSection
    """Its section as in a configuration file, without `keys`. What is left out has its default, whatever it was."""


class NewApplicationBody(ApplicationSettingsBody):
    """A new application."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "club", "settings": _SETTINGS}]})

    name: Annotated[str, StringConstraints(pattern=NAME)]
    """Its name for good: whatever is recorded of it is recorded under this name, which no other can have later."""


class NewKeyBody(Body):
    """What a new key may be used for, and from where."""

    model_config = ConfigDict(json_schema_extra={"examples": [_KEY]})

    scopes: Annotated[list[Literal["verify", "consent", "subjects"]], Field(min_length=1, max_length=3)]
    """`verify`: verifications; `consent`: consents and suppressions; `subjects`: what is held of a number, its
    erasure, and its freeze."""
    addresses: Annotated[list[Network], Field(max_length=MAX_NETWORKS)] = Field(default_factory=list)
    """Addresses and networks that it may be used from, such as `192.0.2.7` or `2001:db8::/48`. Default: anywhere."""


class RotationBody(Body):
    """How long the old key goes on; may be left out."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"overlap": 3600}]})

    overlap: Annotated[int, Field(ge=0, le=LONGEST_OVERLAP)] = OVERLAP
    """Seconds, at most 90 days; 0 ends it at once. Default: a day."""


class RevocationBody(Body):
    """Nothing; may be left out."""
