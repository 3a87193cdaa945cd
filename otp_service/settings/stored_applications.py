"""Applications in the ledger, whose settings are validated like a section of the configuration."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from otp_service.domain.applications import Application
from otp_service.domain.guard import Ruleset
from otp_service.errors import ConfigurationError, InvalidApplicationError
from otp_service.ledger.access import StoredApplication
from otp_service.settings.guard_ruleset import build_ruleset
from otp_service.settings.schema import ApplicationSection, is_name
from otp_service.settings.settings import Settings
from otp_service.settings.sources import fault_lines
from otp_service.settings.startup_checks import (
    application_refusals,
    brand_faults,
    missing_prices,
    unmet_needs,
)


def parse_section(members: Mapping[str, Any]) -> ApplicationSection:
    try:
        return ApplicationSection.model_validate(members)
    except ValidationError as invalid:
        raise ConfigurationError("\n".join(fault_lines(invalid, ApplicationSection))) from None


def dump_section(section: ApplicationSection) -> str:
    """Return the members of a section that were set, except keys, for the ledger."""
    members = section.model_dump(mode="json", exclude_unset=True, exclude={"keys"})
    return json.dumps(members, ensure_ascii=False, sort_keys=True)


def all_applications(
    configured: Mapping[str, ApplicationSection], stored: Iterable[StoredApplication]
) -> Iterator[StoredApplication]:
    """Yield all applications; the configuration wins over a stored application of the same name."""
    for name, section in configured.items():
        yield StoredApplication(name, dump_section(section))
    yield from (application for application in stored if application.name not in configured)


def parse_application(settings: Settings, name: str, text: str) -> tuple[Application, Ruleset]:
    """Return an application and its rules; raise `InvalidApplicationError` with a line for each fault."""
    try:
        section = parse_section(json.loads(text))
    except (ConfigurationError, ValueError) as malformed:
        raise InvalidApplicationError(str(malformed)) from malformed
    if faults := list(_faults(settings, name, section)):
        raise InvalidApplicationError("\n".join(faults))
    ruleset = build_ruleset(settings.guard, settings.limits.parsed, section.spend, asks=section.asks)
    return section.as_application(name), ruleset


def _faults(settings: Settings, name: str, section: ApplicationSection) -> Iterator[str]:
    if not is_name(name):
        yield "A name must have 1 to 32 characters of a-z, 0-9, _ and -."
    else:
        yield from brand_faults(name, section)
    known = ", ".join(settings.purposes) or "none"
    for position, purpose in enumerate(section.purposes):
        if purpose not in settings.purposes:
            yield f"purposes.{position}: there is no such purpose in the configuration; there are: {known}."
    yield from unmet_needs(settings, section)
    yield from map(str, application_refusals(settings, name, section, ""))
    yield from missing_prices(settings, name, section)
