"""Verify the audit log; evidence for disputes; counts for a breach notification."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from otp_service.clock import now
from otp_service.domain.audit import (
    GENESIS,
    ChainEntry,
    ChainHead,
    PurgeRecord,
    canonical_json,
    digest_of,
    short_digest,
)
from otp_service.domain.keyring import is_valid_signature
from otp_service.domain.phrases import Phrase
from otp_service.domain.stats import MIN_SHOWN_COUNT
from otp_service.ledger.audit import (
    CHANGING,
    MAX_VERIFICATIONS,
    Audit,
    ChainLink,
    DisputeFilter,
    IncidentCounts,
    IncidentScope,
    ProvenRow,
    SignedHead,
    class_of,
)
from otp_service.ledger.ledger import Ledger
from otp_service.ledger.schema import CONSENTS, METADATA, SUPPRESSIONS, TRAFFIC
from otp_service.services.context import Context
from otp_service.telemetry import metrics
from otp_service.telemetry.logging import get_logger
from otp_service.telemetry.redaction import SafeNumber, SafeText

_log = get_logger(__name__)

BATCH_SIZE: Final = 1000
"""Entries that are read in one step."""
_DAY: Final = 24 * 3600 * 1000
_RECORDING_DELAY: Final[Mapping[str, int]] = {TRAFFIC: 7 * _DAY}
"""Milliseconds by which rows may be recorded late, and be purged that much sooner than their entries tell, by class."""
_DEFAULT_RECORDING_DELAY: Final = 60_000
"""The same for the other classes, whose rows are recorded when they come."""
_PURGED_BY_NAME: Final = frozenset({CONSENTS, SUPPRESSIONS})
"""Classes of data whose rows age alone does not end: a purge names those that it took."""
_MAX_ROWS_NAMED: Final = 20
"""Rows without an entry that are named, by table."""


@dataclass(frozen=True, slots=True)
class ChainViolation:
    """Something in the ledger that is not as it was recorded."""

    sequence: int
    """The entry of the chain where it shows; 0 for none of them."""
    phrase: Phrase

    @property
    def sentence(self) -> str:
        """The same in English."""
        return str(self.phrase)


@dataclass(slots=True)
class AuditProgress:
    """How far a verification of the chain has come, and what it saw."""

    entries: int = 0
    gone: int = 0
    """Entries of rows that were purged."""
    first: int = 0
    last: int = 0
    heads: int = 0
    """Signed heads that the chain agrees with."""
    purged_after: dict[str, int] = field(default_factory=dict)
    """The days after which each class of data was purged at the soonest."""


class HeadSigner:
    """Signs the chain's head and exports it to where whoever changes the ledger cannot change it."""

    def __init__(self, context: Context, every: int, export: Callable[[SignedHead], None] | None) -> None:
        """Take the seconds between two heads, and what hands one out: raises `OSError` when it cannot.

        With ``None`` heads stay in the ledger, and are handed out as soon as there is a place for them.
        """
        self._context = context
        self._every = 1000 * every
        self._export = export

    def sign_if_due(self) -> None:
        """Sign a head, if one is due and the chain has grown; export what is not. Raises `LedgerUnavailableError`."""
        audit = self._context.ledger.audit
        self._sign(audit)
        if self._export is not None and not self._hand_out(audit, self._export):
            return
        metrics.audit_export_lag.set(0.0)

    def _hand_out(self, ledger: Audit, export: Callable[[SignedHead], None]) -> bool:
        for one in ledger.unexported():
            try:
                export(one)
            except OSError as failed:
                metrics.audit_export_lag.set((now() - one.head.at) / 1000)
                _log.error("audit_head_not_exported", sequence=SafeNumber(one.head.sequence), reason=failed.strerror)
                return False
            ledger.note_exported(one.head.sequence)
        return True

    def _sign(self, ledger: Audit) -> None:
        last = ledger.last_signed()
        head = ledger.head()
        known = last is not None and (head.sequence <= last.head.sequence or head.at < last.head.at + self._every)
        if head.sequence and not known:
            signed = sign_head(self._context, head)
            if ledger.sign(signed):
                sequence, link, signature = SafeNumber(head.sequence), SafeText(head.link), SafeText(signed.signature)
                _log.info("audit_head_signed", sequence=sequence, link=link, signature=signature)


