"""What becomes of a request when the server is gone, silent, full, restarted or confused."""

import gc
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from support_caller import Caller
from support_evaluator import snapshot
from support_installation import World, tree
from support_outbox import jobs_of, queue
from support_sentinel import wait_until
from support_service import in_parallel
from support_valkey import ValkeyServer

from otp_service.domain.consents import ConsentMode
from otp_service.domain.keyring import new_dispatch_id
from otp_service.domain.routing import CallResult
from otp_service.errors import NotFoundError, StoreUnavailableError
from otp_service.store import keys
from otp_service.store.connection import PAUSE, translate_errors
from otp_service.store.library import library
from otp_service.store.mirror import MirrorQuery
from otp_service.store.outbox import CONSUMER_GROUP

PATIENCE = 1.5
"""Seconds until a caller must have an answer, whatever the server does."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ValkeyServer]:
    """A server of the test's own: it will not be treated well."""
    made = ValkeyServer(tmp_path)
    yield made
    os.kill(made.process.pid, signal.SIGCONT) if made.process.poll() is None else None
    made.stop(kill=True)


@pytest.fixture
def shop(server: ValkeyServer) -> Caller:
    return _shop(server)


def _shop(server: ValkeyServer, **sections: Any) -> Caller:
    world = World(server.client, server.url, time.sleep)
    return Caller(world.install(purposes={"login": {"resend_delays": [0]}}, **sections))


def _calls(shop: Caller) -> dict[str, Callable[[], Any]]:
    one = shop.start()
    code, store = shop.code(one), shop.context.store
    return {
        "start": lambda: shop.start("+923001234568"),
        "check": lambda: shop.check(one, code),
        "resend": lambda: shop.resend(one),
        "cancel": lambda: shop.cancel(one),
        "read": lambda: shop.read(one),
        "take a job": lambda: store.outbox.take("worker", 1),
        "wait for a job": lambda: store.outbox.wait(200),
        "sweep": lambda: store.outbox.sweep(1000),
        "learn from a call": lambda: store.health.observe("first", new_dispatch_id("00"), CallResult.BAD),
        "find a reference": lambda: store.references.dispatch_of("first", ("SM1",), "a receipt"),
        "how gateways are": lambda: store.health.of(("first",)),
        "dead letters": lambda: store.dead_letters.newest(1),
        "claim": lambda: store.outbox.claim("worker", 1, 10),
        "show limits": lambda: store.limits.windows("00", "somebody", ["shop"]),
        "caught messages": lambda: store.mailbox.messages("shop", None),
        "readiness": lambda: store.verifications.unavailable_reason(
            lambda _: MirrorQuery("", 0, ConsentMode.OFF), ("00",)
        ),
    }


def _assert_refused_in_time(call: Callable[[], Any], name: str) -> None:
    began = time.monotonic()
    with pytest.raises(StoreUnavailableError):
        call()
    assert time.monotonic() - began < PATIENCE, name


def test_a_server_that_is_gone_is_refused_at_once(shop: Caller, server: ValkeyServer) -> None:
    calls = _calls(shop)
    server.stop(kill=True)
    for name, call in calls.items():
        _assert_refused_in_time(call, name)
    server.start()
    shop.context.mirror_sync.refresh()

    assert shop.start()


def test_a_silent_server_is_refused_in_time(server: ValkeyServer) -> None:
    """Each call is an installation's of its own: of one that has noticed the silence only one call asks at a time."""
    names = ["start", "check", "resend", "cancel", "read", "take a job", "wait for a job", "readiness"]
    shared = {name: section for name, section in tree(server.url).items() if name in {"keys", "ledger"}}
    shops = [_shop(server, limits={"number": ["100/minute"]}, **shared) for _ in names]
    for shop in shops:
        shop.context.mirror_sync.refresh()
    silenced = threading.Barrier(len(names), lambda: os.kill(server.process.pid, signal.SIGSTOP))

    def ask(place: int) -> None:
        call = _calls(shops[place])[names[place]]  # which holds a connection now
        silenced.wait(30)
        _assert_refused_in_time(call, f"{names[place]} over a connection that was held")
        _assert_refused_in_time(call, f"{names[place]} over a new connection")

    in_parallel(len(names), ask)


def test_an_answer_that_comes_late_is_not_taken_for_anothers(shop: Caller, server: ValkeyServer) -> None:
    one, other = shop.start(), shop.start("+923001234568")
    for _ in range(2):
        os.kill(server.process.pid, signal.SIGSTOP)
        with pytest.raises(StoreUnavailableError):
            shop.read(one)
        os.kill(server.process.pid, signal.SIGCONT)
        time.sleep(PAUSE)
        assert shop.read(other).verification.id == other
        assert shop.read(one).verification.id == one
        assert shop.check(other, shop.wrong(other))[3] == "wrong_code"


