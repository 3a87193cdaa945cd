"""A root key takes another's place while verifications are started and checked all the time."""

from pathlib import Path

import pytest
from support_outbox import DEAD, waiting
from support_rotation import FREE, Load, RootKeys, root_of
from support_service import eventually, running
from support_valkey import ValkeyServer


@pytest.fixture
def valkey(tmp_path: Path):
    server = ValkeyServer(tmp_path)
    yield server
    server.stop()


@pytest.mark.timeout(300)
def test_a_root_key_is_rotated_under_load_and_no_verification_is_lost(tmp_path: Path, valkey: ValkeyServer):
    keys = RootKeys(tmp_path)
    with running(tmp_path, valkey, workers=1, environ=keys.environ, limits=FREE) as service:
        with Load(service) as load:
            load.goes_on()
            keys.bring_into_force(service, "k1", "k2")
            load.goes_on()
            assert {root_of(one) for one in load.started} == {"k1"}, "the new key is known, and makes nothing yet"

            keys.bring_into_force(service, "k2", "k1")
            since = len(load.started) + 4  # those that were just being started
            load.goes_on()
        old, new = ([one for one in load.held_back if root_of(one[0]) == name] for name in ("k1", "k2"))
        (late, late_code), *old = old
        assert load.failures == []
        assert {root_of(one) for one in load.started[since:]} == {"k2"}
        assert all(service.check(one, code)["valid"] for one, code in (*old, *new[1:])), "those of the old key too"
        eventually(lambda: not waiting(valkey.client))
        assert {len(service.texts(one)) for one in load.started} == {1}, "each message was sent once"
        assert valkey.client.xlen(DEAD) == 0

        keys.bring_into_force(service, "k2")
        refused = service.post(f"/v1/verifications/{late}/check", {"code": late_code})
        assert (refused.status_code, refused.json()["code"]) == (404, "not-found")
        assert service.get(f"/v1/verifications/{late}").status_code == 404
        assert service.check(*new[0])["valid"]
        assert {tuple(one["root_keys"]) for one in service.events("reloaded")} == {("k1", "k2"), ("k2", "k1"), ("k2",)}
        assert not any(material.partition(":")[2] in service.logs() for material in keys.materials.values())