def head_to_json(context: Context, signed: SignedHead) -> str:
    """Return a signed head as a line of JSON, with the public key; `read_heads` reads it."""
    members = {**asdict(signed.head), "key": context.keyring.signer.public_key, "signature": signed.signature}
    return json.dumps(members, separators=(",", ":"))


def read_heads(lines: Iterable[str]) -> Iterator[SignedHead]:
    """Yield the heads of lines that were exported, also such that syslog put something in front of.

    Raises `ValueError` for a line with braces that is no head; others are passed over.
    """
    for line in lines:
        _, brace, rest = line.partition("{")
        if brace:
            members = json.loads(brace + rest)
            try:
                head = ChainHead(*(members[name] for name in ("ledger", "sequence", "link", "at")))
                yield SignedHead(head, str(members["signature"]))
            except (KeyError, TypeError) as foreign:
                raise ValueError("no head") from foreign


def sign_head(context: Context, head: ChainHead) -> SignedHead:
    """Return a head with the installation's signature under it."""
    return SignedHead(head, context.keyring.signer.sign(head.signed))


def verify_chain(
    context: Context, progress: AuditProgress, outside: Iterable[SignedHead] = ()
) -> Iterator[ChainViolation]:
    """Look through the whole chain, and at the rows that are still there; yield what is wrong, in the chain's order.

    ``outside`` are heads exported before: they alone show that the last entries were cut off. Raises
    `LedgerUnavailableError`.
    """
    ledger, key = context.ledger, context.keyring.signer.public_key
    heads = [*ledger.audit.heads(), *outside]
    for one in heads:
        if not is_valid_signature(one.head.signed, one.signature, key):
            yield ChainViolation(
                one.head.sequence, Phrase("the signature under the head here is not this installation's")
            )
    purged = _PurgeRecords(ledger, key, progress)
    yield from purged.violations
    yield from _ChainWalk(ledger.audit, progress, purged).violations()
    yield from _check_heads(ledger.audit, progress, heads, purged)
    yield from _unrecorded_rows(ledger.audit, purged.last_sequence)


class _PurgeRecords:
    """What the installation's own purges deleted; that somebody else put one in is a flaw."""

    def __init__(self, ledger: Ledger, key: str, progress: AuditProgress) -> None:
        self.violations: list[ChainViolation] = []
        self.last_sequence, self.link = 0, GENESIS
        """The entry that the chain begins after, and its link."""
        self._before: dict[str, int] = defaultdict(int)
        self._named: set[tuple[str, str, str]] = set()
        self._known: set[str] = set()
        self._mark: object = None
        self._purges, self._key, self._progress = ledger.purges, key, progress
        self.refresh()

    def refresh(self) -> bool:
        """Read what was purged since the last look; tell whether anything was."""
        mark, self._mark = self._mark, self._purges.revision()
        if mark == self._mark:
            return False
        for record in self._purges.records():
            if record.id not in self._known:
                self._known.add(record.id)
                self._read(record)
        return True

    def _read(self, record: PurgeRecord) -> None:
        if not is_valid_signature(record.signed, record.signature, self._key):
            self.violations.append(
                ChainViolation(0, Phrase("the purge {purge} is not this installation's").filled(purge=record.id))
            )
            return
        days, after = (record.at - record.before) // _DAY, self._progress.purged_after
        after[record.data] = min(days, after.get(record.data, days))
        self._before[record.data] = max(self._before[record.data], record.before)
        self._named.update((record.data, row, digest) for row, digest in record.names.items())
        if record.last_sequence > self.last_sequence:
            self.last_sequence, self.link = record.last_sequence, record.link

    def covers_entry(self, sequence: int) -> bool:
        """Tell whether a purge took an entry of the chain, by now."""
        return sequence <= self.last_sequence or (self.refresh() and sequence <= self.last_sequence)

    def covers_row(self, entry: ChainEntry) -> bool:
        """Tell whether a purge took the row of an entry; what lets somebody in goes with an entry that says so."""
        if entry.table in CHANGING:
            return not entry.digest
        data = class_of(entry.table)
        if data is None:
            return False
        if data in _PURGED_BY_NAME:
            return (data, entry.row, short_digest(entry.digest)) in self._named
        return self._before[data] > entry.at - _RECORDING_DELAY.get(data, _DEFAULT_RECORDING_DELAY)


