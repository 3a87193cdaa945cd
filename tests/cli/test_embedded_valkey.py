"""The Valkey of ``dev``."""

import signal
import subprocess
import sys

import pytest
import redis
from support_cli import alive, all_end, family

from otp_service.cli.dev import VALKEY_STOP_SECONDS, start_valkey
from otp_service.errors import ConfigurationError


@pytest.fixture
def folder(tmp_path):
    return tmp_path / 'a folder with "quotes" and blanks'


def client_of(url):
    return redis.Redis.from_url(url, decode_responses=True)


def test_it_answers_when_it_is_returned_and_is_set_up_for_counters(folder):
    server, url = start_valkey(folder)
    try:
        with client_of(url) as client:
            expected = {
                "maxmemory-policy": "noeviction",
                "appendonly": "yes",
                "hash-max-listpack-value": "1024",
                "bind": "127.0.0.1",
            }
            assert {name: client.config_get(name)[name] for name in expected} == expected
    finally:
        server.stop(VALKEY_STOP_SECONDS)


def test_it_keeps_its_data_when_it_is_stopped_and_when_it_is_killed(folder):
    for value, stop in (("stopped", lambda s: s.stop(VALKEY_STOP_SECONDS)), ("killed", lambda s: s.process.kill())):
        server, url = start_valkey(folder)
        with client_of(url) as client:
            client.config_set("appendfsync", "always")
            client.set("key", value)
        stop(server)
        server.process.wait(10)
        server, url = start_valkey(folder)
        with client_of(url) as client:
            assert client.get("key") == value
        server.stop(VALKEY_STOP_SECONDS)


def test_what_keeps_it_from_starting_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("otp_service.cli.dev._CONFIGURATION", "nonsense yes\n")
    with pytest.raises(ConfigurationError, match="does not start"):
        start_valkey(tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="a process is bound to its parent's life on Linux only")
def test_it_does_not_outlive_a_parent_that_is_killed(tmp_path):
    program = (
        "import sys, time; from pathlib import Path; from otp_service.cli.dev import start_valkey;"
        "print(start_valkey(Path(sys.argv[1]))[1], flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    with parent:
        assert parent.stdout.readline().startswith("redis://127.0.0.1:")
        children = family(parent.pid) - {parent.pid}
        assert children
        assert all(map(alive, children))
        parent.send_signal(signal.SIGKILL)
    assert all_end(children, 5)
