"""Ceilings of money that buckets share: spent whole in any of them, and never exceeded."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support_caller import Caller
from support_cluster import Cluster
from support_frozen import FrozenValkey
from support_guard import PERMISSIVE, later, modes, number, passed, passes, priced, spent
from support_installation import tree
from support_memory import folder_in_memory

from otp_service import bootstrap
from otp_service.errors import StoreUnavailableError
from otp_service.settings import settings_from
from otp_service.store import ceiling_shares
from otp_service.store.script_runner import ScriptRunner
from otp_service.store.signatures.guard import SHARE_MOVE

BLOCKS = [f"+92300{block:03d}" for block in range(40)]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    made = Cluster(folder_in_memory("cluster"))
    yield made
    made.stop()


@pytest.fixture
def open_shop(cluster: Cluster) -> Callable[[], Caller]:
    """Return what opens another process of an application that may spend 48 a day, on an empty cluster."""
    for node in cluster.nodes:
        node.client.flushall()
    own = tree(cluster.nodes[0].url, redis={"replicas": 0}, keys={"buckets": 16})
    own["applications"]["shop"]["spend"] = {"day": "48"}
    own["guard"] = {"modes": modes("spend.application")}
    own["limits"] = PERMISSIVE
    own["gateways"]["sandbox"]["prices"] = {"*": "1"}
    own["purposes"]["login"]["resend_delays"] = [0]

    def opened() -> Caller:
        installation = bootstrap.install(settings_from(own))
        bootstrap.prepare(installation)
        return Caller(installation)

    return opened


@pytest.fixture(params=[4, 16])
def shop(frozen: FrozenValkey, request: pytest.FixtureRequest) -> Caller:
    """An application that may spend 160 an hour in the buckets of one server."""
    return _of_one_server(frozen, request.param)


def _of_one_server(frozen: FrozenValkey, buckets: int, **spend: Any) -> Caller:
    return priced(frozen, {"PK": "1"}, keys={"buckets": buckets}, spend=spend or {"hour": "160"})


def test_a_block_may_spend_what_all_buckets_have(shop: Caller) -> None:
    assert passed(shop, number(1), 165) == 160
    assert spent(shop) == {"hour": 160}


def test_shares_go_on_to_whatever_bucket_lacks_one(shop: Caller) -> None:
    assert passed(shop, number(1), 100) == 100

    assert sum(passes(shop, number(n, block)) for n in range(3) for block in BLOCKS) == 60
    assert spent(shop) == {"hour": 160}


def test_a_share_that_no_bucket_has_alone_is_put_together(frozen: FrozenValkey) -> None:
    shop = priced(frozen, {"PK": "9"}, keys={"buckets": 16}, spend={"hour": "64"})

    assert passed(shop, number(1), 9) == 7
    assert spent(shop) == {"hour": 63}


def test_what_was_moved_counts_in_its_interval_only(frozen: FrozenValkey, shop: Caller) -> None:
    assert passed(shop, number(1), 100) == 100
    later(frozen, 3600)

    assert sum(passes(shop, number(n, block)) for n in range(5) for block in BLOCKS) == 160


def test_a_resend_moves_a_share(frozen: FrozenValkey) -> None:
    shop = _of_one_server(frozen, 16, hour="32")
    for one in [shop.start(number(1)) for _ in range(2)]:
        for _ in range(4):
            shop.resend(one)

    assert spent(shop) == {"hour": 10}


def test_a_refusal_is_told_once_and_buckets_are_not_read_again_for_a_while(
    shop: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert passed(shop, number(1), 161) == 160
    before, call_all = len(list(shop.context.store.decisions.latest(1000))), ScriptRunner.call_all
    reads: list[int] = []

    def note(runner: ScriptRunner, script: Any, calls: Any) -> Any:
        reads.append(len(calls))
        return call_all(runner, script, calls)

    monkeypatch.setattr(ScriptRunner, "call_all", note)
    monkeypatch.setattr(ceiling_shares, "EXHAUSTED_SECONDS", 2.0)
    assert not passes(shop, number(1))
    reads.clear()
    assert not passes(shop, number(1))
    assert not reads
    monkeypatch.setattr(ceiling_shares.time, "monotonic", lambda: 1e12)
    assert not passes(shop, number(1))
    assert reads == [len(shop.context.keyring.buckets)]
    assert len(list(shop.context.store.decisions.latest(1000))) == before + 3


def test_what_is_taken_and_not_given_is_lost(shop: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    call = ScriptRunner.call
    lost: list[int] = []

    def lose_first(runner: ScriptRunner, script: Any, keys: Any, arguments: Any, *taught: Any) -> Any:
        if script is SHARE_MOVE and arguments.amount > 0 and not lost:
            lost.append(arguments.amount)
            raise StoreUnavailableError("killed", nothing_ran=False)
        return call(runner, script, keys, arguments, *taught)

    monkeypatch.setattr(ScriptRunner, "call", lose_first)

    with pytest.raises(StoreUnavailableError):
        passed(shop, number(1), 165)
    passed(shop, number(1), 165)

    assert spent(shop) == {"hour": 160 - lost[0] // 1_000_000}


def test_a_bucket_that_does_not_answer_may_have_a_share(shop: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    assert passed(shop, number(1), 160) == 160
    call_all = ScriptRunner.call_all

    def lose_last(runner: ScriptRunner, script: Any, calls: Any) -> list[Any]:
        return [*call_all(runner, script, calls)[:-1], StoreUnavailableError("away")]

    monkeypatch.setattr(ScriptRunner, "call_all", lose_last)
    with pytest.raises(StoreUnavailableError):
        passes(shop, number(1))


def test_servers_that_may_forget_move_nothing(open_shop: Callable[[], Caller], cluster: Cluster) -> None:
    for node in cluster.nodes:
        node.client.config_set("appendonly", "no")
    shop = open_shop()

    assert passed(shop, number(1), 5) == 3
    for node in cluster.nodes:
        node.client.config_set("appendonly", "yes")


def test_one_bucket_moves_nothing(frozen: FrozenValkey, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = _of_one_server(frozen, 1, hour="10")
    monkeypatch.delattr(ceiling_shares.CeilingShares, "_fill")

    assert passed(shop, number(1), 12) == 10
    assert " m" not in shop.context.rulesets["shop"].text


def test_a_block_may_spend_what_all_servers_have(open_shop: Callable[[], Caller]) -> None:
    shop = open_shop()

    assert passed(shop, number(1), 50) == 48
    assert spent(shop) == {"day": 48}


def test_a_share_is_not_given_before_the_server_has_synced_that_it_was_taken(
    open_shop: Callable[[], Caller], cluster: Cluster
) -> None:
    shop = open_shop()
    assert passed(shop, number(1), 3) == 3
    for node in cluster.nodes:
        node.client.config_set("appendfsync", "no")

    with pytest.raises(StoreUnavailableError):
        passes(shop, number(1))
    assert spent(shop) == {"day": 3}
    for node in cluster.nodes:
        node.client.config_set("appendfsync", "everysec")


def test_racing_processes_spend_the_whole_ceiling_and_no_more(open_shop: Callable[[], Caller]) -> None:
    shops = [open_shop() for _ in range(3)]
    through: list[int] = []

    def start(shop: Caller, block: str) -> None:
        through.extend(last for last in range(12) if passes(shop, number(last, block)))

    threads = [threading.Thread(target=start, args=(shop, block)) for shop in shops for block in BLOCKS[:2]]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    rest = sum(passes(open_shop(), number(50 + n)) for n in range(3))

    assert len(through) <= 48
    assert len(through) + rest == 48
    assert spent(shops[0]) == {"day": 48}
