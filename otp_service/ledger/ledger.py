"""Everything that is kept in the ledger, in one place."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from otp_service.ledger import database as ledger_database
from otp_service.ledger.access import Access, ApiKeys, Applications
from otp_service.ledger.audit import Audit, Disputes, Incidents, OperatorActions
from otp_service.ledger.consents import Consents, MirrorSource, Suppressions
from otp_service.ledger.database import Database, Gate
from otp_service.ledger.factors import Factors, RecoveryCodes
from otp_service.ledger.proof_keys import ProofKeys
from otp_service.ledger.reading import Reading, ReplicaState
from otp_service.ledger.retention import Purges
from otp_service.ledger.stats import Stats
from otp_service.ledger.subjects import Subjects
from otp_service.ledger.verifications import Inbound, VerificationLedger
from otp_service.ledger.webhooks import Endpoints, Postings


@dataclass(frozen=True, slots=True)
class Ledger:
    """The parts of the ledger; all raise `LedgerUnavailableError` when the database cannot serve in time."""

    database: Database
    gate: Gate
    """Of this database, and of its replica."""
    reading: Reading
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
    postings: Postings
    parts: tuple["Ledger", ...] = ()
    """The ledgers that this one is made of, where its traffic is divided (`divided`): first the one of the rest."""
    has_own_buckets: Callable[[], bool] = lambda: True
    """Tells whether no part has traffic that it would not be asked for (`Division.has_own_buckets`)."""
    note_buckets: Callable[[], None] = lambda: None
    """Notes in each part whose traffic it records."""
    divided_buckets: tuple[tuple[str, ...], ...] = ()
    """The buckets whose traffic each part records that records any, in the parts' order."""

    @property
    def every(self) -> tuple["Ledger", ...]:
        """The ledgers with a database of their own: this one, or its parts."""
        return self.parts or (self,)

    @property
    def closed(self) -> str:
        """Why a part may not be used here yet (`Gate.state`); empty where all may."""
        return next((part.gate.state for part in self.every if part.gate.state), "")

    def close_gates(self, state: str, *, only_closed: bool = False) -> None:
        """Let nothing use the parts until `open_gates`, or note why else those are closed that are."""
        for part in self.every:
            if part.gate.state or not only_closed:
                part.gate.state = state

    @contextmanager
    def open_gates(self, parts: "Iterable[Ledger]") -> Iterator[None]:
        """Let this thread use all parts, to examine some; then let everybody use those, unless that failed."""
        with ExitStack() as passing:
            for part in self.every:
                passing.enter_context(part.gate.passing())
            yield
        for part in parts:
            part.gate.state = ""

    def upgrade(self) -> None:
        """Make the tables that do not exist."""
        for one in self.every:
            ledger_database.upgrade(one.database)

    def partition(self) -> bool:
        """Partition the traffic by days, where that is not done and PostgreSQL has it; tell whether it was done now."""
        return sum(ledger_database.partition_traffic(one.database) for one in self.every) > 0

    def there(self) -> bool:
        """Tell whether there is a database: SQLite would make a missing file."""
        return all(one.database.there() for one in self.every)

    def lacks_space(self) -> bool:
        """Tell whether a disk is full, or nearly (`Database.lacks_space`)."""
        return any(one.database.lacks_space() for one in self.every)

    def is_made(self) -> bool:
        """Tell whether the tables exist; raise `LedgerFormatError` where another release made them."""
        return all(ledger_database.is_made(one.database) for one in self.every)

    def claim(self) -> None:
        """Let what has no pseudonym key yet be this one's; raise `LedgerMismatchError` where it is another's."""
        for one in self.every:
            one.database.claim()

    def take_buckets(self) -> bool:
        """Note in each part whose traffic it records; tell whether none has that of another (`has_own_buckets`)."""
        if not self.has_own_buckets():
            return False
        self.note_buckets()
        return self.has_own_buckets()  # two addresses may lead to one database

    def close(self) -> None:
        """Close all connections that are not in use."""
        for one in self.every:
            one.database.close()
            one.reading.close()


def open_ledger(
    url: str,
    timeout: float,
    pseudonym_key: str = "",
    replica: str = "",
    most_behind: float = 0.0,
    on_rest: Callable[[ReplicaState], None] = lambda _: None,
) -> Ledger:
    """Return the ledger at an address (`Database`); opens no connection yet.

    ``timeout`` in seconds; ``pseudonym_key`` is the fingerprint of the key whose pseudonyms are in it. For the rest see
    `Reading`.
    """
    gate = Gate()
    database = Database(url, timeout, pseudonym_key, gate)
    other = Database(replica, timeout, pseudonym_key, gate) if replica else None
    reading = Reading(database, other, most_behind, on_rest)
    return Ledger(
        database=database,
        gate=gate,
        reading=reading,
        consents=Consents(database),
        suppressions=Suppressions(database),
        verifications=VerificationLedger(database, reading),
        inbound=Inbound(database),
        stats=Stats(database, reading),
        factors=Factors(database),
        recovery_codes=RecoveryCodes(database),
        subjects=Subjects(database, reading),
        mirror_source=MirrorSource(database),
        applications=Applications(database),
        api_keys=ApiKeys(database),
        access=Access(database),
        proof_keys=ProofKeys(database),
        purges=Purges(database),
        operator_actions=OperatorActions(database),
        audit=Audit(database),
        disputes=Disputes(reading),
        incidents=Incidents(reading),
        endpoints=Endpoints(database),
        postings=Postings(database),
    )
