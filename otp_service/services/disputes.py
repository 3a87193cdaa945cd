"""The dispute pack: what was recorded of some verifications, so that others can prove it without asking us.

Each row is there as the audit chain has a digest of it, with its entry and the link before; the whole is signed. That
nothing was changed shows by the pack alone, and that it is of the chain by a head that was exported.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any, Final

from otp_service.domain.events import Entry, canonical, digest_of
from otp_service.domain.keyring import is_signed
from otp_service.ledger import database
from otp_service.ledger.audit import MAX_FOUND, Proven, Wanted
from otp_service.services.context import Context

FORMAT: Final = 1


def pack(context: Context, wanted: Wanted, about: Mapping[str, str]) -> dict[str, Any]:
    """Return the pack of what is wanted, ready to be written as JSON; raises `LedgerUnavailableError`.

    ``about`` says what was asked for, in words that may be shown: a number as its mask.
    """
    found = context.ledger.disputes.find(wanted)
    head = context.ledger.audit.head()
    verifications = [one.row for one in found if one.table == "verifications"]
    document: dict[str, Any] = {
        "format": FORMAT,
        "about": dict(about),
        "made": database.now(),
        "complete": len(verifications) < MAX_FOUND,
        "verifications": [str(row["id"]) for row in verifications],
        "rows": [_row(one) for one in found],
        "head": asdict(head),
        "key": context.keyring.signer.public_key,
    }
    return document | {"signature": context.keyring.signer.sign(canonical(document))}


def flaws_of(document: Mapping[str, Any], key: str) -> Iterator[str]:
    """Yield what is wrong with a pack, as ends of sentences; ``key`` is the public key of who is to have made it.

    Raises `ValueError` for what is no pack.
    """
    try:
        rows = [dict(one) for one in document["rows"]]
        signature = str(document["signature"])
        rest = {name: value for name, value in document.items() if name != "signature"}
        if not is_signed(canonical(rest), signature, key):
            yield "the signature is not that of this key over this pack"
        for one in rows:
            yield from _flaws_of_row(one)
    except (KeyError, TypeError) as foreign:
        raise ValueError("no dispute pack") from foreign


def _row(one: Proven) -> dict[str, Any]:
    entry = None if one.entry is None else asdict(one.entry)
    return {"table": one.table, "row": dict(one.row), "entry": entry, "before": one.before, "link": one.link}


def _flaws_of_row(one: Mapping[str, Any]) -> Iterator[str]:
    if one["entry"] is None:
        yield f"a row of {one['table']} has no entry in the chain"
        return
    entry = Entry(**one["entry"])
    if not entry.is_of(digest_of(one["row"])):
        yield f"the row {entry.row} of {entry.table} is not the one that was recorded as entry {entry.sequence}"
    if one["before"] and entry.link(one["before"]) != one["link"]:
        yield f"entry {entry.sequence} does not follow the link before it"
