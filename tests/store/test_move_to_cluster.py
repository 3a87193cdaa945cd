"""The move from one server to a cluster (docs/scale.md): nothing is forgotten, and nothing is fenced."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support_caller import Caller
from support_cluster import Cluster
from support_installation import key, tree
from support_memory import folder_in_memory
from support_sentinel import wait_until
from support_valkey import ValkeyServer

from otp_service import bootstrap
from otp_service.domain.consents import SuppressionSource
from otp_service.domain.numbers import parse_destination, subject_key
from otp_service.errors import FrozenError, TooManyError
from otp_service.services.subjects import freeze
from otp_service.settings import settings_from

BUCKETS = 64


@pytest.fixture
def folder() -> Path:
    return folder_in_memory("move")


@pytest.fixture
def settings() -> dict[str, Any]:
    """Settings but for the server's address."""
    own = tree("", keys={"root": f"k1:{key()}", "pseudonym": key(), "buckets": BUCKETS})
    return {**own, "limits": {"number": ["3/day"], "failed_checks": ["2/day"], "ip": [], "application": []}}


@pytest.fixture
def cluster(folder: Path) -> Iterator[Cluster]:
    """A server in cluster mode with all slots and nothing in it."""
    made = Cluster(folder, 1)
    yield made
    made.stop()


def _shop(settings: dict[str, Any], **redis: Any) -> Caller:
    installation = bootstrap.install(settings_from({**settings, "redis": redis}))
    bootstrap.prepare(installation)
    return Caller(installation)


def _numbers(last: int) -> str:
    return f"+923001{last:02}4567"


def test_what_one_server_knew_a_cluster_knows(folder: Path, settings: dict[str, Any], cluster: Cluster) -> None:
    (folder / "alone").mkdir()
    alone = ValkeyServer(folder / "alone", options=("--appendonly", "yes"))
    shop = _shop(settings, url=alone.url)
    pending = {shop.start(to): to for to in map(_numbers, range(20))}
    codes = {one: shop.code(one) for one in pending}
    used, guessed, *others = pending
    assert shop.check(used, codes[used])[1]
    for _ in range(2):
        shop.check(guessed, shop.wrong(guessed))
    frozen = subject_key(shop.context.keyring, parse_destination(_numbers(50), None))
    freeze(shop.context, frozen, "shop", SuppressionSource.API)
    alone.stop()

    (first,) = cluster.nodes
    first.client.shutdown()
    first.process.wait(10)
    shutil.copy(folder / "0" / "nodes.conf", folder / "alone")
    shutil.rmtree(folder / "0")
    (folder / "alone").rename(folder / "0")
    first.start()
    wait_until(lambda: first.knows(1))
    shop = _shop(settings, url=cluster.nodes[0].url, replicas=0)

    def as_before() -> None:
        assert shop.check(used, codes[used])[3] == "already_approved"
        assert shop.check(guessed, codes[guessed])[3] == "number_locked"
        with pytest.raises(FrozenError):
            shop.start(_numbers(50))
        assert shop.context.store.fences.current() is None

    as_before()
    for one in others[:9]:
        assert shop.check(one, codes[one])[1]
    for place in (1, 2):
        cluster.add(folder / str(place))
        cluster.move_slots(place * 5000, place * 5000 + 4999, cluster.nodes[place])
    as_before()
    for one in others[9:]:
        assert shop.check(one, codes[one])[1]
    to = pending[others[-1]]
    shop.start(to)
    shop.start(to)
    with pytest.raises(TooManyError):
        shop.start(to)
    assert all(node.client.dbsize() for node in cluster.nodes)
