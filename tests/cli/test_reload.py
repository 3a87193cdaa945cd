"""SIGHUP: settings are read anew while requests are answered and messages are sent."""

import contextlib
import gc
import http.client
import json
import os
import secrets
import signal
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from pytest_httpserver import HTTPServer
from support_cli import all_end, family
from support_frozen import FrozenValkey
from support_installation import API_KEY, key
from support_rotation import FREE, RootKeys
from support_service import Service, eventually, in_parallel, running
from support_valkey import ValkeyServer
from werkzeug import Request, Response

from otp_service import bootstrap
from otp_service.api.app import ReloadableService, create_app
from otp_service.api.app import Service as ApiService
from otp_service.domain.keyring import api_key_hash

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def own_valkey(tmp_path_factory: pytest.TempPathFactory):
    server = ValkeyServer(tmp_path_factory.mktemp("valkey"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory):
    return RootKeys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory, own_valkey: ValkeyServer, keys: RootKeys):
    """A service for tests that leave it running."""
    with running(tmp_path_factory.mktemp("service"), own_valkey, environ=keys.environ, limits=FREE) as started:
        yield started


@pytest.fixture
def service(lasting: Service, keys: RootKeys):
    """The same, its processes all there; its files are as they were when the next test begins."""
    wait_for_workers(lasting)
    config = lasting.config.read_text()
    yield lasting
    lasting.config.write_text(config)
    keys.write("k1")
    lasting.reload()


@pytest.fixture
def number() -> str:
    """A number of the test's own."""
    return f"+92300{secrets.randbelow(10_000_000):07d}"


@pytest.fixture
def other() -> str:
    """Another one."""
    return f"+92301{secrets.randbelow(10_000_000):07d}"


def wait_for_workers(service: Service) -> None:
    eventually(lambda: service.told("worker_started") >= len(service.workers))


def since(service: Service, event: str, before: int, count: int) -> list[dict[str, object]]:
    """Return what was logged of an event beyond what was before, as soon as that is so much."""
    return eventually(lambda: told if len(told := service.events(event)[before:]) == count else [])


def changed(service: Service, **sections: object) -> None:
    """Write other settings into the configuration file; members given replace those that are there."""
    table = json.loads(service.config.read_text())
    for name, members in sections.items():
        table[name] = {**table.get(name, {}), **members}
    service.config.write_text(json.dumps(table))


def test_settings_that_no_start_would_accept_change_nothing_and_are_told(service: Service, keys: RootKeys, number: str):
    before, reloaded = service.told("reload_refused"), service.told("reloaded")
    keys.file.write_text(f"{keys.materials['k1']} k2:{key()[:20]}")
    changed(service, limits={"number": ["often"]})
    service.hang_up()
    for refused in since(service, "reload_refused", before, 2):
        assert refused["level"] == "error"
        assert [fault.partition(":")[0] for fault in refused["faults"]] == ["limits.number"]
    changed(service, limits=FREE)
    service.hang_up()
    *_, last = since(service, "reload_refused", before, 4)
    assert [fault.partition(":")[0] for fault in last["faults"]] == ["OTP_SERVICE_ROOT_KEYS"]
    verification = service.start(number)
    assert service.check(verification, service.code(verification))["valid"]
    assert not any(material.partition(":")[2][:16] in service.logs() for material in keys.materials.values())
    assert service.told("reloaded") == reloaded


def test_another_pseudonym_key_is_refused_as_at_a_start(tmp_path: Path, valkey: ValkeyServer):
    file = tmp_path / "pseudonym"
    file.write_text(key())
    named = {"OTP_SERVICE_PSEUDONYM_KEY": "", "OTP_SERVICE_PSEUDONYM_KEY_FILE": str(file)}
    with running(tmp_path, valkey, workers=0, environ=named) as service:
        file.write_text(key())
        service.hang_up()
        (refused,) = eventually(lambda: service.events("reload_refused"))
        assert "another pseudonym_key" in refused["faults"][0]
        service.start()


def test_what_needs_a_restart_is_told_and_stays_as_it_was(service: Service, number: str):
    changed(
        service,
        http={"port": 1, "processes": 3, "threads": 3, "ledger_calls": 3, "metrics_port": 2},
        worker={"metrics_port": 3},
        redis={"url": service.valkey.url.replace("/0", "/1")},
        ledger={"url": f"sqlite:///{service.folder / 'other.db'}"},
    )
    before = service.told("restart_needed")
    service.reload()
    assert {tuple(one["settings"]) for one in service.events("restart_needed")[before:]} == {
        (
            *("http.port", "http.processes", "http.threads", "http.ledger_calls", "http.metrics_port"),
            *("redis.url", "ledger.url"),
        ),
        ("worker.metrics_port", "redis.url", "ledger.url"),
    }
    verification = service.start(number)
    assert service.check(verification, service.code(verification))["valid"]
    assert not (service.folder / "other.db").exists()
    assert len(served_by(service)) == 2


