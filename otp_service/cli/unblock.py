"""``otp-service guard unblock``: let messages and guesses through that rules keep back."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click

from otp_service.cli.context import informed_context, operator
from otp_service.cli.guard_status import BLOCK, COUNTRY
from otp_service.cli.options import config_option, destination, region_option
from otp_service.cli.output import done, note, program
from otp_service.core.act import Act, Recorded
from otp_service.core.address import network_of, wide_network_of
from otp_service.core.errors import InvalidRequestError
from otp_service.core.phone import is_region
from otp_service.services.context import Context
from otp_service.settings import load_settings


@dataclass(frozen=True)
class _Held:
    """What rules hold back."""

    name: str
    """As a person is asked about it."""
    rule: str
    """The one that a decision tells it was lifted of."""
    forget: Callable[[], int]
    """Lets it through; returns how many things were forgotten."""
    place: tuple[str, ...] = ()
    """Application and country."""


@click.command(short_help="Lift a lock, or open what is closed.")
@click.option("--number", help="End the waits and locks of a number.")
@click.option("--block-of", help="Forget what was counted for the block of 10,000 numbers that a number is in.")
@click.option("--country", nargs=2, metavar="APPLICATION COUNTRY", help="Forget what was counted for a country.")
@click.option("--address", help="Forget what was counted for an end user's address.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@region_option
@config_option
def unblock(
    number: str | None,
    block_of: str | None,
    country: tuple[str, str] | None,
    address: str | None,
    region: str | None,
    path: Path | None,
    *,
    yes: bool,
) -> None:
    """Lift a lock of a number, or forget what was counted for a block, a country or an address.

    Windows are another thing: otp-service limits reset empties those of a number.
    """
    if sum(map(bool, (number, block_of, country, address))) != 1:
        raise click.UsageError("Name one, and only one, of --number, --block-of, --country and --address.")
    context = informed_context(load_settings(path))
    held = _held(context, number, block_of, country, address, region)
    if not yes:
        click.confirm(f"Let through what rules keep from {held.name}?", abort=True)
    about = "number" if number else "block" if block_of else "country" if country else "address"
    application, *_ = held.place or ("",)
    context.ledger.acts.add(Recorded(Act.GUARD_UNBLOCKED, operator(), application, about))
    if not held.forget():
        done("Nothing was counted.")
        return
    context.store.decisions.lifted(context.keyring.buckets[0], held.rule, *held.place)
    done("Forgotten. Rules count anew from here.")
    if number:
        note(f"Its windows of sends and guesses are another thing: {program()} limits reset NUMBER")


def _held(
    context: Context,
    number: str | None,
    block_of: str | None,
    country: tuple[str, str] | None,
    address: str | None,
    region: str | None,
) -> _Held:
    if number:
        return _number(context, number, region)
    if block_of:
        return _block(context, block_of, region)
    return _country(context, *country) if country else _address(context, address or "")


def _number(context: Context, number: str, region: str | None) -> _Held:
    found = destination(number, region)
    pseudonym = context.keyring.pseudonym(found.e164)
    bucket = context.keyring.bucket(pseudonym)
    return _Held(
        f"{found.mask}, at all applications",
        "number.lock",
        lambda: context.store.guard.forget_number(bucket, pseudonym, context.applications),
    )


def _block(context: Context, number: str, region: str | None) -> _Held:
    found = destination(number, region)
    pseudonym = context.keyring.block_pseudonym(found.block)
    name = f"the block of {found.mask}, at all applications"
    return _Held(name, BLOCK, lambda: context.store.guard.forget_block(pseudonym))


def _country(context: Context, application: str, country: str) -> _Held:
    country = country.upper()
    if application not in context.applications:
        known = ", ".join(sorted(context.applications))
        raise click.UsageError(f"There is no application {application}, only: {known}.")
    if not is_region(country):
        raise click.UsageError(f"{country} is not the code of a country, such as PK.")
    name = f"{country} at {application}"
    forget = context.store.guard.forget_country
    return _Held(name, COUNTRY, lambda: forget(application, country), (application, country))


def _address(context: Context, address: str) -> _Held:
    try:
        network = network_of(address)
    except InvalidRequestError as malformed:
        raise click.UsageError("That is not an IP address.") from malformed
    wide, name_of = wide_network_of(network), context.keyring.network_pseudonym
    pseudonyms = name_of(network), name_of(wide) if wide else None
    return _Held("this address", "address.unapproved", lambda: context.store.guard.forget_network(*pseudonyms))
