"""What ``doctor`` finds, and what settings tell that can be started with and may still be wrong."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from otp_service.domain.applications import Application, ClientIp
from otp_service.domain.guard import Ruleset
from otp_service.domain.verification import Channel
from otp_service.errors import StartRefusal
from otp_service.gateways.base import ReportsReceipts
from otp_service.settings import Settings

NOWHERE = "ZZ"
"""Stands for a country that no route names: what a caller with all countries may also send to."""


_MINUTE = 60


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    level: Level
    subject: str
    sentence: str
    action: str = ""
    """What to do; empty when all is well."""
    name: str = ""
    """Under which docs/refusals.md explains it, where a start is refused for it."""


def refused(refusal: StartRefusal, level: Level = Level.FAIL) -> Finding:
    """Return what refuses a start; a warning where it does so in production only, and this is none."""
    return Finding(level, refusal.place, refusal.sentence, refusal.action, refusal.name)


def settings_findings(settings: Settings) -> Iterator[Finding]:
    """Yield what the settings alone tell of what works with what."""
    yield from _profile(settings)
    yield from _purposes(settings)
    yield from _applications(settings)
    yield from _gateways(settings)
    yield from _policies(settings)
    yield from _routes(settings)
    yield from _http(settings)


def _profile(settings: Settings) -> Iterator[Finding]:
    if settings.profile:
        yield Finding(Level.OK, "profile", f"{settings.profile} is in force.")


def _purposes(settings: Settings) -> Iterator[Finding]:
    for name, purpose in settings.purposes.items():
        subject, delay = f"purposes.{name}", purpose.resend_delays[0]
        if purpose.max_sends > 1 and purpose.ttl <= delay:
            yield Finding(
                Level.WARN,
                subject,
                f"No message is ever sent again: the wait for it is {delay} s, and the code lives {purpose.ttl} s.",
                "Shorten resend_delays, lengthen ttl, or set max_sends to 1.",
            )
        if purpose.ttl < _MINUTE:
            yield Finding(
                Level.WARN,
                subject,
                f'A code lives {purpose.ttl} s: messages say "less than a minute", and many arrive later.',
                f"Set ttl to {_MINUTE} or more.",
            )


def _applications(settings: Settings) -> Iterator[Finding]:
    for name, application in settings.core_applications.items():
        yield from application_findings(settings, name, application)


def application_findings(settings: Settings, name: str, application: Application) -> Iterator[Finding]:
    """Yield what is wrong with an application, wherever it is kept."""
    subject = f"applications.{name}"
    if application.home is None:
        yield Finding(
            Level.WARN,
            subject,
            "It has no home: all its countries count as abroad, where little passes, and may be closed altogether.",
            "Set home to the country that most of its traffic goes to.",
        )
    if application.client_ip is ClientIp.CONNECTION and settings.production and not settings.http.trusted_proxies:
        yield Finding(
            Level.WARN,
            subject,
            'With client_ip = "connection" and no trusted proxy, all who come through a proxy count as one.',
            "Set http.trusted_proxies to the number of proxies before the service.",
        )


def ceiling_findings(name: str, ruleset: Ruleset) -> Iterator[Finding]:
    """Yield that an application may spend without end, wherever it is kept."""
    if not ruleset.ceilings and not any(ruleset.ceilings_of_countries.values()):
        action = 'Set a ceiling such as day = "4000".'
        yield Finding(Level.WARN, f"applications.{name}.spend", "Nothing bounds what it may spend.", action)


def _gateways(settings: Settings) -> Iterator[Finding]:
    for name, gateway in settings.gateways.items():
        subject = f"gateways.{name}"
        yield Finding(Level.OK, subject, f"The settings of this {gateway.kind} gateway are complete.")
        reports = issubclass(gateway.gateway_class, ReportsReceipts) and gateway.settings.takes_receipts
        if reports and not gateway.gateway_class.development_only and not settings.http.public_url:
            yield Finding(
                Level.WARN,
                subject,
                "It could report what became of a message, but does not know where.",
                "Set http.public_url.",
            )


def _policies(settings: Settings) -> Iterator[Finding]:
    for name, policy in settings.policies.items():
        subject = f"policies.{name}"
        yield Finding(Level.OK, subject, f"The settings of this {policy.kind} policy are complete.")


def _routes(settings: Settings) -> Iterator[Finding]:
    yield from _passed_over(settings)
    gaps = list(_gaps(settings))
    yield from gaps
    if not gaps and settings.applications:
        yield Finding(Level.OK, "routes", "Every application reaches every country of its list.")


def _passed_over(settings: Settings) -> Iterator[Finding]:
    """Yield the gateways that stand in a route for nothing."""
    offered = {channel for purpose in settings.core_purposes.values() for channel in purpose.channels}
    for position, route in enumerate(settings.routes):
        channels = set(route.channels) or offered
        for name in route.gateways:
            if not channels & settings.core_routes.channels_of[name]:
                yield Finding(
                    Level.WARN,
                    f"routes.{position}",
                    f"The gateway {name} is never asked: it carries none of {', '.join(sorted(channels))}.",
                    "Take it out of the route, or correct the route's channels.",
                )


def _gaps(settings: Settings) -> Iterator[Finding]:
    for name, application in settings.core_applications.items():
        yield from gaps_of(settings, name, application)


def gaps_of(settings: Settings, name: str, application: Application) -> Iterator[Finding]:
    """Yield the countries of an application that no gateway reaches."""
    for purpose in sorted(application.purposes):
        channels = settings.core_purposes[purpose].channels
        for channel in channels:
            missing = _unreached(settings, application.countries, purpose, channel)
            if missing:
                yield Finding(
                    Level.FAIL if channel is channels[0] else Level.WARN,
                    f"applications.{name}",
                    f"No gateway carries {channel} for {purpose} to {', '.join(missing)}.",
                    "Add a route or a gateway, or take the channel out of the purpose.",
                )


def _unreached(settings: Settings, countries: frozenset[str] | None, purpose: str, channel: Channel) -> list[str]:
    asked = countries or {NOWHERE}
    missing = [c for c in sorted(asked) if not settings.core_routes.gateways_for(c, purpose, channel)]
    return ["some countries"] if missing == [NOWHERE] else missing


def _http(settings: Settings) -> Iterator[Finding]:
    http = settings.http
    if settings.production and http.public_url and http.public_url.startswith("http://"):
        yield Finding(
            Level.WARN, "http.public_url", "Receipts come in without encryption.", "Use the https:// address."
        )
    if settings.production and http.metrics_on_same_port:
        yield Finding(
            Level.WARN,
            "http.metrics_on_same_port",
            "Everybody who reaches the service reads its metrics.",
            "Set it to false and use http.metrics_port.",
        )
