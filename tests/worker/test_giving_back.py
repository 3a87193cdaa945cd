"""A recorder gives back to the guard what approvals were counted for, whatever is away and whoever dies meanwhile."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support_caller import Caller
from support_events import recorders
from support_guard import PERMISSIVE, modes, number, passed, passes
from support_installation import World
from support_records import record_of
from support_service import eventually

from otp_service.errors import LedgerUnavailableError, StoreUnavailableError
from otp_service.ledger.verifications import VerificationLedger
from otp_service.services.events import roll_back
from otp_service.store import keys
from otp_service.store.verifications import Verifications
from otp_service.worker.recorder import Recorder

AMOUNT = 20


@pytest.fixture
def shop(world: World) -> Caller:
    guard = {"modes": modes("block.unapproved"), "block": {"unapproved": [f"{AMOUNT}/day"]}}
    return Caller(world.install(guard=guard, limits=PERMISSIVE))


@pytest.fixture
def run(shop: Caller) -> Iterator[Callable[..., Recorder]]:
    """Starts a recorder, which may claim at once what others left."""
    with recorders(shop.context) as start:
        yield start


def _away(*_: Any) -> None:
    raise LedgerUnavailableError("away")


def _come_in(shop: Caller, last: int) -> str:
    one = shop.start(number(last))
    assert shop.check(one, shop.code(one))[1]
    return one


def _given_back(shop: Caller, *ones: str) -> bool:
    """Tell whether verifications were given back: their records no longer say what they were counted for."""
    client = shop.context.store.events._client
    return not any(record_of(client, keys.record("00", one)).get("guard") for one in ones)


def _recorded(shop: Caller) -> bool:
    return shop.context.store.events.unrecorded() == 0


def test_what_was_approved_is_given_back_while_the_database_is_away(
    shop: Caller, run: Callable[..., Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also what comes after the events that wait for it; and then all of it is recorded."""
    monkeypatch.setattr(VerificationLedger, "record", _away)
    first = _come_in(shop, 1)
    run()
    assert eventually(lambda: _given_back(shop, first))
    later = [_come_in(shop, last) for last in range(2, 6)]
    assert eventually(lambda: _given_back(shop, *later))
    assert not _recorded(shop)
    monkeypatch.undo()

    assert eventually(lambda: _recorded(shop), 10), "it need not be claimed, which takes longer"
    held = shop.context.ledger.subjects.export(shop.context.keyring.pseudonym(number(5)), "shop")
    assert [past.status for past in held.verifications] == ["approved"]
    assert passed(shop, number(9), 99) == AMOUNT + 5


@pytest.mark.parametrize("gave_back", [False, True])
def test_a_recorder_that_dies_with_an_approval_leaves_it_to_another_and_it_is_given_back_once(
    shop: Caller, run: Callable[..., Recorder], *, gave_back: bool
) -> None:
    assert passes(shop, number(8))
    one = _come_in(shop, 1)
    for batch in shop.context.store.events.take("one that dies", 100):
        if gave_back:
            roll_back(shop.context, batch)
    run(claims=True)

    assert eventually(lambda: _recorded(shop))
    assert _given_back(shop, one)
    assert passed(shop, number(9), 99) == AMOUNT


def test_an_approval_waits_for_redis_and_is_recorded_after_it_was_given_back(
    shop: Caller, run: Callable[..., Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    give, told = Verifications.roll_back, []

    def broken(*arguments: Any) -> int:
        told.append(shop.context.store.events.unrecorded())
        if len(told) == 1:
            raise StoreUnavailableError("away")
        return give(*arguments)

    monkeypatch.setattr(Verifications, "roll_back", broken)
    one = _come_in(shop, 1)
    run()

    assert eventually(lambda: _given_back(shop, one))
    assert eventually(lambda: _recorded(shop))
    assert told[:2] == [2, 2], "the start and the approval were not recorded before"
