"""What countries and residency ask of an installation: each unmet demand is a reason not to start.

That a registration has ended is none: it would take all other countries down with it. Its messages are refused one by
one, and ``doctor`` tells it.
"""

from collections.abc import Collection, Iterator
from itertools import product

from otp_service.domain.countries import Obstacle
from otp_service.domain.people import ConsentMode
from otp_service.domain.templates import Catalogue, Language, Texts
from otp_service.domain.verification import Channel
from otp_service.errors import ConfigurationError, RefusalName, StartRefusal, StartRefusedError
from otp_service.services.clearance import today
from otp_service.services.lint import faults_of_locale
from otp_service.settings.carriers import carriers
from otp_service.settings.messages import read_catalogue
from otp_service.settings.policy import ALL_COUNTRIES, ApplicationSection
from otp_service.settings.residency import residency_refusals
from otp_service.settings.tree import Settings

_NO_SENDER = {
    Obstacle.SENDER_MISSING: "No sender is registered in {country} for the application {application}.",
    Obstacle.SENDER_CATEGORY: "The senders in {country} for the application {application} are of another category.",
}


_REGISTER = "Register one, and add a section [senders.NAME] with its reference."


def demands(settings: Settings) -> list[StartRefusal]:
    """Return the demands that are not met, as far as the settings tell."""
    unmet = [*residency_refusals(settings), *_gateways(settings)]
    for name, application in settings.applications.items():
        unmet += consent_demands(settings, f"applications.{name}.", application)
        unmet += sender_demands(settings, name, application)
    return unmet


def consent_demands(settings: Settings, path: str, application: ApplicationSection) -> Iterator[StartRefusal]:
    """Yield the countries that ask for consents which an application, whose members are at a path, does not."""
    for country in _asked(settings, application):
        if settings.countries[country].consent == "required" and application.consent is not ConsentMode.REQUIRED:
            yield StartRefusal(
                RefusalName.CONSENT_NOT_REQUIRED,
                f"{path}consent",
                f"Messages to {country} need a consent.",
                'Set it to "required".',
            )


def sender_demands(settings: Settings, name: str, application: ApplicationSection) -> Iterator[StartRefusal]:
    """Yield the countries in which an application, wherever it is kept, has no sender that is registered."""
    for country in _asked(settings, application):
        obstacle = settings.core_clearance.why_not_sender(country, name, today())
        if obstacle in _NO_SENDER:
            sentence = _NO_SENDER[obstacle].format(country=country, application=name)
            yield StartRefusal(RefusalName.NO_SENDER, "senders", sentence, _REGISTER)


def cleared_catalogue(settings: Settings) -> Catalogue:
    """Return the words of messages, as `read_catalogue` does.

    Raises `ConfigurationError` also for a language of a country or an application that has no words, and
    `StartRefusedError` for each template that a start could need, and that its country has not approved.
    """
    catalogue = read_catalogue(settings)
    if missing := list(_missing_languages(settings, catalogue)):
        raise ConfigurationError("\n".join(missing))
    if unmet := _unapproved(settings, catalogue):
        raise StartRefusedError(*unmet)
    return catalogue


def _missing_languages(settings: Settings, catalogue: Catalogue) -> Iterator[str]:
    for country, asked in settings.countries.items():
        for tag in asked.languages:
            if tag.lower() not in catalogue.languages:
                yield f"countries.{country}.languages: there is no file of messages for {tag}."
    for name, application in settings.applications.items():
        yield from (f"applications.{name}.{fault}" for fault in faults_of_locale(catalogue, application.locale))


def _unapproved(settings: Settings, catalogue: Catalogue) -> list[StartRefusal]:
    unmet: dict[StartRefusal, None] = {}
    for country in settings.countries:
        for language, texts in _needed(settings, catalogue, country):
            reference = language.references[texts.name, Channel.SMS]
            obstacle = settings.core_clearance.why_not_template(country, reference, today())
            if obstacle is Obstacle.TEMPLATE_NOT_APPROVED:
                sentence = f"{reference.id} is not approved in {country}. Its digest is {reference.sha256}."
                action = "Have it approved, and add a section [approvals.NAME]."
                unmet[StartRefusal(RefusalName.TEMPLATE_NOT_APPROVED, "approvals", sentence, action)] = None
    return list(unmet)


def _needed(settings: Settings, catalogue: Catalogue, country: str) -> Iterator[tuple[Language, Texts]]:
    """Yield the texts that a text message of some application to a country may be made of."""
    languages = {tag.lower() for tag in settings.countries[country].languages}
    chosen = [one for tag, one in catalogue.languages.items() if not languages or tag in languages]
    purposes = [one for one in settings.core_purposes.values() if Channel.SMS in one.channels]
    for purpose, language in product(purposes, chosen):
        if texts := language.texts_for(purpose, Channel.SMS):
            yield language, texts


def _gateways(settings: Settings) -> Iterator[StartRefusal]:
    for country, asked in settings.countries.items():
        for name in carriers(settings, country, Channel.SMS) if asked.senders == "registered" else ():
            if not settings.gateways[name].settings.sets_sender:
                sentence = (
                    f"It does not show the sender that a message names, and {country} takes registered ones only."
                )
                action = f"Route messages to {country} through another."
                yield StartRefusal(RefusalName.SENDER_NOT_SHOWN, f"gateways.{name}", sentence, action)


def _asked(settings: Settings, application: ApplicationSection) -> Collection[str]:
    """Return the countries that an application sends to and that ask for something."""
    if ALL_COUNTRIES in application.countries:
        return settings.countries
    return [country for country in application.countries if country in settings.countries]
