"""What is kept long enough goes by itself, a little at a time; what holds stays, and how much went is written down."""

import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import time_machine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import BigInteger, Boolean, Table, delete, insert, select
from support_factors import factor

from otp_service.domain.audit import Event, RetentionDays
from otp_service.domain.consents import (
    EVERY_APPLICATION,
    Consent,
    ConsentEvidence,
    Suppression,
    SuppressionScope,
    SuppressionSource,
)
from otp_service.domain.keyring import Signer
from otp_service.ledger import consents, retention, schema
from otp_service.ledger.ledger import Ledger
from otp_service.ledger.retention import PURGE_INTERVAL, PURGE_RULES, Purge
from otp_service.settings.schema import RetentionSettings

NOW = 1_795_000_000_000
DAY = 24 * 3600 * 1000
LONG_AGO = NOW - 100 * DAY
PSEUDONYM = "canary-pseudonym-12345"
SIGNER = Signer(bytes(32))
KEPT: RetentionDays = RetentionSettings().days
EVIDENCE = ConsentEvidence("v1", "0" * 64, "en", "web", LONG_AGO, "signup page", "203.0.113.0/24")


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    opened = Ledger(ledger_url, 10.0)
    yield opened
    opened.database.close()


@pytest.fixture
def file(sqlite_template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(sqlite_template, tmp_path / "ledger.db"))


def put(ledger: Ledger, table: Table, **values: Any) -> None:
    """Put a row into a table; columns that are not named hold something of their type."""
    row = {column.key: values.get(column.key, _something(column)) for column in table.columns}
    with ledger.database.write() as connection:
        connection.execute(insert(table).values(row))


def _something(column: Any) -> Any:
    if column.nullable:
        return None
    if isinstance(column.type, Boolean):
        return False
    return 0 if isinstance(column.type, BigInteger) else PSEUDONYM if column.key == "pseudonym" else "x"


def rows(ledger: Ledger, table: Table) -> list[Any]:
    with ledger.database.read() as connection:
        return list(connection.execute(select(table)).mappings())


def purge(ledger: Ledger, data: str, before: int = LONG_AGO, now: int = NOW) -> list[int]:
    """Purge a class of data; return how many rows each transaction deleted."""
    return list(ledger.purges.run(Purge(data, before, now, SIGNER)))


def entry(sequence: int, recorded: int = LONG_AGO - DAY, **values: Any) -> dict[str, Any]:
    return {"sequence": sequence, "counts_from": sequence, "recorded": recorded, "pseudonym": PSEUDONYM, **values}


def sequences(ledger: Ledger, table: Table) -> list[int]:
    return sorted(row["sequence"] for row in rows(ledger, table))


AGED = [
    (schema.TRAFFIC, schema.verifications, "id", "started"),
    (schema.TRAFFIC, schema.events, "id", "at"),
    (schema.INBOUND, schema.inbound, "id", "received"),
    (schema.ACCESS, schema.api_keys, "id", "revoked"),
    (schema.ACCESS, schema.api_keys, "id", "expires"),
    (schema.ACCOUNTABILITY, schema.erasures, "id", "at"),
    (schema.AUDIT, schema.purges, "id", "at"),
]


@pytest.mark.parametrize(("data", "table", "key", "moment"), AGED)
def test_what_is_older_goes_and_nothing_else(ledger: Ledger, data: str, table: Table, key: str, moment: str) -> None:
    for name, at in (("older", LONG_AGO - 1), ("exact", LONG_AGO), ("younger", LONG_AGO + 1)):
        put(ledger, table, **{key: name, moment: at, **({"hash": name} if table is schema.api_keys else {})})

    assert sum(purge(ledger, data)) == 1
    assert {row[key] for row in rows(ledger, table)} - _written(ledger) == {"exact", "younger"}


def _written(ledger: Ledger) -> set[str]:
    """Return the names of the proofs that purges wrote down."""
    return {row["id"] for row in rows(ledger, schema.purges) if row["id"].startswith("pu_")}


def test_a_key_that_neither_ends_nor_was_revoked_is_kept(ledger: Ledger) -> None:
    put(ledger, schema.api_keys, id="used", created=1, used=1)

    assert purge(ledger, schema.ACCESS) == [0, 0]


