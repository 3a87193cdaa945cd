"""What countries and residency ask of an installation: each unmet demand is a reason not to start.

That a registration has ended is none: it would take all other countries down with it. Its messages are refused one by
one, and ``doctor`` tells it.
"""

from collections.abc import Collection, Iterator
from itertools import product

from otp_service.core.catalogue import Catalogue, Language, Texts
from otp_service.core.clearance import Obstacle
from otp_service.core.consent import ConsentMode
from otp_service.core.errors import ConfigurationError
from otp_service.core.purpose import Channel
from otp_service.services.clearance import today
from otp_service.settings.messages import read_catalogue
from otp_service.settings.policy import ALL_COUNTRIES, ApplicationSection
from otp_service.settings.tree import Settings

_NO_SENDER = {
    Obstacle.SENDER_MISSING: "none is registered in {country} for the application {application}. Add a section.",
    Obstacle.SENDER_CATEGORY: "those in {country} for the application {application} are of another category.",
}


def demands(settings: Settings) -> list[str]:
    """Return one line for each demand that is not met, with what to do about it."""
    lines = [*_residency(settings), *_gateways(settings)]
    for name, application in settings.applications.items():
        lines += (f"applications.{name}.{line}" for line in consent_demands(settings, application))
        lines += sender_demands(settings, name, application)
    return lines


def consent_demands(settings: Settings, application: ApplicationSection) -> Iterator[str]:
    """Yield the countries that ask for consents which an application does not, wherever it is kept."""
    for country in _asked(settings, application):
        if settings.countries[country].consent == "required" and application.consent is not ConsentMode.REQUIRED:
            yield f'consent: messages to {country} need a consent: set it to "required".'


def sender_demands(settings: Settings, name: str, application: ApplicationSection) -> Iterator[str]:
    """Yield the countries in which an application, wherever it is kept, has no sender that is registered."""
    for country in _asked(settings, application):
        obstacle = settings.core_clearance.why_not_sender(country, name, today())
        if obstacle in _NO_SENDER:
            yield "senders: " + _NO_SENDER[obstacle].format(country=country, application=name)


def cleared_catalogue(settings: Settings) -> Catalogue:
    """Return the words of messages, as `read_catalogue` does.

    Raises `ConfigurationError` also with one line for each template that a start could need, and that its country has
    not approved.
    """
    catalogue = read_catalogue(settings)
    if lines := _unapproved(settings, catalogue):
        raise ConfigurationError("\n".join(lines))
    return catalogue


def _unapproved(settings: Settings, catalogue: Catalogue) -> list[str]:
    lines: dict[str, None] = {}
    for country in settings.countries:
        for language, texts in _needed(settings, catalogue, country):
            reference = language.references[texts.name, Channel.SMS]
            obstacle = settings.core_clearance.why_not_template(country, reference, today())
            if obstacle is Obstacle.TEMPLATE_NOT_APPROVED:
                lines[
                    f"approvals: {reference.id} is not approved in {country}. Its digest is {reference.sha256} "
                    "(otp-service messages templates)."
                ] = None
    return list(lines)


def _needed(settings: Settings, catalogue: Catalogue, country: str) -> Iterator[tuple[Language, Texts]]:
    """Yield the texts that a text message of some application to a country may be made of."""
    languages = settings.countries[country].languages
    chosen = [one for one in catalogue.languages.values() if not languages or one.tag in languages]
    purposes = [one for one in settings.core_purposes.values() if Channel.SMS in one.channels]
    for purpose, language in product(purposes, chosen):
        if texts := language.texts_for(purpose, Channel.SMS):
            yield language, texts


def _residency(settings: Settings) -> Iterator[str]:
    """Yield what is not said to be in the country that personal data may not leave."""
    home = settings.residency
    places = {"redis": settings.redis.hosted_in, "ledger": settings.ledger.hosted_in}
    places |= {"logging": settings.logging.hosted_in}
    sending = {name: one for name, one in settings.gateways.items() if not one.gateway_class.development_only}
    places |= {f"gateways.{name}": one.settings.hosted_in for name, one in sending.items()}
    places |= {f"policies.{name}": one.settings.hosted_in for name, one in settings.policies.items()}
    for place, found in places.items() if home else ():
        if found is None:
            yield f"{place}.hosted_in: is missing: with residency in {home} it has to be said where it is."
        elif found != home:
            yield f"{place}.hosted_in: is {found}: with residency in {home} personal data stay there."


def _gateways(settings: Settings) -> Iterator[str]:
    for country, asked in settings.countries.items():
        for name in _carriers(settings, country):
            gateway = settings.gateways[name].settings
            if asked.senders == "registered" and not gateway.sets_sender:
                yield (
                    f"gateways.{name}: it does not show the sender that a message names, and {country} takes "
                    "registered ones only. Route its messages through another."
                )
            if settings.production and asked.sim_boxes == "refused" and gateway.sim_box:
                yield f"gateways.{name}: leaves by SIM cards, and may carry no messages to {country}. Take it out."


def _carriers(settings: Settings, country: str) -> list[str]:
    """Return the gateways that may carry text messages to a country."""
    found: dict[str, None] = {}
    for purpose in settings.purposes:
        found |= dict.fromkeys(settings.core_routes.gateways_for(country, purpose, Channel.SMS))
    return list(found)


def _asked(settings: Settings, application: ApplicationSection) -> Collection[str]:
    """Return the countries that an application sends to and that ask for something."""
    if ALL_COUNTRIES in application.countries:
        return settings.countries
    return [country for country in application.countries if country in settings.countries]
