"""otp-service key: keys for the settings, and API keys of the ledger."""

import datetime as dt

import click

from otp_service.cli import output as out
from otp_service.cli.common import Session, command
from otp_service.clock import now
from otp_service.domain.applications import APPLICATION_SCOPES, ApiKey, KeyScope, parse_networks
from otp_service.domain.keyring import api_key_hash, new_api_key, new_key
from otp_service.errors import NotFoundError
from otp_service.services import access
from otp_service.services.access import DEFAULT_OVERLAP, MAX_OVERLAP
from otp_service.settings.schema import is_name


@click.group()
def key() -> None:
    """Make keys; list, replace and revoke API keys.

    An API key is in the ledger (add), or its hash is in the configuration (new). "new", "root" and "pseudonym" print
    keys and do not store them.
    """


@command(key, "Make an API key in the ledger.", access=True)
@click.argument("application", required=False)
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(sorted(scope.value for scope in APPLICATION_SCOPES)),
    help="Permission of the key; repeat for several. Default: verify.",
)
@click.option(
    "--address",
    "addresses",
    multiple=True,
    help="Allowed address, or network such as 192.0.2.0/24, of callers; repeat for several. Default: any.",
)
@click.option(
    "--admin", is_flag=True, help="Make a key for operators, instead of an application: the API below /v1/admin."
)
def add(
    session: Session, application: str | None, scopes: tuple[str, ...], addresses: tuple[str, ...], *, admin: bool
) -> None:
    """Make an API key for APPLICATION, of the ledger or the configuration; or, with --admin, for operators.

    The key is printed only this time and not stored. Every process accepts it within five seconds.
    """
    if (application is None) != admin or (admin and scopes):
        raise click.UsageError("Name an application, with --scope or without; or use --admin instead.")
    networks = parse_networks(addresses)
    if application is None:
        _show(access.issue_operator_key(session.context, networks, session.operator))
        return
    allowed = [KeyScope(scope) for scope in scopes or (KeyScope.VERIFY,)]
    try:
        _show(access.issue_key(session.context, application, allowed, networks, session.operator))
    except NotFoundError as unknown:
        hint = f"({out.program()} application list)"
        raise NotFoundError(f"The application {application!r} does not exist {hint}.") from unknown


@command(key, "List the API keys of the ledger.")
@click.argument("application", required=False)
def list_(session: Session, application: str | None) -> None:
    """List the API keys of the ledger, or those of APPLICATION, oldest first. Times are in UTC."""
    headings = ("Id", "Application", "Scopes", "Addresses", "Made", "Last used", "State")
    out.table("keys", headings, map(_row, session.context.ledger.api_keys.of(application)))
    sections = session.settings.applications.items()
    configured = sum(len(section.keys) for name, section in sections if application in {None, name})
    if not out.in_json(configured=configured) and configured:
        out.note(f"In the configuration, and not listed: {out.count_of(configured, 'key')}.")


@command(key, "Replace an API key of the ledger.", access=True)
@click.argument("key_id", metavar="ID")
@click.option(
    "--overlap",
    type=click.IntRange(0, MAX_OVERLAP),
    default=DEFAULT_OVERLAP,
    help="Seconds until the old key ends; default: a day.",
)
def rotate(session: Session, key_id: str, overlap: int) -> None:
    """Replace the key ID, which ends after the overlap, with a key of the same permissions.

    The new key is printed only this time and not stored.
    """
    _show(access.rotate_key(session.context, key_id, overlap, session.operator))
    old = next(key for key in session.context.ledger.api_keys.of(None) if key.id == key_id)
    out.in_json(old=key_id, old_expires=out.when(old.expires))
    out.note(f"The old key {key_id}: {_state(old)}.")


@command(key, "End an API key of the ledger.", asks=True, access=True)
@click.argument("key_id", metavar="ID")
def revoke(session: Session, key_id: str) -> None:
    """Revoke the key ID for ever. Every process refuses it within five seconds."""
    session.confirm(f"Refuse every call with the key {key_id} from now on?")
    revoked = access.revoke_key(session.context, key_id, session.operator)
    since = f", since {out.moment(revoked.revoked)}" if revoked.revoked else ""
    owner = revoked.application or "operators"
    out.done(f"The key {key_id} of {owner} is revoked{since}.", id=key_id, revoked=out.when(revoked.revoked))


def _show(issued: access.IssuedKey) -> None:
    if out.in_json(id=issued.key.id, key=issued.secret, application=issued.key.application or None):
        return
    out.note("API key, shown once. Give it to the caller:")
    click.echo(issued.secret)
    out.note(f"Its ID, for {out.program()} key list, rotate and revoke: {issued.key.id}")


def _row(key: ApiKey) -> out.Row:
    networks = list(map(str, key.networks))
    owner = out.Labelled(key.application or None, key.application or "(operators)")
    addresses = out.Labelled(networks, ",".join(networks) or "anywhere")
    used = out.Labelled(out.when(key.used), "never" if key.used is None else out.moment(key.used))
    return key.id, owner, sorted(key.scopes), addresses, out.when(key.created), used, _state(key)


def _state(key: ApiKey) -> str:
    if key.revoked is not None:
        return f"revoked {out.moment(key.revoked)}"
    if key.expires is not None:
        return f"{'ends' if key.is_valid(now()) else 'ended'} {out.moment(key.expires)}"
    return "valid"


@key.command(short_help="Make an API key for the configuration.")
@click.argument("application")
def new(application: str) -> None:
    """Make an API key for APPLICATION: the key for the caller, its hash for the configuration. Nothing is stored."""
    if not is_name(application):
        raise click.BadParameter("a name must have 1 to 32 characters of a-z, 0-9, _ and -", param_hint="APPLICATION")
    api_key = new_api_key()
    out.note("API key, shown once. Give it to the caller:")
    click.echo(api_key)
    out.note(f"\nIts hash; add it to the keys of [applications.{application}] in the configuration:")
    click.echo(f'keys = ["{api_key_hash(api_key)}"]')


@key.command()
@click.option("--id", "key_id", help="1 to 8 of a-z and 0-9; default: this month, such as k2611.")
def root(key_id: str | None) -> None:
    """Make a root key.

    To replace the active key, first add the new key at the end of the file that OTP_SERVICE_ROOT_KEYS_FILE names, and
    reload all processes (SIGHUP). Then move it to the front, which makes it active, and reload them again. After 20
    minutes the old key may be removed. See "Rotating a root key" in docs/operations.md.
    """
    name = key_id or f"{dt.datetime.now(dt.UTC):k%y%m}"
    if not (name.isascii() and name.isalnum() and name == name.lower() and len(name) <= 8):  # noqa: PLR2004
        raise click.BadParameter("an id has 1 to 8 of a-z and 0-9", param_hint="--id")
    click.echo(f"{name}:{new_key()}")


@key.command(short_help="Make the pseudonym key.")
def pseudonym() -> None:
    """Make the pseudonym key (OTP_SERVICE_PSEUDONYM_KEY). It stays the same for the installation's life."""
    click.echo(new_key())
