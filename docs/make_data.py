"""Makes docs/data.md, the inventory of all that is kept, from where it is declared: ``python docs/make_data.py``.

A table's columns tell of themselves in the schema, keys in the store's table, labels in the metrics; what nothing
declares is told here. The tests fail when the document is not what this makes.
"""

import ast
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path

from otp_service.api.dialects import load_dialects
from otp_service.cli.dev import FILES
from otp_service.cli.output import duration
from otp_service.ledger import schema
from otp_service.settings.guard_ruleset import build_ruleset
from otp_service.settings.schema import (
    GuardSettings,
    LimitsSettings,
    RetentionSettings,
    SpendSettings,
    StreamsSettings,
)
from otp_service.store.keys import Key, Spans, all_keys
from otp_service.store.rulesets import compile_ruleset
from otp_service.telemetry import metrics
from otp_service.telemetry.tracing import ATTRIBUTES

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "docs" / "data.md"
_DAY = 24 * 3600

BEGINNING = """\
# What is kept, where, and for how long

For auditors and data protection: what is kept of whom, made by `make docs` from the schema of the ledger and the
table of Redis' keys. Tests fail when a column or a key is not described.

**A number is nowhere in the clear.** It is kept as a *pseudonym*, under a key that is kept apart; as long as a message
may still have to be sent it is kept *sealed*. A code is kept nowhere. "Personal" says what of a person is in it.
Pseudonyms are personal data too: whoever has the key can tell whether a number is among them.
"""
LEDGER = """\
## In the ledger

In SQLite or PostgreSQL (`ledger.url`), by class of data. Days are those of `[retention]`, here with their defaults.
Workers delete what is older once an hour, and write down in `purges` how much it was; in PostgreSQL traffic of a large
site goes by whole days (UTC). What holds is never deleted: the last word on a consent, given or withdrawn, and a
suppression that was not lifted and has not ended.

What was deleted is overwritten in a SQLite file. PostgreSQL reuses the space in its own time, and backups keep what
they have: delete them after as many days.
"""
REDIS = """\
## In Redis

All keys are built from the table in [`store/keys.py`](../otp_service/store/keys.py). `<bucket>` is `00` in an
installation of one bucket. Times are those of the default settings.
"""
FOLDER = """\
## In files

`otp-service dev` keeps all that it makes in its folder (`.otp-service`), readable for its user only, until the folder
is deleted:
"""
READERS = {
    "head": "all processes, to know whether Redis and they themselves are up to date",
    "traffic": "`subject export`, the API's `/v1/subjects`; where a message came back, the API or the worker",
    "stats": "the API (`/v1/stats`), `report`",
    "consents": "the API (`/v1/consents`, `/v1/subjects`), `subject export`; starts read the mirror in Redis",
    "suppressions": "the API (`/v1/suppressions`, `/v1/subjects`), `suppressions`, `subject`; starts, checks and "
    "dispatches read the mirror in Redis",
    "inbound": "`subject export`, the API's `/v1/subjects`; the API and the worker, to know a repetition",
    "webhooks": "the worker, which sends them; the API (`/v1/webhooks`, `/v1/subjects`), `webhook tries`, "
    "`subject export`",
    "factors": "the API (`/v1/factors`, `/v1/recovery-codes`, `/v1/users`), `factor`; checks read the mirror in Redis",
    "access": "API processes, when they start and when something changed; `application`, `key`; "
    "the worker and the API, for endpoints",
    "accountability": "`ledger status`, `subject export`, `audit actions`",
    "audit": "`audit verify`, `audit export`; the worker, to sign and export its head",
}
KEPT_OTHERWISE = {
    "head": "For ever: few rows.",
    "factors": "What is active is kept.",
    "access": "An application is kept for ever.",
}
ELSEWHERE = (
    ("Redis' append-only file and snapshots", "what is in Redis", "until it is rewritten; backups as you keep them"),
    ("ledger: `ledger.db`, `-wal`, `-shm` (SQLite)", "the ledger, readable for the service's user only", "see above"),
    ("PostgreSQL's data, log of changes and backups", "the ledger", "see above"),
    (
        "`secrets/` (compose), files that `…_FILE` names",
        "keys, passwords, addresses with passwords",
        "as you keep them",
    ),
    (
        "`otp-service-metrics-…` in `TMPDIR`, else in `/dev/shm`",
        "what was counted since the start",
        "as long as `serve` runs",
    ),
    ("standard output of the gateway `console`", "messages with codes and masks; development only", "as you keep it"),
)
LOGS = """\
## In logs

One JSON object a line on standard error, kept by whoever collects it. Each has `timestamp`, `level`, `logger` and
`message`; the members beside them are listed here. None has a number, a code, an address of the internet, a payment or
a secret. A verification's identifier leads to a pseudonym for as long as the ledger keeps it. Where traces are on, a
line has its span's `trace_id`, which a caller may have chosen.
"""
TRACES = """\
## In traces

Only where they are switched on (`[telemetry]`), kept by whoever runs the collector. A span has a name of ours, times,
the identifiers of itself, of its trace and of the span above it, which a caller may have chosen, and these attributes,
redacted as the logs are ([`telemetry/tracing.py`](../otp_service/telemetry/tracing.py) has their exported names):
"""
METRICS = """\
## In metrics

Counts only, kept by whoever collects them: [metrics.md](metrics.md). Their labels, each with few values:
"""
LABELS = {
    "application": "name of an application",
    "cause": "of an alarm: `newcomers`, `delivery`",
    "check": "name of a verifier of human checks",
    "country": "ISO 3166 code of a number's country",
    "event": "type of an event",
    "gateway": "name of a gateway",
    "meaning": "what somebody wrote back, in one word",
    "method": "method of a request",
    "mode": "of a rule: `enforce`, `record_only`",
    "operation": "which operation failed",
    "outcome": "what became of it, in one word",
    "parameter": "of Twilio's: its name, `other` for any other",
    "policy": "name of a policy",
    "purpose": "name of a purpose",
    "registration": "name of a sender or an approval",
    "reason": "why, in one word",
    "route": "pattern of an address, never a path",
    "rule": "name of a rule",
    "state": "of a breaker: `open`, `closed`",
    "status": "status of an answer, or of a delivery",
    "verdict": "what a policy answered",
    "version": "the release that runs",
    "window": "of time: about the last `hour`, `day`",
}
OTHERS = """\
## With others

A message goes through a **gateway**: its provider, and the operators behind it, see the number and the text, and keep
them by their own rules; so does an operator whom a policy asks about a number. What a **caller** learns of a
verification (its identifier, the mask, the number in E.164, what it passed itself, what webhooks tell it) it keeps by
its own rules.
"""


