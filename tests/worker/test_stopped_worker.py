"""A worker process that stood still, by SIGSTOP or a machine that was frozen, and goes on: what it had is another's."""

from collections.abc import Iterator
from typing import Any

import pytest
from support_outbox import DEAD, DELAYED, waiting
from support_service import PATIENCE, Service, eventually, running
from support_stopped import stopped_worker
from support_valkey import ValkeyServer

SLOW = {"sandbox": {"kind": "sandbox", "timeout": 2.0, "delay": 1.5}}
"""A call takes so long that the one who stood still can go on in the middle of it."""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    valkey = ValkeyServer(folder)
    try:
        with running(folder, valkey, workers=0, gateways=SLOW, http={"processes": 1}) as started:
            yield started
    finally:
        valkey.stop()


def _delivery(service: Service, one: str) -> dict[str, Any]:
    (only,) = service.get(f"/v1/verifications/{one}").json()["deliveries"]
    return dict(only)


def _is_being_sent(service: Service, one: str) -> bool:
    return _delivery(service, one)["gateway"] is not None


def _was_sent(service: Service, one: str) -> bool:
    return _delivery(service, one)["status"] == "sent"


@pytest.mark.parametrize("moment", [_is_being_sent, _was_sent], ids=["during the call", "after the call"])
def test_a_worker_that_stood_still_before_the_dispatch_sends_nothing_when_it_goes_on(service: Service, moment: Any):
    with stopped_worker(service) as stopped:
        one = service.start()
        stopped.wait_until_it_stands_still()
        other = service.launch_worker()
        eventually(lambda: moment(service, one), 3 * PATIENCE)  # it starts, and waits until the job is left alone
        stopped.go_on()
        eventually(lambda: "message_overtaken" in stopped.log())
        eventually(lambda: _was_sent(service, one))

        assert len(service.texts(one)) == 1
        assert _delivery(service, one)["reason"] is None, "nor was the other's call told as interrupted"
        assert "message_dispatched" not in stopped.log()
    other.terminate()
    assert other.wait(PATIENCE) == 0
    assert waiting(service.valkey.client) == 0
    assert not service.valkey.client.exists(DELAYED, DEAD)
