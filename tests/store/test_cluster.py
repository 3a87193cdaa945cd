"""A cluster of real servers: each script reaches the server that has its keys, once, or is refused."""

import json
import signal
import time
from contextlib import suppress
from functools import partial
from threading import Timer
from typing import Any

import pytest
from redis.crc import key_slot
from support_cluster import Cluster, ClusterNode
from support_memory import folder_in_memory
from support_sentinel import wait_until

from otp_service.domain.consents import LedgerPosition, MirrorChanges, NumberState
from otp_service.domain.guard import Ruleset
from otp_service.domain.keyring import Keyring
from otp_service.errors import StoreUnavailableError
from otp_service.store import keys
from otp_service.store.cluster import ClusterClient, SlotMap
from otp_service.store.connection import PAUSE, connect, server_time
from otp_service.store.events import EventLog
from otp_service.store.mirror import Fences, Mirror, MirrorHead, Server
from otp_service.store.outbox import Job, Outbox
from otp_service.store.rulesets import NO_RULES, compile_ruleset
from otp_service.store.script_runner import Replication, ScriptCall, ScriptRunner
from otp_service.store.streams import StreamLimits
from otp_service.store.verifications import VERSION

BUCKETS = tuple(f"{bucket:02x}" for bucket in range(64))
NETWORKS = [f"n{place}" for place in range(40)]
PATIENCE = 1.5
MORE_THAN_IS_ON_ITS_WAY = 48_000_000
"""Bytes that no socket holds."""
JOB = ["application", "shop", "purpose", "login", "country", "PK", "channel", "sms", "expires", "1", "queued", "1"]
JOB += ["message", "1", "generation", "1", "v", str(VERSION)]


class Process:
    """What a process has of a cluster."""

    def __init__(self, cluster: Cluster, replicas: int = 0, named: int = 0, timeout: float = 0.5) -> None:
        seed = connect(cluster.nodes[named].url, timeout=timeout, connect_timeout=0.25)
        self.slots = SlotMap(seed)
        self.fenced: list[bool] = []
        self.runner = ScriptRunner(
            seed, replication=Replication(replicas, 250, BUCKETS, lambda: self.fenced.append(True)), slots=self.slots
        )
        self.client: Any = ClusterClient(self.slots)
        self.fences = Fences(self.client, self.runner, BUCKETS)

    def count(self, network: str) -> int:
        """Count a page of a network, whose key counts how often the script has run."""
        return self.runner.run(page(network))  # type: ignore[no-any-return]

    def counted(self, network: str) -> int:
        return int(self.client.get(keys.page_requests(network)) or 0)

    def read(self, bucket: str) -> Any:
        """Run a script that asks for a bucket, under rules."""
        return self.runner.run(ScriptCall("number_read", (keys.number(bucket, "somebody"),), (), NO_RULES))

    def finds(self, bucket: str, node: ClusterNode) -> bool:
        """Tell whether it finds a bucket at a server when it looks where slots are."""
        self.slots.refresh()
        return self.slots.peer_of(keys.server(bucket)).name == f"127.0.0.1:{node.port}"

    def fence_of(self, bucket: str) -> Any:
        return self.client.hget(keys.fence(bucket), "at")


def page(network: str) -> ScriptCall:
    return ScriptCall("page_count", (keys.page_requests(network),), (100, 60_000))


@pytest.fixture
def process(cluster: Cluster) -> Process:
    return Process(cluster)


def test_each_call_reaches_the_server_that_has_its_keys(cluster: Cluster, process: Process) -> None:
    for network in NETWORKS:
        process.count(network)
    each = [len(list(node.client.scan_iter("otp:*:pages:*"))) for node in cluster.nodes]

    assert sum(each) == len(NETWORKS)
    assert min(each) > 0
    assert {process.counted(network) for network in NETWORKS} == {1}


def test_a_server_without_functions_or_rules_is_given_both(cluster: Cluster, process: Process) -> None:
    for bucket in BUCKETS:
        process.read(bucket)
    for node in cluster.nodes:
        node.client.function_flush("SYNC")

    assert {process.read(bucket)[0] for bucket in BUCKETS} == {b"number-read"}


