"""``/readyz`` says no while every start is refused, and why; ``/readyz/checks`` while nothing can be checked either."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support_api import START, Api, code_of
from support_installation import NUMBER, World
from support_valkey import ValkeyServer, free_port

from otp_service.store import keys


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ValkeyServer]:
    """A Valkey of the test's own, to be damaged."""
    made = ValkeyServer(tmp_path)
    yield made
    made.stop()


@pytest.fixture
def shop(server: ValkeyServer) -> Api:
    made = Api(World(server.client, server.url, lambda _: None), streams={"max_events": 1000})
    made.installation.context.mirror_sync.refresh()
    return made


def _damage(shop: Api, server: ValkeyServer, damage: str) -> None:
    client = server.client
    match damage:
        case "mirror-lost":
            client.delete(keys.mirror("00"))
        case "mirror-foreign":
            client.hset(keys.mirror("00"), "identity", "x" * 32)
        case "mirror-diverged":
            shop.installation.context.store.mirror.close()
        case "mirror-behind":
            client.hset(keys.mirror("00"), "sequence", -1)
        case "events-full":
            pipeline = client.pipeline()
            for _ in range(2000):
                pipeline.xadd(keys.events("00"), {"type": "check.failed"})
            pipeline.execute()
        case "redis-memory":
            client.config_set("maxmemory", 1)
        case "redis-replica":
            client.replicaof("127.0.0.1", str(free_port()))
        case "redis-silent":
            server.stop(kill=True)


@pytest.mark.parametrize(
    ("damage", "problem", "checks"),
    [
        ("mirror-lost", "ledger-unavailable", True),
        ("mirror-foreign", "ledger-unavailable", True),
        ("mirror-diverged", "ledger-unavailable", True),
        ("mirror-behind", "ledger-unavailable", True),
        ("events-full", "ledger-unavailable", True),
        ("redis-memory", "store-unavailable", False),
        ("redis-replica", "store-unavailable", False),
        ("redis-silent", "store-unavailable", False),
    ],
)
def test_who_refuses_every_start_is_not_ready_and_says_why(
    shop: Api, server: ValkeyServer, damage: str, problem: str, checks: bool
):
    one = shop.start()
    code = shop.code(one)
    assert [shop.client.get(path).status_code for path in ("/readyz", "/readyz/checks")] == [200, 200]
    _damage(shop, server, damage)
    ready, for_checks = shop.client.get("/readyz"), shop.client.get("/readyz/checks")

    assert code_of(shop.post(START, {"to": NUMBER})) == (503, problem)
    assert (ready.status_code, ready.json["status"], ready.json["details"]["starts"]) == (503, "unavailable", damage)
    assert (for_checks.status_code, for_checks.json["details"]) == (200 if checks else 503, ready.json["details"])
    check = shop.post(f"{START}/{one}/check", {"code": code})
    assert check.status_code == for_checks.status_code, "what the path promises"


def test_who_does_not_know_how_far_the_ledger_has_come_is_not_ready(server: ValkeyServer):
    api = Api(World(server.client, server.url, lambda _: None))

    assert api.client.get("/readyz").json["details"]["starts"] == "ledger-unknown"
    assert api.client.get("/readyz/checks").status_code == 200
    api.installation.context.mirror_sync.refresh()
    assert api.client.get("/readyz").json["details"]["starts"] == "accepted"
