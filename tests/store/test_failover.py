"""Another server takes over: nothing is approved twice, and nothing that was answered is forgotten."""

import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest
from redis.sentinel import MasterNotFoundError
from support_caller import Caller
from support_installation import NUMBER, key, tree
from support_sentinel import URL, Node, TellingSentinel, nodes, sentinels, wait_until

from otp_service import bootstrap
from otp_service.bootstrap import Installation
from otp_service.domain.consents import SuppressionSource
from otp_service.domain.numbers import parse_destination, subject_key
from otp_service.errors import StoreUnavailableError
from otp_service.services.operator_actions import fail_over
from otp_service.services.subjects import freeze
from otp_service.settings import Settings, settings_from
from otp_service.store import connection
from otp_service.store.connection import Sentinels, begin_failover, connect, primary_address, server_time
from otp_service.store.keys import INSTALLATION, mirror, record


class Pair:
    """A primary, its replica, and a Sentinel that tells which is which; installations share them and their keys."""

    def __init__(self, folder: Path) -> None:
        self.first = Node(folder / "first")
        self.second = Node(folder / "second", self.first.port)
        self.sentinel = TellingSentinel()
        self.sentinel.primary, self.sentinel.replicas = self.first.port, [self.second.port]
        self._tree = tree(URL, keys={"root": f"k1:{key()}", "pseudonym": key()})

    def install(self, replicas: int | None = None, **members: Any) -> Installation:
        """Return one more installation, with connections of its own."""
        installed = bootstrap.install(self.settings(replicas=replicas, **members))
        installed.context.mirror_sync.refresh()
        return installed

    def settings(self, **members: Any) -> Settings:
        redis = {"url": URL, "sentinels": [self.sentinel.address], **members}
        return settings_from({**self._tree, "redis": redis})

    def promote(self) -> None:
        """Let the replica take over from a primary that is no more."""
        self.first.kill()
        self.second.client.replicaof("NO", "ONE")
        self.sentinel.primary, self.sentinel.replicas = self.second.port, [self.first.port]

    def stop_replica(self) -> None:
        self.second.process.send_signal(signal.SIGSTOP)

    def resume_replica(self) -> None:
        self.second.process.send_signal(signal.SIGCONT)