def test_an_api_key_comes_and_goes_with_the_configuration_file(service: Service, number: str):
    shop = json.loads(service.config.read_text())["applications"]["shop"]
    body, second = {"to": number}, "otp_test_second"
    assert service.post("/v1/verifications", body, key=second).status_code == 401
    changed(service, applications={"shop": {**shop, "keys": [api_key_hash(API_KEY), api_key_hash(second)]}})
    service.reload()
    assert service.post("/v1/verifications", body, key=second).status_code == 201
    changed(service, applications={"shop": {**shop, "keys": [api_key_hash(second)]}})
    service.reload()
    assert service.post("/v1/verifications", body).status_code == 401
    assert service.post("/v1/verifications", body, key=second).status_code == 201


def served_by(service: Service) -> set[int]:
    """Return the processes that serve: not their parent, and not the one by which multiprocessing cleans up."""
    (serve,) = service.children
    served = set()
    for one in family(serve.pid):
        with contextlib.suppress(OSError):  # it has ended
            if "multiprocessing-fork" in Path(f"/proc/{one}/cmdline").read_text():
                served.add(one)
    return served


@pytest.fixture(scope="module")
def provider():
    """A gateway's provider that takes its time over each call, and remembers with which secret it was made."""
    provider = Provider()
    with HTTPServer() as server:
        server.expect_request("/messages").respond_with_handler(provider)
        provider.url = server.url_for("/messages")
        yield provider


class Provider:
    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        self.seconds = 0.0
        self.url = ""

    def __call__(self, request: Request) -> Response:
        self.calls.append((request.get_json()["to"], request.headers["X-Secret"]))
        time.sleep(self.seconds)
        return Response("{}", 200)

    def serves(self, number: str) -> str | None:
        """Return the secret with which a message to a number was sent."""
        return dict(self.calls).get(number)

    def settings(self) -> dict[str, object]:
        return {
            "kind": "http",
            "url": self.url,
            "timeout": 8.0,
            "headers": {"X-Secret": "{secret.word}"},
            "json": {"id": "{dispatch_id}", "to": "{to}", "text": "{text}"},
        }


@pytest.fixture(scope="module")
def secret(tmp_path_factory: pytest.TempPathFactory):
    """The file with the secret of a gateway."""
    file = tmp_path_factory.mktemp("secret") / "word"
    file.write_text("the-first-word")
    return file


@pytest.fixture(scope="module")
def sending(tmp_path_factory: pytest.TempPathFactory, provider: Provider, secret: Path):
    """A service whose messages go to the provider, in a Redis of its own."""
    folder = tmp_path_factory.mktemp("sending")
    server = ValkeyServer(folder)
    named = {"OTP_SERVICE__GATEWAYS__MAIN__SECRETS__WORD_FILE": str(secret)}
    sections = {"gateways": {"main": provider.settings()}, "routes": [{"gateways": ["main"]}], "limits": FREE}
    try:
        with running(folder, server, environ=named, **sections) as service:
            wait_for_workers(service)
            yield service
    finally:
        server.stop()


def test_a_gateways_credential_that_changes_in_its_file_is_used(
    sending: Service, provider: Provider, secret: Path, number: str, other: str
):
    sending.start(number)
    assert eventually(lambda: provider.serves(number)) == "the-first-word"
    secret.write_text("the-second-word")
    sending.reload()
    sending.start(other)
    assert eventually(lambda: provider.serves(other)) == "the-second-word"
    assert "the-second-word" not in sending.logs()


def test_a_message_that_is_being_handed_over_at_a_reload_is_sent_once(
    sending: Service, provider: Provider, number: str, other: str
):
    before = sending.told("reloaded")
    provider.seconds = 1.5  # the worker reloads when the call is over
    slow = sending.start(number)
    eventually(lambda: provider.serves(number))
    (worker,) = sending.workers
    worker.send_signal(signal.SIGHUP)
    eventually(lambda: sending.told("reloaded") > before)
    provider.seconds = 0.0
    sending.start(other)
    eventually(lambda: provider.serves(other))
    deliveries = sending.get(f"/v1/verifications/{slow}").json()["deliveries"]
    assert [one["status"] for one in deliveries] == ["sent"]
    assert sorted(to for to, _ in provider.calls if to in {number, other}) == sorted([number, other])
    assert worker.poll() is None


