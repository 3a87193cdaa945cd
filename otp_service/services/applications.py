"""Applications of the ledger: make one, change one. Each change is logged, and in force in this process at once."""

from otp_service.domain.applications import Application
from otp_service.errors import ConflictError, InvalidApplicationError, NameTakenError, NotFoundError
from otp_service.ledger.access import StoredApplication
from otp_service.services.context import Context
from otp_service.settings.messages import faults_of_cost, faults_of_locale, measures
from otp_service.telemetry.logging import get_logger

_log = get_logger(__name__)


def add_application(context: Context, name: str, settings: str, by: str) -> StoredApplication:
    """Make an application of a name and settings (JSON, as in the configuration, without keys).

    ``by`` says who does it, for the log and the ledger. Raises `InvalidApplicationError`, `NameTakenError` and
    `LedgerUnavailableError`.
    """
    if context.directory.is_configured(name):
        raise NameTakenError("There is an application of this name in the configuration.")
    _judge(context, name, settings)
    added = context.ledger.applications.add(name, settings, by)
    _log.info("application_added", application=name, by=by)
    context.directory.take_up()
    return added


def change_application(context: Context, name: str, settings: str, by: str) -> StoredApplication:
    """Give an application other settings; verifications that live keep what they were started with.

    Raises `InvalidApplicationError`, `NotFoundError`, `ConflictError` for one of the configuration, and
    `LedgerUnavailableError`.
    """
    if context.directory.is_configured(name):
        raise ConflictError("The application is in the configuration: change it there.")
    _judge(context, name, settings)
    changed = context.ledger.applications.change(name, settings, by)
    if changed is None:
        raise NotFoundError("There is no such application.")
    _log.info("application_changed", application=name, by=by)
    context.directory.take_up()
    return changed


def _judge(context: Context, name: str, settings: str) -> None:
    """Refuse what no process could use, a language without words, and messages longer than their files allow."""
    application: Application = context.directory.understand(name, settings).application
    measured = measures(context.catalogue, context.purposes, (application,))
    locale = faults_of_locale(context.catalogue, application.locale)
    if faults := [*locale, *faults_of_cost(one for one in measured if one.application)]:
        raise InvalidApplicationError("\n".join(faults))
