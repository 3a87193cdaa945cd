"""What somebody who has the database alone can do to the ledger, and whether `audit verify` shows it.

The same lists are in docs/security-model.md. Each attack drops the triggers first, as who owns the database can, and
may make the chain agree with what was done: no key is needed for that.
"""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import time_machine
from sqlalchemy import Connection, Table, case, delete, func, insert, select, update
from support_full_ledger import drop_triggers, fill
from support_ledger import make_ledger
from support_ledger_events import OTHER

from otp_service.domain.audit import GENESIS, ChainEntry
from otp_service.domain.consents import Suppression, SuppressionScope, SuppressionSource
from otp_service.domain.keyring import Keyring
from otp_service.ledger.audit import CHANGING, COVERED, SignedHead, append_state, digest_of_row, row_key
from otp_service.ledger.ledger import Ledger
from otp_service.ledger.retention import PURGE_RULES, Purge
from otp_service.ledger.schema import (
    api_keys,
    audit,
    audit_heads,
    consents,
    console_users,
    endpoints,
    events,
    factors,
    head,
    inbound,
    purges,
    recovery_codes,
    suppressions,
    verifications,
)
from otp_service.services.audit import AuditProgress, HeadSigner, head_to_json, read_heads, verify_chain
from otp_service.settings.schema import RetentionSettings

DAY = 24 * 3600
BEGIN = 1_700_000_000
KEYRING = Keyring({"k1": b"r" * 31 + b"1"}, b"p" * 31 + b"1")
KEPT = RetentionSettings(
    traffic=100, stats=400, inbound=90, consents=400, suppressions=400, accountability=400, audit=400
).days
DOCUMENT = Path(__file__).parents[2] / "docs" / "security-model.md"


class Shown(Enum):
    """By the words above its list in the document."""

    ALWAYS = "`audit verify` shows that an attacker:"
    BY_HEADS = "Only `audit verify --heads FILE` shows that an attacker:"
    NEVER = "Nothing shows that an attacker:"


