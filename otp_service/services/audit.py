"""Verify the audit log; evidence for disputes; counts for a breach notification."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from otp_service.clock import now
from otp_service.domain.audit import GENESIS, ChainEntry, ChainHead, canonical_json, digest_of, short_digest
from otp_service.domain.keyring import is_valid_signature
from otp_service.domain.phrases import Phrase
from otp_service.domain.stats import MIN_SHOWN_COUNT
from otp_service.ledger.audit import (
    CHANGING,
    MAX_VERIFICATIONS,
    Audit,
    ChainLink,
    DisputeFilter,
    IncidentScope,
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
_DAY: Final = 24 * 3600 * 1000
_RECORDING_DELAY: Final[Mapping[str, int]] = {TRAFFIC: 7 * _DAY}
"""Milliseconds by which rows may be recorded late, and so be purged earlier than their entries show, by class."""
_DEFAULT_RECORDING_DELAY: Final = 60_000
_PURGED_BY_NAME: Final = frozenset({CONSENTS, SUPPRESSIONS})
"""Classes of data that age alone does not end: a purge names the rows that it deleted."""
_MAX_ROWS_NAMED: Final = 20
"""Reported rows without an entry, by table."""


@dataclass(frozen=True, slots=True)
class ChainViolation:
    """A difference between the ledger and its audit chain."""

    sequence: int
    """The entry of the chain; 0 for none."""
    phrase: Phrase

    @property
    def sentence(self) -> str:
        return str(self.phrase)


def _violation(sequence: int, text: Phrase, **values: int | str) -> ChainViolation:
    return ChainViolation(sequence, text.filled(**values))


@dataclass(slots=True)
class AuditProgress:
    """The progress of a verification of the chain."""

    entries: int = 0
    gone: int = 0
    """Entries of purged rows."""
    first: int = 0
    last: int = 0
    heads: int = 0
    """Signed heads that the chain agrees with."""
    purged_after: dict[str, int] = field(default_factory=dict)
    """The shortest retention of purged data in days, by class."""


class HeadSigner:
    """Signs the chain's head and exports it to a place out of reach of those that can change the ledger."""

    def __init__(self, context: Context, every: int, export: Callable[[SignedHead], None] | None) -> None:
        """Sign ``every`` so many seconds; ``export`` raises `OSError`, ``None`` leaves the heads to a later process."""
        self._context = context
        self._every = 1000 * every
        self._export = export

    def sign_if_due(self) -> None:
        """Sign a head if it is due and the chain has grown; export new heads."""
        audit = self._context.ledger.audit
        last, head = audit.last_signed(), audit.head()
        is_signed = last is not None and (head.sequence <= last.head.sequence or head.at < last.head.at + self._every)
        if head.sequence and not is_signed:
            signed = sign_head(self._context, head)
            if audit.sign(signed):
                sequence, link, signature = SafeNumber(head.sequence), SafeText(head.link), SafeText(signed.signature)
                _log.info("audit_head_signed", sequence=sequence, link=link, signature=signature)
        if self._export is not None:
            for signed in audit.unexported():
                try:
                    self._export(signed)
                except OSError as failed:
                    metrics.audit_export_lag.set((now() - signed.head.at) / 1000)
                    sequence = SafeNumber(signed.head.sequence)
                    _log.error("audit_head_not_exported", sequence=sequence, reason=failed.strerror)
                    return
                audit.note_exported(signed.head.sequence)
        metrics.audit_export_lag.set(0.0)


def head_to_json(context: Context, signed: SignedHead) -> str:
    """Return a signed head as a line of JSON, with the public key; `read_heads` reads it."""
    members = {**asdict(signed.head), "key": context.keyring.signer.public_key, "signature": signed.signature}
    return json.dumps(members, separators=(",", ":"))


def read_heads(lines: Iterable[str]) -> Iterator[SignedHead]:
    """Yield the heads of exported lines with or without syslog prefix; other lines with braces raise `ValueError`."""
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
    return SignedHead(head, context.keyring.signer.sign(head.signed))


