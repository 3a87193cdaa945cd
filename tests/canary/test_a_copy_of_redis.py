"""What a copy of Redis and of the ledger tells, without the keys, of a number whose block is known: no digit more."""

import re
import secrets
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from sqlalchemy import select
from support_caller import PAYMENT, Caller
from support_events import record_events
from support_installation import World, tree
from support_ledger import make_ledger
from support_outbox import Scripted, Sender, refused, timed_out
from support_records import record_of

from otp_service.bootstrap import Installation, prepare
from otp_service.domain.consents import ConsentEvidence, SuppressionSource
from otp_service.domain.messages import Message
from otp_service.domain.numbers import parse_destination, subject_key
from otp_service.domain.verification import DeliveryStatus
from otp_service.errors import RateLimitedError
from otp_service.gateways.base import Accepted, InboundMessage, Receipt
from otp_service.ledger.database import Database
from otp_service.ledger.schema import METADATA
from otp_service.services.inbound import handle_message
from otp_service.services.receipts import record_receipt
from otp_service.services.subjects import freeze
from otp_service.store import keys

BLOCK = "+92345198"
FLIGHTS = 12
"""Numbers of the block: that a value has three digits of each by chance, twelve times, is out of the question."""
MESSAGES = 9
"""To a number: six of them are sent before the rest is used up."""
CONSENT = ConsentEvidence("2026-11", "9f" * 32, "ur-PK", "web", 1_700_000_000_000, "checkout")
ROUTE = ("first", "second", "third")

SPELLINGS = ("92{0}{1}{2}", "0{0}-{1}-{2}:1", "id/{0}.{1}.{2}")
"""Of a number, by gateways: the first of its digits, the next three, the last four."""
SHOP = tree("redis://localhost")["applications"]["shop"]
_UNIQUE = re.compile(r"[\w-]{22,}|(?<=[dnpr])\d+(\.\d+)?$")
"""What is different each time in the name of a key or a field."""

Slots = dict[str, str]
"""What is stored, by where: the shape of the key and the field, or table and column."""


class Talkative(Scripted):
    """A gateway that names its messages by whom they are for, in a spelling of its own."""

    def __init__(self, spelling: str) -> None:
        super().__init__()
        self.spelling = spelling

    def send(self, message: Message) -> Accepted:
        super().send(message)
        return Accepted(_spelt(self.spelling, message.to))


def _spelt(spelling: str, e164: str) -> str:
    return spelling.format(e164[3:6], e164[6:9], e164[9:])


def _fly(installation: Installation, to: str) -> None:
    """Leave whatever a number can leave, and have gateways repeat it in whatever they may say."""
    context, shop = installation.context, Caller(installation)
    members = {"client_ip": "203.0.113.77", "context": "device-4711"}
    for spelling in SPELLINGS:
        words = _spelt(spelling, to)
        one = shop.start(to, shop.retry(spelling[:2], "start", to), consent=CONSENT, **members)
        last = Talkative(spelling)
        failing = Scripted(refused("unavailable", words)), Scripted(timed_out())
        Sender(shop, **dict(zip(ROUTE, (*failing, last), strict=True))).deliver()
        (message,) = last.sent
        record_receipt(context, "third", message.dispatch_id, Receipt(DeliveryStatus.UNKNOWN, words, words))
        shop.check(one, shop.wrong(one))
        shop.check(one, shop.code(one))
    lost = shop.start(to, **members)
    Sender(shop, first=Scripted(refused("destination", words))).deliver()
    shop.cancel(shop.start(to, purpose="payment", transaction=PAYMENT, **members))
    shop.resend(lost)
    *_, waiting = (shop.start(to, **members) for _ in range(MESSAGES - 6))
    with pytest.raises(RateLimitedError):
        shop.start(to, **members)
    handle_message(context, "third", InboundMessage(f"wish of {to}", to, f"write to {words} no more, I am {to}"))
    handle_message(context, "third", InboundMessage(f"from {to}", to, "STOP"))
    freeze(
        context, subject_key(context.keyring, parse_destination(to, None)), "shop", SuppressionSource.API, "lost phone"
    )
    record_events(context)

    assert shop.read(waiting).verification.status == "canceled"
    assert {shop.read(each).mask for each in (one, lost, waiting)} == {f"+92 ••• ••••{to[-3:]}"}, "answers show it"


