"""What ``dev`` keeps in its folder: keys of its own, an API key, and the settings that its processes read."""

import fcntl
import json
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from otp_service.cli.dev_numbers import CASES
from otp_service.domain.keyring import api_key_hash, new_api_key, new_key
from otp_service.errors import ConfigurationError
from otp_service.settings.loader import CONFIG_VARIABLE
from otp_service.settings.sources import FILE_SUFFIX, Table, merged

APPLICATION = "dev"
_SANDBOX = "sandbox"
"""The kind of gateway, and the name of ``dev``'s own."""
RECORDING = dict.fromkeys(
    (
        "number.cooldown", "number.guess_wait",
        "address.unapproved", "address.numbers", "address.countries", "address.network",
        "address.provider",
        "block.unapproved", "block.conversion", "country.unapproved", "country.conversion",
    ),
    "record_only",
)  # fmt: skip
"""Rules against fraud: who tries the service asks for one code after the other, for numbers in a row."""
DEFAULTS: Table = {
    "environment": "development",
    "http": {"metrics_port": 0, "metrics_on_same_port": True},
    "worker": {"metrics_port": 0},
    "logging": {"format": "console"},
    "guard": {"modes": RECORDING},
    "purposes": {
        "login": {
            "code_length": 6,
            "ttl": 300,
            "max_checks": 5,
            "max_sends": 3,
            "resend_delays": [30, 60, 120],
            "resend": "same_code",
            "channels": ["sms", "voice"],
        },
        "payment": {"kind": "transaction", "ttl": 180, "max_checks": 3},
    },
    "applications": {
        APPLICATION: {
            "name": "Dev Shop",
            "keys": [],
            "purposes": ["login", "payment"],
            "countries": ["*"],
            "region": "PK",
            "locale": "en",
            "client_ip": "connection",
        }
    },
    "gateways": {_SANDBOX: {"kind": _SANDBOX, "cases": CASES}},
}
"""``dev``'s settings where they differ from the defaults; a configuration file is laid over them."""

_ROOT = "OTP_SERVICE_ROOT_KEYS"
_PSEUDONYM = "OTP_SERVICE_PSEUDONYM_KEY"


_LEDGER = "ledger.db"
FILES: Mapping[str, str] = {
    "api-key": "the API key of the application dev",
    "config.json": "the settings, with their secrets",
    "env": "the names of the files with settings and keys, for a shell",
    _LEDGER: "the ledger",
    f"{_LEDGER}-shm": "what SQLite shares between processes",
    f"{_LEDGER}-wal": "the last changes of the ledger",
    "lock": "nothing: whoever holds it uses the folder",
    "metrics": "what was counted since the start",
    "pseudonym-key": "the pseudonym key",
    "root-keys": "the root key",
    "valkey": "all that is in Redis: its append-only file",
}
"""What ``dev`` makes in its folder, and what it holds."""


def lock(folder: Path) -> TextIO:
    """Make the folder, for this user only, and keep others out of it while the returned file is open.

    One that was there before is closed to other users too, with all that is in it, unless it holds things of others.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if {path.name for path in folder.iterdir()} <= FILES.keys():
        close_to_others(folder)
    held = os.fdopen(os.open(folder / "lock", os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8")
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as taken:
        held.close()
        advice = "end it, or give --data-dir and --port"
        raise ConfigurationError(f"Another otp-service dev uses the folder {folder}: {advice}.") from taken
    return held


def close_to_others(folder: Path) -> None:
    """Let nobody but this user read a folder and what is in it; links are left alone."""
    folder.chmod(0o700)
    for path in folder.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o700 if path.is_dir() else 0o600)


def private_text(path: Path, new: str) -> tuple[str, bool]:
    """Return what the file holds, and whether it was made now, with the text ``new``, for this user only."""
    if path.exists():
        return path.read_text(encoding="utf-8").strip(), False
    write_private(path, new)
    return new, True


def write_private(path: Path, text: str) -> None:
    """Write a file that only this user may read, whole or not at all."""
    beside = path.with_suffix(".new")
    beside.unlink(missing_ok=True)
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text + "\n")
    beside.replace(path)


def api_key_of(folder: Path, given: str | None) -> str:
    """Return the API key: the one given, else the folder's, made when there is none."""
    return given or private_text(folder / "api-key", new_api_key())[0]