def verify_chain(
    context: Context, progress: AuditProgress, outside: Iterable[SignedHead] = ()
) -> Iterator[ChainViolation]:
    """Verify the chain and the existing rows; only the exported heads, ``outside``, show a cut-off end."""
    ledger, key = context.ledger, context.keyring.signer.public_key
    heads = [*ledger.audit.heads(), *outside]
    for signed in heads:
        if not is_valid_signature(signed.head.signed, signed.signature, key):
            text = Phrase("the signature under the head here is not this installation's")
            yield ChainViolation(signed.head.sequence, text)
    purged = _PurgeRecords(ledger, key, progress)
    yield from purged.violations
    yield from _ChainWalk(ledger.audit, progress, purged).violations()
    yield from _check_heads(ledger.audit, progress, heads, purged)
    for table, rows in ledger.audit.unlinked_rows(purged.last_sequence, _MAX_ROWS_NAMED).items():
        for row in rows:
            yield _violation(0, Phrase("the row {row} of {table} has no entry in the chain"), row=row, table=table)


class _PurgeRecords:
    """The data that the installation's own purges deleted; a foreign purge record is a violation."""

    def __init__(self, ledger: Ledger, key: str, progress: AuditProgress) -> None:
        self.violations: list[ChainViolation] = []
        self.last_sequence, self.link = 0, GENESIS
        """The last purged entry of the chain, and its link."""
        self._before: dict[str, int] = defaultdict(int)
        self._named: set[tuple[str, str, str]] = set()
        self._known: set[str] = set()
        self._mark: object = None
        self._purges, self._key, self._progress = ledger.purges, key, progress
        self.refresh()

    def refresh(self) -> bool:
        """Read the purges since the last call; return whether there were any."""
        mark, self._mark = self._mark, self._purges.revision()
        if mark == self._mark:
            return False
        for record in self._purges.records():
            if record.id in self._known:
                continue
            self._known.add(record.id)
            if not is_valid_signature(record.signed, record.signature, self._key):
                text = Phrase("the purge {purge} is not this installation's")
                self.violations.append(_violation(0, text, purge=record.id))
                continue
            days, after = (record.at - record.before) // _DAY, self._progress.purged_after
            after[record.data] = min(days, after.get(record.data, days))
            self._before[record.data] = max(self._before[record.data], record.before)
            self._named.update((record.data, row, digest) for row, digest in record.names.items())
            if record.last_sequence > self.last_sequence:
                self.last_sequence, self.link = record.last_sequence, record.link
        return True

    def covers_entry(self, sequence: int) -> bool:
        """Return whether an entry of the chain was purged."""
        return sequence <= self.last_sequence or (self.refresh() and sequence <= self.last_sequence)

    def covers_row(self, entry: ChainEntry) -> bool:
        """Return whether the row of an entry was purged; the end of a credential has an entry of its own."""
        if entry.table in CHANGING:
            return not entry.digest
        data = class_of(entry.table)
        if data is None:
            return False
        if data in _PURGED_BY_NAME:
            return (data, entry.row, short_digest(entry.digest)) in self._named
        return self._before[data] > entry.at - _RECORDING_DELAY.get(data, _DEFAULT_RECORDING_DELAY)


class _ChainWalk:
    def __init__(self, audit: Audit, progress: AuditProgress, purged: _PurgeRecords) -> None:
        self._audit = audit
        self._purged = purged
        self._progress = progress
        self._tomorrow = now() + _DAY

    def violations(self) -> Iterator[ChainViolation]:
        place, link = self._purged.last_sequence, self._purged.link
        if (outside := self._audit.before(place)) is not None:
            text = Phrase("entry {entry} is there, and the chain begins after entry {place}")
            yield _violation(outside, text, entry=outside, place=place)
        while links := self._audit.links(place, BATCH_SIZE):
            for linked in links:
                yield from self._check(linked, place, link)
                place, link = linked.entry.sequence, linked.link
        head = self._audit.head()
        if head.sequence < place or (head.sequence == place and head.link != link):
            yield _violation(place, Phrase("the ledger's head does not agree with entry {entry}"), entry=place)
        if head.sequence > place and self._audit.link_at(head.sequence) is None:
            yield _missing(place + 1, head.sequence)

    def _check(self, linked: ChainLink, place: int, link: str) -> Iterator[ChainViolation]:
        entry, sequence = linked.entry, linked.entry.sequence
        self._progress.first = self._progress.first or sequence
        self._progress.entries += 1
        self._progress.last = max(self._progress.last, sequence)
        if sequence != place + 1 and self._purged.refresh():  # purged since
            place, link = self._purged.last_sequence, self._purged.link
        if sequence != place + 1:
            yield _missing(place + 1, sequence - 1)
        elif entry.link(link) != linked.link:
            yield _violation(sequence, Phrase("entry {entry} was changed, or is not where it was"), entry=sequence)
        if entry.at > self._tomorrow:
            yield _violation(sequence, Phrase("entry {entry} is dated in the future"), entry=sequence)
        if linked.is_last:
            yield from self._check_row(entry, linked.digest)

    def _check_row(self, entry: ChainEntry, digest: str | None) -> Iterator[ChainViolation]:
        if digest is None:
            self._progress.gone += 1
            if self._purged.covers_row(entry) or (self._purged.refresh() and self._purged.covers_row(entry)):
                return
            text = Phrase("the row {row} of {table} is gone, and no purge took it")
        elif entry.matches(digest):
            return
        else:
            text = Phrase("the row {row} of {table} was changed")
        yield _violation(entry.sequence, text, row=entry.row, table=entry.table)


