"""Bodies of the calls on consents, suppressions, and what is held of a person."""

from typing import Annotated, Literal

from pydantic import ConfigDict, JsonValue, StringConstraints

from otp_service.api.patterns import SHOWN, WITHOUT_NUMBER
from otp_service.api.schemas import Address, Body, ConsentBody, CountryCode, Moment, PurposeName
from otp_service.domain.people import MAX_REASON

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
