"""Everything that is kept in the ledger, in one place."""

from otp_service.ledger import database as ledger_database
from otp_service.ledger.access import Access, ApiKeys, Applications
from otp_service.ledger.audit import Audit, Disputes, Incidents, OperatorActions
from otp_service.ledger.consents import Consents, MirrorSource, Suppressions
from otp_service.ledger.database import Database
from otp_service.ledger.factors import Factors, RecoveryCodes
from otp_service.ledger.proof_keys import ProofKeys
from otp_service.ledger.retention import Purges
from otp_service.ledger.stats import Stats
from otp_service.ledger.subjects import Subjects
from otp_service.ledger.verifications import Inbound, VerificationLedger
from otp_service.ledger.webhooks import Endpoints, WebhookOutbox


class Ledger:
    """The parts of the ledger; all raise `LedgerUnavailableError` when the database cannot serve in time."""

    def __init__(self, url: str, timeout: float, pseudonym_key: str = "") -> None:
        """Take the arguments of `Database`; opens no connection yet."""
        database = Database(url, timeout, pseudonym_key)
        self.database = database
        self.consents = Consents(database)
        self.suppressions = Suppressions(database)
        self.verifications = VerificationLedger(database)
        self.inbound = Inbound(database)
        self.stats = Stats(database)
        self.factors = Factors(database)
        self.recovery_codes = RecoveryCodes(database)
        self.subjects = Subjects(database)
        self.mirror_source = MirrorSource(database)
        self.applications = Applications(database)
        self.api_keys = ApiKeys(database)
        self.access = Access(database)
        self.proof_keys = ProofKeys(database)
        self.purges = Purges(database)
        self.operator_actions = OperatorActions(database)
        self.audit = Audit(database)
        self.disputes = Disputes(database)
        self.incidents = Incidents(database)
        self.endpoints = Endpoints(database)
        self.webhook_outbox = WebhookOutbox(database)

    def upgrade(self) -> None:
        ledger_database.upgrade(self.database)

    def is_made(self) -> bool:
        """Tell whether the tables exist; raise `LedgerFormatError` where another release made them."""
        return ledger_database.is_made(self.database)

    def close(self) -> None:
        self.database.close()
