"""What a thief of the Redis data learns: no number, no code, no payment, no address."""

import base64
import hashlib
import re
from collections.abc import Iterator

import pytest
import redis
from support_caller import Caller
from support_frozen import FrozenValkey
from support_outbox import POLICY, jobs_of
from support_records import change_record, record_of

from otp_service.bootstrap import Installation
from otp_service.domain.payments import Transaction
from otp_service.errors import OtpServiceError
from otp_service.services.delivery import deliver
from otp_service.store import keys

NUMBER = "+923337185294"
OTHER = "+923337185206"
ADDRESS = "203.0.113.77"
TRANSACTION = Transaction("918273.45", "PKR", "Quaid Kiryana", account="7391", reference="INV-20418")
METADATA = {"cart": "canary-metadata-value"}


@pytest.fixture
def installation(frozen: FrozenValkey) -> Installation:
    return frozen.world().install(
        limits={"number": ["100/hour"], "failed_checks": ["100/hour"]},
        purposes={
            "login": {"resend_delays": [0], "resend": "new_code", "code_length": 8},
            "payment": {"kind": "transaction", "code_length": 8, "max_checks": 3},
        },
    )


@pytest.fixture
def shop(installation: Installation) -> Caller:
    return Caller(installation)


def _bytes_of(client: redis.Redis) -> Iterator[bytes]:
    """Yield everything that is stored: names, values and the server's own serialisation."""
    for name in client.scan_iter():
        yield name
        yield client.dump(name) or b""
        yield from _values_of(client, name)


def _values_of(client: redis.Redis, name: bytes) -> Iterator[bytes]:
    match client.type(name):
        case b"hash":
            yield from (part for pair in client.hgetall(name).items() for part in pair)
        case b"list":
            yield from client.lrange(name, 0, -1)
        case b"zset":
            yield from client.zrange(name, 0, -1)
        case b"stream":
            yield from (part for _, fields in client.xrange(name) for pair in fields.items() for part in pair)
        case b"string":
            yield client.get(name)


def _life(installation: Installation, shop: Caller) -> set[str]:
    """Live through everything that touches a person's data; return every code that was sent."""
    codes = set()
    login = shop.start(NUMBER, shop.retry("start", "start", NUMBER), peer_ip=ADDRESS, metadata=METADATA)
    payment = shop.start(NUMBER, purpose="payment", transaction=TRANSACTION, client_ip=ADDRESS)
    codes |= {shop.code(login), shop.code(payment)}
    shop.resend(login)
    codes.add(shop.code(login))
    for job in jobs_of(installation.context):
        deliver(installation.context, job, POLICY)
    for act in (
        lambda: shop.check(login, shop.wrong(login)),
        lambda: shop.check(payment, shop.wrong(payment), TRANSACTION),
        lambda: shop.check(login, shop.code(login), retry=shop.retry("check", shop.code(login))),
        lambda: shop.resend(login),
        lambda: shop.start("+9233371852"),
    ):
        try:
            act()
        except OtpServiceError:
            continue
    return codes


def test_nothing_personal_is_stored_in_the_clear(
    frozen: FrozenValkey, installation: Installation, shop: Caller
) -> None:
    codes = _life(installation, shop)
    stored = list(_bytes_of(frozen.client))
    assert len(codes) == 3
    assert len(stored) > 100
    canaries = {*codes, ADDRESS, "Quaid", "Kiryana", "918273", "7391", "INV-20418", "canary-metadata"}
    canaries |= {NUMBER[-length:] for length in range(7, len(NUMBER) + 1)}
    canaries |= {canary[::-1] for canary in codes} | {code.encode().hex() for code in codes}
    canaries |= {hashlib.sha256(text.encode()).hexdigest() for text in (NUMBER, NUMBER[1:], ADDRESS, *codes)}

    found = {canary for canary in canaries for value in stored if canary.encode() in value}
    assert found - _coincidences(frozen, found) == set()


