"""The event stream on its way into the ledger: nothing is lost, and nothing goes before it is recorded."""

import pytest
from support_installation import World

from otp_service.store import keys
from otp_service.store.events import EventLog
from otp_service.store.script_runner import ScriptRunner
from otp_service.store.streams import StreamLimits

BUCKETS = ("00", "01")
DAY = 86_400


@pytest.fixture
def log(world: World) -> EventLog:
    return EventLog(world.client, ScriptRunner(world.client), StreamLimits(age=7 * DAY, outbox=100, events=10), BUCKETS)


def tell(world, count, bucket="00", first=0):
    return [world.client.xadd(keys.events(bucket), {"type": "check.failed", "id": f"vf_{i}"}).decode()
            for i in range(first, first + count)]  # fmt: skip


def names(taken):
    return [entry for one in taken for entry in one.entries]


def left(world, bucket="00"):
    return [entry.decode() for entry, _ in world.client.xrange(keys.events(bucket))]


def test_what_happened_in_all_buckets_is_taken_once(world, log):
    told = tell(world, 3) + tell(world, 2, "01")

    assert sorted(names(log.take("one", 10))) == sorted(told)
    assert log.take("two", 10) == []
    assert log.unrecorded() == 5


def test_an_event_has_a_name_of_its_own_and_keeps_what_it_says(world, log):
    (entry,) = tell(world, 1)
    ((one,),) = [taken.events for taken in log.take("one", 10)]

    assert one.id.startswith(f"00:{entry}:")
    assert (one.type, one.member("id")) == ("check.failed", "vf_0")
    assert one.at == int(entry.partition("-")[0])


def test_an_event_is_known_again_and_is_no_other_that_got_its_place(world, log):
    """After a fail-over to a server that lacked it, or a clock that went back."""
    told = []
    for kind in ("check.failed", "verification.approved"):
        world.client.delete(keys.events("00"))
        world.client.xadd(keys.events("00"), {"type": kind, "id": "vf_0"}, id="5-1")
        told += [[one.events[0].id for one in taken] for taken in (log.take("one", 1), log.claim("two", 1, 0))]
    first, again, other, _ = told

    assert first == again != other


def test_what_was_told_before_anybody_took_it_is_taken_too(world, log):
    told = tell(world, 3)

    assert names(log.take("one", 2)) == told[:2]
    assert names(log.take("one", 2)) == told[2:]


def test_what_is_acknowledged_is_not_taken_again_and_what_is_not_is_claimed(world, log):
    told = tell(world, 4)
    (first,) = log.take("one", 2)
    log.take("one", 2)
    log.acknowledge(first)

    assert log.claim("two", 10, 60_000) == []
    assert names(log.claim("two", 10, 0)) == told[2:]
    assert log.unrecorded() == 2


@pytest.mark.parametrize("recorded", range(0, 31, 5))
def test_a_stream_that_is_too_long_is_cut_as_far_as_it_is_recorded(world, log, recorded):
    told = tell(world, 30)
    if recorded:
        (taken,) = log.take("one", recorded)
        log.acknowledge(taken)
    log.trim()

    assert left(world) == told[min(recorded, 20) :]


def test_nothing_goes_that_was_taken_and_is_not_recorded(world, log):
    told = tell(world, 30)
    log.take("dead", 5)
    for taken in log.take("one", 25):
        log.acknowledge(taken)
    log.trim()

    assert left(world) == told


def test_what_is_too_old_goes_when_it_is_recorded(world, log):
    old = tell(world, 3)
    world.advance(8 * DAY)
    new = tell(world, 2)
    log.trim()
    assert left(world) == old + new

    for taken in log.take("one", 10):
        log.acknowledge(taken)
    log.trim()
    assert left(world) == new


def test_a_redis_that_lost_everything_is_read_from_its_new_beginning(world, log):
    tell(world, 2)
    log.take("one", 10)
    world.client.flushall()
    told = tell(world, 2)

    assert names(log.take("one", 10)) == told


def test_a_stream_that_nobody_reads_is_not_cut(world, log):
    told = tell(world, 30)
    log.trim()

    assert left(world) == told


def test_a_recorder_that_is_gone_is_forgotten_and_one_that_holds_something_is_not(world, log):
    tell(world, 2)
    (first,) = log.take("gone", 1)
    log.acknowledge(first)
    log.take("holds", 1)
    world.advance(2 * DAY)
    log.take("lives", 1)
    log.forget_recorders()

    consumers = world.client.xinfo_consumers(keys.events("00"), "ledger")
    assert {one["name"] for one in consumers} == {b"holds", b"lives"}
