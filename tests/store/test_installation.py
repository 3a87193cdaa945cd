"""A Redis belongs to one installation, and is looked at before it is used."""

from typing import Any

import pytest
from structlog.testing import capture_logs
from support_frozen import FrozenValkey
from support_installation import World, key
from support_sources import LUA

from otp_service.bootstrap import Installation, prepare
from otp_service.errors import ConfigurationError
from otp_service.store.connection import connect
from otp_service.store.library import PREFIX, library, script_names
from otp_service.store.mirror import installation_refusal
from otp_service.store.script_runner import pairs_to_dict

KEYS = {"root": f"k1:{key()}", "pseudonym": key()}


def _install(frozen: FrozenValkey, **changed: Any) -> Installation:
    return frozen.world().install(keys={**KEYS, **changed})


def test_the_same_installation_may_come_again_and_with_new_root_keys(frozen: FrozenValkey) -> None:
    prepare(_install(frozen))
    prepare(_install(frozen))
    prepare(_install(frozen, root=f"k2:{key()} {KEYS['root']}"))


@pytest.mark.parametrize("changed", [{"pseudonym": key()}, {"buckets": 4}], ids=["pseudonym key", "buckets"])
def test_an_installation_with_other_names_for_numbers_is_refused(frozen: FrozenValkey, changed: Any) -> None:
    prepare(_install(frozen))
    with pytest.raises(ConfigurationError, match=r"pseudonym_key|buckets") as refused:
        prepare(_install(frozen, **changed))
    assert KEYS["pseudonym"] not in str(refused.value)
    frozen.client.flushall()

    prepare(_install(frozen, **changed))


def test_a_server_that_evicts_counters_is_refused(frozen: FrozenValkey) -> None:
    frozen.client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        with pytest.raises(ConfigurationError, match="noeviction"):
            prepare(_install(frozen))
    finally:
        frozen.client.config_set("maxmemory-policy", "noeviction")


def test_a_server_that_forbids_config_is_used_with_a_warning(frozen: FrozenValkey) -> None:
    frozen.client.execute_command("ACL SETUSER careful on >pw ~otp:* +@all -config")
    client = connect(frozen.url.replace("//", "//careful:pw@"), timeout=1.0, connect_timeout=0.5)
    careful = World(client, frozen.url, frozen.advance).install(keys=KEYS)
    try:
        with capture_logs() as lines:
            prepare(careful)
    finally:
        client.close()
        frozen.client.execute_command("ACL DELUSER careful")

    assert [line["event"] for line in lines if line["log_level"] == "warning"] == ["store_command_missing"]
    with capture_logs() as lines:
        prepare(_install(frozen))
    assert not [line for line in lines if line["log_level"] == "warning"]


def test_a_refusal_names_the_differences_and_a_look_claims_nothing(frozen: FrozenValkey) -> None:
    server = _install(frozen).context.store.server
    assert (server.claimed(), server.refusal(), frozen.client.dbsize()) == (False, None, 0)
    server.claim()
    assert (server.claimed(), server.refusal()) == (True, None)
    other = _install(frozen, pseudonym=key(), buckets=4).context.store.server

    assert (other.claimed(), other.refusal()) == (True, installation_refusal(["pseudonym_key", "buckets"]))


def test_the_scripts_are_loaded_as_one_library(frozen: FrozenValkey) -> None:
    server = _install(frozen).context.store.server
    frozen.client.function_flush()
    server.load_scripts()
    files = {path.stem for path in LUA.glob("*.lua") if not path.stem.startswith("include_")}
    assert set(script_names()) == files
    (found,) = frozen.client.function_list(library().name)
    functions = {pairs_to_dict(one)["name"].decode() for one in pairs_to_dict(found)["functions"]}
    assert functions == {library().function(name) for name in files}


def test_a_process_that_starts_deletes_the_scripts_of_other_releases_and_of_nobody_else(frozen: FrozenValkey) -> None:
    frozen.client.function_flush()
    empty = "#!lua name={0}\nredis.register_function('{0}_start', function() return 1 end)"
    for name in (f"{PREFIX}of_another_release", "of_somebody_else"):
        frozen.client.function_load(empty.format(name))
    prepare(_install(frozen))

    left = {pairs_to_dict(one)["library_name"].decode() for one in frozen.client.function_list()}
    assert left == {library().name, "of_somebody_else"}
    frozen.client.function_flush()


def test_the_age_of_the_last_worker_is_known_while_it_is_young(frozen: FrozenValkey) -> None:
    server = _install(frozen).context.store.server
    assert server.worker_age() is None
    server.note_worker("worker", 15)
    frozen.advance(7)
    assert server.worker_age() == 7
    frozen.advance(9)

    assert server.worker_age() is None
