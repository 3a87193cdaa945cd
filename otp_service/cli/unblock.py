"""``otp-service guard unblock``: let messages and guesses through that rules keep back."""

from pathlib import Path

import click

from otp_service.cli.context import informed_context, operator_login
from otp_service.cli.entries import known_application
from otp_service.cli.options import config_option, destination, region_option
from otp_service.cli.output import done, note, program
from otp_service.domain.numbers import is_region, named
from otp_service.errors import InvalidRequestError
from otp_service.services import operator_actions
from otp_service.services.context import Context
from otp_service.services.operator_actions import Held
from otp_service.settings import load_settings


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
    name, held = _held(context, number, block_of, country, address, region)
    if not yes:
        click.confirm(f"Let through what rules keep from {name}?", abort=True)
    if not operator_actions.unblock(context, held, operator_login()):
        done("Nothing was counted.")
        return
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
) -> tuple[str, Held]:
    """Return what rules hold back, and before it its name, as a person is asked about it."""
    if number:
        to = destination(number, region)
        return f"{to.mask}, at all applications", operator_actions.of_number(context, named(context.keyring, to))
    if block_of:
        to = destination(block_of, region)
        return f"the block of {to.mask}, at all applications", operator_actions.of_block(context, to)
    return _country(context, *country) if country else _address(context, address or "")


def _country(context: Context, application: str, country: str) -> tuple[str, Held]:
    country = country.upper()
    application = known_application(context, application)
    if not is_region(country):
        raise click.UsageError(f"{country} is not the code of a country, such as PK.")
    return f"{country} at {application}", operator_actions.of_country(context, application, country)


def _address(context: Context, address: str) -> tuple[str, Held]:
    try:
        return "this address", operator_actions.of_address(context, address)
    except InvalidRequestError as malformed:
        raise click.UsageError("That is not an IP address.") from malformed
