"""Fixtures that all tests share: real Valkeys, worlds with a clock, and a real PostgreSQL."""

import gc
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest
import structlog
import time_machine
from support_cluster import OF_ONE_SERVER, Cluster, ClustersAhead, use_cluster_nodes
from support_frozen import FrozenValkey
from support_installation import World
from support_keys import assert_all_keys_expire
from support_ledger import forgotten_ledgers, make_ledger, new_ledger, template, use_another_ledger
from support_memory import folder_in_memory
from support_missing import missing
from support_postgres import PostgresServer, programs
from support_statements import share_statements
from support_valkey import ValkeyServer, faketime_library

share_statements()
use_another_ledger()
# Where a test does not set up logging: the default traceback, with all variables, takes seconds.
structlog.dev.ConsoleRenderer.get_active().exception_formatter = structlog.dev.plain_traceback

START = 1_795_000_000.0
"""A quiet Tuesday in November 2026, for clocks that stand still."""


TESTS = Path(__file__).parent
LONGEST = [
    TESTS / name
    for name in (
        "api/test_openapi.py",
        "cli/test_serve.py",
        "store/test_rehearsal_oracle.py",
        "worker/test_webhook_fairness.py",
        "worker/test_outages.py",
        "races/test_redis_away.py",
        "cli/test_reload.py",
        "cli/test_dev.py",
        "worker/test_webhook_storm.py",
        "services/test_audit_red_team.py",
        "worker/test_delivery.py",
        "store/test_guard_attacks.py",
        "api/test_access_in_time.py",
        "api/test_human_check.py",
        "observe/test_alerts.py",
        "clients/test_python_client.py",
        "clients/test_python_cases.py",
        "gateways/test_suite_notices.py",
        "model/test_verification_model.py",
        "worker/test_stopped_worker.py",
        "drills/test_restore.py",
        "gateways/test_smpp_link.py",
    )
]
"""Files that take more than a quarter of a minute, the longest one first: see what `pytest --durations` tells."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--cluster-nodes",
        type=int,
        default=0,
        help="run against clusters of so many servers, where a script may touch keys of one slot only",
    )


def pytest_configure(config: pytest.Config) -> None:
    if count := config.getoption("cluster_nodes"):
        use_cluster_nodes(count)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Function]) -> None:
    """Let the longest files come first, then those that start processes; on a cluster skip what is of one server.

    Files are dealt out in this order, so that nobody waits for a long one at the end.
    """
    for item in items if config.getoption("cluster_nodes") else ():
        for name, why in OF_ONE_SERVER.items():
            if item.nodeid.removeprefix("tests/").startswith(name):
                item.add_marker(pytest.mark.skip(reason=why))
    items.sort(key=lambda item: (_place(item.path), not _starts_processes(item.module)))


def pytest_collection_finish() -> None:
    """Let the garbage collector pass over what was collected, thousands of tests, and look seldom at the rest."""
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)


def _place(file: Path) -> int:
    return LONGEST.index(file) if file in LONGEST else len(LONGEST)


@cache
def _starts_processes(module: ModuleType) -> bool:
    return any(
        value is subprocess or getattr(value, "__module__", "") == "support_service" for value in vars(module).values()
    )


@pytest.fixture(scope="module", autouse=True)
def _ledger_of_a_module() -> Iterator[None]:
    """Give each file of tests a ledger of its own: it belongs to the pseudonym key that uses it first."""
    with forgotten_ledgers():
        use_another_ledger()
        yield


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[ValkeyServer]:
    """A real Valkey for the whole session; its clock can be moved where libfaketime is installed."""
    server = ValkeyServer(folder_in_memory("valkey"), movable_clock=True)
    yield server
    server.stop()


@pytest.fixture
def valkey(valkey_server: ValkeyServer) -> ValkeyServer:
    """The real Valkey, empty."""
    valkey_server.reset()
    return valkey_server


@pytest.fixture(scope="module")
def clusters() -> Iterator[ClustersAhead]:
    """Clusters that are made while others are in use."""
    made = ClustersAhead()
    yield made
    made.stop()


@pytest.fixture
def cluster(clusters: ClustersAhead) -> Iterator[Cluster]:
    """A cluster of three primaries, which a test may break."""
    made = clusters.take()
    yield made
    made.stop()


@pytest.fixture
def real_world(valkey: ValkeyServer) -> Iterator[World]:
    """A world over the real Valkey; its clock needs libfaketime. Whatever a test does, its keys expire."""

    def advance(seconds: float) -> None:
        if faketime_library() is None:
            missing("libfaketime")
        valkey.advance(seconds)

    yield World(valkey.client, valkey.url, advance)
    assert_all_keys_expire(valkey.client)


@pytest.fixture(scope="session")
def frozen_server() -> Iterator[FrozenValkey]:
    """A real Valkey for the whole session whose clock stands still until it is moved."""
    if not FrozenValkey.possible():
        missing("libfaketime")
    server = FrozenValkey(folder_in_memory("frozen"))
    yield server
    server.stop()


@pytest.fixture
def frozen(frozen_server: FrozenValkey) -> FrozenValkey:
    """The same, empty, at the beginning of its time."""
    frozen_server.reset()
    return frozen_server


@pytest.fixture
def still_world(frozen: FrozenValkey) -> Iterator[World]:
    """A world whose clocks, the server's and the process' own, stand still until they are moved."""
    with time_machine.travel(START, tick=False) as clock:

        def advance(seconds: float) -> None:
            frozen.advance(seconds)
            clock.move_to(frozen.now / 1000)

        yield World(frozen.client, frozen.url, advance)


@pytest.fixture
def world(real_world: World) -> World:
    """A world whose clocks run."""
    return real_world


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A real PostgreSQL for the whole session."""
    if programs() is None:
        missing("PostgreSQL")
    server = PostgresServer()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def postgres_template(postgres_server: PostgresServer) -> str:
    """The name of a database that holds a new ledger, to be copied."""
    name = postgres_server.create()
    make_ledger(postgres_server.url(name))
    return name


@pytest.fixture(scope="session")
def sqlite_template() -> Path:
    """A file that holds a new ledger, to be copied."""
    return template()


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a new ledger, of either kind."""
    with new_ledger(request) as url:
        yield url
