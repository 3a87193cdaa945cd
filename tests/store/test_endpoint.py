"""An endpoint of a managed service: one shard in cluster mode, known by its address alone, without some commands."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from support_caller import Caller
from support_cluster import Cluster, ClusterNode
from support_installation import tree
from support_memory import folder_in_memory
from support_sentinel import wait_until
from support_valkey import ValkeyServer, free_port
from support_worker import Journal, working

from otp_service import bootstrap
from otp_service.bootstrap import Installation
from otp_service.cli.checks import Level
from otp_service.cli.doctor import _server_diagnoses
from otp_service.errors import StartRefusedError, StoreUnavailableError
from otp_service.settings import settings_from

IN_CLUSTER_MODE = ("--cluster-enabled", "yes", "--cluster-port")
Open = Callable[..., Installation]


@pytest.fixture
def folder() -> Path:
    return folder_in_memory("endpoint")


@pytest.fixture
def endpoint(folder: Path) -> Iterator[Cluster]:
    made = Cluster(folder, 1)
    yield made
    made.stop()


@pytest.fixture
def open_at() -> Iterator[Open]:
    opened: list[Installation] = []

    def open_at(url: str, buckets: int = 1, **redis: Any) -> Installation:
        settings = settings_from({**tree(url, keys={"buckets": buckets}), "redis": {"url": url, **redis}})
        opened.append(bootstrap.open_installation(settings))
        return opened[-1]

    yield open_at
    for installation in opened:
        installation.close()


def _url_without(node: ClusterNode, *commands: str) -> str:
    """Return the server's address for a user with all rights but some commands."""
    denied = [f"-{command}" for command in commands]
    node.ask("ACL", "SETUSER", "otp", "reset", "on", ">pw", "~otp:*", "&*", "+@all", *denied)
    return node.url.replace("//", "//otp:pw@")


def _verify(installation: Installation) -> None:
    """Start, deliver and check."""
    shop, journal = Caller(installation), Journal()
    with working(installation, sandbox=journal):
        started = shop.start()
        wait_until(lambda: journal.place_of(started) is not None)
    assert shop.check(started, shop.code(started))[:2] == ("approved", True)


def _missing(installation: Installation) -> list[str]:
    return [missing.command for missing in installation.context.store.server.missing_commands()]


def _findings(installation: Installation, level: Level) -> list[str]:
    store = installation.context.store
    return [found.subject for found in _server_diagnoses(installation.settings, store) if found.level is level]


@pytest.mark.parametrize("buckets", [1, 4])
def test_cluster_mode_is_recognised_and_one_shard_serves_any_number_of_buckets(
    endpoint: Cluster, open_at: Open, buckets: int
) -> None:
    installation = open_at(endpoint.nodes[0].url, buckets)
    _verify(installation)

    assert installation.context.store.scripts.is_cluster
    assert installation.context.store.scripts.awaited_replicas == 0
    assert _findings(installation, Level.FAIL) == []
    assert "keys.buckets" not in _findings(installation, Level.WARN)


def test_a_server_that_is_alone_is_used_as_before(valkey: ValkeyServer, open_at: Open) -> None:
    assert not open_at(valkey.url).context.store.scripts.is_cluster


def test_calls_go_on_after_a_fail_over_though_the_address_names_the_replica_now(
    endpoint: Cluster, folder: Path, open_at: Open
) -> None:
    primary = endpoint.nodes[0]
    replica = endpoint.add_replica(folder / "replica", primary)
    installation = open_at(primary.url, 4)
    shop = Caller(installation)
    pending = shop.start()
    replica.ask("CLUSTER FAILOVER")
    wait_until(lambda: primary.client.info("replication")["role"] == "slave" and primary.follows())

    assert installation.context.store.scripts.awaited_replicas == 1
    assert shop.check(pending, shop.code(pending))[:2] == ("approved", True)
    _verify(installation)


@pytest.mark.parametrize("database", [1, 15])
def test_another_database_is_refused_by_name(endpoint: Cluster, open_at: Open, database: int) -> None:
    with pytest.raises(StartRefusedError, match=rf"redis.url: .*names {database}.*\[cluster-address\]"):
        open_at(endpoint.nodes[0].url.replace("/0", f"/{database}"))


def test_commands_that_are_forbidden_stop_no_process_and_are_reported(endpoint: Cluster, open_at: Open) -> None:
    url = _url_without(endpoint.nodes[0], "config", "info", "wait")
    with capture_logs() as lines:
        installation = open_at(url, 4)
    _verify(installation)

    told = {line["command"]: line["reason"] for line in lines if line["event"] == "store_command_missing"}
    assert list(told) == ["CONFIG", "INFO", "WAIT"]
    assert "whether it evicts counters, and what a crash loses" in told["CONFIG"]
    assert "a used code may be approved again" in told["INFO"]
    assert "no replica confirms approvals" in told["WAIT"]
    assert _findings(installation, Level.FAIL) == []
    assert {"appendonly", "CONFIG", "INFO", "WAIT"} <= {*_findings(installation, Level.WARN)}


def test_commands_that_a_server_lacks_stop_no_process_and_are_reported(folder: Path, open_at: Open) -> None:
    renamed = [part for command in ("CONFIG", "INFO", "WAIT") for part in ("--rename-command", command, "")]
    server = ValkeyServer(folder, options=(*IN_CLUSTER_MODE, str(free_port()), *renamed))
    try:
        server.client.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
        wait_until(lambda: server.client.cluster("info")["cluster_state"] == "ok")
        installation = open_at(server.url)
        _verify(installation)
        assert _missing(installation) == ["CONFIG", "INFO", "WAIT"]
    finally:
        server.stop()


def test_without_wait_no_replica_is_awaited_unless_the_settings_demand_it(
    endpoint: Cluster, folder: Path, open_at: Open
) -> None:
    primary = endpoint.nodes[0]
    endpoint.add_replica(folder / "replica", primary)
    url = _url_without(primary, "wait")
    installation = open_at(url)
    _verify(installation)

    assert (_missing(installation), installation.context.store.scripts.awaited_replicas) == (["WAIT"], 0)
    demanding = bootstrap.install(settings_from({**tree(url), "redis": {"url": url, "replicas": 1}}))
    with pytest.raises(StoreUnavailableError):
        Caller(demanding).start()
    assert "WAIT" in _findings(demanding, Level.FAIL)


def test_where_info_is_allowed_a_fail_over_is_noticed_without_wait(
    endpoint: Cluster, folder: Path, open_at: Open
) -> None:
    primary = endpoint.nodes[0]
    replica = endpoint.add_replica(folder / "replica", primary)
    for node in (replica, primary):
        url = _url_without(node, "wait", "config")
    installation = open_at(url)
    pending = Caller(installation).start()
    replica.ask("CLUSTER FAILOVER", "FORCE")
    wait_until(lambda: primary.client.info("replication")["role"] == "slave")
    wait_until(lambda: Caller(installation).read(pending).verification.status == "expired")