def test_rules_are_taught_to_all_servers_before_a_process_serves(cluster: Cluster, process: Process) -> None:
    process.runner.register_ruleset(compile_ruleset(Ruleset()))

    assert [len(node.client.function_list(process.runner.library_name)) for node in cluster.nodes] == [1, 1, 1]


def test_calls_that_nobody_waits_for_are_done_also_where_a_server_is_slow(cluster: Cluster, process: Process) -> None:
    for network in NETWORKS:
        process.count(network)
    slow = cluster.nodes[1].process
    slow.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    process.runner.send_all([page(network) for network in NETWORKS])
    took = time.monotonic() - began
    slow.send_signal(signal.SIGCONT)

    assert took < 0.25, "half of the time in which a server has to answer"
    assert [process.count(network) for network in NETWORKS] == [0] * len(NETWORKS)
    assert {process.counted(network) for network in NETWORKS} == {3}


def test_after_a_slot_has_moved_it_is_asked_where_it_is_and_each_call_runs_once(
    cluster: Cluster, process: Process
) -> None:
    for network in NETWORKS:
        process.count(network)
    for network in NETWORKS[:6]:
        at = cluster.of(keys.page_requests(network))
        cluster.move(keys.page_requests(network), next(node for node in cluster.nodes if node is not at))
    for network in NETWORKS:
        process.count(network)

    assert {process.counted(network) for network in NETWORKS} == {2}


def test_a_bucket_that_moves_is_not_fenced_and_its_server_is_known_as_before(
    cluster: Cluster, process: Process
) -> None:
    process.read("05")
    process.client.hset(keys.mirror("05"), mapping={"server": "x", "since": 1})
    before, at = process.client.hgetall(keys.server("05")), cluster.of(keys.server("05"))
    cluster.move(keys.server("05"), next(node for node in cluster.nodes if node is not at))
    process.read("05")
    after = process.client.hgetall(keys.server("05"))

    assert process.fence_of("05") is None
    assert before[b"shard"] != after[b"shard"]
    assert before[b"history"] != after[b"history"]
    assert process.client.hget(keys.mirror("05"), "server") not in {b"x", None}


def test_where_a_replica_takes_over_the_buckets_of_its_shard_are_fenced_and_no_others(cluster: Cluster) -> None:
    first = cluster.nodes[0]
    replica = cluster.add_replica(folder_in_memory("replica"), first)
    process = Process(cluster)
    for bucket in BUCKETS:
        process.read(bucket)
    first.client.wait(1, 2000)
    first.kill()
    replica.ask("CLUSTER FAILOVER", "TAKEOVER")
    wait_until(lambda: cluster.nodes[1].has(0) == replica.port)
    for bucket in BUCKETS:
        wait_until(lambda bucket=bucket: _answers(process, bucket))
    fenced = {bucket for bucket in BUCKETS if process.fence_of(bucket)}

    assert fenced == {bucket for bucket in BUCKETS if cluster.of(keys.fence(bucket)) is replica}
    assert 0 < len(fenced) < len(BUCKETS)
    assert len(process.fenced) == 1
    other = Process(cluster, named=1)
    for bucket in BUCKETS:
        other.read(bucket)
    assert not other.fenced, "each is fenced once"


def test_with_a_replica_that_is_waited_for_no_bucket_is_fenced_where_it_takes_over(cluster: Cluster) -> None:
    first = cluster.nodes[0]
    replica = cluster.add_replica(folder_in_memory("replica"), first)
    process = Process(cluster, replicas=1)
    for bucket in BUCKETS:
        process.read(bucket)
    first.client.wait(1, 2000)
    first.kill()
    replica.ask("CLUSTER FAILOVER", "TAKEOVER")
    for bucket in BUCKETS:
        wait_until(lambda bucket=bucket: _answers(process, bucket))

    assert not any(process.fence_of(bucket) for bucket in BUCKETS)
    assert not process.fenced


