"""Statements of many values: few texts, for drivers keep what they prepared by its text."""

from collections.abc import Iterable

import pytest
from sqlalchemy import event, select
from support_ledger_events import agreed

from otp_service.ledger.database import MAX_BATCH, batches, in_batches, insert_rows
from otp_service.ledger.ledger import Ledger
from otp_service.ledger.schema import inbound

SOME = 31


@pytest.mark.parametrize("count", [0, 1, 2, 3, MAX_BATCH - 1, MAX_BATCH, MAX_BATCH + 1, 2000])
def test_all_items_are_in_pieces_of_few_lengths_in_their_order(count):
    pieces = list(batches(range(count)))

    assert [item for piece in pieces for item in piece] == list(range(count))
    assert {len(piece) for piece in pieces} <= {1 << power for power in range(MAX_BATCH.bit_length())}


@pytest.mark.parametrize("count", [0, 1, 2, 3, MAX_BATCH - 1, MAX_BATCH, MAX_BATCH + 1, 2000])
def test_values_that_are_looked_up_are_in_as_few_pieces_as_can_be(count):
    pieces = list(in_batches(range(count)))

    assert {value for piece in pieces for value in piece} == set(range(count))
    assert {len(piece) for piece in pieces} <= {1 << power for power in range(MAX_BATCH.bit_length())}
    assert len(pieces) == -(-count // MAX_BATCH)


def test_a_recorder_asks_in_few_texts_whatever_the_sizes_of_its_batches(ledger):
    known = _texts(ledger, (1, 2, 4, 8, 16, 32))

    assert _texts(ledger, range(1, SOME + 1)) <= known


@pytest.mark.parametrize("count", [1, 3, 700])
def test_rows_that_are_inserted_at_once_are_there_as_they_were_given(ledger, count):
    odd = """a"b'c\\d{e}%s:f\n\u06a9\u0648\U0001f600 """
    rows = [
        {"id": f"in_{n}", "pseudonym": "p" * 22, "application": odd, "gateway": "", "meaning": "stop", "received": n}
        for n in range(count)
    ]
    insertion = ledger.database.insert(inbound).on_conflict_do_nothing()
    with ledger.database.write() as connection:
        insert_rows(connection, insertion, rows[:1])
        inserted = insert_rows(connection, insertion, [*rows, rows[-1]], inbound.c.id)
        found = [dict(row._mapping) for row in connection.execute(select(inbound).order_by(inbound.c.received))]

    assert sorted(inserted) == sorted(row["id"] for row in rows[1:])
    assert found == rows


def _texts(ledger: Ledger, sizes: Iterable[int]) -> set[str]:
    """Record batches of starts with consents, of so many each; return the texts of all statements."""
    texts = set()

    def note(_: object, __: object, statement: str, *___: object) -> None:
        texts.add(statement)

    event.listen(ledger.database.engine, "before_cursor_execute", note)
    for size in sizes:
        ledger.verifications.record(
            [agreed(f"vf_{size}_{one}", number=f"{size:011d}{one:011d}") for one in range(size)]
        )
    event.remove(ledger.database.engine, "before_cursor_execute", note)
    return texts
