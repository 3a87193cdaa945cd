"""What ``doctor`` finds about applications and keys, those of the ledger among them."""

from collections.abc import Iterator

from otp_service.cli.findings import Finding, Level, application_findings, ceiling_findings, gaps_of
from otp_service.errors import LedgerUnavailableError
from otp_service.services.context import Context
from otp_service.settings import Settings


def access_findings(settings: Settings, context: Context, now: int) -> Iterator[Finding]:
    """Yield who could not call at ``now`` (milliseconds since the epoch), and what is wrong with the ledger's.

    Nothing, where the ledger cannot be asked: whether it is away or still to be made, `ledger_findings` tells.
    """
    try:
        context.directory.refresh()
    except LedgerUnavailableError:
        return
    entries = context.directory.entries
    calling = {key.application for key in entries.keys.values() if key.is_valid(now)}
    if not entries.applications:
        yield Finding(Level.WARN, "applications", "There is none.", "otp-service application add NAME FILE")
    for name, application in entries.applications.items():
        if name not in calling:
            yield Finding(Level.WARN, f"applications.{name}", "It has no API key.", f"otp-service key add {name}")
        if not context.directory.is_configured(name):
            yield from application_findings(settings, name, application)
            yield from gaps_of(settings, name, application)
            yield from ceiling_findings(name, entries.rulesets[name].ruleset) if settings.production else ()