def test_no_table_is_without_an_end_but_those_of_few_rows(ledger: Ledger) -> None:
    """Whoever adds a table decides when its rows go."""
    ended = {"sequence": 1, "lifted": True, "revoked": 1, "removed": 1, "ended": 1}
    for table in schema.METADATA.sorted_tables:
        if table not in {schema.head, schema.audit, schema.audit_heads}:  # the chain ends at a head: tests/services
            put(ledger, table, **ended)
    put(ledger, schema.consents, **entry(2))
    for data in PURGE_RULES:
        purge(ledger, data, NOW + 1)

    left = {table.name for table in schema.METADATA.sorted_tables if rows(ledger, table)}
    assert left == {
        "head",
        "applications",
        "proof_keys",
        "stats_positions",
        "console_users",
        "consents",
        "purges",
        "audit",
    }
    assert sequences(ledger, schema.consents) == [2]  # it ended the other one
    assert {row["id"] for row in rows(ledger, schema.purges)} == _written(ledger)


def test_every_class_of_data_has_a_rule_and_a_number_of_days() -> None:
    classes = {table.info["class"] for table in schema.METADATA.sorted_tables}

    assert set(PURGE_RULES) == classes - {schema.HEAD}
    assert set(PURGE_RULES) == set(RetentionSettings.model_fields)
    assert all(KEPT.cutoff(data, NOW) < NOW for data in PURGE_RULES)


# --- consents and suppressions: what holds stays ----------------------------------------------------------------


@pytest.mark.parametrize("withdrawn", [True, False])
def test_the_last_word_on_a_consent_is_kept_however_old_it_is(ledger: Ledger, withdrawn: bool) -> None:
    """Somebody who said no would hear of an application again that asks for no consent."""
    put(ledger, schema.consents, **entry(1, recorded=1, withdrawn=withdrawn))

    assert purge(ledger, schema.CONSENTS, NOW) == [0]
    assert sequences(ledger, schema.consents) == [1]


def test_a_consent_goes_when_another_one_followed_it_long_ago(ledger: Ledger) -> None:
    put(ledger, schema.consents, **entry(1))
    put(ledger, schema.consents, **entry(2))
    put(ledger, schema.consents, **entry(3, recorded=LONG_AGO))
    purge(ledger, schema.CONSENTS)

    assert sequences(ledger, schema.consents) == [2, 3]


def test_a_consent_goes_when_its_withdrawal_is_old_and_the_withdrawal_stays(ledger: Ledger) -> None:
    put(ledger, schema.consents, **entry(1, recorded=1))
    put(ledger, schema.consents, **entry(2, recorded=LONG_AGO, withdrawn=True))

    assert sum(purge(ledger, schema.CONSENTS)) == 0
    assert sum(purge(ledger, schema.CONSENTS, LONG_AGO + 1)) == 1
    assert sequences(ledger, schema.consents) == [2]


def test_a_consent_that_was_recorded_late_ends_nothing(ledger: Ledger) -> None:
    """It counts from its start, before the withdrawal, though it was recorded after it: the withdrawal is in force."""
    put(ledger, schema.consents, **entry(1, withdrawn=True))
    put(ledger, schema.consents, **(entry(2) | {"counts_from": 0}))
    held = _consents_in_force(ledger)
    states = [_consents_in_force(ledger) for _ in ledger.purges.run(Purge(schema.CONSENTS, LONG_AGO, NOW, SIGNER))]

    assert held == set()
    assert states == [held]
    assert sequences(ledger, schema.consents) == [1]


def test_a_consent_that_was_recorded_lately_is_kept_though_it_was_withdrawn_long_ago(ledger: Ledger) -> None:
    put(ledger, schema.consents, **entry(1, withdrawn=True))
    put(ledger, schema.consents, **(entry(2, recorded=LONG_AGO) | {"counts_from": 0}))
    purge(ledger, schema.CONSENTS)

    assert sequences(ledger, schema.consents) == [1, 2]


def test_consents_of_others_end_nothing(ledger: Ledger) -> None:
    put(ledger, schema.consents, **entry(1))
    for place, other in enumerate(({"pseudonym": "other"}, {"application": "other"}, {"purpose": "other"}), 2):
        put(ledger, schema.consents, **(entry(place, withdrawn=True) | other))
    purge(ledger, schema.CONSENTS)

    assert sequences(ledger, schema.consents) == [1, 2, 3, 4]