def _check_heads(
    audit: Audit, progress: AuditProgress, heads: Iterable[SignedHead], purged: _PurgeRecords
) -> Iterator[ChainViolation]:
    """Yield the signed heads that the chain contradicts, but those of purged entries."""
    for signed in heads:
        sequence = signed.head.sequence
        link = audit.link_at(sequence)
        if link == signed.head.link or (link is None and purged.covers_entry(sequence)):
            progress.heads += 1
        elif link is None:
            text = Phrase("a head was signed at entry {entry}, which is missing: the end was cut off")
            yield _violation(sequence, text, entry=sequence)
        else:
            text = Phrase("a head was signed at entry {entry} with another link: the chain was written anew")
            yield _violation(sequence, text, entry=sequence)


def _missing(first: int, last: int) -> ChainViolation:
    if first == last:
        return _violation(first, Phrase("entry {entry} is missing"), entry=first)
    return _violation(first, Phrase("entries {first} to {last} are missing"), first=first, last=last)


def count_entries(context: Context) -> int:
    audit = context.ledger.audit
    first = next((linked.entry.sequence for linked in audit.links(0, 1)), 1)
    return audit.head().sequence - first + 1


def chain_notes(progress: AuditProgress) -> Iterator[Phrase]:
    seen = Phrase("Entries: {count}, from {first} to {last}; of rows that were purged: {gone}.")
    yield seen.filled(count=progress.entries, first=progress.first, last=progress.last, gone=progress.gone)
    yield Phrase("Signed heads that the chain agrees with: {count}.").filled(count=progress.heads)


def early_purges(progress: AuditProgress, retention: Mapping[str, int]) -> Iterator[Phrase]:
    """Yield the data that were purged after fewer days than their class's present ``retention``."""
    text = Phrase("{data} were purged after {days} d once, and are kept for {kept} d now: was that setting changed?")
    for data, days in sorted(progress.purged_after.items()):
        if days < retention[data]:
            yield text.filled(data=Phrase(data), days=days, kept=retention[data])


def verdict(flaws: int) -> Phrase:
    if flaws:
        return Phrase("The ledger is not as it was recorded. Flaws: {count}.").filled(count=flaws)
    return Phrase("The ledger is as it was recorded.")


# --- dispute packs ---
# Rows with their entries in the chain and the links before, signed. A pack alone shows that it was not changed; an
# exported head shows that it belongs to the chain.

PACK_FORMAT: Final = 1


def build_dispute_evidence(context: Context, selection: DisputeFilter, shown: Mapping[str, str]) -> dict[str, Any]:
    """Return a dispute pack for JSON; ``shown`` is the selection as it may be shown: a number as its mask."""
    rows = context.ledger.disputes.find(selection)
    verifications = [str(proven.row["id"]) for proven in rows if proven.table == "verifications"]
    document: dict[str, Any] = {
        "format": PACK_FORMAT,
        "about": dict(shown),
        "made": now(),
        "complete": len(verifications) < MAX_VERIFICATIONS,
        "verifications": verifications,
        "rows": [
            {
                "table": proven.table,
                "row": dict(proven.row),
                "entry": None if proven.entry is None else asdict(proven.entry),
                "before": proven.before,
                "link": proven.link,
            }
            for proven in rows
        ],
        "head": asdict(context.ledger.audit.head()),
        "key": context.keyring.signer.public_key,
    }
    return document | {"signature": context.keyring.signer.sign(canonical_json(document))}