def test_while_the_server_is_silent_one_asks_and_the_others_are_refused_at_once(
    shop: Caller, server: ValkeyServer
) -> None:
    one = shop.start()
    _silence(shop, server, one)

    def ask(_: int) -> float:
        began = time.monotonic()
        with pytest.raises(StoreUnavailableError):
            shop.read(one)
        return time.monotonic() - began

    assert max(ask(place) for place in range(20)) < 0.1
    time.sleep(PAUSE)
    waits = sorted(in_parallel(20, ask))
    assert waits[-2] < 0.5 < waits[-1] < PATIENCE
    os.kill(server.process.pid, signal.SIGCONT)
    time.sleep(PAUSE)
    assert shop.read(one).verification.id == one
    assert len(in_parallel(20, lambda _: shop.read(one))) == 20


def test_a_server_that_was_silent_and_then_ended_is_asked_as_soon_as_it_is_back(
    shop: Caller, server: ValkeyServer
) -> None:
    one = shop.start()
    _silence(shop, server, one)
    server.stop(kill=True)
    time.sleep(PAUSE)
    with pytest.raises(StoreUnavailableError):  # it has the turn to ask, and is told at once
        shop.read(one)
    server.start()

    with pytest.raises(NotFoundError):  # an answer: it came back without data
        shop.read(one)


def _silence(shop: Caller, server: ValkeyServer, one: str) -> None:
    """Let the server answer nothing any more, and a caller notice."""
    os.kill(server.process.pid, signal.SIGSTOP)
    with pytest.raises(StoreUnavailableError):
        shop.read(one)


