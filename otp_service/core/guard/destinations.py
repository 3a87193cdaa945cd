"""Rules on destinations: they judge a number by itself, and count nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from otp_service.core.application import Application
from otp_service.core.errors import (
    CountryNotAllowedError,
    NumberTypeNotAllowedError,
    PrefixDeniedError,
    UnacceptableError,
)
from otp_service.core.guard.rules import RULES, Mode
from otp_service.core.phone import RECEIVES_SMS, Destination, NumberType

_COUNTRY, _TYPE, _PREFIX = "destination.country", "destination.type", "destination.prefix"


@dataclass(frozen=True, slots=True)
class DestinationRules:
    """What numbers receive codes, beside the countries that each application names. The ``repr`` shows no number."""

    types: frozenset[NumberType] = RECEIVES_SMS
    denied: tuple[str, ...] = ()
    """Beginnings of numbers in international form."""
    allowed: tuple[str, ...] = ()
    """Exceptions: of two beginnings that fit the longer one decides."""
    safe: frozenset[str] = field(default=frozenset(), repr=False)
    """Whole numbers that pass the rules against fraud."""
    modes: Mapping[str, Mode] = field(default_factory=dict)
    """Of these rules, by id, where it is not the default."""

    def judge(self, application: Application, destination: Destination) -> tuple[str, ...]:
        """Return the rules that only record and would refuse a destination; raise the error of one that does refuse."""
        noted = []
        for rule, error in self._objections(application, destination):
            mode = self.modes.get(rule, RULES[rule].mode)
            if mode is Mode.ENFORCE:
                error.rule = rule
                raise error
            if mode is Mode.RECORD_ONLY:
                noted.append(rule)
        return tuple(noted)

    def _objections(self, application: Application, destination: Destination) -> list[tuple[str, UnacceptableError]]:
        objections: list[tuple[str, UnacceptableError]] = []
        if destination.type not in self.types:
            objections.append((_TYPE, NumberTypeNotAllowedError("Numbers of this type do not receive codes.")))
        if not application.sends_to(destination.country):
            sentence = f"The application does not send to {destination.country}."
            objections.append((_COUNTRY, CountryNotAllowedError(sentence)))
        if _longest(self.denied, destination) > _longest(self.allowed, destination):
            objections.append((_PREFIX, PrefixDeniedError("Numbers that begin like this receive no codes.")))
        return objections


def _longest(prefixes: tuple[str, ...], destination: Destination) -> int:
    return max((len(one) for one in prefixes if destination.e164.startswith(one)), default=0)