class Site:
    """A ledger in its second year, whose heads were exported."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger, self.keyring = ledger, KEYRING
        self.exported: list[str] = []

    def sign(self) -> None:
        HeadSigner(self.context, 60, lambda one: self.exported.append(head_to_json(self.context, one))).sign_if_due()

    def purge(self, at: int) -> None:
        for data in PURGE_RULES:
            list(self.ledger.purges.run(Purge(data, KEPT.cutoff(data, 1000 * at), 1000 * at, KEYRING.signer)))

    @property
    def context(self) -> Any:
        return SimpleNamespace(ledger=self.ledger, keyring=self.keyring)

    def flaws(self, *, heads: bool) -> list[str]:
        outside: tuple[SignedHead, ...] = tuple(read_heads(self.exported)) if heads else ()
        return [one.sentence for one in verify_chain(self.context, AuditProgress(), outside)]


NOW = BEGIN + 700 * DAY


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """Make the ledger once; return its file, and the heads that were exported."""
    file = tmp_path_factory.mktemp("history") / "ledger.db"
    make_ledger(f"sqlite:///{file}")
    site = Site(Ledger(f"sqlite:///{file}", 10.0))
    live(site)
    site.ledger.database.close()
    return file, site.exported


def live(site: Site) -> None:
    """Two years: rows of the first go, and with them the beginning of the chain; a stop of the first day stays."""
    ledger = site.ledger
    with time_machine.travel(BEGIN, tick=False) as clock:
        fill(ledger, "vf_old")
        ledger.suppressions.add([Suppression(OTHER, "shop", SuppressionScope.ALL, SuppressionSource.API)])
        site.sign()
        clock.move_to(BEGIN + 250 * DAY)
        fill(ledger, "vf_middle", "m" * 22)
        for days in (499, 690):
            clock.move_to(BEGIN + days * DAY)
            fill(ledger, f"vf_{days}")
            site.sign()
            site.purge(BEGIN + days * DAY)
        fill(ledger, "vf_new")
        clock.move_to(NOW)
        site.sign()


@pytest.fixture(params=["sqlite", "postgresql"])
def site(request: pytest.FixtureRequest, history: tuple[Path, list[str]], tmp_path: Path) -> Iterator[Site]:
    file, exported = history
    if request.param == "sqlite":
        url = f"sqlite:///{shutil.copy(file, tmp_path / 'ledger.db')}"
    else:
        server, template = (request.getfixturevalue(name) for name in ("postgres_server", "lived_in_postgres"))
        url = server.url(server.create(template))
    made = Site(Ledger(url, 10.0))
    made.exported = list(exported)
    with time_machine.travel(NOW, tick=False):
        yield made
    made.ledger.database.close()


@pytest.fixture(scope="module")
def lived_in_postgres(postgres_server: Any, postgres_template: str, history: tuple[Path, list[str]]) -> str:
    """The name of a database with the same rows."""
    name = postgres_server.create(postgres_template)
    source, target = Ledger(f"sqlite:///{history[0]}", 10.0), Ledger(postgres_server.url(name), 10.0)
    with source.database.read() as old, target.database.write() as new:
        for table in (head, audit, audit_heads, *COVERED.values()):
            rows = [dict(row) for row in old.execute(select(table)).mappings()]
            new.execute(delete(table))
            new.execute(insert(table), [{column.key: row[column.name] for column in table.columns} for row in rows])
    source.database.close()
    target.database.close()
    return str(name)


# --- the attacker's tools ------------------------------------------------------------------------------------


def relink(connection: Connection) -> None:
    """Number the entries anew and make links and head agree with them; what rows hold now is taken for the truth."""
    entries = connection.execute(select(audit).order_by(audit.c.sequence)).all()
    begins = select(purges.c.last_sequence, purges.c.link).order_by(purges.c.last_sequence.desc()).limit(1)
    first, link = connection.execute(begins).one()
    first += 1
    connection.execute(delete(audit))
    for sequence, one in enumerate(entries, first):
        digest = one.digest
        if one.table in COVERED:
            table = COVERED[one.table]
            key = row_key(table)
            found = connection.execute(select(table).where(key == key.type.python_type(one.row))).mappings().first()
            if found is not None:
                digest = digest_of_row(table, {column.key: found[column] for column in table.columns})
        entry = ChainEntry(sequence, one.at, one.table, one.row, digest)
        link = entry.link(link)
        connection.execute(insert(audit).values(sequence=sequence, at=one.at, table=one.table, row=one.row,
                                                digest=digest, link=link))  # fmt: skip
    connection.execute(update(head).values(audit=sequence, audit_link=link))
    connection.execute(delete(audit_heads))


def append(connection: Connection, table: Table, row: dict[str, Any]) -> None:
    """Put in a row with an entry, as the service would."""
    connection.execute(insert(table).values(row))
    last = connection.execute(select(head)).one()
    key = row_key(table)
    entry = ChainEntry(last.audit + 1, 1000 * NOW, table.name, str(row[key.key]), digest_of_row(table, row))
    link = entry.link(last.audit_link)
    connection.execute(insert(audit).values(sequence=entry.sequence, at=entry.at, table=entry.table, row=entry.row,
                                            digest=entry.digest, link=link))  # fmt: skip
    connection.execute(update(head).values(audit=entry.sequence, audit_link=link))


def one_of(connection: Connection, table: Table) -> Any:
    """Return the key of the first row that has an entry, and is still there."""
    key = row_key(table)
    there = set(connection.execute(select(key)).scalars())
    entries = connection.execute(select(audit.c.row).where(audit.c.table == table.name).order_by(audit.c.sequence))
    return key, next(value for value in map(key.type.python_type, entries.scalars()) if value in there)


CHANGES = {
    "verifications": {"purpose": "payment"}, "events": {"gateway": "second"}, "consents": {"locale": "en"},
    "suppressions": {"until": 5}, "inbound": {"meaning": "help"}, "erasures": {"reason": "none"},
    "purges": {"before": 5}, "operator_actions": {"action": "limits.reset"}, "factor_changes": {"reason": "lost"},
    "looks": {"by": "nobody"}, "second_person_requests": {"by": "nobody"}, "applications": {"settings": "{}"},
    "api_keys": {"scopes": "admin"}, "console_users": {"role": "admin"}, "endpoints": {"url": "https://his.example"},
    "factors": {"secret": "k1.of.another"}, "recovery_codes": {"made": 5}, "proof_keys": {"jwk": "{}"},
}  # fmt: skip


def change_row(connection: Connection, table: Table) -> None:
    key, value = one_of(connection, table)
    connection.execute(update(table).where(key == value).values(CHANGES[table.name]))


def delete_row(connection: Connection, table: Table) -> None:
    key, value = one_of(connection, table)
    connection.execute(delete(table).where(key == value))


def delete_row_and_entry(connection: Connection, table: Table) -> None:
    key, value = one_of(connection, table)
    connection.execute(delete(table).where(key == value))
    connection.execute(delete(audit).where(audit.c.table == table.name, audit.c.row == str(value)))


def copy_of_a_row(connection: Connection, table: Table) -> dict[str, Any]:
    """Return a row like one that is there, of another key, from before the chain's beginning."""
    key, value = one_of(connection, table)
    found = connection.execute(select(table).where(key == value)).mappings().one()
    row = {column.key: found[column] for column in table.columns}
    for column in (one for one in table.columns if one is key or one.primary_key or one.unique):
        own = row[column.key]
        row[column.key] = own + 10_000 if isinstance(own, int) else f"x{own}"[:22]
    for moment in ("at", "started", "recorded", "received"):
        if moment in row:
            row[moment] = 1000
    return row


