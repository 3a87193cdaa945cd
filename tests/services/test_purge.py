"""A purge takes turns, ends when it is asked to, trusts no clock alone, and lets the mirror forget too."""

from collections.abc import Iterator
from typing import Any

import pytest
import time_machine
from sqlalchemy import insert, select
from support_frozen import FrozenValkey
from support_installation import NUMBER, World
from support_keys import DAY
from support_ledger_events import EVIDENCE

from otp_service.bootstrap import Installation, prepare
from otp_service.domain.consents import Suppression, SuppressionScope, SuppressionSource
from otp_service.domain.numbers import SubjectKey, parse_destination, subject_key
from otp_service.ledger import retention, schema
from otp_service.services.consents import add_suppressions, end_consent, give_consent
from otp_service.services.periodic_tasks import Purger
from otp_service.store import keys

OTHER = "+923009999999"
THREE_YEARS = 1096 * DAY
OPEN = {"purposes": ["login"], "countries": ["PK"], "client_ip": "none", "consent": "recorded"}


@pytest.fixture
def installation(still_world: World, ledger_url: str) -> Iterator[Installation]:
    made = still_world.install(
        ledger={"url": ledger_url}, purposes={"login": {}}, applications={"shop": OPEN, "bank": OPEN}
    )
    prepare(made)
    yield made
    made.context.ledger.database.close()


def purging(installation: Installation, rest: Any = lambda: False) -> Purger:
    return Purger(installation.context, installation.settings.retention.days, rest)


def stop_for_a_day(installation: Installation) -> str:
    """Leave a suppression that ends; return the number's key in the mirror."""
    to, until = _named(installation), installation.context.store.decisions.now() + 1000 * DAY
    add_suppressions(installation.context, (_suppression(to.pseudonym, until=until),))
    return keys.mirrored("00", to.pseudonym)


def agree_and_stop(installation: Installation) -> str:
    """Leave a consent that was withdrawn, and a suppression that holds; return the number's key in the mirror."""
    context, to = installation.context, _named(installation, OTHER)
    give_consent(context, context.applications["shop"], to, "login", EVIDENCE)
    end_consent(context, context.applications["shop"], to, "login")
    add_suppressions(context, (_suppression(to.pseudonym),))
    return keys.mirrored("00", to.pseudonym)


def _named(installation: Installation, number: str = NUMBER) -> SubjectKey:
    return subject_key(installation.context.keyring, parse_destination(number, None))


def _suppression(pseudonym: str, **members: Any) -> Suppression:
    return Suppression(pseudonym, "shop", SuppressionScope.ALL, SuppressionSource.OPERATOR, **members)


def wrote(installation: Installation, *names: str, at: int = 1) -> None:
    row = {"pseudonym": "somebody", "application": "shop", "gateway": "sandbox", "meaning": "stop", "received": at}
    with installation.context.ledger.database.write() as connection:
        connection.execute(insert(schema.inbound), [{**row, "id": name} for name in names])


def written(installation: Installation) -> set[str]:
    with installation.context.ledger.database.read() as connection:
        return set(connection.execute(select(schema.inbound.c.id)).scalars())


def test_the_mirror_forgets_what_has_ended_by_itself_and_nothing_that_holds(
    still_world: World, installation: Installation
) -> None:
    client = still_world.client
    ended, holds = stop_for_a_day(installation), agree_and_stop(installation)
    assert (client.pttl(ended), client.pttl(holds)) == (2000 * DAY, -1)
    before, place = client.hgetall(holds), client.hgetall(keys.mirror("00"))
    assert any(value.startswith(b"withdrawn|") for value in before.values())
    still_world.advance(DAY + THREE_YEARS)
    gone = purging(installation).purge_now()

    assert (gone["consents"], gone["suppressions"]) == (1, 1)
    assert not client.exists(ended)
    assert client.hgetall(holds) == before
    assert client.hgetall(keys.mirror("00")) == place


def test_several_processes_purge_once_an_hour_together(still_world: World, installation: Installation) -> None:
    one, other = purging(installation), purging(installation)
    wrote(installation, "first")
    one.purge_if_due()
    assert written(installation) == set()
    wrote(installation, "second")
    for process in (one, other):
        process.purge_if_due()
    assert written(installation) == {"second"}
    still_world.advance(3600)
    other.purge_if_due()

    assert written(installation) == set()


def test_by_hand_it_need_not_be_due(installation: Installation) -> None:
    purging(installation).purge_if_due()
    wrote(installation, "old")

    assert purging(installation).purge_now() == {
        "traffic": 0, "stats": 0, "consents": 0, "suppressions": 0, "inbound": 1, "webhooks": 0, "factors": 0,
        "access": 0, "accountability": 0, "audit": 0,
    }  # fmt: skip


def test_it_ends_after_the_batch_in_which_it_is_asked_to(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "DELETE_BATCH", 1)
    wrote(installation, "a", "b", "c")
    asked = iter([*[False] * 7, True])  # one for each rule of the classes before, then the first message
    purging(installation, lambda: next(asked)).purge_if_due()

    assert len(written(installation)) == 2


@pytest.mark.parametrize(("host", "redis"), [(THREE_YEARS, 0), (0, THREE_YEARS)])
def test_a_clock_that_is_years_ahead_deletes_nothing(
    installation: Installation, frozen: FrozenValkey, host: int, redis: int
) -> None:
    now = frozen.now
    wrote(installation, "young", at=now)
    frozen.advance(redis)
    with time_machine.travel(now / 1000 + host, tick=False):
        purging(installation).purge_if_due()

    assert written(installation) == {"young"}
