"""``otp-service doctor``: what is wrong, in words, and what to do about it."""

import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from otp_service.bootstrap import install
from otp_service.cli.access_findings import access_findings
from otp_service.cli.delivery_findings import delivery_findings
from otp_service.cli.findings import Finding, Level, refused, settings_findings
from otp_service.cli.ledger_findings import ledger_findings
from otp_service.cli.output import in_json, is_terminal, members, note, reading, unread_environment, wrapped
from otp_service.cli.registration_findings import registration_findings
from otp_service.cli.safety_findings import safety_findings
from otp_service.cli.server_findings import (
    clock_finding,
    fence_findings,
    installation_finding,
    setting_findings,
    silence_finding,
    version_finding,
    worker_finding,
)
from otp_service.errors import ConfigurationError, StartRefusedError, StoreUnavailableError
from otp_service.settings import Settings, load_settings

_COLOURS = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "red"}
_UNASKED = Finding(
    Level.WARN,
    "server",
    "Neither Redis nor the ledger was asked: nothing connects to them while the settings refuse to start.",
    "Mend what has failed, and look again.",
)


@click.command()
@reading
def doctor(path: Path | None) -> None:
    """Say what is wrong with the set-up.

    Looks at settings, keys, gateways and Redis. The exit status is 1 when something must be mended.
    """
    findings = list(_examine(path))
    if not in_json(findings=list(map(members, findings))):
        _print(findings)
    if any(finding.level is Level.FAIL for finding in findings):
        if unread := unread_environment():
            note(unread)
        raise SystemExit(1)


def _examine(path: Path | None) -> Iterator[Finding]:
    try:
        settings = load_settings(path, to_start=False)
    except ConfigurationError as faulty:
        for line in str(faulty).splitlines():
            subject, _, sentence = line.partition(": ")
            yield Finding(Level.FAIL, subject, sentence)
        return
    unsafe = list(safety_findings(settings))
    yield from unsafe
    yield from settings_findings(settings)
    yield from registration_findings(settings)
    if any(finding.level is Level.FAIL for finding in unsafe):
        yield _UNASKED  # a password must not go where it could be read
    else:
        yield from _server(settings)


def _server(settings: Settings) -> Iterator[Finding]:
    """Yield what the server tells. Nothing is written: looking must not claim a Redis for this installation."""
    try:
        context = install(settings).context
        server = context.store.server
        yield version_finding(server.version())
        yield from setting_findings(server.setting)
        yield clock_finding(context.store.limits.clock_skew())
        yield installation_finding(server.differing(), claimed=server.claimed())
        yield from fence_findings(context.store.fences.standing())
        yield worker_finding(server.worker_age())
        yield from ledger_findings(settings, context)
        yield from access_findings(settings, context, time.time_ns() // 1_000_000)
        yield from delivery_findings(context)
    except StartRefusedError as unsafe:
        yield from map(refused, unsafe.refusals)
    except ConfigurationError as unusable:
        yield Finding(Level.FAIL, "settings", str(unusable))
    except StoreUnavailableError as silent:
        yield silence_finding(settings, silent)


def _print(findings: Iterable[Finding]) -> None:
    for finding in findings:
        level = click.style(finding.level, fg=_COLOURS[finding.level], bold=is_terminal())
        name = f" [{finding.name}]" if finding.name else ""
        told = wrapped(f"{finding.level:<4}  {finding.subject}: {finding.sentence}{name}", indent=6)
        click.echo(told.replace(finding.level, level, 1))
        if finding.action:
            click.echo(wrapped(f"      → {finding.action}", indent=8))