@pytest.mark.parametrize("had_more", [False, True])
def test_of_two_replicas_the_one_that_takes_over_is_fenced_where_the_other_had_more(
    cluster: Cluster, had_more: bool
) -> None:
    first = cluster.nodes[0]
    replica, other = (cluster.add_replica(folder_in_memory(name), first) for name in ("replica", "other"))
    process = Process(cluster, replicas=1)
    for bucket in BUCKETS:
        process.read(bucket)
    own = [bucket for bucket in BUCKETS if cluster.of(keys.fence(bucket)) is first]
    first.client.wait(2, 2000)
    if had_more:
        replica.process.send_signal(signal.SIGSTOP)
        first.client.set(f"otp:{{{own[0]}}}:more", b"x" * MORE_THAN_IS_ON_ITS_WAY)
        assert first.client.wait(1, 4000)
    other.process.send_signal(signal.SIGSTOP)
    first.kill()
    replica.process.send_signal(signal.SIGCONT)
    replica.ask("CLUSTER FAILOVER", "TAKEOVER")
    wait_until(lambda: process.finds(own[0], replica))
    with pytest.raises(StoreUnavailableError):
        process.read(own[0])
    other.process.send_signal(signal.SIGCONT)
    wait_until(other.follows)
    if had_more:
        with suppress(StoreUnavailableError):  # unless the time is over already in which it might be known
            process.read(own[0])
        for bucket in own:
            replica.client.hset(keys.server(bucket), "undecided", 1)

    for bucket in own:
        wait_until(lambda bucket=bucket: _answers(process, bucket))
    assert {bool(process.fence_of(bucket)) for bucket in own} == {had_more}


def test_a_bucket_that_is_moved_on_before_it_is_known_whether_something_was_lost_is_fenced(cluster: Cluster) -> None:
    first = cluster.nodes[0]
    replica, other = (cluster.add_replica(folder_in_memory(name), first) for name in ("replica", "other"))
    process = Process(cluster, replicas=1)
    for bucket in BUCKETS:
        process.read(bucket)
    own = [bucket for bucket in BUCKETS if cluster.of(keys.fence(bucket)) is first]
    first.client.wait(2, 2000)
    other.kill()
    first.kill()
    replica.ask("CLUSTER FAILOVER", "TAKEOVER")
    wait_until(lambda: process.finds(own[0], replica))
    with pytest.raises(StoreUnavailableError):
        process.read(own[0])
    cluster.move(keys.server(own[1]), cluster.nodes[1])

    wait_until(lambda: _answers(process, own[1]))
    assert process.fence_of(own[1])


def test_where_a_replica_takes_over_all_buckets_of_its_shard_are_fenced_at_the_first_call(cluster: Cluster) -> None:
    """One of them may be moved next, and what comes from another shard is not fenced."""
    first = cluster.nodes[0]
    replica = cluster.add_replica(folder_in_memory("replica"), first)
    process = Process(cluster)
    for bucket in BUCKETS:
        process.read(bucket)
    own = [bucket for bucket in BUCKETS if cluster.of(keys.fence(bucket)) is first]
    first.kill()
    replica.ask("CLUSTER FAILOVER", "TAKEOVER")
    wait_until(lambda: _answers(process, own[0]))
    cluster.move(keys.server(own[1]), cluster.nodes[1])

    assert all(process.fence_of(bucket) for bucket in own)
    process.read(own[1])
    assert len(process.fenced) == 1, "all at once"


def test_a_server_that_is_the_primary_again_is_met_again_over_a_connection_that_was_never_lost(
    cluster: Cluster,
) -> None:
    first = cluster.nodes[0]
    replica = cluster.add_replica(folder_in_memory("replica"), first)
    process = Process(cluster)
    process.read("05")
    own = next(bucket for bucket in BUCKETS if cluster.of(keys.fence(bucket)) is first)
    process.read(own)
    replica.ask("CLUSTER FAILOVER")
    wait_until(first.follows)
    wait_until(lambda: process.finds(own, replica))  # it looks once a second, and asks for nothing meanwhile
    replica.kill()
    first.ask("CLUSTER FAILOVER", "TAKEOVER")
    wait_until(lambda: process.finds(own, first))
    process.read(own)

    assert process.fence_of(own)


