"""A node group of a cluster is away: it refuses its own numbers and their freezes, and no others."""

from contextlib import suppress
from typing import Any

import pytest
from support_caller import Caller
from support_cluster import Cluster, ClusterNode
from support_guard import PERMISSIVE
from support_installation import key, tree
from support_outbox import deliver_all
from support_sentinel import wait_until

from otp_service import bootstrap
from otp_service.domain.consents import ConsentMode, Suppression, SuppressionScope, SuppressionSource
from otp_service.domain.numbers import SubjectKey, parse_destination, subject_key
from otp_service.domain.verification import Status
from otp_service.errors import FrozenError, OtpServiceError, StoreUnavailableError, SuppressedError
from otp_service.services.consents import add_suppressions
from otp_service.services.health import readiness
from otp_service.services.subjects import freeze, unfreeze
from otp_service.settings import settings_from
from otp_service.store import keys
from otp_service.store.script_runner import ScriptRunner

BUCKETS = 16


@pytest.fixture
def own(cluster: Cluster) -> dict[str, Any]:
    url = cluster.nodes[0].url
    own: dict[str, Any] = tree(
        url,
        redis={"url": url, "replicas": 0},
        keys={"root": f"k1:{key()}", "pseudonym": key(), "buckets": BUCKETS},
        limits={**PERMISSIVE, "number": ["1000/hour"], "application": []},
        ledger={"rebuild_lost_mirror": False},
    )
    own["purposes"]["login"]["resend_delays"] = [0]
    own["applications"]["shop"] |= {"client_ip": "none"}
    return own


def opened(own: dict[str, Any]) -> Caller:
    installation = bootstrap.install(settings_from(own))
    bootstrap.prepare(installation)
    return Caller(installation)


@pytest.fixture
def shop(own: dict[str, Any]) -> Caller:
    return opened(own)


@pytest.fixture
def numbers(shop: Caller) -> dict[str, str]:
    """A number of each bucket."""
    numbers = {subject(shop, to).bucket: to for to in (f"+92300{block:03d}4567" for block in range(400))}
    assert len(numbers) == BUCKETS
    return numbers


def subject(shop: Caller, to: str) -> SubjectKey:
    return subject_key(shop.context.keyring, parse_destination(to, None))


def victim_of(cluster: Cluster) -> tuple[ClusterNode, set[str]]:
    """Return a primary that no gateway's state is on, and its buckets."""
    victim = next(node for node in cluster.nodes if node is not cluster.of(keys.health("sandbox", "sandbox")))
    buckets = {f"{bucket:02x}" for bucket in range(BUCKETS)}
    return victim, {bucket for bucket in buckets if cluster.of(keys.mirror(bucket)) is victim}


def refused(act: Any, numbers: dict[str, str], *errors: type[OtpServiceError]) -> set[str]:
    """Return the buckets whose numbers are refused with an error."""
    buckets = set()
    for bucket, to in numbers.items():
        with suppress(*errors):
            act(to)
            continue
        buckets.add(bucket)
    return buckets


def freeze_it(shop: Caller, to: str) -> None:
    freeze(shop.context, subject(shop, to), "shop", SuppressionSource.API)


def unfreeze_it(shop: Caller, to: str) -> None:
    unfreeze(shop.context, subject(shop, to), "shop", SuppressionSource.API)


def stop(shop: Caller, to: str) -> None:
    entry = Suppression(subject(shop, to).pseudonym, "shop", SuppressionScope.ALL, SuppressionSource.INBOUND)
    add_suppressions(shop.context, [entry])