def verify_dispute_pack(document: Mapping[str, Any], key: str) -> Iterator[str]:
    """Yield the faults of a dispute pack by its maker's public ``key``; raises `ValueError` for another document."""
    try:
        rows = [dict(row) for row in document["rows"]]
        signature = str(document["signature"])
        rest = {name: value for name, value in document.items() if name != "signature"}
        if not is_valid_signature(canonical_json(rest), signature, key):
            yield "the signature is not that of this key over this pack"
        for row in rows:
            if row["entry"] is None:
                yield f"a row of {row['table']} has no entry in the chain"
                continue
            entry = ChainEntry(**row["entry"])
            if not entry.matches(digest_of(row["row"])):
                yield f"the row {entry.row} of {entry.table} is not the one that was recorded as entry {entry.sequence}"
            if row["before"] and entry.link(row["before"]) != row["link"]:
                yield f"entry {entry.sequence} does not follow the link before it"
    except (KeyError, TypeError) as foreign:
        raise ValueError("no dispute pack") from foreign


@dataclass(frozen=True, slots=True)
class Incident:
    """The operator's description of an incident."""

    nature: str
    measures: str


def write_incident_report(
    context: Context, span: IncidentScope, incident: Incident, when: str, progress: AuditProgress
) -> str:
    """Return an incident report as Markdown, without personal data; ``when`` is the time span in words."""
    counted = context.ledger.incidents.count(span)
    flaws = sum(1 for _ in verify_chain(context, progress))
    state = f"The audit chain holds, over {progress.entries} entries."
    if flaws:
        state = f"The audit chain has flaws: {flaws}. See `otp-service audit verify`."
    people = _count_as_text(counted.people)
    lines = [
        "# Incident report",
        "",
        f"- Time: {when}",
        f"- Application: {span.application or 'all'}",
        f"- Nature: {incident.nature or 'to be described'}",
        f"- Measures taken: {incident.measures or 'to be described'}",
        f"- People concerned, about: {people} (telephone numbers of which anything was recorded)",
        "",
        "## Categories of data",
        "",
        "| kept | holds, of a person | records of this time |",
        "|---|---|---:|",
    ]
    for name, count in counted.records.items():
        kinds = (column.info["personal"] for column in METADATA.tables[name].columns)
        personal = ", ".join(dict.fromkeys(filter(None, kinds))) or "nothing"
        lines.append(f"| {name} | {personal} | {_count_as_text(count)} |")
    acts = ", ".join(f"{name} {count}" for name, count in counted.operator_actions.items())
    lines += [
        *_table("Verifications, by how they ended", counted.statuses),
        *_table("Verifications, by country", counted.countries),
        *_table("Systems: messages handed over, by gateway", counted.gateways),
        "",
        "## Actions that were recorded in this time",
        "",
        f"- Operators' actions: {acts or 'none'}",
        f"- Suppressions: {counted.records['suppressions']}; erasures: {counted.records['erasures']}",
        f"- Rows deleted by purges: {counted.purged}",
        "",
        "## State of the record",
        "",
        f"- {state}",
        "- Numbers are kept as keyed pseudonyms: which people they are, only who has the key and the number can tell.",
        "",
    ]
    return "\n".join(lines)


def count_incident(context: Context, span: IncidentScope, progress: AuditProgress) -> dict[str, Any]:
    """Return the counts of the report; ``None`` for a small count."""
    counted = asdict(context.ledger.incidents.count(span))
    whole = {"operator_actions": counted.pop("operator_actions"), "purged": counted.pop("purged")}
    flaws = sum(1 for _ in verify_chain(context, progress))
    chain = {"entries": progress.entries, "flaws": flaws}
    return {name: _without_small(count) for name, count in counted.items()} | whole | {"chain": chain}


def _without_small(counts: Any) -> Any:  # noqa: ANN401 - a count, or counts by name
    if isinstance(counts, dict):
        return {name: _without_small(count) for name, count in counts.items()}
    return None if 0 < counts < MIN_SHOWN_COUNT else counts


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
