"""A Redis belongs to one installation, and is looked at before it is used."""

from typing import Any

import pytest
from support_frozen import FrozenValkey
from support_installation import key

from otp_service.bootstrap import Installation, prepare
from otp_service.core.errors import ConfigurationError

KEYS = {"root": f"k1:{key()}", "pseudonym": key()}


def _install(frozen: FrozenValkey, **changed: Any) -> Installation:
    return frozen.world().install(keys={**KEYS, **changed})


def test_the_same_installation_may_come_again_and_with_new_root_keys(frozen: FrozenValkey) -> None:
    prepare(_install(frozen))
    prepare(_install(frozen))
    prepare(_install(frozen, root=f"k2:{key()} {KEYS['root']}"))


@pytest.mark.parametrize("changed", [{"pseudonym": key()}, {"bucket_bits": 2}], ids=["pseudonym key", "buckets"])
def test_an_installation_with_other_names_for_numbers_is_refused(frozen: FrozenValkey, changed: Any) -> None:
    prepare(_install(frozen))
    with pytest.raises(ConfigurationError, match=r"pseudonym_key|bucket_bits") as refused:
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


def test_the_age_of_the_last_worker_is_known_while_it_is_young(frozen: FrozenValkey) -> None:
    server = _install(frozen).context.store.server
    assert server.worker_age() is None
    server.worker_alive("worker", 15)
    frozen.advance(7)
    assert server.worker_age() == 7
    frozen.advance(9)

    assert server.worker_age() is None