def insert_row(connection: Connection, table: Table) -> None:
    connection.execute(insert(table).values(copy_of_a_row(connection, table)))


def insert_row_with_an_entry_outside(connection: Connection, table: Table) -> None:
    """Put in a row, and an entry of it where nobody walks along the chain."""
    row = copy_of_a_row(connection, table)
    connection.execute(insert(table).values(row))
    key = row_key(table)
    entry = ChainEntry(-1, 1000, table.name, str(row[key.key]), digest_of_row(table, row))
    link = entry.link(GENESIS)
    connection.execute(insert(audit).values(sequence=entry.sequence, at=entry.at, table=entry.table, row=entry.row,
                                            digest=entry.digest, link=link))  # fmt: skip


def insert_row_with_the_last_entry_that_went(connection: Connection, table: Table) -> None:
    """Put in a row, and an entry of it in place of the last one that a purge took, with the link that it had."""
    row = copy_of_a_row(connection, table)
    connection.execute(insert(table).values(row))
    key = row_key(table)
    last = connection.execute(
        select(purges.c.last_sequence, purges.c.link).order_by(purges.c.last_sequence.desc()).limit(1)
    ).one()
    connection.execute(
        insert(audit).values(
            sequence=last.last_sequence,
            at=1000,
            table=table.name,
            row=str(row[key.key]),
            digest=digest_of_row(table, row),
            link=last.link,
        )
    )


def insert_row_with_entry(connection: Connection, table: Table) -> None:
    append(connection, table, copy_of_a_row(connection, table))


def change_row_with_entry(connection: Connection, table: Table) -> None:
    change_row(connection, table)
    _, value = one_of(connection, table)
    append_state(connection, table, [value])


def delete_row_with_entry(connection: Connection, table: Table) -> None:
    _, value = one_of(connection, table)
    delete_row(connection, table)
    append_state(connection, table, [value])


def then_relink(attack: Callable[[Connection, Table], None]) -> Callable[[Connection, Table], None]:
    def both(connection: Connection, table: Table) -> None:
        attack(connection, table)
        relink(connection)

    return both


