"""The incident report: what a breach of a time is about, in counts, as those have to tell who are responsible."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from otp_service.ledger.audit import Counted, Span
from otp_service.ledger.schema import METADATA
from otp_service.services.audit import Looked, verify
from otp_service.services.context import Context

SMALL: Final = 10
"""A count below this is told as such: a cell that small may tell who it is."""


@dataclass(frozen=True, slots=True)
class Incident:
    """What is told by hand."""

    nature: str
    measures: str


def report(context: Context, span: Span, incident: Incident, when: str, looked: Looked) -> str:
    """Return the report as Markdown. It has counts and names of systems, and nothing of a person.

    ``when`` is the time in words, ``looked`` tells how far the audit chain was looked through. Raises
    `LedgerUnavailableError`.
    """
    counted = context.ledger.incidents.count(span)
    return "\n".join(_lines(span, incident, when, counted, _state(context, looked))) + "\n"


def counts_of(context: Context, span: Span, looked: Looked) -> dict[str, Any]:
    """Return the counts of the report for programs; a small one is ``None``. Raises `LedgerUnavailableError`."""
    counted = asdict(context.ledger.incidents.count(span))
    whole = {"acts": counted.pop("acts"), "purged": counted.pop("purged")}
    flaws = sum(1 for _ in verify(context, looked))
    chain = {"entries": looked.entries, "flaws": flaws}
    return {name: _without_small(count) for name, count in counted.items()} | whole | {"chain": chain}


def _without_small(counts: Any) -> Any:  # noqa: ANN401 - a count, or counts by name
    if isinstance(counts, dict):
        return {name: _without_small(count) for name, count in counts.items()}
    return None if 0 < counts < SMALL else counts


def _lines(span: Span, incident: Incident, when: str, counted: Counted, state: str) -> Iterator[str]:
    yield from ("# Incident report", "")
    yield from (f"- Time: {when}", f"- Application: {span.application or 'all'}")
    yield f"- Nature: {incident.nature or 'to be described'}"
    yield f"- Measures taken: {incident.measures or 'to be described'}"
    yield f"- People concerned, about: {_shown(counted.people)} (telephone numbers of which anything was recorded)"
    yield from (
        "",
        "## Categories of data",
        "",
        "| kept | holds, of a person | records of this time |",
        "|---|---|---:|",
    )
    for name, count in counted.records.items():
        yield f"| {name} | {_personal(name)} | {_shown(count)} |"
    yield from _table("Verifications, by how they ended", counted.statuses)
    yield from _table("Verifications, by country", counted.countries)
    yield from _table("Systems: messages handed over, by gateway", counted.gateways)
    yield from ("", "## Actions that were recorded in this time", "")
    acts = ", ".join(f"{name} {count}" for name, count in counted.acts.items())
    yield f"- Acts of operators: {acts or 'none'}"
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
        yield f"| {name} | {_shown(count)} |"


def _shown(count: int) -> str:
    return f"{count}" if count == 0 or count >= SMALL else f"fewer than {SMALL}"


def _personal(table: str) -> str:
    kinds = (column.info["personal"] for column in METADATA.tables[table].columns)
    return ", ".join(dict.fromkeys(kind for kind in kinds if kind)) or "nothing"


def _state(context: Context, looked: Looked) -> str:
    flaws = sum(1 for _ in verify(context, looked))
    if flaws:
        return f"The audit chain has flaws: {flaws}. See `otp-service audit verify`."
    return f"The audit chain holds, over {looked.entries} entries."
