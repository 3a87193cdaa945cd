"""Sentinels, and the servers that they name, over TLS: with users of few rights, and never in plain text."""

import contextlib
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support_caller import Caller
from support_installation import tree
from support_missing import missing
from support_sentinel import SERVICE, Node, TellingSentinel, nodes, sentinels, wait_until
from support_sources import ROOT
from support_tls import PASSWORD, Secured, make_certificate, tls_program

from otp_service import bootstrap
from otp_service.bootstrap import Installation
from otp_service.errors import StoreUnavailableError
from otp_service.settings import settings_from

RIGHTS = re.search(r"ACL SETUSER otp on >PASSWORD (.*)", (ROOT / "docs" / "install.md").read_text())[1]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("tls"))


def install(certificate: Path, *addresses: str, password: str = PASSWORD, **members: Any) -> Installation:
    given = {
        "url": f"rediss://otp:{password}@{SERVICE}/0?ssl_ca_certs={certificate}",
        "sentinels": list(addresses), "sentinel_user": "otp", "sentinel_password": PASSWORD, **members,
    }  # fmt: skip
    return bootstrap.install(settings_from(tree("", redis=given)))


def refused(installed: Installation) -> None:
    with pytest.raises(StoreUnavailableError):
        installed.context.store.server.claimed()
    with pytest.raises(StoreUnavailableError):
        Caller(installed).read("vf_k1_00" + 32 * "0")


def status(shop: Caller, one: str) -> str:
    """Return what became of a verification; empty while the store is away."""
    with contextlib.suppress(StoreUnavailableError):
        return shop.read(one).verification.status
    return ""


def test_a_server_that_takes_over_is_found_and_everybody_is_who_they_say(certificate, tmp_path):
    if (program := tls_program()) is None:
        missing("a Valkey or Redis with TLS")
    secured = Secured(program, certificate, RIGHTS)
    first = Node(tmp_path / "first", secured=secured)
    second = Node(tmp_path / "second", first.port, secured)
    with nodes(first, second), sentinels(tmp_path, first.port, secured=secured) as ports:
        addresses = [f"127.0.0.1:{port}" for port in ports]
        installed = install(certificate, *addresses)
        installed.context.mirror_sync.refresh()
        shop = Caller(installed)
        one = shop.start()
        assert shop.check(one, shop.code(one))[1]

        refused(install(make_certificate(tmp_path), *addresses))
        refused(install(certificate, *(f"localhost:{port}" for port in ports)))
        refused(install(certificate, *addresses, password="wrong"))
        refused(install(certificate, *addresses, sentinel_password="wrong"))
        refused(install(certificate, *addresses, sentinel_user=None))

        other = shop.start("+923001234568")
        first.kill()
        wait_until(lambda: status(shop, other) == "pending")
        first.start(second.port)
        wait_until(lambda: status(shop, one) == "approved")
        assert shop.check(other, shop.code(other))[1]


def test_nothing_is_said_in_plain_text(certificate):
    with _overheard() as (port, heard):
        refused(install(certificate, f"127.0.0.1:{port}"))
        of_sentinels = len(heard)
        sentinel = TellingSentinel(certificate)
        sentinel.primary = port
        refused(install(certificate, sentinel.address))
        sentinel.close()

    assert 0 < of_sentinels < len(heard)
    assert {said[:2] for said in heard} == {b"\x16\x03"}, "TLS begins so"
    assert PASSWORD.encode() not in b"".join(heard)


@contextlib.contextmanager
def _overheard() -> Iterator[tuple[int, list[bytes]]]:
    """Listen to what a server is told first that speaks no TLS; yield its port, and that."""
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def listen() -> None:
            with contextlib.suppress(OSError):
                while True:
                    taken, _ = listener.accept()
                    with taken:
                        heard.append(taken.recv(1000))
                        taken.sendall(b"-NOAUTH Authentication required.\r\n")

        threading.Thread(target=listen, daemon=True).start()
        yield listener.getsockname()[1], heard