def test_a_replica_takes_over_as_planned_and_nothing_is_fenced(cluster: Cluster) -> None:
    first = cluster.nodes[0]
    replica = cluster.add_replica(folder_in_memory("replica"), first)
    process = Process(cluster)
    for bucket in BUCKETS:
        process.read(bucket)
    server = Server(process.client, process.runner, Keyring({"k1": b"r" * 32}, b"p" * 32, 64), ())

    assert server.fail_over(f"127.0.0.1:{first.port}")

    wait_until(lambda: cluster.nodes[1].has(0) == replica.port)
    for bucket in BUCKETS:
        wait_until(lambda bucket=bucket: _answers(process, bucket))
    assert not process.fenced
    assert not any(process.fence_of(bucket) for bucket in BUCKETS)
    replica.kill()
    first.ask("CLUSTER FAILOVER", "TAKEOVER")
    wait_until(lambda: cluster.nodes[1].has(0) == first.port)
    for bucket in BUCKETS:
        wait_until(lambda bucket=bucket: _answers(process, bucket))
    assert process.fenced, "what was planned is over"


def test_who_takes_over_as_planned_has_to_be_named(cluster: Cluster, process: Process) -> None:
    server = Server(process.client, process.runner, Keyring({"k1": b"r" * 32}, b"p" * 32, 64), ())
    addresses = ", ".join(sorted(f"127.0.0.1:{node.port}" for node in cluster.nodes))

    with pytest.raises(ValueError, match=f"Name one of the cluster's primaries: {addresses}"):
        server.fail_over()
    with pytest.raises(ValueError, match="has no replica"):
        server.fail_over(f"127.0.0.1:{cluster.nodes[0].port}")


def test_plain_commands_find_a_slot_that_has_moved_each_by_itself_together_and_in_a_group(
    cluster: Cluster, process: Process
) -> None:
    stream, number = keys.events("05"), keys.page_requests("n1")
    process.client.xadd(stream, {"type": "check.failed"})
    log = EventLog(process.client, process.runner, StreamLimits(60, 10, 10), ("05",))
    assert len(log.take("me", 5)) == 1
    for turn, transaction in enumerate((True, False)):
        for key in (stream, number):
            cluster.move(key, next(node for node in cluster.nodes if node is not cluster.of(key)))
        with process.client.pipeline(transaction=transaction) as pipeline:
            pipeline.incr(number)
            pipeline.time()
            pipeline.xlen(stream)
            counted, _, length = pipeline.execute()
        assert (counted, length) == (turn + 1, turn + 1)
        process.client.xadd(stream, {"type": "check.failed"})
        cluster.move(stream, next(node for node in cluster.nodes if node is not cluster.of(stream)))
        assert len(log.take("me", 5)) == 1


def test_commands_that_are_sent_together_go_to_each_server_at_once(process: Process) -> None:
    with process.client.pipeline(transaction=False) as pipeline:
        for network in NETWORKS:
            pipeline.incr(keys.page_requests(network))
        groups = {pipeline._group(command) for command in pipeline._commands}

        assert pipeline.execute() == [1] * len(NETWORKS)
    assert len(groups) == 3


def test_a_server_that_was_restarted_is_met_again_by_whoever_comes_first(cluster: Cluster, process: Process) -> None:
    for bucket in BUCKETS:
        process.read(bucket)
    node = cluster.nodes[1]
    node.process.terminate()
    node.process.wait()
    node.start()
    for bucket in BUCKETS:
        wait_until(lambda bucket=bucket: _answers(process, bucket))

    fenced = {bucket for bucket in BUCKETS if process.fence_of(bucket)}
    assert fenced == {bucket for bucket in BUCKETS if cluster.of(keys.fence(bucket)) is node}


def test_a_server_that_was_restarted_is_met_before_it_is_asked_anything(cluster: Cluster, process: Process) -> None:
    process.read("05")
    node = cluster.of(keys.server("05"))
    node.process.terminate()
    node.process.wait()
    node.start()
    wait_until(lambda: node.knows(3))

    process.read("05")
    assert process.fence_of("05")


def _answers(process: Process, bucket: str) -> bool:
    try:
        return bool(process.read(bucket))
    except StoreUnavailableError:
        return False


