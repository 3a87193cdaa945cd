"""What one section says of another must be true."""

from collections.abc import Iterator
from itertools import product

from otp_service.domain.countries import faults_of_mask
from otp_service.domain.payments import rule_of_names
from otp_service.errors import ConfigurationError
from otp_service.settings.policy import ApplicationSection
from otp_service.settings.ruleset import ruleset_of
from otp_service.settings.spend import SpendSettings
from otp_service.settings.tree import Settings


def inconsistencies(settings: Settings) -> list[str]:
    """Return one line for each name that leads nowhere and each limit that cannot be read, with its path."""
    return [
        *_limit_faults(settings),
        *_application_faults(settings),
        *_key_faults(settings),
        *_route_faults(settings),
        *_price_faults(settings),
        *_policy_faults(settings),
        *_sender_faults(settings),
    ]


def _limit_faults(settings: Settings) -> Iterator[str]:
    try:
        settings.limits.to_core()
    except ConfigurationError as malformed:
        yield str(malformed)
        return
    try:
        ruleset_of(settings.guard, settings.core_limits, SpendSettings())
    except ConfigurationError as malformed:
        yield str(malformed)


def _application_faults(settings: Settings) -> Iterator[str]:
    for name, application in settings.applications.items():
        for purpose in sorted(set(application.purposes) - settings.purposes.keys()):
            yield f"applications.{name}.purposes: there is no section purposes.{purpose}."
        yield from (f"applications.{name}.{fault}" for fault in brand_faults_of(name, application))


def brand_faults_of(name: str, application: ApplicationSection) -> Iterator[str]:
    """Yield why an application without a brand needs one: messages show the name of its section then."""
    if application.name is None and (rule := rule_of_names(name.replace("_", "-"))):
        yield f"name: is missing, and messages would show the section's own: it {rule}."


def _key_faults(settings: Settings) -> Iterator[str]:
    owners: dict[str, str] = {}
    for name, application in settings.applications.items():
        for position, key in enumerate(application.keys):
            if key in owners:
                yield f"applications.{name}.keys.{position}: is a key of applications.{owners[key]} already."
            owners.setdefault(key, name)


def _route_faults(settings: Settings) -> Iterator[str]:
    for position, route in enumerate(settings.routes):
        for gateway in route.gateways:
            if gateway not in settings.gateways:
                yield f"routes.{position}.gateways: there is no section gateways.{gateway}."
        for purpose in sorted(set(route.purposes) - settings.purposes.keys()):
            yield f"routes.{position}.purposes: there is no section purposes.{purpose}."


def _policy_faults(settings: Settings) -> Iterator[str]:
    for name, policy in settings.policies.items():
        for purpose in sorted(set(policy.settings.purposes) - settings.purposes.keys()):
            yield f"policies.{name}.purposes: there is no section purposes.{purpose}."
        for application in sorted(set(policy.settings.applications) - settings.applications.keys()):
            yield f"policies.{name}.applications: there is no section applications.{application}."


def _sender_faults(settings: Settings) -> Iterator[str]:
    for name, sender in settings.senders.items():
        asked = settings.countries.get(sender.country)
        for fault in faults_of_mask(sender.mask, asked.reserved_masks if asked else ()):
            yield f"senders.{name}.mask: {fault}."


def _price_faults(settings: Settings) -> Iterator[str]:
    if any(_route_faults(settings)):
        return
    for name, application in settings.applications.items():
        yield from price_faults_of(settings, name, application)


def price_faults_of(settings: Settings, name: str, application: ApplicationSection) -> Iterator[str]:
    """Yield what a ceiling would not see: messages that a route sends through a gateway without a price for them."""
    missing: dict[str, set[str]] = {}
    for gateway, country, channel in _ways(settings, application) if application.spend.is_set else ():
        if settings.core_prices[gateway].unit(country, channel) is None:
            missing.setdefault(gateway, set()).add(f"{country}/{channel}")
    for gateway, places in missing.items():
        yield (
            f"gateways.{gateway}.prices: there is none for {', '.join(sorted(places))}: "
            f"applications.{name}.spend would not see these messages."
        )


def _ways(settings: Settings, application: ApplicationSection) -> Iterator[tuple[str, str, str]]:
    """Yield gateway, country and channel of all that an application may send."""
    for purpose, country in product(application.purposes, application.countries):
        if purpose in settings.purposes:
            for channel in settings.purposes[purpose].channels:
                for gateway in settings.core_routes.gateways_for(country, purpose, channel):
                    yield gateway, country, channel