class Three(Pair):
    """A primary with two replicas."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.third = Node(folder / "third", self.first.port)
        self.sentinel.replicas.append(self.third.port)

    def promote(self) -> None:
        super().promote()
        self.sentinel.replicas.append(self.third.port)

    def follow(self) -> None:
        """Let the other replica follow the one that took over."""
        self.third.client.replicaof("127.0.0.1", self.second.port)
        wait_until(lambda: self.third.replication()["master_link_status"] == "up")

    def give_up(self, replicas: int | None = None) -> None:
        """End the time in which it may be known what the other had."""
        with suppress(StoreUnavailableError):
            Caller(bootstrap.install(self.settings(replicas=replicas))).read("vf_k1_00" + 32 * "0")
        self.second.client.hset(INSTALLATION, "undecided", server_time(self.second.client) - 1)


@pytest.fixture
def three(tmp_path: Path) -> Iterator[Three]:
    made = Three(tmp_path)
    with nodes(made.first, made.second, made.third):
        yield made
    made.sentinel.close()


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    made = Pair(tmp_path)
    with nodes(made.first, made.second):
        yield made
    made.sentinel.close()


def acts(installed: Installation) -> set[tuple[str, str]]:
    """Return what operators did, and to what, or what came of it."""
    return {(one.action, one.target) for one in installed.context.ledger.operator_actions.between(None, None, 10)}


def fence(installed: Installation) -> int | None:
    return installed.context.store.fences.current()


def started_by(another: ThreadPoolExecutor, shop: Caller) -> str:
    """Let another thread start a verification as soon as it can: nobody asks for half a second after a silence."""
    started: list[str] = []

    def starts() -> bool:
        with suppress(StoreUnavailableError):
            started.append(another.submit(shop.start, "+923001234569").result())
        return bool(started)

    wait_until(starts)
    return started[0]


def test_what_was_started_before_a_take_over_is_expired_for_whoever_comes_first(pair):
    shop = Caller(pair.install(replicas=0))
    one = shop.start()
    code = shop.code(one)
    pair.promote()

    assert shop.check(one, code)[0] == "expired"
    assert fence(pair.install(replicas=0))

    another = shop.start("+923001234568")
    assert shop.check(another, shop.code(another))[1]


def approves(shop: Caller, one: str, code: str) -> bool:
    """Tell whether a code is approved, once anything is answered."""
    answers: list[bool] = []

    def asks() -> bool:
        with suppress(StoreUnavailableError):
            answers.append(shop.check(one, code)[1])
        return bool(answers)

    wait_until(asks)
    return answers[0]


def test_with_a_replica_that_is_waited_for_what_was_started_before_a_take_over_lives_on(pair):
    shop = Caller(pair.install())
    one = shop.start()
    code, wrong = shop.code(one), shop.wrong(one)
    used = shop.start("+923001234568")
    assert shop.check(used, shop.code(used))[1]
    assert shop.check(one, wrong) == ("pending", False, 4, "wrong_code")
    pair.promote()
    with nodes(Node(pair.first.folder.parent / "another", pair.second.port)):
        assert approves(shop, one, code)
        assert shop.read(one).verification.checks == 2
        assert shop.check(used, shop.code(used))[3] == "already_approved"
    assert fence(pair.install()) is None


def test_codes_of_apps_have_nothing_to_wait_for_where_nothing_was_lost(pair):
    """Else all codes that may have been used have to end first."""
    shop, head = Caller(pair.install()), mirror("00")
    one = shop.start()
    since = pair.first.client.hmget(head, "since", "since_of")
    pair.promote()
    with nodes(Node(pair.first.folder.parent / "another", pair.second.port)):
        assert approves(shop, one, shop.code(one))
        shop.context.mirror_sync.refresh()

    assert since[0]
    assert pair.second.client.hmget(head, "since", "since_of") == since


def test_of_three_servers_the_one_that_took_over_serves_once_the_other_is_known_to_have_had_no_more(three):
    shop = Caller(three.install())
    one = shop.start()
    code = shop.code(one)
    three.promote()
    with pytest.raises(StoreUnavailableError):
        shop.read(one)
    three.follow()

    assert approves(shop, one, code)
    assert fence(three.install()) is None


def test_where_sentinels_know_fewer_servers_than_were_waited_for_it_is_not_known_what_others_had(pair):
    shop = Caller(pair.install())
    one = shop.start()
    pair.promote()
    pair.sentinel.replicas = []
    with pytest.raises(StoreUnavailableError):
        shop.read(one)
    pair.sentinel.replicas = [pair.first.port]

    assert shop.read(one).verification.status == "pending"


def test_where_the_other_had_more_what_was_started_before_is_expired(three):
    shop = Caller(three.install())
    one = shop.start()
    code = shop.code(one)
    three.first.client.wait(2, 1000)
    three.second.client.replicaof("127.0.0.1", 1)
    assert shop.check(one, code)[1], "the other has it"
    three.promote()
    three.follow()
    with pytest.raises(StoreUnavailableError):
        shop.read(one)  # the first may have had no more, and tell it
    three.first.start(three.second.port)

    assert not approves(shop, one, code)
    assert shop.read(one).verification.status == "expired"
    assert fence(three.install())


def test_where_nobody_knows_what_the_other_had_it_is_expired_after_a_while(three):
    shop = Caller(three.install())
    one = shop.start()
    code = shop.code(one)
    three.promote()
    three.third.kill()
    three.give_up()
    with nodes(Node(three.first.folder.parent / "another", three.second.port)):
        assert not approves(shop, one, code)
    assert fence(three.install())


def test_with_both_replicas_waited_for_either_serves_at_once(three):
    shop = Caller(three.install(replicas=2))
    one = shop.start()
    code = shop.code(one)
    three.promote()
    assert shop.read(one)
    three.follow()
    with nodes(Node(three.first.folder.parent / "another", three.second.port)):
        assert approves(shop, one, code)


def test_a_primary_that_was_restarted_is_fenced_though_a_replica_has_all(pair):
    shop = Caller(pair.install())
    one = shop.start()
    code = shop.code(one)
    pair.first.kill()
    pair.first.start()
    wait_until(lambda: pair.first.replication()["connected_slaves"] == 1)

    assert not approves(shop, one, code)


@pytest.mark.parametrize("restarted", ["first", "second"])
def test_a_server_that_was_started_from_a_copy_is_fenced(pair, restarted):
    """It names the history that the copy is of, as if it had gone on with it."""
    shop = Caller(pair.install())
    one = shop.start()
    code = shop.code(one)
    node = getattr(pair, restarted)
    pair.first.client.wait(1, 1000)
    node.snapshot()
    assert shop.check(one, code)[1]
    pair.second.kill()
    pair.first.kill()
    if node is pair.first:
        node.start()
        former = node.replication()["master_replid2"]
    else:
        node.start(pair.first.port, reaches=False)
        former = node.replication()["master_replid"]
        pair.promote()
    assert former == node.client.hget(INSTALLATION, "history").decode()
    with nodes(Node(pair.first.folder.parent / "another", node.port)):
        assert not approves(shop, one, code)
    assert fence(pair.install())


def test_one_that_follows_and_was_started_from_a_copy_proves_nothing(three):
    shop = Caller(three.install())
    one = shop.start()
    code = shop.code(one)
    three.first.client.wait(2, 1000)
    three.first.snapshot()
    three.second.client.replicaof("127.0.0.1", 1)
    assert shop.check(one, code)[1], "the other has it"
    three.promote()
    former = three.second.replication()["master_replid2"]
    with pytest.raises(StoreUnavailableError):
        shop.read(one)
    three.first.start(three.second.port)
    assert three.first.replication()["master_replid2"] == former, "it went on where it was"
    three.give_up()

    assert not approves(shop, one, code)


def test_replicas_are_counted_as_whoever_waited_for_fewest_did(three):
    fewer, more = Caller(three.install(replicas=1)), Caller(three.install(replicas=2))
    one = fewer.start()
    code = fewer.code(one)
    three.first.client.wait(2, 1000)
    three.second.client.replicaof("127.0.0.1", 1)
    assert fewer.check(one, code)[1], "the other has it"
    three.promote()
    with pytest.raises(StoreUnavailableError):
        more.read(one)
    three.follow()
    three.give_up(replicas=2)

    assert more.read(one).verification.status == "expired"
    assert three.second.client.hget(INSTALLATION, "replicas") == b"2", "of what is answered from now on"


def test_of_two_take_overs_after_each_other_the_second_is_fenced_where_nobody_met_the_first(three):
    shop = Caller(three.install(replicas=2))
    one = shop.start()
    three.promote()
    three.follow()
    three.second.kill()
    three.third.client.replicaof("NO", "ONE")
    three.sentinel.primary, three.sentinel.replicas = three.third.port, [three.first.port, three.second.port]

    assert shop.read(one).verification.status == "expired"


def test_a_take_over_is_fenced_once(pair):
    first, second = (Caller(pair.install(replicas=0)) for _ in range(2))
    pair.promote()
    one = first.start()
    stands = fence(pair.install(replicas=0))

    assert second.check(one, second.code(one))[1]
    assert fence(pair.install(replicas=0)) == stands


def test_a_primary_that_is_a_replica_now_is_left_for_the_new_one(pair):
    shop = Caller(pair.install(replicas=0))
    shop.start()
    pair.second.client.replicaof("NO", "ONE")
    pair.sentinel.primary = pair.second.port
    pair.first.client.replicaof("127.0.0.1", pair.second.port)

    with pytest.raises(StoreUnavailableError):
        shop.start("+923001234568")
    assert shop.start("+923001234568")


def test_an_approval_is_answered_once_a_replica_has_it_and_not_before(pair):
    shop = Caller(pair.install())
    one = shop.start()
    code = shop.code(one)
    retry = shop.retry("a", "check", one, code)
    pair.stop_replica()

    with pytest.raises(StoreUnavailableError):
        shop.check(one, code, retry=retry)
    # It is approved by now, and that is on one server alone. Another connection has written nothing yet, and what it
    # asks for is only read: an answer now would be forgotten with the primary.
    other = Caller(pair.install(timeout=0.3))
    with pytest.raises(StoreUnavailableError):
        other.check(one, code, retry=other.retry("a", "check", one, code))
    with pytest.raises(StoreUnavailableError):
        Caller(pair.install(timeout=0.3)).check(one, code)

    pair.resume_replica()
    assert Caller(pair.install()).check(one, code, retry=retry)[:2] == ("approved", True)


def test_a_wrong_code_and_a_start_need_a_replica_too(pair):
    installed = pair.install(timeout=0.3)
    shop = Caller(installed)
    one = shop.start()
    pair.stop_replica()

    with pytest.raises(StoreUnavailableError):
        shop.check(one, shop.wrong(one))
    with pytest.raises(StoreUnavailableError):
        Caller(pair.install(timeout=0.3)).start("+923001234568")
    assert shop.read(one).verification.checks == 1


def test_what_is_approved_is_read_once_a_replica_knows_and_not_before(pair):
    shop = Caller(pair.install(timeout=0.3))
    one, pending = shop.start(), shop.start("+923001234568")
    code = shop.code(one)
    pair.stop_replica()
    with pytest.raises(StoreUnavailableError):
        shop.check(one, code)

    with pytest.raises(StoreUnavailableError):
        Caller(pair.install(timeout=0.3)).read(one)
    assert Caller(pair.install(timeout=0.3)).read(pending).verification.status == "pending"
    pair.resume_replica()
    assert Caller(pair.install()).read(one).verification.status == "approved"


def test_a_freeze_is_answered_once_a_replica_has_it_and_not_before(pair):
    installed = pair.install(timeout=0.3)
    to = subject_key(installed.context.keyring, parse_destination(NUMBER, None))
    pair.stop_replica()
    for _ in range(2):  # the second time it is there already
        with pytest.raises(StoreUnavailableError):
            freeze(installed.context, to, "ops", SuppressionSource.API)
        installed = pair.install(timeout=0.3)

    pair.resume_replica()
    freeze(pair.install().context, to, "ops", SuppressionSource.API)


def test_without_replicas_to_wait_for_nobody_waits(pair):
    shop = Caller(pair.install(replicas=0))
    one = shop.start()
    pair.stop_replica()

    assert shop.check(one, shop.code(one))[1]


def test_a_planned_fail_over_loses_and_fences_nothing(pair, tmp_path):
    with sentinels(tmp_path, pair.first.port, patience=30_000) as ports:
        addresses = [f"127.0.0.1:{port}" for port in ports]
        installed = pair.install(sentinels=addresses)
        shop = Caller(installed)
        one = shop.start()
        code = shop.code(one)

        assert fail_over(installed.context, "cli:ali")
        assert pair.second.replication()["role"] == "master"
        assert shop.check(one, code)[1]
        assert fence(installed) is None
        assert acts(installed) == {("failover-begun", ""), ("failover-ended", "nothing lost")}


def test_that_a_replica_is_to_take_over_is_recorded_before_it_is_asked_for_and_what_came_of_it_after(pair, monkeypatch):
    installed, answer, told = pair.install(), pair.sentinel.answer, []

    def look(command):
        told.extend(acts(installed) if b"FAILOVER" in command else ())
        return answer(command)

    monkeypatch.setattr(pair.sentinel, "answer", look)
    with pytest.raises(ValueError, match="No suitable replica"):
        fail_over(installed.context, "cli:ali")

    assert told == [("failover-begun", "")]
    assert acts(installed) == {("failover-begun", ""), ("failover-ended", "refused")}
    assert not pair.first.client.hexists(INSTALLATION, "failover"), "nobody waits for it"


def test_no_fail_over_is_planned_without_sentinels(pair):
    installed = pair.install(url=f"redis://127.0.0.1:{pair.first.port}/0", sentinels=[])

    with pytest.raises(ValueError, match="no Sentinels"):
        fail_over(installed.context, "cli:ali")
    assert acts(installed) == set()


def test_silent_sentinels_hold_up_one_caller_and_no_others(pair):
    with ExitStack() as stack:
        silent = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(3)]
        addresses = [f"127.0.0.1:{one.getsockname()[1]}" for one in silent]
        shop = Caller(bootstrap.install(pair.settings(sentinels=addresses)))
        for longest in (2.0, 0.2):
            began = time.monotonic()
            with pytest.raises(StoreUnavailableError):
                shop.read("vf_k1_00" + 32 * "0")
            assert time.monotonic() - began < longest


@pytest.mark.parametrize(
    "answer",
    [b"-ERR unknown command 'SENTINEL'", b"-NOPERM no permissions", b"HTTP/1.1 400", b"+OK", b"*-1", b"*1\r\n*0"],
)
def test_one_that_does_not_answer_as_a_sentinel_hides_no_other(pair, answer):
    odd = TellingSentinel()
    odd.answer = lambda _: answer + b"\r\n"

    assert Caller(pair.install(replicas=0, sentinels=[odd.address, pair.sentinel.address])).start()
    with pytest.raises(StoreUnavailableError):
        pair.install(sentinels=[odd.address])
    odd.close()


def test_the_newest_word_of_all_sentinels_holds():
    older, newer = (TellingSentinel() for _ in range(2))
    addresses = [one.server.server_address for one in (older, newer)]
    client = connect(URL, timeout=1, connect_timeout=1, sentinels=Sentinels(addresses))
    for newer.epoch in (1, 2):
        for older.primary, newer.primary in ((1, 2), (2, 1)):
            assert primary_address(client) == ("127.0.0.1", newer.primary)

    newer.flags = "master,failover_in_progress"
    for older.primary, older.epoch in ((1, 2), (2, 1)):  # the former primary, by whoever replaces it; another is older
        newer.primary = 1
        with pytest.raises(MasterNotFoundError):
            primary_address(client)
    older.epoch = 2
    assert primary_address(client) == ("127.0.0.1", 2)  # the new one, by who has learnt of it
    newer.flags = "master,s_down"
    assert primary_address(client) == ("127.0.0.1", 2)
    older.flags = "master,s_down"
    with pytest.raises(MasterNotFoundError):
        primary_address(client)
    for one in (older, newer):
        one.close()


def test_a_planned_fail_over_is_asked_of_a_sentinel_that_names_the_primary():
    unaware, stale, aware = (TellingSentinel() for _ in range(3))
    unaware.answer = lambda command: b"*0\r\n" if command[1].upper() == b"MASTERS" else b"-ERR No such master\r\n"
    stale.primary, aware.primary, aware.epoch = 1, 2, 1
    addresses = [one.server.server_address for one in (unaware, stale, aware)]
    client = connect(URL, timeout=1, connect_timeout=1, sentinels=Sentinels(addresses))
    asked = []
    answer = aware.answer
    aware.answer = lambda command: asked.append(command[1]) or answer(command)

    assert primary_address(client) == ("127.0.0.1", 2)
    with pytest.raises(ValueError, match="NOGOODSLAVE"):
        begin_failover(client)
    assert asked[-2:] == [b"CKQUORUM", b"FAILOVER"]
    aware.answer = lambda _: b"-NOQUORUM 1 usable Sentinels.\r\n"
    with pytest.raises(ValueError, match="NOQUORUM"):
        begin_failover(client)
    for one in (unaware, stale, aware):
        one.close()


def test_a_sentinel_that_is_silent_is_waited_for_once(pair, monkeypatch):
    monkeypatch.setattr(connection, "_SILENT", 60.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        shop = Caller(pair.install(replicas=0, sentinels=[address, pair.sentinel.address]))
        with ThreadPoolExecutor(1) as another:  # which has no connection yet
            assert another.submit(shop.start).result()
        silent.accept()[0].close()
        silent.setblocking(False)
        with pytest.raises(BlockingIOError):
            silent.accept()


def test_a_sentinel_that_was_silent_and_then_refuses_is_heard_as_soon_as_it_answers(monkeypatch):
    older, newer = (TellingSentinel() for _ in range(2))
    addresses = [one.server.server_address for one in (older, newer)]
    client = connect(URL, timeout=1, connect_timeout=0.2, sentinels=Sentinels(addresses))
    older.primary, newer.primary, newer.epoch = 1, 2, 1
    answer = newer.answer

    monkeypatch.setattr(connection, "_SILENT", 0.0)
    newer.answer = lambda _: time.sleep(1) or b""
    assert primary_address(client) == ("127.0.0.1", 1)
    monkeypatch.setattr(connection, "_SILENT", 60.0)
    newer.answer = lambda _: b"-ERR not yet\r\n"
    assert primary_address(client) == ("127.0.0.1", 1)
    newer.answer = answer
    assert primary_address(client) == ("127.0.0.1", 2)
    for one in (older, newer):
        one.close()


def test_while_a_primary_is_replaced_it_is_left_and_not_because_a_sentinel_does_not_see_it(pair):
    installed = pair.install(replicas=0)
    shop, server = Caller(installed), installed.context.store.server
    server.follow_primary()
    shop.start()
    pair.sentinel.flags = "master,s_down"
    with pytest.raises(StoreUnavailableError):
        server.follow_primary()
    assert shop.start("+923001234567")

    pair.sentinel.flags = "master,failover_in_progress"
    with pytest.raises(StoreUnavailableError):
        server.follow_primary()

    with pytest.raises(StoreUnavailableError):
        shop.start("+923001234568")
    pair.sentinel.flags = "master"
    with ThreadPoolExecutor(1) as another:
        assert started_by(another, shop)


@pytest.mark.parametrize(("answer", "goes_on"), [(b"-NOPERM no permissions", True), (b"*0", False)])
def test_whoever_has_a_connection_goes_on_unless_sentinels_say_that_the_primary_is_away(pair, answer, goes_on):
    shop = Caller(pair.install(replicas=0))
    one = shop.start()
    pair.sentinel.answer = lambda _: answer + b"\r\n"

    with ThreadPoolExecutor(1) as another:  # which has no connection yet
        for _ in range(2):
            with pytest.raises(StoreUnavailableError):
                another.submit(shop.read, one).result()
            with nullcontext() if goes_on else pytest.raises(StoreUnavailableError):
                assert shop.read(one)


def test_whoever_finds_no_primary_is_told_so(pair):
    shop = Caller(pair.install())
    pair.sentinel.close()
    pair.promote()

    with pytest.raises(StoreUnavailableError):
        shop.start()
    with pytest.raises(StoreUnavailableError):
        shop.start()


def test_while_a_fail_over_is_planned_others_wait_and_after_it_they_fence(pair):
    shop = Caller(pair.install(replicas=0))
    one = shop.start()
    pair.first.client.hset(INSTALLATION, "failover", server_time(pair.first.client) + 60_000)
    pair.first.client.wait(1, 1000)
    pair.promote()

    with pytest.raises(StoreUnavailableError):
        shop.read(one)
    pair.second.client.hset(INSTALLATION, "failover", server_time(pair.second.client) - 1)
    assert shop.check(one, shop.code(one))[0] == "expired"


def test_a_paused_primary_that_comes_back_is_left_though_it_answers(pair):
    installed = pair.install(replicas=0)
    shop, server = Caller(installed), installed.context.store.server
    server.follow_primary()
    shop.start()
    pair.second.client.replicaof("NO", "ONE")
    pair.sentinel.primary = pair.second.port

    lost = shop.start("+923001234568")
    assert pair.first.client.exists(record("00", lost)), "nobody has told it that it is the primary no more"
    server.follow_primary()
    one = shop.start("+923001234569")
    assert pair.second.client.exists(record("00", one))


def test_a_connection_from_before_a_silence_is_left(pair):
    shop = Caller(pair.install(replicas=0))
    with ThreadPoolExecutor(1) as another:
        another.submit(shop.start).result()
        pair.first.process.send_signal(signal.SIGSTOP)
        with pytest.raises(StoreUnavailableError):
            shop.start("+923001234568")
        pair.second.client.replicaof("NO", "ONE")
        pair.sentinel.primary = pair.second.port
        pair.first.process.send_signal(signal.SIGCONT)

        one = started_by(another, shop)
    assert pair.second.client.exists(record("00", one))


def test_a_primary_that_is_replaced_while_it_is_connected_to_is_asked_nothing(pair, monkeypatch):
    shop = Caller(pair.install(replicas=0))
    told = iter([pair.first.port])
    pair.second.client.replicaof("NO", "ONE")
    monkeypatch.setattr(connection, "primary_address", lambda _: ("127.0.0.1", next(told, pair.second.port)))

    with ThreadPoolExecutor(1) as another:  # which has no connection yet
        with pytest.raises(StoreUnavailableError):
            another.submit(shop.start).result()
        assert not pair.first.client.keys(record("00", "*"))
        assert pair.second.client.exists(record("00", another.submit(shop.start).result()))