@pytest.mark.parametrize("until", [None, NOW + DAY, LONG_AGO])
def test_a_suppression_that_holds_or_ended_lately_is_kept_however_old_it_is(ledger: Ledger, until: int | None) -> None:
    put(ledger, schema.suppressions, **entry(1, recorded=1, until=until))

    assert purge(ledger, schema.SUPPRESSIONS) == [0, 0]
    assert sequences(ledger, schema.suppressions) == [1]


@pytest.mark.parametrize("end", [{"lifted": True}, {"until": LONG_AGO - 1}])
def test_a_suppression_goes_long_after_it_was_lifted_or_ended(ledger: Ledger, end: dict[str, Any]) -> None:
    put(ledger, schema.suppressions, **entry(1, until=LONG_AGO - 2))
    put(ledger, schema.suppressions, **entry(2, **end))
    put(ledger, schema.suppressions, **(entry(3) | {"scope": "marketing_only"}))
    purge(ledger, schema.SUPPRESSIONS)

    assert sequences(ledger, schema.suppressions) == [3]


ENTRIES = st.lists(
    st.tuples(
        st.sampled_from(["a", "b"]),  # number
        st.sampled_from(["shop", "bank"]),
        st.booleans(),  # withdrawn, or lifted
        st.integers(0, 6),  # days between this and the one before
        st.sampled_from([None, -3, 3]),  # days from now until a suppression ends
        st.integers(0, 3),  # places that a consent was recorded late
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=ENTRIES, days=st.integers(1, 20))
def test_at_no_moment_of_a_purge_does_anything_hold_that_did_not_or_the_other_way_round(
    ledger: Ledger, history: list[Any], days: int
) -> None:
    before = NOW - days * DAY
    consents, suppressions = _tell(ledger, history)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retention, "SCAN_BATCH", 1)
        for data, table, holding in (
            (schema.CONSENTS, schema.consents, _consents_in_force),
            (schema.SUPPRESSIONS, schema.suppressions, _suppressed),
        ):
            held = holding(ledger)
            for deleted in ledger.purges.run(Purge(data, before, NOW, SIGNER)):
                assert holding(ledger) == held
                assert deleted <= 1
            if table is schema.consents:
                assert sequences(ledger, table) == _survivors(consents, before)
    assert not [row for row in suppressions if row["sequence"] in left(ledger) and _is_over(row, before)]


def left(ledger: Ledger) -> list[int]:
    return sequences(ledger, schema.suppressions)


def _is_over(row: dict[str, Any], before: int) -> bool:
    return bool(row["recorded"] < before and not row["lifted"] and row["until"] and row["until"] < before)


def test_a_suppression_that_ends_does_not_take_a_lasting_one_along(ledger: Ledger) -> None:
    put(ledger, schema.suppressions, **entry(1, scope="all", source="api", lifted=False))
    put(ledger, schema.suppressions, **entry(2, scope="all", source="api", lifted=False, until=LONG_AGO - 5))
    held = _suppressed(ledger)
    for _ in ledger.purges.run(Purge(schema.SUPPRESSIONS, LONG_AGO, NOW, SIGNER)):
        assert _suppressed(ledger) == held

    assert held
    assert sequences(ledger, schema.suppressions) == [1]


