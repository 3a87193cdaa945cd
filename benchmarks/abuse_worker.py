"""A worker beside a Redis whose time flies, ``abuse_worker.py CONFIG SPEED``: the service's own, but for two things.

It waits in Redis for something to do, and Redis ends the wait by its own clock: so soon that the worker would do
nothing but ask. The wait is made as long as it is where both clocks agree. And it records and judges every so many
seconds of its own clock: that is made as often as in life, or nearly.
"""

import sys
from collections.abc import Sequence
from functools import partial

from otp_service.bootstrap import Installation
from otp_service.cli.main import commands
from otp_service.services.newcomer_traffic import TrafficJudge
from otp_service.services.periodic_tasks import PeriodicTasks
from otp_service.store.outbox import Outbox
from otp_service.worker import recorder, worker

JUDGED_EVERY = 5.0
"""Seconds, in life."""
LEAST = 0.05
"""Seconds of ours between two looks."""
JUDGED = "judged"
"""The key that tells when traffic was judged last, in milliseconds by Redis' clock."""


def judge_tasks(installation: Installation, name: str, period: float) -> PeriodicTasks:
    """Return the task that judges every so many seconds of ours, and tells when it did."""
    judge = TrafficJudge(installation.context, name)

    def run() -> None:
        now = installation.context.store.decisions.now()
        judge.judge()
        installation.client.set(JUDGED, now)

    return PeriodicTasks({"judge": run}, period)


def main(arguments: Sequence[str]) -> None:
    """Work until asked to end."""
    config, speed = arguments
    wait = Outbox.wait
    Outbox.wait = lambda self, milliseconds: wait(self, round(milliseconds * float(speed)))  # type: ignore[method-assign]
    recorder.BATCH_INTERVAL = max(LEAST, recorder.BATCH_INTERVAL / float(speed))
    period = max(LEAST, JUDGED_EVERY / float(speed))
    worker.judge_tasks = partial(judge_tasks, period=period)
    commands(["worker", "--config", config], standalone_mode=False)


if __name__ == "__main__":
    main(sys.argv[1:])
