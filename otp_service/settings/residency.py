"""Residency: whatever handles personal data of a country's numbers says that it is there."""

from collections.abc import Iterator, Mapping
from typing import Final

from otp_service.domain.verification import Channel
from otp_service.errors import RefusalName, StartRefusal
from otp_service.settings.carriers import carriers
from otp_service.settings.gateways import ConfiguredGateway
from otp_service.settings.policies import ConfiguredPolicy
from otp_service.settings.tree import Settings

_MEMBER: Final = "hosted_in"


def residency_refusals(settings: Settings) -> Iterator[StartRefusal]:
    """Yield what is not said to be in the country that personal data may not leave."""
    home = settings.residency
    if home is None:
        return
    elsewhere = _not_concerned(settings, home)
    for part, found in _places(settings):
        if part not in elsewhere and found != home:
            yield _refusal(part, found, home)


def _refusal(part: str, found: str | None, home: str) -> StartRefusal:
    asked = f"with residency = {home} personal data stay in {home}"
    if found is None:
        sentence, action = f"It is not said where it is, and {asked}.", "Find out where it is, and set that country."
    elif part.startswith("gateways."):
        sentence = f"It is in {found}, and {asked}."
        action = f"Send to {home} through another, and give this one a route of other countries only."
    else:
        sentence, action = f"It is in {found}, and {asked}.", f"Move it, or use another that is in {home}."
    return StartRefusal(RefusalName.RESIDENCY, f"{part}.{_MEMBER}", sentence, action)


def _places(settings: Settings) -> Iterator[tuple[str, str | None]]:
    """Yield each section that may say where it is, with its country: every one of the tree that has the member."""
    for name in type(settings).model_fields:
        section = getattr(settings, name)
        if hasattr(section, _MEMBER):
            yield name, section.hosted_in
        for entry, member in section.items() if isinstance(section, Mapping) else ():
            if isinstance(member, ConfiguredGateway | ConfiguredPolicy):
                yield f"{name}.{entry}", member.settings.hosted_in


def _not_concerned(settings: Settings, home: str) -> set[str]:
    """Return what handles nothing of the country: gateways that routes name for others only, or that send nothing.

    One that no route names may still be written to. Traces are nowhere while they are off.
    """
    carrying, routed = carriers(settings, home, *Channel), {name for one in settings.routes for name in one.gateways}
    gateways = {
        f"gateways.{name}"
        for name, gateway in settings.gateways.items()
        if gateway.gateway_class.development_only or (name in routed and name not in carrying)
    }
    return gateways if settings.telemetry.traces else {*gateways, "telemetry"}
