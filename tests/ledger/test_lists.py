"""Lists of all consents and suppressions: in force or not, page by page, and never slower for what is rare."""

import pytest
from sqlalchemy import event
from support_ledger_events import EVIDENCE, NUMBER, OTHER

from otp_service.clock import now
from otp_service.domain.consents import Consent, Suppression, SuppressionScope, SuppressionSource
from otp_service.ledger import consents
from otp_service.ledger.consents import ListQuery

HOUR = 3_600_000
GIVEN, OPT_OUTS = ListQuery("shop", "login"), ListQuery("shop", "all")


def opt_out(number: str = NUMBER, **members: object) -> Suppression:
    return Suppression(number, "shop", SuppressionScope.ALL, SuppressionSource.OPERATOR, **members)


def test_of_consents_the_last_word_is_in_force_where_it_agrees(ledger):
    for number in (NUMBER, OTHER):
        ledger.consents.add(Consent(number, "shop", "login", EVIDENCE))
    ledger.consents.add(Consent(NUMBER, "shop", "login", None))
    ledger.consents.add(Consent(NUMBER, "bank", "login", EVIDENCE))
    found = ledger.consents.listed(GIVEN, 9).entries

    assert [(one.pseudonym, one.withdrawn, holds) for one, holds in found] == [
        (NUMBER, True, False), (OTHER, False, True), (NUMBER, False, False),
    ]  # fmt: skip


def test_of_suppressions_in_force_is_what_keeps_messages_back_now(ledger):
    ledger.suppressions.add([opt_out(reason="lifted later"), opt_out(OTHER, until=now() - HOUR, reason="ended")])
    ledger.suppressions.add([opt_out(lifted=True), opt_out(OTHER, until=now() + HOUR, reason="holds")])
    found = ledger.suppressions.listed(OPT_OUTS, 9).entries

    assert [(one.reason, holds) for one, holds in found] == [
        ("holds", True), ("", False), ("ended", False), ("lifted later", False),
    ]  # fmt: skip


@pytest.mark.parametrize("in_force", [True, False, None])
def test_pages_follow_each_other_and_miss_nothing_however_rare_it_is(ledger, monkeypatch, in_force):
    monkeypatch.setattr(consents, "SCAN", 3)
    for number in range(10):
        ledger.suppressions.add([opt_out(f"{number:022}", reason=str(number))])
    ledger.suppressions.add([opt_out(f"{0:022}", lifted=True)])
    wanted, shown, pages = ListQuery("shop", "all", in_force), [], 0
    while wanted:
        page = ledger.suppressions.listed(wanted, 2)
        shown += [one.reason for one, _ in page.entries]
        wanted = ListQuery("shop", "all", in_force, page.older) if page.older else None
        pages += 1

    assert (
        shown
        == {
            True: [str(number) for number in range(9, 0, -1)],
            False: ["", "0"],
            None: ["", *(str(number) for number in range(9, -1, -1))],
        }[in_force]
    )
    assert pages <= 6


def test_no_list_reads_a_table_from_end_to_end(ledger):
    told: list[str] = []

    def explain(connection, _cursor, statement, parameters, *_):
        if statement.startswith("SELECT") and connection.dialect.name == "sqlite":
            plan = connection.connection.cursor().execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()
            told.extend(str(row[-1]) for row in plan)

    event.listen(ledger.database.engine, "before_cursor_execute", explain)
    for in_force in (True, False, None):
        ledger.consents.listed(ListQuery("shop", "login", in_force, 7), 9)
        ledger.suppressions.listed(ListQuery("shop", "all", in_force, 7), 9)

    assert told or ledger.database.kind != "sqlite"
    assert [one for one in told if (one.startswith("SCAN ") and "head" not in one) or "TEMP B-TREE" in one] == []