@dataclass(frozen=True)
class Attack:
    name: str
    """As in the document."""
    shown: Shown
    do: Callable[..., None]


CHANGE_AND_RELINK = then_relink(change_row)
OF_ROWS = [
    Attack("changes a row", Shown.ALWAYS, change_row),
    Attack("deletes a row", Shown.ALWAYS, delete_row),
    Attack("inserts a row, dated before the chain begins", Shown.ALWAYS, insert_row),
    Attack("inserts a row, with an entry that is not in the chain", Shown.ALWAYS, insert_row_with_an_entry_outside),
    Attack(
        "inserts a row, with the entry before the chain's first", Shown.ALWAYS, insert_row_with_the_last_entry_that_went
    ),
    Attack("changes a row, its entry and all links after it", Shown.BY_HEADS, CHANGE_AND_RELINK),
    Attack("deletes a row and its entry, and renumbers the rest", Shown.BY_HEADS, then_relink(delete_row_and_entry)),
    Attack("inserts a row and appends an entry of it", Shown.NEVER, insert_row_with_entry),
]
OF_CHANGING_ROWS = [
    Attack("changes a row that grants access, and appends an entry of it", Shown.NEVER, change_row_with_entry),
    Attack("deletes such a row, and appends an entry of that", Shown.NEVER, delete_row_with_entry),
]
SIGNED = tuple(one for one in OF_ROWS if one.do in {CHANGE_AND_RELINK, insert_row_with_entry})
"""What a purge deleted is signed: one that is made up or changed shows, whatever the chain says."""


def swap_entries(connection: Connection) -> None:
    first = connection.execute(select(func.min(audit.c.sequence))).scalar_one() + 3
    for old, new in ((first, -1), (first + 2, first), (-1, first + 2)):
        connection.execute(update(audit).where(audit.c.sequence == old).values(sequence=new))


def swap_rows(connection: Connection) -> None:
    one, other = connection.execute(select(events.c.id).order_by(events.c.id).limit(2)).scalars()
    for old, new in ((one, "-"), (other, one), ("-", other)):
        connection.execute(update(events).where(events.c.id == old).values(id=new))


def cut_the_end(connection: Connection) -> None:
    """Take back all that was recorded since the last purge; what was only changed since then stays."""
    last = connection.execute(select(func.max(audit.c.sequence)).where(audit.c.table == purges.name)).scalar_one()
    before = select(audit.c.table, audit.c.row).where(audit.c.sequence <= last)
    known = {(one.table, one.row) for one in connection.execute(before)}
    for one in connection.execute(select(audit).where(audit.c.sequence > last)).all():
        if (one.table, one.row) in known:
            continue
        table = COVERED[one.table]
        key = row_key(table)
        connection.execute(delete(table).where(key == key.type.python_type(one.row)))
    connection.execute(delete(audit).where(audit.c.sequence > last))
    relink(connection)


def cut_the_beginning(connection: Connection) -> None:
    """Cut off all before a head that was signed, with the rows."""
    heads = select(audit_heads.c.sequence).order_by(audit_heads.c.sequence)
    anchor = connection.execute(heads.offset(1).limit(1)).scalar_one()
    for one in connection.execute(select(audit).where(audit.c.sequence <= anchor)).all():
        table = COVERED[one.table]
        key = row_key(table)
        connection.execute(delete(table).where(key == key.type.python_type(one.row)))
    connection.execute(delete(audit).where(audit.c.sequence <= anchor))


def empty_everything(connection: Connection) -> None:
    for table in (*COVERED.values(), audit, audit_heads):
        connection.execute(delete(table))
    connection.execute(update(head).values(audit=0, audit_link=GENESIS))


