"""After its time nothing tells of a number any more, in the clear or as a pseudonym: no key, no row, no file."""

from pathlib import Path

import pytest
from support_caller import Caller
from support_canary import dump
from support_events import record_events
from support_installation import World
from support_keys import DAY
from support_ledger import make_ledger
from support_outbox import deliver_all

from otp_service.bootstrap import Installation, prepare
from otp_service.domain.numbers import parse_destination, subject_key
from otp_service.errors import RateLimitedError
from otp_service.gateways.base import InboundMessage
from otp_service.services.inbound import handle_message
from otp_service.services.periodic_tasks import Purger
from otp_service.services.subjects import erase

CANARY, ANOTHER = "+923451987654", "+923009999999"
LONGEST = 1095 * DAY
"""Seconds for which the longest class of data is kept."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "ledger.db"
    make_ledger(f"sqlite:///{path}")
    return path


@pytest.fixture
def installation(still_world: World, file: Path) -> Installation:
    made = still_world.install(ledger={"url": f"sqlite:///{file}"}, guard={"modes": {}})
    prepare(made)
    return made


def _fly(shop: Caller, to: str) -> None:
    """Leave whatever a number can leave, but a consent: its last word stays."""
    context = shop.context
    one = shop.start(to, context="device-4711", client_ip="203.0.113.77")
    deliver_all(context)
    shop.check(one, shop.wrong(one))
    with pytest.raises(RateLimitedError):
        shop.start(to, client_ip="203.0.113.77")
    shop.check(one, shop.code(one))
    for text in ("STOP", "START"):
        handle_message(context, "sandbox", InboundMessage(f"from {to} {text}", to, text))
    record_events(context)
    erase(context, subject_key(context.keyring, parse_destination(to, None)), None)


def test_after_its_time_nothing_tells_of_a_number(installation: Installation, still_world: World, file: Path):
    shop = Caller(installation)
    pseudonym = shop.context.keyring.pseudonym(CANARY)
    _fly(shop, CANARY)

    def traces() -> set[str]:
        files = b"".join(path.read_bytes() for path in file.parent.iterdir())
        found = {"redis": dump(still_world.client), "ledger": files}
        return {where for where, text in found.items() if pseudonym.encode() in text or CANARY[-7:].encode() in text}

    assert traces() == {"redis", "ledger"}
    still_world.advance(LONGEST + 2 * DAY)
    _fly(shop, ANOTHER)
    Purger(shop.context, installation.settings.retention.days, lambda: False).purge_now()
    shop.context.store.events.trim()
    shop.context.ledger.database.close()

    assert traces() == set()
