"""One service with two application processes for all races of a session."""

from collections.abc import Iterator

import pytest
from support_service import Service, running
from support_valkey import ValkeyServer


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    valkey = ValkeyServer(tmp_path_factory.mktemp("valkey"))
    limits = {"number": ["100/10 minutes"], "application": ["1000000/minute"], "ip": ["100000/minute"]}
    try:
        with running(
            tmp_path_factory.mktemp("service"), valkey, limits=limits, logging={"level": "WARNING"}
        ) as started:
            yield started
    finally:
        valkey.stop()