class _ChainWalk:
    """One walk along the chain."""

    def __init__(self, audit: Audit, progress: AuditProgress, purged: _PurgeRecords) -> None:
        self._audit = audit
        self._purged = purged
        self._progress = progress
        self._tomorrow = now() + _DAY

    def violations(self) -> Iterator[ChainViolation]:
        place, link = self._purged.last_sequence, self._purged.link
        if (outside := self._audit.before(place)) is not None:
            yield ChainViolation(
                outside,
                Phrase("entry {entry} is there, and the chain begins after entry {place}").filled(
                    entry=outside, place=place
                ),
            )
        while links := self._audit.links(place, BATCH_SIZE):
            for one in links:
                yield from self._look(one, place, link)
                place, link = one.entry.sequence, one.link
        yield from self._end(place, link)

    def _look(self, one: ChainLink, place: int, link: str) -> Iterator[ChainViolation]:
        """Look at an entry that comes after a place."""
        entry = one.entry
        self._progress.first = self._progress.first or entry.sequence
        self._progress.entries += 1
        self._progress.last = max(self._progress.last, entry.sequence)
        if entry.sequence != place + 1 and self._purged.refresh():  # while we look
            place, link = self._purged.last_sequence, self._purged.link
        if entry.sequence != place + 1:
            yield _missing(place + 1, entry.sequence - 1)
        elif entry.link(link) != one.link:
            yield ChainViolation(
                entry.sequence, Phrase("entry {entry} was changed, or is not where it was").filled(entry=entry.sequence)
            )
        if entry.at > self._tomorrow:
            yield ChainViolation(
                entry.sequence, Phrase("entry {entry} is dated in the future").filled(entry=entry.sequence)
            )
        if one.is_last:
            yield from self._row(entry, one.digest)

    def _row(self, entry: ChainEntry, digest: str | None) -> Iterator[ChainViolation]:
        """Look at the row of an entry, of which this is the digest now."""
        if digest is None:
            self._progress.gone += 1
            if not (self._purged.covers_row(entry) or (self._purged.refresh() and self._purged.covers_row(entry))):
                yield ChainViolation(
                    entry.sequence,
                    Phrase("the row {row} of {table} is gone, and no purge took it").filled(
                        row=entry.row, table=entry.table
                    ),
                )
        elif not entry.matches(digest):
            yield ChainViolation(
                entry.sequence, Phrase("the row {row} of {table} was changed").filled(row=entry.row, table=entry.table)
            )

    def _end(self, place: int, link: str) -> Iterator[ChainViolation]:
        head = self._audit.head()
        if head.sequence < place or (head.sequence == place and head.link != link):
            yield ChainViolation(
                place, Phrase("the ledger's head does not agree with entry {entry}").filled(entry=place)
            )
        if head.sequence > place and self._audit.link_at(head.sequence) is None:
            yield _missing(place + 1, head.sequence)


def _check_heads(
    audit: Audit, progress: AuditProgress, heads: Iterable[SignedHead], purged: _PurgeRecords
) -> Iterator[ChainViolation]:
    """Yield the heads that the chain does not agree with; what the chain had before it began anew is not there."""
    for one in heads:
        sequence = one.head.sequence
        link = audit.link_at(sequence)
        if link == one.head.link or (link is None and purged.covers_entry(sequence)):
            progress.heads += 1
        elif link is None:
            yield ChainViolation(
                sequence,
                Phrase("a head was signed at entry {entry}, which is missing: the end was cut off").filled(
                    entry=sequence
                ),
            )
        else:
            yield ChainViolation(
                sequence,
                Phrase("a head was signed at entry {entry} with another link: the chain was written anew").filled(
                    entry=sequence
                ),
            )


def _unrecorded_rows(audit: Audit, begins_after: int) -> Iterator[ChainViolation]:
    """Yield rows that were never recorded: the chain has no entry of them."""
    for table, rows in audit.unlinked_rows(begins_after, _MAX_ROWS_NAMED).items():
        for row in rows:
            yield ChainViolation(
                0, Phrase("the row {row} of {table} has no entry in the chain").filled(row=row, table=table)
            )


