"""A worker purges by itself, in a thread of its own."""

import contextlib
from collections.abc import Iterator

import pytest
from sqlalchemy import func, insert, select, text
from support_caller import Caller
from support_installation import World
from support_service import eventually
from support_worker import Journal, working

from otp_service.bootstrap import Installation, prepare
from otp_service.ledger import schema
from otp_service.ledger.database import POSTGRESQL
from otp_service.worker import worker


@pytest.fixture
def installation(real_world: World, ledger_url: str) -> Iterator[Installation]:
    made = real_world.install(ledger={"url": ledger_url})
    prepare(made)
    with made.context.ledger.database.write() as connection:
        connection.execute(insert(schema.inbound), [_message(place) for place in range(3)])
    yield made
    made.context.ledger.database.close()


def _message(place: int) -> dict[str, object]:
    names = {"pseudonym": "somebody", "application": "shop", "gateway": "sandbox", "meaning": "stop"}
    return {"id": str(place), "received": 1, **names}


def _messages(installation: Installation) -> int:
    with installation.context.ledger.database.read() as connection:
        return int(connection.execute(select(func.count()).select_from(schema.inbound)).scalar_one())


@contextlib.contextmanager
def _locked(installation: Installation) -> Iterator[None]:
    """Hold the lock that the first step of a purge needs."""
    database = installation.context.ledger.database
    with database.write() as connection:
        if database.kind == POSTGRESQL:
            connection.execute(text("LOCK TABLE purges IN EXCLUSIVE MODE"))
        yield


def test_what_was_kept_long_enough_goes_while_messages_are_delivered(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_PURGE_PERIOD", 0.05)
    journal, shop = Journal(), Caller(installation)
    with working(installation, sandbox=journal):
        one = shop.start()
        eventually(lambda: journal.place_of(one) is not None)
        eventually(lambda: not _messages(installation))

    assert installation.context.ledger.purges.latest(schema.INBOUND).rows == 3


def test_messages_are_delivered_while_a_purge_waits_for_the_ledger(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever holds the lock of the whole database holds up nobody who waits for a code."""
    monkeypatch.setattr(worker, "_PURGE_PERIOD", 0.05)
    journal, shop = Journal(), Caller(installation)
    with working(installation, sandbox=journal), _locked(installation):
        started = [shop.start(f"+92300123450{place}") for place in range(5)]
        eventually(lambda: all(journal.place_of(one) is not None for one in started), 4.0)
        assert _messages(installation) == 3
