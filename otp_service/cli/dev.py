"""``otp-service dev``: a complete service to try, with its own Valkey, keys, worker and sandbox gateway."""

import os
import shlex
import signal
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import click

from otp_service.cli import dev_data
from otp_service.cli.children import Child, spawn, stop_all
from otp_service.cli.dev_guide import guide
from otp_service.cli.embedded_valkey import start_valkey
from otp_service.cli.output import note, program, warn
from otp_service.cli.probe import check_port, url_of, wait_until_ready
from otp_service.errors import ConfigurationError
from otp_service.services.maintenance import ACCEPTED
from otp_service.settings import Settings, settings_from
from otp_service.settings.sources import FILE_SUFFIX, PREFIX, Table, merged, read_environment, read_file
from otp_service.telemetry import metrics

STOP_SECONDS = 8.0
"""How long the processes may take to finish what is in flight."""
_POLL = 0.1
_SHORT_LIFE = 1.0
"""A worker that ends before is not started again: it would only end again. In seconds."""


class Stopped(BaseException):
    """SIGTERM or SIGINT came. Like KeyboardInterrupt, no handler of errors may swallow it."""


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), help="Port of the service; default: 8080.")
@click.option(
    "--data-dir",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".otp-service"),
    show_default=True,
    help="Where state and keys are kept.",
)
@click.option("--api-key", help="API key of the application 'dev'; default: one of its own.")
@click.option(
    "--config",
    "path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Settings laid over dev's defaults, table by table.",
)
@click.option("--workers", type=click.IntRange(1, 64), help="Server processes; default: 2.")
def dev(port: int | None, folder: Path, api_key: str | None, path: Path | None, workers: int | None) -> None:
    """Run a complete service to try here.

    Service, worker, an embedded Valkey, and a sandbox gateway that catches the messages.
    """
    os.umask(0o077)  # what it and its processes write is for this user only
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, _stop)
    dev_data.require_own(folder, os.environ)
    try:
        with ExitStack() as stack:
            stack.enter_context(dev_data.lock(folder))
            options = {"port": port, "processes": workers}
            given = {name: value for name, value in options.items() if value is not None}
            _run(stack, folder, _Given(read_file(path) if path else {}, given, api_key))
    except Stopped:
        note("Stopped.")


def _stop(*_: object) -> None:
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, signal.SIG_IGN)
    raise Stopped


@dataclass(frozen=True)
class _Given:
    """What the user set."""

    file: Table
    http: Mapping[str, int]
    """Members of ``http`` that options set: they win over the environment too."""
    api_key: str | None


def _run(stack: ExitStack, folder: Path, given: _Given) -> None:
    api_key = dev_data.api_key_of(folder, given.api_key)
    environ = _environment(folder, given.http)
    configured = merged(given.file, {"http": given.http})
    table = dev_data.table_of(configured, api_key)
    settings = settings_from(merged(table, read_environment(environ)))
    check_port(settings.http.host, settings.http.port, "--port")
    store: list[Child] = []
    elsewhere = merged(configured, read_environment(environ))
    if "url" not in elsewhere.get("redis", {}):
        valkey = start_valkey(folder / "valkey")
        stack.callback(valkey.stop)
        store.append(valkey.child)
        note(f"State: an embedded Valkey at {valkey.url}, its data in {folder / 'valkey'}.")
        table = merged(table, {"redis": {"url": valkey.url}})
    if "url" not in elsewhere.get("ledger", {}):
        table = merged(table, {"ledger": {"url": dev_data.ledger_url(folder)}})
    if _reports_to_itself(settings):
        table = merged(table, {"http": {"public_url": url_of(settings.http.host, settings.http.port)}})
    environ |= dev_data.write_configuration(folder, table)
    shell = dev_data.write_environment(folder, environ)
    _supervise(stack, _Plan(settings, environ, api_key, shell), store)


def _reports_to_itself(settings: Settings) -> bool:
    """Tell whether gateways are to report to this machine: not where one really sends, whose provider cannot."""
    sends = any(not gateway.gateway_class.development_only for gateway in settings.gateways.values())
    return settings.http.public_url is None and not sends


def _environment(folder: Path, overridden: Iterable[str]) -> dict[str, str]:
    """Return the environment of the processes: this one, without what an option overrides, and the keys."""
    left_out = {f"{PREFIX}HTTP__{name.upper()}{form}" for name in overridden for form in ("", FILE_SUFFIX)}
    environ = {name: value for name, value in os.environ.items() if name not in left_out}
    keys, made = dev_data.key_variables(folder, environ)
    if made:
        note(f"Made keys of its own in {folder}. They are for this folder only: production needs others.")
    return environ | keys | metrics.prepare_folder(folder / "metrics") | _without_proxy(environ)


def _without_proxy(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variable that keeps the sandbox's reports to this machine away from a proxy of the environment."""
    listed = environ.get("no_proxy") or environ.get("NO_PROXY")
    return {} if listed == "*" else {"no_proxy": ",".join(filter(None, (listed, "127.0.0.1,localhost,::1")))}


@dataclass(frozen=True)
class _Plan:
    """What is to run."""

    settings: Settings
    environ: Mapping[str, str]
    api_key: str
    shell: Path
    """File that a shell reads to use the command line with this installation."""

    @property
    def url(self) -> str:
        """Where the service answers."""
        return url_of(self.settings.http.host, self.settings.http.port)

    def start(self, command: str) -> Child:
        """Start one of our own commands."""
        # -P: what lies in the current folder must not pass for a module of ours.
        return spawn(command, [sys.executable, "-P", "-m", "otp_service.cli.main", command], self.environ)


def _supervise(stack: ExitStack, plan: _Plan, store: Sequence[Child]) -> None:
    """Run the worker and the service until one of all processes ends by itself, which is an error."""
    children: list[Child] = []
    stack.callback(lambda: stop_all(children, STOP_SECONDS))
    children += [plan.start("worker"), plan.start("serve")]
    starts = wait_until_ready(plan.url, lambda: _ended([*children, *store]))
    click.echo(guide(plan.url, plan.api_key, plan.settings, plan.shell))
    if starts != ACCEPTED:
        warn(f"All starts are refused: {starts}. More: . {shlex.quote(str(plan.shell))}; {program()} doctor")
    while True:
        time.sleep(_POLL)
        children[0] = _kept_alive(children[0], plan)
        if reason := _ended([*children, *store]):
            raise ConfigurationError(f"{reason}; dev ends with it.")


def _kept_alive(worker: Child, plan: _Plan) -> Child:
    """Return the worker, or another in its place: what it held is claimed, as on any host."""
    reason = worker.ended()
    if reason is None or worker.age < _SHORT_LIFE:
        return worker
    warn(f"{reason}; another one is started.")
    return plan.start("worker")


def _ended(children: Sequence[Child]) -> str | None:
    return next(filter(None, (child.ended() for child in children)), None)
