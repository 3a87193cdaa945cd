"""Verifications and messages of the release before, and of this one: processes of both serve each other's."""

from contextlib import nullcontext
from typing import Any

import pytest
from support_caller import Caller
from support_frozen import FrozenValkey
from support_guard import ADDRESS, number, spent
from support_installation import tree
from support_outbox import Scripted, Sender, events, forget_queues, jobs_of, story, timed_out
from support_records import entries_of, record_of

from otp_service.domain.numbers import parse_destination, subject_key
from otp_service.errors import RateLimitedError
from otp_service.store import keys


@pytest.fixture(params=[(1, 2), (2, 1)], ids=["1-then-2", "2-then-1"])
def releases(request: pytest.FixtureRequest, frozen: FrozenValkey) -> tuple[Caller, Caller]:
    """Two callers of one store, who write different formats; every rule holds, money is counted."""
    shared: dict[str, Any] = tree(frozen.url)
    own, world = shared["applications"]["shop"], frozen.world()
    prices = {name: {"kind": "sandbox", "prices": {"*": "1"}} for name in ("sandbox", "first", "second")}
    one, other = (
        Caller(
            world.install(
                redis={"url": frozen.url, "write_format": write_format},
                guard={"modes": {}},
                gateways=prices,
                routes=[{"gateways": ["first", "second"]}],
                purposes={"renewed": {"resend": "new_code"}},
                applications={"shop": {**own, "purposes": ["login", "renewed"], "spend": {"day": "100"}}},
                ledger=shared["ledger"],
                keys=shared["keys"],
            )
        )
        for write_format in request.param
    )
    return one, other


@pytest.fixture
def shop(releases: tuple[Caller, Caller]) -> Caller:
    """Who goes on with what was started under the other format."""
    return releases[1]


@pytest.fixture
def begun(releases: tuple[Caller, Caller]) -> str:
    """A verification that was started under the other format."""
    return releases[0].start(number(1), client_ip=ADDRESS, context="own phone")


def test_each_writes_its_own_form(frozen: FrozenValkey, releases: tuple[Caller, Caller]) -> None:
    begun = [caller.start(number(i)) for i, caller in enumerate(releases, 1)]
    packed, fields = sorted((frozen.client.hgetall(keys.record("00", one)) for one in begun), key=len)
    entries: Any = frozen.client.xrange(keys.events("00"))

    assert packed.keys() >= {b"f", b"s", b"d1.1"}
    assert fields.keys() >= {b"v", b"status", b"application", b"created", b"checks", b"max_checks", b"details"}
    assert len(fields[b"tag"]) == 43, "the release before compares all of it"
    kept = sorted(len(record_of(frozen.client, keys.record("00", one))["tag"]) for one in begun)
    assert kept == [21, 43], "126 bits, which is more than a guess needs to be hopeless"
    assert sorted(len(values) > 1 for _, values in entries) == [False, True]


@pytest.mark.parametrize(("write_format", "counted"), [(1, 0), (2, 1)])
def test_messages_to_known_devices_count_once_every_process_reads_them(
    frozen: FrozenValkey, write_format: int, counted: int
) -> None:
    """The release before would take their number for a part of that of wrong codes."""
    shop = Caller(frozen.world().install(redis={"url": frozen.url, "write_format": write_format}))
    for _ in range(2):
        begun = shop.start(number(1), context="own phone")
        assert shop.check(begun, shop.code(begun))[1]
        forget_queues(frozen.client)
        frozen.advance(700)
    subject = subject_key(shop.context.keyring, parse_destination(number(1), None))
    _, own = shop.context.store.guard.counters(subject, ["shop"])

    assert len(own["shop"].messages) == counted


@pytest.mark.parametrize(("write_format", "refused"), [(1, True), (2, False)])
def test_known_devices_have_a_share_once_every_process_counts_it(
    frozen: FrozenValkey, write_format: int, refused: bool
) -> None:
    redis = {"url": frozen.url, "write_format": write_format}
    installation = frozen.world().install(redis=redis, limits={"number": ["5/day"]}, guard={"modes": {}})
    shop, bank = Caller(installation), Caller(installation, "bank")
    for caller in (shop, bank):
        begun = caller.start(number(1), context="own phone")
        assert caller.check(begun, caller.code(begun))[1]
    for _ in range(3):
        forget_queues(frozen.client)
        frozen.advance(700)
        bank.start(number(1), context="own phone")
    forget_queues(frozen.client)
    frozen.advance(700)

    with pytest.raises(RateLimitedError) if refused else nullcontext():
        shop.start(number(1), context="own phone")


def test_it_is_delivered_and_fails_over(shop: Caller, begun: str) -> None:
    sender = Sender(shop, first=Scripted(timed_out()), second=Scripted())
    sender.deliver()

    assert [each[2:4] for each in story(shop, begun)] == [("first", "unknown"), ("second", "sent")]
    assert spent(shop) == {"day": 2}, "the first may have cost something"


def test_codes_count_and_the_right_one_is_approved_once(releases: tuple[Caller, Caller], begun: str) -> None:
    one, other = releases
    assert other.check(begun, other.wrong(begun))[2:] == (4, "wrong_code")
    assert one.check(begun, one.wrong(begun))[2:] == (3, "wrong_code")
    assert other.check(begun, other.code(begun))[:2] == ("approved", True)
    assert one.check(begun, one.code(begun))[3] == "already_approved"


def test_a_number_that_was_a_field_is_read_and_goes_at_the_end(frozen: FrozenValkey) -> None:
    shop = Caller(frozen.world().install())
    one = shop.start(number(1))
    key = keys.record("00", one)
    state, sealed = frozen.client.hget(key, "s"), record_of(frozen.client, key)["destination"]
    frozen.client.hset(key, mapping={"s": state.removesuffix(sealed), "to": sealed})  # as an earlier release had it
    sender = Sender(shop, sandbox=Scripted())
    sender.deliver()

    assert sender.sent() == ["sandbox"]
    assert shop.check(one, shop.code(one))[1]
    assert sealed not in frozen.client.hgetall(key).values()
    assert record_of(frozen.client, key)["destination"] == b""


def test_it_is_resent_with_another_code(frozen: FrozenValkey, releases: tuple[Caller, Caller]) -> None:
    one, other = releases
    begun = one.start(number(1), purpose="renewed")
    first = one.code(begun)
    frozen.advance(30)
    assert other.resend(begun).verification.sends == 2
    second = one.code(begun)

    assert first != second
    assert one.check(begun, first)[3] == "wrong_code"
    assert one.check(begun, second)[1]


def test_it_is_canceled_and_its_message_dropped(shop: Caller, begun: str) -> None:
    assert shop.cancel(begun).verification.status == "canceled"
    sender = Sender(shop, first=Scripted(), second=Scripted())
    sender.deliver()

    assert sender.sent() == []


def test_what_is_read_is_the_same(releases: tuple[Caller, Caller], begun: str) -> None:
    one, other = (caller.read(begun) for caller in releases)

    assert one == other
    assert (one.verification.purpose.max_checks, one.verification.locale) == (5, "en")


def test_jobs_and_events_say_the_same(frozen: FrozenValkey, releases: tuple[Caller, Caller]) -> None:
    for i, caller in enumerate(releases, 1):
        caller.start(number(i), client_ip=ADDRESS)
    first, second = (set(one) for one in entries_of(frozen.client, keys.events("00")))
    job, next_job = (one.fields[::2] for one in jobs_of(releases[1].context))

    assert first == second
    assert job == next_job
    assert events(frozen.client) == ["verification.started"] * 2