def test_a_server_that_is_gone_is_refused_at_once_and_the_others_go_on(cluster: Cluster, process: Process) -> None:
    for network in NETWORKS:
        process.count(network)
    gone = cluster.nodes[2]
    lost = [one for one in NETWORKS if cluster.of(keys.page_requests(one)) is gone]
    gone.process.kill()
    gone.process.wait()
    for network in NETWORKS:
        began = time.monotonic()
        if network in lost:
            with pytest.raises(StoreUnavailableError):
                process.count(network)
        else:
            assert process.count(network) == 0
        assert time.monotonic() - began < PATIENCE

    assert {process.counted(network) for network in NETWORKS if network not in lost} == {2}


@pytest.mark.parametrize("most", [1, 7, 100])
def test_messages_of_others_are_taken_while_a_server_is_away(cluster: Cluster, process: Process, most: int) -> None:
    gone, given_up = cluster.nodes[2], list[Job]()
    outbox = Outbox(
        process.client, process.runner, StreamLimits(60, 10, 10), BUCKETS, lambda job, _: given_up.append(job)
    )
    there = [bucket for bucket in BUCKETS if cluster.of(keys.queues(bucket)) is not gone]
    for bucket in BUCKETS:
        process.client.zadd(keys.delayed(bucket), {json.dumps([*JOB, "id", bucket]): 0})
    gone.process.kill()
    gone.process.wait()

    taken = list[Job]()
    while jobs := _taken(outbox, most):
        assert len(jobs) <= most
        taken += jobs

    assert sorted(job.id for job in taken) == there
    outbox.requeue_job("me", taken)
    claimed = [job for _ in range(len(BUCKETS) // 16) for job in outbox.claim("heir", 100, 60_000)]  # 16 buckets a call
    assert len(claimed) == len(there)
    assert not given_up


@pytest.fixture
def idle(process: Process) -> Outbox:
    """Return an outbox that has looked at all buckets."""
    outbox = Outbox(process.client, process.runner, StreamLimits(60, 10, 10), BUCKETS, lambda *_: None)
    assert outbox.take("me", 9) == []
    return outbox


@pytest.mark.parametrize("buckets", [BUCKETS[:1], BUCKETS[::9]])
def test_a_worker_is_woken_by_the_messages_of_any_bucket(process: Process, idle: Outbox, buckets: list[str]) -> None:
    """It looks at no other buckets."""
    for bucket in buckets:
        timer = Timer(0.2, process.client.lpush, (keys.wake(bucket), ""))
        timer.start()
        began = time.monotonic()
        idle.wait(2000)
        timer.join()

        assert 0.15 < time.monotonic() - began < 1
        assert idle.due_buckets() == [bucket]
        assert idle.take("me", 9, (), [bucket]) == []
        assert idle.due_buckets() == []


def test_a_retry_is_known_to_the_worker_that_looks_at_its_bucket(process: Process, idle: Outbox) -> None:
    bucket = BUCKETS[5]
    process.client.zadd(keys.delayed(bucket), {json.dumps([*JOB, "id", "later"]): server_time(process.client) + 300})
    assert idle.take("me", 9, (), [bucket]) == []
    while bucket not in idle.due_buckets():
        idle.wait(1000)

    assert [job.id for job in idle.take("me", 9, (), [bucket])] == ["later"]


def test_a_bucket_is_looked_at_after_a_while_though_nothing_woke_the_worker(idle: Outbox) -> None:
    """A wake-up is lost with the worker that got it."""
    began, due = time.monotonic(), set[str]()
    while len(due) < len(BUCKETS):
        idle.wait(1000)
        due.update(idle.due_buckets())

    assert 3 < time.monotonic() - began < 6


def test_a_server_that_is_back_wakes_workers_again(cluster: Cluster, process: Process, idle: Outbox) -> None:
    node = cluster.nodes[2]
    away, there = (
        next(bucket for bucket in BUCKETS if (cluster.of(keys.wake(bucket)) is node) == is_of)
        for is_of in (True, False)
    )
    idle.wait(10)
    node.process.terminate()
    node.process.wait()
    node.start()
    wait_until(lambda: _answers(process, away))
    for bucket in (there, away):
        process.client.lpush(keys.wake(bucket), "")
        end = time.monotonic() + 2
        while bucket not in idle.due_buckets() and time.monotonic() < end:
            idle.wait(1000)
        assert time.monotonic() < end
        idle.take("me", 9)


@pytest.mark.parametrize("act", ["pass_on", "release"])
def test_a_busy_or_stopped_worker_passes_wake_ups_on(process: Process, idle: Outbox, act: str) -> None:
    idle.wait(1)
    for bucket in BUCKETS:
        process.client.lpush(keys.wake(bucket), "")
    time.sleep(0.1)
    assert not any(process.client.llen(keys.wake(bucket)) for bucket in BUCKETS), "it has all"
    if act == "pass_on":
        idle.pass_on()
    else:
        idle.release("me")

    assert {process.client.llen(keys.wake(bucket)) for bucket in BUCKETS} == {1}
    assert all(0 < process.client.pttl(keys.wake(bucket)) <= 60_000 for bucket in BUCKETS)


def _taken(outbox: Outbox, most: int) -> list[Job]:
    """Take jobs; none where the one server that has some is away."""
    try:
        return outbox.take("me", most)
    except StoreUnavailableError:
        return []


def test_where_all_servers_are_away_it_is_told(cluster: Cluster, process: Process) -> None:
    outbox = Outbox(process.client, process.runner, StreamLimits(60, 10, 10), BUCKETS, lambda *_: None)
    assert not outbox.take("me", 9)
    for node in cluster.nodes:
        node.process.kill()
        node.process.wait()

    for ask in (partial(outbox.take, "me", 9), partial(outbox.claim, "me", 9, 0)):
        with pytest.raises(StoreUnavailableError):
            ask()


def test_a_server_that_is_silent_is_not_asked_again_and_nothing_runs_twice(cluster: Cluster, process: Process) -> None:
    silent = cluster.nodes[1]
    network = next(one for one in NETWORKS if cluster.of(keys.page_requests(one)) is silent)
    other = next(one for one in NETWORKS if cluster.of(keys.page_requests(one)) is not silent)
    process.count(network)
    silent.process.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    with pytest.raises(StoreUnavailableError):
        process.count(network)
    assert time.monotonic() - began < PATIENCE
    began = time.monotonic()
    with pytest.raises(StoreUnavailableError):
        process.count(network)
    assert time.monotonic() - began < 0.1, "who has just been silent is not asked"
    assert process.count(other) == 0
    silent.process.send_signal(signal.SIGCONT)
    time.sleep(PAUSE)
    wait_until(lambda: cluster.nodes[0].knows(3))
    process.count(network)

    assert process.counted(network) == 3, "the first, the one that was sent and not answered, and the last"


def test_calls_are_sent_together_and_answered_in_their_order(process: Process) -> None:
    reads = [ScriptCall("number_read", (keys.number(one, "x"),), (), NO_RULES) for one in BUCKETS[:9]]
    calls = [call for pair in zip(map(page, NETWORKS), reads, strict=False) for call in pair]
    for turn in (1, 2):
        answers = process.runner.run_all(calls)
        assert answers[::2] == [0] * 9
        assert [answer[0] for answer in answers[1::2]] == [b"number-read"] * 9
        assert {process.counted(one) for one in NETWORKS[:9]} == {turn}


def test_of_calls_that_are_sent_together_those_of_a_server_that_is_gone_are_refused(
    cluster: Cluster, process: Process
) -> None:
    process.runner.run_all(list(map(page, NETWORKS)))
    lost = {one for one in NETWORKS if cluster.of(keys.page_requests(one)) is cluster.nodes[2]}
    cluster.nodes[2].process.kill()
    cluster.nodes[2].process.wait()
    answers = process.runner.run_all(list(map(page, NETWORKS)))

    assert {one for one, told in zip(NETWORKS, answers, strict=True) if told != 0} == lost
    assert all(told == 0 or isinstance(told, StoreUnavailableError) for told in answers)


def test_calls_that_are_sent_together_are_waited_for_together(cluster: Cluster) -> None:
    process = Process(cluster, timeout=1.0)
    others = [one for one in NETWORKS if cluster.of(keys.page_requests(one)) is cluster.nodes[2]]
    silent = [one for one in NETWORKS if one not in others]
    calls = [page(one) for one in (*silent, *others)]
    assert process.runner.run_all(calls) == [0] * len(calls)
    told, took = [], []
    for node in cluster.nodes[:2]:
        node.process.send_signal(signal.SIGSTOP)
    for _ in range(2):
        began = time.monotonic()
        told.append(process.runner.run_all(calls))
        took.append(time.monotonic() - began)
        time.sleep(PAUSE)
    began = time.monotonic()
    process.runner.send_all(calls)
    took.append(time.monotonic() - began)
    for node in cluster.nodes[:2]:
        node.process.send_signal(signal.SIGCONT)

    assert max(took) < PATIENCE, f"a second is what a server has to answer, and not each of two: {took}"
    assert all(isinstance(one, StoreUnavailableError) for one in told[0][: len(silent)])
    assert told[0][len(silent) :] == [0] * len(others), "they had answered"
    time.sleep(PAUSE)
    wait_until(lambda: all(node.knows(3) for node in cluster.nodes))
    assert process.runner.run_all(calls) == [0] * len(calls)
    assert {process.counted(one) for one in silent} == {3}, "what was sent and not read has run, and once"


def test_calls_that_are_sent_together_find_a_slot_that_has_moved_and_run_once(
    cluster: Cluster, process: Process
) -> None:
    process.runner.run_all(list(map(page, NETWORKS)))
    for network in NETWORKS[:4]:
        at = cluster.of(keys.page_requests(network))
        cluster.move(keys.page_requests(network), next(node for node in cluster.nodes if node is not at))

    assert process.runner.run_all(list(map(page, NETWORKS))) == [0] * len(NETWORKS)
    assert {process.counted(network) for network in NETWORKS} == {2}


def test_a_slot_that_is_moved_key_by_key_is_refused(cluster: Cluster, process: Process) -> None:
    """What a script derives may have gone, or not have come yet: it would look absent."""
    key = keys.page_requests("moving")
    at = cluster.of(key)
    to = next(node for node in cluster.nodes if node is not at)
    slot = key_slot(key.encode())
    to.ask("CLUSTER SETSLOT", slot, "IMPORTING", at.id)
    at.ask("CLUSTER SETSLOT", slot, "MIGRATING", to.id)

    with pytest.raises(StoreUnavailableError):
        process.count("moving")
    assert not to.client.keys("*")


def test_a_fence_is_put_in_all_buckets_of_all_servers(cluster: Cluster, process: Process) -> None:
    put = process.fences.put()
    found = [node.client.keys("otp:*:fence") for node in cluster.nodes]

    assert sorted(name for names in found for name in names) == sorted(keys.fence(one).encode() for one in BUCKETS)
    assert all(found)
    assert process.fences.current() == put


def test_the_mirror_is_built_written_and_forgotten_in_all_buckets(cluster: Cluster, process: Process) -> None:
    mirror = Mirror(process.client, process.runner, BUCKETS)
    first, second = (LedgerPosition("i" * 32, place, place, f"link{place}") for place in (0, 1))
    building = mirror.begin(first.identity)
    assert building
    assert mirror.begin(first.identity) is None
    building.forget()
    assert building.finish(first)
    assert mirror.head() == MirrorHead(first)
    numbers = tuple(NumberState(f"number{bucket}", {"shop": None}, {}) for bucket in BUCKETS)
    assert all(mirror.write(MirrorChanges(first, second, 1, numbers), BUCKETS, mirror.parts))
    assert mirror.head() == MirrorHead(second)
    assert not any(mirror.write(MirrorChanges(first, second, 1, numbers), BUCKETS, mirror.parts))
    assert mirror.known_place() is None, "nobody has compared it with the ledger"
    mirror.note_server(mirror.parts, is_current=True)
    assert mirror.known_place() == second
    mirror.close()
    assert mirror.known_place() is None
    assert mirror.head() == MirrorHead(second, is_closed=True)
    kept = [len(node.client.keys("otp:*:mirror/number/*")) for node in cluster.nodes]
    assert sum(kept) == len(BUCKETS)
    assert all(kept)
    mirror.drop()
    assert mirror.head() == MirrorHead(None)
    again = mirror.begin(first.identity)
    assert again
    again.forget()

    assert not any(node.client.keys("otp:*:mirror/number/*") for node in cluster.nodes)


def test_a_bucket_that_was_left_behind_is_brought_to_where_the_others_are(process: Process) -> None:
    mirror = Mirror(process.client, process.runner, BUCKETS)
    first, second = (LedgerPosition("i" * 32, place, place, f"link{place}") for place in (0, 1))
    building = mirror.begin(first.identity)
    assert building
    assert building.finish(first)
    changes = MirrorChanges(first, second, 1, (NumberState("somebody", {"shop": None}, {}),))
    assert mirror.write(changes, ["05"], mirror.parts[:9]) == [True] * 9
    assert mirror.head() == MirrorHead(first)
    assert mirror.write(changes, ["05"], mirror.parts) == [False] * 9 + [True] * (len(BUCKETS) - 9)
    assert mirror.head() == MirrorHead(second)


def test_events_of_all_buckets_are_taken_and_waited_for(process: Process) -> None:
    log = EventLog(process.client, process.runner, StreamLimits(60, 10, 10), BUCKETS)
    for bucket in BUCKETS[::7]:
        process.client.xadd(keys.events(bucket), {"type": "check.failed"})
    assert sorted(batch.bucket for batch in log.take("me", 5)) == list(BUCKETS[::7])
    began = time.monotonic()

    assert log.take("me", 5, 200) == []
    assert time.monotonic() - began >= 0.2
    Timer(0.2, process.client.xadd, (keys.events(BUCKETS[3]), {"type": "check.failed", "id": "vf_1"})).start()
    (batch,) = log.take("me", 5, 2000)
    assert (batch.bucket, batch.events[0].member("id")) == (BUCKETS[3], "vf_1")
    process.client.xadd(keys.events(BUCKETS[4]), {"type": "check.failed"})
    time.sleep(0.1)
    assert [batch.bucket for batch in log.take("me", 5)] == [BUCKETS[4]], "what came while nothing was taken"
    log.acknowledge(batch)
    assert len(log.held("me", 5, {})) == len(BUCKETS[::7]) + 1


def test_too_few_replicas_are_told_and_what_was_done_stays(cluster: Cluster) -> None:
    process = Process(cluster, replicas=1)
    call = ScriptCall("cancel", (keys.record("05", "x"), keys.events("05"), keys.record("05", "x")), ("shop", "", ""))
    with pytest.raises(StoreUnavailableError):
        process.runner.run(call)
    time.sleep(PAUSE)
    refused, counted = process.runner.run_all([call, page("other")])

    assert isinstance(refused, StoreUnavailableError)
    assert counted == 0


def test_replicas_that_are_back_are_waited_for_by_calls_that_are_sent_together(cluster: Cluster) -> None:
    primary = cluster.of(keys.record("05", "x"))
    replica = cluster.add_replica(folder_in_memory("replica"), primary)
    process = Process(cluster, replicas=1)
    call = ScriptCall("cancel", (keys.record("05", "x"), keys.events("05"), keys.record("05", "x")), ("shop", "", ""))
    replica.kill()
    refused = process.runner.run_all([call, call])
    replica.start()
    wait_until(replica.follows)
    time.sleep(PAUSE)

    assert all(isinstance(one, StoreUnavailableError) for one in refused)
    assert process.runner.run_all([call, call]) == [[b"not-found"]] * 2


def test_the_servers_are_found_by_any_that_answers(cluster: Cluster, process: Process) -> None:
    process.slots.refresh()
    cluster.nodes[0].process.kill()
    cluster.nodes[0].process.wait()
    time.sleep(0.2)
    process.slots.refresh()

    assert len(process.slots.peers()) == 3


def test_where_nobody_tells_of_servers_there_are_not_none(cluster: Cluster, process: Process) -> None:
    cluster.stop()

    for _ in range(2):  # the second time at once: nobody is asked again so soon
        with pytest.raises(StoreUnavailableError):
            process.slots.peers()