def _stored(client: redis.Redis, database: Database) -> Iterator[tuple[str, str]]:
    """Yield all that is stored, each with where: the shape of its key and its field, or its table and column."""
    for key in map(bytes.decode, client.scan_iter()):
        shape = _UNIQUE.sub("*", key)
        yield shape, key
        for field, value in _members(client, key):
            yield f"{shape} {_UNIQUE.sub('*', field)}", value.decode(errors="replace")
    with database.read() as connection:
        for table in METADATA.sorted_tables:
            for row in connection.execute(select(table)).mappings():
                yield from ((f"{table}.{column}", str(value)) for column, value in row.items())


def _members(client: redis.Redis, key: str) -> Iterator[tuple[str, bytes]]:
    match client.type(key):
        case b"hash":
            yield from ((name.decode(), value) for name, value in client.hgetall(key).items())
        case b"stream":
            yield from ((name.decode(), value) for _, one in client.xrange(key) for name, value in one.items())
        case b"list":
            yield from (("", value) for value in client.lrange(key, 0, -1))
        case b"set":
            yield from (("", value) for value in client.smembers(key))
        case b"zset":
            yield from (("", value) for value in client.zrange(key, 0, -1))
        case b"string":
            yield "", client.get(key) or b""


@pytest.fixture
def in_flight(world: World, tmp_path: Path) -> dict[str, Slots]:
    """Return what each number left, in a Redis and a ledger of its own."""
    found = {}
    for last in secrets.SystemRandom().sample(range(1000, 10_000), FLIGHTS):
        to, url = f"{BLOCK}{last}", f"sqlite:///{tmp_path / str(last)}.db"
        world.client.flushdb()
        make_ledger(url)
        installation = world.install(
            ledger={"url": url},
            limits={"number": [f"{MESSAGES}/hour"]},
            purposes={"login": {"resend_delays": [0]}},
            applications={"shop": {**SHOP, "consent": "recorded"}},
            gateways={name: {"kind": "sandbox"} for name in ROUTE},
            routes=[{"gateways": list(ROUTE)}],
            breaker={"bad_in_a_row": 1000, "min_calls": 100_000},
        )
        prepare(installation)
        _fly(installation, to)
        slots = defaultdict(str)
        for where, value in _stored(world.client, installation.context.ledger.database):
            slots[where] += f"{value}\n"
        found[to] = dict(slots)
    return found


def test_no_value_has_the_last_digits_of_the_number(in_flight: dict[str, Slots]) -> None:
    """Whoever has a number in the block knows the block's name, and so all other digits."""
    places = {where for slots in in_flight.values() for where in slots}
    telling = {
        where
        for where in places
        if all(re.search(_digits(to[-3:]), slots.get(where, "")) for to, slots in in_flight.items())
    }

    assert len(places) > 150
    assert telling == set()


def _digits(wanted: str) -> str:
    """Return a pattern of digits that signs may stand between."""
    return r"[ ._:/+-]?".join(wanted)


@pytest.mark.parametrize(("short", "long"), [("+436601234567", "+4366012345678")])
def test_no_value_is_as_long_as_the_number(world: World, short: str, long: str) -> None:
    """In countries whose numbers are of several lengths, a length leaves few of a block."""
    installation = world.install(applications={"shop": {**SHOP, "countries": ["AT"], "region": "AT"}})
    prepare(installation)
    shop = Caller(installation)
    records = [record_of(world.client, keys.record("00", shop.start(to))) for to in (short, long)]

    first, second = ({name: len(value) for name, value in record.items()} for record in records)
    assert first == second


def test_two_masks_of_one_number_have_nothing_in_common(world: World) -> None:
    """Otherwise whoever can verify numbers of his own finds those that end alike."""
    installation = world.install()
    prepare(installation)
    shop = Caller(installation)
    first, second = (record_of(world.client, keys.record("00", shop.start()))["mask"] for _ in range(2))

    assert len(first) == len(second)
    assert not set(_quads(first)) & set(_quads(second))


def _quads(sealed: bytes) -> Iterator[bytes]:
    yield from (sealed[place : place + 4] for place in range(len(sealed) - 3))
