"""One service with two application processes for all races of a session."""

from collections.abc import Iterator

import pytest
from support_service import LIMITS, SHOP, Service, running
from support_valkey import ValkeyServer

PURPOSES = {
    "login": {"resend_delays": [0], "channels": ["sms"]},
    "renewed": {"resend_delays": [0], "channels": ["sms"], "resend": "new_code"},
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    valkey = ValkeyServer(tmp_path_factory.mktemp("valkey"))
    shop = {**SHOP, "purposes": [*PURPOSES], "client_ip": "connection"}
    sections = {"purposes": PURPOSES, "applications": {"shop": shop}, "limits": LIMITS}
    try:
        with running(tmp_path_factory.mktemp("service"), valkey, **sections, logging={"level": "WARNING"}) as started:
            yield started
    finally:
        valkey.stop()
