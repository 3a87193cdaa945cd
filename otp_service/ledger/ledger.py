"""Everything that is kept in the ledger, in one place."""

from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class Ledger:
    """The parts of the ledger; all raise `LedgerUnavailableError` when the database cannot serve in time."""

    database: Database
    consents: Consents
    suppressions: Suppressions
    verifications: VerificationLedger
    inbound: Inbound
    stats: Stats
    factors: Factors
    recovery_codes: RecoveryCodes
    subjects: Subjects
    mirror_source: MirrorSource
    applications: Applications
    api_keys: ApiKeys
    access: Access
    proof_keys: ProofKeys
    purges: Purges
    operator_actions: OperatorActions
    audit: Audit
    disputes: Disputes
    incidents: Incidents
    endpoints: Endpoints
    webhook_outbox: WebhookOutbox

    def upgrade(self) -> None:
        """Make the tables that do not exist."""
        ledger_database.upgrade(self.database)

    def is_made(self) -> bool:
        """Tell whether the tables exist; raise `LedgerFormatError` where another release made them."""
        return ledger_database.is_made(self.database)

    def close(self) -> None:
        """Close all connections that are not in use."""
        self.database.close()


def open_ledger(url: str, timeout: float, pseudonym_key: str = "") -> Ledger:
    """Return the ledger at an address (`Database`); opens no connection yet.

    ``timeout`` in seconds; ``pseudonym_key`` is the fingerprint of the key whose pseudonyms are in it.
    """
    database = Database(url, timeout, pseudonym_key)
    return Ledger(
        database=database,
        consents=Consents(database),
        suppressions=Suppressions(database),
        verifications=VerificationLedger(database),
        inbound=Inbound(database),
        stats=Stats(database),
        factors=Factors(database),
        recovery_codes=RecoveryCodes(database),
        subjects=Subjects(database),
        mirror_source=MirrorSource(database),
        applications=Applications(database),
        api_keys=ApiKeys(database),
        access=Access(database),
        proof_keys=ProofKeys(database),
        purges=Purges(database),
        operator_actions=OperatorActions(database),
        audit=Audit(database),
        disputes=Disputes(database),
        incidents=Incidents(database),
        endpoints=Endpoints(database),
        webhook_outbox=WebhookOutbox(database),
    )
