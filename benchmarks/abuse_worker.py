"""A worker beside a Redis whose time flies, ``abuse_worker.py CONFIG SPEED``: the service's own, but for one thing.

It waits in Redis for something to do, and Redis ends the wait by its own clock: so soon that the worker would do
nothing but ask. The wait is made as long as it is where both clocks agree.
"""

import sys
from collections.abc import Sequence

from otp_service.cli.main import commands
from otp_service.store.outbox import Outbox


def main(arguments: Sequence[str]) -> None:
    """Work until asked to end."""
    config, speed = arguments
    wait = Outbox.wait
    Outbox.wait = lambda self, milliseconds: wait(self, round(milliseconds * float(speed)))  # type: ignore[method-assign]
    commands(["worker", "--config", config], standalone_mode=False)


if __name__ == "__main__":
    main(sys.argv[1:])
