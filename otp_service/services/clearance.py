"""Whether the rules of a country let a message go out: asked early, of a start, and again of each dispatch."""

from datetime import UTC, date, datetime

from otp_service.domain.applications import Application
from otp_service.domain.verification import Channel, Purpose
from otp_service.ledger.database import now
from otp_service.services.context import Context


def today() -> date:
    """Return the day by which registrations end: that of UTC, by this host's clock."""
    return datetime.fromtimestamp(now() / 1000, UTC).date()


def require_clearance(
    context: Context, application: Application, purpose: Purpose, country: str, channel: str, locale: str
) -> None:
    """Raise `MessageNotClearedError` when no message of this kind would go out to the country now.

    A worker decides it again for each message: a registration may end meanwhile.
    """
    rules = context.clearance.rules_of(country)
    if not rules.registered_senders and not rules.approved_templates:
        return
    wanted = (locale, application.locale)
    words = context.catalogue.choose(purpose, Channel(channel), *wanted, only=rules.languages)
    context.clearance.clear(country, channel, application.name, words.reference(Channel(channel)), today())
