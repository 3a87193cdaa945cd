"""A cluster over TLS, whose certificates bear a name and not the addresses of its servers."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from support_caller import Caller
from support_cluster import Cluster
from support_guard import number
from support_installation import tree
from support_memory import folder_in_memory
from support_missing import missing
from support_sentinel import wait_until
from support_sources import ROOT
from support_tls import PASSWORD, Secured, make_certificate, tls_program

from otp_service import bootstrap
from otp_service.errors import StoreUnavailableError
from otp_service.settings import settings_from

RIGHTS = re.search(r"ACL SETUSER otp on >PASSWORD (.*)", (ROOT / "docs" / "install.md").read_text())[1]
MORE_RIGHTS = re.search(r"`(\+cluster\|slots .*?)`", (ROOT / "docs" / "scale.md").read_text())[1]


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    return make_certificate(tmp_path, x509.DNSName("localhost"))


@pytest.fixture
def cluster(certificate: Path) -> Iterator[Cluster]:
    if (program := tls_program()) is None:
        missing("a Valkey or Redis with TLS")
    made = Cluster(folder_in_memory("cluster"), secured=Secured(program, certificate, f"{RIGHTS} {MORE_RIGHTS}"))
    yield made
    made.stop()


def _set(cluster: Cluster, setting: str, value: str) -> None:
    for node in cluster.nodes:
        node.client.config_set(setting, value)


def test_servers_are_known_by_the_names_that_their_certificates_bear(cluster: Cluster, certificate: Path) -> None:
    url = f"rediss://otp:{PASSWORD}@localhost:{cluster.nodes[0].port}/0?ssl_ca_certs={certificate}"
    settings = settings_from(tree("", redis={"url": url, "replicas": 0}))
    with pytest.raises(StoreUnavailableError):
        bootstrap.open_installation(settings)

    _set(cluster, "cluster-announce-hostname", "localhost")
    _set(cluster, "cluster-preferred-endpoint-type", "hostname")
    wait_until(lambda: all(str(node.slots()).count("b'localhost'") == 3 for node in cluster.nodes))

    installed = bootstrap.open_installation(settings)
    shop = Caller(installed)
    assert installed.context.store.server.replicas() == [(0, 0)] * 3
    one = shop.start(number(1))
    assert shop.check(one, shop.code(one))[1]
