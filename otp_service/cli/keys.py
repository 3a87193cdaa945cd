"""``otp-service key``: new keys, each printed once; and the API keys of the ledger."""

import datetime as dt

import click

from otp_service.cli.ledger_keys import add, list_, revoke, rotate
from otp_service.cli.output import note
from otp_service.domain.keyring import api_key_hash, new_api_key, new_key
from otp_service.settings.sections import is_name


@click.group()
def key() -> None:
    """Make keys; list, replace and revoke API keys.

    An API key is in the ledger (add), where it comes and goes while the service runs, or its hash is in the
    configuration (new). "new", "root" and "pseudonym" store nothing: what they print is all there is.
    """


for _command in (add, list_, rotate, revoke):
    key.add_command(_command)


@key.command(short_help="Make an API key for the configuration.")
@click.argument("application")
def new(application: str) -> None:
    """Make an API key for APPLICATION: the key for the caller, its hash for the configuration. Nothing is stored."""
    if not is_name(application):
        raise click.BadParameter("a name has 1 to 32 of a-z, 0-9, _ and -", param_hint="APPLICATION")
    api_key = new_api_key()
    note("The API key, shown this once; give it to the caller:")
    click.echo(api_key)
    note(f"\nIts hash; add it to the keys of [applications.{application}] in the configuration:")
    click.echo(f'keys = ["{api_key_hash(api_key)}"]')


@key.command()
@click.option("--id", "key_id", help="1 to 8 of a-z and 0-9; default: this month, such as k2611.")
def root(key_id: str | None) -> None:
    """Make a root key.

    To replace the present one, first add the new one behind it in the file that OTP_SERVICE_ROOT_KEYS_FILE names and
    reload all processes (SIGHUP), so that every one knows it. Then move it to the front, which makes it the active one,
    and reload them again. 20 minutes later the old one may go. See "Rotating a root key" in docs/operations.md.
    """
    name = key_id or f"{dt.datetime.now(dt.UTC):k%y%m}"
    if not (name.isascii() and name.isalnum() and name == name.lower() and len(name) <= 8):  # noqa: PLR2004
        raise click.BadParameter("an id has 1 to 8 of a-z and 0-9", param_hint="--id")
    click.echo(f"{name}:{new_key()}")


@key.command(short_help="Make the pseudonym key.")
def pseudonym() -> None:
    """Make the pseudonym key (OTP_SERVICE_PSEUDONYM_KEY). It stays the same for the installation's life."""
    click.echo(new_key())