def forge_a_purge(connection: Connection) -> None:
    """Put in a purge of everything, with an entry, and delete."""
    found = connection.execute(select(purges).limit(1)).mappings().one()
    row = {column.key: found[column] for column in purges.columns}
    append(connection, purges, row | {"id": "pu_forged", "data": "traffic", "before": 1000 * NOW})
    connection.execute(delete(events))


def change_when_a_purge_began(connection: Connection) -> None:
    connection.execute(update(head).values(purged=1000 * (NOW + 365 * DAY)))
    connection.execute(delete(events))


def copy_a_purge_of_others(connection: Connection) -> None:
    """Let a record of the service's own, of other rows, stand for those that are deleted."""
    found = connection.execute(select(purges).where(purges.c.names != "{}").limit(1)).mappings().one()
    row = {column.key: found[column] for column in purges.columns} | {"id": "pu_copied"}
    append(connection, purges, row)
    delete_row(connection, suppressions)


def delete_an_old_stop(connection: Connection) -> None:
    """Delete a stop that stands, older than what a purge of its class took."""
    connection.execute(delete(suppressions).where(suppressions.c.pseudonym == OTHER))


def delete_what_a_purge_almost_took(connection: Connection) -> None:
    """Delete what was recorded up to a week after what the last purge took: events may be recorded as late."""
    before = connection.execute(select(func.max(purges.c.before)).where(purges.c.data == "traffic")).scalar_one()
    connection.execute(update(audit).where(audit.c.table == "events").values(at=before + 1000))
    connection.execute(delete(events))
    relink(connection)


def change_what_no_digest_covers(connection: Connection) -> None:
    connection.execute(update(verifications).values(status="approved"))
    connection.execute(update(consents).values(address_prefix="198.51.100.0/24"))
    connection.execute(update(inbound).values(pseudonym=OTHER))
    connection.execute(update(purges).values(rows=1))


def let_himself_in(connection: Connection) -> None:
    row = {"id": "ak_his", "application": "", "hash": "sha256:0", "scopes": "admin", "addresses": "", "created": 1}
    connection.execute(insert(api_keys).values(row))


def make_himself_a_user(connection: Connection) -> None:
    found = connection.execute(select(console_users).limit(1)).mappings().one()
    connection.execute(insert(console_users).values({**found, "name": "he", "role": "admin", "applications": ""}))


def have_webhooks_sent_to_himself(connection: Connection) -> None:
    connection.execute(update(endpoints).values(url="https://his.example"))


def use_a_recovery_code_again(connection: Connection) -> None:
    used = update(recovery_codes).where(recovery_codes.c.used)
    assert connection.execute(used.values(used=False, ended=None)).rowcount


def bring_a_factor_back(connection: Connection) -> None:
    removed = update(factors).where(factors.c.removed.is_not(None))
    assert connection.execute(removed.values(removed=None, secret="k1.secret", root_key="k1")).rowcount


OF_THE_CHAIN = [
    Attack("swaps two entries", Shown.ALWAYS, swap_entries),
    Attack("swaps two rows", Shown.ALWAYS, swap_rows),
    Attack("cuts off the end, with all rows since then", Shown.BY_HEADS, cut_the_end),
    Attack("cuts off the beginning up to a signed head, with all rows before it", Shown.ALWAYS, cut_the_beginning),
    Attack("empties everything", Shown.BY_HEADS, empty_everything),
    Attack("inserts a forged purge, and deletes the rows it names", Shown.ALWAYS, forge_a_purge),
    Attack("moves the time of the last purge, and deletes rows", Shown.ALWAYS, change_when_a_purge_began),
    Attack("copies a purge of the service's own, and deletes other rows", Shown.ALWAYS, copy_a_purge_of_others),
    Attack("deletes a stop that stands, older than a purge of its class", Shown.ALWAYS, delete_an_old_stop),
    Attack("dates entries back to where a purge took rows, writes the chain anew", Shown.BY_HEADS,
           delete_what_a_purge_almost_took),
    Attack("changes a column of this table, or where all are listed inserts or deletes a row:", Shown.NEVER,
           change_what_no_digest_covers),
    Attack("inserts an API key", Shown.ALWAYS, let_himself_in),
    Attack("inserts a user of the console", Shown.ALWAYS, make_himself_a_user),
    Attack("has webhooks sent to another address", Shown.ALWAYS, have_webhooks_sent_to_himself),
    Attack("marks a recovery code unused that was used", Shown.ALWAYS, use_a_recovery_code_again),
    Attack("brings an authenticator app back that was removed", Shown.ALWAYS, bring_a_factor_back),
]  # fmt: skip


