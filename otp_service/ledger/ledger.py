"""Everything that is kept in the ledger, in one place."""

from dataclasses import dataclass

from otp_service.ledger import upgrade
from otp_service.ledger.access import Access
from otp_service.ledger.acts import Acts
from otp_service.ledger.api_keys import ApiKeys
from otp_service.ledger.applications import Applications
from otp_service.ledger.audit import Audit
from otp_service.ledger.consents import Consents
from otp_service.ledger.database import Database
from otp_service.ledger.disputes import Disputes
from otp_service.ledger.inbound import Inbound
from otp_service.ledger.incidents import Incidents
from otp_service.ledger.mirrored import MirroredNumbers
from otp_service.ledger.people import People
from otp_service.ledger.purges import Purges
from otp_service.ledger.suppressions import Suppressions
from otp_service.ledger.traffic import Traffic


@dataclass(frozen=True, slots=True)
class Ledger:
    """The parts of the ledger; all raise `LedgerUnavailableError` when the database cannot serve in time."""

    database: Database
    consents: Consents
    suppressions: Suppressions
    traffic: Traffic
    inbound: Inbound
    people: People
    mirrored: MirroredNumbers
    applications: Applications
    api_keys: ApiKeys
    access: Access
    purges: Purges
    acts: Acts
    audit: Audit
    disputes: Disputes
    incidents: Incidents

    def upgrade(self) -> None:
        """Make the tables, or bring them up to this release."""
        upgrade.upgrade(self.database)

    def behind(self) -> bool:
        """Tell whether the tables are older than this release."""
        return upgrade.is_behind(self.database)


def open_ledger(url: str, timeout: float, pseudonym_key: str = "") -> Ledger:
    """Return the ledger at an address (`Database`); opens no connection yet.

    ``timeout`` in seconds; ``pseudonym_key`` is the fingerprint of the key whose pseudonyms are in it.
    """
    database = Database(url, timeout, pseudonym_key)
    return Ledger(
        database=database,
        consents=Consents(database),
        suppressions=Suppressions(database),
        traffic=Traffic(database),
        inbound=Inbound(database),
        people=People(database),
        mirrored=MirroredNumbers(database),
        applications=Applications(database),
        api_keys=ApiKeys(database),
        access=Access(database),
        purges=Purges(database),
        acts=Acts(database),
        audit=Audit(database),
        disputes=Disputes(database),
        incidents=Incidents(database),
    )