def test_a_storm_of_hangups_loses_no_request(service: Service, number: str):
    over, counted, before = threading.Event(), [], service.told("reloaded")

    def call(keeps):
        """Ask again and again, without retries; with ``keeps`` always over the same connection."""
        answers = 0
        with contextlib.closing(connected(service)) as connection:
            while not over.is_set():
                connection.request("GET", "/healthz")
                assert connection.getresponse().read()
                answers += 1
                if not keeps:
                    connection.close()
                time.sleep(0.001)
        counted.append(answers)

    def storm():
        try:
            for _ in range(300):
                service.hang_up()
                time.sleep(0.005)
            eventually(lambda: service.told("reloaded") >= before + 4, 120)
        finally:
            over.set()

    in_parallel(7, lambda one: call(one % 2) if one else storm())
    assert len(counted) == 6
    assert min(counted) > 0
    verification = service.start(number)
    assert service.check(verification, service.code(verification))["valid"]
    eventually(lambda: stays_the_same(lambda: service.told("reloaded")))  # the last of the storm comes after it


def stays_the_same(what: Callable[[], object], seconds: float = 3.0) -> bool:
    before = what()
    time.sleep(seconds)
    return what() == before


def connected(service: Service) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", int(service.base.rpartition(":")[2]), timeout=30)


def test_a_kept_connection_outlives_a_reload(service: Service):
    before = served_by(service)
    with contextlib.closing(connected(service)) as kept:
        kept.request("GET", "/healthz")
        assert kept.getresponse().read()
        port = kept.sock.getsockname()[1]
        service.reload()
        kept.request("GET", "/healthz")
        answer = kept.getresponse()
        assert (answer.status, answer.headers["Connection"], bool(answer.read())) == (200, None, True)
        assert kept.sock.getsockname()[1] == port
    assert served_by(service) == before


def test_a_process_that_replaces_one_that_died_has_the_settings_in_force(service: Service, number: str):
    shop = json.loads(service.config.read_text())["applications"]["shop"]
    second = "otp_test_second"
    changed(service, applications={"shop": {**shop, "keys": [api_key_hash(second)]}})
    service.reload()
    changed(service, applications={"shop": shop})  # not reloaded
    before = served_by(service)
    for process in before:
        os.kill(process, signal.SIGKILL)
    eventually(lambda: len(now := served_by(service)) == 2 and not now & before)
    eventually(lambda: in_parallel(8, lambda _: is_alive(service)) == [True] * 8)
    statuses = {service.post("/v1/verifications", {"to": number}, key=second).status_code for _ in range(4)}
    assert statuses == {201}


def is_alive(service: Service) -> bool:
    with contextlib.suppress(requests.ConnectionError):
        return service.get("/healthz").ok
    return False


def test_nothing_is_kept_of_settings_before(frozen: FrozenValkey):
    installed = frozen.world().install()

    def another() -> ApiService:
        made = create_app(bootstrap.install(installed.settings, installed.client))
        made.on_close()
        return made

    old = another()
    service, gone = ReloadableService(old), weakref.ref(old)
    del old
    service.replace(another())

    gc.collect()
    assert gone() is None, "it holds keys that may have been removed"


@pytest.mark.parametrize("phase", [0.0, 0.3, 1.5])
def test_processes_that_reload_end_when_they_are_asked_to(tmp_path: Path, valkey: ValkeyServer, phase: float):
    with running(tmp_path, valkey) as service:
        service.hang_up()
        time.sleep(phase)
        everybody = [one for child in (*service.children, *service.workers) for one in family(child.pid)]
        service.stop()
        assert [child.returncode for child in (*service.children, *service.workers)] == [0, 0]
        assert all_end(everybody, 10)
        assert "Traceback" not in service.logs()


def test_where_one_process_cannot_use_the_settings_none_does(tmp_path: Path, valkey: ValkeyServer, keys: RootKeys):
    hook, fails = tmp_path / "hook", tmp_path / "fails"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(FAIL_ONCE.format(file=str(fails)))
    environ = {"PYTHONPATH": str(hook), **keys.environ}
    with running(tmp_path, valkey, workers=0, environ=environ, limits=FREE) as service:
        eventually(lambda: len([*tmp_path.glob("fails.*")]) == 2)  # both processes have read their settings
        before = served_by(service)
        keys.write("k2")
        fails.touch()
        service.hang_up()
        eventually(lambda: service.told("reload_failed"))
        assert {service.start().split("_")[1] for _ in range(8)} == {"k1"}
        service.reload()
        assert {service.start().split("_")[1] for _ in range(8)} == {"k2"}
        assert served_by(service) == before


FAIL_ONCE = """
import importlib.abc, multiprocessing, os, sys

class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "otp_service.wsgi" and multiprocessing.parent_process():
            sys.meta_path.remove(self)
            from otp_service.bootstrap import install
            import otp_service.bootstrap as bootstrap

            def fail_once(settings):
                try:
                    os.remove({file!r})
                except FileNotFoundError:
                    installation = install(settings)
                    open(f"{{{file!r}}}.{{os.getpid()}}", "w").close()
                    return installation
                raise RuntimeError("no")

            bootstrap.install = fail_once

sys.meta_path.insert(0, Refuse())
"""