def document() -> str:
    """Return the text of the document."""
    parts = (
        BEGINNING,
        LEDGER,
        *_classes(),
        REDIS,
        _table(("key", "type", "holds", "personal", "lives", "read by"), map(_key, all_keys())),
        FOLDER,
        _table(("file", "holds"), ((f"`{name}`", holds) for name, holds in FILES.items())),
        "Others:\n",
        _table(("file", "holds", "kept"), ELSEWHERE),
        LOGS,
        _filled(", ".join(f"`{name}`" for name in log_members())),
        TRACES,
        _filled(", ".join(f"`{name}`" for name in sorted(ATTRIBUTES))),
        METRICS,
        _table(("label", "is"), ((f"`{label}`", LABELS[label]) for label in labels())),
        OTHERS,
    )
    return "\n".join(parts)


def _classes() -> Iterator[str]:
    for data in dict.fromkeys(table.info["class"] for table in tables()):
        yield f"### {data.capitalize()}\n"
        yield _filled(f"{_kept(data)} Read by: {READERS[data]}.")
        yield _table(
            ("table", "column", "holds", "personal"),
            (
                (f"`{table.name}`", f"`{column.name}`", column.info["holds"], column.info["personal"])
                for table in tables()
                if table.info["class"] == data
                for column in table.columns
            ),
        )


def tables() -> list[schema.Table]:
    """Return the tables in the order of the schema."""
    return list(schema.METADATA.tables.values())


def _kept(data: str) -> str:
    otherwise = KEPT_OTHERWISE.get(data, "")
    if data not in RetentionSettings.model_fields:
        return otherwise
    field = RetentionSettings.model_fields[data]
    return f"{field.default} days. {field.description} {otherwise}".rstrip()


def _key(kind: Key) -> tuple[str, ...]:
    lives = kind.life.words.replace("{}", duration(kind.life.longest(spans()) or 0))
    return f"`{kind.pattern}`", kind.type, kind.holds, kind.personal, lives, kind.read_by


def spans() -> Spans:
    """Return what the lives of keys depend on, by default."""
    ruleset = build_ruleset(GuardSettings(), LimitsSettings().parsed, SpendSettings(day="1"))
    subjects = {subject: life // 1000 for subject, life in compile_ruleset(ruleset).lives.items()}
    return {"streams": StreamsSettings().retention_days * _DAY, **subjects}


def labels() -> list[str]:
    """Return the labels of all metrics."""
    load_dialects()  # which declare metrics
    return sorted({label for metric in metrics.METRICS for label in metric.labels})


def log_members() -> list[str]:
    """Return the names of all members that a log line is given."""
    modules = (ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / "otp_service").rglob("*.py"))
    return sorted({member for tree in modules for call in _logging_calls(tree) for member in _members(tree, call)})


def _logging_calls(tree: ast.Module) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and ast.unparse(node.func.value) == "_log"
        ):
            yield node


def _members(tree: ast.Module, call: ast.Call) -> Iterator[str]:
    """Yield the members that a call names, and those of the dictionary of a function that it unpacks."""
    for keyword in call.keywords:
        if keyword.arg:
            yield keyword.arg
        elif isinstance(keyword.value, ast.Call):
            yield from _keys(tree, ast.unparse(keyword.value.func))
        else:
            raise ValueError(f"What {ast.unparse(keyword.value)} holds cannot be seen here: name the members.")


def _keys(tree: ast.Module, function: str) -> Iterator[str]:
    defined = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == function)
    dictionaries = (node for node in ast.walk(defined) if isinstance(node, ast.Dict))
    yield from (key.value for one in dictionaries for key in one.keys if isinstance(key, ast.Constant))


def _filled(text: str) -> str:
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False) + "\n"


def _table(headings: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [tuple(headings), *map(tuple, rows)]
    lines.insert(1, ("---",) * len(lines[0]))
    cells = (" | ".join(cell.replace("|", "\\|") for cell in line) for line in lines)
    return "\n".join(f"| {line} |".replace("  ", " ") for line in cells) + "\n"


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