def _missing(first: int, last: int) -> ChainViolation:
    if first == last:
        return ChainViolation(first, Phrase("entry {entry} is missing").filled(entry=first))
    return ChainViolation(first, Phrase("entries {first} to {last} are missing").filled(first=first, last=last))


def count_entries(context: Context) -> int:
    """Return how many entries the chain has now; raises `LedgerUnavailableError`."""
    audit = context.ledger.audit
    first = next((one.entry.sequence for one in audit.links(0, 1)), 1)
    return audit.head().sequence - first + 1


def chain_notes(progress: AuditProgress) -> Iterator[Phrase]:
    """Yield what to know of a chain that was looked through."""
    seen = Phrase("Entries: {count}, from {first} to {last}; of rows that were purged: {gone}.")
    yield seen.filled(count=progress.entries, first=progress.first, last=progress.last, gone=progress.gone)
    yield Phrase("Signed heads that the chain agrees with: {count}.").filled(count=progress.heads)


def early_purges(progress: AuditProgress, kept: Mapping[str, int]) -> Iterator[Phrase]:
    """Yield which data were purged sooner once than they are now; ``kept`` has the days by class of data."""
    told = Phrase("{data} were purged after {days} d once, and are kept for {kept} d now: was that setting changed?")
    for data, days in sorted(progress.purged_after.items()):
        if days < kept[data]:
            yield told.filled(data=Phrase(data), days=days, kept=kept[data])


def verdict(flaws: int) -> Phrase:
    """Return what a number of flaws means."""
    if flaws:
        return Phrase("The ledger is not as it was recorded. Flaws: {count}.").filled(count=flaws)
    return Phrase("The ledger is as it was recorded.")


# --- dispute packs ---
# Rows with their entries in the chain and the links before, signed. A pack alone shows that nothing in it was changed;
# an exported head shows that it is of the chain.

PACK_FORMAT: Final = 1


def build_dispute_evidence(context: Context, wanted: DisputeFilter, about: Mapping[str, str]) -> dict[str, Any]:
    """Return a dispute pack, ready to be written as JSON; raises `LedgerUnavailableError`.

    ``about`` says what was asked for as it may be shown: a number as its mask.
    """
    found = context.ledger.disputes.find(wanted)
    verifications = [one.row for one in found if one.table == "verifications"]
    document: dict[str, Any] = {
        "format": PACK_FORMAT,
        "about": dict(about),
        "made": now(),
        "complete": len(verifications) < MAX_VERIFICATIONS,
        "verifications": [str(row["id"]) for row in verifications],
        "rows": [_row(one) for one in found],
        "head": asdict(context.ledger.audit.head()),
        "key": context.keyring.signer.public_key,
    }
    return document | {"signature": context.keyring.signer.sign(canonical_json(document))}


def verify_dispute_pack(document: Mapping[str, Any], key: str) -> Iterator[str]:
    """Yield what is wrong with a dispute pack, as ends of sentences; ``key`` is its maker's public key.

    Raises `ValueError` for what is no pack.
    """
    try:
        rows = [dict(one) for one in document["rows"]]
        signature = str(document["signature"])
        rest = {name: value for name, value in document.items() if name != "signature"}
        if not is_valid_signature(canonical_json(rest), signature, key):
            yield "the signature is not that of this key over this pack"
        for one in rows:
            yield from _verify_row(one)
    except (KeyError, TypeError) as foreign:
        raise ValueError("no dispute pack") from foreign


def _row(one: ProvenRow) -> dict[str, Any]:
    entry = None if one.entry is None else asdict(one.entry)
    return {"table": one.table, "row": dict(one.row), "entry": entry, "before": one.before, "link": one.link}


def _verify_row(one: Mapping[str, Any]) -> Iterator[str]:
    if one["entry"] is None:
        yield f"a row of {one['table']} has no entry in the chain"
        return
    entry = ChainEntry(**one["entry"])
    if not entry.matches(digest_of(one["row"])):
        yield f"the row {entry.row} of {entry.table} is not the one that was recorded as entry {entry.sequence}"
    if one["before"] and entry.link(one["before"]) != one["link"]:
        yield f"entry {entry.sequence} does not follow the link before it"


