"""Settings that every gateway has: time-out, limits, prices."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from otp_service.domain.numbers import is_region
from otp_service.domain.prices import ANY_COUNTRY, to_micros

_CHANNELS = ("sms", "voice", "whatsapp")


def _checked_price_key(key: str) -> str:
    country, slash, channel = key.partition("/")
    if not (country == ANY_COUNTRY or is_region(country)) or (slash and channel not in _CHANNELS):
        raise ValueError("is a country such as PK, or *; with a channel behind it PK/sms, PK/voice or PK/whatsapp")
    return key


PriceKey = Annotated[str, AfterValidator(_checked_price_key)]


def _checked_price(amount: str) -> str:
    to_micros(amount)
    return amount


Price = Annotated[str, AfterValidator(_checked_price)]


def checked_country_code(code: str) -> str:
    """Return the code of a country that has a numbering plan; raise `ValueError` for anything else."""
    if not is_region(code):
        raise ValueError("is not an ISO 3166-1 alpha-2 code with a numbering plan, such as PK")
    return code


CountryCode = Annotated[str, AfterValidator(checked_country_code)]
"""ISO 3166-1 alpha-2, of a country that has a numbering plan."""


class GatewaySettings(BaseModel):
    """Settings that every gateway has; each adds its own in its file."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, serialize_by_alias=True)

    timeout: float = Field(default=10.0, gt=0, le=60)
    """Seconds that one call may take, looking up the name of its host apart."""
    slow: float | None = Field(default=None, gt=0, le=60)
    """Seconds after which a call counts as slow for the breaker; half of ``timeout`` by default."""
    per_second: float | None = Field(default=None, gt=0, le=10_000)
    """Messages a second at most, over all workers: what the provider allows. No bound by default."""
    max_in_flight: int | None = Field(default=None, ge=1, le=10_000)
    """Calls at the same time at most, over all workers. No bound by default."""
    hosted_in: CountryCode | None = None
    """Country (ISO 3166-1 alpha-2) in which the provider handles numbers and messages, for ``residency``."""
    sim_box: bool = False
    """Whether messages leave by SIM cards, as a person's own do: a modem, a bank of SIMs, a phone."""
    prices: dict[PriceKey, Price] = Field(default_factory=dict)
    """What a message costs in ``guard.currency``, of an SMS each segment: by country (``PK``), by country and channel
    (``PK/voice``), or ``*`` for all others."""

    @property
    def sets_sender(self) -> bool:
        """Whether a handset shows `Message.sender` as who a text message is from."""
        return False

    @property
    def plaintext_host(self) -> str | None:
        """The host that a protocol other than HTTP reaches without encryption; a URL shows it by ``http://``."""
        return None

    @property
    def takes_receipts(self) -> bool:
        """Whether all settings that receipts need are there; asked of gateways that support them."""
        return True

    @property
    def takes_messages(self) -> bool:
        """Whether all settings that inbound messages need are there; asked of gateways that support them."""
        return True
