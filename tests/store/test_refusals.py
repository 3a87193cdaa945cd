"""Which answers of a server mean that it cannot serve, and which are defects of ours: the same for every way to ask."""

import time
from collections.abc import Iterator

import pytest
import redis
from support_lines import OneLineServer

from otp_service.errors import StoreUnavailableError
from otp_service.store.connection import PAUSE, connect, translate_errors
from otp_service.store.script_runner import ScriptCall, ScriptRunner

STATES = [
    "-LOADING Redis is loading the dataset in memory",
    "-OOM command not allowed when used memory > 'maxmemory'.",
    "-READONLY You can't write against a read only replica.",
    "-MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
    "-NOREPLICAS Not enough good replicas to write.",
    "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    "-CLUSTERDOWN Hash slot not served",
    "-BUSY Redis is busy running a script.",
    "-UNBLOCKED force unblocked from blocking operation, instance state changed (master -> replica?)",
    "-NOGROUP No such key 'otp:{00}:outbox:possession:shop' or consumer group 'workers'",
    "-NOAUTH Authentication required.",
    "-NOPERM User otp has no permissions to run the 'fcall' command",
    "-ERR max number of clients reached",
]
DEFECTS = [
    "-WRONGTYPE Operation against a key holding the wrong kind of value",
    "-ERR user_script:7: attempt to compare nil with number script: on @user_script:7.",
    "-ERR unknown command 'FCALLL'",
    "-ERR BUSY is a word of this defect only",
    "-BUSYGROUP Consumer Group name already exists",
]


def code(line: str) -> str:
    return line.split(maxsplit=2)[0]


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[OneLineServer]:
    with OneLineServer(request.param) as made:
        yield made


@pytest.fixture
def client(server: OneLineServer) -> Iterator[redis.Redis]:
    with connect(server.url, timeout=1.0, connect_timeout=0.5) as made:
        yield made


def by_script(client: redis.Redis) -> None:
    ScriptRunner(client).run(ScriptCall("verification_read", ("otp:{00}:v:x",), ()))


def by_command(client: redis.Redis) -> None:
    with translate_errors():
        client.get("otp:worker")


def by_pipeline(client: redis.Redis) -> None:
    with translate_errors(), client.pipeline(transaction=False) as pipeline:
        pipeline.set("otp:worker", "a caused error: b").execute()


WAYS = pytest.mark.parametrize("ask", [by_script, by_command, by_pipeline])


@WAYS
@pytest.mark.parametrize("server", STATES, ids=code, indirect=True)
def test_a_state_of_the_server_is_told_as_unavailable(client, ask):
    with pytest.raises(StoreUnavailableError):
        ask(client)


@WAYS
@pytest.mark.parametrize("server", DEFECTS, ids=code, indirect=True)
def test_a_defect_of_ours_stays_loud(client, ask):
    with pytest.raises(redis.ResponseError):
        ask(client)


@pytest.mark.parametrize(
    "server", [line for line in STATES if code(line) in {"-OOM", "-BUSY", "-NOREPLICAS"}], ids=code, indirect=True
)
def test_a_connection_over_which_a_refusal_came_is_kept(server, client):
    runner = ScriptRunner(client)
    for _ in range(3):
        with pytest.raises(StoreUnavailableError):
            runner.run(ScriptCall("verification_read", ("otp:{00}:v:x",), ()))

    assert server.connections == 1


@pytest.mark.parametrize("server", ["$12\r\nhalf"], indirect=True)
def test_a_connection_over_which_no_whole_answer_came_is_replaced(server):
    runner = ScriptRunner(connect(server.url, timeout=0.05, connect_timeout=0.5))
    for _ in range(2):
        with pytest.raises(StoreUnavailableError):
            runner.run(ScriptCall("verification_read", ("otp:{00}:v:x",), ()))
        time.sleep(PAUSE)

    assert server.connections == 2