def key_variables(folder: Path, environ: Mapping[str, str]) -> tuple[dict[str, str], bool]:
    """Return the variables that name the folder's keys, none where the environment has them, and if any is new."""
    variables, made = {}, False
    for variable, name, new in (
        (_ROOT, "root-keys", f"k1:{new_key()}"),
        (_PSEUDONYM, "pseudonym-key", new_key()),
    ):
        if not environ.get(variable) and not environ.get(variable + FILE_SUFFIX):
            made |= private_text(folder / name, new)[1]
            variables[variable + FILE_SUFFIX] = str((folder / name).resolve())
    return variables, made


def require_own(folder: Path, environ: Mapping[str, str]) -> None:
    """Raise `ConfigurationError` where the environment is that of another folder: its keys are not this one's."""
    for name in (CONFIG_VARIABLE, _ROOT + FILE_SUFFIX, _PSEUDONYM + FILE_SUFFIX):
        other = Path(environ.get(name, "")).parent
        if environ.get(name) and (other / "env").is_file() and other.resolve() != folder.resolve():
            raise ConfigurationError(
                f"This shell has read {other / 'env'}: {name} names a file of {other}, and --data-dir is {folder}. "
                f"Open another shell for {folder}, or give --data-dir {other}."
            )


def table_of(configured: Mapping[str, Any], api_key: str) -> Table:
    """Return ``dev``'s settings with a configuration file laid over them, and the API key among the keys of `dev`."""
    table = _signing(merged(_defaults_under(configured), configured))
    applications = table["applications"]
    application = applications.get(APPLICATION) if isinstance(applications, dict) else None
    keys = application.get("keys") if isinstance(application, dict) else None
    if not isinstance(keys, list):
        return table  # malformed: the settings' own checks tell where
    key = api_key_hash(api_key)
    every = [*(other for other in keys if other != key), key]
    return merged(table, {"applications": {APPLICATION: {"keys": every}}})


def _defaults_under(configured: Mapping[str, Any]) -> Table:
    """Return the defaults, without the sandbox where the file makes a gateway of another kind of it."""
    own = _gateways(configured).get(_SANDBOX)
    replaced = isinstance(own, Mapping) and own.get("kind", _SANDBOX) != _SANDBOX
    return {**DEFAULTS, "gateways": {}} if replaced else DEFAULTS


def _signing(table: Table) -> Table:
    """Give a secret to sign reports with to every sandbox gateway that has none; it lives as long as this process."""
    secrets = {
        name: {"receipt_secret": new_key()}
        for name, gateway in _gateways(table).items()
        if isinstance(gateway, Mapping) and gateway.get("kind") == _SANDBOX and "receipt_secret" not in gateway
    }
    return merged(table, {"gateways": secrets}) if secrets else table


def _gateways(table: Mapping[str, Any]) -> Mapping[str, Any]:
    gateways = table.get("gateways")
    return gateways if isinstance(gateways, Mapping) else {}  # malformed: the settings' own checks tell where


def ledger_url(folder: Path) -> str:
    """Return the address of the ledger in the folder."""
    return f"sqlite:///{(folder / _LEDGER).resolve()}"


def write_environment(folder: Path, environ: Mapping[str, str]) -> Path:
    """Write down, for a shell, the variables that lead the command line to this installation; return the file.

    Only those that name files of the folder: others are the user's own, and so are in his shell already.
    """
    root = str(folder.resolve())
    names = (CONFIG_VARIABLE, _ROOT + FILE_SUFFIX, _PSEUDONYM + FILE_SUFFIX)
    values = {name: environ[name] for name in names if environ.get(name, "").startswith(root)}
    path = folder / "env"
    write_private(path, "export " + " ".join(f"{name}={shlex.quote(value)}" for name, value in values.items()))
    return path


def write_configuration(folder: Path, table: Table) -> dict[str, str]:
    """Write the settings down for the processes that ``dev`` starts; return the variable that names them."""
    path = folder / "config.json"
    write_private(path, json.dumps(table, indent=2, default=str))
    return {CONFIG_VARIABLE: str(path.resolve())}