def test_a_call_that_is_broken_off_leaves_no_answer_to_the_next(
    shop: Caller, server: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception between question and answer, such as an interrupt, must not shift answers by one."""
    one, other = shop.start(), shop.start("+923001234568")
    runner = shop.context.store.verifications._scripts
    monkeypatch.setattr(runner._local.connection, "_answer", _interrupted)
    os.kill(server.process.pid, signal.SIGSTOP)
    with pytest.raises(KeyboardInterrupt):
        shop.read(one)
    monkeypatch.undo()
    threading.Timer(0.2, os.kill, (server.process.pid, signal.SIGCONT)).start()

    assert shop.read(other).verification.pseudonym != shop.read(one).verification.pseudonym
    assert shop.read(other).mask.endswith("568")


def _interrupted(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("kill", [True, False])
def test_a_connection_that_the_server_closed_is_replaced_unseen(shop: Caller, server: ValkeyServer, kill: bool) -> None:
    one = shop.start()
    server.stop(kill=kill)
    server.start()

    with pytest.raises(NotFoundError):
        shop.read(one)
    shop.context.mirror_sync.refresh()
    assert shop.start()


def test_a_connection_that_an_operator_killed_is_replaced_unseen(shop: Caller, server: ValkeyServer) -> None:
    one = shop.start()
    server.client.client_kill_filter(_type="normal", skipme=True)

    assert shop.read(one).verification.id == one


def test_all_parts_of_the_store_share_the_connection_of_a_thread(shop: Caller, server: ValkeyServer) -> None:
    before = len(server.client.client_list())
    shop.start()
    assert len(server.client.client_list()) == before + 1
    jobs_of(shop.context)

    assert len(server.client.client_list()) == before + 1


def test_each_thread_holds_a_connection_of_its_own(shop: Caller) -> None:
    one, seen = shop.start(), []
    threads = [
        threading.Thread(target=lambda: seen.extend(shop.read(one).verification.id for _ in range(100)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert seen == [one] * 400


def test_a_thread_that_ends_leaves_no_connection(shop: Caller, server: ValkeyServer) -> None:
    one = shop.start()
    before = len(server.client.client_list())
    thread = threading.Thread(target=lambda: shop.read(one))
    gc.disable()  # what refers to itself would be closed when it runs next
    try:
        thread.start()
        thread.join()
        wait_until(lambda: len(server.client.client_list()) == before, 5)
    finally:
        gc.enable()


def test_scripts_that_the_server_forgot_are_sent_again_unseen(shop: Caller, server: ValkeyServer) -> None:
    server.client.function_flush()
    one = shop.start()
    server.client.function_flush()

    assert shop.check(one, shop.wrong(one)) == ("pending", False, 4, "wrong_code")
    assert shop.read(one).verification.checks == 1
    server.client.function_flush()
    shop.context.store.server.load_scripts()
    assert server.client.function_list(library().name)


def test_rules_that_the_server_forgot_are_taught_again_unseen(shop: Caller, server: ValkeyServer) -> None:
    """As after a restart or a fail-over: the functions are kept and replicated, what they were taught is not."""
    one = shop.start()
    server.client.function_load(library().text, replace=True)

    assert shop.check(one, shop.wrong(one)) == ("pending", False, 4, "wrong_code")
    assert shop.read(one).verification.checks == 1
    wrong = shop.wrong(one)
    server.client.config_resetstat()
    shop.check(one, wrong)
    assert server.client.info("commandstats")["cmdstat_fcall"]["calls"] == 1, "and once only"


@pytest.mark.parametrize("name", ["start", "check", "resend", "cancel"])
def test_a_server_that_is_full_refuses_and_nothing_is_half_written(
    shop: Caller, server: ValkeyServer, name: str
) -> None:
    call = _calls(shop)[name]
    before = _without_lives(server)
    server.client.config_set("maxmemory", 1)
    _assert_refused_in_time(call, name)
    server.client.config_set("maxmemory", 0)

    assert _without_lives(server) == before
    assert call()


def test_a_full_server_counts_no_wrong_guess_and_ends_nothing(shop: Caller, server: ValkeyServer) -> None:
    one = shop.start()
    wrong = shop.wrong(one)
    server.client.config_set("maxmemory", 1)
    with pytest.raises(StoreUnavailableError):
        shop.check(one, wrong)
    server.client.config_set("maxmemory", 0)

    assert shop.check(one, wrong) == ("pending", False, 4, "wrong_code")


def _without_lives(server: ValkeyServer) -> dict[bytes, bytes | None]:
    return {name: dump for name, (dump, _) in snapshot(server.client).items()}


@pytest.mark.parametrize(
    ("forbid", "allow"),
    [
        (("CONFIG", "SET", "min-replicas-to-write", "1"), ("CONFIG", "SET", "min-replicas-to-write", "0")),
        (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE")),
    ],
    ids=["too few replicas", "a replica itself"],
)
def test_a_server_that_may_not_write_is_not_available(
    shop: Caller, server: ValkeyServer, forbid: tuple[str, ...], allow: tuple[str, ...]
) -> None:
    shop.context.mirror_sync.refresh()
    server.client.execute_command(*forbid)
    _assert_refused_in_time(shop.start, "start")
    server.client.execute_command(*allow)

    assert shop.start()


def test_a_server_that_is_busy_with_anothers_script_is_not_available(shop: Caller, server: ValkeyServer) -> None:
    shop.start()
    server.client.config_set("busy-reply-threshold", 50)
    endless = threading.Thread(target=_run_endlessly, args=(server.url,))
    endless.start()
    time.sleep(0.2)
    _assert_refused_in_time(shop.start, "start")
    server.client.script_kill()
    endless.join()

    assert shop.start()


def _run_endlessly(url: str) -> None:
    with pytest.raises(redis.RedisError), redis.Redis.from_url(url) as client:
        client.eval("while true do end", 0)


def test_a_command_that_finds_another_type_is_not_swallowed(shop: Caller, server: ValkeyServer) -> None:
    server.client.set(keys.sandbox_messages("shop"), "not a list")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        shop.context.store.mailbox.messages("shop", None)


def test_a_worker_whose_server_lost_its_data_goes_on_with_what_comes(shop: Caller, server: ValkeyServer) -> None:
    """It may hold messages for as long as it likes: nothing that it says of them may keep it from its work."""
    outbox = shop.context.store.outbox
    shop.start()
    jobs = jobs_of(shop.context)
    assert jobs
    server.client.flushall()
    outbox.renew("worker", jobs)
    outbox.requeue_job("worker", jobs)
    outbox.sweep(0)
    outbox.wait(1)
    assert outbox.take("worker", 1) == []
    shop.context.mirror_sync.refresh()
    one = shop.start()

    assert [job.id for job in outbox.take("worker", 1)] == [one]


def test_a_group_that_is_not_there_is_the_servers_state_and_no_defect(shop: Caller, server: ValkeyServer) -> None:
    shop.start()
    with pytest.raises(StoreUnavailableError), translate_errors():
        server.client.xgroup_delconsumer(queue(), CONSUMER_GROUP, "worker")


def test_a_script_that_fails_is_not_swallowed(shop: Caller, server: ValkeyServer) -> None:
    one = shop.start()
    server.client.rename(f"otp:{{00}}:v:{one}", "aside")
    server.client.set(f"otp:{{00}}:v:{one}", "not a record")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        shop.cancel(one)
    server.client.rename("aside", f"otp:{{00}}:v:{one}")

    assert shop.read(one).verification.id == one