@dataclass(frozen=True, slots=True)
class Incident:
    """What an operator says of an incident."""

    nature: str
    measures: str


def write_incident_report(
    context: Context, span: IncidentScope, incident: Incident, when: str, progress: AuditProgress
) -> str:
    """Return an incident report as Markdown: counts and names of systems, nothing of a person.

    ``when`` is the time span in words; ``progress`` shows how far the audit chain is verified. Raises
    `LedgerUnavailableError`.
    """
    counted = context.ledger.incidents.count(span)
    return "\n".join(_report_lines(span, incident, when, counted, _chain_state(context, progress))) + "\n"


def count_incident(context: Context, span: IncidentScope, progress: AuditProgress) -> dict[str, Any]:
    """Return the counts of the report for programs; a small one is ``None``. Raises `LedgerUnavailableError`."""
    counted = asdict(context.ledger.incidents.count(span))
    whole = {"operator_actions": counted.pop("operator_actions"), "purged": counted.pop("purged")}
    flaws = sum(1 for _ in verify_chain(context, progress))
    chain = {"entries": progress.entries, "flaws": flaws}
    return {name: _without_small(count) for name, count in counted.items()} | whole | {"chain": chain}


def _without_small(counts: Any) -> Any:  # noqa: ANN401 - a count, or counts by name
    if isinstance(counts, dict):
        return {name: _without_small(count) for name, count in counts.items()}
    return None if 0 < counts < MIN_SHOWN_COUNT else counts


def _report_lines(
    span: IncidentScope, incident: Incident, when: str, counted: IncidentCounts, state: str
) -> Iterator[str]:
    yield from ("# Incident report", "")
    yield from (f"- Time: {when}", f"- Application: {span.application or 'all'}")
    yield f"- Nature: {incident.nature or 'to be described'}"
    yield f"- Measures taken: {incident.measures or 'to be described'}"
    people = _count_as_text(counted.people)
    yield f"- People concerned, about: {people} (telephone numbers of which anything was recorded)"
    yield from (
        "",
        "## Categories of data",
        "",
        "| kept | holds, of a person | records of this time |",
        "|---|---|---:|",
    )
    for name, count in counted.records.items():
        yield f"| {name} | {_personal_data_in(name)} | {_count_as_text(count)} |"
    yield from _table("Verifications, by how they ended", counted.statuses)
    yield from _table("Verifications, by country", counted.countries)
    yield from _table("Systems: messages handed over, by gateway", counted.gateways)
    yield from ("", "## Actions that were recorded in this time", "")
    acts = ", ".join(f"{name} {count}" for name, count in counted.operator_actions.items())
    yield f"- Operators' actions: {acts or 'none'}"
    yield f"- Suppressions: {counted.records['suppressions']}; erasures: {counted.records['erasures']}"
    yield f"- Rows deleted by purges: {counted.purged}"
    yield from ("", "## State of the record", "", f"- {state}")
    yield "- Numbers are kept as keyed pseudonyms: which people they are, only who has the key and the number can tell."


def _table(title: str, counts: Mapping[str, int]) -> Iterator[str]:
    yield from ("", f"## {title}", "")
    if not counts:
        yield "None."
        return
    yield from ("| | |", "|---|---:|")
    for name, count in counts.items():
        yield f"| {name} | {_count_as_text(count)} |"


def _count_as_text(count: int) -> str:
    return f"{count}" if count == 0 or count >= MIN_SHOWN_COUNT else f"fewer than {MIN_SHOWN_COUNT}"


def _personal_data_in(table: str) -> str:
    kinds = (column.info["personal"] for column in METADATA.tables[table].columns)
    return ", ".join(dict.fromkeys(kind for kind in kinds if kind)) or "nothing"


def _chain_state(context: Context, progress: AuditProgress) -> str:
    flaws = sum(1 for _ in verify_chain(context, progress))
    if flaws:
        return f"The audit chain has flaws: {flaws}. See `otp-service audit verify`."
    return f"The audit chain holds, over {progress.entries} entries."