def test_it_refuses_its_own_numbers_and_their_freezes_alone(
    cluster: Cluster, shop: Caller, own: dict[str, Any], numbers: dict[str, str]
) -> None:
    other = Caller(bootstrap.install(settings_from(own)))
    other.context.mirror_sync.refresh()
    victim, dead = victim_of(cluster)
    living = {bucket: to for bucket, to in numbers.items() if bucket not in dead}
    assert dead
    assert living
    victim.kill()

    assert refused(shop.start, numbers, StoreUnavailableError) == dead
    started = {bucket: shop.start(to) for bucket, to in living.items()}
    assert deliver_all(shop.context) == 2 * len(living)
    assert {shop.read(one).verification.deliveries[0].status for one in started.values()} == {"sent"}
    assert {shop.check(one, shop.code(one))[0] for one in started.values()} == {Status.APPROVED}

    assert refused(lambda to: freeze_it(shop, to), numbers, StoreUnavailableError) == dead
    for process in (shop, other):
        assert refused(process.start, living, FrozenError) == living.keys()
        process.context.mirror_sync.refresh()
        assert refused(process.start, living, FrozenError) == living.keys()
    for to in living.values():
        unfreeze_it(shop, to)
    for process in (shop, other):
        assert refused(process.start, numbers, StoreUnavailableError) == dead
    assert refused(lambda to: stop(shop, to), numbers, StoreUnavailableError) == dead
    assert refused(other.start, living, SuppressedError) == living.keys()
    assert readiness(shop.context).starts

    victim.start()
    wait_until(lambda: all(node.knows(3) for node in cluster.nodes))
    assert refused(shop.start, {bucket: numbers[bucket] for bucket in dead}, OtpServiceError) == dead
    for process in (shop, other):
        process.context.mirror_sync.follow()
    of_dead = {bucket: numbers[bucket] for bucket in dead}
    assert refused(other.start, of_dead, FrozenError) == dead, "a refused freeze was recorded"


def test_a_freeze_waits_for_its_own_bucket_alone_and_others_need_not_know_of_it(
    shop: Caller, numbers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket, to = numbers.popitem()
    waited, run_all = set[str](), ScriptRunner.run_all

    def note(runner: ScriptRunner, calls: Any) -> Any:
        waited.update(keys.tag_of(call.keys[0]) for call in calls if call.name == "mirror_write")
        return run_all(runner, calls)

    monkeypatch.setattr(ScriptRunner, "run_all", note)
    monkeypatch.setattr(type(shop.context.store.mirror), "write_nowait", lambda *_: None)
    freeze_it(shop, to)

    assert waited == {bucket}
    with pytest.raises(FrozenError):
        shop.start(to)
    for other in numbers.values():
        assert shop.start(other)


def test_other_buckets_follow_a_freeze(shop: Caller, numbers: dict[str, str]) -> None:
    freeze_it(shop, next(iter(numbers.values())))
    mirror = shop.context.store.mirror

    assert {head.place for head in mirror.heads(mirror.parts)} == {shop.context.ledger.mirror_source.head()}


def test_while_the_ledger_stays_an_eighth_of_the_buckets_is_read_each_second(
    shop: Caller, numbers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror, read = shop.context.store.mirror, list[set[str]]()
    heads = type(mirror).heads

    def note(of: Any, parts: Any) -> Any:
        read.append({bucket for part in parts for bucket in part.buckets})
        return heads(of, parts)

    monkeypatch.setattr(type(mirror), "heads", note)
    for _ in range(8):
        shop.context.mirror_sync.follow()
    assert [len(buckets) for buckets in read] == [BUCKETS // 8] * 8
    assert set.union(*read) == numbers.keys()

    read.clear()
    entry = Suppression(subject(shop, numbers["03"]).pseudonym, "shop", SuppressionScope.ALL, SuppressionSource.API)
    shop.context.ledger.suppressions.add([entry])
    shop.context.mirror_sync.follow()
    assert read == [set(numbers)]
    with pytest.raises(SuppressedError):
        shop.start(numbers["03"])


def test_a_bucket_that_lacks_the_mirror_closes_all_until_an_operator_decides(
    cluster: Cluster, shop: Caller, numbers: dict[str, str]
) -> None:
    """A write to another bucket does not open them."""
    cluster.of(keys.mirror("03")).client.delete(keys.mirror("03"))
    shop.context.mirror_sync.refresh()
    assert shop.context.mirror_sync.state == "lost"
    with suppress(OtpServiceError):
        freeze_it(shop, numbers["0a"])
    assert shop.context.mirror_sync.state == "lost"
    with pytest.raises(OtpServiceError):
        shop.context.mirror_sync.query("0a", ConsentMode.OFF)