def _coincidences(frozen: FrozenValkey, found: set[str]) -> set[str]:
    """Return four digits of an account that only appear within a random identifier."""
    return {
        canary
        for canary in found & {"7391"}
        if all(
            re.search(rb"[0-9a-f]*7391[0-9a-f]*", value, re.IGNORECASE)
            for value in _bytes_of(frozen.client)
            if b"7391" in value
        )
    }


def test_a_canceled_or_approved_verification_keeps_not_even_the_sealed_number(
    frozen: FrozenValkey, shop: Caller
) -> None:
    ids = [shop.start(NUMBER) for _ in range(4)]
    shop.check(ids[0], shop.code(ids[0]))
    shop.cancel(ids[1])
    for _ in range(5):
        shop.check(ids[2], shop.wrong(ids[2]))
    frozen.advance(301)
    shop.check(ids[3], "12345678")

    assert [frozen.client.hexists(keys.record("00", one), "destination") for one in ids] == [False] * 4


def test_a_tag_is_not_found_by_hashing_every_code(frozen: FrozenValkey) -> None:
    shop = Caller(frozen.world().install())
    one = shop.start(NUMBER)
    tag = shop.context.keyring.tag(one, "shop", "", shop.code(one))
    stored = record_of(frozen.client, keys.record("00", one))["tag"]
    prefixes = [b"", one.encode(), b"shop", NUMBER.encode()]
    assert stored == tag[:21].encode(), "126 bits of it"
    digests = (hashlib.sha256(prefix + b"%06d" % code).digest() for prefix in prefixes for code in range(1_000_000))
    wanted = _raw(tag)

    assert not any(digest == wanted for digest in digests)


def _raw(tag: str) -> bytes:
    return base64.urlsafe_b64decode(tag + "=")


def test_a_tag_moved_to_another_record_fits_neither(frozen: FrozenValkey, shop: Caller) -> None:
    one, other = shop.start(NUMBER), shop.start(NUMBER)
    codes = {each: shop.code(each) for each in (one, other)}
    records = [keys.record("00", each) for each in (one, other)]
    first, second = (record_of(frozen.client, record)["tag"] for record in records)
    change_record(frozen.client, records[0], tag=second)
    change_record(frozen.client, records[1], tag=first)

    assert [shop.check(at, codes[of])[3] for at in codes for of in codes] == ["wrong_code"] * 4


def test_a_sealed_number_moved_to_another_record_cannot_be_opened(
    frozen: FrozenValkey, installation: Installation, shop: Caller
) -> None:
    """Otherwise whoever can write to Redis could have a victim's code sent to a number of his own."""
    victim, thief = shop.start(NUMBER), shop.start(OTHER)
    sealed = record_of(frozen.client, keys.record("00", thief))["destination"]
    change_record(frozen.client, keys.record("00", victim), destination=sealed)
    for job in jobs_of(installation.context):
        deliver(installation.context, job, POLICY)

    assert installation.context.store.mailbox.messages("shop", victim) == []
    assert shop.read(victim).verification.deliveries[0].reason == "unreadable"
    assert len(installation.context.store.mailbox.messages("shop", thief)) == 1


def test_a_record_moved_to_another_application_opens_for_neither(
    frozen: FrozenValkey, installation: Installation, shop: Caller
) -> None:
    one = shop.start(NUMBER)
    code = shop.code(one)
    change_record(frozen.client, keys.record("00", one), application="bank")

    assert Caller(installation, "bank").check(one, code)[3] == "wrong_code"


@pytest.mark.parametrize(("limit", "most"), [(64, 750), (1024, 500)])
def test_a_plain_record_is_small(frozen: FrozenValkey, limit: int, most: int) -> None:
    """With the server's default limit of a short value, and with the one that the documents recommend."""
    frozen.client.config_set("hash-max-listpack-value", limit)
    shop = Caller(frozen.world().install())
    one = shop.start("+923001234567")
    record = keys.record("00", one)
    size = frozen.client.memory_usage(record)

    assert size <= most