def _do(attack: Callable[[Connection, Table], None], table: Table, connection: Connection) -> None:
    attack(connection, table)


def shown_of(attack: Attack, table: str) -> Shown:
    return Shown.ALWAYS if table == purges.name and attack in SIGNED else attack.shown


CASES = [
    *(
        pytest.param(partial(_do, attack.do, table), shown_of(attack, name), id=f"{attack.name}: {name}")
        for attack in OF_ROWS for name, table in COVERED.items()
    ),
    *(
        pytest.param(partial(_do, attack.do, COVERED[name]), attack.shown, id=f"{attack.name}: {name}")
        for attack in OF_CHANGING_ROWS for name in sorted(CHANGING)
    ),
    *(pytest.param(attack.do, attack.shown, id=attack.name) for attack in OF_THE_CHAIN),
]  # fmt: skip


def test_a_ledger_that_nobody_touched_is_as_it_was_recorded(site: Site) -> None:
    assert site.flaws(heads=True) == []


@pytest.mark.parametrize(("attack", "shown"), CASES)
def test_an_attack_shows_as_the_security_model_says(
    site: Site, attack: Callable[[Connection], None], shown: Shown
) -> None:
    with site.ledger.database.write() as connection:
        drop_triggers(connection, site.ledger.database.kind)
        attack(connection)

    assert (bool(site.flaws(heads=False)), bool(site.flaws(heads=True))) == {
        Shown.ALWAYS: (True, True), Shown.BY_HEADS: (False, True), Shown.NEVER: (False, False),
    }[shown]  # fmt: skip


@pytest.mark.parametrize("backdate", [audit_heads, events, suppressions, purges])
def test_no_purge_of_the_service_s_own_destroys_what_shows_an_attack(site: Site, backdate: Table) -> None:
    """He dates rows, or heads, back so that the service itself takes them for old, and signs that they were."""
    moment = {"suppressions": "recorded"}.get(backdate.name, "at")
    with site.ledger.database.write() as connection:
        drop_triggers(connection, site.ledger.database.kind)
        connection.execute(update(backdate).values({moment: 1000}))
        connection.execute(
            update(suppressions).values(
                lifted=case((suppressions.c.pseudonym == OTHER, True), else_=suppressions.c.lifted)
            )
        )
    entries = site.ledger.audit.head().sequence
    site.purge(NOW)

    assert site.flaws(heads=True)
    assert len(site.ledger.audit.links(0, 10_000)) > entries // 2


def test_what_a_purge_would_take_within_a_week_goes_unnoticed(site: Site) -> None:
    fill(site.ledger, "vf_now")
    later = NOW + 95 * DAY
    with time_machine.travel(later, tick=False):
        site.purge(later)
        with site.ledger.database.write() as connection:
            assert connection.execute(delete(events).where(events.c.verification == "vf_now")).rowcount

        assert site.flaws(heads=True) == []


def test_the_document_has_the_same_lists() -> None:
    told = DOCUMENT.read_text()
    listed = {shown: told.split(f"{shown.value}\n\n", 1)[1].split("\n\n", 1)[0].splitlines() for shown in Shown}
    assert "- deletes verifications or events a week before a purge would" in listed[Shown.NEVER]
    for attack in (*OF_ROWS, *OF_CHANGING_ROWS, *OF_THE_CHAIN):
        assert f"- {attack.name}" in listed[attack.shown]
