"""How workers share the buckets: evenly, none left out; and whoever takes over does so within seconds."""

from collections import Counter

import pytest
from support_caller import Caller
from support_frozen import FrozenValkey
from support_outbox import jobs_of, waiting

from otp_service.errors import StoreUnavailableError
from otp_service.store import keys
from otp_service.store.events import EventLog
from otp_service.store.leases import BucketShare
from otp_service.store.script_runner import ScriptRunner
from otp_service.store.streams import StreamLimits

LIFE = 3
"""Seconds that a lease is valid."""


def _buckets(count: int) -> tuple[str, ...]:
    return tuple(f"{bucket:02x}" for bucket in range(count))


def _shares(frozen: FrozenValkey, workers: int, buckets: int = 256) -> list[BucketShare]:
    """Return the shares of some workers, after all have learned of each other."""
    scripts = ScriptRunner(frozen.client)
    shares = [BucketShare(scripts, "deliver", _buckets(buckets)) for _ in range(workers)]
    for _ in range(3):
        _renew(shares)
    return shares


def _renew(shares: list[BucketShare]) -> None:
    for place, share in enumerate(shares):
        share.renew(f"worker-{place:03}")


def _served(shares: list[BucketShare]) -> Counter[str]:
    return Counter(bucket for share in shares for bucket in share.buckets)


@pytest.mark.parametrize("workers", [1, 2, 3, 7, 10, 63, 64])
def test_each_bucket_has_one_worker_and_all_have_as_many(frozen: FrozenValkey, workers: int) -> None:
    shares = _shares(frozen, workers)
    sizes = [len(share.buckets) for share in shares]

    assert _served(shares) == Counter(_buckets(256))
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(("workers", "buckets"), [(5, 16), (16, 16), (40, 16), (3, 8), (100, 256)])
def test_where_there_are_few_buckets_several_workers_have_the_same_ones_evenly(
    frozen: FrozenValkey, workers: int, buckets: int
) -> None:
    shares = _shares(frozen, workers, buckets)
    served = _served(shares)

    assert {len(share.buckets) for share in shares} == {4}
    assert set(served) == set(_buckets(buckets))
    assert max(served.values()) - min(served.values()) <= 1


@pytest.mark.parametrize("buckets", [1, 2, 4])
def test_where_there_are_very_few_everybody_serves_all_and_asks_nothing(frozen: FrozenValkey, buckets: int) -> None:
    shares = _shares(frozen, 3, buckets)

    assert all(share.buckets == _buckets(buckets) for share in shares)
    assert not frozen.client.exists(keys.leases("deliver"))


def test_one_that_renewed_nothing_serves_all(frozen: FrozenValkey) -> None:
    assert BucketShare(ScriptRunner(frozen.client), "deliver", _buckets(256)).buckets == _buckets(256)


def test_duties_are_shared_each_by_itself(frozen: FrozenValkey) -> None:
    _shares(frozen, 4)
    alone = BucketShare(ScriptRunner(frozen.client), "record", _buckets(256))
    alone.renew("worker-000")

    assert alone.buckets == _buckets(256)


def test_whoever_comes_leaves_no_bucket_without_a_worker(frozen: FrozenValkey) -> None:
    shares = _shares(frozen, 3)
    shares.append(BucketShare(ScriptRunner(frozen.client), "deliver", _buckets(256)))
    for place in (3, 1, 0, 2, 0, 3, 2, 1, 3, 2, 1, 0):
        shares[place].renew(f"worker-{place:03}")
        assert set(_served(shares)) == set(_buckets(256))

    assert _served(shares) == Counter(_buckets(256))
    assert [len(share.buckets) for share in shares] == [64] * 4


def test_what_a_dead_worker_served_has_others_when_its_lease_is_over(frozen: FrozenValkey) -> None:
    *alive, _ = _shares(frozen, 4)
    frozen.advance(LIFE - 0.1)
    _renew(alive)
    missing = set(_buckets(256)) - set(_served(alive))
    frozen.advance(0.1)
    for _ in range(2):
        _renew(alive)

    assert len(missing) == 64
    assert _served(alive) == Counter(_buckets(256))


def test_what_a_worker_gives_back_has_others_at_their_next_renewal(frozen: FrozenValkey) -> None:
    *others, going = _shares(frozen, 4)
    going.release("worker-003")
    _renew(others)

    assert set(_served(others)) == set(_buckets(256))
    assert len(going.buckets) == 64, "it serves its own until it ends"


def test_where_nobody_answers_a_share_stays(frozen: FrozenValkey, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(*_: object) -> None:
        raise StoreUnavailableError("silent")

    first, *_ = _shares(frozen, 4)
    monkeypatch.setattr(ScriptRunner, "run", silent)
    first.renew("worker-000")
    first.release("worker-000")

    assert len(first.buckets) == 64


def test_a_worker_takes_the_messages_of_its_share_and_what_the_dead_left_there(frozen: FrozenValkey) -> None:
    shop = Caller(frozen.world().install(keys={"buckets": 256}, limits={"application": [], "ip": []}))
    outbox = shop.context.store.outbox
    for place in range(40):
        shop.start(f"+9230{place:04}4567")
    jobs = jobs_of(shop.context, "dead")[:20]
    outbox.requeue_job("dead", jobs)  # the others are still in work
    for place in range(40, 80):
        shop.start(f"+9230{place:04}4567")
    outbox.share.renew("a")
    BucketShare(ScriptRunner(frozen.client), "deliver", _buckets(256)).renew("b")
    for _ in range(2):
        outbox.share.renew("a")
    taken = outbox.take("a", 100)
    claimed = [job for _ in range(8) for job in outbox.claim("a", 100, 1000)]  # on a cluster 16 buckets a call

    assert 0 < len(taken) < 40
    assert {job.bucket for job in taken + claimed} <= set(outbox.share.buckets) == set(_buckets(128))
    assert {job.id for job in claimed} == {job.id for job in jobs if job.bucket in _buckets(128)}
    assert waiting(frozen.client) == 80, "nobody else's are touched"


def test_a_recorder_takes_the_events_of_its_share_and_keeps_what_it_has(frozen: FrozenValkey) -> None:
    log = EventLog(frozen.client, ScriptRunner(frozen.client), StreamLimits(86_400, 100, 100), _buckets(256))
    first, last = _buckets(256)[0], _buckets(256)[-1]
    frozen.client.xadd(keys.events(last), {"type": "check.failed", "id": "vf_1"})
    taken = log.take("a", 10)
    log.share.renew("a")
    BucketShare(ScriptRunner(frozen.client), "record", _buckets(256)).renew("b")
    for _ in range(2):
        log.share.renew("a")
    for bucket in (first, last):
        frozen.client.xadd(keys.events(bucket), {"type": "check.failed", "id": "vf_2"})
    again = log.take("a", 10)

    assert [batch.bucket for batch in taken] == [last]
    assert [batch.bucket for batch in again] == [first]
    assert sorted(batch.bucket for batch in log.held("a", 10, {})) == [first, last]
    assert log.unrecorded() == 3
