"""One service with two application processes for all races of a session."""

from collections.abc import Iterator

import pytest
from support_installation import API_KEY
from support_service import Service, running
from support_valkey import ValkeyServer

from otp_service.domain.keyring import api_key_hash

PURPOSES = {
    "login": {"resend_delays": [0], "channels": ["sms"]},
    "renewed": {"resend_delays": [0], "channels": ["sms"], "resend": "new_code"},
}
SHOP = {
    "name": "Acme Shop",
    "keys": [api_key_hash(API_KEY)],
    "purposes": [*PURPOSES],
    "countries": ["PK"],
    "region": "PK",
    "client_ip": "connection",
}
LIMITS = {"number": ["100/10 minutes"], "application": ["1000000/minute"], "ip": ["100000/minute"]}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    valkey = ValkeyServer(tmp_path_factory.mktemp("valkey"))
    sections = {"purposes": PURPOSES, "applications": {"shop": SHOP}, "limits": LIMITS}
    try:
        with running(tmp_path_factory.mktemp("service"), valkey, **sections, logging={"level": "WARNING"}) as started:
            yield started
    finally:
        valkey.stop()
