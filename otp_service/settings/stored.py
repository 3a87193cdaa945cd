"""Applications that are kept in the ledger: their settings are judged as a section of the configuration is."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ValidationError

from otp_service.domain.applications import Application
from otp_service.domain.guard import Ruleset
from otp_service.errors import ConfigurationError, InvalidApplicationError
from otp_service.ledger.access import StoredApplication
from otp_service.settings.sections import ALL_COUNTRIES, ApplicationSection, is_name
from otp_service.settings.sources import fault_lines
from otp_service.settings.startup_checks import (
    brand_faults_of,
    ceiling_refusals,
    consent_demands,
    price_faults_of,
    sender_demands,
)
from otp_service.settings.tree import Settings, ruleset_of


def section_of(members: Mapping[str, Any]) -> ApplicationSection:
    """Return an application's section; raise `ConfigurationError` with one line a fault."""
    try:
        return ApplicationSection.model_validate(members)
    except ValidationError as invalid:
        raise ConfigurationError("\n".join(fault_lines(invalid, ApplicationSection))) from None


def members_of(section: ApplicationSection) -> dict[str, Any]:
    """Return what was given of a section, without keys: the rest has its default."""
    return section.model_dump(mode="json", exclude_unset=True, exclude={"keys"})


def text_of(section: ApplicationSection) -> str:
    """Return a section as the ledger keeps it."""
    return json.dumps(members_of(section), ensure_ascii=False, sort_keys=True)


@dataclass(frozen=True, slots=True)
class Kept:
    """An application's settings, and where they are kept."""

    name: str
    source: Literal["configuration", "ledger"]
    members: Mapping[str, Any]
    """Of its section, without keys: what was given, the rest has its default. A later release may know more."""
    created: int | None = None
    """Milliseconds since the epoch; ``None`` for one of the configuration, as is the next."""
    changed: int | None = None


def all_kept(configured: Mapping[str, ApplicationSection], stored: Iterable[StoredApplication]) -> Iterator[Kept]:
    """Yield all applications; of two of one name that of the configuration, which is in force."""
    for name, section in configured.items():
        yield Kept(name, "configuration", members_of(section))
    yield from (kept_in_ledger(one) for one in stored if one.name not in configured)


def kept_in_ledger(stored: StoredApplication) -> Kept:
    """Return an application of the ledger."""
    return Kept(stored.name, "ledger", json.loads(stored.settings), stored.created, stored.changed)


def understood(settings: Settings, name: str, text: str) -> tuple[Application, Ruleset]:
    """Return an application and its rules as the settings of an installation allow them.

    Takes its name, and what `text_of` made. Raises `InvalidApplicationError` with one line a fault, none of which shows
    what was given.
    """
    try:
        section = section_of(json.loads(text))
    except (ConfigurationError, ValueError) as malformed:
        raise InvalidApplicationError(str(malformed)) from malformed
    if faults := list(_faults(settings, name, section)):
        raise InvalidApplicationError("\n".join(faults))
    return section.to_core(name), ruleset_of(settings.guard, settings.core_limits, section.spend)


def _faults(settings: Settings, name: str, section: ApplicationSection) -> Iterator[str]:
    if not is_name(name):
        yield "A name has 1 to 32 of a-z, 0-9, _ and -."
    else:
        yield from brand_faults_of(name, section)
    known = ", ".join(settings.purposes) or "none"
    for position, purpose in enumerate(section.purposes):
        if purpose not in settings.purposes:
            yield f"purposes.{position}: there is no such purpose in the configuration; there are: {known}."
    if settings.production:
        if ALL_COUNTRIES in section.countries:
            yield "countries: '*' is for development only. List the countries you send to."
        yield from map(str, ceiling_refusals(settings, name, "", section))
    yield from price_faults_of(settings, name, section)
    yield from map(str, consent_demands(settings, "", section))
    yield from map(str, sender_demands(settings, name, section))
