"""Makes docs/compliance/requirements.md, the catalogue of requirements, from docs/compliance/requirements.toml.

By hand: ``python docs/make_requirements.py``. The tests fail when the document is not what this makes, when a
requirement is missing, or when a test that a row names does not exist.
"""

import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "docs" / "compliance" / "requirements.toml"
DOCUMENT = ROOT / "docs" / "compliance" / "requirements.md"

STATUSES = ("met", "partly", "not met", "not in scope")
FAMILIES = {
    "R-CONSENT": "Consent and purpose",
    "R-PRIV": "Privacy",
    "R-PTA": "Pakistan: senders and messages (PTA)",
    "R-NUM": "Numbers",
    "R-PK": "Pakistan: security and SIM cards",
    "R-SBP": "State Bank of Pakistan",
    "R-CODE": "Codes",
    "R-TOTP": "Authenticator apps",
    "R-TXN": "Confirming a transaction",
    "R-SMS": "Messages",
    "R-API": "The API",
    "R-HOOK": "Webhooks, and what comes in",
    "R-GW": "Gateways",
    "R-NET": "What the network knows",
    "R-SEC": "Security and operation",
    "R-EU": "European Union",
    "R-US": "United States",
    "R-IN": "India",
    "A": "Attacks",
}
"""What an identifier begins with, and the heading above its rows."""

BEGINNING = """\
# Requirements: what is asked for, and what is met

For auditors, made by `make docs` from [`requirements.toml`](requirements.toml).

**This is no legal advice.** It is our own reading of what laws, standards and attacks ask of a service like this one.

- **Source** says who asks, and in italics what of it was read: *primary*, the text itself; *excerpt*, a part of it;
  *secondary*, press, law firms and vendors, so that the law itself was **not** read; *unverified*, to be looked up
  before anybody relies on it; *measured*, by ourselves; *inference*, which nobody asks for in these words.
- **NIST SP 800-63B-4** was read as its second public draft. Look a section up before you quote it.
- **Pakistan's Personal Data Protection Bill** (PDPB) was a draft in everything that was read.
- **The SBP's circular** PSP&OD 01 of 2024 says that banks are *allowed to replace* the SMS code by a TPIN or FPIN. Much
  of the press says that they were told to.
- **Met** means that the named tests show it. *Partly* and *not met* say what is missing. A *decision* says where we do
  otherwise than the source proposes, and why.
"""
CLAIMS = """\
## What may be said of it, and what not

| may be said | must not be said |
| --- | --- |
"""


def document() -> str:
    """Return the text of the document."""
    rows = requirements()
    parts = [BEGINNING, CLAIMS + "\n".join(map(_claim, data()["claims"])) + "\n", _summary(rows)]
    for family, heading in FAMILIES.items():
        parts.append(f"## {heading}\n")
        own = (_row(name, row) for name, row in rows.items() if family_of(name) == family)
        parts.append(_table(("id", "asks for", "source", "status", "proof, and what is missing or decided"), own))
    return "\n".join(parts)


def requirements() -> dict[str, dict[str, Any]]:
    """Return what is known of each requirement, by its identifier."""
    return {name: row for name, row in data().items() if name != "claims"}


def data() -> dict[str, Any]:
    """Return all that the document is made from."""
    return tomllib.loads(DATA.read_text(encoding="utf-8"))


def family_of(name: str) -> str:
    """Return what an identifier begins with."""
    return name.rstrip("0123456789").rstrip("-")


def _claim(claim: Mapping[str, str]) -> str:
    return f"| {claim['say']} | {claim['never']} |"


def _summary(rows: Mapping[str, Mapping[str, Any]]) -> str:
    counts = {family: Counter[str]() for family in FAMILIES}
    for name, row in rows.items():
        counts[family_of(name)][row["status"]] += 1
    lines = [(FAMILIES[family], *_counted(count)) for family, count in counts.items()]
    lines.append(("**all**", *_counted(sum(counts.values(), Counter()))))
    return "## At a glance\n\n" + _table(("", *STATUSES), lines)


def _counted(count: Mapping[str, int]) -> Iterator[str]:
    return (str(count[status] or "") for status in STATUSES)


def _row(name: str, row: Mapping[str, Any]) -> tuple[str, ...]:
    proofs = ", ".join(map(_link, row.get("tests", ())))
    last = "<br>".join(part for part in (proofs, row.get("why", "")) if part)
    return name, row["asks"], f"{row['source']} (*{row['read']}*)", f"**{row['status']}**", last


def _link(test: str) -> str:
    path, _, name = test.partition("::")
    return f"[`{name}`](../../{path})"


def _table(headings: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [tuple(headings), *map(tuple, rows)]
    lines.insert(1, ("---",) * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |".replace("  ", " ") for line in lines) + "\n"


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
