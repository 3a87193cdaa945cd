"""The number that a request is about, and the names under which it is kept."""

from dataclasses import dataclass

from otp_service.core.application import Application
from otp_service.core.errors import Fault, InvalidRequestError
from otp_service.core.keyring import Keyring
from otp_service.core.phone import Destination, NumberType, is_region, parse_destination


@dataclass(frozen=True, slots=True)
class Named:
    """A number, by the name under which it is kept."""

    destination: Destination
    pseudonym: str
    bucket: str


def destination_of(application: Application, to: str, region: str | None) -> Destination:
    """Return the destination that an application means, of any type; raise `InvalidNumberError` or another."""
    if region is not None and not is_region(region):
        raise InvalidRequestError("region is not known.", (Fault("/region", "is not a country with a numbering plan"),))
    return parse_destination(to, region or application.region, tuple(NumberType))


def named(keyring: Keyring, destination: Destination) -> Named:
    """Return a destination with its names."""
    pseudonym = keyring.pseudonym(destination.e164)
    return Named(destination, pseudonym, keyring.bucket(pseudonym))
