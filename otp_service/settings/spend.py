"""Spending ceilings of an application, in money."""

from collections.abc import Iterable
from typing import Annotated

from pydantic import AfterValidator, Field

from otp_service.domain.guard import DAY, HOUR, Ceiling, Mode, micros
from otp_service.domain.numbers import is_region
from otp_service.settings.sections import Section

NO_CEILING = "none"
"""Where a ceiling may stand: there is none, and that is known."""
_INTERVALS = {"hour": HOUR, "day": DAY}


def _amount(text: str) -> str:
    if text != NO_CEILING:
        micros(text)
    return text


def _country(name: str) -> str:
    if name != "*" and not is_region(name):
        raise ValueError("is an ISO 3166-1 alpha-2 code such as PK, or * for all other countries")
    return name


Amount = Annotated[str, AfterValidator(_amount)]


class CeilingSettings(Section):
    """What may be spent in an hour and in a day, calendar intervals in UTC; no ceiling where nothing stands."""

    hour: Amount | None = None
    """In ``guard.currency``, such as ``"500.00"``; ``"none"`` for none."""
    day: Amount | None = None
    """In ``guard.currency``."""

    @property
    def is_set(self) -> bool:
        """Whether there is any ceiling."""
        return any(one not in {None, NO_CEILING} for one in (self.hour, self.day))

    @property
    def is_decided(self) -> bool:
        """Whether there is any ceiling, or is said to be none."""
        return self.hour is not None or self.day is not None

    @property
    def is_waived(self) -> bool:
        """Whether it is said that there is no ceiling."""
        return NO_CEILING in {self.hour, self.day}

    def to_core(self, rule: str, part: str, mode: Mode) -> tuple[Ceiling, ...]:
        """Return the ceilings; none when the rule is off."""
        if mode is Mode.OFF:
            return ()
        return tuple(
            Ceiling(rule, part, name, length, micros(amount), record_only=mode is Mode.RECORD_ONLY)
            for name, length in _INTERVALS.items()
            if (amount := getattr(self, name)) not in {None, NO_CEILING}
        )


class SpendSettings(CeilingSettings):
    """What an application may spend, altogether and for a country."""

    countries: dict[Annotated[str, AfterValidator(_country)], CeilingSettings] = Field(default_factory=dict)
    """By country; ``"*"`` for each that is not named."""

    @property
    def is_set(self) -> bool:
        """Whether there is any ceiling."""
        return super().is_set or any(one.is_set for one in self.countries.values())

    def of_country(self, country: str) -> CeilingSettings:
        """Return what is said of a country by itself."""
        return self.countries.get(country) or self.countries.get("*") or CeilingSettings()

    def is_decided_for(self, countries: Iterable[str]) -> bool:
        """Tell whether there is a ceiling for all countries, or is said to be none."""
        return self.is_decided or all(self.of_country(country).is_decided for country in countries)