def _tell(ledger: Ledger, history: list[Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Fill the two tables anew with what happened; return their rows."""
    recorded = NOW - sum(row[3] for row in history) * DAY
    consents, suppressions = [], []
    for place, (number, application, ends, days, until, late) in enumerate(history, 1):
        recorded += days * DAY
        made = entry(place, recorded, pseudonym=number, application=application)
        consents.append({**made, "withdrawn": ends, "counts_from": place if ends else place - late})
        suppressions.append({**made, "lifted": ends, "until": None if until is None else NOW + until * DAY})
    with ledger.database.write() as connection:
        connection.execute(delete(schema.consents))
        connection.execute(delete(schema.suppressions))
    for table, told in ((schema.consents, consents), (schema.suppressions, suppressions)):
        for row in told:
            put(ledger, table, **{"scope": "all", "source": "api", **row})
    return consents, suppressions


def _survivors(told: list[dict[str, Any]], before: int) -> list[int]:
    """Return what is left of some entries, by a plain model: what was in force recently, and what came after it."""

    def order(row: dict[str, Any]) -> tuple[int, int]:
        return row["counts_from"], row["sequence"]

    left = []
    for number in ("a", "b"):
        for application in ("shop", "bank"):
            mine = sorted(
                (row for row in told if (row["pseudonym"], row["application"]) == (number, application)), key=order
            )
            kept = [
                row for place, row in enumerate(mine)
                if row["recorded"] >= before or not any(later["recorded"] < before for later in mine[place + 1 :])
            ]  # fmt: skip
            left += [row["sequence"] for row in kept]
    return sorted(left)


def _consents_in_force(ledger: Ledger) -> set[Any]:
    with ledger.database.read() as connection:
        found = consents.last_consents(connection, ("a", "b", PSEUDONYM))
    return {(one.pseudonym, one.application, one.purpose) for one in found if not one.withdrawn}


def _suppressed(ledger: Ledger) -> set[Any]:
    with ledger.database.read() as connection:
        found = list(consents.current_suppressions(connection, ("a", "b", PSEUDONYM)))
    return {(one.pseudonym, one.application, one.scope) for one in found if one.is_active(NOW)}


# --- a little at a time, and written down -----------------------------------------------------------------------


def test_others_have_their_turn_after_each_batch_and_the_proof_tells_the_sum(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "DELETE_BATCH", 3)
    for place in range(7):
        put(ledger, schema.events, id=f"event-{place}", at=1)
    counts = []
    for deleted in ledger.purges.run(Purge(schema.TRAFFIC, LONG_AGO, NOW, SIGNER)):
        counts.append(deleted)
        put(ledger, schema.events, id=f"meanwhile-{len(counts)}", at=NOW)

    assert counts == [0, 3, 3, 1]
    last = ledger.purges.latest(schema.TRAFFIC)
    assert (last.rows, last.before, last.at) == (7, LONG_AGO, NOW)
    assert len(_written(ledger)) == 1


def test_entries_go_a_little_at_a_time_too(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "DELETE_BATCH", 3)
    for place in range(1, 9):
        put(ledger, schema.consents, **entry(place, withdrawn=True))

    assert purge(ledger, schema.CONSENTS) == [3, 3, 1]


def test_a_purge_that_is_cut_off_has_written_down_exactly_what_it_did(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "DELETE_BATCH", 3)
    for place in range(7):
        put(ledger, schema.inbound, id=f"message-{place}", received=1)
    next(ledger.purges.run(Purge(schema.INBOUND, LONG_AGO, NOW, SIGNER)))

    assert ledger.purges.latest(schema.INBOUND).rows == 3
    assert len(rows(ledger, schema.inbound)) == 4


def test_a_purge_that_finds_nothing_leaves_no_trace(ledger: Ledger) -> None:
    for data in PURGE_RULES:
        purge(ledger, data)

    assert rows(ledger, schema.purges) == []
    assert ledger.purges.latest(schema.TRAFFIC) is None
    assert ledger.purges.last_began() is None


def test_entries_among_many_of_another_table_are_found_in_few_steps(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Consents and suppressions have their numbers from one count."""
    monkeypatch.setattr(retention, "SCAN_BATCH", 2)
    for place in (1, 500, 501, 1000):
        put(ledger, schema.suppressions, **entry(place, lifted=True))

    assert sum(purge(ledger, schema.SUPPRESSIONS)) == 4
    assert len(purge(ledger, schema.SUPPRESSIONS)) == 2


# --- one at a time, once an hour --------------------------------------------------------------------------------


def test_a_purge_is_due_once_an_hour(ledger: Ledger) -> None:
    moments = [0, 1, PURGE_INTERVAL - 1, PURGE_INTERVAL, PURGE_INTERVAL + 1, 2 * PURGE_INTERVAL]

    assert [ledger.purges.claim_turn(NOW + moment) for moment in moments] == [True, False, False, True, False, True]
    assert ledger.purges.last_began() == NOW + 2 * PURGE_INTERVAL


def test_a_clock_that_was_far_ahead_does_not_stop_purges_and_one_that_is_a_little_behind_makes_no_second(
    ledger: Ledger,
) -> None:
    assert ledger.purges.claim_turn(NOW + 365 * DAY)
    assert ledger.purges.claim_turn(NOW)
    assert not ledger.purges.claim_turn(NOW - 1000)


def test_of_many_processes_exactly_one_has_the_turn(ledger: Ledger) -> None:
    together = threading.Barrier(8)

    def try_it(hour: int) -> bool:
        together.wait()
        return ledger.purges.claim_turn(NOW + hour * PURGE_INTERVAL)

    with ThreadPoolExecutor(8) as pool:
        for hour in range(5):
            assert sum(pool.map(try_it, [hour] * 8)) == 1


# --- the canary -------------------------------------------------------------------------------------------------


def _fly(ledger: Ledger) -> None:
    """Leave all of a number that the ledger can hold, but a consent; in the end nothing of it holds."""
    fields = {"id": "vf_1", "application": "shop", "purpose": "login", "country": "PK", "pseudonym": PSEUDONYM}
    ledger.verifications.record(
        [
            Event("00:1-1", NOW, "verification.started", fields),
            Event("00:1-2", NOW, "verification.approved", fields),
        ]
    )
    for application in ("shop", EVERY_APPLICATION):
        for lifted in (False, True):
            ledger.suppressions.add(
                [
                    Suppression(PSEUDONYM, application, scope, SuppressionSource.API, lifted=lifted)
                    for scope in SuppressionScope
                ]
            )
    ledger.factors.activate(factor("fa_1", PSEUDONYM))
    ledger.recovery_codes.replace(PSEUDONYM, "shop", ["one"])
    ledger.subjects.erase(PSEUDONYM, None)
    put(ledger, schema.inbound, received=NOW)
    put(ledger, schema.webhooks, at=NOW)


def _where(ledger: Ledger) -> set[str]:
    """Return the tables that have the number anywhere."""
    return {table.name for table in schema.METADATA.sorted_tables if PSEUDONYM in repr(rows(ledger, table))}


def test_after_its_time_nothing_is_left_of_a_number(ledger: Ledger) -> None:
    with time_machine.travel(NOW / 1000, tick=False):
        _fly(ledger)
    proofs = {"suppressions", "erasures"}
    recorded = {"verifications", "factors", "factor_changes"}
    left = {0: proofs | recorded | {"inbound"}, 89: proofs | recorded | {"inbound"}}
    left |= {91: proofs | recorded, 399: proofs | recorded, 401: proofs, 1094: proofs, 1096: set()}
    for days, tables in left.items():
        for data in PURGE_RULES:
            purge(ledger, data, KEPT.cutoff(data, NOW + days * DAY), NOW + days * DAY)
        assert _where(ledger) == tables, days

    assert {row["data"] for row in rows(ledger, schema.purges)} == set(PURGE_RULES) - {
        schema.ACCESS, schema.CONSENTS, schema.AUDIT,
    }  # fmt: skip


def test_of_who_agreed_and_then_did_not_only_that_is_left(ledger: Ledger) -> None:
    """Neither the words, nor where they were shown, nor a part of an address."""
    with time_machine.travel(NOW / 1000, tick=False):
        ledger.consents.add(Consent(PSEUDONYM, "shop", "login", EVIDENCE))
        ledger.consents.add(Consent(PSEUDONYM, "shop", "login", None))
    for days, left in ((1094, [EVIDENCE, None]), (1096, [None])):
        purge(ledger, schema.CONSENTS, KEPT.cutoff(schema.CONSENTS, NOW + days * DAY), NOW + days * DAY)
        assert [one.evidence for one in ledger.consents.of(PSEUDONYM, "shop", "login")] == left, days


def test_after_its_time_nothing_is_left_of_a_number_in_the_file_either(file: Path) -> None:
    ledger = Ledger(f"sqlite:///{file}", 5.0)
    with time_machine.travel(NOW / 1000, tick=False):
        _fly(ledger)
    held = file.with_suffix(".db-wal").read_bytes()
    for data in PURGE_RULES:
        purge(ledger, data, NOW + 1)
    ledger.database.close()

    assert PSEUDONYM.encode() in held
    assert PSEUDONYM.encode() not in b"".join(path.read_bytes() for path in file.parent.iterdir())
